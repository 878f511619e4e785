//! A certificate that nobody signed, looked at and pinned.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Output;

use crate::rig::{Folder, text};
use crate::servers::{certificate, fingerprint, openssl};

const FILE: &str = "# the house\ndomain = \"home.test\"   # here\nallow = [\"anyone\"]\nlisten.lan = { http = \":80\" }\n\n\
    [upstreams.nas]\nto = \"https://127.0.0.1:PORT\"   # the box\nverify = false\nhold = \"5s\"\n\n\
    [routes]\n# its pages\nfiles = \"nas\"\nphotos = \"nas\"\nplain = \"http://127.0.0.1:1\"\nalone = \"https://127.0.0.1:PORT\"  # by itself\n\n\
    [routes.wiki]\nto = \"http://127.0.0.1:1\"\npaths = { \"/x/*\" = \"https://127.0.0.1:PORT\" }\n";

struct Rig {
    folder: Folder,
    pin: String,
    file: String,
    _server: crate::servers::Server,
}

impl Rig {
    fn new() -> Rig {
        let folder = Folder::new();
        certificate(&folder, "nas", &["nas.local", "box"]);
        let pin = fingerprint(&folder, "nas");
        let server = openssl(&folder, "nas");
        let file = FILE.replace("PORT", &server.port.to_string());
        fs::write(folder.0.join("routes.toml"), &file).unwrap();
        Rig { folder, pin, file, _server: server }
    }

    fn trust(&self, words: &[&str]) -> Output {
        self.folder.doorward(&[&["trust"], words].concat())
    }

    fn now(&self) -> String {
        fs::read_to_string(self.folder.0.join("routes.toml")).unwrap()
    }
}

#[test]
fn the_pin_takes_the_place_of_the_judge_and_all_else_stays() {
    let rig = Rig::new();
    let path = rig.folder.0.join("routes.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let owner = fs::metadata(&path).unwrap().uid();
    let output = rig.trust(&["files", "--yes"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    for word in ["nas: https://127.0.0.1:", "CN=nas", "nas.local, box", "no: ", "not verified at all", &rig.pin] {
        assert!(printed.contains(word), "{word} is missing\n{printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 80 || line.contains("Written into")), "{printed}");
    let wanted =
        rig.file.replace("verify = false\nhold = \"5s\"\n", &format!("hold = \"5s\"\npin = \"{}\"\n", rig.pin));
    assert_eq!(rig.now(), wanted);
    let after = fs::metadata(&path).unwrap();
    assert_eq!((after.mode() & 0o777, after.uid()), (0o640, owner));
    rig.folder.check(&rig.now());

    let again = rig.trust(&["nas"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).contains("pinned already"), "{}", text(&again.stdout));
}

#[test]
fn an_address_in_a_route_and_one_in_a_path_can_be_pinned() {
    let rig = Rig::new();
    let output = rig.trust(&["alone", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(rig.now().contains(&format!(", pin = \"{}\" }}  # by itself\n", rig.pin)), "{}", rig.now());
    let output = rig.trust(&["wiki/x/*", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(rig.now().contains("\"/x/*\" = \"wiki-x\""), "{}", rig.now());
    assert!(rig.now().contains("[upstreams.wiki-x]\n"), "{}", rig.now());
    rig.folder.check(&rig.now());
}

#[test]
fn without_a_yes_nothing_is_changed() {
    let rig = Rig::new();
    let output = rig.trust(&["nas"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains(&rig.pin));
    assert!(text(&output.stderr).contains("--yes"), "{}", text(&output.stderr));
    assert_eq!(rig.now(), rig.file);
}

#[test]
fn a_link_stays_a_link() {
    let rig = Rig::new();
    let (link, real) = (rig.folder.0.join("routes.toml"), rig.folder.0.join("real.toml"));
    fs::rename(&link, &real).unwrap();
    symlink("real.toml", &link).unwrap();
    assert_eq!(rig.trust(&["nas", "--yes"]).status.code(), Some(0));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains(&rig.pin));
}

#[test]
fn a_faulty_file_an_unknown_name_and_a_server_without_tls_are_refused() {
    let rig = Rig::new();
    for (name, says) in [("nass", "did you mean `nas`?"), ("plain", "without TLS"), ("wiki/y", "has no path `/y`")] {
        let output = rig.trust(&[name, "--yes"]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(&output.stderr).contains(says), "{name}: {}", text(&output.stderr));
    }
    let faulty = rig.file.replace("hold", "hodl");
    fs::write(rig.folder.0.join("routes.toml"), &faulty).unwrap();
    let output = rig.trust(&["nas", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("unknown key `hodl`"), "{}", text(&output.stderr));
    assert_eq!(rig.now(), faulty);
}

/// `doorward trust` after some commands of root in a namespace of mounts of its own.
fn trust_where(rig: &Rig, prepared: &str, words: &str) -> Output {
    let script = format!("{prepared} && exec \"$0\" trust nas --yes {words}");
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-ec", &script, env!("CARGO_BIN_EXE_doorward")]).current_dir(&rig.folder.0);
    command.env("HERE", &rig.folder.0).stdin(std::process::Stdio::null()).output().expect("unshare is there")
}

#[test]
fn a_file_that_cannot_be_written_stays_and_the_line_is_printed() {
    let rig = Rig::new();
    let prepared = "mount --bind \"$HERE\" \"$HERE\" && mount -o remount,bind,ro \"$HERE\" && cd \"$HERE\"";
    let output = trust_where(&rig, prepared, "");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("cannot be written") && err.contains("Write this into [upstreams.nas]"), "{err}");
    assert_eq!(out.lines().last(), Some(format!("pin = \"{}\"", rig.pin).as_str()), "{out}");
    assert_eq!(rig.now(), rig.file);
}

#[test]
fn a_file_in_the_nix_store_stays_and_the_line_is_printed() {
    let rig = Rig::new();
    let is_there = std::path::Path::new("/nix").exists();
    let prepared = "mkdir -p /nix && mount -t tmpfs none /nix && mkdir -p /nix/store/abc-edge && \
                    cp routes.toml /nix/store/abc-edge/ && ln -sf /nix/store/abc-edge/routes.toml linked.toml";
    let output = trust_where(&rig, prepared, "--config linked.toml");
    if !is_there {
        // Whoever made it meanwhile keeps it: only an empty folder goes.
        let _ = fs::remove_dir("/nix");
    }
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("made by Nix (/nix/store/abc-edge/routes.toml)"), "{err}");
    assert_eq!(out.lines().last(), Some(format!("pin = \"{}\"", rig.pin).as_str()), "{out}");
}
