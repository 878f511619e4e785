//! The proxies: how each is found, configured, started and asked for its version. Their configurations are the files
//! in `peers/`, with ports and paths filled in.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Process, find};
use crate::{Failure, HOST};

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Peer {
    /// Ourselves, as cargo builds us.
    Doorward,
    /// Ourselves as packages hold us: built by `packaging/program/build`, shown beside.
    Packaged,
    /// nginx from Debian.
    Nginx,
    /// HAProxy from Debian.
    Haproxy,
    /// Caddy from Debian, shown beside.
    Caddy,
    /// A minimal gateway on pingora-proxy, from `benches/pingora`, shown beside.
    Pingora,
    /// What passes bytes on unread, shown beside where that says something: no proxy can do with less.
    Relay,
}

/// All of them, in the order of the table's columns.
pub const PEERS: [Peer; 7] =
    [Peer::Doorward, Peer::Packaged, Peer::Nginx, Peer::Haproxy, Peer::Caddy, Peer::Pingora, Peer::Relay];

/// Those that are ourselves.
pub const OURS: [Peer; 2] = [Peer::Doorward, Peer::Packaged];

impl Peer {
    /// Its name in words and files.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Doorward => "doorward",
            Peer::Packaged => "packaged",
            Peer::Nginx => "nginx",
            Peer::Haproxy => "haproxy",
            Peer::Caddy => "caddy",
            Peer::Pingora => "pingora",
            Peer::Relay => "relay",
        }
    }

    /// Its configuration before anything is filled in, and the name of the file.
    pub fn template(self) -> (&'static str, &'static str) {
        match self {
            Peer::Doorward | Peer::Packaged => ("doorward.toml", include_str!("peers/doorward.toml")),
            Peer::Nginx => ("nginx.conf", include_str!("peers/nginx.conf")),
            Peer::Haproxy => ("haproxy.cfg", include_str!("peers/haproxy.cfg")),
            Peer::Caddy => ("Caddyfile", include_str!("peers/Caddyfile")),
            // All of it is in its arguments, in its program's own order of words; the file holds them.
            Peer::Pingora => ("pingora.arguments", include_str!("peers/pingora.arguments")),
            Peer::Relay => ("relay.arguments", include_str!("peers/relay.arguments")),
        }
    }

    /// Where its program is; `doorward` is the one that was built.
    pub fn program(self, doorward: &Path) -> Option<PathBuf> {
        match self {
            Peer::Doorward => Some(doorward.to_path_buf()).filter(|file| file.is_file()),
            Peer::Packaged => {
                let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/target/program");
                let file = format!("{folder}/{}-unknown-linux-gnu/release/doorward", std::env::consts::ARCH);
                Some(PathBuf::from(file)).filter(|file| file.is_file())
            }
            // Built on its own, if anybody wants it: `cargo build --release --manifest-path benches/pingora/Cargo.toml`.
            Peer::Pingora => {
                let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/pingora/target/release/pingora-peer");
                Some(PathBuf::from(file)).filter(|file| file.is_file())
            }
            Peer::Relay => std::env::current_exe().ok(),
            other => find(other.name()),
        }
    }

    /// What it says its version is.
    pub fn version(self, program: &Path) -> String {
        if self == Peer::Pingora {
            return locked_version(include_str!("../pingora/Cargo.lock"), "pingora-proxy");
        }
        let word = match self {
            Peer::Relay => {
                return "passes bytes on, looks at none: what the system calls of a proxy cost by themselves"
                    .to_owned();
            }
            Peer::Doorward | Peer::Packaged => "--version",
            Peer::Nginx | Peer::Haproxy => "-v",
            Peer::Caddy | Peer::Pingora => "version",
        };
        let output = Command::new(program).arg(word).output();
        let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or("unknown version").to_owned();
        line.trim_start_matches("nginx version: ").split(" - ").next().unwrap_or_default().to_owned()
    }

    fn arguments(self, config: &Path, dir: &Path, shape: &Shape) -> Vec<String> {
        let config = config.display().to_string();
        let words: Vec<String> = match self {
            Peer::Doorward | Peer::Packaged => {
                let state = dir.join("doorward-state").display().to_string();
                let workers = shape.workers.to_string();
                ["run", "--config", &config, "--state", &state, "--workers", &workers].map(str::to_owned).to_vec()
            }
            Peer::Nginx => ["-c", &config, "-e", "stderr"].map(str::to_owned).to_vec(),
            Peer::Haproxy => ["-db", "-f", &config].map(str::to_owned).to_vec(),
            Peer::Caddy => ["run", "--adapter", "caddyfile", "--config", &config].map(str::to_owned).to_vec(),
            Peer::Pingora | Peer::Relay => {
                fs::read_to_string(&config).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
            }
        };
        words
    }
}

