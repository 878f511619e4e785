//! NPM's databases made at random, and beside each the nginx that NPM would have made of it: whomever the imported file lets
//! in, the real nginx lets in too. What NPM writes for a host is written here anew, as far as it decides who may enter.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::{Folder, ProxyHost, Version, access_list, database, insert, place, text};
use crate::servers::{Server, free_port, start};

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.throw(of.len())].clone()
    }
}

const BLOCKS: [&str; 9] = [
    "10.0.0.0/24",
    "10.0.0.0/25",
    "10.0.0.7",
    "10.0.0.200",
    "10.0.1.0/24",
    "10.0.1.9/25",
    "0.0.0.0/0",
    "fd00::/64",
    "all",
];
const CLIENTS: [&str; 6] = ["10.0.0.7", "10.0.0.200", "10.0.1.9", "10.0.1.130", "203.0.113.5", "fd00::7"];
const PATHS: [&str; 12] =
    ["/", "/a", "/a/", "/a/b", "/ab", "/b/c", "/a//b", "/x/../a/b", "/%61/b", "/.well-known/x", "/a/b/c", "/A/b"];
const SNIPPETS: [&str; 12] = [
    "",
    "",
    "",
    "client_max_body_size 0;",
    "proxy_read_timeout 60s;\n# deny all;",
    "deny all;",
    "allow 10.0.0.0/24;\ndeny all;",
    "satisfy any;",
    "if ($uri ~ ^/a) { return 403; }",
    "location /b { deny all; }",
    "location = /.well-known/x { return 301 $scheme://$host/a; }",
    "add_header X-Frame-Options \"deny all;\";",
];
const PLACES: [&str; 6] = ["/a", "/a/", "= /a/b", "^~ /b", "/", "~ ^/a/b"];

/// A list as NPM has it.
struct List {
    rules: Vec<(&'static str, &'static str)>,
    users: usize,
    any: bool,
}

/// A host as NPM has it.
struct Host {
    list: Option<usize>,
    snippet: &'static str,
    locations: Vec<(&'static str, &'static str)>,
}

fn list(dice: &mut Dice) -> List {
    let rules = (0..dice.throw(4)).map(|_| (dice.one(&["allow", "allow", "deny"]), dice.one(&BLOCKS))).collect();
    let users = if dice.throw(4) == 0 { 1 } else { 0 };
    List { rules, users, any: dice.throw(2) == 0 }
}

fn host(dice: &mut Dice, lists: usize) -> Host {
    let mut locations: Vec<(&str, &str)> = Vec::new();
    for _ in 0..dice.throw(3) {
        let place = dice.one(&PLACES);
        // nginx refuses the same location twice.
        let is_new = locations.iter().all(|(other, _)| other != &place);
        if is_new {
            locations.push((place, dice.one(&["", "", "deny all;", "allow 10.0.0.0/25; deny all;", "expires 1h;"])));
        }
    }
    let list = (dice.throw(4) > 0).then(|| dice.throw(lists));
    let mut snippet = dice.one(&SNIPPETS);
    if locations.iter().any(|(place, _)| place.ends_with("/b")) && snippet.contains("location /b") {
        snippet = "";
    }
    Host { list, snippet, locations }
}

/// What NPM writes into a location for a list.
fn rendered(list: Option<&List>) -> String {
    let Some(list) = list else { return String::new() };
    let mut out = String::new();
    if list.users > 0 {
        out += "auth_basic \"x\"; auth_basic_user_file users;\n";
    }
    for (directive, address) in &list.rules {
        let _ = writeln!(out, "{directive} {address};");
    }
    let _ = writeln!(out, "deny all;\nsatisfy {};", if list.any { "any" } else { "all" });
    out
}

/// The servers that NPM would have written, and one behind them that answers.
fn nginx(folder: &Folder, lists: &[List], hosts: &[Host]) -> Server {
    let here = folder.0.display().to_string();
    let (port, inner) = (free_port(), free_port());
    std::fs::write(folder.0.join("users"), "joe:{PLAIN}x\n").unwrap();
    let mut conf = format!(
        "pid {here}/pid;\nerror_log {here}/error.log crit;\ndaemon off;\nmaster_process off;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3; uwsgi_temp_path {here}/t4; \
         scgi_temp_path {here}/t5;\nset_real_ip_from 127.0.0.1;\nreal_ip_header X-Real-IP;\n\
         server {{ listen 127.0.0.1:{inner}; return 200 \"in\"; }}\n"
    );
    for (number, host) in hosts.iter().enumerate() {
        let access = rendered(host.list.map(|list| &lists[list]));
        let pass = format!("proxy_pass http://127.0.0.1:{inner};\n");
        let _ =
            writeln!(conf, "server {{\nlisten 127.0.0.1:{port};\nserver_name h{number}.home.test;\n{}", host.snippet);
        let mut has_root = false;
        for (place, snippet) in &host.locations {
            has_root |= *place == "/";
            let _ = writeln!(conf, "location {place} {{\n{pass}{access}{snippet}\n}}");
        }
        if !has_root {
            let _ = writeln!(conf, "location / {{\n{access}{pass}}}");
        }
        conf += "}\n";
    }
    conf += "}\n";
    std::fs::write(folder.0.join("nginx.conf"), conf).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.args(["-c", &format!("{here}/nginx.conf"), "-e", &format!("{here}/error.log"), "-p", &here]);
    start(folder, command, port)
}

