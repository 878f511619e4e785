//! One client connection: TLS handshake, then HTTP/1.1 or HTTP/2 until either side has had enough.

use std::cell::{Cell, OnceCell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
use tokio_rustls::server::TlsStream;

use super::announce::announced;
use super::body::ResponseBody;
use super::client_io::{Activity, ClientIo, Phase};
use super::core::{Core, SECOND};
use super::exchange::Exchange;
use super::forward::forward;
use super::request::{self, Handled};
use crate::cert::{ACME_TLS, Certificate};
use crate::model::{Announced, Client, Refusal};
use crate::snapshot::{Listener, Mode};
use crate::telemetry::{AccessRecord, HandshakeFailure, RequestId};
use crate::upstream::Wire;

/// The TLS handshake, from accept to finished. A phone on bad radio needs a few seconds.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A keep-alive connection without a request, an HTTP/2 connection without a stream, or one that never sent a byte.
const IDLE: u32 = 60 * SECOND;

/// A request head, from its first byte to its end.
const HEAD: u32 = 30 * SECOND;

/// How long a connection that was asked to close may take before it is cut, if nothing is in flight on it.
const GRACE: u32 = 5 * SECOND;

/// How long the last bytes of an answer may wait for a client that takes none of them: as long as a route's `idle` by default.
const UNREAD: u32 = 600 * SECOND;

/// How long a client that was answered in the middle of its upload may go on sending before it is cut.
const LINGER: u32 = 5 * SECOND;

/// Bytes of a request head: line and fields.
const MOST_HEAD: usize = 64 * 1024;

/// Bytes of one HTTP/1.1 connection that wait here, read or to be written: what a client that does not read costs us.
const MOST_BUFFER: usize = 128 * 1024;

/// Fields of a request head.
const MOST_FIELDS: usize = 200;

/// Concurrent streams of one HTTP/2 connection.
const MOST_STREAMS: u32 = 128;

/// One client connection, as its exchanges and the sweeper see it.
pub struct Connection {
    /// Where it came in, as it was then; what counts for a request is the listener of its own snapshot.
    pub listener: Listener,
    /// The other end.
    pub peer: SocketAddr,
    /// This end, as the client reached it.
    pub local: SocketAddr,
    /// Whom a trusted gateway named in a PROXY header, on doors that have one.
    announced: Announced,
    /// The certificate that was served; `None` on cleartext.
    pub certificate: Option<Arc<Certificate>>,
    activity: Arc<Activity>,
    streams: Cell<u32>,
    peer_value: OnceCell<Option<HeaderValue>>,
    closing_since: Cell<Option<u32>>,
    is_h2: bool,
    is_retiring: Cell<bool>,
    has_served: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    task: RefCell<Option<AbortHandle>>,
}

impl Connection {
    /// An exchange began on it.
    pub fn stream_began(&self) {
        self.streams.set(self.streams.get() + 1);
        self.has_served.set(true);
        self.activity.enter(Phase::Busy, 0);
    }

    /// An exchange ended on it.
    pub fn stream_ended(&self, core: &Core) {
        self.streams.set(self.streams.get().saturating_sub(1));
        if self.streams.get() == 0 {
            self.activity.enter(Phase::Idle, core.tick());
        }
    }

    /// Whether the client is in the middle of sending a body over HTTP/1.
    pub fn owe(&self, is_owed: bool) {
        self.activity.owe(is_owed);
    }

    /// Whom the connection is from: the peer, or whom a PROXY header names instead; `None` where it names nobody.
    pub fn source(&self) -> Option<SocketAddr> {
        match self.announced {
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

    /// Asks it to end: GOAWAY or `Connection: close`, then closed once nothing is in flight.
    pub fn close(&self, tick: u32) {
        if self.closing_since.get().is_none() {
            self.closing_since.set(Some(tick));
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// Asks it to end where its client cannot lose a request by it: HTTP/1 with its next answer, HTTP/2 with a GOAWAY, but not
    /// before its first request. To close an idle HTTP/1 connection would meet the request that is on its way (RFC 9112
    /// §9.6), and clients take a GOAWAY in answer to their first request for a fault.
    pub fn retire(&self, tick: u32) {
        self.is_retiring.set(true);
        if self.is_h2 && self.has_served.get() {
            self.close(tick);
        }
    }

    /// Cuts it.
    pub fn abort(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.abort();
        }
    }

    /// Judges its phase; called by the core's sweeper.
    pub fn sweep(&self, tick: u32) {
        let (phase, since) = self.activity.phase();
        let spent = tick.saturating_sub(since);
        let is_free = self.streams.get() == 0;
        let is_over = match (self.closing_since.get(), phase) {
            // The end of an answer, or of a farewell, that the client is slow to take.
            _ if is_free && self.activity.is_blocked() => spent >= UNREAD,
            (Some(closing), _) => is_free && tick.saturating_sub(closing) >= GRACE,
            (None, Phase::Lingering) => spent >= LINGER,
            (None, Phase::Head) => is_free && spent >= HEAD,
            (None, Phase::Idle | Phase::Opening) => {
                if spent >= IDLE {
                    self.close(tick);
                }
                false
            }
            (None, Phase::Busy) => false,
        };
        if is_over {
            self.abort();
        }
    }

    /// Tells the client that this is the last answer here, if it is: the connection is closed behind it.
    fn mark_last(&self, response: &mut Response<ResponseBody>) {
        if self.is_retiring.get() && !self.is_h2 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    fn is_closing(&self) -> bool {
        self.closing_since.get().is_some()
    }
}

/// Serves an accepted connection to its end. Spawned on the core that it was given to.
pub async fn serve(core: Rc<Core>, mut stream: TcpStream, peer: SocketAddr, listener: Listener) {
    let _open = Open::new(&core);
    let activity = Arc::new(Activity::default());
    activity.enter(Phase::Opening, core.tick());
    let local = stream.local_addr().unwrap_or(listener.address);
    let Some(announced) = announced_on(&core, &mut stream, peer, &listener).await else { return };
    let (io, certificate, is_h2) = match listener.mode {
        Mode::Plain | Mode::Redirect(_) => {
            (ClientIo::plain(Wire(stream), Arc::clone(&activity), Arc::clone(&core.clock)), None, false)
        }
        Mode::Tls => match tokio::time::timeout(HANDSHAKE, handshake(&core, Wire(stream))).await {
            // A CA has seen what it came for.
            Ok(Ok(None)) => return,
            Ok(Ok(Some((stream, certificate)))) => {
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let io = ClientIo::tls(stream, is_h2, Arc::clone(&activity), Arc::clone(&core.clock));
                (io, Some(certificate), is_h2)
            }
            failed => {
                let cause = match failed {
                    Ok(Err(error)) => failure_of(&error),
                    _ => HandshakeFailure::Timeout,
                };
                core.metrics.core(core.index).handshake_failed(cause);
                return;
            }
        },
    };
    activity.enter(Phase::Idle, core.tick());
    let connection = Rc::new(Connection {
        listener,
        peer,
        local,
        announced,
        certificate,
        activity,
        streams: Cell::new(0),
        peer_value: OnceCell::new(),
        closing_since: Cell::new(None),
        is_h2,
        is_retiring: Cell::new(false),
        has_served: Cell::new(false),
        waker: RefCell::default(),
        task: RefCell::default(),
    });
    let key = core.connected(Rc::clone(&connection));
    let _registered = Registered { core: Rc::clone(&core), key };
    // hyper's connection lives in a task of its own so that the sweeper can cut it from outside.
    let task = tokio::task::spawn_local(drive(Rc::clone(&core), Rc::clone(&connection), io, is_h2));
    connection.task.replace(Some(task.abort_handle()));
    let _ = task.await;
}

/// Whom the connection is from, on a door that is told so; `None` if it is to be closed: only trusted gateways may say, and
/// whoever comes through such a door has to.
async fn announced_on(core: &Core, stream: &mut TcpStream, peer: SocketAddr, listener: &Listener) -> Option<Announced> {
    if !listener.door.proxy_protocol {
        return Some(Announced::Itself);
    }
    let counters = core.metrics.core(core.index);
    if !listener.door.trust.believes(peer.ip()) {
        counters.peer_refused();
        return None;
    }
    let read = tokio::time::timeout(HANDSHAKE, announced(stream)).await;
    let announced = read.ok().and_then(Result::ok);
    if announced.is_none() {
        counters.handshake_failed(HandshakeFailure::ProxyHeader);
    }
    announced
}

/// The handshake, with the certificate chosen by SNI from the snapshot of this moment. `None`: it was a CA that looked
/// whether a name is ours, and it is gone again.
async fn handshake(core: &Core, stream: Wire) -> io::Result<Option<(TlsStream<Wire>, Arc<Certificate>)>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let name = start.client_hello().server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    if let Some(proof) = name.as_deref().and_then(|name| proof_for(core, &start.client_hello(), name)) {
        // RFC 8737 §3: nothing is said on such a connection but the handshake.
        start.into_stream(proof).await?.shutdown().await?;
        return Ok(None);
    }
    let certificate = {
        let snapshot = core.cell.load();
        let found = snapshot.certificates.find(name.as_deref());
        Arc::clone(found.ok_or_else(|| io::Error::other("there is no certificate at all"))?)
    };
    let stream = start.into_stream(Arc::clone(certificate.server_config())).await?;
    Ok(Some((stream, certificate)))
}

/// What a CA is shown that asks for `acme-tls/1` and nothing else.
fn proof_for(core: &Core, hello: &ClientHello<'_>, name: &str) -> Option<Arc<ServerConfig>> {
    let mut protocols = hello.alpn()?;
    let asks_for_proof = protocols.next() == Some(ACME_TLS) && protocols.next().is_none();
    if !asks_for_proof {
        return None;
    }
    core.cell.challenges().certificate(name).cloned()
}

fn failure_of(error: &io::Error) -> HandshakeFailure {
    use tokio_rustls::rustls::Error;
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(_)) => HandshakeFailure::Alert,
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => HandshakeFailure::NotTls,
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => HandshakeFailure::NoAgreement,
        Some(_) => HandshakeFailure::Other,
        None => HandshakeFailure::Closed,
    }
}

async fn drive(core: Rc<Core>, connection: Rc<Connection>, io: ClientIo, is_h2: bool) {
    let service = Gateway { core: Rc::clone(&core), connection: Rc::clone(&connection), stream: Rc::default() };
    if is_h2 {
        let executor = Streams { last: Rc::clone(&service.stream) };
        let mut builder = http2::Builder::new(executor);
        builder
            .max_concurrent_streams(MOST_STREAMS)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(256 * 1024)
            .enable_connect_protocol()
            .max_header_list_size(u32::try_from(MOST_HEAD).unwrap_or(u32::MAX));
        let serving = builder.serve_connection(io, service);
        run(serving, &core, &connection, |serving| serving.graceful_shutdown()).await;
    } else {
        let mut builder = http1::Builder::new();
        builder.max_headers(MOST_FIELDS).max_header_size(MOST_HEAD).max_buf_size(MOST_BUFFER).half_close(false);
        let serving = builder.serve_connection(io, service).with_upgrades();
        run(serving, &core, &connection, |serving| serving.graceful_shutdown()).await;
    }
}

/// Polls hyper's connection to its end, and tells it once when it was asked to close.
async fn run<C>(serving: C, core: &Core, connection: &Connection, shut_down: impl Fn(Pin<&mut C>))
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut serving = pin!(serving);
    let mut was_told = false;
    let ended = std::future::poll_fn(|cx: &mut Context<'_>| {
        connection.activity.begin_turn();
        if connection.is_closing() && !was_told {
            was_told = true;
            shut_down(serving.as_mut());
        } else if !was_told {
            connection.waker.replace(Some(cx.waker().clone()));
        }
        serving.as_mut().poll(cx)
    });
    if let Err(error) = ended.await
        && error.is_parse()
    {
        record_garbage(core, connection, &error);
    }
}

