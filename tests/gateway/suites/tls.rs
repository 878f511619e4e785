//! testssl.sh and sslyze on the https door.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::{installed, is_there, not_judged, output};
use crate::harness::{Door, Gateway, Upstream};

/// What testssl.sh finds fault with and we do not, each with the reason.
const ACCEPTED: &[(&str, &str)] = &[
    ("engine_problem", "about the openssl of the machine that tests"),
    (
        "cipher_order",
        "every suite is strong, so the client chooses what its hardware does best, as Mozilla's guide says",
    ),
    ("cert_revocation", "a private CA for a test has neither OCSP nor a list"),
    ("cert_chain_of_trust", "a CA of the test's own, where testssl.sh has none of the stores that it knows"),
    ("DNS_CAArecord", "the names of a test are in no DNS"),
    ("security_headers", "what the application behind sends is the application's to say; `headers` adds to it"),
    ("cert_trust", "the address instead of the name is looked at"),
];

/// A gateway with a certificate as short-lived as a real one, and HSTS.
async fn edge() -> (Gateway, Upstream) {
    let shop = Upstream::answering("hello").await;
    let mut edge = Gateway::stopped();
    edge.ca().issue_for_days(&["home.test", "*.home.test"], 90).write(edge.folder(), "edge");
    edge.write_routes(format!("[routes]\nshop = {{ to = \"{shop}\", hsts = \"365d\" }}"));
    edge.folder().replace("ca.pem", edge.ca().pem());
    edge.start(&[]).await;
    (edge, shop)
}

#[tokio::test]
#[ignore = "slow: a minute of handshakes"]
async fn testssl_finds_nothing_that_is_not_accepted() {
    if !is_there("testssl") {
        return not_judged("testssl.sh");
    }
    let (edge, _shop) = edge().await;
    // What it could not look at (its own clients stalled, say) is looked at again: that is no finding.
    for is_last in [false, false, true] {
        let faults = testssl_faults(&edge).await;
        if faults.iter().any(was_looked_at) || is_last {
            assert!(faults.is_empty(), "{faults:#?}");
        }
        if faults.is_empty() {
            break;
        }
        println!("again, because of {faults:#?}");
    }
}

/// Whether a fault is one, and not a look that did not succeed.
fn was_looked_at(fault: &Value) -> bool {
    !matches!(fault["severity"].as_str(), Some("WARN" | "DEBUG" | "FATAL"))
}

/// What testssl.sh finds fault with that is not accepted.
async fn testssl_faults(edge: &Gateway) -> Vec<Value> {
    let report = edge.folder().at("testssl.json");
    let _ = std::fs::remove_file(&report); // it appends
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "min"]);
    command.arg("--ip").arg(edge.address().to_string());
    command.arg("--add-ca").arg(edge.folder().at("ca.pem")).arg("--jsonfile").arg(&report);
    command.arg(format!("https://shop.home.test:{}", Door::Https.port()));
    let said = output(command, Duration::from_secs(400)).await;
    let report = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("{e}: {said}"));
    let findings: Vec<Value> = serde_json::from_str(&report).unwrap_or_else(|e| panic!("{e}: {report}"));
    assert!(findings.len() > 120, "it looked at everything: {}", findings.len());
    let is_fault = |f: &Value| !matches!(f["severity"].as_str(), Some("OK" | "INFO"));
    let is_accepted =
        |f: &Value| ACCEPTED.iter().any(|(id, _)| f["id"].as_str().is_some_and(|found| found.starts_with(id)));
    let count = findings.len();
    let (accepted, faults): (Vec<Value>, Vec<Value>) = findings.into_iter().filter(is_fault).partition(is_accepted);
    println!("{count} findings, {} accepted: {accepted:#?}", accepted.len());
    faults
}

#[tokio::test]
#[ignore = "slow: hundreds of handshakes"]
async fn sslyze_sees_what_mozilla_recommends() {
    let Some(sslyze) = installed("sslyze/bin/sslyze") else { return not_judged("sslyze") };
    let (edge, _shop) = edge().await;
    let place = format!("shop.home.test:{}{{{}}}", Door::Https.port(), edge.address());
    let mut command = Command::new(&sslyze);
    command.arg("--mozilla_config=intermediate").arg("--certinfo_ca_file").arg(edge.folder().at("ca.pem")).arg(&place);
    let said = output(command, Duration::from_secs(200)).await;
    let verdict = said.split("COMPLIANCE AGAINST").nth(1).unwrap_or_else(|| panic!("{said}"));
    let faults: Vec<&str> = verdict.lines().map(str::trim).filter(|line| line.starts_with("* ")).collect();
    // sslyze asks the stores of browsers as well, which do not know a CA made for this test.
    let faults: Vec<&&str> = faults.iter().filter(|line| !line.starts_with("* certificate_path_validation")).collect();
    println!("{verdict}");
    assert!(faults.is_empty() && verdict.contains("intermediate"), "{verdict}");
}
