//! h2spec, where it is installed: no registry has it.

use std::time::Duration;

use tokio::process::Command;

use super::{is_there, not_judged, output};
use crate::harness::{Door, Gateway, Upstream};

#[tokio::test]
#[ignore = "slow: needs h2spec"]
async fn h2spec_is_content_with_every_strict_case() {
    if !is_there("h2spec") {
        return not_judged("h2spec");
    }
    let shop = Upstream::answering("a body that is long enough to be cut into pieces").await;
    let edge = Gateway::serving(format!("[routes]\n\"*\" = \"{shop}\"")).await;
    let mut command = Command::new("h2spec");
    command.args([
        "--strict",
        "-t",
        "-k",
        "-o",
        "5",
        "-h",
        &edge.address().to_string(),
        "-p",
        &Door::Https.port().to_string(),
    ]);
    let said = output(command, Duration::from_secs(400)).await;
    println!("{said}");
    assert!(said.contains(" 0 failed"), "{said}");
}
