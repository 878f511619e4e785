//! Autobahn: 301 cases of WebSocket, straight to its own echo server and through the gateway. Both must look the same.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{installed, not_judged, output};
use crate::harness::{Door, Folder, Gateway, eventually, own_address};

/// Compression (12, 13) is between the two ends; their frames are bytes like others.
const LEFT_OUT: [&str; 2] = ["12.*", "13.*"];

/// How often a case that differs is repeated, directly as well: some depend on which of two packets comes first.
const REPEATS: usize = 3;

#[tokio::test]
#[ignore = "slow: 301 cases three times"]
async fn autobahn_finds_no_difference_to_the_server_itself() {
    let Some(python) = installed("python2") else { return not_judged("Autobahn") };
    let ports = [Door::Plain.port(), Door::Https.port()];
    let address = own_address(&ports);
    let _echo = echo(&python, address, ports).await;
    let edge = Gateway::serving(format!(
        "[routes]\nchat = \"http://{address}:{}\"\nsure = \"http://{address}:{}\"\n",
        ports[0], ports[1]
    ))
    .await;
    let rig = Rig { python: &python, folder: Folder::new() };
    let places = [
        ("direct", address, format!("ws://chat.home.test:{}", ports[0])),
        ("ws", edge.address(), format!("ws://chat.home.test:{}", ports[0])),
        ("wss", edge.address(), format!("wss://sure.home.test:{}", ports[1])),
    ];
    let all = ["*".to_owned()];
    let [direct, ws, wss] = [&places[0], &places[1], &places[2]].map(|(name, at, url)| rig.judge(name, *at, url, &all));
    let (direct, ws, wss) = tokio::join!(direct, ws, wss);
    assert_eq!((direct.len(), ws.len(), wss.len()), (301, 301, 301));
    for (name, through, place) in [("ws", ws, &places[1]), ("wss", wss, &places[2])] {
        let mut differ: Vec<String> = through
            .iter()
            .filter(|(case, seen)| !is_as_good(seen, &direct[*case]))
            .map(|(case, _)| case.clone())
            .collect();
        println!("{name}: {} of 301 as the server itself at the first try", 301 - differ.len());
        for _ in 0..REPEATS {
            if differ.is_empty() {
                break;
            }
            let (again, straight) = (
                rig.judge(name, place.1, &place.2, &differ).await,
                rig.judge("direct", places[0].1, &places[0].2, &differ).await,
            );
            differ.retain(|case| !is_as_good(&again[case], &straight[case]));
        }
        assert!(
            differ.is_empty(),
            "{name}: {:?}",
            differ.iter().map(|c| (c, &through[c], &direct[c])).collect::<Vec<_>>()
        );
    }
}

/// What a case came to: its verdict, and that about the closing.
type Verdict = (String, String);

fn is_as_good(through: &Verdict, direct: &Verdict) -> bool {
    through == direct || (through.0 == "OK" && through.1 == "OK")
}

async fn echo(python: &Path, address: Ipv4Addr, ports: [u16; 2]) -> Child {
    let mut command = Command::new(python);
    command.arg(script()).args(["echo", &address.to_string()]).args(ports.map(|port| port.to_string()));
    let child = command.kill_on_drop(true).spawn().expect("Python 2.7 runs");
    for port in ports {
        eventually("Autobahn's echo server", async || TcpStream::connect((address, port)).await.ok()).await;
    }
    child
}

fn script() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/suites/wstest.py")
}

struct Rig<'a> {
    python: &'a Path,
    folder: Folder,
}

impl Rig<'_> {
    async fn judge(&self, name: &str, address: Ipv4Addr, url: &str, cases: &[String]) -> BTreeMap<String, Verdict> {
        let reports = self.folder.at(name);
        let spec = json!({
            "outdir": reports, "servers": [{ "agent": name, "url": url }], "cases": cases,
            "exclude-cases": LEFT_OUT, "exclude-agent-cases": {},
        });
        let spec_file = format!("{name}.json");
        self.folder.replace(&spec_file, spec.to_string());
        let mut command = Command::new(self.python);
        command.arg(script()).args(["judge", &address.to_string()]).arg(self.folder.at(&spec_file));
        let said = output(command, Duration::from_secs(300)).await;
        let index = std::fs::read_to_string(reports.join("index.json")).unwrap_or_else(|e| panic!("{e}: {said}"));
        let index: Value = serde_json::from_str(&index).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let verdicts = index[name].as_object().unwrap().iter();
        verdicts.map(|(case, seen)| (case.clone(), (text(&seen["behavior"]), text(&seen["behaviorClose"])))).collect()
    }
}
