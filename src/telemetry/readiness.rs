//! Whether this process can serve: ready when the last part that holds it back has let go, and not while it leaves.
//! It only reports; nothing waits for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by all parts of the process; clones are the same.
#[derive(Clone, Default, Debug)]
pub struct Readiness(Arc<State>);

#[derive(Default, Debug)]
struct State {
    draining: AtomicBool,
    pending: Mutex<Vec<&'static str>>,
}

/// Holds readiness back until dropped.
#[must_use = "dropping it at once says that the part is ready"]
pub struct Pending {
    state: Arc<State>,
    what: &'static str,
}

impl Readiness {
    /// Ready, until somebody holds it back: take the `Pending` guards before telling anyone.
    pub fn new() -> Readiness {
        Readiness::default()
    }

    /// Holds readiness back for a part, as `"doors"`.
    pub fn pending(&self, what: &'static str) -> Pending {
        self.0.waiting().push(what);
        Pending { state: self.0.clone(), what }
    }

    /// Not ready from now on, for good: the process leaves.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether requests should be sent here.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.0.waiting().is_empty()
    }

    /// Whether `drain` was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// What holds it back, oldest first.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.0.waiting().clone()
    }
}

impl State {
    fn waiting(&self) -> MutexGuard<'_, Vec<&'static str>> {
        // A push or a removal leaves the list whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut waiting = self.state.waiting();
        if let Some(place) = waiting.iter().position(|what| *what == self.what) {
            waiting.remove(place);
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pending").field(&self.what).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_last_part_lets_go() {
        let readiness = Readiness::new();
        let doors = readiness.pending("doors");
        let certificates = readiness.clone().pending("certificates");
        assert!(!readiness.is_ready());
        drop(doors);
        assert_eq!((readiness.is_ready(), readiness.waiting_for()), (false, vec!["certificates"]));
        drop(certificates);
        assert!(readiness.is_ready());
    }

    #[test]
    fn two_parts_of_one_name_both_count() {
        let readiness = Readiness::new();
        let first = readiness.pending("core");
        let second = readiness.pending("core");
        drop(first);
        assert!(!readiness.is_ready());
        drop(second);
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_process_that_drains_is_not_ready() {
        let readiness = Readiness::new();
        readiness.clone().drain();
        assert!(!readiness.is_ready() && readiness.is_draining());
    }
}
