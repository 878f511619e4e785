//! The command line as a person or a script meets it: the real program, its exit codes, what it prints, and a demo whose
//! printed lines work as they stand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const GOOD: &str = r#"domain = "home.test"
allow = ["lan"]
networks = { lan = ["192.0.2.0/24"] }
listen.lan = { http = ":80" }
[routes]
films = "http://192.0.2.20:8096"
[routes.files]
to = "http://192.0.2.22"
paths = { "/old" = { redirect = "/new" } }
[[expect]]
from = "lan"
url = "http://films.home.test/"
is = "films"
"#;

/// A folder of its own for one test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("doorward-cli-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn with(text: &str) -> Folder {
        let folder = Folder::new();
        fs::write(folder.0.join("routes.toml"), text).unwrap();
        folder
    }

    fn doorward(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// The program, in this folder, with an environment that says nothing.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env_remove("STATE_DIRECTORY").env_remove("RUNTIME_DIRECTORY").env_remove("DOORWARD_LOG");
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_file_is_checked_with_exit_code_0_and_a_summary() {
    let folder = Folder::with(GOOD);
    let output = folder.doorward(&["check"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    assert!(printed.ends_with("routes.toml: good (2 routes, 1 door, 1 expectation)\n"), "{printed}");
}

#[test]
fn every_fault_is_printed_and_the_exit_code_is_1() {
    let folder = Folder::with(&GOOD.replace("to =", "too =").replace("\"films\"", "\"flims\""));
    let output = folder.doorward(&["check", "routes.toml"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("routes.toml:8:1: error: unknown key `too`"), "{printed}");
    assert!(printed.contains("routes.toml:13:6: error: "), "{printed}");
    assert!(printed.lines().last().unwrap().starts_with("2 faults, "), "{printed}");
}

#[test]
fn a_broken_promise_is_a_fault() {
    let folder = Folder::with(&GOOD.replace("from = \"lan\"", "from = \"198.51.100.1\""));
    let output = folder.doorward(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("routes.toml:"), "{}", text(&output.stdout));
}

#[test]
fn a_check_for_programs_is_one_json_object() {
    let folder = Folder::with(&GOOD.replace("to =", "too ="));
    let output = folder.doorward(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["good"], false);
    assert_eq!(json["faults"][0]["line"], 8);
    assert_eq!(json["faults"][0]["column"], 1);
    assert!(json["faults"][0]["help"].as_str().is_some_and(|help| !help.is_empty()), "{json}");
}

#[test]
fn a_file_that_is_not_there_is_another_matter_than_a_faulty_one() {
    let folder = Folder::new();
    let output = folder.doorward(&["check", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("nowhere.toml"), "{}", text(&output.stderr));
}

#[test]
fn without_any_file_the_way_on_is_shown() {
    // On a machine with an installed file there is always one.
    if Path::new("/etc/doorward/routes.toml").exists() {
        return;
    }
    let folder = Folder::new();
    for order in ["run", "check"] {
        let output = folder.doorward(&[order]);
        assert_eq!(output.status.code(), Some(2), "{order}");
        assert!(text(&output.stderr).contains("doorward demo"), "{}", text(&output.stderr));
    }
}

#[test]
fn the_table_of_a_file_is_shown_without_serving() {
    let folder = Folder::with(GOOD);
    let output = folder.doorward(&["routes", "routes.toml"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for word in ["films", "192.0.2.20:8096", "/old", "/new", "lan"] {
        assert!(printed.contains(word), "{word} is missing:\n{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");

    let json = folder.doorward(&["routes", "--config", "routes.toml", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(rows["routes"][0]["host"], "films.home.test");
}

#[test]
fn the_table_of_a_faulty_file_is_its_faults() {
    let folder = Folder::with("[routes]\nfilms = 7\n");
    let output = folder.doorward(&["routes", "routes.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("routes.toml:2:9: error: "), "{}", text(&output.stderr));
}

#[test]
fn live_orders_say_where_they_looked_when_nobody_is_there() {
    let folder = Folder::with(GOOD);
    for order in ["reload", "routes"] {
        let output = folder.doorward(&[order, "--state", "elsewhere"]);
        assert_eq!(output.status.code(), Some(2), "{order}");
        assert!(text(&output.stderr).contains("elsewhere/admin.sock"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    let folder = Folder::with(GOOD);
    let mut child =
        folder.command(&["routes", "routes.toml"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(complaint, "");
}

#[test]
fn wrong_words_are_told_with_exit_code_2() {
    let folder = Folder::new();
    assert_eq!(folder.doorward(&["rlod"]).status.code(), Some(2));
    assert_eq!(folder.doorward(&["run", "--workers", "0"]).status.code(), Some(2));
    assert_eq!(folder.doorward(&[]).status.code(), Some(2));
    let version = folder.doorward(&["version"]);
    assert_eq!(text(&version.stdout), format!("doorward {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_file_of_the_home_is_good() {
    let folder = Folder::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes.toml");
    let output = folder.doorward(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn what_the_readme_shows_is_what_happens() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let block = |kind: &str| {
        let (_, rest) = readme.split_once(&format!("```{kind}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let file = block("toml");
    assert_eq!(file.lines().count(), 10);
    let folder = Folder::with(&file);
    let output = folder.doorward(&["check", "routes.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));

    let faulty = file.replace("[\"lan\"] ", "[\"lna\"] ").replace("max_body", "max_bdy");
    let output = Folder::with(&faulty).doorward(&["check", "routes.toml"]);
    assert_eq!(text(&output.stdout), block("text"));
}

/// A running demo; ended when dropped.
struct Demo {
    folder: Folder,
    child: Child,
    /// All that it printed before the first request.
    printed: Vec<String>,
    base: u16,
}

impl Demo {
    fn start() -> Demo {
        let folder = Folder::new();
        let base = free_ports();
        let mut child = folder
            .command(&["demo", "--port-base", &base.to_string(), "--state", "state", "--workers", "1"])
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.0.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (lines, arriving) = mpsc::channel();
        // Reads on until the end, so that access records never fill the pipe.
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line))));
        let mut printed = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !printed.iter().any(|line: &String| line.starts_with("Ctrl-C")) {
            match arriving.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => printed.push(line),
                Err(_) => panic!("the demo did not get ready:\n{}\n{}", printed.join("\n"), read(&folder, "stderr")),
            }
        }
        Demo { folder, child, printed, base }
    }

    fn lines(&self, beginning: &str) -> Vec<&str> {
        self.printed.iter().map(String::as_str).filter(|line| line.starts_with(beginning)).collect()
    }

    /// Runs a printed line; its status code and HTTP version.
    fn run(&self, line: &str) -> (String, String) {
        let script = format!("{line} -sS -o /dev/null -w '%{{http_code}} %{{http_version}}\\n'");
        let output = Command::new("sh").args(["-c", &script]).current_dir(&self.folder.0).output().unwrap();
        let printed = text(&output.stdout);
        // An upload or a page has been thrown away; the last line is curl's own.
        let (code, version) =
            printed.lines().last().and_then(|last| last.split_once(' ')).unwrap_or_else(|| {
                panic!("{line}: {printed} {}\n{}", text(&output.stderr), read(&self.folder, "stderr"))
            });
        (code.to_owned(), version.to_owned())
    }

    fn code_of(&self, name: &str) -> String {
        let port = self.base;
        let line =
            format!("curl --resolve {name}:{port}:127.0.0.1 --cacert state/local-ca/ca.crt https://{name}:{port}/");
        self.run(&line).0
    }

    fn stop(mut self) -> Option<i32> {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(45);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the demo did not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(folder: &Folder, name: &str) -> String {
    fs::read_to_string(folder.0.join(name)).unwrap_or_default()
}

/// The first of eight free ports in a row.
fn free_ports() -> u16 {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if first < 65_000 && (first..first + 8).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no free ports");
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
    }
}

#[test]
fn every_line_that_the_demo_prints_works_as_it_stands() {
    let demo = Demo::start();
    let lines = demo.lines("curl ");
    assert!(lines.len() >= 8, "{}", demo.printed.join("\n"));
    for line in &lines {
        let line = line.replace("1GiB", "1MiB");
        let (code, version) = demo.run(&line);
        let expected = match () {
            () if line.contains("Upgrade") => "101",
            () if line.contains("local.akunito.com") && line.contains("CF-Connecting-IP") => "404",
            () if line.contains(" -i ") && !line.contains("CF-Connecting-IP") => "403",
            () => "200",
        };
        assert_eq!(code, expected, "{line}\n{}", read(&demo.folder, "stderr"));
        if line.contains("https://") {
            assert_eq!(version, if line.contains("--http1.1") { "1.1" } else { "2" }, "{line}");
        }
    }
    let asked: Vec<&str> = [demo.lines(env!("CARGO_BIN_EXE_doorward")), demo.lines("sed ")].concat();
    for what in [" routes ", " explain ", " tail ", " top ", " reload ", " plan "] {
        assert!(asked.iter().any(|line| line.contains(what)), "{what} in {asked:?}");
    }
    for line in asked {
        // What goes on until somebody ends it is ended here.
        let line = line.replace(" top ", " top --once ").replace(" tail ", " tail --json -n 1 ");
        if line.contains(" tail ") {
            let mut tail = Command::new("sh").args(["-c", &line]).current_dir(&demo.folder.0).spawn().unwrap();
            eventually("the tail to end", || {
                demo.code_of("nothing.local.akunito.com");
                tail.try_wait().unwrap().is_some()
            });
            continue;
        }
        let output = Command::new("sh").args(["-c", &line]).current_dir(&demo.folder.0).output().unwrap();
        assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
    }
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn the_demo_follows_an_edit_and_refuses_a_faulty_one() {
    let demo = Demo::start();
    let file = demo.folder.0.join("state/routes.toml");
    let before = fs::read_to_string(&file).unwrap();
    assert_eq!(demo.code_of("sonarr.local.akunito.com"), "200");
    assert_eq!(demo.code_of("brandnew.local.akunito.com"), "404");

    let more = before.replacen("[routes]\n", "[routes]\nbrandnew = \"http://192.0.2.1:9\"\n", 1);
    assert_ne!(before, more);
    fs::write(&file, &more).unwrap();
    eventually("the new route is served", || demo.code_of("brandnew.local.akunito.com") == "200");

    fs::write(&file, more.replacen("brandnew = \"http://192.0.2.1:9\"", "brandnew = 7", 1)).unwrap();
    let refused = demo.folder.doorward(&["reload", "--state", "state"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    assert!(text(&refused.stdout).contains("state/routes.toml:"), "{}", text(&refused.stdout));
    assert_eq!(demo.code_of("brandnew.local.akunito.com"), "200");

    fs::write(&file, &before).unwrap();
    let accepted = demo.folder.doorward(&["reload", "--state", "state"]);
    assert_eq!(accepted.status.code(), Some(0), "{}", text(&accepted.stdout));
    assert_eq!(demo.code_of("brandnew.local.akunito.com"), "404");
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = Folder::new();
    let help = folder.doorward(&["--help"]);
    let help = text(&help.stdout);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"check") && commands.contains(&"plan"), "{commands:?}");
    for shell in ["bash", "zsh", "fish"] {
        let output = folder.doorward(&["completions", shell]);
        assert!(output.status.success());
        for command in &commands {
            assert!(text(&output.stdout).contains(command), "{command} for {shell}");
        }
    }
    assert!(folder.doorward(&["man", "pages"]).status.success());
    for command in &commands {
        let page = fs::read_to_string(folder.0.join(format!("pages/doorward-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    assert!(text(&folder.doorward(&["man"]).stdout).contains(".SH SYNOPSIS"));
}
