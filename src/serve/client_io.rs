//! The client's socket as hyper reads and writes it, with a note of when a request head began: the sweeper ends heads that
//! take too long. Keeps no bytes itself.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use hyper::rt::ReadBufCursor;
use tokio::io::ReadBuf;
use tokio_rustls::server::TlsStream;

use super::client_socket::Socket;
use super::core::SECOND;
use super::framing::Framing;
use super::garbage;
use crate::model::Refusal;
use crate::telemetry::RequestId;
use crate::upstream::Wire;

/// What a client connection is doing, as far as its bytes tell. Shared with the socket, which must be `Send` for upgrades;
/// touched by one core only, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub struct Activity {
    phase: AtomicU8,
    since: AtomicU32,
    is_blocked: AtomicBool,
    is_owed: AtomicBool,
    /// Whether something of an exchange may still be on its way to the socket.
    is_in_answer: AtomicBool,
    first_byte: AtomicU8,
    turn: AtomicU32,
    /// One more than the tick when a client that has closed its side last took something; 0 while its side is open.
    half_closed: AtomicU32,
    /// Whether bytes pass both ways now, and are no HTTP.
    is_tunnel: AtomicBool,
    bare: OnceLock<Bare>,
}

/// How long a client that has closed its side is waited for, with nothing to send to it: one that is gone looks the same.
const HALF_CLOSED: u32 = 10 * SECOND;

/// A bare status of hyper's own that was exchanged for an answer from the table of refusals.
#[derive(Clone, Copy, Debug)]
pub struct Bare {
    /// The id on the answer.
    pub id: RequestId,
    /// Why.
    pub refusal: Refusal,
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

