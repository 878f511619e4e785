//! How much the process takes on in all: connections, requests, memory; and how much each core has on its hands. The system
//! gives the defaults; the file may say otherwise, but no more than there are descriptors.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::config::LimitsSpec;

/// Memory that one connection may hold in buffers at worst: what an HTTP/1.1 client can make us read and write ahead.
const CONNECTION: u64 = 128 << 10;

/// Descriptors that are no connection's: listeners, log, admin socket, files that are being read, DNS, event queues.
pub const RESERVED: u64 = 64;

/// More than this is never the default, however large the machine.
const MOST: u32 = 100_000;

/// Fewer than this is never the default, however small.
const LEAST: u32 = 64;

/// Connections that wait to be taken up by a core. When every core has so many, no more are accepted: they wait in the kernel,
/// where they hold nothing of ours, and nobody's idle connection is ended for the sake of a crowd that cannot be served yet.
const MOST_UNTAKEN: usize = 256;

/// What the system gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Connections of clients, and requests in flight, that there are descriptors for: each request may need one more.
    pub descriptors: u32,
    /// Connections that the machine has memory for as well.
    pub connections: u32,
    /// Bytes that the process may have resident.
    pub memory: u64,
}

impl Room {
    /// With so many open files, and on a machine (or in a cgroup) with so much memory.
    pub fn of(files: u64, memory: u64) -> Room {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(LEAST);
        let descriptors = count(files.saturating_sub(RESERVED) / 2);
        let connections = count(memory / 2 / CONNECTION).min(descriptors).min(MOST);
        Room { descriptors, connections, memory: memory / 2 }
    }

    /// Open connections in all.
    pub fn connections(&self, limits: &LimitsSpec) -> usize {
        limits.connections.map_or(self.connections, |written| written.min(self.descriptors)) as usize
    }

    /// Requests in flight in all.
    pub fn requests(&self, limits: &LimitsSpec) -> usize {
        limits.requests.map_or(self.connections, |written| written.min(self.descriptors)) as usize
    }

    /// Bytes resident.
    pub fn memory(&self, limits: &LimitsSpec) -> u64 {
        limits.memory.unwrap_or(self.memory)
    }
}

/// After so many looks at a shortage that does not end, what is resident is taken for memory that the allocator keeps, not
/// for work: it will be used again before more is taken from the system.
const PATIENT: u32 = 20;

/// Whether memory is short: set by the accepting thread, which looks four times a second, read by everybody.
#[derive(Debug, Default)]
pub struct Shortage {
    is_on: AtomicBool,
    /// Looks since it began.
    looks: AtomicU32,
    /// What the allocator keeps beyond what the file says. Bytes.
    kept: AtomicU64,
}

impl Shortage {
    /// Whether nothing more is to be taken on.
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Judges what is resident; what was short is so until a tenth is free again. Gives whether it is short now, and whether
    /// that is news.
    ///
    /// Freed memory does not all go back to the system, and a gateway that waited for it would refuse for ever. So after
    /// [`PATIENT`] looks the mark moves: an eighth above what is resident, and never higher than half as much again as the
    /// file says.
    pub fn judge(&self, resident: u64, most: u64) -> (bool, bool) {
        let before = self.is_on();
        let highest = most + most / 2;
        let mark = (most + self.kept.load(Ordering::Relaxed)).min(highest);
        let is_on = resident >= if before { mark - mark / 10 } else { mark };
        let looks = if is_on { self.looks.load(Ordering::Relaxed) + 1 } else { 0 };
        let is_kept = looks > PATIENT && resident < highest;
        if is_kept {
            self.kept.store((resident + most / 8).saturating_sub(most), Ordering::Relaxed);
        } else if resident < most - most / 10 {
            self.kept.store(0, Ordering::Relaxed);
        }
        self.looks.store(if is_kept { 0 } else { looks }, Ordering::Relaxed);
        let is_on = is_on && !is_kept;
        self.is_on.store(is_on, Ordering::Relaxed);
        (is_on, is_on != before)
    }
}

/// How busy a core is; read when an accepted connection is given to one.
#[derive(Debug, Default)]
pub struct Load {
    /// Exchanges in flight.
    pub exchanges: AtomicUsize,
    /// Open connections.
    pub connections: AtomicUsize,
    /// Those of them that have not had a turn yet.
    pub untaken: AtomicUsize,
    /// Grows with every turn of the sweeper: a core whose beat stands still is stalled.
    pub beat: AtomicUsize,
}

impl Load {
    /// Whether it has as many connections to take up as it may.
    pub fn is_behind(&self) -> bool {
        self.untaken.load(Ordering::Relaxed) >= MOST_UNTAKEN
    }
}

/// Gives back to the system what the calling thread's heap has not needed for a second: the allocator does so by itself only
/// when it is asked for more, and a house is silent for hours.
pub fn give_back_memory() {
    // SAFETY: the allocator looks through the heap of the calling thread; no pointer is taken or given.
    #[expect(unsafe_code, reason = "the allocator's crate has no other way to ask for it")]
    unsafe {
        libmimalloc_sys::mi_collect(false);
    }
}

/// Gives back to the system at once what the calling thread's heap does not need, and what any other thread has let go of.
/// It takes milliseconds where megabytes were: not for a data core.
pub fn give_back_all_memory() {
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "the allocator's crate has no other way to ask for it")]
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_descriptors_and_memory_decides() {
        let small = Room::of(1024, 8 << 30);
        assert_eq!((small.descriptors, small.connections), (480, 480));
        assert_eq!(Room::of(1 << 20, 1 << 30).connections, 4096);
        assert_eq!(Room::of(1 << 20, 1 << 40).connections, MOST);
        assert_eq!(Room::of(100, 1 << 20).connections, LEAST);
    }

    #[test]
    fn the_file_may_ask_for_what_there_are_descriptors_for() {
        let room = Room::of(1024, 8 << 30);
        let limits = LimitsSpec { connections: Some(100), requests: Some(9999), ..LimitsSpec::DEFAULT };
        assert_eq!((room.connections(&limits), room.requests(&limits)), (100, 480));
    }

    #[test]
    fn a_shortage_ends_only_when_a_tenth_is_free_again() {
        let shortage = Shortage::default();
        assert_eq!(shortage.judge(99, 100), (false, false));
        assert_eq!(shortage.judge(100, 100), (true, true));
        assert_eq!(shortage.judge(91, 100), (true, false));
        assert_eq!(shortage.judge(89, 100), (false, true));
    }

    #[test]
    fn memory_that_the_allocator_keeps_refuses_nobody_for_ever() {
        let shortage = Shortage::default();
        assert_eq!(shortage.judge(1050, 1000), (true, true));
        let looks = (0..PATIENT + 1).find(|_| !shortage.judge(1040, 1000).0);
        assert_eq!(looks, Some(PATIENT - 1), "it ends by itself");
        assert_eq!(shortage.judge(1100, 1000), (false, false), "what is kept is used again");
        assert_eq!(shortage.judge(1200, 1000), (true, true), "more than that is short");
        let ends = (0..10 * PATIENT).any(|_| !shortage.judge(1600, 1000).0);
        assert!(!ends, "half as much again is the end");
        assert_eq!(shortage.judge(800, 1000), (false, true));
        assert_eq!(shortage.judge(1000, 1000), (true, true), "what went back is no longer counted as kept");
    }
}
