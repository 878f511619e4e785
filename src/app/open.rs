//! What the control plane opens around itself: sockets, the state folder, the admin socket; and what it says about a file
//! that it accepted.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::AppError;
use crate::admin::{AdminHandle, AdminSocket, Order, socket_path};
use crate::config::{Config, Diagnostic};
use crate::serve::bind;
use crate::service::Inherited;
use crate::snapshot::{Listener, Snapshot};

/// How many warnings of one file are logged.
const LOGGED: usize = 20;

/// Sockets that were bound for a snapshot and are not in use yet; dropped, they are closed again.
pub struct Bound {
    /// New addresses of doors.
    pub doors: Vec<(SocketAddr, TcpListener)>,
    /// The address of `[metrics]`, if it is a new one.
    pub metrics: Option<TcpListener>,
}

/// Binds every address that is not open yet, unless its socket was inherited.
pub fn bind_all(
    snapshot: &Snapshot,
    open: &[Listener],
    metrics_open: Option<SocketAddr>,
    inherited: &mut Inherited,
) -> Result<Bound, AppError> {
    let mut bound = |address: SocketAddr, what: String| {
        inherited.take(address).map_or_else(|| bind(address), Ok).map_err(|cause| {
            let hint = match cause.kind() {
                std::io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE or root",
                std::io::ErrorKind::AddrInUse => {
                    "; another process (or another table of this file) has it: `ss -ltnp` shows which"
                }
                _ => "",
            };
            AppError::Bind { address, what, cause, hint }
        })
    };
    let mut doors = Vec::new();
    for listener in &snapshot.listeners {
        if !open.iter().any(|known| known.address == listener.address) {
            doors.push((listener.address, bound(listener.address, format!("[listen.{}]", listener.door.name))?));
        }
    }
    let metrics = match &snapshot.metrics {
        Some((address, _)) if metrics_open != Some(*address) => Some(bound(*address, "[metrics]".to_owned())?),
        _ => None,
    };
    Ok(Bound { doors, metrics })
}

pub fn create_state(state: &Path) -> Result<(), AppError> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |cause| AppError::State { path: state.to_owned(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(failed)
}

/// The admin socket is a convenience: without it, signals and the watcher still work. `handed`: that of a predecessor.
pub fn open_socket(
    state: &Path,
    orders: mpsc::Sender<Order>,
    handed: Option<(PathBuf, UnixListener)>,
) -> Option<(AdminHandle, JoinHandle<()>)> {
    let path = socket_path(std::env::var_os("RUNTIME_DIRECTORY").as_deref(), state);
    let opened = match handed {
        Some((path, listener)) => AdminSocket::adopt(&path, listener),
        None => AdminSocket::bind(&path),
    };
    match opened.and_then(|socket| Ok((socket.handle()?, socket))) {
        Ok((handle, socket)) => {
            let serving = tokio::spawn(async move {
                if let Err(error) = socket.serve(orders).await {
                    tracing::warn!(%error, "the admin socket is gone; signals and file changes still reload");
                }
            });
            Some((handle, serving))
        }
        Err(error) => {
            tracing::warn!(%error, "no admin socket; signals and file changes still reload");
            None
        }
    }
}

/// Our name in Via: the same after a restart, another one on another machine or with another state folder.
pub fn via_name(state: &Path) -> String {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    rustix::system::uname().nodename().to_bytes().hash(&mut hasher);
    std::fs::canonicalize(state).unwrap_or_else(|_| state.to_owned()).hash(&mut hasher);
    format!("doorward-{:08x}", hasher.finish() & 0xffff_ffff)
}

/// Says what is worth knowing about an accepted file.
pub fn tell(warnings: &[Diagnostic], notices: &[String], config: &Config) {
    for warning in warnings.iter().take(LOGGED) {
        tracing::warn!("{warning}");
    }
    if warnings.len() > LOGGED {
        tracing::warn!("and {} more warnings; `doorward check` shows all", warnings.len() - LOGGED);
    }
    for notice in notices {
        tracing::warn!("{notice}");
    }
    if let Some(beyond) = super::limits::beyond_descriptors(&config.limits) {
        tracing::warn!("{beyond}");
    }
    let idle = not_acted_on(config);
    if !idle.is_empty() {
        tracing::warn!("accepted, but not acted on by this version: {}", idle.join(", "));
    }
}

/// Tables that are checked for form and wait for a later version.
fn not_acted_on(config: &Config) -> Vec<String> {
    let mut idle = Vec::new();
    if config.mail.is_some() {
        idle.push("[mail]".to_owned());
    }
    idle
}
