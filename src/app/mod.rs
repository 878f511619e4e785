//! The whole: builds every part, starts it, reloads it, and ends it in order. The only room that knows all others.

mod arrival;
mod certificates;
mod check;
mod compare;
mod containers;
mod control;
mod doctor;
mod explain;
mod limits;
mod load;
mod open;
mod paragraph;
mod peer;
mod plan;
mod table;
mod trust;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::LocalSet;

pub use certificates::{certificates, import_acme_sh};
pub use check::{CheckReport, check};
pub use compare::{Answered, Certificate, Compared, Comparison, Difference, IGNORED_HEADERS, compare, names_of};
pub use containers::{containers, inspected};
pub use doctor::{Finding, Findings, Health, drop_in, examine};
pub use explain::{Explanation, explain_file};
pub use plan::{Plan, plan_files, refused_json};
pub use table::{RouteRow, RouteRows, table};
pub use trust::{Looked, Pinned, TrustError, Trustee, look_at, pin, trustee};

use crate::config::{Config, Faults};

/// Changes applied to every accepted file before it is compiled: the demo's.
pub type Overlay = Arc<dyn Fn(&mut Config) + Send + Sync>;

/// What `run` is told.
#[derive(Clone)]
pub struct RunOptions {
    /// routes.toml.
    pub config: PathBuf,
    /// Where certificates, keys and the admin socket are kept; created with mode 0700.
    pub state: PathBuf,
    /// Data cores. Default: the cores that the process may use (affinity and cgroup respected).
    pub workers: Option<usize>,
    /// See [`Overlay`].
    pub overlay: Option<Overlay>,
    /// Whether a predecessor waits on standard input to hand over.
    pub follows: bool,
    /// How this program is called to follow this one, its own name left out; `None`: it cannot be replaced while it serves.
    pub called_with: Option<Vec<OsString>>,
}

/// What is serving.
#[derive(Clone, Debug)]
pub struct Running {
    /// Every address listened on: door, address, whether TLS.
    pub listeners: Vec<(Arc<str>, SocketAddr, bool)>,
    /// Where metrics are read.
    pub metrics: Option<SocketAddr>,
    /// The local CA's certificate, if it serves any name.
    pub local_ca: Option<PathBuf>,
    /// The admin socket, if it could be opened.
    pub socket: Option<PathBuf>,
    /// Data cores.
    pub workers: usize,
}

/// Why `run` did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The file is faulty.
    #[error("{0}")]
    Faults(#[from] Faults),
    /// An address cannot be listened on.
    #[error("{address} ({what}) cannot be listened on: {cause}{hint}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Which table wants it.
        what: String,
        /// The system's answer.
        cause: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The state folder cannot be used.
    #[error("{path}: the state folder cannot be used: {cause}; name another with `--state`", path = path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// Certificates cannot be handled at all.
    #[error("{0}")]
    Certificates(#[from] crate::cert::CertError),
    /// The engine that has the containers cannot be asked.
    #[error("{0}")]
    Docker(crate::provider::docker::DockerError),
    /// The file follows no engine.
    #[error("{}: has no [docker], so containers are not looked at", path.display())]
    NoDocker {
        /// The file.
        path: PathBuf,
    },
    /// What was given is not what `docker inspect` prints.
    #[error("this is not the list that `docker inspect $(docker ps -aq)` prints: {0}")]
    Inspect(serde_json::Error),
    /// The state folder is another process's, or the hand-over broke off.
    #[error("{0}")]
    Service(#[from] crate::service::ServiceError),
    /// A thread or runtime could not be started.
    #[error("a part of the process could not be started: {0}")]
    Start(std::io::Error),
}

/// Serves until a signal ends it. `ready` is called once, when every door is open.
pub fn run(options: RunOptions, ready: impl FnOnce(&Running)) -> Result<(), AppError> {
    limits::raise_descriptors();
    limits::decline_huge_pages();
    limits::count_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Start)?;
    let outcome = LocalSet::new().block_on(&runtime, async {
        let mut arrival = arrival::Arrival::of(&options)?;
        let mut control = control::Control::start(options, &mut arrival).inspect_err(|why| arrival.refuse(why))?;
        arrival.complete(&mut control);
        ready(&control.running());
        control.work().await;
        Ok(())
    });
    // A DNS lookup that hangs in the blocking pool must not hold up the end.
    runtime.shutdown_background();
    outcome
}
