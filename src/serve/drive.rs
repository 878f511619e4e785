//! One accepted connection from handshake to end; each request on it becomes an exchange. HTTP/1.1 is read and written by
//! [`http1`](super::http1), HTTP/2 by hyper. Knows nothing of routes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::announce::announced;
use super::arriving::Arriving;
use super::body::ResponseBody;
use super::client_io::{ClientIo, Phase};
use super::connection::{Connection, Registered};
use super::core::Core;
use super::early::LastWord;
use super::exchange::Exchange;
use super::forward::forward;
use super::garbage;
use super::handshake::{HANDSHAKE, Shaken, handshake};
use super::request::{self, Handled};
use super::seen::Seen;
use crate::snapshot::Mode;
use crate::telemetry::{Ended, HandshakeFailure};
use crate::upstream::Wire;

/// What a client may send ahead on one HTTP/2 stream, and on all streams of a connection together.
const STREAM_WINDOW: u32 = 512 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The longest HTTP/2 frame that a client may send (RFC 9113 §4.2); 16 KiB unless said otherwise. An upload by a client that
/// makes use of it takes a sixth less of a core: each frame is looked at, handed on and accounted for by itself. Not where a
/// request head may be longer: the library bounds the frames of a head, and takes it that clients fill them.
const FRAME: u32 = 64 * 1024;

/// What waits in one HTTP/2 stream for its client's window.
const SEND_BUFFER: usize = 256 * 1024;

/// Streams that a client has reset before we looked at them (rapid reset); more end the connection.
const PENDING_RESETS: usize = 20;

/// Streams that we reset because of a client's faults; more end the connection.
const FAULTY_STREAMS: usize = 256;

/// Serves a connection to its end. Spawned on the core that it was given to; cut from outside by aborting that task.
pub async fn serve(registered: Registered, mut stream: TcpStream) {
    let Registered { core, connection, .. } = &registered;
    if connection.listener.door.proxy_protocol && !Box::pin(is_announced(core, connection, &mut stream)).await {
        return;
    }
    let (activity, clock) = (Rc::clone(&connection.activity), Rc::clone(&core.clock));
    let (io, is_h2) = match connection.listener.mode {
        Mode::Plain | Mode::Redirect(_) => (ClientIo::plain(Wire::new(stream), activity, clock), false),
        // Boxed: it is over soon, and its state is larger than all that follows.
        Mode::Tls => match Box::pin(handshake(core, Wire::new(stream).under_tls())).await {
            Shaken::Hands(stream, certificate) => {
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                connection.secured(certificate, is_h2);
                (ClientIo::tls(stream, is_h2, activity, clock), is_h2)
            }
            Shaken::Proven => return,
            Shaken::PlainHttp(wire) => {
                core.metrics.core(core.index).handshake_failed(HandshakeFailure::NotTls);
                return Box::pin(garbage::answer_plain_http(core, connection, wire)).await;
            }
            Shaken::Failed(cause) => return core.metrics.core(core.index).handshake_failed(cause),
        },
    };
    connection.activity.enter(Phase::Idle, core.tick());
    if is_h2 {
        Box::pin(drive_http2(core, connection, io)).await;
    } else {
        Box::pin(super::http1::serve(core, connection, io)).await;
    }
}

/// Reads whom the connection is from, on a door that is told so. False if it is to be closed: only trusted gateways may say,
/// and whoever comes through such a door has to.
async fn is_announced(core: &Core, connection: &Connection, stream: &mut TcpStream) -> bool {
    let counters = core.metrics.core(core.index);
    if !connection.listener.door.trust.believes(connection.peer.ip()) {
        counters.peer_refused();
        return false;
    }
    let read = tokio::time::timeout(HANDSHAKE, announced(stream)).await;
    match read.ok().and_then(Result::ok) {
        Some(announced) => connection.announce(announced),
        None => {
            counters.handshake_failed(HandshakeFailure::ProxyHeader);
            return false;
        }
    }
    true
}

async fn drive_http2(core: &Rc<Core>, connection: &Rc<Connection>, io: ClientIo) {
    let service = Gateway { core: Rc::clone(core), connection: Rc::clone(connection), stream: Rc::default() };
    let limits = &connection.limits;
    let mut builder = http2::Builder::new(Streams { last: Rc::clone(&service.stream) });
    builder
        .max_concurrent_streams(limits.streams)
        .max_frame_size((limits.head <= FRAME).then_some(FRAME))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(FAULTY_STREAMS)
        .enable_connect_protocol()
        .max_header_list_size(limits.head);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut was_told = false;
    let ended = std::future::poll_fn(|cx| {
        connection.activity.begin_turn();
        if connection.is_closing() && !was_told {
            was_told = true;
            serving.as_mut().graceful_shutdown();
        } else if !was_told {
            connection.wake_by(cx.waker());
        }
        serving.as_mut().poll(cx)
    });
    if let Err(error) = ended.await
        && let Some(cause) = offence(&error)
    {
        core.metrics.core(core.index).ended(cause);
    }
}

/// What a client did that HTTP/2 ends the connection for.
fn offence(error: &hyper::Error) -> Option<Ended> {
    let cause = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    if !cause.is_library() {
        return None;
    }
    match cause.reason()? {
        h2::Reason::NO_ERROR => None,
        h2::Reason::ENHANCE_YOUR_CALM => Some(Ended::Flood),
        _ => Some(Ended::Protocol),
    }
}

/// Takes up a request, in whose head this was seen.
pub fn take_up(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    request: Request<Arriving>,
    seen: Seen,
) -> (Rc<Exchange>, Answering) {
    let exchange = Exchange::begin(core, connection, &request, seen);
    let answering = match request::handle(&exchange, request, seen) {
        Handled::Answered(mut response) => {
            connection.mark_last(&mut response);
            Answering::Now(Some(response))
        }
        Handled::Forwarded(journey, request) => {
            Answering::Later(Box::pin(forward(journey, request)), Rc::clone(connection))
        }
    };
    (exchange, answering)
}

/// The future of one answer.
pub enum Answering {
    /// Our own, at hand.
    Now(Option<Response<ResponseBody>>),
    /// The upstream's.
    Later(Pin<Box<dyn Future<Output = Response<ResponseBody>>>>, Rc<Connection>),
}

impl Answering {
    /// Waits for it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Response<ResponseBody>> {
        match self {
            Answering::Now(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Answering::Later(answer, connection) => answer.as_mut().poll(cx).map(|mut response| {
                connection.mark_last(&mut response);
                response
            }),
        }
    }
}

/// hyper's view of us: a request in, a future of its answer out.
struct Gateway {
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: Rc<RefCell<Option<Rc<Exchange>>>>,
}

impl Service<Request<Incoming>> for Gateway {
    type Response = Response<LastWord>;
    type Error = Infallible;
    type Future = OnStream;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let request = request.map(Arriving::Http2);
        let seen = Seen::of(request.headers());
        let (exchange, answering) = take_up(&self.core, &self.connection, request, seen);
        self.stream.replace(Some(exchange));
        if self.connection.is_retiring() {
            self.connection.close(self.core.tick());
        }
        OnStream(answering)
    }
}

/// An answer on an HTTP/2 stream.
struct OnStream(Answering);

impl Future for OnStream {
    type Output = Result<Response<LastWord>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll(cx).map(|answer| Ok(LastWord::of(answer)))
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
        assert!(size <= 640, "the future of a forwarded request has grown to {size} bytes");
    }
}
