//! The client's socket as hyper reads and writes it, with a note of when a request head began: the sweeper ends heads that
//! take too long. Keeps no bytes itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::sealing::Sealing;
use super::trailers::Trailers;
use crate::upstream::{Wire, poll_write_pieces};

/// What a client connection is doing, as far as its bytes tell. Shared with the socket, which must be `Send` for upgrades;
/// touched by one core only, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub struct Activity {
    phase: AtomicU8,
    since: AtomicU32,
    is_blocked: AtomicBool,
    is_owed: AtomicBool,
    turn: AtomicU32,
}

/// Phases of a client connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// TLS handshake, or nothing received yet.
    Opening = 0,
    /// No request and no byte of one.
    Idle = 1,
    /// A request head has begun.
    Head = 2,
    /// Requests are being served.
    Busy = 3,
    /// Over for us; what the client still sends is taken and forgotten.
    Lingering = 4,
}

impl Activity {
    /// The phase, and the tick since when.
    pub fn phase(&self) -> (Phase, u32) {
        let phase = match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Opening,
            1 => Phase::Idle,
            2 => Phase::Head,
            3 => Phase::Busy,
            _ => Phase::Lingering,
        };
        (phase, self.since.load(Ordering::Relaxed))
    }

    /// Whether the client has not yet taken all that was written to it: the last of an answer may still be on its way
    /// when nothing else is in flight.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Notes whether the client is in the middle of sending a body.
    pub fn owe(&self, is_owed: bool) {
        self.is_owed.store(is_owed, Ordering::Relaxed);
    }

    /// Begins another turn: one poll of the whole connection.
    pub fn begin_turn(&self) {
        self.turn.store(self.turn().wrapping_add(1), Ordering::Relaxed);
    }

    fn turn(&self) -> u32 {
        self.turn.load(Ordering::Relaxed)
    }

    /// Notes what a write came to: one that was taken is progress.
    fn wrote<T>(&self, polled: &Poll<io::Result<T>>, clock: &Clock) {
        match polled {
            Poll::Pending => self.is_blocked.store(true, Ordering::Relaxed),
            Poll::Ready(_) if self.is_blocked() => {
                self.is_blocked.store(false, Ordering::Relaxed);
                self.since.store(clock.tick(), Ordering::Relaxed);
            }
            Poll::Ready(_) => {}
        }
    }

    /// Enters a phase at a tick.
    pub fn enter(&self, phase: Phase, tick: u32) {
        self.since.store(tick, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// The coarse clock of a core: ticks since its start, written by the sweeper.
#[derive(Debug, Default)]
pub struct Clock(AtomicU32);

impl Clock {
    /// Now, in ticks.
    pub fn tick(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the clock.
    pub fn set(&self, tick: u32) {
        self.0.store(tick, Ordering::Relaxed);
    }
}

/// A client's socket.
pub struct ClientIo {
    socket: Socket,
    activity: Arc<Activity>,
    clock: Arc<Clock>,
    is_shut: bool,
}

enum Socket {
    Plain(Wire),
    Tls(Box<Tls>),
}

struct Tls {
    stream: TlsStream<Wire>,
    /// For HTTP/2.
    sealing: Option<Sealing>,
    /// For HTTP/2.
    trailers: Option<Trailers>,
}

impl Socket {
    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tls(tls) => match &mut tls.sealing {
                Some(sealing) => sealing.poll_write(&mut tls.stream, cx, bufs),
                None => poll_write_pieces(&mut tls.stream, cx, bufs),
            },
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, activity: &Activity) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(tls) => {
                let Some(sealing) = &mut tls.sealing else { return Pin::new(&mut tls.stream).poll_flush(cx) };
                let polled = sealing.poll_flush(&mut tls.stream, cx, activity.turn());
                if activity.phase().0 == Phase::Idle {
                    sealing.rest();
                }
                polled
            }
        }
    }

    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tls(tls) => match &mut tls.sealing {
                Some(sealing) => sealing.poll_hand_over(&mut tls.stream, cx),
                None => Poll::Ready(Ok(())),
            },
            Socket::Plain(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(tls) => {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut tls.stream).poll_read(cx, buffer))?;
                let looked = tls.trailers.as_mut().map_or(Ok(()), |trailers| trailers.look(&buffer.filled()[before..]));
                Poll::Ready(looked.map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong)))
            }
        }
    }

    /// Reads to the end, however it comes, and forgets. Gives way to others after every few reads.
    fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut block = [std::mem::MaybeUninit::uninit(); 16 * 1024];
        for _ in 0..8 {
            let mut buffer = ReadBuf::uninit(&mut block);
            match ready!(self.poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl ClientIo {
    /// A cleartext socket.
    pub fn plain(stream: Wire, activity: Arc<Activity>, clock: Arc<Clock>) -> ClientIo {
        ClientIo { socket: Socket::Plain(stream), activity, clock, is_shut: false }
    }

    /// A TLS socket. `is_sealing`: see [`Sealing`]; for HTTP/2.
    pub fn tls(stream: TlsStream<Wire>, is_sealing: bool, activity: Arc<Activity>, clock: Arc<Clock>) -> ClientIo {
        let (sealing, trailers) = (is_sealing.then(Sealing::default), is_sealing.then(Trailers::default));
        ClientIo { socket: Socket::Tls(Box::new(Tls { stream, sealing, trailers })), activity, clock, is_shut: false }
    }
}

impl hyper::rt::Read for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = {
            // SAFETY: the bytes are only handed to `ReadBuf::uninit`, which writes initialised bytes and never
            // de-initialises; hyper's own tokio adapter does the same.
            #[expect(unsafe_code, reason = "hyper's read buffer can be reached in no other way")]
            let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
            match this.socket.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => buffer.filled().len(),
                other => return other,
            }
        };
        // SAFETY: that many bytes were filled just above.
        #[expect(unsafe_code, reason = "hyper's read buffer can be reached in no other way")]
        unsafe {
            cursor.advance(filled);
        }
        if filled > 0 && this.activity.phase().0 == Phase::Idle {
            this.activity.enter(Phase::Head, this.clock.tick());
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = this.socket.poll_write_vectored(cx, bufs);
        this.activity.wrote(&polled, &this.clock);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = this.socket.poll_flush(cx, &this.activity);
        this.activity.wrote(&polled, &this.clock);
        polled
    }

    /// Ends our half. A client that we answered in the middle of its upload goes on sending for a moment: closing on it would
    /// make its kernel throw the answer away (RFC 9112 §9.6), so what it sends is taken until it ends or the sweeper cuts it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            let polled = this.socket.poll_hand_over(cx);
            this.activity.wrote(&polled, &this.clock);
            ready!(polled)?;
            ready!(this.socket.poll_shutdown(cx))?;
            this.is_shut = true;
            if !this.activity.is_owed.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            this.activity.enter(Phase::Lingering, this.clock.tick());
        }
        this.socket.poll_forget(cx)
    }
}
