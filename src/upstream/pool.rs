//! Idle connections to upstreams, one pool per data core: no lock, and a wake-up never crosses cores.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

/// How long an idle connection is kept. Servers close theirs after 5 s (Node) to 75 s (nginx); one they closed is noticed
/// by its task and not handed out.
const KEEP: Duration = Duration::from_secs(60);

/// How many idle connections to one target a core keeps.
const MOST_IDLE: usize = 256;

/// The idle connections of one core, by target.
pub struct Pool<B> {
    idle: RefCell<HashMap<u64, Vec<Idle<B>>>>,
}

struct Idle<B> {
    sender: SendRequest<B>,
    since: Instant,
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Pool { idle: RefCell::default() }
    }
}

impl<B> Pool<B> {
    /// The connection used last that can take a request at once. Closed ones are dropped on the way.
    pub fn take(&self, target: u64) -> Option<SendRequest<B>> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(&target)?;
        let mut at = list.len();
        while at > 0 {
            at -= 1;
            if list[at].sender.is_closed() {
                list.swap_remove(at);
            } else if list[at].sender.is_ready() {
                return Some(list.remove(at).sender);
            }
        }
        None
    }

    /// Keeps a connection whose exchange has ended, or is about to.
    pub fn put(&self, target: u64, sender: SendRequest<B>, now: Instant) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(target).or_default();
        if list.len() >= MOST_IDLE {
            list.remove(0);
        }
        list.push(Idle { sender, since: now });
    }

    /// Lets go of what has been idle for long, is closed, or leads to a target that is served no more.
    pub fn sweep(&self, now: Instant, is_served: impl Fn(u64) -> bool) {
        self.idle.borrow_mut().retain(|&target, list| {
            list.retain(|idle| !idle.sender.is_closed() && now.duration_since(idle.since) < KEEP);
            !list.is_empty() && is_served(target)
        });
    }

    /// How many idle connections are kept, over all targets.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
