//! The reader of routes.toml against files: each in `tests/config/{bad,good}` has the exact expected text beside it.
//! `UPDATE=1 cargo nextest run --test config` writes those texts anew; read the difference before you keep it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use doorward::config::{Checked, Diagnostic, Faults, Severity, load, parse};

fn files(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// Reads as if the file lay in the working directory, so that expected texts name the file only.
fn read(file: &Path) -> Result<Checked, Faults> {
    parse(Path::new(file.file_name().unwrap()), &fs::read_to_string(file).unwrap())
}

fn shown(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().fold(String::new(), |mut out, diagnostic| {
        writeln!(out, "{diagnostic}").unwrap();
        out
    })
}

/// Compares with the text beside the file; what differs is gathered, so that one run shows everything.
fn compare(file: &Path, text: &str, differing: &mut String) {
    let beside = file.with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&beside, text).unwrap();
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if expected != text {
        writeln!(differing, "--- {}\n{expected}--- but was\n{text}", beside.display()).unwrap();
    }
}

#[test]
fn every_bad_file_is_refused_with_exactly_the_expected_words() {
    let mut differing = String::new();
    let files = files("bad");
    for file in &files {
        let faults = read(file).expect_err(&format!("{} should be refused", file.display()));
        compare(file, &format!("{faults}\n"), &mut differing);
    }
    assert!(differing.is_empty(), "{differing}");
}

#[test]
fn every_good_file_is_taken_with_exactly_the_expected_warnings() {
    let mut differing = String::new();
    for file in files("good") {
        match read(&file) {
            Ok(checked) => compare(&file, &shown(&checked.warnings), &mut differing),
            Err(faults) => panic!("{} should be taken:\n{faults}", file.display()),
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

fn assert_points_and_helps(faults: &Faults) {
    assert!(!faults.faults.is_empty(), "refused without a fault");
    for diagnostic in faults.in_order() {
        assert!(diagnostic.line >= 1 && diagnostic.column >= 1, "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty() && !diagnostic.help.is_empty(), "{diagnostic:?}");
        assert!(!diagnostic.to_string().contains(|c: char| c.is_control() && c != '\n'), "{diagnostic:?}");
    }
    assert!(faults.faults.iter().all(|fault| fault.severity == Severity::Error));
}

#[test]
fn every_bad_config_has_a_position_and_help() {
    for file in files("bad") {
        assert_points_and_helps(&read(&file).unwrap_err());
    }
}

/// Everything that people at home open in a browser or an app, by its short name.
const CATALOG: &[&str] = &[
    "nextcloud",
    "syncthing",
    "freshrss",
    "books",
    "emulators",
    "obsidian",
    "jellyfin",
    "jellyseerr",
    "sonarr",
    "radarr",
    "prowlarr",
    "bazarr",
    "qbittorrent",
    "unifi",
    "npm",
    "grafana",
    "prometheus",
    "kuma",
    "plane",
    "info",
    "lefty",
    "matrix",
    "element",
];

#[test]
fn the_file_of_this_home_is_taken_and_only_its_unfilled_pin_is_warned_about() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes.toml");
    let checked = load(&file).unwrap_or_else(|faults| panic!("{faults}"));
    let warnings: Vec<&str> = checked.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["the pin of `unifi` is all zeros, which no certificate has"]);
    let names: Vec<&str> = checked.config.routes.iter().map(|route| &*route.name.value).collect();
    for service in CATALOG {
        assert!(names.contains(service), "{service} has no route");
    }
    assert_eq!(checked.config.expects.len(), 4);
    let doors: Vec<String> = checked.config.doors[0].https.iter().map(|door| door.value.to_string()).collect();
    assert_eq!(doors, ["[::]:443"]);
}
