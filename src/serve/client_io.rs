//! The client's socket, with a note of what its bytes tell: when a request head began, whether the client takes what is written,
//! whether it has closed its side. The sweeper ends what takes too long. Keeps no bytes itself.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::client_socket::Socket;
use super::core::SECOND;
use crate::upstream::Wire;

/// What a client connection is doing, as far as its bytes tell.
#[derive(Debug)]
pub struct Activity {
    phase: Cell<Phase>,
    since: Cell<u32>,
    is_blocked: Cell<bool>,
    turn: Cell<u32>,
    /// The tick when a client that has closed its side last took something; `None` while its side is open.
    half_closed: Cell<Option<u32>>,
}

/// How long a client that has closed its side is waited for, with nothing to send to it: one that is gone looks the same.
const HALF_CLOSED: u32 = 10 * SECOND;

/// Phases of a client connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// TLS handshake, or nothing received yet.
    Opening,
    /// No request and no byte of one.
    Idle,
    /// A request head has begun.
    Head,
    /// Requests are being served.
    Busy,
    /// Over for us; what the client still sends is taken and forgotten.
    Lingering,
}

impl Activity {
    /// Begins in a phase, at a tick.
    pub fn new(phase: Phase, tick: u32) -> Activity {
        Activity {
            phase: Cell::new(phase),
            since: Cell::new(tick),
            is_blocked: Cell::new(false),
            turn: Cell::new(0),
            half_closed: Cell::new(None),
        }
    }

    /// The phase, and the tick since when.
    pub fn phase(&self) -> (Phase, u32) {
        (self.phase.get(), self.since.get())
    }

    /// Whether the client has not yet taken all that was written to it: the last of an answer may still be on its way
    /// when nothing else is in flight.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// Begins another turn: one poll of the whole connection.
    pub fn begin_turn(&self) {
        self.turn.set(self.turn.get().wrapping_add(1));
    }

    /// Since when a client that has closed its side has taken nothing because there was nothing: the tick. `None` while its side
    /// is open, or it has to take.
    pub fn half_closed_since(&self) -> Option<u32> {
        self.half_closed.get().filter(|_| !self.is_blocked())
    }

    /// Whether that was so long ago that it has probably left.
    pub fn has_left(&self, tick: u32) -> bool {
        self.half_closed_since().is_some_and(|since| tick.saturating_sub(since) >= HALF_CLOSED)
    }

    /// Notes what a write came to: one that was taken is progress.
    fn wrote<T>(&self, polled: &Poll<io::Result<T>>, clock: &Clock) {
        if polled.is_ready() && self.half_closed.get().is_some() {
            self.half_closed.set(Some(clock.tick()));
        }
        match polled {
            Poll::Pending => self.is_blocked.set(true),
            Poll::Ready(_) if self.is_blocked() => {
                self.is_blocked.set(false);
                self.since.set(clock.tick());
            }
            Poll::Ready(_) => {}
        }
    }

    /// Enters a phase at a tick.
    pub fn enter(&self, phase: Phase, tick: u32) {
        self.since.set(tick);
        self.phase.set(phase);
    }
}

/// The coarse clock of a core: ticks since its start, written by the sweeper.
#[derive(Debug, Default)]
pub struct Clock(Cell<u32>);

impl Clock {
    /// Now, in ticks.
    pub fn tick(&self) -> u32 {
        self.0.get()
    }

    /// Sets the clock.
    pub fn set(&self, tick: u32) {
        self.0.set(tick);
    }
}

/// A client's socket.
pub struct ClientIo {
    socket: Socket,
    activity: Rc<Activity>,
    clock: Rc<Clock>,
    is_shut: bool,
    /// Since when nothing was under way, at the last time that something began.
    idle_since: u32,
}

impl ClientIo {
    /// A cleartext socket.
    pub fn plain(stream: Wire, activity: Rc<Activity>, clock: Rc<Clock>) -> ClientIo {
        ClientIo { socket: Socket::Plain(stream), activity, clock, is_shut: false, idle_since: 0 }
    }

    /// A TLS socket.
    pub fn tls(stream: TlsStream<Wire>, is_h2: bool, activity: Rc<Activity>, clock: Rc<Clock>) -> ClientIo {
        ClientIo { socket: Socket::tls(stream, is_h2), activity, clock, is_shut: false, idle_since: 0 }
    }

    /// Waits until there is something to read, or the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_readable(cx)
    }

    /// Gives back what is not needed while nothing comes.
    pub fn rest(&mut self) {
        self.socket.rest();
    }

    /// The client has only closed its side: its last request is whole, and not answered yet.
    pub fn half_closes(&self) {
        self.activity.half_closed.set(Some(self.clock.tick()));
    }

    /// A request head is there in part.
    pub fn note_head(&mut self) {
        let (phase, since) = self.activity.phase();
        if phase == Phase::Idle {
            self.idle_since = since;
            self.activity.enter(Phase::Head, self.clock.tick());
        }
    }

    /// From here on what comes is forgotten.
    pub fn note_lingering(&self) {
        self.activity.enter(Phase::Lingering, self.clock.tick());
    }

    /// Reads to the end, however it comes, and forgets.
    pub fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_forget(cx)
    }

    /// Bytes came: something has begun, and the client has a limited time for the rest of it. Frames of HTTP/2 that are whole,
    /// and no request, begin nothing: neither does the time for a head run, nor is the one for idle connections made longer.
    fn note_beginning(&mut self) {
        if !self.socket.is_between_frames() {
            self.note_head();
        } else if self.activity.phase().0 == Phase::Head {
            self.activity.enter(Phase::Idle, self.idle_since);
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.socket.poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.note_beginning();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
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
        let is_idle = this.activity.phase().0 == Phase::Idle;
        let polled = this.socket.poll_flush(cx, this.activity.turn.get(), is_idle);
        this.activity.wrote(&polled, &this.clock);
        polled
    }

    /// Ends our half.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_shut {
            let polled = this.socket.poll_hand_over(cx);
            this.activity.wrote(&polled, &this.clock);
            ready!(polled)?;
            ready!(this.socket.poll_shutdown(cx))?;
            this.is_shut = true;
        }
        Poll::Ready(Ok(()))
    }
}
