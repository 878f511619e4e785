//! What the kernel says about this process, for the metrics. What it does not say is left out, never invented.

use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Figures of the moment.
pub(super) struct ProcessFigures {
    /// Descriptors in use.
    pub(super) open_fds: Option<usize>,
    /// Descriptors allowed; none: no limit.
    pub(super) max_fds: Option<u64>,
    /// Memory that is really there. Bytes.
    pub(super) resident_bytes: Option<u64>,
    /// User and system time of all threads. Seconds.
    pub(super) cpu_seconds: f64,
}

impl ProcessFigures {
    /// Reads `/proc/self`.
    pub(super) fn read() -> ProcessFigures {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        ProcessFigures {
            // The listing holds a descriptor itself.
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
            resident_bytes: resident_memory(),
            cpu_seconds: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
        }
    }
}

/// Memory of this process that is really there, in bytes.
pub fn resident_memory() -> Option<u64> {
    fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes)
}

/// `VmRSS:     5120 kB` (proc_pid_status(5)).
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("Name:\tdoorward\nVmRSS:\t    5120 kB\nVmData:\t1 kB\n"), Some(5120 * 1024));
        assert_eq!(resident_bytes("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_has_figures() {
        let figures = ProcessFigures::read();
        assert!(figures.open_fds.is_some_and(|count| count >= 3));
        assert!(figures.resident_bytes.is_some_and(|bytes| bytes > 100_000));
    }
}
