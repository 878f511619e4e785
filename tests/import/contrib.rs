//! contrib: the alert rules by Prometheus' own tool, and every metric that rules and dashboard name on the page of a run.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use crate::rig::{Folder, text};
use crate::servers::{doorward, free_port};

fn contrib(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("contrib").join(path)
}

#[test]
fn the_alert_rules_pass_the_tests_of_prometheus() {
    for words in [["check", "rules", "doorward.rules.yml"], ["test", "rules", "doorward.test.yml"]] {
        let output = Command::new("promtool").args(words).current_dir(contrib("prometheus")).output();
        let output = output.expect("prometheus is installed");
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}

#[test]
fn every_metric_that_contrib_names_is_on_the_page() {
    let (folder, port) = (Folder::new(), free_port());
    let file = format!(
        "allow = [\"anyone\"]\nlisten.a = {{ http = \"127.0.0.1:PORT\" }}\nroutes.\"a.test\" = \"http://127.0.0.1:1\"\n\
         metrics = {{ listen = \"127.0.0.1:{port}\" }}\n"
    );
    let _server = doorward(&folder, "run", &file);
    let mut page = String::new();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut page).unwrap();
    let known: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert!(known.contains("doorward_build_info"), "{page}");
    for path in ["prometheus/doorward.rules.yml", "grafana/doorward.json"] {
        let text = fs::read_to_string(contrib(path)).unwrap();
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        let names: BTreeSet<&str> =
            text.split(|c: char| !is_word(c)).filter(|word| word.starts_with("doorward_")).collect();
        assert!(names.len() > 5, "{path}");
        for name in names {
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(family), "{path}: `{name}` is on no page of metrics");
        }
    }
    let board: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(contrib("grafana/doorward.json")).unwrap()).unwrap();
    assert!(board["panels"].as_array().unwrap().len() > 10);
}
