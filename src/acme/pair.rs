//! A chain and its key in a folder, always of one age: the pair lives in a folder of its own, and one relative link that
//! flips decides which pair the two file names mean.
//!
//! ```text
//! dir/.v03a1…/{cert,key}    one version; the last two are kept
//! dir/.current -> .v03a1…   the one link that flips
//! dir/cert -> .current/cert, dir/key -> .current/key
//! ```
//!
//! Refuses to leave half a pair: whatever fails on the way (a full disk, a crash), the old pair stays the one that is read.
//! The folder itself stays a real folder, since a bind mount pins it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The link that flips.
const CURRENT: &str = ".current";

/// One writer at a time: several pairs may live in one folder.
static WRITING: Mutex<()> = Mutex::new(());

/// Where a pair goes and who may read it.
#[derive(Clone, Debug)]
pub struct PairFolder {
    /// A real folder; made if it is missing.
    pub dir: PathBuf,
    /// File name of the chain.
    pub cert: String,
    /// File name of the key.
    pub key: String,
    /// Permission bits of both files; folders get the right to enter wherever files may be read.
    pub mode: u32,
    /// User number; `None`: ours.
    pub owner: Option<u32>,
    /// Group number; `None`: ours.
    pub group: Option<u32>,
}

impl PairFolder {
    /// Whether both names lead to exactly these contents, through one link, with these rights.
    pub fn holds(&self, cert_pem: &[u8], key_pem: &[u8]) -> bool {
        [(&self.cert, cert_pem), (&self.key, key_pem)].iter().all(|(name, pem)| {
            let path = self.dir.join(name);
            self.is_linked(name) && fs::read(&path).is_ok_and(|bytes| bytes == *pem) && self.has_rights(&path)
        })
    }

    /// Whether both files, links or not, have exactly these contents.
    pub fn reads(&self, cert_pem: &[u8], key_pem: &[u8]) -> bool {
        let is = |name: &str, pem: &[u8]| fs::read(self.dir.join(name)).is_ok_and(|bytes| bytes == pem);
        is(&self.cert, cert_pem) && is(&self.key, key_pem)
    }

    /// Makes this the pair that both names mean. `version` names it (the serial number); it is a file name.
    pub fn write(&self, version: &str, cert_pem: &[u8], key_pem: &[u8]) -> io::Result<()> {
        let _only_one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_dir()?;
        self.take_over_plain_files()?;
        let before = fs::read_link(self.dir.join(CURRENT)).ok();
        let made = self.make_version(version, before.as_deref(), &[(&self.cert, cert_pem), (&self.key, key_pem)])?;
        self.point(CURRENT, Path::new(&made))?;
        for name in [&self.cert, &self.key] {
            if !self.is_linked(name) {
                self.point(name, &Path::new(CURRENT).join(name))?;
            }
        }
        sync(&self.dir)?;
        self.prune(&made, before.as_deref());
        Ok(())
    }

