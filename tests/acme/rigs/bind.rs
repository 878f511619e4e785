//! BIND as the authoritative server of a zone, which takes TXT updates signed with one key.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use hickory_proto::op::ResponseCode;

use super::answer_code;
use super::daemon::Daemon;
use crate::harness::{Folder, eventually};

/// BIND listens on addresses that an interface has, so that each one needs a port of its own.
const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The name of its key.
pub const KEY: &str = "edge-key";

/// A running `named` with a configuration of its own.
pub struct Bind {
    folder: Folder,
    daemon: Daemon,
    port: u16,
}

impl Bind {
    /// A server of these zones, with a key of this algorithm (`hmac-sha256`, …) that may change TXT records in them.
    pub async fn start(zones: &[&str], algorithm: &str) -> Bind {
        let folder = Folder::new();
        let port = own_port();
        write_key(&folder, "tsig.key", algorithm);
        let mut text = format!(
            "include \"{0}/tsig.key\";\noptions {{ directory \"{0}\"; listen-on port {port} {{ {ADDRESS}; }}; \
             listen-on-v6 {{ none; }}; recursion no; allow-transfer {{ none; }}; dnssec-validation no; notify no; \
             pid-file \"{0}/named.pid\"; session-keyfile \"{0}/session.key\"; minimal-responses no; }};\n\
             controls {{ }};\n",
            folder.path().display()
        );
        for zone in zones {
            folder.replace(&format!("{zone}.zone"), zone_file(zone));
            text += &format!(
                "zone \"{zone}\" {{ type primary; file \"{zone}.zone\"; \
                 update-policy {{ grant {KEY} zonesub TXT; }}; }};
"
            );
        }
        folder.replace("named.conf", text);
        let mut bind = Bind { daemon: run(&folder), folder, port };
        bind.answers(zones).await;
        bind
    }

    async fn answers(&mut self, zones: &[&str]) {
        let server = self.server();
        for zone in zones {
            eventually("BIND to answer", async || {
                self.daemon.assert_runs();
                answer_code(server, zone).await.filter(|code| *code == ResponseCode::NoError)
            })
            .await;
        }
    }

    /// Where it listens, UDP and TCP.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::new(ADDRESS.into(), self.port)
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

/// A port that nobody has now, by UDP or TCP, below those that the system gives out; derived from the process id, so that
/// tests that run side by side begin at different ones.
fn own_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let nth = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 18_000 + ((std::process::id() as u16).wrapping_mul(31).wrapping_add(nth) % 12_000);
        if TcpListener::bind((ADDRESS, port)).is_ok() && UdpSocket::bind((ADDRESS, port)).is_ok() {
            return port;
        }
    }
}

/// Writes a new key with the name that the server knows; its secret is another one each time.
pub fn write_key(folder: &Folder, file: &str, algorithm: &str) {
    let made = Command::new("tsig-keygen").args(["-a", algorithm, KEY]).output().expect("tsig-keygen runs (bind9)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = folder.at(file);
    std::fs::write(&path, made.stdout).expect("a key file");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("the mode of a key file");
}

fn run(folder: &Folder) -> Daemon {
    let mut command = Command::new("/usr/sbin/named");
    command.args(["-g", "-n", "1", "-c", "named.conf"]);
    Daemon::start("named", command, folder.path())
}

/// Every name in a zone leads to the server's own address.
fn zone_file(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 60\n@ SOA ns root 1 3600 600 86400 60\n@ NS ns\n\
         ns A {ADDRESS}\n@ A {ADDRESS}\n* A {ADDRESS}\n"
    )
}
