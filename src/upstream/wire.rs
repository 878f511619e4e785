//! A TCP socket as TLS and HTTP read and write it, towards either side. What is short waits in the outbox for the end of the
//! turn, where the core has one; under TLS, what comes in bulk is read ahead.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::outbox::Outgoing;

/// Bytes read ahead at most. TLS asks for one record at a time, and each read of a record wakes the sender to send one
/// more: an upload of 1 GiB takes a fifth less of a core with this, and no less with twice as much.
const AHEAD: usize = 64 * 1024;

/// A read of at least so many bytes that fills what it was given says that there may be more: a request head does not.
const BULK: usize = 4096;

/// A connected socket.
#[derive(Debug)]
pub struct Wire {
    incoming: OwnedReadHalf,
    outgoing: Rc<Outgoing>,
    is_under_tls: bool,
    /// Whether the last read brought all that it could.
    was_full: bool,
    /// What was read ahead: `ahead[from..to]`. Empty while no more comes than is asked for.
    ahead: Vec<u8>,
    from: usize,
    to: usize,
}

impl Wire {
    /// A socket to be read as its reader asks for it.
    pub fn new(socket: TcpStream) -> Wire {
        let (incoming, outgoing) = socket.into_split();
        let outgoing = Outgoing::new(outgoing);
        Wire { incoming, outgoing, is_under_tls: false, was_full: false, ahead: Vec::new(), from: 0, to: 0 }
    }

    /// The same for TLS on top of it, which reads record by record: where many come, they are read ahead.
    pub fn under_tls(self) -> Wire {
        Wire { is_under_tls: true, ..self }
    }

    /// The socket, for what is neither reading nor writing.
    pub fn socket(&self) -> &TcpStream {
        self.incoming.as_ref()
    }

    /// Waits until there is something to read, or the end.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.drive(cx);
        if self.from < self.to { Poll::Ready(Ok(())) } else { self.socket().poll_read_ready(cx) }
    }

    /// Sends now what waits for the end of the turn, for who will not poll this again.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_send(cx)
    }

    /// Gives back what it was read ahead into, if all of that was taken: for a connection on which nothing is under way.
    pub fn rest(&mut self) {
        if self.from == self.to {
            self.ahead = Vec::new();
            self.was_full = false;
        }
    }

    /// Gives what was asked for, and reads ahead what more there is.
    fn poll_read_ahead(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            self.ahead = vec![0; AHEAD];
        }
        loop {
            ready!(self.incoming.as_ref().poll_read_ready(cx))?;
            let asked = buf.initialize_unfilled();
            let room = asked.len();
            match self.incoming.try_read_vectored(&mut [IoSliceMut::new(asked), IoSliceMut::new(&mut self.ahead)]) {
                Ok(count) => {
                    buf.advance(count.min(room));
                    (self.from, self.to) = (0, count.saturating_sub(room));
                    self.was_full = self.to > 0;
                    if !self.was_full {
                        self.ahead = Vec::new();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads, from what was read ahead first.
    fn poll_take(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.is_under_tls {
            return Pin::new(&mut self.incoming).poll_read(cx, buf);
        }
        if self.from < self.to {
            let count = buf.remaining().min(self.to - self.from);
            buf.put_slice(&self.ahead[self.from..self.from + count]);
            self.from += count;
            return Poll::Ready(Ok(()));
        }
        if self.was_full && buf.remaining() > 0 {
            return self.poll_read_ahead(cx, buf);
        }
        let room = buf.remaining();
        let polled = Pin::new(&mut self.incoming).poll_read(cx, buf);
        self.was_full = polled.is_ready() && room >= BULK && buf.remaining() == 0;
        polled
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.outgoing.drive(cx);
        let before = buf.filled().len();
        let polled = this.poll_take(cx, buf);
        // What the other side said before it closed comes first.
        if buf.filled().len() == before
            && let Some(fault) = this.outgoing.fault()
        {
            return Poll::Ready(Err(fault));
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_shutdown(cx)
    }
}

/// Bytes of a client's connection that may wait here sealed: as much as is read from an upstream at once, so that it goes out
/// in one write. Half or twice as much costs the same (three hundredths, by turns), where nothing paces what is sent.
pub const SEALED: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::outbox::SMALL;

    async fn arrives(sizes: &[usize]) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let sent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut received, _) = listener.accept().await.unwrap();
        let parts: Vec<Vec<u8>> = (1..).zip(sizes).map(|(byte, size)| vec![byte; *size]).collect();
        let all = parts.concat();
        let reading = tokio::spawn(async move {
            let mut bytes = Vec::new();
            received.read_to_end(&mut bytes).await.unwrap();
            bytes
        });
        let mut wire = Wire::new(sent);
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = wire.write_vectored(rest).await.unwrap();
            IoSlice::advance_slices(&mut rest, written);
        }
        wire.shutdown().await.unwrap();
        assert_eq!(reading.await.unwrap(), all);
    }

    #[tokio::test]
    async fn slices_of_any_size_arrive_whole_and_in_order() {
        arrives(&[10]).await;
        arrives(&[200, 1024]).await;
        arrives(&[1, SMALL - 2, 1]).await;
        arrives(&[1, SMALL, 1]).await;
        arrives(&[200, 1 << 20, 0, 7]).await;
    }

    #[tokio::test]
    async fn what_is_read_ahead_arrives_whole_and_nothing_is_held_when_no_more_comes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = Wire::new(listener.accept().await.unwrap().0).under_tls();
        // As much as sockets take while nobody reads.
        let all: Vec<u8> = (0..=250).cycle().take(100_000).collect();
        far.write_all(&all).await.unwrap();
        let (mut read, mut most_ahead) = (Vec::new(), 0);
        while read.len() < all.len() {
            // As TLS asks: at first for little, then for a record.
            let mut block = vec![0; if read.is_empty() { BULK } else { 18_437 }];
            let count = wire.read(&mut block).await.unwrap();
            assert!(count > 0);
            read.extend_from_slice(&block[..count]);
            most_ahead = most_ahead.max(wire.to - wire.from);
        }
        assert!(read == all);
        wire.rest();
        assert_eq!(wire.ahead.capacity(), 0);
        assert!((1..=AHEAD).contains(&most_ahead), "{most_ahead}");
        // More than a record, of which only a part is taken; then all of it, and no more comes.
        far.write_all(&all[..BULK + 100]).await.unwrap();
        wire.read_exact(&mut [0; BULK]).await.unwrap();
        wire.read_exact(&mut [0; 50]).await.unwrap();
        wire.rest();
        let mut last = [0; 50];
        wire.read_exact(&mut last).await.unwrap();
        assert_eq!(last, all[BULK + 50..BULK + 100], "what was not taken is not given back");
        far.write_all(b"a little").await.unwrap();
        assert_eq!(wire.read(&mut [0; 18_437]).await.unwrap(), 8);
        assert_eq!(wire.ahead.capacity(), 0);
        drop(far);
        assert_eq!(wire.read(&mut [0; 10]).await.unwrap(), 0);
    }
}
