//! contrib: the alert rules by Prometheus' own tool, and every metric that rules and dashboard name on the page of a run.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::rig::{Folder, text};
use crate::servers::{certificate, doorward, free_port, start};

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

/// A Prometheus that scrapes a run and has our rules; ended when dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(folder: &Folder, scraped: u16) -> Prometheus {
        let (port, rules) = (free_port(), contrib("prometheus/doorward.rules.yml"));
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n\
             \x20 - job_name: doorward\n    static_configs: [{{ targets: [\"127.0.0.1:{scraped}\"] }}]\n",
            rules.display()
        );
        fs::write(folder.0.join("prometheus.yml"), config).unwrap();
        let log = fs::File::create(folder.0.join("prometheus.log")).unwrap();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed");
        Prometheus { child, port }
    }

    /// What its API answers.
    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<serde_json::Value> {
        let mut command = Command::new("curl");
        command.args(["-sS", "-G", &format!("http://127.0.0.1:{}/api/v1/{path}", self.port)]);
        for (name, value) in query {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        serde_json::from_slice(&command.output().unwrap().stdout).ok()
    }

    /// The series of an expression; asked until there are some.
    fn series(&self, expression: &str) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.ask("query", &[("query", expression)]);
            let found = answer.as_ref().and_then(|answer| answer["data"]["result"].as_array().cloned());
            match found {
                Some(found) if !found.is_empty() => return found,
                _ => assert!(Instant::now() < deadline, "no series of {expression}: {answer:?}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Every expression of the dashboard, as Grafana would ask it with everything chosen.
fn panels() -> Vec<(String, String)> {
    let board: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(contrib("grafana/doorward.json")).unwrap()).unwrap();
    let mut found = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap().replace("$instance", ".*").replace("$route", ".*");
            found.push((panel["title"].as_str().unwrap().to_owned(), expression));
        }
    }
    found
}

#[test]
#[ignore = "slow: Prometheus has to scrape a few times"]
fn a_real_prometheus_scrapes_a_run_and_every_panel_shows_something() {
    let (folder, port) = (Folder::new(), free_port());
    certificate(&folder, "edge", &["a.test"]);
    let at = free_port();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-m", "http.server", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1", &at.to_string()]);
    let well = start(&folder, python, at);
    let file = format!(
        "allow = [\"anyone\"]\nlisten.a = {{ https = \"127.0.0.1:PORT\" }}\ncert.edge = {{ cert = \"../edge.crt\", key = \"../edge.key\" }}\n\
         [routes]\n\"a.test\" = {{ to = \"http://127.0.0.1:1\", hold = \"10m\" }}\n\"b.test\" = {{ to = \"http://127.0.0.1:1\", limit = \"20/min\" }}\n\
         \"c.test\" = \"http://127.0.0.1:{}\"\n\
         [metrics]\nlisten = \"127.0.0.1:{port}\"\n",
        well.port
    );
    let server = doorward(&folder, "run", &file);
    let prometheus = Prometheus::start(&folder, port);
    prometheus.series("up == 1");
    let ask = |name: &str, seconds: &str| {
        let place = format!("{name}:{}:127.0.0.1", server.port);
        let url = format!("https://{name}:{}/", server.port);
        let mut command = Command::new("curl");
        command.args(["-sk", "-m", seconds, "--resolve", &place, &url]).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    // One that waits for its upstream; a handshake that fails; a reload that is refused: then refusals until all is seen.
    let mut waiting = ask("a.test", "90");
    let routes = folder.0.join("run/routes.toml");
    let good = fs::read_to_string(&routes).unwrap();
    fs::write(&routes, format!("{good}oops = 1\n")).unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let (is_over, port) = (Arc::clone(&is_over), server.port);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                for name in ["b.test", "c.test"] {
                    let place = format!("{name}:{port}:127.0.0.1");
                    let url = format!("https://{name}:{port}/");
                    let mut command = Command::new("curl");
                    command.args(["-sk", "-m", "5", "--resolve", &place, &url]);
                    if name == "b.test" {
                        command.args(["-d", "x"]);
                    }
                    let _ = command.output();
                }
                // No TLS is spoken to an https door.
                let _ = Command::new("curl").args(["-s", "-m", "5", &format!("http://127.0.0.1:{port}/")]).output();
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    });
    for (title, expression) in panels() {
        let series = prometheus.series(&expression);
        let value = series[0]["value"][1].as_str().unwrap_or_default();
        assert!(value.parse::<f64>().is_ok(), "{title}: {series:?}");
    }
    let rules = prometheus.ask("rules", &[]).unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() > 8, "{rules:?}");
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    // The certificate lasts 30 days, the file is faulty, the upstream is not there: the last two are noticed.
    let states = |name: &str| {
        let answer = prometheus.ask("rules", &[]).unwrap();
        let rules = answer["data"]["groups"][0]["rules"].as_array().unwrap().clone();
        rules.iter().find(|rule| rule["name"] == name).map(|rule| rule["state"].as_str().unwrap_or_default().to_owned())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    for name in ["DoorwardReloadRefused", "DoorwardUpstreamFails", "DoorwardUpstreamDown"] {
        while !matches!(states(name).as_deref(), Some("pending" | "firing")) {
            assert!(Instant::now() < deadline, "{name}: {:?}", states(name));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    assert_eq!(states("DoorwardCertificateEnds").as_deref(), Some("inactive"));
    is_over.store(true, Ordering::Relaxed);
    let _ = waiting.kill();
    let _ = waiting.wait();
    asking.join().unwrap();
}
