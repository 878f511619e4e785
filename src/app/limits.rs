//! What the process asks of the system and of itself before it serves.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::LimitsSpec;
use crate::serve::Room;
use crate::telemetry::Metrics;

/// Memory that is taken for granted where the kernel says nothing.
const SOME_MEMORY: u64 = 1 << 30;

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

/// Lets the kernel give the heap no pages of 2 MiB: with them, connections that hold little keep what they once held. (A
/// thousand idle TLS connections: 18.8 KiB each with them, 15.8 without; what a request costs changed by less than two runs differ.)
pub fn decline_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
}

/// The cores that this process may use, by affinity and cgroup quota.
pub fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// What the system gives this process: open files, and the memory of the machine or of its cgroup.
pub fn room() -> Room {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let info = rustix::system::sysinfo();
    let machine = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit.max(1)));
    let machine = if machine == 0 { SOME_MEMORY } else { machine };
    Room::of(files, cgroup_memory().map_or(machine, |cgroup| cgroup.min(machine)))
}

/// `memory.max` of this process's cgroup, the narrowest up to the root (cgroup v2).
fn cgroup_memory() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim_start_matches('/');
    let folders = std::path::Path::new("/sys/fs/cgroup").join(path);
    let limits = folders.ancestors().take_while(|folder| folder.starts_with("/sys/fs/cgroup"));
    limits.filter_map(|folder| std::fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()).min()
}

/// What to tell of a file that asks for more than there are descriptors for.
pub fn beyond_descriptors(limits: &LimitsSpec) -> Option<String> {
    let room = room();
    let beyond = |name, written: Option<u32>| written.filter(|&written| written > room.descriptors).map(|n| (name, n));
    let (name, written) = beyond("connections", limits.connections).or_else(|| beyond("requests", limits.requests))?;
    let enough = room.descriptors;
    Some(format!(
        "[limits] {name} = {written}, but the limit of open files leaves room for {enough}: raise LimitNOFILE (`ulimit -n`)"
    ))
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
