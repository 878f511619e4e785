//! What is remembered of a file's content: enough to see that it differs, nothing that could leak a key.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::cert::sha256;

/// The most that is read of one file, in bytes.
const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// SHA-256 and size of a content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContentPrint {
    size: u64,
    digest: [u8; 32],
}

impl ContentPrint {
    /// The print of these bytes.
    pub fn of(bytes: &[u8]) -> ContentPrint {
        ContentPrint { size: bytes.len() as u64, digest: sha256(bytes) }
    }

    /// The print of a file as it is now; `None` if there is none, it is no regular file, or it may not be read. Of a file
    /// larger than 16 MiB the size and the first 16 MiB count.
    pub fn of_file(path: &Path) -> Option<ContentPrint> {
        // NONBLOCK: opening a FIFO must not wait for a writer that never comes.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        let about = file.metadata().ok().filter(|about| about.is_file())?;
        let mut bytes = Vec::new();
        file.take(READ_LIMIT).read_to_end(&mut bytes).ok()?;
        let read = bytes.len() as u64;
        // The size of what was read, where that is all of it: the file may grow while we look.
        let size = if read < READ_LIMIT { read } else { about.len() };
        Some(ContentPrint { size, digest: sha256(&bytes) })
    }
}
