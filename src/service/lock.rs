//! Who runs on a state folder: one process at a time, by a lock that the kernel gives back when its holder dies. It can be
//! handed over without ever being free. A file system without locks is told and served all the same.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

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

    /// The lock as a predecessor hands it over: it was never free.
    pub fn handed_over(descriptor: OwnedFd) -> StateLock {
        let lock = StateLock(descriptor.into());
        lock.sign();
        lock
    }

    /// Writes down who holds it.
    fn sign(&self) {
        let mut file = &self.0;
        // For the message of whoever comes too late; the lock holds without it.
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
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
