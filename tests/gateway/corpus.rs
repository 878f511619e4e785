//! The request corpus: hundreds of odd and hostile requests, judged from both ends by its own runners.
//!
//! It lies in `../shared/corpus` beside the checkout; where it is absent these tests say so and judge nothing.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{CERT, Door, FRONT, Gateway, TAIL, own_address};

/// Cases whose expectation we hold wrong, each with the reason.
const DEVIATIONS: &[(&str, &str)] = &[];

#[tokio::test]
async fn corpus_of_http1_requests() {
    judge("http1", Door::Plain, "verdict", &Value::from("pass")).await;
}

#[tokio::test]
async fn corpus_of_http2_requests() {
    judge("http2", Door::Https, "ok", &Value::from(true)).await;
}

/// Runs one half of the corpus and compares the failing cases with the deviations.
async fn judge(half: &str, door: Door, verdict: &str, good: &Value) {
    let corpus = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus"));
    let runner = corpus.join(format!("{half}_run.py"));
    if !runner.exists() {
        eprintln!("NOT JUDGED: there is no request corpus at {}", corpus.display());
        return;
    }
    let python = python(half == "http2");
    let backend = format!("{}:19000", own_address(&[19000]));
    let doors = "[listen.main]\nhttps = \"ADDR:8443\"\n[listen.plain]\nhttp = \"ADDR:8081\"\n";
    let routes = format!("[routes]\n\"*\" = \"http://{backend}\"\n\"app.test\" = \"http://{backend}\"\n");
    let front = FRONT.replace("\"home\"]", "\"anyone\"]");
    let mut edge = Gateway::stopped();
    edge.ca().issue(&["app.test", "*.test"]).write(edge.folder(), "edge");
    edge.write(format!("{front}{doors}{CERT}{TAIL}{routes}"));
    edge.start(&[]).await;
    let report = edge.folder().at("report.json");
    let mut command = Command::new(python);
    command.arg("-B").arg(&runner).arg(edge.address().to_string()).arg(door.port().to_string());
    command.arg("--backend").arg(&backend).arg("--json").arg(&report);
    let output = tokio::task::spawn_blocking(move || command.output().expect("python runs")).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report ({e}): {said}"));
    let cases: Vec<Value> = serde_json::from_str(&report).unwrap();
    assert!(cases.len() > 50, "{said}");
    assert!(!edge.has_ended(), "the process is still the same");
    let known = |case: &&Value| DEVIATIONS.iter().any(|(id, _)| case["id"] == *id);
    let (failed, passed): (Vec<&Value>, Vec<&Value>) = cases.iter().partition(|case| case[verdict] != *good);
    let unexpected: Vec<String> = failed.iter().filter(|c| !known(c)).map(|c| c.to_string()).collect();
    assert!(unexpected.is_empty(), "{} cases fail:\n{}\n{said}", unexpected.len(), unexpected.join("\n"));
    let outdated: Vec<&Value> = passed.into_iter().filter(known).collect();
    assert!(outdated.is_empty(), "no deviations any more: {outdated:?}");
    println!("{said}");
}

/// A Python that has what the runner needs.
fn python(with_hpack: bool) -> &'static str {
    let needs = if with_hpack { "import hpack" } else { "import json" };
    let able = |name: &&str| Command::new(name).args(["-c", needs]).output().is_ok_and(|o| o.status.success());
    let found = ["python3", "/usr/bin/python3"].into_iter().find(able);
    found.expect("python3 is needed for the request corpus, with `hpack` (Debian: python3-hpack)")
}
