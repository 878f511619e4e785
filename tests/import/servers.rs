//! Servers to ask: the real program, and openssl's. Each ends with the test.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::rig::Folder;

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A self-signed certificate for some names: `<name>.crt` and `<name>.key`.
pub fn certificate(folder: &Folder, file: &str, names: &[&str]) {
    let list: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
        .args(["-subj", &format!("/CN={file}"), "-addext", &format!("subjectAltName={}", list.join(","))])
        .args(["-keyout", &format!("{file}.key"), "-out", &format!("{file}.crt")])
        .current_dir(&folder.0)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The fingerprint of a certificate, by openssl's own account.
pub fn fingerprint(folder: &Folder, file: &str) -> String {
    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", &format!("{file}.crt")])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    format!("sha256:{}", text.split_once('=').unwrap().1.trim().replace(':', "").to_lowercase())
}

/// Something that speaks TLS with a certificate made before.
pub fn openssl(folder: &Folder, file: &str) -> Server {
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-www", "-accept", &port.to_string()]);
    command.args(["-cert", &format!("{file}.crt"), "-key", &format!("{file}.key")]);
    start(folder, command, port)
}

/// The real program with a file; `PORT` in it is the port it listens on.
pub fn doorward(folder: &Folder, name: &str, file: &str) -> Server {
    let port = free_port();
    let own = folder.0.join(name);
    fs::create_dir(&own).unwrap();
    fs::write(own.join("routes.toml"), file.replace("PORT", &port.to_string())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.args(["run", "--workers", "1"]).arg("--config").arg(own.join("routes.toml"));
    command.arg("--state").arg(own.join("state")).env_remove("STATE_DIRECTORY").env_remove("RUNTIME_DIRECTORY");
    start(folder, command, port)
}

pub fn start(folder: &Folder, mut command: Command, port: u16) -> Server {
    let log = File::create(folder.0.join(format!("log-{port}"))).unwrap();
    command.current_dir(&folder.0).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let server = Server { child: command.spawn().unwrap(), port };
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "{}", log_of(&folder.0, port));
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

fn log_of(folder: &Path, port: u16) -> String {
    fs::read_to_string(folder.join(format!("log-{port}"))).unwrap_or_default()
}

/// A port that nobody has, below those that the system gives to whoever asks for any; each test begins elsewhere.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() * 17 % 15_000).unwrap();
    let ports =
        || (15_000..30_000_u16).cycle().skip(usize::from(first + NEXT.fetch_add(1, Ordering::Relaxed) % 15_000));
    ports().take(15_000).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("a port is free")
}
