//! Two proxies asked for the same.

use crate::rig::{Folder, text};
use crate::servers::{Server, certificate, doorward, free_port};

const FILE: &str = "domain = \"home.test\"\nallow = [\"anyone\"]\nlisten.lan = { https = \"127.0.0.1:PORT\" }\n\
    cert.home = { cert = \"../home.crt\", key = \"../home.key\" }\n\
    [routes.films.paths]\n\"/*\" = { text = \"FILM\" }\n\"/old\" = { redirect = \"/\" }\n";

fn proxy(folder: &Folder, name: &str, film: &str, more: &str) -> Server {
    doorward(folder, name, &(FILE.replace("FILM", film) + more))
}

fn ask(folder: &Folder, old: u16, new: u16, words: &[&str]) -> (Option<i32>, String) {
    let (old, new) = (format!("127.0.0.1:{old}"), format!("https://127.0.0.1:{new}/"));
    let output = folder.doorward(&[&["compare", "--old", &old, "--new", &new], words].concat());
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn equal_proxies_are_told_to_be_equal() {
    let folder = Folder::new();
    certificate(&folder, "home", &["*.home.test"]);
    let (old, new) = (proxy(&folder, "old", "films", ""), proxy(&folder, "new", "films", ""));
    let (code, printed) =
        ask(&folder, old.port, new.port, &["--config", "old/routes.toml", "--path", "/", "--path", "/old"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.ends_with("\n2 of 2 answered the same\n"), "{printed}");
    assert!(printed.lines().any(|line| line.contains("films.home.test/old") && line.contains("302")), "{printed}");
}

#[test]
fn every_difference_is_shown_and_the_exit_code_is_1() {
    let folder = Folder::new();
    certificate(&folder, "home", &["*.home.test"]);
    let route = "[routes.books]\npaths = { \"/*\" = { text = \"books\" } }\n";
    let (old, new) = (proxy(&folder, "old", "films", route), proxy(&folder, "new", "other films", ""));
    let (code, printed) = ask(&folder, old.port, new.port, &["--config", "old/routes.toml"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("\n0 of 2 answered the same\n"), "{printed}");
    assert!(
        printed.contains("    body\n        old  5 bytes") && printed.contains("        new  11 bytes"),
        "{printed}"
    );
    assert!(
        printed.lines().any(|line| line.starts_with("books.home.test/") && line.contains("200   404")),
        "{printed}"
    );
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");

    let (code, printed) = ask(&folder, old.port, new.port, &["--json", "films.home.test"]);
    assert_eq!(code, Some(1), "{printed}");
    let json: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(json["equal"], false);
    assert_eq!(json["answers"][0]["differences"].as_array().unwrap().len(), 1, "{printed}");
    assert_eq!(json["answers"][0]["differences"][0]["what"], "body");
    assert_eq!(json["answers"][0]["old"]["status"], 200);
    assert_eq!(json["answers"][0]["old"]["certificate"]["covers"], true);
}

#[test]
fn what_is_another_each_time_is_no_difference() {
    let folder = Folder::new();
    certificate(&folder, "home", &["*.home.test"]);
    let (old, new) = (proxy(&folder, "old", "films", ""), proxy(&folder, "new", "films", ""));
    // A refusal has an id of its own each time.
    let (code, printed) = ask(&folder, old.port, new.port, &["nobody.home.test"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("is another one each time)"), "{printed}");
}

#[test]
fn another_issuer_is_a_difference_and_a_renewed_certificate_is_none() {
    let folder = Folder::new();
    // Each proxy has files of its own: a running one reads a changed pair at once.
    let with = |pair: &str, by: &str| {
        certificate(&folder, by, &["*.home.test"]);
        for kind in ["crt", "key"] {
            std::fs::rename(folder.0.join(format!("{by}.{kind}")), folder.0.join(format!("{pair}.{kind}"))).unwrap();
        }
        let file = FILE.replace("FILM", "films").replace("../home.", &format!("../{pair}."));
        doorward(&folder, &format!("with-{pair}"), &file)
    };
    let (old, renewed, other) = (with("first", "home"), with("second", "home"), with("third", "other"));
    let (code, printed) = ask(&folder, old.port, renewed.port, &["films.home.test"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("another certificate of the same issuer"), "{printed}");
    let (code, printed) = ask(&folder, old.port, other.port, &["films.home.test"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("    certificate\n        old  from CN=home\n        new  from CN=other\n"), "{printed}");
}

#[test]
fn who_does_not_answer_is_named() {
    let folder = Folder::new();
    certificate(&folder, "home", &["*.home.test"]);
    let old = proxy(&folder, "old", "films", "");
    let (code, printed) = ask(&folder, old.port, free_port(), &["films.home.test"]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("cannot be reached"), "{printed}");
    let output = folder.doorward(&["compare", "--old", "ftp://x", "--new", "127.0.0.1", "a.test"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

/// A real nginx in front of the same server: what is the same, what a person wanted to be another way, and a page of our own.
#[test]
fn a_real_nginx_and_doorward_in_its_place_differ_where_their_files_do() {
    let folder = Folder::new();
    certificate(&folder, "home", &["*.home.test"]);
    let films = proxy(&folder, "films", "films", "");
    let (port, here) = (free_port(), folder.0.display().to_string());
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {here}/{kind};\n"));
    let forward = format!(
        "location / {{ proxy_pass https://127.0.0.1:{}; proxy_set_header Host films.home.test; proxy_ssl_server_name on; \
         proxy_ssl_name films.home.test; }}",
        films.port
    );
    let config = format!(
        "pid {here}/nginx.pid;\nerror_log {here}/error.log;\ndaemon off;\nevents {{}}\nhttp {{\naccess_log off;\n{}\
         ssl_certificate {here}/home.crt;\nssl_certificate_key {here}/home.key;\nabsolute_redirect off;\n\
         server {{ listen 127.0.0.1:{port} ssl; server_name films.home.test; {forward} location = /old {{ return 301 /new; }} }}\n\
         server {{ listen 127.0.0.1:{port} ssl; server_name shut.home.test; deny all; {forward} }}\n\
         server {{ listen 127.0.0.1:{port} ssl; server_name open.home.test; {forward} }}\n}}\n",
        temporary.concat()
    );
    std::fs::write(folder.0.join("nginx.conf"), config).unwrap();
    let mut command = std::process::Command::new("/usr/sbin/nginx");
    command.args(["-c", &format!("{here}/nginx.conf"), "-e", &format!("{here}/error.log")]);
    let nginx = crate::servers::start(&folder, command, port);
    let to = format!("{{ to = \"https://127.0.0.1:{}\", tls_name = \"films.home.test\", verify = false", films.port);
    let file = format!(
        "domain = \"home.test\"\nallow = [\"anyone\"]\nlisten.lan = {{ https = \"127.0.0.1:PORT\" }}\n\
         cert.home = {{ cert = \"../home.crt\", key = \"../home.key\" }}\n[routes]\n\
         films = {to}, headers = {{ request = {{ set = {{ Host = \"films.home.test\" }} }} }}, paths = {{ \"/old\" = {{ redirect = \"/new\", status = 301 }} }} }}\n\
         shut = {to}, allow = [] }}\nopen = {to}, allow = [] }}\n"
    );
    let new = doorward(&folder, "new", &file);
    let words = ["--config", "new/routes.toml", "--path", "/", "--path", "/old"];
    let (code, printed) = ask(&folder, nginx.port, new.port, &words);
    assert_eq!(code, Some(1), "{printed}");
    let row = |asked: &str| {
        printed.lines().find(|line| line.starts_with(asked)).unwrap_or_else(|| panic!("{printed}")).to_owned()
    };
    assert!(row("films.home.test/ ").ends_with("  200   200  nothing"), "{printed}");
    assert!(row("shut.home.test/ ").ends_with("  403   403  nothing"), "{printed}");
    assert!(row("open.home.test/ ").ends_with("  200   403  status"), "{printed}");
    assert!(printed.contains("(Doorward's own answer, `denied`: compared by its status alone)"), "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
}
