//! inotify, reduced to one question: did something happen at one of our places? Its notices are hints; what counts is read
//! afterwards. Refuses to be needed: every failure is a warning.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Notices about a set of places.
pub(super) struct Notices {
    watcher: Option<RecommendedWatcher>,
    /// The folders watched, and which folder that was: another one under the same name must be watched anew.
    folders: BTreeMap<PathBuf, (u64, u64)>,
    places: Arc<Mutex<HashSet<PathBuf>>>,
    woken: Arc<Notify>,
    is_complaint_made: bool,
}

impl Notices {
    pub(super) fn start() -> Notices {
        let places: Arc<Mutex<HashSet<PathBuf>>> = Arc::default();
        let woken = Arc::new(Notify::new());
        let (known, waker) = (places.clone(), woken.clone());
        let hear = move |event: notify::Result<Event>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            // A fault of the queue may have swallowed anything: look.
            if event.map_or(true, |event| concerns(&event, &known)) {
                waker.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(hear);
        let mut notices = Notices { watcher: None, folders: BTreeMap::new(), places, woken, is_complaint_made: false };
        match watcher {
            Ok(watcher) => notices.watcher = Some(watcher),
            Err(fault) => notices.complain(&fault),
        }
        notices
    }

    /// As where there is no inotify.
    #[cfg(test)]
    pub(super) fn deaf() -> Notices {
        let (places, woken) = Default::default();
        Notices { watcher: None, folders: BTreeMap::new(), places, woken, is_complaint_made: true }
    }

    /// Waits for a notice; one that came while nobody waited is kept.
    pub(super) async fn next(&self) {
        self.woken.notified().await;
    }

    /// Watches the folders of these places. A folder that is not there is tried again at the next call.
    pub(super) fn follow(&mut self, places: &[PathBuf]) {
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = places.iter().cloned().collect();
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = BTreeMap::new();
        for folder in places.iter().filter_map(|place| place.parent()) {
            if let Ok(about) = fs::metadata(folder) {
                wanted.insert(folder.to_owned(), (about.dev(), about.ino()));
            }
        }
        let mut fault = None;
        self.folders.retain(|folder, identity| {
            let stays = wanted.get(folder) == Some(identity);
            if !stays {
                // It may be gone with its watch already.
                let _ = watcher.unwatch(folder);
            }
            stays
        });
        for (folder, identity) in wanted {
            if self.folders.contains_key(&folder) {
                continue;
            }
            match watcher.watch(Path::new(&folder), RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert(folder, identity)),
                Err(notify::Error { kind: ErrorKind::PathNotFound, .. }) => {}
                Err(why) => fault = Some(why),
            }
        }
        if let Some(fault) = fault {
            self.complain(&fault);
        }
    }

    fn complain(&mut self, fault: &notify::Error) {
        if !std::mem::replace(&mut self.is_complaint_made, true) {
            tracing::warn!(%fault, "no inotify for some files; changes are found by looking every 2 s");
        }
    }
}

/// Whether an event can mean another content at one of our places. Reading is no change, or we would wake ourselves.
fn concerns(event: &Event, places: &HashSet<PathBuf>) -> bool {
    let is_reading = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    !is_reading
        && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|path| places.contains(path)))
}
