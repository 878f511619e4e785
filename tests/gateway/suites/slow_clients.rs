//! Fifteen slow clients, as a program plays them that any gateway can be judged by; docs/proof.md has what it says of others.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::output;
use crate::harness::{Door, Gateway, HOME, own_address};

#[tokio::test]
#[ignore = "slow: the time limits must really pass"]
async fn fifteen_slow_clients_are_all_cut_off_within_75_seconds() {
    let backend = format!("{}:19000", own_address(&[19000]));
    let edge = Gateway::serving(format!("[routes]\nshop = \"http://{backend}\"")).await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/suites/slow_clients.py");
    let mut command = Command::new("python3");
    command.args(["-B", program, &edge.address().to_string(), &Door::Plain.port().to_string()]);
    command.args([&Door::Https.port().to_string(), "shop.home.test", "--backend", &backend]);
    command.args(["--source", &HOME.to_string()]);
    let said = output(command, Duration::from_secs(150)).await;
    println!("{said}");
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((&report["cut"], &report["of"]), (&Value::from(15), &Value::from(15)), "{said}");
}
