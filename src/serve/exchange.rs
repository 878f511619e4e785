//! One request and its answer, from the first look to the access record. Whoever still has a part in it (the request's
//! task, either body, a tunnel) holds it; when the last lets go, the record is written: exactly one, whatever happened.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Uri, Version, header};
use http_body::Body;
use tokio::task::AbortHandle;

use super::connection::Connection;
use super::core::Core;
use super::counting::Held;
use super::expect::Wish;
use super::seen::Seen;
use crate::model::{Client, Refusal};
use crate::snapshot::Route;
use crate::telemetry::{AccessRecord, RequestId};
use crate::upstream::{Member, Target};

/// Silence of a client that owes us its body, and the window over which its speed is judged.
pub const BODY_SILENCE: Duration = Duration::from_secs(30);

/// Bytes that a client must send in each window of `BODY_SILENCE` spent waiting for it: 1 KiB a second.
const BODY_LEAST: u64 = 30 * 1024;

/// One exchange.
pub struct Exchange {
    pub(super) core: Rc<Core>,
    pub(super) connection: Rc<Connection>,
    /// Its id, on error pages and in the log.
    pub id: RequestId,
    /// When its head was complete.
    pub started: Instant,
    method: Method,
    pub(super) uri: Uri,
    version: Version,
    user_agent: Option<HeaderValue>,
    /// Who asks, once the door has said so.
    pub client: Cell<Client>,
    /// The name asked for, lower case, once it is known to be one.
    pub host: RefCell<String>,
    /// The route, once decided.
    pub route: OnceCell<Arc<Route>>,
    /// Where it was forwarded.
    asked: RefCell<Option<Asked>>,
    /// The status answered; 0 until then.
    pub status: Cell<u16>,
    /// Why we answered ourselves.
    pub refusal: Cell<Option<Refusal>>,
    /// The cause in words, for the log.
    pub detail: RefCell<Option<String>>,
    /// Time to the first byte of the upstream's answer.
    pub first_byte: Cell<Option<Duration>>,
    /// Body bytes from the client.
    pub bytes_in: Cell<u64>,
    /// Body bytes to the client.
    pub bytes_out: Cell<u64>,
    /// Whether the answer was sent whole.
    pub is_complete: Cell<bool>,
    /// Whether it became a tunnel.
    pub is_tunnel: Cell<bool>,
    /// Seconds after which to ask again, where a refusal knows them.
    pub retry_after: Cell<Option<u64>>,
    /// Its places among what its client may have in flight.
    pub held: RefCell<Vec<Held>>,
    /// Whether the upstream wants the body, where the client waits to be asked for it.
    pub wish: OnceCell<Arc<Wish>>,
    /// What the client owes us.
    pub upload: Upload,
    /// What the upstream owes us, or the client must take.
    pub download: Wait,
    /// Set when a reload took away what this exchange stands on: when it is cut.
    pub doomed: Cell<Option<Instant>>,
    /// Ends the task that serves this exchange alone (an HTTP/2 stream, a tunnel); without one the connection is ended.
    pub task: RefCell<Option<AbortHandle>>,
    key: Cell<usize>,
}

impl Exchange {
    /// Takes up a request, in whose head this was seen.
    pub fn begin<B: Body>(
        core: &Rc<Core>,
        connection: &Rc<Connection>,
        request: &Request<B>,
        seen: Seen,
    ) -> Rc<Exchange> {
        let user_agent = if seen.has(Seen::USER_AGENT) { request.headers().get(header::USER_AGENT) } else { None };
        let started = core.refresh();
        let exchange = Rc::new(Exchange {
            core: Rc::clone(core),
            connection: Rc::clone(connection),
            id: RequestId::random(),
            started,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            user_agent: user_agent.cloned(),
            client: Cell::new(connection.client()),
            host: RefCell::default(),
            route: OnceCell::new(),
            asked: RefCell::default(),
            status: Cell::new(0),
            refusal: Cell::new(None),
            detail: RefCell::default(),
            first_byte: Cell::new(None),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            is_complete: Cell::new(false),
            is_tunnel: Cell::new(false),
            retry_after: Cell::new(None),
            held: RefCell::default(),
            wish: OnceCell::new(),
            upload: Upload::default(),
            download: Wait::default(),
            doomed: Cell::new(None),
            task: RefCell::default(),
            key: Cell::new(0),
        });
        exchange.key.set(core.enter(Rc::downgrade(&exchange)));
        connection.stream_began();
        exchange.upload.is_done.set(request.body().is_end_stream());
        exchange
    }

    /// Ends the exchange where it stands: the client sees its stream or connection cut.
    pub fn cut(&self) {
        match self.task.borrow().as_ref() {
            Some(task) => task.abort(),
            None => self.connection.abort(),
        }
    }

