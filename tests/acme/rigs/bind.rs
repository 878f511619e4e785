//! BIND as the authoritative server of a zone, which takes TXT updates signed with one key.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use hickory_proto::op::ResponseCode;

use super::answer_code;
use super::daemon::Daemon;
use crate::harness::{Folder, eventually, own_address};

const PORT: u16 = 5300;

/// The name of its key.
pub const KEY: &str = "edge-key";

/// A running `named` with a configuration of its own.
pub struct Bind {
    folder: Folder,
    daemon: Daemon,
    address: Ipv4Addr,
}

impl Bind {
    /// A server of these zones, with a key of this algorithm (`hmac-sha256`, …) that may change TXT records in them.
    pub async fn start(zones: &[&str], algorithm: &str) -> Bind {
        let folder = Folder::new();
        let address = own_address(&[PORT]);
        write_key(&folder, "tsig.key", algorithm);
        let mut text = format!(
            "include \"{0}/tsig.key\";\noptions {{ directory \"{0}\"; listen-on port {PORT} {{ {address}; }}; \
             listen-on-v6 {{ none; }}; recursion no; allow-transfer {{ none; }}; dnssec-validation no; notify no; \
             pid-file \"{0}/named.pid\"; session-keyfile \"{0}/session.key\"; minimal-responses no; }};\n\
             controls {{ }};\n",
            folder.path().display()
        );
        for zone in zones {
            let file = if zone.is_empty() { "root".to_owned() } else { zone.to_string() };
            folder.replace(&format!("{file}.zone"), zone_file(zone, address));
            let name = if zone.is_empty() { "." } else { zone };
            text += &format!(
                "zone \"{name}\" {{ type primary; file \"{file}.zone\"; \
                 update-policy {{ grant {KEY} zonesub TXT; }}; }};\n"
            );
        }
        folder.replace("named.conf", text);
        let mut bind = Bind { daemon: run(&folder), folder, address };
        bind.answers(zones).await;
        bind
    }

    async fn answers(&mut self, zones: &[&str]) {
        let server = self.server();
        for zone in zones.iter().map(|zone| if zone.is_empty() { "." } else { zone }) {
            eventually("BIND to answer", async || {
                self.daemon.assert_runs();
                answer_code(server, zone).await.filter(|code| *code == ResponseCode::NoError)
            })
            .await;
        }
    }

    /// Where it listens, UDP and TCP.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::new(self.address.into(), PORT)
    }

    /// Its key file, as `tsig-keygen` wrote it.
    pub fn key_file(&self) -> std::path::PathBuf {
        self.folder.at("tsig.key")
    }

    /// `dns = { … }` of a routes.toml that lets this server be changed.
    pub fn dns(&self) -> String {
        format!(
            "{{ provider = \"rfc2136\", server = \"{}\", key = \"{KEY}\", key_file = \"{}\" }}",
            self.server(),
            self.key_file().display()
        )
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it again, with the records that it had.
    pub async fn start_again(&mut self, zones: &[&str]) {
        self.daemon = run(&self.folder);
        self.answers(zones).await;
    }
}

/// Writes a new key with the name that the server knows; its secret is another one each time.
pub fn write_key(folder: &Folder, file: &str, algorithm: &str) {
    let made = Command::new("tsig-keygen").args(["-a", algorithm, KEY]).output().expect("tsig-keygen runs (bind9)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = folder.at(file);
    std::fs::write(&path, made.stdout).expect("a key file");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("the mode of a key file");
}

fn run(folder: &Folder) -> Daemon {
    let mut command = Command::new("/usr/sbin/named");
    command.args(["-g", "-n", "1", "-c", "named.conf"]);
    Daemon::start("named", command, folder.path())
}

/// Every name in a zone leads to the server's own address. The root delegates the zones that the test needs to it.
fn zone_file(zone: &str, address: Ipv4Addr) -> String {
    let delegated = if zone.is_empty() { "test. NS ns.test.\nns.test. A ADDRESS\n" } else { "" };
    let origin = if zone.is_empty() { String::new() } else { zone.to_owned() };
    format!(
        "$ORIGIN {origin}.\n$TTL 60\n@ SOA ns.{zone_dot} root.{zone_dot} 1 3600 600 86400 60\n@ NS ns.{zone_dot}\n\
         ns.{zone_dot} A ADDRESS\n{wild}{delegated}",
        zone_dot = if zone.is_empty() { "root-of-test.".to_owned() } else { format!("{zone}.") },
        wild = if zone.is_empty() { "" } else { "@ A ADDRESS\n* A ADDRESS\n" },
    )
    .replace("ADDRESS", &address.to_string())
}
