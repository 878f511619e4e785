//! Who runs on a state folder: one process at a time, by a lock that the kernel gives back when its holder dies. It can be
//! handed over without ever being free. A file system without locks is told and served all the same. Who serves has signed
//! it; who ends by itself takes the signature away, so that whoever left before can tell an end from a crash.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, test_kill_process};

use super::ServiceError;

/// Longest process number that is read from the file. Bytes.
const LONGEST: u64 = 16;

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct StateLock(File);

impl StateLock {
    /// Takes the lock: the file `lock` in the folder, which must exist. `None`: the file system knows no locks.
    pub fn take(folder: &Path) -> Result<Option<StateLock>, ServiceError> {
        let path = folder.join("lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the state folder cannot be locked");
                return Ok(None);
            }
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let lock = StateLock(file);
                lock.sign();
                Ok(Some(lock))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Only to say who it is.
                let _ = Read::by_ref(&mut file).take(LONGEST).read_to_string(&mut text);
                Err(ServiceError::InUse { folder: folder.to_owned(), process: text.trim().parse().ok() })
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the state folder cannot be locked");
                Ok(None)
            }
        }
    }

    /// The lock as a predecessor hands it over: it was never free. Still signed by the predecessor, who serves until its
    /// heir does.
    pub fn handed_over(descriptor: OwnedFd) -> StateLock {
        StateLock(descriptor.into())
    }

    /// Gives it back at an end that was meant: nobody serves, and that is no accident.
    pub fn give_back(self) {
        // Whoever reads a number that is left there finds nobody behind it, and hurries more than it had to.
        let _ = self.0.set_len(0);
    }

    /// Writes down who holds it: the process that serves.
    pub fn sign(&self) {
        let mut file = &self.0;
        // For the message of whoever comes too late; the lock holds without it.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    }
}

/// Whether the process that served from this folder is gone without having meant to. What cannot be found out is no accident.
pub fn died_serving(folder: &Path) -> bool {
    let mut text = String::new();
    let read = File::open(folder.join("lock")).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    let Some(process) = read.ok().and_then(|_| Pid::from_raw(text.trim().parse().ok()?)) else { return false };
    match test_kill_process(process) {
        Err(rustix::io::Errno::SRCH) => true,
        // Dead, and its parent has not looked yet. The name in front of the state may hold anything (proc_pid_stat(5)).
        _ => std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
            stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z") || rest.starts_with(" X"))
        }),
    }
}

impl AsFd for StateLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("doorward-lock-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn one_process_at_a_time_has_the_folder() {
        let folder = folder("one");
        let first = StateLock::take(&folder).unwrap().expect("a lock");
        let refused = StateLock::take(&folder).unwrap_err().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(first);
        assert!(StateLock::take(&folder).unwrap().is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_accident_is_told_from_an_end() {
        let folder = folder("accident");
        assert!(!died_serving(&folder), "nobody was ever here");
        let lock = StateLock::take(&folder).unwrap().expect("a lock");
        assert!(!died_serving(&folder), "it lives");
        lock.give_back();
        assert!(!died_serving(&folder), "it meant to");
        let mut other = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().unwrap();
        // Its output ends with it; nobody has asked how it ended, so it is a zombie.
        let _ = other.stdout.take().unwrap().read_to_end(&mut Vec::new());
        std::fs::write(folder.join("lock"), format!("{}\n", other.id())).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !died_serving(&folder) {
            assert!(std::time::Instant::now() < deadline, "a zombie is no server");
            std::thread::yield_now();
        }
        other.wait().unwrap();
        assert!(died_serving(&folder), "gone for good");
        std::fs::write(folder.join("lock"), "nonsense").unwrap();
        assert!(!died_serving(&folder));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn handed_over_it_is_never_free() {
        let folder = folder("handed");
        let first = StateLock::take(&folder).unwrap().expect("a lock");
        let second = StateLock::handed_over(first.as_fd().try_clone_to_owned().unwrap());
        drop(first);
        assert!(matches!(StateLock::take(&folder), Err(ServiceError::InUse { .. })));
        drop(second);
        assert!(StateLock::take(&folder).unwrap().is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