    /// Judges its waits; called by the core's sweeper.
    pub fn sweep(&self, now: Instant) {
        if self.doomed.get().is_some_and(|at| now >= at) {
            return self.cut();
        }
        if self.is_http1() && self.connection.activity.has_left(self.core.tick()) {
            self.detail.replace(Some("the client had closed its side, and there was nothing to send to it".to_owned()));
            return self.cut();
        }
        self.upload.sweep(now);
        if self.upload.is_waiting() {
            // The upstream cannot answer what the client has not sent; the client's own silence is judged above.
            self.download.progress(now);
        }
        if self.download.is_over(now) {
            match self.download.on.get() {
                Some(On::ClientReading) => {
                    self.detail.replace(Some("the client took nothing of the answer for too long".to_owned()));
                    self.cut();
                }
                Some(On::Tunnel) => {
                    self.detail.replace(Some("both ends were silent for too long".to_owned()));
                    self.cut();
                }
                Some(On::HalfTunnel) => self.cut(),
                _ => self.download.expire(),
            }
        }
    }

    fn record(&self) {
        let took = self.started.elapsed();
        let route = self.route.get();
        let (host, detail, asked) = (self.host.borrow(), self.detail.borrow(), self.asked.borrow());
        let path_query = self.uri.path_and_query();
        let record = AccessRecord {
            id: self.id,
            client: self.client.get(),
            peer: self.connection.peer.ip().to_canonical(),
            door: &self.connection.listener.door.name,
            route: route.map(|route| &*route.name),
            method: &self.method,
            host: &host,
            path: self.uri.path(),
            query: path_query.and_then(|pq| pq.query()).filter(|_| route.is_some_and(|route| route.log_query)),
            version: self.version,
            tls: self.connection.certificate().is_some(),
            status: self.status.get(),
            refusal: self.refusal.get(),
            detail: detail.as_deref(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            took,
            upstream: asked.as_ref().map(|asked| asked.target.upstream.name()),
            upstream_address: asked.as_ref().and_then(Asked::member).map(|member| &*member.authority),
            first_byte: self.first_byte.get(),
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            upgraded: self.is_tunnel.get(),
            aborted: !self.is_complete.get(),
        };
        self.core.log.record(&record);
        let metrics = route.map_or(&self.core.no_route, |route| &route.metrics);
        if let Some(refusal) = self.refusal.get() {
            self.core.metrics.core(self.core.index).refused(refusal);
        }
        // A tunnel's hours are no time to answer: its handshake counts.
        let answered_in = self.first_byte.get().filter(|_| self.is_tunnel.get()).unwrap_or(took);
        metrics.record(self.core.index, self.status.get(), answered_in, self.bytes_in.get(), self.bytes_out.get());
    }

    /// Whether its connection to the upstream serves nobody else.
    pub fn is_private(&self) -> bool {
        self.asked.borrow().as_ref().is_some_and(|asked| asked.target.is_private())
    }

    /// It is to be forwarded there.
    pub fn leads_to(&self, target: &Arc<Target>) {
        self.turn_to(target, None);
    }

    /// It goes to this member now, and no longer to the one before.
    pub fn ask(&self, target: &Arc<Target>, lane: usize) {
        self.turn_to(target, Some(lane));
    }

    fn turn_to(&self, target: &Arc<Target>, lane: Option<usize>) {
        let mut asked = self.asked.borrow_mut();
        let core = self.core.index;
        match asked.as_mut().filter(|asked| Arc::ptr_eq(&asked.target, target)) {
            Some(same) if same.lane == lane => {}
            Some(same) => {
                same.leave(core);
                same.lane = lane;
                same.enter(core);
            }
            None => {
                asked.as_ref().inspect(|before| before.leave(core));
                asked.insert(Asked { target: Arc::clone(target), lane }).enter(core);
            }
        }
    }

    /// The request's body was read to its end, or there is none.
    pub fn body_is_done(&self) {
        self.upload.is_done.set(true);
        if let Some(waker) = self.upload.ending.take() {
            waker.wake();
        }
    }

    /// Whether the client speaks HTTP/1.
    pub fn is_http1(&self) -> bool {
        self.version != Version::HTTP_2
    }

    /// Whom the connection is from, as far as its door was told: the TCP peer, or whom a PROXY header names. `0.0.0.0`, which
    /// nobody is and nobody trusts, where it names nobody.
    pub fn source(&self) -> IpAddr {
        self.connection.source().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |source| source.ip())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.core.leave(self.key.get());
        self.record();
        self.asked.borrow().as_ref().inspect(|asked| asked.leave(self.core.index));
        self.connection.stream_ended(&self.core);
    }
}

/// Where an exchange was forwarded, and by which lane.
struct Asked {
    target: Arc<Target>,
    lane: Option<usize>,
}

