//! A gateway's file of any size, as the micro-benches serve it: written, loaded and compiled the way `doorward run` does.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, process};

use doorward::cert::{CertTable, SystemRoots};
use doorward::config::{self, Config};
use doorward::model::Client;
use doorward::snapshot::{Decision, Facts, Listener, Parts, Snapshot, compile, decide};
use doorward::telemetry::Metrics;
use rustix::time::{ClockId, clock_gettime};

/// Whatever ends a bench.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A checked file with its counters; compiles into snapshots.
pub struct Edge {
    /// As written.
    pub config: Config,
    /// CPU time of reading and checking.
    pub loading: Duration,
    metrics: std::sync::Arc<Metrics>,
    roots: SystemRoots,
}

impl Edge {
    /// A file with so many routes: most are one line, every tenth has path rules of which one is narrower.
    pub fn with_routes(count: usize) -> Result<Edge, Failure> {
        let mut text = String::from(
            "domain = \"bench.test\"\nallow = [\"lan\"]\n[networks]\nlan = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\n\
             vpn = [\"172.26.5.0/24\"]\n[listen.main]\nhttp = \"127.0.0.1:18080\"\n[upstreams.home]\n\
             to = \"http://127.0.0.1:18081\"\n[routes]\n\"*.apps.bench.test\" = \"home\"\n",
        );
        for number in (0..count).filter(|number| number % 10 != 9) {
            writeln!(text, "service{number} = \"home\"")?;
        }
        for number in (0..count).filter(|number| number % 10 == 9) {
            writeln!(
                text,
                "[routes.service{number}]\nto = \"home\"\n[routes.service{number}.paths]\n\"/admin/*\" = {{ allow = \
                 [\"vpn\"] }}\n\"/.well-known/carddav\" = {{ redirect = \"/dav/\", status = 301 }}"
            )?;
        }
        let file = scratch("routes.toml");
        fs::write(&file, text)?;
        let began = thread_time();
        let loaded = config::load(&file);
        let loading = thread_time() - began;
        fs::remove_file(&file)?;
        let config = loaded.map_err(|faults| faults.to_string())?.config;
        Ok(Edge { config, loading, metrics: Metrics::new(1), roots: SystemRoots::load() })
    }

    /// The snapshot that follows `previous`.
    pub fn compile(&self, previous: Option<&Snapshot>) -> Snapshot {
        compile(Parts {
            config: &self.config,
            certificates: CertTable::default(),
            previous,
            metrics: &self.metrics,
            roots: &self.roots,
            generation: previous.map_or(1, |before| before.generation + 1),
            awaits_containers: false,
        })
    }
}

/// Decides a request for a host and path from the LAN.
pub fn ask<'a>(snapshot: &'a Snapshot, listener: &'a Listener, host: &'a str, path: &'a str) -> Decision<'a> {
    let peer = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    let facts = Facts { listener, peer, client: Client::at(peer), host, path, is_covered: true };
    decide(snapshot, &facts)
}

/// CPU time that this thread has used: what counts where others want the core too.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Whether cargo asks for figures; a test runner that lists every target must not wait for them.
pub fn is_wanted() -> bool {
    env::args().any(|word| word == "--bench")
}

fn scratch(name: &str) -> PathBuf {
    env::temp_dir().join(format!("doorward-bench-{}-{name}", process::id()))
}
