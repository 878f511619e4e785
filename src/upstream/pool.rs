//! Connections to upstreams that can take a request, one pool per data core: no lock, and a wake-up never crosses cores.
//! HTTP/1.1 connections lie here while idle; HTTP/2 connections are here for as long as they take requests.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use futures_util::future::Either;
use http::{Request, Response};
use tokio::sync::Notify;

use super::answer::{AnswerBody, AnswerError, Lost};
use super::connect::Protocol;
use super::http1::{Http1, Terms};
use super::multiplex::{Multiplexed, Seat, Sendable};

/// How long an idle connection is kept. Servers close theirs after 5 s (Node) to 75 s (nginx); one they closed is noticed
/// before anything is sent on it.
const KEEP: Duration = Duration::from_secs(60);

/// How long an idle connection keeps its buffer.
const REST: Duration = Duration::from_secs(1);

/// How many idle connections to one target a core keeps.
const MOST_IDLE: usize = 256;

/// What a request is sent on.
pub enum Sender<B: Sendable> {
    /// A whole connection.
    Http1(Http1<B>),
    /// A place on a shared one.
    Http2(Seat<B>),
}

impl<B: Sendable> Sender<B> {
    /// Which HTTP it speaks.
    pub fn protocol(&self) -> Protocol {
        match self {
            Sender::Http1(_) => Protocol::Http1,
            Sender::Http2(_) => Protocol::Http2,
        }
    }

    /// Sends a request; one of whose body nothing was taken comes back in the error. `terms`: for HTTP/1.1.
    pub fn try_send(
        &self,
        request: Box<Request<B>>,
        terms: Terms,
    ) -> impl Future<Output = Result<Response<AnswerBody<B>>, Lost<B>>> + use<B> {
        match self {
            Sender::Http1(connection) => Either::Left(connection.send(request, terms)),
            Sender::Http2(seat) => {
                let sent = seat.sender().try_send_request(*request);
                // Boxed: it holds the request itself, and all that is sent over HTTP/1.1 would be moved with room for it.
                Either::Right(Box::pin(async {
                    sent.await.map(|response| response.map(AnswerBody::Http2)).map_err(|mut failed| {
                        let request = failed.take_message().map(Box::new);
                        Lost { is_unsent: request.is_some(), request, error: AnswerError::Http2(failed.into_error()) }
                    })
                }))
            }
        }
    }

    /// Whether its connection ended because what the upstream said is not HTTP/2.
    pub fn spoke_nonsense(&self) -> bool {
        matches!(self, Sender::Http2(seat) if seat.connection().spoke_nonsense())
    }

    /// Keeps later requests away from a shared connection that did not do what it should.
    pub fn retire(&self) {
        if let Sender::Http2(seat) = self {
            seat.retire();
        }
    }
}

/// The connections of one core, by target.
pub struct Pool<B: Sendable> {
    idle: RefCell<AHashMap<u64, Vec<Idle<B>>>>,
    shared: RefCell<AHashMap<u64, Vec<Rc<Multiplexed<B>>>>>,
    /// Targets to which the first HTTP/2 connection, or another one, is being opened.
    opening: RefCell<HashMap<u64, Rc<Opening>>>,
}

/// Connections to a target that can take a request at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AtHand {
    /// HTTP/1.1, with nothing on them.
    pub idle: usize,
    /// HTTP/2, which several requests share.
    pub shared: usize,
}

struct Idle<B: Sendable> {
    connection: Http1<B>,
    since: Instant,
}

impl<B: Sendable> Default for Pool<B> {
    fn default() -> Self {
        Pool { idle: RefCell::default(), shared: RefCell::default(), opening: RefCell::default() }
    }
}

impl<B: Sendable> Pool<B> {
    /// Something that can take a request at once: a place on a shared connection, or the idle one used last.
    pub fn take(&self, target: u64) -> Option<Sender<B>> {
        self.take_seat(target).map(Sender::Http2).or_else(|| self.take_idle(target).map(Sender::Http1))
    }

    /// The idle connection used last. One that was closed meanwhile gives back the request that is sent on it.
    pub fn take_idle(&self, target: u64) -> Option<Http1<B>> {
        Some(self.idle.borrow_mut().get_mut(&target)?.pop()?.connection)
    }