    /// Writes both files in place, for mounts of single files, which pin the file itself. Not one step, so what was there
    /// is put back if either cannot be written.
    pub fn write_in_place(&self, cert_pem: &[u8], key_pem: &[u8]) -> io::Result<()> {
        let _only_one = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_dir()?;
        let (cert, key) = (self.dir.join(&self.cert), self.dir.join(&self.key));
        let old_key = fs::read(&key).ok();
        self.overwrite(&key, key_pem)?;
        self.overwrite(&cert, cert_pem).inspect_err(|_| {
            if let Some(old) = old_key {
                // The first fault is the one that is told.
                let _ = self.overwrite(&key, &old);
            }
        })
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let old = fs::read(path)?;
        let mut write = |bytes: &[u8]| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(bytes)?;
            file.set_len(bytes.len() as u64)?;
            file.sync_all()
        };
        write(bytes).inspect_err(|_| drop(write(&old)))?;
        fchown(&file, self.owner, self.group)?;
        file.set_permissions(fs::Permissions::from_mode(self.mode))
    }

    fn make_dir(&self) -> io::Result<()> {
        if self.dir.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        self.open_folder(&self.dir)
    }

    fn open_folder(&self, folder: &Path) -> io::Result<()> {
        chown(folder, self.owner, self.group)?;
        // Whoever may read the files may pass.
        let mode = self.mode | ((self.mode & 0o444) >> 2) | 0o300;
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))
    }

    /// Files that another program wrote under our names become the first version, so that even the change from them to
    /// ours is one flip.
    fn take_over_plain_files(&self) -> io::Result<()> {
        let is_plain = |name: &str| fs::symlink_metadata(self.dir.join(name)).is_ok_and(|file| file.is_file());
        if !is_plain(&self.cert) || !is_plain(&self.key) {
            return Ok(());
        }
        let (cert, key) = (fs::read(self.dir.join(&self.cert))?, fs::read(self.dir.join(&self.key))?);
        let before = fs::read_link(self.dir.join(CURRENT)).ok();
        let made = self.make_version("0", before.as_deref(), &[(&self.cert, &cert), (&self.key, &key)])?;
        self.point(CURRENT, Path::new(&made))?;
        for name in [&self.cert, &self.key] {
            self.point(name, &Path::new(CURRENT).join(name))?;
        }
        Ok(())
    }

    /// Writes a version and gives its name. What else is read through the link comes along.
    fn make_version(&self, version: &str, before: Option<&Path>, files: &[(&String, &[u8])]) -> io::Result<String> {
        let fresh = self.dir.join(temporary());
        let made = || {
            DirBuilder::new().mode(0o700).create(&fresh)?;
            for (name, bytes) in files {
                self.write_new(&fresh.join(name), bytes)?;
            }
            if let Some(before) = before {
                self.carry_over(&self.dir.join(before), &fresh)?;
            }
            self.open_folder(&fresh)?;
            sync(&fresh)?;
            self.settle(&fresh, version)
        };
        made().inspect_err(|_| drop(fs::remove_dir_all(&fresh)))
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        // The owner first: the rights must not be wide while the file is still another's.
        fchown(&file, self.owner, self.group)?;
        file.set_permissions(fs::Permissions::from_mode(self.mode))?;
        file.sync_all()
    }

    /// Pairs of other exports in the same folder live behind the same link.
    fn carry_over(&self, before: &Path, fresh: &Path) -> io::Result<()> {
        let Ok(entries) = fs::read_dir(before) else { return Ok(()) };
        for entry in entries {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            if text != self.cert && text != self.key && self.is_linked(&text) {
                fs::hard_link(before.join(&name), fresh.join(&name))?;
            }
        }
        Ok(())
    }

    /// Gives a finished version its name, or that name with a number where it is taken.
    fn settle(&self, fresh: &Path, version: &str) -> io::Result<String> {
        for attempt in 1.. {
            let name = if attempt == 1 { format!(".v{version}") } else { format!(".v{version}.{attempt}") };
            let place = self.dir.join(&name);
            if fs::symlink_metadata(&place).is_err() {
                fs::rename(fresh, &place)?;
                sync(&self.dir)?;
                return Ok(name);
            }
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Sets a link in one step.
    fn point(&self, name: &str, to: &Path) -> io::Result<()> {
        let fresh = self.dir.join(temporary());
        symlink(to, &fresh)?;
        fs::rename(&fresh, self.dir.join(name)).inspect_err(|_| drop(fs::remove_file(&fresh)))?;
        sync(&self.dir)
    }

    fn is_linked(&self, name: &str) -> bool {
        fs::read_link(self.dir.join(name)).is_ok_and(|to| to == Path::new(CURRENT).join(name))
    }

    fn has_rights(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|file| {
            file.mode() & 0o777 == self.mode
                && self.owner.is_none_or(|owner| owner == file.uid())
                && self.group.is_none_or(|group| group == file.gid())
        })
    }

    /// Keeps this version and the one before; what a crash left goes too. Nothing depends on whether it works.
    fn prune(&self, now: &str, before: Option<&Path>) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            let is_ours = text.starts_with(".v") || text.starts_with(TEMPORARY);
            if is_ours && text != now && before != Some(Path::new(&name)) {
                let path = entry.path();
                let _ = if path.is_symlink() { fs::remove_file(path) } else { fs::remove_dir_all(path) };
            }
        }
    }
}

const TEMPORARY: &str = ".new-";

fn temporary() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{TEMPORARY}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
