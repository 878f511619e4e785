//! The schema of the file: current, and of one mind with the program, by the judgement of another implementation.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::rig::{Folder, text};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect();
    files.sort();
    files
}

/// Which of these files the schema accepts; those that are no TOML are left out.
fn accepted(files: &[PathBuf]) -> Vec<(PathBuf, bool)> {
    const SCRIPT: &str = "import json, sys, tomllib, jsonschema\n\
        check = jsonschema.Draft202012Validator(json.load(open(sys.argv[1])))\n\
        for name in sys.argv[2:]:\n\
        \x20   try: table = tomllib.load(open(name, 'rb'))\n\
        \x20   except Exception: continue\n\
        \x20   faults = [e.message for e in check.iter_errors(table)]\n\
        \x20   print(json.dumps([name, not faults]))\n";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT])
        .arg(root().join("routes.schema.json"))
        .args(files)
        .output()
        .expect("python3-jsonschema is installed");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_schema_in_the_tree_is_the_one_that_the_program_prints() {
    let printed = text(&Folder::new().doorward(&["schema"]).stdout);
    let kept = fs::read_to_string(root().join("routes.schema.json")).unwrap();
    assert_eq!(kept, printed, "run `doorward schema > routes.schema.json`");
}

#[test]
fn every_good_file_is_good_by_the_schema() {
    let mut good = files("tests/config/good");
    good.extend(files("examples"));
    good.push(root().join("routes.toml"));
    let judged = accepted(&good);
    assert_eq!(judged.len(), good.len());
    for (file, is_good) in judged {
        assert!(is_good, "{}", file.display());
    }
}

#[test]
fn unknown_keys_and_wrong_kinds_are_faults_by_the_schema_too() {
    let bad = files("tests/config/bad");
    let judged = accepted(&bad);
    let is_form = |path: &Path| {
        let expected = fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
        expected.contains("error: unknown key")
    };
    let (mut forms, mut refused) = (0, 0);
    for (file, is_good) in judged {
        refused += usize::from(!is_good);
        if is_form(&file) {
            forms += 1;
            assert!(!is_good, "{}", file.display());
        }
    }
    assert!(forms > 0 && refused > forms, "{forms} {refused}");
}
