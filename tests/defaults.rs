//! docs/defaults.md against the program: every value on that page is the one in force, and no time of the program is missing.
//! Reads the source text; starts nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward::config::{LimitsSpec, TABLES};
use doorward::model::{parse_duration, parse_size};

/// Rooms whose times concern whoever runs the program; commands that a person waits for have theirs in their own help.
const ROOMS: [&str; 9] = ["serve", "upstream", "admin", "provider", "acme", "telemetry", "config", "service", "mail"];

/// Times that bound nothing: how often something is looked at again within a bound that is on the page.
const INNER: [&str; 2] = ["admin/ask.rs PAUSE", "telemetry/access_log.rs PAUSE"];

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/defaults.md")).unwrap()
}

/// The cells of every row of every table.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// File, name and text of every constant of the program.
fn constants() -> BTreeMap<String, (String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = path.strip_prefix(&root).unwrap().display().to_string();
            if !file.ends_with(".rs") || file.ends_with("tests.rs") {
                continue;
            }
            for line in fs::read_to_string(&path).unwrap().lines() {
                let line = line.strip_prefix("pub(super) ").or(line.strip_prefix("pub ")).unwrap_or(line);
                let Some((name, rest)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(": ")) else {
                    continue;
                };
                let Some((kind, value)) = rest.split_once(" = ") else { continue };
                let value = value.trim_end_matches(';').to_owned();
                found.insert(format!("{file} {name}"), (kind.to_owned(), value));
            }
        }
    }
    found
}

/// Milliseconds of a time; a plain number of anything else.
fn value_of(kind: &str, text: &str) -> Option<u128> {
    if kind == "Duration" {
        let (unit, number) = text.strip_prefix("Duration::from_")?.trim_end_matches(')').split_once('(')?;
        let number = number_of(number)?;
        return Some(if unit == "millis" { number } else { number * 1000 });
    }
    match text.strip_suffix(" * SECOND") {
        Some(seconds) => Some(number_of(seconds)? * 1000),
        None => number_of(text),
    }
}

fn number_of(text: &str) -> Option<u128> {
    if let Some((number, shift)) = text.split_once("<<") {
        return Some(number_of(number)? << number_of(shift)?);
    }
    text.split('*').map(|factor| factor.trim().replace('_', "").parse::<u128>().ok()).product()
}

fn shown(text: &str) -> Option<u128> {
    let number = text.parse().ok();
    let time = || parse_duration(text).ok().map(|time| time.as_millis());
    number.or_else(time).or_else(|| parse_size(text).ok().map(u128::from))
}

#[test]
fn every_fixed_value_of_the_page_is_the_one_of_the_program() {
    let constants = constants();
    let mut faults = Vec::new();
    let mut seen = 0;
    for row in rows(&page()) {
        let [what, value, _, place] = row.as_slice() else { continue };
        let names: Vec<&str> = place.split('`').filter(|part| !part.trim().is_empty()).collect();
        let [file, name] = names.as_slice() else { continue };
        if !file.ends_with(".rs") {
            continue;
        }
        seen += 1;
        match constants.get(&format!("{file} {name}")) {
            None => faults.push(format!("{what}: there is no `{name}` in src/{file}")),
            Some((kind, text)) if value_of(kind, text).is_none() || value_of(kind, text) != shown(value) => {
                faults.push(format!("{what}: {value} on the page, `{text}` in src/{file}"));
            }
            Some(_) => {}
        }
    }
    assert!(seen > 60, "only {seen} values were compared");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_time_of_the_program_is_missing() {
    let page = page();
    let is_told = |constant: &str| {
        let (file, name) = constant.split_once(' ').unwrap();
        page.contains(&format!("`{file}` `{name}`"))
    };
    let missing: Vec<String> = constants()
        .into_iter()
        .filter(|(constant, (kind, _))| {
            let room = constant.split('/').next().unwrap_or_default();
            kind == "Duration" && ROOMS.contains(&room) && !INNER.contains(&constant.as_str())
        })
        .map(|(constant, _)| constant)
        .filter(|constant| !is_told(constant))
        .collect();
    assert!(missing.is_empty(), "not in docs/defaults.md: {missing:#?}");
}

#[test]
fn every_key_of_limits_stands_there_with_its_default() {
    let rows = rows(&page());
    let default_of = |key: &str| rows.iter().find(|row| row[0] == format!("`{key}`")).map(|row| row[1].clone());
    let LimitsSpec { connections, connections_per_client, requests, memory, head, fields, head_time, idle, streams } =
        LimitsSpec::DEFAULT;
    assert_eq!((connections, requests, memory), (None, None, None), "by the system");
    let time = |time: Duration| Some(time.as_millis());
    for (key, value) in [
        ("connections_per_client", Some(u128::from(connections_per_client))),
        ("head", Some(u128::from(head))),
        ("fields", Some(u128::from(fields))),
        ("head_time", time(head_time)),
        ("idle", time(idle)),
        ("streams", Some(u128::from(streams))),
    ] {
        assert_eq!(default_of(key).as_deref().and_then(shown), value, "`{key}`");
    }
    let table = TABLES.iter().find(|table| table.title == "[limits]").unwrap();
    for key in table.keys {
        assert!(default_of(key.name).is_some(), "`{}` is not on the page", key.name);
    }
}

#[test]
fn every_series_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = fs::read_to_string(root.join("src/telemetry/exposition.rs")).unwrap();
    let page = fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    let texts = source.split('"').filter(|text| text.starts_with("doorward_") || text.starts_with("process_"));
    let parts = ["_bucket", "_sum", "_count"];
    let missing: Vec<&str> = texts
        .filter(|name| !page.contains(&format!("`{name}`")) && !parts.iter().any(|part| name.ends_with(part)))
        .collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
}
