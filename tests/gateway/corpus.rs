//! The request corpus: hundreds of odd and hostile requests, judged from both ends by its own runners.
//!
//! It lies in `../shared/corpus` beside the checkout; where it is absent these tests say so and judge nothing.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{CERT, Door, FRONT, Gateway, TAIL, own_address};

/// The categories of the HTTP/1.1 half, in parts of about the same length, so that they run side by side.
const PARTS: [&str; 4] = [
    "^(chunk|te|pipeline|upgrade)$",
    "^(header|content-length|garbage)$",
    "^(te-cl|host|absolute-form|ordinary)$",
    "^(version|request-line|target|method)$",
];

#[tokio::test]
async fn corpus_of_http1_bodies() {
    judge_http1(PARTS[0]).await;
}

#[tokio::test]
async fn corpus_of_http1_fields() {
    judge_http1(PARTS[1]).await;
}

#[tokio::test]
async fn corpus_of_http1_hosts() {
    judge_http1(PARTS[2]).await;
}

#[tokio::test]
async fn corpus_of_http1_request_lines() {
    judge_http1(PARTS[3]).await;
}

#[tokio::test]
async fn corpus_of_http2_requests() {
    judge("http2", Door::Https, ".", "ok", &Value::from(true)).await;
}

#[tokio::test]
async fn no_category_of_the_corpus_is_left_out() {
    let Ok(cases) = std::fs::read_to_string(corpus().join("http1.jsonl")) else { return };
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let category = case["cat"].as_str().unwrap();
        let named = |part: &&str| part.trim_matches(['^', '(', ')', '$']).split('|').any(|name| name == category);
        assert_eq!(PARTS.iter().filter(|part| named(part)).count(), 1, "{category}");
    }
}

async fn judge_http1(part: &str) {
    judge("http1", Door::Plain, part, "verdict", &Value::from("pass")).await;
}

fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus"))
}

/// Runs one part of one half of the corpus: every case as it should be.
async fn judge(half: &str, door: Door, part: &str, verdict: &str, good: &Value) {
    let corpus = corpus();
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
    command.arg("--backend").arg(&backend).arg("--json").arg(&report).arg("--only").arg(part);
    let output = tokio::task::spawn_blocking(move || command.output().expect("python runs")).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let report = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("no report ({e}): {said}"));
    let cases: Vec<Value> = serde_json::from_str(&report).unwrap();
    assert!(cases.len() > 30, "{said}");
    assert!(!edge.has_ended(), "the process is still the same");
    let failed: Vec<String> = cases.iter().filter(|case| case[verdict] != *good).map(Value::to_string).collect();
    assert!(failed.is_empty(), "{} cases fail:\n{}\n{said}", failed.len(), failed.join("\n"));
    println!("{said}");
}

/// A Python that has what the runner needs.
fn python(with_hpack: bool) -> &'static str {
    let needs = if with_hpack { "import hpack" } else { "import json" };
    let able = |name: &&str| Command::new(name).args(["-c", needs]).output().is_ok_and(|o| o.status.success());
    let found = ["python3", "/usr/bin/python3"].into_iter().find(able);
    found.expect("python3 is needed for the request corpus, with `hpack` (Debian: python3-hpack)")
}
