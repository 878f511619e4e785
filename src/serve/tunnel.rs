//! A WebSocket after its handshake: bytes both ways until either side ends or both are silent for long. Holds its route, not
//! the snapshot it began under.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::body::RequestBody;
use super::client_io::ClientIo;
use super::exchange::{Exchange, On};
use crate::snapshot::Route;
use crate::upstream::{Connected, Sender};

/// How long the other side may be silent once one side has ended: nothing new is coming, it only has to finish.
const FINISH: Duration = Duration::from_secs(10);

/// The client's side.
pub enum Near {
    /// A whole connection, when HTTP has ended on it.
    Whole(oneshot::Receiver<(ClientIo, Bytes)>),
    /// A stream of an HTTP/2 connection.
    Stream(OnUpgrade),
}

/// The upstream's side.
pub enum Far {
    /// A whole connection, and what was read of it already.
    Whole(Box<Connected>, Bytes),
    /// A stream of a shared connection, which lives for as long as somebody has a place on it.
    Stream(OnUpgrade, Sender<RequestBody>),
}

/// Joins the two sides once both handshakes are done.
pub fn open(exchange: &Rc<Exchange>, route: &Arc<Route>, client: Near, upstream: Far) {
    let task = tokio::task::spawn_local(join(Rc::clone(exchange), Arc::clone(route), client, upstream));
    exchange.task.replace(Some(task.abort_handle()));
}

/// The client's end, when its handshake is done.
async fn near_end(client: Near) -> Result<End, String> {
    match client {
        Near::Whole(socket) => {
            let (socket, read) = socket.await.map_err(|_| "the client is gone".to_owned())?;
            Ok(End::Client(Box::new(socket), read))
        }
        Near::Stream(stream) => far_end(stream).await,
    }
}

async fn far_end(stream: OnUpgrade) -> Result<End, String> {
    stream.await.map(|stream| End::Upgraded(TokioIo::new(stream))).map_err(|error| error.to_string())
}

async fn join(exchange: Rc<Exchange>, route: Arc<Route>, client: Near, upstream: Far) {
    let both = match upstream {
        Far::Whole(stream, read) => near_end(client).await.map(|client| (client, End::Whole(stream, read), None)),
        Far::Stream(stream, place) => tokio::try_join!(near_end(client), far_end(stream))
            .map(|(client, upstream)| (client, upstream, Some(place))),
    };
    let (client, upstream, _place) = match both {
        Ok(both) => both,
        Err(error) => {
            exchange.detail.replace(Some(format!("the WebSocket did not come about: {error}")));
            return;
        }
    };
    exchange.is_tunnel.set(true);
    exchange.is_complete.set(false);
    let _counted = Counted::new(&exchange, &route);
    let mut client =
        Side { io: client, exchange: &exchange, route: &route, is_client: true, fault: None, is_cut: false };
    let mut upstream =
        Side { io: upstream, exchange: &exchange, route: &route, is_client: false, fault: None, is_cut: false };
    client.stir();
    let ended = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    exchange.download.end();
    if upstream.is_cut {
        exchange.is_complete.set(false);
    }
    match ended.err().or(upstream.fault) {
        None => exchange.is_complete.set(true),
        Some(error) => {
            exchange.detail.replace(Some(format!("the WebSocket broke off: {error}")));
        }
    }
}

/// Counts an open tunnel, also when its task is cut.
struct Counted<'a> {
    exchange: &'a Exchange,
    route: &'a Route,
}

impl<'a> Counted<'a> {
    fn new(exchange: &'a Exchange, route: &'a Route) -> Self {
        route.metrics.tunnel_opened(exchange.core.index);
        Counted { exchange, route }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.route.metrics.tunnel_closed(self.exchange.core.index);
    }
}

/// One end's bytes.
enum End {
    /// And what was read before.
    Client(Box<ClientIo>, Bytes),
    Upgraded(TokioIo<Upgraded>),
    /// And what was read before.
    Whole(Box<Connected>, Bytes),
}

impl End {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            End::Client(io, read) if read.is_empty() => Pin::new(io).poll_read(cx, buf),
            End::Upgraded(io) => Pin::new(io).poll_read(cx, buf),
            End::Whole(io, read) if read.is_empty() => Pin::new(io).poll_read(cx, buf),
            End::Client(_, read) | End::Whole(_, read) => {
                buf.put_slice(&read.split_to(buf.remaining().min(read.len())));
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            End::Client(io, _) => Pin::new(io).poll_write(cx, buf),
            End::Upgraded(io) => Pin::new(io).poll_write(cx, buf),
            End::Whole(io, _) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            End::Client(io, _) => Pin::new(io).poll_flush(cx),
            End::Upgraded(io) => Pin::new(io).poll_flush(cx),
            End::Whole(io, _) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            End::Client(io, _) => Pin::new(io).poll_shutdown(cx),
            End::Upgraded(io) => Pin::new(io).poll_shutdown(cx),
            End::Whole(io, _) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// One side: counted, and every byte a sign of life.
struct Side<'a> {
    io: End,
    exchange: &'a Exchange,
    route: &'a Route,
    is_client: bool,
    /// Why an upstream takes and says nothing more. What it said before that is still on its way to the client.
    fault: Option<io::Error>,
    /// Whether that came before the client had ended.
    is_cut: bool,
}

impl Side<'_> {
    /// The upstream is gone, not ended.
    fn fail(&mut self, error: io::Error) {
        self.is_cut = !self.exchange.is_complete.get();
        self.fault = Some(error);
    }

    /// A sign of life.
    fn stir(&self) {
        let Exchange { download, core, is_complete, .. } = self.exchange;
        match is_complete.get() {
            false => download.begin(On::Tunnel, core.now(), self.route.idle_tunnel),
            true => download.begin(On::HalfTunnel, core.now(), FINISH.min(self.route.idle_tunnel)),
        }
    }
}

impl AsyncRead for Side<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = this.io.poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        if read > 0 {
            let counter = if this.is_client { &this.exchange.bytes_in } else { &this.exchange.bytes_out };
            counter.set(counter.get() + read);
            this.stir();
        }
        match polled {
            // An upstream that is gone has ended: the client is to get all that came before, in order.
            Poll::Ready(Err(error)) if !this.is_client => {
                this.fail(error);
                Poll::Ready(Ok(()))
            }
            polled => polled,
        }
    }
}

impl AsyncWrite for Side<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.fault.is_some() {
            // For nobody, until the client has had its last bytes and knows that there will be no more.
            let is_told = this.exchange.is_complete.get();
            return Poll::Ready(if is_told { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(buf.len()) });
        }
        match this.io.poll_write(cx, buf) {
            // A server that throws a client out closes on what it has not read, and its kernel resets what comes after. Its
            // last words are in our kernel by then: they are read before anything ends.
            Poll::Ready(Err(error)) if !this.is_client => {
                this.fail(error);
                Poll::Ready(Ok(buf.len()))
            }
            polled => polled,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.fault.is_some() {
            return Poll::Ready(Ok(()));
        }
        this.io.poll_flush(cx)
    }

    /// Called once the other side has ended: what ends so, ends whole.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.exchange.is_complete.replace(true) {
            this.stir();
        }
        if this.fault.is_some() {
            return Poll::Ready(Ok(()));
        }
        this.io.poll_shutdown(cx)
    }
}
