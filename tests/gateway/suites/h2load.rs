//! nghttp2's load tool with settings that nobody sensible has: every request is answered all the same.

use std::time::Duration;

use tokio::process::Command;

use super::{is_there, not_judged, output};
use crate::harness::{Door, Gateway, Upstream};

const ABUSES: [(&str, &[&str]); 6] = [
    ("a thousand streams at once on each connection", &["-n", "6000", "-c", "6", "-m", "1000"]),
    ("windows of one byte", &["-n", "60", "-c", "6", "-m", "10", "-w", "1", "-W", "1"]),
    ("no header table", &["-n", "3000", "-c", "10", "-m", "50", "--header-table-size=0"]),
    (
        "a header table of a mebibyte",
        &["-n", "3000", "-c", "10", "-m", "50", "--header-table-size=1m", "--encoder-header-table-size=1m"],
    ),
    ("the largest frames", &["-n", "300", "-c", "10", "-m", "10", "-f", "16777215"]),
    ("five hundred connections", &["-n", "2000", "-c", "500", "-m", "4"]),
];

#[tokio::test]
#[ignore = "slow: thousands of requests"]
async fn h2load_gets_every_answer_whatever_it_demands() {
    if !is_there("h2load") {
        return not_judged("h2load");
    }
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for (abuse, arguments) in ABUSES {
        let asked = arguments[1];
        let mut command = Command::new("h2load");
        command.args(arguments).arg(format!("--connect-to={}:{}", edge.address(), Door::Https.port()));
        command.arg("https://shop.home.test/1000");
        let said = output(command, Duration::from_secs(120)).await;
        let is_whole = said.contains(&format!("{asked} succeeded, 0 failed, 0 errored, 0 timeout"));
        assert_eq!(edge.client().h2().get("shop.home.test/7").await.body.len(), 7);
        edge.records_of("/7").await;
        let failures: Vec<_> = edge.access_log().into_iter().filter(|record| record["status"] != 200).collect();
        assert!(is_whole && failures.is_empty(), "{abuse}: {said}{failures:#?}");
    }
}