impl Asked {
    fn member(&self) -> Option<&Arc<Member>> {
        self.target.lanes.get(self.lane?).map(|lane| &lane.member)
    }

    fn enter(&self, core: usize) {
        self.member().inspect(|member| member.metrics.asked(core));
    }

    fn leave(&self, core: usize) {
        self.member().inspect(|member| member.metrics.ended(core));
    }
}

/// Whom a wait is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    /// The upstream owes its answer.
    Upstream,
    /// The client does not take what we have for it.
    ClientReading,
    /// Both ends of a tunnel are silent.
    Tunnel,
    /// One end of a tunnel has ended; the other has a moment to finish.
    HalfTunnel,
}

/// One thing that is waited for, judged by the sweeper: no timer of its own.
#[derive(Default)]
pub struct Wait {
    since: Cell<Option<Instant>>,
    limit: Cell<Duration>,
    on: Cell<Option<On>>,
    is_expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Wait {
    /// Begins to wait; a wait for the same party that goes on keeps its beginning unless `anew`.
    pub fn begin(&self, on: On, now: Instant, limit: Duration) {
        self.on.set(Some(on));
        self.since.set(Some(now));
        self.limit.set(limit);
    }

    /// Whoever is to be woken when it takes too long.
    pub fn wake(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(known) => known.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    /// Something came: the silence begins anew.
    pub fn progress(&self, now: Instant) {
        if self.since.get().is_some() {
            self.since.set(Some(now));
        }
    }

    /// Nothing is waited for any more.
    pub fn end(&self) {
        self.since.set(None);
        self.on.set(None);
    }

    /// Whether it took too long.
    pub fn is_expired(&self) -> bool {
        self.is_expired.get()
    }

    fn is_over(&self, now: Instant) -> bool {
        self.since.get().is_some_and(|since| now.saturating_duration_since(since) >= self.limit.get())
    }

    fn expire(&self) {
        self.is_expired.set(true);
        self.end();
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The request body: how long, in all, we have waited for the client, and what came in that time.
#[derive(Default)]
pub struct Upload {
    waiting_since: Cell<Option<Instant>>,
    waited: Cell<Duration>,
    received: Cell<u64>,
    is_expired: Cell<bool>,
    /// Set for a conversation: how long both sides may be silent. Nobody's speed is judged in one.
    conversation: Cell<Option<Duration>>,
    /// Whether the body was read to its end, or there is none.
    pub is_done: Cell<bool>,
    /// What is wrong with how it was sent, in words.
    pub fault: OnceCell<String>,
    /// Whoever is to be woken when it is done.
    pub ending: RefCell<Option<Waker>>,
    waker: RefCell<Option<Waker>>,
}

impl Upload {
    /// Takes the body for one side of a conversation (a gRPC stream), which may pause.
    pub fn converses(&self, limit: Duration) {
        self.conversation.set(Some(limit));
    }

    /// The other side of a conversation said something.
    pub fn hears(&self, now: Instant) {
        if self.conversation.get().is_some() && self.waiting_since.get().is_some() {
            self.waiting_since.set(Some(now));
        }
    }

    /// The body has nothing for us now.
    pub fn wait(&self, now: Instant, cx: &Context<'_>) {
        if self.waiting_since.get().is_none() {
            self.waiting_since.set(Some(now));
        }
        self.waker.replace(Some(cx.waker().clone()));
    }

    /// Bytes came.
    pub fn receive(&self, bytes: usize, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.waited.set(self.waited.get() + now.saturating_duration_since(since));
        }
        self.received.set(self.received.get() + bytes as u64);
        if self.waited.get() >= BODY_SILENCE && self.conversation.get().is_none() {
            self.judge();
        }
    }

    /// Whether the client was silent for too long, or too slow.
    pub fn is_expired(&self) -> bool {
        self.is_expired.get()
    }

    fn is_waiting(&self) -> bool {
        self.waiting_since.get().is_some() && !self.is_expired()
    }

    fn sweep(&self, now: Instant) {
        let Some(since) = self.waiting_since.get() else { return };
        let silent = now.saturating_duration_since(since);
        if let Some(limit) = self.conversation.get() {
            if silent >= limit {
                self.expire();
            }
        } else if silent >= BODY_SILENCE {
            self.expire();
        } else if self.waited.get() + silent >= BODY_SILENCE {
            self.waited.set(self.waited.get() + silent);
            self.waiting_since.set(Some(now));
            self.judge();
        }
    }

    fn judge(&self) {
        if self.received.get() < BODY_LEAST {
            self.expire();
        } else {
            self.waited.set(Duration::ZERO);
            self.received.set(0);
        }
    }

    fn expire(&self) {
        self.is_expired.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
