//! What one HTTP/2 connection writes, in as few TLS records and system calls as it takes: what is long is sealed into the TLS
//! session's own buffer from where it lies, what is short waits until it fills a record; all of it leaves when that buffer is
//! full, or when every other task that was ready has had its turn.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio_rustls::server::TlsStream;

use crate::upstream::{SEALED, Wire};

/// Plaintext of a full TLS record (RFC 8446 §5.1).
const RECORD: usize = 1 << 14;

/// A slice of so many bytes gets records of its own, into which it is encrypted without being copied.
const LONG: usize = RECORD / 2;

/// Bytes that the session's buffer may take beyond what is counted as [`SEALED`]: the record that reaches it, the one of what
/// waited, and what encryption adds to each.
pub const SEALED_OVER: usize = 3 * RECORD;

/// What waits to be sealed, and whether the next flush may still be put off.
#[derive(Default)]
pub struct Sealing {
    pending: Vec<u8>,
    /// Plaintext of what the session's buffer holds, at most.
    sealed: usize,
    put_off_in: Option<u32>,
}

impl Sealing {
    /// Takes what it can without the socket; the socket is written to only where the session's buffer is full.
    pub fn poll_write(
        &mut self,
        stream: &mut TlsStream<Wire>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut taken = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            let count = match self.poll_take(stream, cx, buf) {
                Poll::Pending if taken > 0 => break,
                polled => ready!(polled)?,
            };
            taken += count;
            if count < buf.len() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    /// Takes some of one slice: seals it where it is long, keeps it where it is short.
    fn poll_take(&mut self, stream: &mut TlsStream<Wire>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let is_long = buf.len() >= LONG;
        if is_long || self.pending.len() == RECORD {
            ready!(self.poll_seal_pending(stream, cx))?;
        }
        if is_long {
            return self.poll_seal(stream, cx, buf);
        }
        if self.pending.capacity() == 0 {
            self.pending.reserve_exact(RECORD);
        }
        let count = buf.len().min(RECORD - self.pending.len());
        self.pending.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_seal_pending(&mut self, stream: &mut TlsStream<Wire>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pending = std::mem::take(&mut self.pending);
        while !pending.is_empty() {
            match self.poll_seal(stream, cx, &pending) {
                Poll::Ready(Ok(count)) => drop(pending.drain(..count)),
                polled => {
                    self.pending = pending;
                    return polled.map_ok(drop);
                }
            }
        }
        self.pending = pending;
        Poll::Ready(Ok(()))
    }

    /// Hands plaintext to the session, which encrypts it into its buffer; makes room there first, if there is none.
    fn poll_seal(
        &mut self,
        stream: &mut TlsStream<Wire>,
        cx: &mut Context<'_>,
        plaintext: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.sealed < SEALED {
                let count = plaintext.len().min((SEALED - self.sealed).max(RECORD));
                let count = io::Write::write(&mut stream.get_mut().1.writer(), &plaintext[..count])?;
                self.sealed += count;
                if count > 0 {
                    return Poll::Ready(Ok(count));
                }
            }
            ready!(self.poll_send(stream, cx))?;
        }
    }

    /// Writes what is sealed to the socket.
    fn poll_send(&mut self, stream: &mut TlsStream<Wire>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.sealed = 0;
        Poll::Ready(Ok(()))
    }

    /// Puts the flush off to the next turn of the connection, in which the answers of other streams may have joined what is
    /// here; says it is done meanwhile, so that HTTP/2 goes on to write. `turn` numbers the polls of the connection.
    pub fn poll_flush(
        &mut self,
        stream: &mut TlsStream<Wire>,
        cx: &mut Context<'_>,
        turn: u32,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() && !stream.get_ref().1.wants_write() {
            return Pin::new(stream.get_mut().0).poll_flush(cx);
        }
        match self.put_off_in {
            None => {
                self.put_off_in = Some(turn);
                cx.waker().wake_by_ref();
                Poll::Ready(Ok(()))
            }
            Some(now) if now == turn => Poll::Ready(Ok(())),
            Some(_) => self.poll_hand_over(stream, cx),
        }
    }

    /// Seals what is left and writes everything to the socket.
    pub fn poll_hand_over(&mut self, stream: &mut TlsStream<Wire>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_seal_pending(stream, cx))?;
        ready!(self.poll_send(stream, cx))?;
        self.put_off_in = None;
        Poll::Ready(Ok(()))
    }

    /// Gives the buffer back; for a connection on which nothing is in flight.
    pub fn rest(&mut self) {
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }
}