/// What was no HTTP never became an exchange; hyper answered it (400 or 431, without a body). It is recorded all the same.
fn record_garbage(core: &Core, connection: &Connection, error: &hyper::Error) {
    let refusal = if error.is_parse_too_large() { Refusal::HeadTooLarge } else { Refusal::BadRequest };
    let method = Method::from_bytes(b"-").unwrap_or_default();
    let record = AccessRecord {
        id: RequestId::random(),
        client: connection.client(),
        peer: connection.peer.ip(),
        door: &connection.listener.door.name,
        route: None,
        method: &method,
        host: "",
        path: "",
        query: None,
        version: Version::HTTP_11,
        tls: connection.certificate.is_some(),
        status: refusal.status(),
        refusal: Some(refusal),
        detail: Some(&error.to_string()),
        bytes_in: 0,
        bytes_out: 0,
        took: Duration::ZERO,
        upstream: None,
        first_byte: None,
        user_agent: None,
        upgraded: false,
        aborted: false,
    };
    core.log.record(&record);
    core.metrics.core(core.index).refused(refusal);
    core.no_route.record(core.index, refusal.status(), Duration::ZERO, 0, 0);
}

/// hyper's view of us: a request in, a future of its answer out.
struct Gateway {
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: Rc<RefCell<Option<Rc<Exchange>>>>,
}

