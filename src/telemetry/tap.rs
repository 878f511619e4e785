//! Access records as they happen, for those who watch. Costs one relaxed load while nobody does; a watcher that is slow loses
//! records, which are counted, and never slows a request.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::access_line::AccessRecord;

/// Watchers at a time.
const MOST: usize = 16;

/// Records that wait for a watcher; with the longest records the bound on its memory is some 30 MiB, usually half a MiB.
const WAITING: usize = 1_024;

/// What a watcher wants to see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// Records of this route only.
    pub route: Option<String>,
    /// Refusals, faults of upstreams, and what broke off only.
    pub failures: bool,
}

/// All watchers of a log.
#[derive(Default)]
pub(super) struct Taps {
    count: AtomicUsize,
    open: Mutex<Vec<Arc<Tap>>>,
}

struct Tap {
    wanted: Watched,
    lines: Sender<Box<[u8]>>,
    lost: AtomicU64,
}

/// One watcher's end; closed when dropped.
pub struct Watching {
    taps: Arc<Taps>,
    tap: Arc<Tap>,
    lines: Receiver<Box<[u8]>>,
    next: Option<Box<[u8]>>,
}

impl Taps {
    /// Opens a tap; `None` when too many are open.
    pub(super) fn open(self: &Arc<Taps>, wanted: Watched) -> Option<Watching> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            return None;
        }
        let (sender, lines) = channel(WAITING);
        let tap = Arc::new(Tap { wanted, lines: sender, lost: AtomicU64::new(0) });
        open.push(Arc::clone(&tap));
        self.count.store(open.len(), Ordering::Relaxed);
        Some(Watching { taps: Arc::clone(self), tap, lines, next: None })
    }

    /// Whether anybody watches.
    pub(super) fn is_open(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// Gives a record to those who want it; `written` makes its line, once if at all.
    pub(super) fn offer(&self, record: &AccessRecord<'_>, written: impl FnOnce() -> Box<[u8]>) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanting = open.iter().filter(|tap| tap.wanted.is_for(record)).peekable();
        if wanting.peek().is_none() {
            return;
        }
        let line = written();
        for tap in wanting {
            if tap.lines.try_send(line.clone()).is_err() {
                tap.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Watched {
    fn is_for(&self, record: &AccessRecord<'_>) -> bool {
        self.route.as_deref().is_none_or(|route| record.route == Some(route)) && (!self.failures || record.is_failure())
    }
}

impl Watching {
    /// The next record, as logged in JSON; or `{"lost":N}` where N were lost before it.
    pub async fn next(&mut self) -> Option<Box<[u8]>> {
        if let Some(line) = self.next.take() {
            return Some(line);
        }
        let line = self.lines.recv().await?;
        match self.tap.lost.swap(0, Ordering::Relaxed) {
            0 => Some(line),
            lost => {
                self.next = Some(line);
                Some(format!("{{\"lost\":{lost}}}\n").into_bytes().into())
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut open = self.taps.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|tap| !Arc::ptr_eq(tap, &self.tap));
        self.taps.count.store(open.len(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").field("wanted", &self.tap.wanted).finish_non_exhaustive()
    }
}