/// Whether nginx lets somebody in, without a password.
fn admits(nginx: &Server, host: &str, client: &str, path: &str) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", nginx.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nX-Real-IP: {client}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    match answer.get(9..12) {
        Some("401" | "403") => false,
        Some("200" | "301" | "302") => true,
        _ => panic!("{host}{path} from {client}: {answer}"),
    }
}

/// What the imported file lets in: a promise that it does not is broken, at the line of that promise.
fn admitted(folder: &Folder, file: &str, asked: &[(String, &str, &str)]) -> Vec<bool> {
    let mut whole = file.to_owned();
    let mut lines = Vec::new();
    for (host, client, path) in asked {
        lines.push(whole.lines().count() + 4);
        let _ = write!(whole, "[[expect]]\nfrom = \"{client}\"\nurl = \"http://{host}{path}\"\nis = \"denied\"\n");
    }
    std::fs::write(folder.0.join("asked.toml"), whole).unwrap();
    let said = folder.doorward(&["check", "asked.toml", "--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let faults: Vec<&Value> = said["faults"].as_array().unwrap().iter().collect();
    for fault in &faults {
        let message = fault["message"].as_str().unwrap();
        assert!(message.starts_with("this promise is broken: "), "{fault}\n{file}");
    }
    let is_broken = |line: usize| {
        faults.iter().any(|fault| {
            let is_absent = fault["message"].as_str().is_some_and(|text| text.contains("no door knows"));
            fault["line"] == json!(line) && !is_absent
        })
    };
    lines.into_iter().map(is_broken).collect()
}

fn without_promises(file: &str) -> String {
    file.split("\n[[expect]]").next().unwrap().to_owned() + "\n"
}

#[test]
fn whomever_the_imported_file_lets_in_the_nginx_of_npm_lets_in_too() {
    tried(0..1);
}

#[test]
#[ignore = "slow: three seconds for each database"]
fn whomever_any_imported_file_lets_in_the_nginx_of_npm_lets_in_too() {
    tried(0..40);
}

fn tried(seeds: std::ops::Range<u64>) {
    let (mut asked_in_all, mut let_in, mut told_apart) = (0, 0, 0);
    for seed in seeds {
        let mut dice = Dice(seed);
        let folder = Folder::new();
        let lists: Vec<List> = (0..4).map(|_| list(&mut dice)).collect();
        let hosts: Vec<Host> = (0..10).map(|_| host(&mut dice, lists.len())).collect();
        let npm = database(&folder, Version::V2_15);
        let ids: Vec<i64> =
            lists.iter().map(|list| access_list(&npm, "list", &list.rules, &["joe"][..list.users], list.any)).collect();
        for (number, host) in hosts.iter().enumerate() {
            let locations: Vec<Value> = host
                .locations
                .iter()
                .map(|(place, snippet)| {
                    json!({"path": place, "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 9,
                           "advanced_config": snippet})
                })
                .collect();
            let name = format!("h{number}.home.test");
            insert(
                &npm,
                &ProxyHost {
                    names: &[&name],
                    to: ("http", "127.0.0.1", 8),
                    access: host.list.map_or(0, |list| ids[list]),
                    certificate: 0,
                    snippet: host.snippet,
                    locations: &Value::from(locations).to_string(),
                },
            );
        }
        drop(npm);
        let output = folder.doorward(&["import", "npm", &place(&folder)]);
        let file = text(&output.stdout);
        let nginx = nginx(&folder, &lists, &hosts);
        let asked: Vec<(String, &str, &str)> = (0..10)
            .flat_map(|number| {
                let each = |client| PATHS.map(|path| (format!("h{number}.home.test"), client, path));
                CLIENTS.into_iter().flat_map(each).collect::<Vec<_>>()
            })
            .collect();
        for ((host, client, path), is_in) in asked.iter().zip(admitted(&folder, &file, &asked)) {
            asked_in_all += 1;
            let_in += usize::from(is_in);
            if is_in {
                let conf = std::fs::read_to_string(folder.0.join("nginx.conf")).unwrap();
                assert!(admits(&nginx, host, client, path), "seed {seed}: {client} at {host}{path}\n{conf}\n{file}");
            }
        }
        // A file that were wider would be found out.
        if seed == 0 {
            let wider = file.replace("allow = []", "allow = [\"anyone\"]");
            let answers = asked.iter().zip(admitted(&folder, &without_promises(&wider), &asked));
            told_apart =
                answers.filter(|((host, client, path), is_in)| *is_in && !admits(&nginx, host, client, path)).count();
        }
    }
    assert!(told_apart > 0);
    // Otherwise a file that lets nobody in would do.
    assert!(let_in * 10 > asked_in_all, "{let_in} of {asked_in_all}");
}
