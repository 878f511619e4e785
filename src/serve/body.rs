//! Bodies on their way through: counted, limited, watched for silence, never kept.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::arriving::Arriving;
use super::exchange::{Exchange, On};
use super::expect::Gate;
use super::headers::clean_trailers;
use super::line::Broken;
use super::replay::{Kept, KeptBody};
use crate::http1::Verbatim;
use crate::model::Refusal;
use crate::upstream::{AnswerBody, AnswerError, Sender};

/// Why a body ends early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// We end it.
    #[error("{0}")]
    Refused(Refusal),
    /// The upstream answered without it.
    #[error("the upstream never asked for the body")]
    Unasked,
    /// The client broke it off.
    #[error("the body broke off")]
    Broken(#[source] Broken),
    /// The upstream broke it off.
    #[error("the answer broke off")]
    Cut(#[source] AnswerError),
}

/// A request body on its way to the upstream.
pub enum RequestBody {
    /// None.
    Empty,
    /// The client's.
    Client(ClientBody),
    /// The client's, to be sent again if the upstream never looked at it.
    Kept(KeptBody),
}

/// What the client sends, counted and watched.
pub struct ClientBody {
    inner: Arriving,
    exchange: Rc<Exchange>,
    limit: u64,
    gate: Option<Gate>,
}

impl RequestBody {
    /// The body of a request, limited to `limit` bytes. `is_kept`: an upstream may tell that it never looked at it.
    pub fn new(inner: Arriving, exchange: &Rc<Exchange>, limit: Option<u64>, is_kept: bool) -> RequestBody {
        if inner.is_end_stream() {
            exchange.body_is_done();
            return RequestBody::Empty;
        }
        let limit = limit.unwrap_or(u64::MAX);
        let gate = exchange.wish.get().cloned().map(Gate::before);
        let body = ClientBody { inner, exchange: Rc::clone(exchange), limit, gate };
        if is_kept { RequestBody::Kept(KeptBody::new(body)) } else { RequestBody::Client(body) }
    }

    /// What is kept of it.
    pub fn kept(&self) -> Option<Rc<Kept>> {
        match self {
            RequestBody::Kept(body) => Some(body.kept()),
            RequestBody::Empty | RequestBody::Client(_) => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Client(body) => body.poll_frame(cx),
            RequestBody::Kept(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Client(body) => body.is_end_stream(),
            RequestBody::Kept(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Client(body) => body.size_hint(),
            RequestBody::Kept(body) => body.size_hint(),
        }
    }
}

impl ClientBody {
    /// Whether nothing more will come.
    pub fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// How much is still to come, if that is known.
    pub fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    /// The next of it.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let exchange = &self.exchange;
        if let Some(gate) = &mut self.gate {
            if !ready!(gate.poll_open(cx)) {
                return Poll::Ready(Some(Err(BodyError::Unasked)));
            }
            self.gate = None;
        }
        let now = exchange.core.now();
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Pending => {
                if exchange.upload.is_expired() {
                    return self.refuse(Refusal::BodyTimeout);
                }
                exchange.upload.wait(now, cx);
                Poll::Pending
            }
            Poll::Ready(None) => {
                exchange.upload.receive(0, now);
                exchange.body_is_done();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(data) = frame.data_ref() {
                    let total = exchange.bytes_in.get() + data.len() as u64;
                    exchange.bytes_in.set(total);
                    exchange.upload.receive(data.len(), now);
                    // An upload that moves is life on this exchange: the upstream may answer after the last byte.
                    exchange.download.progress(now);
                    if exchange.upload.is_expired() {
                        return self.refuse(Refusal::BodyTimeout);
                    }
                    if total > self.limit {
                        return self.refuse(Refusal::BodyLimit);
                    }
                }
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                    exchange.body_is_done();
                } else if self.inner.is_end_stream() || self.inner.size_hint().exact() == Some(0) {
                    // All that it said it would send; the end of an HTTP/2 stream may come in a frame of its own.
                    exchange.body_is_done();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Broken::NotChunks(bad) = &error {
                    let _ = exchange.upload.fault.set(format!("the body is not sent as chunks are: {bad}"));
                }
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
        }
    }

    fn refuse(&self, refusal: Refusal) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.exchange.refusal.set(Some(refusal));
        Poll::Ready(Some(Err(BodyError::Refused(refusal))))
    }
}

/// An answer's body on its way to the client.
pub struct ResponseBody {
    kind: Kind,
    exchange: Rc<Exchange>,
}

enum Kind {
    Own(Option<Bytes>),
    Upstream(AnswerBody<RequestBody>, Option<Lease>),
}

/// The upstream connection that an answer is read from; goes back to the pool when the answer ends.
pub struct Lease {
    /// The connection, or a place on one.
    pub sender: Sender<RequestBody>,
    /// The id of the lane it belongs to.
    pub lane: u64,
}

impl ResponseBody {
    /// A body of our own.
    pub fn own(body: Bytes, exchange: &Rc<Exchange>) -> ResponseBody {
        let body = (!body.is_empty()).then_some(body);
        if body.is_some() {
            waits_for_reader(exchange);
        }
        ResponseBody { kind: Kind::Own(body), exchange: Rc::clone(exchange) }
    }

    /// The upstream's body; the connection is given back at its end.
    pub fn upstream(inner: AnswerBody<RequestBody>, lease: Lease, exchange: &Rc<Exchange>) -> ResponseBody {
        let mut body = ResponseBody { kind: Kind::Upstream(inner, Some(lease)), exchange: Rc::clone(exchange) };
        // Nobody asks for any of it while an HTTP/2 client keeps its window shut.
        waits_for_reader(exchange);
        body.finish_if_ended();
        body
    }

    /// The fields of its head that go on as they came, where there are any.
    pub fn take_verbatim(&mut self) -> Option<Verbatim> {
        match &mut self.kind {
            Kind::Own(_) => None,
            Kind::Upstream(inner, _) => inner.take_verbatim(),
        }
    }

    /// Whether it outruns its request: the client's HTTP/2 stream is still open on its side.
    pub fn is_early(&self) -> bool {
        !self.exchange.is_http1() && !self.exchange.upload.is_done.get()
    }

    /// Asks to be polled again once the request has ended.
    pub fn wake_when_request_ends(&self, cx: &Context<'_>) {
        self.exchange.upload.ending.replace(Some(cx.waker().clone()));
    }

    /// Gives the connection back once nothing more will come on it for this exchange.
    fn finish_if_ended(&mut self) {
        if let Kind::Upstream(inner, lease) = &mut self.kind
            && inner.is_end_stream()
        {
            self.exchange.download.end();
            release(lease.take(), &self.exchange);
        }
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Kind::Upstream(inner, lease) = &mut self.kind else { return Poll::Ready(None) };
        let exchange = &self.exchange;
        let wait = &exchange.download;
        let idle = exchange.route.get().map_or(READER, |route| route.idle);
        match Pin::new(inner).poll_frame(cx) {
            Poll::Pending => {
                if wait.is_expired() {
                    exchange.detail.replace(Some("the upstream stopped in the middle of its answer".to_owned()));
                    return Poll::Ready(Some(Err(BodyError::Refused(Refusal::UpstreamTimeout))));
                }
                wait.begin(On::Upstream, exchange.core.now(), idle);
                wait.wake(cx);
                Poll::Pending
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                // A conversation: who listens need not speak.
                exchange.upload.hears(exchange.core.now());
                if let Some(data) = frame.data_ref() {
                    exchange.bytes_out.set(exchange.bytes_out.get() + data.len() as u64);
                }
                waits_for_reader(exchange);
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                    // Nothing follows them, and hyper does not ask again.
                    wait.end();
                    release(lease.take(), exchange);
                    exchange.is_complete.set(true);
                }
                self.finish_if_ended();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                wait.end();
                exchange.detail.replace(Some(format!("the upstream broke off its answer: {error}")));
                Poll::Ready(Some(Err(BodyError::Cut(error))))
            }
            Poll::Ready(None) => {
                wait.end();
                release(lease.take(), exchange);
                exchange.is_complete.set(true);
                Poll::Ready(None)
            }
        }
    }
}

