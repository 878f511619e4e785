//! Tells when a file that matters has another content, however it got there: written in place, renamed over, a link or a
//! whole folder swapped, time stamps of 1970. inotify says when to look, a slow poll looks where inotify is blind.
//! Refuses to report a moment: a content counts once it was the same twice, 200 ms apart.

mod links;
mod notices;
mod print;
mod settle;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use notices::Notices;
pub use print::ContentPrint;
use settle::{Settling, Verdict};

/// How long a content must stay the same, and the least time between two looks.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// How often everything is looked at unasked: bind mounts and network folders send no notices.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// The contents last reported (or acted on), by path; `None`: no such file, or not readable.
pub type Prints = BTreeMap<PathBuf, Option<ContentPrint>>;

/// Watches a set of files for changed contents. Lives on the control runtime.
pub struct Watch {
    reported: Prints,
    settling: Option<Settling>,
    notices: Notices,
    /// Whether to look without waiting for a notice.
    look: bool,
    /// No look before this moment: a file that is touched all the time must not keep us busy.
    not_before: Instant,
    next_poll: Instant,
}

impl Watch {
    /// A watch of nothing yet; needs a tokio runtime when waited for. Without inotify (its limits are reached, or there is
    /// none) a warning is logged, and the poll alone finds changes, within about two seconds.
    pub fn start() -> Watch {
        let now = Instant::now();
        let notices = Notices::start();
        Watch { reported: Prints::new(), settling: None, notices, look: false, not_before: now, next_poll: now }
    }

    /// Watches these files from now on, and no others. `seen` has the contents already acted on: take them with
    /// [`ContentPrint::of_file`] *before* loading the file, and a change in between is reported rather than missed. A file
    /// that `seen` does not know keeps what was last reported of it, else counts as it is now.
    pub fn set_files(&mut self, files: Vec<PathBuf>, seen: &HashMap<PathBuf, Option<ContentPrint>>) {
        // First the notices, then the contents: what changes in between is noticed.
        self.notices.follow(&links::places(&files));
        let mut before = std::mem::take(&mut self.reported);
        for file in files {
            let print = match (seen.get(&file), before.remove(&file)) {
                (Some(&print), _) | (None, Some(print)) => print,
                (None, None) => ContentPrint::of_file(&file),
            };
            self.reported.insert(file, print);
        }
        self.settling = None;
        self.look = true;
    }

    /// Waits until the content of a watched file differs from what was last reported, and has settled. Answers all such
    /// files, sorted: also those that appeared or vanished. May be dropped at any moment: nothing is lost.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            self.wait_for_reason().await;
            let Some((prints, places)) = self.read().await else { continue };
            self.notices.follow(&places);
            self.next_poll = Instant::now() + POLL_EVERY;
            let settling = self.settling.take().unwrap_or_default();
            match settling.judge(&self.reported, prints) {
                Verdict::Quiet => {
                    self.look = false;
                    self.not_before = Instant::now() + SETTLED_AFTER;
                }
                Verdict::Moving(settling) => {
                    let pause = if settling.is_endless() { POLL_EVERY } else { SETTLED_AFTER };
                    self.not_before = Instant::now() + pause;
                    self.settling = Some(settling);
                }
                Verdict::Settled { changed, is_rest_moving } => {
                    self.look = is_rest_moving;
                    let files = changed.keys().cloned().collect();
                    self.reported.extend(changed);
                    return files;
                }
            }
        }
    }

    /// Leaves only marks that a dropped future may leave: to look once more never harms.
    async fn wait_for_reason(&mut self) {
        if !self.look && self.settling.is_none() {
            tokio::select! {
                () = self.notices.next() => {}
                () = sleep_until(self.next_poll) => {}
            }
            self.look = true;
        }
        sleep_until(self.not_before).await;
    }

    /// Everything as it is now, read where waiting for a disk holds nobody up. `None`: the runtime is going down.
    async fn read(&self) -> Option<(Prints, Vec<PathBuf>)> {
        let files: Vec<PathBuf> = self.reported.keys().cloned().collect();
        let read = move || {
            let places = links::places(&files);
            (
                files
                    .into_iter()
                    .map(|file| {
                        let print = ContentPrint::of_file(&file);
                        (file, print)
                    })
                    .collect(),
                places,
            )
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(read) => Some(read),
            Err(_) => {
                tokio::time::sleep(POLL_EVERY).await;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
