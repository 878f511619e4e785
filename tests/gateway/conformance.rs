//! The rules of HTTP/2, each put to the gateway by a client that breaks them: `conformance.py` beside this file.

use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Door, Gateway, Upstream};

/// How long all cases may take together, where a machine is busy and each that fails waits for its answer in vain.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_rule_of_http2_is_kept() {
    let shop = Upstream::answering("a body that is long enough to be cut into pieces").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    all_pass(&edge, "shop.home.test").await;
}

/// Such an answer is there before the client has sent the next frame.
#[tokio::test]
async fn every_rule_of_http2_is_kept_by_refusals() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    all_pass(&edge, "nothing.home.test").await;
    all_pass(&edge, "shop.home.test").await;
}

/// Puts every case to a gateway, and shows those that fail.
async fn all_pass(edge: &Gateway, host: &str) {
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/conformance.py"));
    command.args([&edge.address().to_string(), &Door::Https.port().to_string(), "--host", host]);
    command.args(["--patience", "5"]).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the cases end").expect("Python runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "147 of 147 cases passed");
}
