//! One client connection, as its requests and the sweeper see it: what it is doing, since when, and whether that is too
//! long. What is read and written on it is `drive`'s.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::body::ResponseBody;
use super::client_io::{Activity, ClientIo, Phase};
use super::core::{Core, SECOND, TICK};
use super::counting::Held;
use super::headers::{Forwarding, Outgoing};
use crate::cert::Certificate;
use crate::config::LimitsSpec;
use crate::model::{Announced, Client};
use crate::snapshot::{Listener, Snapshot};
use crate::telemetry::Ended;

/// How long a connection that was asked to close may take before it is cut, if nothing is in flight on it.
const GRACE: u32 = 5 * SECOND;

/// How long the last bytes of an answer may wait for a client that takes none of them: as long as the rest by default.
const UNREAD: u32 = 60 * SECOND;

/// How long a client that was answered in the middle of its upload may go on sending before it is cut.
const LINGER: u32 = 5 * SECOND;

/// Silence after which an idle connection gives back what it holds for its next request.
const REST: Duration = Duration::from_millis(500);

/// How long a handshake or a head is left in peace when room is needed for others.
const PATIENCE: u32 = 2 * SECOND;

/// One client connection, as its exchanges and the sweeper see it.
pub struct Connection {
    /// Where it came in, as it was then; what counts for a request is the listener of its own snapshot.
    pub listener: Listener,
    /// The other end.
    pub peer: SocketAddr,
    /// This end, as the client reached it.
    pub local: SocketAddr,
    /// Whom a trusted gateway named in a PROXY header, on doors that have one.
    announced: Cell<Announced>,
    /// What the file said about limits when it was accepted.
    pub limits: LimitsSpec,
    /// Whether its peer, where it is the client, is in a named network: it may know causes.
    pub is_home: bool,
    /// What it is doing.
    pub activity: Rc<Activity>,
    certificate: OnceCell<Arc<Certificate>>,
    streams: Cell<u32>,
    peer_value: OnceCell<Option<HeaderValue>>,
    forwarding: RefCell<Option<Forwarding>>,
    closing_since: Cell<Option<u32>>,
    is_h2: Cell<bool>,
    is_retiring: Cell<bool>,
    has_served: Cell<bool>,
    is_to_rest: Cell<bool>,
    /// Who gets the socket when HTTP has ended on it: a tunnel.
    heir: RefCell<Option<oneshot::Sender<(ClientIo, Bytes)>>>,
    waker: RefCell<Option<Waker>>,
    task: RefCell<Option<AbortHandle>>,
    /// Its place among the connections of its address.
    _place: Option<Held>,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(
        snapshot: &Snapshot,
        listener: Listener,
        (peer, local): (SocketAddr, SocketAddr),
        place: Option<Held>,
        tick: u32,
    ) -> Connection {
        // Behind a trusted peer nobody knows yet whose connection it is.
        let client = if listener.door.trust.believes(peer.ip()) { Client::Unknown } else { Client::at(peer.ip()) };
        Connection {
            listener,
            peer,
            local,
            announced: Cell::new(Announced::Itself),
            limits: snapshot.limits,
            is_home: snapshot.networks.knows(client),
            activity: Rc::new(Activity::new(Phase::Opening, tick)),
            certificate: OnceCell::new(),
            streams: Cell::new(0),
            peer_value: OnceCell::new(),
            forwarding: RefCell::default(),
            closing_since: Cell::new(None),
            is_h2: Cell::new(false),
            is_retiring: Cell::new(false),
            has_served: Cell::new(false),
            is_to_rest: Cell::new(false),
            heir: RefCell::default(),
            waker: RefCell::default(),
            task: RefCell::default(),
            _place: place,
        }
    }

    /// A PROXY header has said whom it is from.
    pub fn announce(&self, announced: Announced) {
        self.announced.set(announced);
    }

