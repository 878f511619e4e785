//! What one HTTP/2 connection writes, in as few TLS records and system calls as it takes: whole records are sealed into the
//! TLS session's own buffer, the rest waits; all of it leaves when that buffer is full, or when every other task that was
//! ready has had its turn. Bodies are not copied for it, but for what does not fill a record.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio_rustls::server::TlsStream;

use crate::upstream::{Wire, with_pieces};

/// Plaintext of a full TLS record (RFC 8446 §5.1).
const RECORD: usize = 1 << 14;

/// What waits to be sealed, and whether the next flush may still be put off.
#[derive(Default)]
pub struct Sealing {
    pending: Vec<u8>,
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
        let size: usize = bufs.iter().map(|buf| buf.len()).sum();
        loop {
            let before = self.pending.len();
            let whole = (before + size) / RECORD * RECORD;
            if whole == 0 {
                self.keep(bufs, 0);
                return Poll::Ready(Ok(size));
            }
            let slices = std::iter::once(&self.pending[..]).chain(bufs.iter().map(|buf| &**buf));
            let sealed = with_pieces(slices, whole, |pieces| seal(stream, pieces))?;
            if sealed == 0 {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                continue;
            }
            if sealed <= before {
                self.pending.drain(..sealed);
                continue;
            }
            self.pending.clear();
            let taken = sealed - before;
            if sealed < whole {
                return Poll::Ready(Ok(taken));
            }
            self.keep(bufs, taken);
            return Poll::Ready(Ok(size));
        }
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
            return Poll::Ready(Ok(()));
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
        while !self.pending.is_empty() {
            let sealed = with_pieces(std::iter::once(&self.pending[..]), usize::MAX, |pieces| seal(stream, pieces))?;
            if sealed == 0 {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
            }
            self.pending.drain(..sealed);
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.put_off_in = None;
        Poll::Ready(Ok(()))
    }

    /// Gives the buffer back; for a connection on which nothing is in flight.
    pub fn rest(&mut self) {
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
    }

    /// Copies what stands behind the first `skip` bytes.
    fn keep(&mut self, bufs: &[IoSlice<'_>], skip: usize) {
        if self.pending.capacity() == 0 {
            self.pending.reserve_exact(RECORD);
        }
        let mut skip = skip;
        for buf in bufs {
            let here = skip.min(buf.len());
            skip -= here;
            self.pending.extend_from_slice(&buf[here..]);
        }
    }
}

/// Hands plaintext to the session, which encrypts it into its buffer; 0 when that is full.
fn seal(stream: &mut TlsStream<Wire>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    io::Write::write_vectored(&mut stream.get_mut().1.writer(), pieces)
}
