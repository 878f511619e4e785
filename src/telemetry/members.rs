//! The counters of one member of an upstream. As with routes, a core writes cells that are its own; who reads adds them up.
//! They live as long as the member: an address that is gone has no series.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::metrics::Cell;

/// What is counted of one member.
pub struct MemberMetrics {
    upstream: Box<str>,
    address: Box<str>,
    is_up: AtomicBool,
    cores: Box<[OnceLock<Box<MemberCell>>]>,
}

/// One core's share.
#[derive(Default)]
#[repr(align(128))]
struct MemberCell {
    asked: Cell,
    ended: Cell,
}

impl MemberMetrics {
    pub(super) fn new(upstream: &str, address: &str, cores: usize) -> MemberMetrics {
        MemberMetrics {
            upstream: upstream.into(),
            address: address.into(),
            is_up: AtomicBool::new(true),
            cores: (0..cores).map(|_| OnceLock::new()).collect(),
        }
    }

    /// A request goes to it. Called on the thread of `core` only, and followed by `ended` on the same.
    pub fn asked(&self, core: usize) {
        if let Some(cell) = self.cores.get(core) {
            cell.get_or_init(Box::default).asked.add(1);
        }
    }

    /// The request is over, or went elsewhere.
    pub fn ended(&self, core: usize) {
        if let Some(cell) = self.cores.get(core) {
            cell.get_or_init(Box::default).ended.add(1);
        }
    }

    /// Whether connections to it can be made, as far as is known.
    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::Relaxed);
    }

    /// Whether connections to it can be made, as far as is known.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    /// Requests that went to it.
    pub fn requests(&self) -> u64 {
        self.sum(|cell| &cell.asked)
    }

    /// Requests that are there now.
    pub fn in_flight(&self) -> u64 {
        // Ended is read first, so that a request which begins meanwhile makes no negative number.
        let ended = self.sum(|cell| &cell.ended);
        self.requests().saturating_sub(ended)
    }

    /// Label `upstream`.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Label `address`.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn sum(&self, pick: fn(&MemberCell) -> &Cell) -> u64 {
        self.cores.iter().filter_map(OnceLock::get).map(|cell| pick(cell).read()).sum()
    }
}

impl fmt::Debug for MemberMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberMetrics").field("address", &self.address).finish_non_exhaustive()
    }
}
