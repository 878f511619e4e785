//! Files that hold secrets: tokens, TSIG keys, keys for external account binding.
//! Read at each use, so that a changed token works at once; refused where everybody on the machine could read them.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::model::Secret;

/// The most that is read, in bytes: the largest secrets are service accounts of a few KiB.
const LIMIT: u64 = 64 * 1024;

/// Why a file with a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Missing, or not ours to read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Everybody on this machine can read it.
    #[error("{}: readable by everyone (mode {mode:o}), so it is no secret; run `chmod o-rwx {}`", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than a secret is.
    #[error("{}: larger than {LIMIT} bytes; is this the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Nothing in it, or no text.
    #[error("{}: {fault}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the content.
        fault: &'static str,
    },
}

/// Reads a secret, white space around it taken away. At most 64 KiB of text; never empty.
pub fn read_secret(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |cause| SecretError::Unreadable { path: path.to_owned(), cause };
    let content = |fault| SecretError::Content { path: path.to_owned(), fault };
    // NONBLOCK: opening a FIFO must not wait for a writer that never comes.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(content("not a regular file"));
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    match file.take(LIMIT + 1).read_to_string(&mut text) {
        Err(fault) if fault.kind() == io::ErrorKind::InvalidData => return Err(content("not text")),
        read => read.map_err(unreadable)?,
    };
    let text = Secret::new(text);
    if text.reveal().len() as u64 > LIMIT {
        return Err(SecretError::TooLarge { path: path.to_owned() });
    }
    match text.reveal().trim() {
        "" => Err(content("empty; write the secret into it")),
        inside => Ok(Secret::new(inside.to_owned())),
    }
}

#[cfg(test)]
mod tests;
