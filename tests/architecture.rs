//! The guard of the house: which room may look into which, where each heavy library lives, and how long a file may grow.
//! It reads the source text (standard library only, well under a second) and knows nothing of what the code does.
//!
//! A fault here is repaired by moving code, not by editing this file; where the plan itself should change, change
//! ARCHITECTURE.md in the same commit and say why.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, lowest first. A room imports rooms on lower floors only: never its own floor, never above.
const FLOORS: [&[&str]; 9] = [
    &["http1", "model"],
    &["config", "telemetry"],
    &["cert"],
    &["upstream"],
    &["snapshot"],
    &["serve", "provider", "acme", "admin", "mail", "service"],
    &["app", "import"],
    &["cli"],
    &["lib", "main"],
];

/// Where a heavy library may be named: everywhere else the rest of the house is free of it.
const HOMES: &[(&str, &[&str])] = &[
    ("anstyle", &["cli/"]),
    ("arc_swap", &["snapshot/cell.rs"]),
    ("toml", &["config/"]),
    ("serde_yaml_ng", &["provider/"]),
    ("instant_acme", &["acme/"]),
    ("clap", &["cli/"]),
    ("ratatui", &["cli/"]),
    ("tokio_tungstenite", &["cli/"]),
    ("dns_update", &["acme/"]),
    ("hickory_proto", &["acme/"]),
    ("httparse", &["http1/"]),
    ("listenfd", &["service/"]),
    ("libmimalloc_sys", &["main.rs", "serve/room.rs"]),
    ("memchr", &["http1/"]),
    ("pingora_limits", &["serve/counting.rs"]),
    ("lettre", &["mail/"]),
    ("rusqlite", &["import/"]),
    ("toml_edit", &["config/", "import/text.rs"]),
    ("pingora_ketama", &["upstream/balance.rs"]),
    ("regex", &["model/host_regex.rs"]),
];

/// Rooms that are pure: nothing in them waits for anything.
const WITHOUT_ASYNC: [&str; 2] = ["model", "config"];

/// Lines that are neither empty nor comment, tests apart.
const LONGEST_FILE: usize = 400;

#[test]
fn rooms_import_only_lower_floors() {
    let mut faults = Vec::new();
    for file in source_files() {
        let Some(own) = floor_of(&file.room) else {
            faults.push(format!("{}: room `{}` stands on no floor; add it to FLOORS", file.name, file.room));
            continue;
        };
        if file.name == "lib.rs" {
            continue;
        }
        for (line, room) in rooms_named(&file) {
            if room == file.room {
                continue;
            }
            match floor_of(&room) {
                Some(floor) if floor < own => {}
                Some(floor) => faults.push(format!(
                    "{}:{line}: `{}` (floor {own}) looks at `{room}` (floor {floor}); only lower floors",
                    file.name, file.room
                )),
                None => faults.push(format!("{}:{line}: `crate::{room}` is no room", file.name)),
            }
        }
    }
    assert_none(faults);
}

