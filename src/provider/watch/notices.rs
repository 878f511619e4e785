//! inotify, reduced to one question: did something happen at one of our places? Its notices are hints; what counts is read
//! afterwards. Refuses to be needed: every failure is a warning.
//!
//! Writing is noticed when the file is closed, not with every write: a log that stands beside a watched file, and is written to
//! all the time, wakes nobody. What is never closed is found by the poll.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What can mean another content in a folder, or another folder in its place.
const WANTED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Bytes of notices that are read at once: some hundred.
const BLOCK: usize = 8 * 1024;

/// Notices about a set of places.
pub(super) struct Notices {
    inotify: Option<AsyncFd<OwnedFd>>,
    folders: BTreeMap<PathBuf, Folder>,
    places: HashSet<PathBuf>,
    is_complaint_made: bool,
}

/// A folder that is watched.
struct Folder {
    /// Which one it was: another one under the same name must be watched anew.
    identity: (u64, u64),
    /// inotify's word for it; two names of one folder have the same.
    watch: i32,
}

impl Notices {
    /// Needs a tokio runtime around it.
    pub(super) fn start() -> Notices {
        let mut notices = Notices::deaf();
        match opened() {
            Ok(inotify) => notices.inotify = Some(inotify),
            Err(fault) => notices.complain(&fault),
        }
        notices
    }

    /// As where there is no inotify.
    pub(super) fn deaf() -> Notices {
        Notices { inotify: None, folders: BTreeMap::new(), places: HashSet::new(), is_complaint_made: false }
    }

    /// Waits for a notice; one that came while nobody waited is kept. Nothing is lost by dropping it.
    pub(super) async fn next(&self) {
        let Some(inotify) = &self.inotify else { return pending().await };
        loop {
            // Neither fails while the runtime lives.
            let Ok(mut ready) = inotify.readable().await else { return pending().await };
            if let Ok(is_something) = ready.try_io(|inotify| self.read(inotify.get_ref()))
                // A fault may have swallowed anything: look.
                && is_something.unwrap_or(true)
            {
                return;
            }
        }
    }

    /// Reads notices up to one that can mean another content at one of our places, or to the last.
    fn read(&self, inotify: &OwnedFd) -> io::Result<bool> {
        let mut block = [MaybeUninit::uninit(); BLOCK];
        let mut reader = Reader::new(inotify, &mut block);
        let mut is_something = false;
        // What is left of a block would be lost with it.
        while !is_something || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(notice) => {
                    let name = notice.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    is_something |= self.concerns(notice.wd(), notice.events(), name);
                }
                Err(Errno::INTR) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(true)
    }

    fn concerns(&self, watch: i32, events: ReadFlags, name: Option<&OsStr>) -> bool {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        let mut folders = self.folders.iter().filter(|(_, folder)| folder.watch == watch);
        // Without a name: of the folder itself.
        folders.any(|(folder, _)| name.is_none_or(|name| self.places.contains(&folder.join(name))))
    }

    /// Watches the folders of these places. A folder that is not there is tried again at the next call.
    pub(super) fn follow(&mut self, places: &[PathBuf]) {
        self.places = places.iter().cloned().collect();
        let Some(inotify) = &self.inotify else { return };
        let mut wanted = BTreeMap::new();
        for folder in places.iter().filter_map(|place| place.parent()) {
            if let Ok(about) = fs::metadata(folder) {
                wanted.insert(folder.to_owned(), (about.dev(), about.ino()));
            }
        }
        let mut gone = Vec::new();
        self.folders.retain(|path, folder| {
            let stays = wanted.get(path) == Some(&folder.identity);
            if !stays {
                gone.push(folder.watch);
            }
            stays
        });
        for watch in gone {
            if self.folders.values().all(|folder| folder.watch != watch) {
                // It may be gone with its watch already.
                let _ = inotify::remove_watch(inotify, watch);
            }
        }
        let mut fault = None;
        for (path, identity) in wanted {
            if self.folders.contains_key(&path) {
                continue;
            }
            match inotify::add_watch(inotify, Path::new(&path), WANTED) {
                Ok(watch) => drop(self.folders.insert(path, Folder { identity, watch })),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(why) => fault = Some(why.into()),
            }
        }
        if let Some(fault) = fault {
            self.complain(&fault);
        }
    }

    fn complain(&mut self, fault: &io::Error) {
        if !std::mem::replace(&mut self.is_complaint_made, true) {
            tracing::warn!(%fault, "no inotify for some files; changes are found by looking every 2 s");
        }
    }
}

fn opened() -> io::Result<AsyncFd<OwnedFd>> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    // SAFETY: an `OwnedFd` is open for as long as it lives, is the same descriptor all that time, and is not exchanged here.
    #[expect(unsafe_code, reason = "tokio has no safe way for a descriptor that is no socket")]
    let registered = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
    Ok(registered?)
}
