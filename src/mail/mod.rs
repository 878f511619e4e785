//! Letters to people about what a person should know: trouble with certificates, a refused reload, a server that is away; and
//! when it is over. Grouped, silent in quiet hours, sent through the house's own relay.
//! Refuses to hold anybody up: what cannot be sent waits here, within bounds, and nothing else waits for it.

mod post_box;
mod send;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use post_box::{Event, PostBox, Trouble, Wanted};

use crate::config::MailSpec;

/// Things that may wait to be looked at; more are dropped, and told again at the next look.
const QUEUE: usize = 64;

/// Two minutes for what happens together; a relay that is away is asked again after half a minute, later less often.
const PACE: send::Pace =
    send::Pace { grouped: Duration::from_secs(120), look: Duration::from_secs(1), first_wait: Duration::from_secs(30) };

/// Takes word of troubles, from the control plane alone; a task of its own does the rest. Dropping it ends the task.
pub struct Mail {
    inbox: mpsc::Sender<Event>,
    task: JoinHandle<()>,
    spec: MailSpec,
}

impl Mail {
    /// Begins to deliver. Within a tokio runtime.
    pub fn start(spec: &MailSpec) -> Mail {
        let (inbox, events) = mpsc::channel(QUEUE);
        let task = tokio::spawn(send::deliver(spec.clone(), events, PACE));
        Mail { inbox, task, spec: spec.clone() }
    }

    /// Whether it was started with this very table.
    pub fn is_of(&self, spec: &MailSpec) -> bool {
        self.spec.says_the_same(spec)
    }

    /// Hands on what happened; never waits.
    pub fn tell(&self, event: Event) {
        // A full queue means that the task is behind by dozens of events; the next look says it again.
        let _ = self.inbox.try_send(event);
    }

    /// For tasks that look around.
    pub fn teller(&self) -> Teller {
        Teller(self.inbox.clone())
    }
}

/// Tells of what was found by looking, from a task that may wait.
#[derive(Clone)]
pub struct Teller(mpsc::Sender<Event>);

impl Teller {
    /// Hands on what was found; waits while the queue is full, and not at all once the mail is switched off.
    pub async fn tell(&self, event: Event) {
        let _ = self.0.send(event).await;
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.task.abort();
    }
}
