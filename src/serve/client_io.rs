//! The client's socket as hyper reads and writes it, with a note of when a request head began: the sweeper ends heads that
//! take too long. Passes bytes through, copies none.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::upstream::Wire;

/// What a client connection is doing, as far as its bytes tell. Shared with the socket, which must be `Send` for upgrades;
/// touched by one core only, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub struct Activity {
    phase: AtomicU8,
    since: AtomicU32,
    is_blocked: AtomicBool,
    is_owed: AtomicBool,
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
    gathered: Option<Gathered>,
    is_shut: bool,
}

/// Small writes of one HTTP/2 connection, kept until the other tasks that are ready have had their turn: the answers of many
/// streams leave in one TLS record and one system call.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    sent: usize,
    is_put_off: bool,
}

/// Bytes that are gathered at most; a larger write goes to the socket itself, uncopied.
const MOST_GATHERED: usize = 16 * 1024;

enum Socket {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Socket {
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
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
        ClientIo { socket: Socket::Plain(stream), activity, clock, gathered: None, is_shut: false }
    }

    /// A TLS socket. `is_gathering`: see [`Gathered`]; for HTTP/2.
    pub fn tls(stream: TlsStream<Wire>, is_gathering: bool, activity: Arc<Activity>, clock: Arc<Clock>) -> ClientIo {
        let gathered = is_gathering.then(Gathered::default);
        ClientIo { socket: Socket::Tls(Box::new(stream)), activity, clock, gathered, is_shut: false }
    }

    /// Hands what was gathered to the socket.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(gathered) = &mut self.gathered else { return Poll::Ready(Ok(())) };
        while gathered.sent < gathered.bytes.len() {
            let polled = self.socket.poll_write(cx, &gathered.bytes[gathered.sent..]);
            self.activity.wrote(&polled, &self.clock);
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => gathered.sent += written,
            }
        }
        // An idle connection holds no buffer.
        *gathered = Gathered::default();
        Poll::Ready(Ok(()))
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
        if let Some(gathered) = &mut this.gathered {
            let size: usize = bufs.iter().map(|buf| buf.len()).sum();
            if gathered.bytes.len() + size <= MOST_GATHERED {
                bufs.iter().for_each(|buf| gathered.bytes.extend_from_slice(buf));
                return Poll::Ready(Ok(size));
            }
            ready!(this.poll_hand_over(cx))?;
        }
        let mut filled = bufs.iter().filter(|buf| !buf.is_empty());
        let polled = match (filled.next(), filled.next()) {
            // One slice needs no vector, which the kernel would have to take apart again.
            (Some(only), None) => this.socket.poll_write(cx, only),
            _ => this.socket.poll_write_vectored(cx, bufs),
        };
        this.activity.wrote(&polled, &this.clock);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(gathered) = &mut this.gathered
            && !gathered.bytes.is_empty()
        {
            if !gathered.is_put_off {
                gathered.is_put_off = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(this.poll_hand_over(cx))?;
        }
        let polled = this.socket.poll_flush(cx);
        this.activity.wrote(&polled, &this.clock);
        polled
    }

    /// Ends our half. A client that we answered in the middle of its upload goes on sending for a moment: closing on it would
    /// make its kernel throw the answer away (RFC 9112 §9.6), so what it sends is taken until it ends or the sweeper cuts it.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            ready!(this.poll_hand_over(cx))?;
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
