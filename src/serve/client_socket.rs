//! What is under a client's connection: a socket, and TLS where the door has it. Knows nothing of requests, nor of what the
//! connection is doing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::sealing::Sealing;
use super::trailers::Trailers;
use crate::upstream::Wire;

/// A client's socket, in the clear or under TLS.
pub(super) enum Socket {
    /// In the clear.
    Plain(Wire),
    /// Under TLS.
    Tls(Box<Tls>),
}

/// What TLS takes.
pub(super) struct Tls {
    stream: TlsStream<Wire>,
    /// For HTTP/2.
    sealing: Option<Sealing>,
    /// For HTTP/2.
    trailers: Option<Trailers>,
}

impl Socket {
    /// Under TLS. HTTP/2 is sealed in whole records: see [`Sealing`].
    pub(super) fn tls(stream: TlsStream<Wire>, is_h2: bool) -> Socket {
        let (sealing, trailers) = (is_h2.then(Sealing::default), is_h2.then(Trailers::default));
        Socket::Tls(Box::new(Tls { stream, sealing, trailers }))
    }

    /// Writes what the socket takes, or what can be kept back for a whole record.
    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Socket::Tls(tls) => match &mut tls.sealing {
                Some(sealing) => sealing.poll_write(&mut tls.stream, cx, bufs),
                None => Pin::new(&mut tls.stream).poll_write_vectored(cx, bufs),
            },
        }
    }

    /// Waits for something to read, without a buffer.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => stream.poll_readable(cx),
            Socket::Tls(tls) => tls.stream.get_ref().0.poll_readable(cx),
        }
    }

    /// Gives back what is read ahead into, where all of that was taken.
    pub(super) fn rest(&mut self) {
        if let Socket::Tls(tls) = self {
            tls.stream.get_mut().0.rest();
        }
    }

    /// Flushes, or puts that off to the next turn. Where nothing is under way on HTTP/2, what records are sealed in and read ahead
    /// into is given back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, turn: u32, is_idle: bool) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(tls) => {
                let Some(sealing) = &mut tls.sealing else { return Pin::new(&mut tls.stream).poll_flush(cx) };
                let polled = sealing.poll_flush(&mut tls.stream, cx, turn);
                if is_idle {
                    tls.stream.get_mut().0.rest();
                    sealing.rest();
                }
                polled
            }
        }
    }

    /// Whether HTTP/2 is spoken, and no frame of it is half read.
    pub(super) fn is_between_frames(&self) -> bool {
        match self {
            Socket::Tls(tls) => tls.trailers.as_ref().is_some_and(Trailers::is_between),
            Socket::Plain(_) => false,
        }
    }

    /// Writes all that was kept back.
    pub(super) fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tls(tls) => match &mut tls.sealing {
                Some(sealing) => sealing.poll_hand_over(&mut tls.stream, cx),
                None => Poll::Ready(Ok(())),
            },
            Socket::Plain(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends our half.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
        }
    }

    /// Reads, and looks at HTTP/2's frames.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
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
    pub(super) fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut block = [std::mem::MaybeUninit::uninit(); 16 * 1024];
        for _ in 0..8 {
            let mut buffer = ReadBuf::uninit(&mut block);
            match ready!(self.poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
