//! slowhttptest: hundreds of connections that send or read as slowly as they may, beside a client that must not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::process::Command;

use super::{is_there, not_judged, output};
use crate::harness::{Client, Door, Gateway, Upstream};

/// One behaviour of the tool, and whether all of its connections must be gone after `LENGTH`.
struct Mode {
    name: &'static str,
    arguments: &'static [&'static str],
    must_be_cut: bool,
}

const MODES: [Mode; 4] = [
    Mode { name: "headers", arguments: &["-H", "-i", "5", "-x", "24"], must_be_cut: true },
    Mode { name: "body", arguments: &["-B", "-i", "5", "-s", "8192", "-x", "24"], must_be_cut: true },
    Mode { name: "range", arguments: &["-R", "-a", "10", "-b", "3000"], must_be_cut: false },
    Mode {
        name: "read",
        arguments: &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
        must_be_cut: false,
    },
];

/// Longer than any limit that concerns them, seconds.
const LENGTH: &str = "75";

/// Connections of each behaviour.
const EACH: &str = "300";

#[tokio::test]
#[ignore = "slow: the time limits must really pass"]
async fn slowhttptest_cuts_nobody_off_but_itself() {
    if !is_there("slowhttptest") {
        return not_judged("slowhttptest");
    }
    let shop = Upstream::generating().await;
    let edge =
        Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n\"*\" = {{ to = \"{shop}\", idle = \"30s\" }}")).await;
    let over = Arc::new(AtomicBool::new(false));
    let good = tokio::spawn(keep_asking(edge.client().h2(), over.clone()));
    let before = edge.memory();
    let runs = MODES.iter().map(|mode| slow(&edge, mode));
    futures_util::future::join_all(runs).await;
    let grown = edge.memory().saturating_sub(before) >> 20;
    over.store(true, Ordering::Relaxed);
    let served = good.await.expect("the good client noticed nothing");
    println!("{served} requests of a good client meanwhile; memory grew by {grown} MiB");
    assert!(served > 100 && grown < 96, "{served} requests, {grown} MiB");
}

async fn slow(edge: &Gateway, mode: &Mode) {
    let prefix = edge.folder().at(mode.name);
    let target = if mode.name == "headers" || mode.name == "body" { "" } else { "3000000" };
    let mut command = Command::new("slowhttptest");
    command.args(mode.arguments).args(["-c", EACH, "-r", "100", "-l", LENGTH, "-p", "5", "-g", "-o"]).arg(&prefix);
    command.arg("-u").arg(format!("http://{}:{}/{target}", edge.address(), Door::Plain.port()));
    let said = output(command, Duration::from_secs(150)).await;
    // Seconds, closed, pending, connected, service available (connections that it could make beside).
    let csv = std::fs::read_to_string(prefix.with_extension("csv")).unwrap_or_else(|e| panic!("{e}: {said}"));
    let rows: Vec<Vec<u32>> =
        csv.lines().skip(1).map(|line| line.split(',').filter_map(|n| n.trim().parse().ok()).collect()).collect();
    let last = rows.last().unwrap_or_else(|| panic!("{said}"));
    println!("{}: {last:?} after {} rows", mode.name, rows.len());
    assert!(rows.iter().all(|row| row[4] > 0), "{}: always served\n{csv}", mode.name);
    // The tool ends early when the other side has closed every one; else it sits its time out.
    let is_cut = said.contains("No open connections left");
    assert!(!mode.must_be_cut || is_cut, "{}: {} connections still open\n{csv}\n{said}", mode.name, last[3]);
}

async fn keep_asking(client: Client, over: Arc<AtomicBool>) -> usize {
    let mut served = 0;
    let mut open = client.connect("shop.home.test").await;
    while !over.load(Ordering::Relaxed) {
        assert_eq!(open.get("/10000").start().await.generated_rest(0).await, 10_000);
        served += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served
}
