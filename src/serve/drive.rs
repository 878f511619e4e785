//! One accepted connection from handshake to end: hyper reads the requests and writes the answers; each request becomes an
//! exchange. Knows nothing of routes.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::rt::{Executor, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use tokio::net::TcpStream;

use super::announce::announced;
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

/// Bytes of one HTTP/1.1 connection that wait here, read or to be written: what a client that does not read costs us.
const MOST_BUFFER: usize = 128 * 1024;

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
    let (activity, clock) = (Arc::clone(&connection.activity), Arc::clone(&core.clock));
    let (io, is_h2) = match connection.listener.mode {
        Mode::Plain | Mode::Redirect(_) => {
            (ClientIo::plain(Wire::new(stream), activity, clock, connection.is_home), false)
        }
        // Boxed: it is over soon, and its state is larger than all that follows.
        Mode::Tls => match Box::pin(handshake(core, Wire::new(stream).under_tls())).await {
            Shaken::Hands(stream, certificate) => {
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                connection.secured(certificate, is_h2);
                (ClientIo::tls(stream, is_h2, activity, clock, connection.is_home), is_h2)
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
        Box::pin(drive_http1(core, connection, io)).await;
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

async fn drive_http1(core: &Rc<Core>, connection: &Rc<Connection>, io: ClientIo) {
    let service = Gateway { core: Rc::clone(core), connection: Rc::clone(connection), stream: Rc::default() };
    let limits = &connection.limits;
    let mut builder = http1::Builder::new();
    builder
        .max_headers(limits.fields as usize)
        .max_header_size(limits.head as usize)
        .max_buf_size(MOST_BUFFER.max(limits.head as usize))
        .half_close(false);
    let mut next = (io, service);
    loop {
        // Boxed, so that nothing of it is there while the connection rests.
        let mut serving = Box::new(builder.serve_connection(next.0, next.1));
        let ended = run(Pin::new(&mut *serving), connection, |serving| serving.graceful_shutdown()).await;
        if let Stage::Failed(error) = &ended {
            return tell(core, connection, error);
        }
        let http1::Parts { mut io, read_buf, service, .. } = serving.into_parts();
        io.put_back(read_buf);
        match ended {
            Stage::Rests => {
                if !has_woken(connection, &io).await {
                    let _ = std::future::poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await;
                    return;
                }
                next = (io, service);
            }
            _ => {
                if let Some(heir) = connection.heir() {
                    // Who is gone wants no socket.
                    let _ = heir.send(io);
                }
                return;
            }
        }
    }
}

/// Waits for the next bytes on a connection that holds nothing; false if it is to be closed instead.
async fn has_woken(connection: &Connection, io: &ClientIo) -> bool {
    std::future::poll_fn(|cx| {
        if connection.is_closing() {
            return Poll::Ready(false);
        }
        connection.wake_by(cx.waker());
        io.poll_readable(cx).map(|_| true)
    })
    .await
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
    let serving = pin!(builder.serve_connection(io, service));
    if let Stage::Failed(error) = run(serving, connection, |serving| serving.graceful_shutdown()).await {
        tell(core, connection, &error);
    }
}

/// Where hyper's connection has come to.
enum Stage {
    /// To its end.
    Ended,
    /// To its end, by a fault.
    Failed(hyper::Error),
    /// To a pause long enough to do without it.
    Rests,
}

/// Polls hyper's connection to its end or to a long pause, and tells it once when it was asked to close.
async fn run<C>(mut serving: Pin<&mut C>, connection: &Connection, shut_down: impl Fn(Pin<&mut C>)) -> Stage
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut was_told = false;
    std::future::poll_fn(|cx: &mut Context<'_>| {
        connection.activity.begin_turn();
        if connection.is_closing() && !was_told {
            was_told = true;
            shut_down(serving.as_mut());
        } else if !was_told {
            connection.wake_by(cx.waker());
        }
        match serving.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Stage::Ended),
            Poll::Ready(Err(error)) => Poll::Ready(Stage::Failed(error)),
            Poll::Pending if connection.is_to_rest() && !was_told => Poll::Ready(Stage::Rests),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Counts and records how a connection failed.
fn tell(core: &Rc<Core>, connection: &Connection, error: &hyper::Error) {
    if error.is_parse() {
        core.metrics.core(core.index).ended(Ended::NotHttp);
        garbage::record_unparsed(core, connection, error);
    } else if let Some(cause) = offence(error) {
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

/// hyper's view of us: a request in, a future of its answer out.
struct Gateway {
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: Rc<RefCell<Option<Rc<Exchange>>>>,
}

impl Service<Request<Incoming>> for Gateway {
    type Response = Response<LastWord>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let seen = Seen::of(request.headers());
        let exchange = Exchange::begin(&self.core, &self.connection, &request, seen);
        if request.version() == Version::HTTP_2 {
            self.stream.replace(Some(Rc::clone(&exchange)));
            if self.connection.is_retiring() {
                self.connection.close(self.core.tick());
            }
        }
        match request::handle(&exchange, request, seen) {
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
    type Output = Result<Response<LastWord>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Answering::Now(response) => response.take().map_or(Poll::Pending, |now| Poll::Ready(Ok(LastWord::of(now)))),
            Answering::Later(answer, connection) => answer.as_mut().poll(cx).map(|mut response| {
                connection.mark_last(&mut response);
                Ok(LastWord::of(response))
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