#[test]
fn nobody_climbs_out_of_a_room_with_super() {
    let mut faults = Vec::new();
    for file in source_files() {
        // `super` of src/room/mod.rs is the crate; of src/room/part.rs it is the room.
        let folders = file.name.matches('/').count();
        let allowed = if file.name.ends_with("mod.rs") { folders.saturating_sub(1) } else { folders };
        for (at, token) in file.tokens.iter().enumerate() {
            let starts = token.text == "super" && !(at > 1 && file.tokens[at - 2].text == "super");
            if !starts {
                continue;
            }
            let steps = file.tokens[at..].chunks(2).take_while(|pair| pair[0].text == "super").count();
            if steps > allowed {
                faults.push(format!(
                    "{}:{}: `super` leaves the room; say `crate::<room>`, so that the guard sees it",
                    file.name, token.line
                ));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn dependencies_stay_at_home() {
    let mut faults = Vec::new();
    for file in source_files() {
        for (library, homes) in HOMES {
            if homes.iter().any(|home| file.name.starts_with(home)) {
                continue;
            }
            if let Some(line) = file.names_library(library) {
                faults.push(format!("{}:{line}: `{library}` lives in {}", file.name, homes.join(", ")));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn pure_rooms_never_wait() {
    let mut faults = Vec::new();
    for file in source_files().iter().filter(|file| WITHOUT_ASYNC.contains(&file.room.as_str())) {
        for token in file.tokens.iter().filter(|token| token.text == "async" || token.text == "await") {
            faults.push(format!("{}:{}: `{}` in a room that promises none", file.name, token.line, token.text));
        }
    }
    assert_none(faults);
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut faults = Vec::new();
    for file in source_files() {
        if !file.text.starts_with("//! ") {
            faults.push(format!("{}:1: begins without `//! what this file is for`", file.name));
        }
        let lines: BTreeSet<usize> = file.tokens.iter().map(|token| token.line).collect();
        if lines.len() > LONGEST_FILE {
            faults.push(format!("{}: {} lines of code, more than {LONGEST_FILE}; split it", file.name, lines.len()));
        }
    }
    assert_none(faults);
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map is there");
    let (_, rest) = map.split_once("\n## Invariants\n").expect("the map has its invariants");
    assert_none(tests_missing("ARCHITECTURE.md", rest.split("\n## ").next().unwrap_or(rest)));
}

#[test]
fn every_class_of_attack_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proof = fs::read_to_string(root.join("docs/proof.md")).expect("the proof is there");
    let (_, classes) = proof.split_once("\n## Classes of attack\n").expect("the proof has its table");
    for row in classes.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what")) {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        assert!(last.contains('`'), "docs/proof.md: no test in {row}");
    }
    assert_none(tests_missing("docs/proof.md", &proof));
}

/// The names in backticks that look like tests and are none.
fn tests_missing(file: &str, text: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut code, mut paths) = (String::new(), Vec::new());
    rust_files(&root.join("src"), &mut paths);
    rust_files(&root.join("tests"), &mut paths);
    for path in paths {
        code.push_str(&fs::read_to_string(path).expect("a source file is readable"));
    }
    let is_name = |name: &&str| {
        name.contains('_') && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(!named.is_empty(), "{file} names tests in backticks");
    let missing = named.iter().filter(|name| !code.contains(&format!("fn {name}(")));
    missing.map(|name| format!("{file}: no test is called `{name}`")).collect()
}

#[test]
fn every_file_on_the_map_is_where_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map is there");
    let files: Vec<&str> =
        map.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs") && name.contains('/')).collect();
    assert!(files.len() > 5, "the map names files in backticks");
    let missing = files.iter().filter(|name| !root.join("src").join(name).exists() && !root.join(name).exists());
    assert_none(missing.map(|name| format!("ARCHITECTURE.md: there is no `{name}`")).collect());
}

#[test]
fn the_guard_sees_what_it_should() {
    let file = SourceFile::new(
        "cert/table.rs",
        "//! x\nuse crate::{model::{Client, Path}, serve};\n// crate::app::x\nlet a = \"crate::cli\"; let b = '\"'; fn f<'a>() { crate::config::load() }\nmod toml_like { use arc_swap::ArcSwap; }\n#[cfg(test)]\nmod tests { use crate::app; }\nfn after() { x::toml::y() }",
    );
    let rooms: Vec<(usize, String)> = rooms_named(&file);
    assert_eq!(rooms, [(2, "model".into()), (2, "serve".into()), (4, "config".into())]);
    assert_eq!(file.names_library("arc_swap"), Some(5));
    assert_eq!(file.names_library("toml"), None);
    assert!(file.tokens.iter().any(|token| token.text == "after"), "what follows the tests is still read");
}

fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// One word or sign of the code, comments, strings and tests taken away.
struct Token {
    text: String,
    line: usize,
}

struct SourceFile {
    /// Below `src/`, with `/`.
    name: String,
    room: String,
    text: String,
    tokens: Vec<Token>,
}

impl SourceFile {
    fn new(name: &str, text: &str) -> SourceFile {
        let room = name.split('/').next().unwrap_or(name).trim_end_matches(".rs").to_owned();
        SourceFile { name: name.to_owned(), room, text: text.to_owned(), tokens: without_tests(tokens_of(text)) }
    }

    /// Line of the first place that names a library as a path's beginning or in a `use`.
    fn names_library(&self, library: &str) -> Option<usize> {
        let at = |index: usize| self.tokens.get(index).map_or("", |token| token.text.as_str());
        (0..self.tokens.len())
            .find(|&index| {
                let before = if index == 0 { "" } else { at(index - 1) };
                at(index) == library && before != "::" && (at(index + 1) == "::" || before == "use")
            })
            .map(|index| self.tokens[index].line)
    }
}

/// Every room named as `crate::room` or inside `crate::{...}`.
fn rooms_named(file: &SourceFile) -> Vec<(usize, String)> {
    let tokens = &file.tokens;
    let mut rooms = Vec::new();
    for at in 0..tokens.len().saturating_sub(2) {
        let is_root = tokens[at].text == "crate" || (tokens[at].text == "doorward" && file.name == "main.rs");
        if !is_root || tokens[at + 1].text != "::" {
            continue;
        }
        if tokens[at + 2].text != "{" {
            rooms.push((tokens[at + 2].line, tokens[at + 2].text.clone()));
            continue;
        }
        let mut depth = 0;
        let mut item_begins = false;
        for token in &tokens[at + 2..] {
            match token.text.as_str() {
                "{" => {
                    depth += 1;
                    item_begins = depth == 1;
                }
                "}" => depth -= 1,
                "," => item_begins = depth == 1,
                name if item_begins => {
                    rooms.push((token.line, name.to_owned()));
                    item_begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    rooms
}

/// Every Rust file below a folder.
fn rust_files(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            rust_files(&path, paths);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            paths.push(path);
        }
    }
}

/// Every file below src/, test files apart.
fn source_files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    rust_files(&root, &mut paths);
    paths.sort();
    assert!(paths.len() > 5, "src/ was not found");
    let named = paths.iter().map(|path| (path, path.strip_prefix(&root).expect("below src").to_string_lossy()));
    named
        .filter(|(_, name)| !name.split('/').any(|part| part == "tests" || part == "tests.rs"))
        .map(|(path, name)| SourceFile::new(&name, &fs::read_to_string(path).expect("a source file is readable")))
        .collect()
}

/// Splits code into words and signs; comments, strings and character literals are dropped.
fn tokens_of(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = &text[at..];
        let first = bytes[at];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_string(rest) {
            tokens.push(Token { text: "\"\"".into(), line });
            length
        } else if first == b'"' {
            tokens.push(Token { text: "\"\"".into(), line });
            quoted(rest)
        } else if first == b'\'' {
            character_or_lifetime(rest)
        } else if first.is_ascii_alphanumeric() || first == b'_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token { text: rest[..length].to_owned(), line });
            length
        } else if rest.starts_with("::") {
            tokens.push(Token { text: "::".into(), line });
            2
        } else {
            let sign = rest.chars().next().expect("not at the end");
            if !sign.is_whitespace() {
                tokens.push(Token { text: sign.to_string(), line });
            }
            sign.len_utf8()
        };
        line += text[at..at + skipped].matches('\n').count();
        at += skipped;
    }
    tokens
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of `r"…"`, `r#"…"#`, `br"…"`, if one begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|&b| b == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let head = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| head + at + end.len()))
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn character_or_lifetime(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => {
            let behind = escaped + 1;
            rest[behind..].find('\'').map_or(1, |at| behind + at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Takes away what stands under `#[cfg(test)]`: the next item, to its `;` or the end of its braces.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].len() >= MARK.len() && MARK.iter().zip(&tokens[at..]).all(|(m, t)| *m == t.text);
        if !marked {
            kept.push(Token { text: tokens[at].text.clone(), line: tokens[at].line });
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0;
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && matches!(tokens[at].text.as_str(), ";" | "}");
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

/// Every link of the papers leads to a file that is there, and to a heading that it has.
#[test]
fn every_link_of_the_papers_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [".", "docs", "contrib", "certs", "benches", "fuzz", "packaging", "nix", "tests", "src"];
    let pages = folders.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten().flatten();
    let pages: Vec<_> =
        pages.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    assert!(pages.len() > 15, "{pages:?}");
    let mut wrong = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page is text");
        for target in links(&text) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = match path.is_empty() {
                true => page.clone(),
                false => page.with_file_name("").join(path),
            };
            let has_heading = || {
                let text = fs::read_to_string(&place).unwrap_or_default();
                text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor)
            };
            if !place.exists() || !(anchor.is_empty() || has_heading()) {
                wrong.push(format!("{}: {target}", page.strip_prefix(root).unwrap_or(&page).display()));
            }
        }
    }
    assert_none(wrong);
}

/// What `](…)` leads to inside the tree; code is no link.
fn links(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")));
    }
    found
}

/// The anchor of a heading, as the usual viewers make it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|&c| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_');
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
