//! One HTTP/2 connection to an upstream, shared by the requests of one core. Opens nothing and decides nothing: it says how
//! many more it takes, and ends when nobody holds it any more.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::answer::AnswerError;
use super::connect::Connected;

/// Requests at once on one connection; what the upstream allows, if that is less. With `STREAM_WINDOW` it bounds what clients
/// that do not read can keep waiting here.
const MOST_STREAMS: u32 = 64;

/// Bytes of one answer that wait here for its client.
const STREAM_WINDOW: u32 = 256 * 1024;

/// As much as all answers of one connection together: a client that does not read holds up nobody else's answer.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MOST_STREAMS;

/// Bytes of one request's body that wait to be sent.
const SEND_BUFFER: usize = 256 * 1024;

/// Bytes of an answer's head that are read, as over HTTP/1.1.
const MOST_HEAD: u32 = 256 * 1024;

/// Silence on a connection with open streams after which its end is asked for a sign of life. gRPC servers hang up on whoever
/// asks more often than once in five minutes.
const PING_AFTER: Duration = Duration::from_secs(310);

/// How long that sign may take.
const PING_ANSWER: Duration = Duration::from_secs(20);

/// How long the upstream's first word, its SETTINGS, is waited for where they matter.
const SETTINGS: Duration = Duration::from_secs(5);

/// Why bodies may be sent on a connection: what hyper wants of them.
pub trait Sendable:
    Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static
{
}

impl<B> Sendable for B where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin + 'static
{
}

/// A shared connection.
pub struct Multiplexed<B: Sendable> {
    sender: SendRequest<B>,
    /// hyper's side of it, asked for what the upstream allows; gone when the connection is.
    driven: Rc<RefCell<Option<Driven<B>>>>,
    heard: Rc<Heard>,
    spoke_nonsense: Rc<Cell<bool>>,
    streams: Cell<u32>,
    is_retired: Cell<bool>,
    idle_since: Cell<Instant>,
}

type Driven<B> = Connection<TokioIo<Listening>, B, OnThisCore>;

impl<B: Sendable> Multiplexed<B> {
    /// Begins to speak HTTP/2 on a fresh connection. Spawns on the current core.
    pub async fn begin(stream: Connected) -> hyper::Result<Rc<Multiplexed<B>>> {
        let heard = Rc::new(Heard::default());
        let io = TokioIo::new(Listening { stream, heard: Rc::clone(&heard) });
        let (sender, connection) = http2::Builder::new(OnThisCore)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MOST_HEAD)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_ANSWER)
            .handshake(io)
            .await?;
        let driven = Rc::new(RefCell::new(Some(connection)));
        let driving = Rc::clone(&driven);
        let spoke_nonsense = Rc::new(Cell::new(false));
        let nonsense = Rc::clone(&spoke_nonsense);
        tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            let mut connection = driving.borrow_mut();
            let Some(open) = connection.as_mut() else { return Poll::Ready(()) };
            let polled = Pin::new(open).poll(cx);
            polled.map(|ended| {
                // How a connection ends is told by the exchanges on it, but for one that never was HTTP/2.
                nonsense.set(ended.is_err_and(|error| AnswerError::from(error).is_http2_nonsense()));
                *connection = None;
            })
        }));
        Ok(Rc::new(Multiplexed {
            sender,
            driven,
            heard,
            spoke_nonsense,
            streams: Cell::new(0),
            is_retired: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
        }))
    }

    /// Whether it takes another request now.
    pub fn has_room(&self) -> bool {
        !self.is_over() && self.streams.get() < self.most_streams()
    }

    /// Whether it takes no request any more: closed, told to go away, or given up.
    pub fn is_over(&self) -> bool {
        self.is_retired.get() || self.sender.is_closed()
    }

    /// Whether it ended because what the upstream said is not HTTP/2.
    pub fn spoke_nonsense(&self) -> bool {
        self.spoke_nonsense.get()
    }

    /// Whether no request has been on it for this long.
    pub fn is_idle_for(&self, limit: Duration, now: Instant) -> bool {
        self.streams.get() == 0 && now.saturating_duration_since(self.idle_since.get()) >= limit
    }

    /// Whether the upstream takes WebSockets as streams (RFC 8441). Waits for its SETTINGS, for a moment.
    pub async fn takes_websockets(&self) -> bool {
        let heard = async {
            while !self.heard.is_any.get() {
                self.heard.told.notified().await;
            }
        };
        let _ = tokio::time::timeout(SETTINGS, heard).await;
        self.driven.borrow().as_ref().is_some_and(Connection::is_extended_connect_protocol_enabled)
    }

    fn most_streams(&self) -> u32 {
        let Ok(driven) = self.driven.try_borrow() else { return 0 };
        let allowed = driven.as_ref().map_or(0, Connection::current_max_send_streams);
        u32::try_from(allowed).unwrap_or(u32::MAX).min(MOST_STREAMS)
    }
}

/// The place of one request on a shared connection. The connection lives for as long as somebody has one.
pub struct Seat<B: Sendable>(Rc<Multiplexed<B>>);

impl<B: Sendable> Seat<B> {
    /// Takes a place.
    pub fn on(connection: &Rc<Multiplexed<B>>) -> Seat<B> {
        connection.streams.set(connection.streams.get() + 1);
        Seat(Rc::clone(connection))
    }

    /// Something to send a request with.
    pub fn sender(&self) -> SendRequest<B> {
        self.0.sender.clone()
    }

    /// The connection.
    pub fn connection(&self) -> &Multiplexed<B> {
        &self.0
    }

    /// Has later requests take another connection: this one did not do what it should.
    pub fn retire(&self) {
        self.0.is_retired.set(true);
    }
}

impl<B: Sendable> Drop for Seat<B> {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.idle_since.set(Instant::now());
    }
}

/// Runs what hyper needs beside a connection on the core that opened it.
#[derive(Clone)]
pub struct OnThisCore;

impl<F: Future + 'static> Executor<F> for OnThisCore
where
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Whether the upstream has said anything yet.
#[derive(Default)]
struct Heard {
    is_any: Cell<bool>,
    told: Notify,
}

/// A connection that tells when the first bytes have come: its upstream's SETTINGS (RFC 9113 §3.4).
struct Listening {
    stream: Connected,
    heard: Rc<Heard>,
}

impl AsyncRead for Listening {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if polled.is_ready() && !this.heard.is_any.replace(true) {
            // They are read in this very turn; who waits is woken behind it.
            this.heard.told.notify_waiters();
        }
        polled
    }
}

impl AsyncWrite for Listening {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