/// How long a client may take nothing of an answer of ours where there is no route.
const READER: Duration = Duration::from_secs(60);

/// From here on it is the client who is waited for, until somebody asks for more of the answer.
fn waits_for_reader(exchange: &Exchange) {
    let limit = exchange.route.get().map_or(READER, |route| route.idle_reader);
    exchange.download.begin(On::ClientReading, exchange.core.now(), limit);
}

/// A connection may serve again only if the upstream got the whole request: else what follows on it would be read as the
/// rest of the body.
fn release(lease: Option<Lease>, exchange: &Exchange) {
    // A place on a shared connection is given back by being dropped. One that was opened in somebody's name serves nobody else.
    if let Some(Lease { sender: Sender::Http1(connection), lane }) = lease
        && exchange.upload.is_done.get()
        && !exchange.is_private()
    {
        exchange.core.pool.put(lane, connection, exchange.core.now());
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.kind {
            Kind::Own(body) => {
                let Some(body) = body.take() else { return Poll::Ready(None) };
                this.exchange.bytes_out.set(body.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(body))))
            }
            Kind::Upstream(..) => this.poll_upstream(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own(body) => body.is_none(),
            Kind::Upstream(inner, _) => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Upstream(inner, _) => inner.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // hyper does not ask once more after the last byte of a body whose length it knows.
        if self.is_end_stream() {
            self.exchange.is_complete.set(true);
        }
        self.exchange.download.end();
        if let Some(wish) = self.exchange.wish.get() {
            wish.end();
        }
    }
}