    /// Whether nothing is under way: no request, nothing of an answer that has not left, nothing of a body that is to come.
    pub fn is_at_rest(&self) -> bool {
        let is_any = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        self.phase().0 == Phase::Idle
            && !self.is_half_closed()
            && !is_any(&self.is_blocked)
            && !is_any(&self.is_owed)
            && !is_any(&self.is_in_answer)
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

    /// From here on bytes pass both ways.
    pub fn tunnels(&self) {
        self.is_tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether the client has closed its side, and nothing but its answers is left to do.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed.load(Ordering::Relaxed) > 0
    }

    /// Since when it has taken nothing because there was nothing: the tick. `None` while its side is open, or it has to take.
    pub fn half_closed_since(&self) -> Option<u32> {
        self.half_closed.load(Ordering::Relaxed).checked_sub(1).filter(|_| !self.is_blocked())
    }

    /// Whether that was so long ago that it has probably left.
    pub fn has_left(&self, tick: u32) -> bool {
        self.half_closed_since().is_some_and(|since| tick.saturating_sub(since) >= HALF_CLOSED)
    }

    fn half_closes(&self, clock: &Clock) {
        if !self.is_half_closed() {
            self.half_closed.store(clock.tick().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Notes what a write came to: one that was taken is progress.
    fn wrote<T>(&self, polled: &Poll<io::Result<T>>, clock: &Clock) {
        if polled.is_ready() && self.is_half_closed() {
            self.half_closed.store(clock.tick().saturating_add(1), Ordering::Relaxed);
        }
        match polled {
            Poll::Pending => self.is_blocked.store(true, Ordering::Relaxed),
            Poll::Ready(_) if self.is_blocked() => {
                self.is_blocked.store(false, Ordering::Relaxed);
                self.since.store(clock.tick(), Ordering::Relaxed);
            }
            Poll::Ready(_) => {}
        }
    }

    /// The answer that was given to bytes that are no HTTP, if one was.
    pub fn bare(&self) -> Option<Bare> {
        self.bare.get().copied()
    }

    /// Whether what came on a cleartext socket began like a TLS record: a handshake (RFC 8446 §5.1).
    pub fn began_like_tls(&self) -> bool {
        self.first_byte.load(Ordering::Relaxed) == 0x16
    }

    /// All that was written has left: what is written next belongs to a new exchange, or to none. Whether an answer ended so.
    fn flushed(&self) -> bool {
        let is_the_end = self.is_in_answer.load(Ordering::Relaxed) && self.phase().0 != Phase::Busy;
        if is_the_end {
            self.is_in_answer.store(false, Ordering::Relaxed);
        }
        is_the_end
    }

    /// Enters a phase at a tick.
    pub fn enter(&self, phase: Phase, tick: u32) {
        if phase == Phase::Busy {
            self.is_in_answer.store(true, Ordering::Relaxed);
        }
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
    is_home: bool,
    /// For HTTP/1.
    framing: Option<Framing>,
    /// Since when nothing was under way, at the last time that something began.
    idle_since: u32,
    /// What was read before and is to be read again first.
    ahead: Bytes,
    /// What is written in the place of hyper's bare status, and how much of it was.
    instead: Option<Box<(Vec<u8>, usize)>>,
}

impl ClientIo {
    /// A cleartext socket.
    pub fn plain(stream: Wire, activity: Arc<Activity>, clock: Arc<Clock>, is_home: bool) -> ClientIo {
        ClientIo::new(Socket::Plain(stream), true, activity, clock, is_home)
    }

    /// A TLS socket.
    pub fn tls(
        stream: TlsStream<Wire>,
        is_h2: bool,
        activity: Arc<Activity>,
        clock: Arc<Clock>,
        is_home: bool,
    ) -> ClientIo {
        ClientIo::new(Socket::tls(stream, is_h2), !is_h2, activity, clock, is_home)
    }

    /// Has these bytes, which were read already, read again first.
    pub fn put_back(&mut self, read: Bytes) {
        // No bytes may still hold the buffer that they would have stood in.
        self.ahead = if read.is_empty() { Bytes::new() } else { read };
    }

    /// Waits until there is something to read, or the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() { self.socket.poll_readable(cx) } else { Poll::Ready(Ok(())) }
    }

    fn new(socket: Socket, is_http1: bool, activity: Arc<Activity>, clock: Arc<Clock>, is_home: bool) -> ClientIo {
        let framing = is_http1.then(Framing::default);
        ClientIo {
            socket,
            activity,
            clock,
            is_shut: false,
            is_home,
            framing,
            idle_since: 0,
            ahead: Bytes::new(),
            instead: None,
        }
    }

    /// Whether hyper answers by itself: it writes a status while no exchange has anything on its way. That only happens
    /// where it could not make a request of what came, and ends the connection.
    fn is_bare(&self, bufs: &[io::IoSlice<'_>]) -> bool {
        self.framing.is_some()
            && !self.activity.is_in_answer.load(Ordering::Relaxed)
            && bufs.iter().find(|buf| !buf.is_empty()).is_some_and(|buf| buf.starts_with(b"HTTP/1.1 4"))
    }

    /// Words of our own in the place of hyper's.
    fn exchange_for(&mut self, head: &[u8]) {
        let is_line = self.framing.as_ref().is_some_and(Framing::is_mostly_request_line);
        let bare = Bare { id: RequestId::random(), refusal: garbage::refusal_of(head, is_line) };
        let detail = if self.activity.began_like_tls() { garbage::TLS_AT_PLAIN } else { "" };
        self.instead = Some(Box::new((garbage::answer(bare.refusal, bare.id, detail, self.is_home), 0)));
        let _ = self.activity.bare.set(bare);
    }

    /// Whether a client that ends has only closed its side: its last request is whole, and not answered yet.
    fn is_half_closed(&self) -> bool {
        // An exchange is over when hyper has the end of its answer, and that may wait for the client to read on.
        let is_answered = self.activity.phase().0 != Phase::Busy && !self.activity.is_blocked();
        let is_it = !is_answered && self.framing.as_ref().is_some_and(Framing::is_between);
        if is_it {
            self.activity.half_closes(&self.clock);
        }
        is_it
    }

    /// Bytes came: something has begun, and the client has a limited time for the rest of it. Frames of HTTP/2 that are whole,
    /// and no request, begin nothing: neither does the time for a head run, nor is the one for idle connections made longer.
    fn note_beginning(&mut self) {
        let (phase, since) = self.activity.phase();
        match (phase, self.socket.is_between_frames()) {
            (Phase::Idle, false) => {
                self.idle_since = since;
                self.activity.enter(Phase::Head, self.clock.tick());
            }
            (Phase::Head, true) => self.activity.enter(Phase::Idle, self.idle_since),
            _ => {}
        }
    }

    /// How many of these bytes are to be acted on.
    fn look(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(framing) = &mut self.framing else { return Ok(bytes.len()) };
        if self.activity.is_tunnel.load(Ordering::Relaxed) {
            framing.give_up();
        }
        framing.look(bytes).map_err(|wrong| io::Error::new(io::ErrorKind::InvalidData, wrong))
    }

    /// Writes what stands instead; done when all of it was taken.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(instead) = &mut self.instead else { return Poll::Ready(Ok(())) };
        let (text, sent) = &mut **instead;
        while *sent < text.len() {
            let polled = self.socket.poll_write_vectored(cx, &[io::IoSlice::new(&text[*sent..])]);
            self.activity.wrote(&polled, &self.clock);
            match ready!(polled)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => *sent += taken,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Read for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut cursor: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let count = this.ahead.len().min(cursor.remaining());
            cursor.put_slice(&this.ahead[..count]);
            this.ahead.advance(count);
            if this.ahead.is_empty() {
                this.ahead = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        if this.framing.as_ref().is_some_and(Framing::is_bad) {
            this.look(b" ")?;
        }
        let filled = {
            // SAFETY: the bytes are only handed to `ReadBuf::uninit`, which writes initialised bytes and never
            // de-initialises; hyper's own tokio adapter does the same.
            #[expect(unsafe_code, reason = "hyper's read buffer can be reached in no other way")]
            let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
            match this.socket.poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    if let Some(first) = buffer.filled().first()
                        && this.activity.first_byte.load(Ordering::Relaxed) == 0
                    {
                        this.activity.first_byte.store(*first, Ordering::Relaxed);
                    }
                    this.look(buffer.filled())?
                }
                other => return other,
            }
        };
        if filled == 0 && this.is_half_closed() {
            return Poll::Pending;
        }
        // SAFETY: that many bytes were filled just above.
        #[expect(unsafe_code, reason = "hyper's read buffer can be reached in no other way")]
        unsafe {
            cursor.advance(filled);
        }
        if filled > 0 {
            this.note_beginning();
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
        if this.instead.is_none() && this.is_bare(bufs) {
            this.exchange_for(bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| &**buf));
        }
        if this.instead.is_some() {
            let whole = bufs.iter().map(|buf| buf.len()).sum();
            return this.poll_instead(cx).map_ok(|()| whole);
        }
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
        let polled = this.socket.poll_flush(cx, this.activity.turn(), is_idle);
        this.activity.wrote(&polled, &this.clock);
        if polled.is_ready() && this.activity.flushed() && this.activity.is_half_closed() {
            // Nothing is to come from that client: the connection is to learn it now.
            cx.waker().wake_by_ref();
        }
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
