//! Keeps every certificate of the file: one task each, started, changed and ended as the file changes.
//! Refuses to publish anything itself: it stores a pair and says so, and the one writer of snapshots does the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::account::Accounts;
use super::keeper::Keeper;
use super::wanted::Wanted;
use crate::cert::{SystemRoots, TlsFactory};
use crate::snapshot::ChallengeBoard;
use crate::telemetry::Metrics;

/// Orders at a time, over all certificates: CAs and DNS providers count requests.
const AT_A_TIME: usize = 2;

/// How long ending may take: what was set in DNS is taken away again.
const LAST: Duration = Duration::from_secs(10);

/// A new pair is stored; the answer is sent once it is in force, or says why it is not.
#[derive(Debug)]
pub struct Stored {
    /// The `[cert.<id>]`.
    pub id: Arc<str>,
    /// Whether the next handshake has it.
    pub in_force: oneshot::Sender<Result<(), String>>,
}

/// What all tasks share.
pub struct Bench {
    /// State folder.
    pub state: PathBuf,
    /// Reads pairs.
    pub factory: Arc<TlsFactory>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where proofs are shown.
    pub board: ChallengeBoard,
    /// Accounts.
    pub accounts: Accounts,
    /// Room for orders.
    pub places: Semaphore,
    /// Where stored pairs are announced.
    pub stored: mpsc::Sender<Stored>,
    /// Our own TLS doors.
    pub doors: watch::Receiver<Vec<SocketAddr>>,
}

/// What one task is told.
pub enum TaskOrder {
    /// Something may have changed on disk.
    Look,
    /// Renew now, if it is due or `force` says so.
    Renew {
        /// Even if it is not due.
        force: bool,
        /// What became of it, in words.
        answer: oneshot::Sender<Result<String, String>>,
    },
}

/// The worker. Dropping it ends all tasks; [`CertificateWorker::end`] lets them clean up first.
pub struct CertificateWorker {
    bench: Arc<Bench>,
    doors: watch::Sender<Vec<SocketAddr>>,
    tasks: BTreeMap<Arc<str>, Task>,
}

struct Task {
    wanted: Wanted,
    orders: mpsc::UnboundedSender<TaskOrder>,
    /// Dropped, it tells the task to end.
    _running: watch::Sender<()>,
    ended: JoinHandle<()>,
}

impl CertificateWorker {
    /// A worker without certificates. Pairs are announced on `stored`. Within a tokio runtime.
    pub fn start(
        state: &Path,
        factory: Arc<TlsFactory>,
        roots: Arc<SystemRoots>,
        metrics: Arc<Metrics>,
        board: ChallengeBoard,
        stored: mpsc::Sender<Stored>,
    ) -> CertificateWorker {
        let (doors, seen) = watch::channel(Vec::new());
        let bench = Bench {
            state: state.to_owned(),
            factory,
            metrics,
            board,
            accounts: Accounts::new(state, roots),
            places: Semaphore::new(AT_A_TIME),
            stored,
            doors: seen,
        };
        CertificateWorker { bench: Arc::new(bench), doors, tasks: BTreeMap::new() }
    }

    /// Keeps these certificates from now on, and no others. Those that are wanted as before only look at the disk again.
    pub fn want(&mut self, wanted: Vec<Wanted>, doors: Vec<SocketAddr>) {
        self.doors.send_replace(doors);
        let mut before = std::mem::take(&mut self.tasks);
        for wanted in wanted {
            let id = Arc::clone(&wanted.id);
            let known = before.remove(&id);
            let task = match known {
                Some(task) if task.wanted == wanted => {
                    // A task that ended by a fault of its own is not worth a panic here; the log has it.
                    let _ = task.orders.send(TaskOrder::Look);
                    task
                }
                // The old one cleans up before the new one touches the folder.
                changed => self.keep(wanted, changed.map(|task| task.ended)),
            };
            self.tasks.insert(id, task);
        }
    }

    /// Asks for a renewal; the answer comes when it is done. `None`: no such certificate is ordered by the file.
    pub fn renew(&self, id: &str, force: bool) -> Option<oneshot::Receiver<Result<String, String>>> {
        let task = self.tasks.get(id)?;
        let (answer, answered) = oneshot::channel();
        task.orders.send(TaskOrder::Renew { force, answer }).ok()?;
        Some(answered)
    }

    /// The certificates that are kept.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tasks.keys()
    }

    /// Tells every task to end. The future waits until they have, at most 10 s: what they set in DNS is taken away.
    pub fn end(&mut self) -> impl Future<Output = ()> + use<> {
        let ending: Vec<JoinHandle<()>> =
            std::mem::take(&mut self.tasks).into_values().map(|task| task.ended).collect();
        async move {
            let all = async {
                for ended in ending {
                    let _ = ended.await;
                }
            };
            if tokio::time::timeout(LAST, all).await.is_err() {
                tracing::warn!("a certificate order could not clean up in time; the next start does");
            }
        }
    }

    fn keep(&self, wanted: Wanted, previous: Option<JoinHandle<()>>) -> Task {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (running, stopping) = watch::channel(());
        let (bench, kept) = (Arc::clone(&self.bench), wanted.clone());
        let ended = tokio::spawn(async move {
            let is_changed = previous.is_some();
            if let Some(previous) = previous {
                let _ = previous.await;
            }
            Keeper::new(bench, kept, is_changed, inbox, stopping).run().await;
        });
        Task { wanted, orders, _running: running, ended }
    }
}