    /// The certificate that was served; `None` on cleartext, and before the handshake is done.
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.get()
    }

    /// The handshake is done, with this certificate and for this protocol.
    pub fn secured(&self, certificate: Arc<Certificate>, is_h2: bool) {
        let _ = self.certificate.set(certificate);
        self.is_h2.set(is_h2);
    }

    /// Names the task that serves it: who is to be aborted.
    pub fn served_by(&self, task: AbortHandle) {
        self.task.replace(Some(task));
    }

    /// An exchange began on it.
    pub fn stream_began(&self) {
        self.streams.set(self.streams.get() + 1);
        self.has_served.set(true);
        self.is_to_rest.set(false);
        self.activity.enter(Phase::Busy, 0);
    }

    /// An exchange ended on it.
    pub fn stream_ended(&self, core: &Core) {
        self.streams.set(self.streams.get().saturating_sub(1));
        // Not where it is over, and only what the client still sends is waited for.
        if self.streams.get() == 0 && self.activity.phase().0 == Phase::Busy {
            self.activity.enter(Phase::Idle, core.tick());
        }
    }

    /// Whom the connection is from: the peer, or whom a PROXY header names instead; `None` where it names nobody.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.announced.get() {
            Announced::Itself => Some(self.peer),
            Announced::Nobody => None,
            Announced::Client(client) => Some(client),
        }
    }

    /// The client, as long as no header has said more of it.
    pub fn client(&self) -> Client {
        self.source().map_or(Client::Unknown, |source| Client::at(source.ip()))
    }

    /// The address of a client as a header has it; that of the TCP peer is written once for the whole connection.
    pub fn address_value(&self, address: IpAddr) -> Option<HeaderValue> {
        let write = |address: IpAddr| HeaderValue::try_from(address.to_string()).ok();
        if self.client() == Client::Known(address) {
            return self.peer_value.get_or_init(|| write(address)).clone();
        }
        write(address)
    }

    /// What is said of the client, as the lines of a head; written once for as long as it stays the same.
    pub fn forwarding(&self, outgoing: &Outgoing<'_>) -> Rc<[u8]> {
        let mut known = self.forwarding.borrow_mut();
        let text = known.as_ref().and_then(|known| known.text_for(outgoing));
        text.or_else(|| known.insert(Forwarding::new(outgoing)).text_for(outgoing)).unwrap_or_default()
    }

    /// Asks it to end: GOAWAY or `Connection: close`, then closed once nothing is in flight.
    pub fn close(&self, tick: u32) {
        if self.closing_since.get().is_none() {
            self.closing_since.set(Some(tick));
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether it has been idle for long enough to do without what it reads into. HTTP/2, being woken, flushes, and gives back what
    /// it sealed records in.
    pub fn is_to_rest(&self) -> bool {
        self.is_to_rest.get()
    }

    /// Names who gets the socket when HTTP has ended on it.
    pub fn leave_to(&self, heir: oneshot::Sender<(ClientIo, Bytes)>) {
        self.heir.replace(Some(heir));
    }

    /// Who gets the socket; whoever waits for it in vain learns so when this is dropped.
    pub fn heir(&self) -> Option<oneshot::Sender<(ClientIo, Bytes)>> {
        self.heir.take()
    }

    /// Asks it to end where its client cannot lose a request by it: HTTP/1 with its next answer, HTTP/2 with a GOAWAY, but not
    /// before its first request. To close an idle HTTP/1 connection would meet the request that is on its way (RFC 9112
    /// §9.6), and clients take a GOAWAY in answer to their first request for a fault.
    pub fn retire(&self, tick: u32) {
        self.is_retiring.set(true);
        if self.is_h2.get() && self.has_served.get() {
            self.close(tick);
        }
    }

    /// Cuts it.
    pub fn abort(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.abort();
        }
    }

    /// Judges its phase; called by the core's sweeper. Gives why it was cut, if that was an offence.
    pub fn sweep(&self, tick: u32) -> Option<Ended> {
        let (phase, since) = self.activity.phase();
        let spent = tick.saturating_sub(since);
        let is_free = self.streams.get() == 0;
        let within = |limit: Duration| spent < ticks(limit);
        let cause = match (self.closing_since.get(), phase) {
            // The end of an answer, or of a farewell, that the client is slow to take.
            _ if is_free && self.activity.is_blocked() && spent >= UNREAD => Some(Ended::Unread),
            _ if is_free && self.activity.is_blocked() => None,
            (Some(closing), _) => {
                if is_free && tick.saturating_sub(closing) >= GRACE {
                    self.abort();
                }
                None
            }
            (None, Phase::Lingering) => (spent >= LINGER).then_some(Ended::Lingering),
            (None, Phase::Head) => (is_free && !within(self.limits.head_time)).then_some(Ended::HeadTime),
            (None, Phase::Idle) => {
                if !within(self.limits.idle) {
                    self.close(tick);
                } else if !within(REST) && !self.is_to_rest.replace(true) {
                    self.wake();
                }
                None
            }
            // A handshake has a time of its own.
            (None, Phase::Opening | Phase::Busy) => None,
        };
        if cause.is_some() {
            self.abort();
        }
        cause
    }

    /// How soon it is cut when room is needed: the longest idle first, then what has taken long to begin, or may have left. `None`: it is
    /// at work.
    pub fn sheds_at(&self, tick: u32) -> Option<(u8, u32)> {
        if self.streams.get() > 0 || self.activity.is_blocked() {
            // A client that has closed its side, and is sent nothing, may well have left.
            return self
                .activity
                .half_closed_since()
                .filter(|since| tick.saturating_sub(*since) >= PATIENCE)
                .map(|at| (1, at));
        }
        let (phase, since) = self.activity.phase();
        match phase {
            Phase::Idle => Some((0, since)),
            Phase::Opening | Phase::Head | Phase::Lingering if tick.saturating_sub(since) >= PATIENCE => {
                Some((1, since))
            }
            _ => None,
        }
    }

    /// Whoever is to be woken when it is asked to close.
    pub fn wake_by(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        match known.as_mut() {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// Tells the client that this is the last answer here, if it is: the connection is closed behind it.
    pub fn mark_last(&self, response: &mut Response<ResponseBody>) {
        if self.is_retiring.get() && !self.is_h2.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether it is to end where its client cannot lose a request by it.
    pub fn is_retiring(&self) -> bool {
        self.is_retiring.get()
    }

    /// Whether it was asked to close.
    pub fn is_closing(&self) -> bool {
        self.closing_since.get().is_some()
    }
}

/// Whole ticks of a duration.
fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

/// Keeps a connection counted, and where the sweeper finds it, for as long as it is served.
pub struct Registered {
    /// Its core.
    pub core: Rc<Core>,
    /// The connection.
    pub connection: Rc<Connection>,
    key: usize,
}

impl Registered {
    /// Takes a connection into the books of a core.
    pub fn new(core: &Rc<Core>, connection: &Rc<Connection>) -> Registered {
        core.metrics.core(core.index).connection_opened();
        let key = core.connected(Rc::clone(connection));
        Registered { core: Rc::clone(core), connection: Rc::clone(connection), key }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let core = &self.core;
        drop(self.connection.heir());
        core.disconnected(self.key);
        core.metrics.core(core.index).connection_closed();
        core.load().connections.fetch_sub(1, Ordering::Relaxed);
    }
}
