//! Waiting for an upstream that is away: a machine that restarts on Saturday morning should cost its users a pause, not an
//! error. Many wait, one asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connect::{Protocol, connect};
use super::target::{Target, Upstream};

/// How many requests may wait for one upstream; the rest are refused at once.
pub const MOST_HELD: usize = 1_000;

/// Time between two questions whether the upstream is back.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// The waiting room of one upstream.
#[derive(Debug, Default)]
pub struct Hold {
    waiting: AtomicUsize,
    is_probing: AtomicBool,
    back: Notify,
}

/// Why a request stops waiting without success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HoldError {
    /// `hold` is over.
    Expired,
    /// Too many wait already.
    Full,
}

impl Hold {
    /// Whether the upstream is known to be away, so that another attempt of one's own is pointless.
    pub fn is_away(&self) -> bool {
        self.is_probing.load(Ordering::Acquire)
    }

    /// How many requests wait now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// One place in the waiting room.
struct Place<'a>(&'a Upstream);

impl<'a> Place<'a> {
    fn take(upstream: &'a Upstream) -> Option<Place<'a>> {
        if upstream.hold.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_HELD {
            upstream.hold.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        upstream.metrics.hold_began();
        Some(Place(upstream))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.hold.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.hold_ended();
    }
}

impl Target {
    /// Waits until the upstream answers connections again, at most until `deadline`. The first to wait starts the one
    /// probe, which ends when the upstream is back or nobody waits any more. Call on a data core (it spawns there).
    pub async fn wait_until_back(self: &Arc<Self>, deadline: Instant) -> Result<(), HoldError> {
        let hold = &self.upstream.hold;
        let _place = Place::take(&self.upstream).ok_or(HoldError::Full)?;
        let back = hold.back.notified();
        tokio::pin!(back);
        // Registered before the probe may ring.
        back.as_mut().enable();
        if !hold.is_probing.swap(true, Ordering::AcqRel) {
            tokio::task::spawn_local(probe(Arc::clone(self)));
        }
        tokio::time::timeout_at(deadline, back).await.map_err(|_| HoldError::Expired)
    }
}

/// Ends the probing state and wakes everybody, also when the probe's task is dropped in the middle.
struct Probing<'a>(&'a Hold);

impl Drop for Probing<'_> {
    fn drop(&mut self) {
        self.0.is_probing.store(false, Ordering::Release);
        self.0.back.notify_waiters();
    }
}

async fn probe(target: Arc<Target>) {
    let hold = &target.upstream.hold;
    let _probing = Probing(hold);
    while hold.waiting() > 0 {
        tokio::time::sleep(PROBE_EVERY).await;
        match connect(&target, Protocol::Http2, None).await {
            Ok(_) => return,
            // Reachable, but wrong in a way that waiting does not mend: let the requests find out.
            Err(error) if !error.is_away => return,
            Err(_) => {}
        }
    }
}
