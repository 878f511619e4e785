//! What the process asks of the system and of itself before it serves.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::telemetry::Metrics;

/// Raises the soft limit of open files to the hard one: each client and each upstream connection is a descriptor.
pub fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || (limit.maximum.is_none() && limit.current.is_some()) {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
}

/// The cores that this process may use, by affinity and cgroup quota.
pub fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

static COUNTED: OnceLock<(Arc<Metrics>, usize)> = OnceLock::new();

/// Names the counters that panics are counted in.
pub fn count_panics_in(metrics: &Arc<Metrics>, core: usize) {
    let _ = COUNTED.set((Arc::clone(metrics), core));
}

/// A panic ends one task, never the process; it is counted and logged where it happened.
pub fn count_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if let Some((metrics, core)) = COUNTED.get() {
            metrics.core(*core).panicked();
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = message_of(panic.payload());
        tracing::error!(%place, what, "a task panicked; everything else goes on");
    }));
}

/// A panic carries a fixed text or a formatted one.
fn message_of(payload: &dyn std::any::Any) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