    /// A place on a shared connection: the oldest that has room, so that the others can run dry.
    pub fn take_seat(&self, target: u64) -> Option<Seat<B>> {
        let mut shared = self.shared.borrow_mut();
        let list = shared.get_mut(&target)?;
        list.retain(|connection| !connection.is_over());
        list.iter().find(|connection| connection.has_room()).map(Seat::on)
    }

    /// What this core has at hand for a target, without touching it.
    pub fn at_hand(&self, target: u64) -> AtHand {
        let is_usable = |idle: &&Idle<B>| idle.connection.is_free();
        let idle = self.idle.borrow().get(&target).map_or(0, |list| list.iter().filter(is_usable).count());
        let is_open = |connection: &&Rc<Multiplexed<B>>| !connection.is_over();
        let shared = self.shared.borrow().get(&target).map_or(0, |list| list.iter().filter(is_open).count());
        AtHand { idle, shared }
    }

    /// Keeps a connection whose exchange has ended, if another one may begin on it.
    pub fn put(&self, target: u64, connection: Http1<B>, now: Instant) {
        if !connection.is_free() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(target).or_default();
        if list.len() >= MOST_IDLE {
            list.remove(0);
        }
        list.push(Idle { connection, since: now });
    }

    /// Lets others share a connection.
    pub fn share(&self, target: u64, connection: Rc<Multiplexed<B>>) {
        self.shared.borrow_mut().entry(target).or_default().push(connection);
    }

    /// The right to open the next shared connection to a target, or whom to wait for: a hundred requests that come at once
    /// open one.
    pub fn turn(&self, target: u64) -> Turn<'_, B> {
        let mut opening = self.opening.borrow_mut();
        if let Some(other) = opening.get(&target) {
            return Turn::Others(Rc::clone(other));
        }
        let ours = Rc::new(Opening::default());
        opening.insert(target, Rc::clone(&ours));
        Turn::Ours(Opener { pool: self, target, opening: ours })
    }

    /// Lets go of what has been idle for long, is closed, or leads to a target that is served no more.
    pub fn sweep(&self, now: Instant, is_served: impl Fn(u64) -> bool) {
        self.idle.borrow_mut().retain(|&target, list| {
            list.retain(|idle| idle.connection.is_ready() && now.duration_since(idle.since) < KEEP);
            // The buffer of one that is used again and again stays.
            list.iter().filter(|idle| now.duration_since(idle.since) >= REST).for_each(|idle| idle.connection.rest());
            !list.is_empty() && is_served(target)
        });
        // Whoever has a place on one keeps it open to the end of the exchange.
        self.shared.borrow_mut().retain(|&target, list| {
            list.retain(|connection| !connection.is_over() && !connection.is_idle_for(KEEP, now));
            !list.is_empty() && is_served(target)
        });
    }
}

/// Whose turn it is to open a shared connection.
pub enum Turn<'a, B: Sendable> {
    /// Ours, until this is dropped.
    Ours(Opener<'a, B>),
    /// Somebody's who came before.
    Others(Rc<Opening>),
}

/// The opening of a shared connection, as those see it who wait for it.
#[derive(Default)]
pub struct Opening {
    is_over: Cell<bool>,
    has_succeeded: Cell<bool>,
    ended: Notify,
}

impl Opening {
    /// Waits until it is over; whether there is a shared connection now.
    pub async fn ended(&self) -> bool {
        while !self.is_over.get() {
            self.ended.notified().await;
        }
        self.has_succeeded.get()
    }
}

/// The right to open a shared connection. Given back when it is dropped, also in the middle.
pub struct Opener<'a, B: Sendable> {
    pool: &'a Pool<B>,
    target: u64,
    opening: Rc<Opening>,
}

impl<B: Sendable> Opener<'_, B> {
    /// Shares the connection, and gives the first place on it.
    pub fn share(self, connection: Rc<Multiplexed<B>>) -> Seat<B> {
        let seat = Seat::on(&connection);
        self.pool.share(self.target, connection);
        self.opening.has_succeeded.set(true);
        seat
    }
}

impl<B: Sendable> Drop for Opener<'_, B> {
    fn drop(&mut self) {
        self.pool.opening.borrow_mut().remove(&self.target);
        self.opening.is_over.set(true);
        self.opening.ended.notify_waiters();
    }
}
