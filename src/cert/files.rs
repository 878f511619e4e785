//! Files read with a bound and written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::OFlags;

use super::CertError;

/// The most that is read of a certificate or key file: a chain has a few KiB.
pub(super) const FILE_LIMIT: u64 = 1024 * 1024;

/// Reads a regular file of at most 1 MiB.
pub fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    let unreadable = |cause| CertError::Unreadable { path: path.to_owned(), cause };
    // NONBLOCK: opening a FIFO must not wait for a writer that never comes.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(CertError::TooLarge { path: path.to_owned(), limit: FILE_LIMIT });
    }
    Ok(bytes)
}

/// Makes a folder (and those above it) that only this user may enter.
pub fn private_folder(path: &Path) -> Result<(), CertError> {
    let make = || {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // It may have been there before, and wider.
        if fs::metadata(path)?.permissions().mode() & 0o777 != 0o700 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    };
    make().map_err(|cause| CertError::Unwritable { path: path.to_owned(), cause })
}

/// Writes a file that is afterwards either the old one or the new one, whatever happens meanwhile.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unwritable = |cause| CertError::Unwritable { path: path.to_owned(), cause };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(unwritable(io::Error::from(io::ErrorKind::InvalidInput)));
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{}.{}.{count}", name.display(), std::process::id()));
    let result = write_new(&temporary, bytes, mode).and_then(|()| {
        fs::rename(&temporary, path)?;
        // The rename itself lasts only once the folder is on disk.
        File::open(folder)?.sync_all()
    });
    if result.is_err() {
        // Nothing more can be done about a file that does not even want to go.
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(unwritable)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // A leftover of a process that had our number and died half-way.
    match fs::remove_file(path) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}