impl Service<Request<Incoming>> for Gateway {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let exchange = Exchange::begin(&self.core, &self.connection, &request);
        if request.version() == Version::HTTP_2 {
            self.stream.replace(Some(Rc::clone(&exchange)));
            if self.connection.is_retiring.get() {
                self.connection.close(self.core.tick());
            }
        }
        match request::handle(&exchange, request) {
            Handled::Answered(mut response) => {
                self.connection.mark_last(&mut response);
                Answering::Now(Some(response))
            }
            Handled::Forwarded(journey, request) => {
                Answering::Later(Box::pin(forward(journey, request)), Rc::clone(&self.connection))
            }
        }
    }
}

/// The future of one answer.
pub enum Answering {
    /// Our own, at hand.
    Now(Option<Response<ResponseBody>>),
    /// The upstream's.
    Later(Pin<Box<dyn Future<Output = Response<ResponseBody>>>>, Rc<Connection>),
}

impl Future for Answering {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Answering::Now(response) => response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Answering::Later(answer, connection) => answer.as_mut().poll(cx).map(|mut response| {
                connection.mark_last(&mut response);
                Ok(response)
            }),
        }
    }
}

/// Runs the streams of one HTTP/2 connection on this core. hyper calls the service and then spawns that stream's task in the
/// same breath: so the exchange begun last is the one whose task this is, and can be cut alone.
#[derive(Clone)]
struct Streams {
    last: Rc<RefCell<Option<Rc<Exchange>>>>,
}

impl<F: Future + 'static> Executor<F> for Streams
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::task::spawn_local(future);
        if let Some(exchange) = self.last.borrow_mut().take() {
            exchange.task.replace(Some(task.abort_handle()));
        }
    }
}

/// Counts an open connection for as long as it is held.
struct Open(Rc<Core>);

impl Open {
    fn new(core: &Rc<Core>) -> Open {
        core.metrics.core(core.index).connection_opened();
        Open(Rc::clone(core))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.core(self.0.index).connection_closed();
        self.0.load.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps the connection where the sweeper finds it.
struct Registered {
    core: Rc<Core>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.core.disconnected(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_future_stays_small() {
        fn size_of_future<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
            size_of::<F>()
        }
        // Each forwarded request allocates and moves this much.
        let size = size_of_future(forward);
        assert!(size <= 2048, "the future of a forwarded request has grown to {size} bytes");
    }
}