/// What all proxies are given alike.
pub struct Ground {
    /// Where configurations, logs and keys go.
    pub dir: PathBuf,
    /// Core of the proxies.
    pub core: usize,
    /// Port of the origin.
    pub origin: u16,
    /// Port of the origin's log sink.
    pub log: u16,
}

impl Ground {
    /// PEM of the certificate.
    pub fn cert(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    /// Makes the P-256 certificate that all of them serve.
    pub fn mint(&self) -> Result<(), Failure> {
        let pair = rcgen::generate_simple_self_signed([HOST.to_owned(), "*.bench.test".to_owned()])?;
        let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        fs::write(self.cert(), &cert)?;
        fs::write(self.dir.join("key.pem"), &key)?;
        fs::write(self.dir.join("both.pem"), cert + &key)?;
        Ok(())
    }
}

/// How much of the machine a proxy is given, and how much it has to know.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its cores, as `taskset -c` reads them.
    pub cores: String,
    /// Threads that serve; of Doorward only.
    pub workers: usize,
    /// More text for the end of its configuration.
    pub more: String,
    /// A program that runs it, with its words.
    pub under: Vec<String>,
}

impl Shape {
    /// One core, nothing else: what all rows but our own questions measure.
    pub fn single(core: usize) -> Shape {
        Shape { cores: core.to_string(), workers: 1, more: String::new(), under: Vec::new() }
    }
}

/// A proxy that serves.
pub struct Serving {
    /// Its processes.
    pub process: Process,
    /// Its program.
    pub program: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// HTTP/1.1 in the clear.
    pub clear: SocketAddr,
    /// HTTP/1.1 and HTTP/2 over TLS.
    pub tls: SocketAddr,
}

impl Serving {
    /// Writes the configuration, starts the proxy on its cores and waits until both ports answer.
    pub fn start(peer: Peer, program: &Path, ground: &Ground, shape: &Shape) -> Result<Serving, Failure> {
        let [clear, tls, metrics] = free_ports()?;
        let (file, template) = peer.template();
        let path = |name: &str| ground.dir.join(name).display().to_string();
        // A second instance of the same proxy shares nothing with the first.
        let dir = ground.dir.join(format!("{}-{clear}", peer.name()));
        fs::create_dir(&dir)?;
        // Started as root, nginx would give its worker to a user who may not read our folder.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let words = [
            ("@DIR@", dir.display().to_string()),
            ("@CERT@", path("cert.pem")),
            ("@KEY@", path("key.pem")),
            ("@PEM@", path("both.pem")),
            ("@HOST@", HOST.to_owned()),
            ("@USER@", user.to_owned()),
            ("@ORIGIN@", ground.origin.to_string()),
            ("@LOG@", ground.log.to_string()),
            ("@CLEAR@", clear.to_string()),
            ("@TLS@", tls.to_string()),
            ("@METRICS@", metrics.to_string()),
        ];
        let text =
            words.iter().fold(template.to_owned(), |text, (word, value)| text.replace(word, value)) + &shape.more;
        let config = dir.join(file);
        fs::write(&config, text)?;
        let mut words = shape.under.clone();
        words.push(program.display().to_string());
        words.extend(peer.arguments(&config, &dir, shape));
        let (first, arguments) = words.split_first().ok_or("no program to start")?;
        let process = Process::start(peer.name(), &shape.cores, &dir, Path::new(first), arguments)?;
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let mut serving = Serving { process, program: program.to_owned(), config, clear: at(clear), tls: at(tls) };
        let deadline = Instant::now() + Duration::from_secs(60);
        while [serving.clear, serving.tls].iter().any(|address| TcpStream::connect(address).is_err()) {
            if Instant::now() > deadline || !serving.process.is_running() {
                let said = fs::read_to_string(dir.join(format!("{}.stderr", peer.name()))).unwrap_or_default();
                return Err(format!("{} does not serve; it said: {}", peer.name(), said.trim()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(serving)
    }
}

/// Ports that nobody listens on, below the range from which the kernel takes client ports.
pub fn free_ports<const COUNT: usize>() -> Result<[u16; COUNT], Failure> {
    let mut held = Vec::new();
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let found = (0..1000).find_map(|_| {
            let port = rand::random_range(12_000..30_000_u16);
            TcpListener::bind(("127.0.0.1", port)).ok().map(|listener| (port, listener))
        });
        let (free, listener) = found.ok_or("no free port between 12000 and 30000")?;
        *port = free;
        held.push(listener);
    }
    Ok(ports)
}

/// The version of a package in a lock file.
fn locked_version(lock: &str, package: &str) -> String {
    let named = format!("name = \"{package}\"\nversion = \"");
    let version = lock.split(&named).nth(1).and_then(|rest| rest.split('"').next());
    format!("{package} {}", version.unwrap_or("of unknown version"))
}
