//! A socket that knows when its last bytes came and when it last wrote: the one by the kernel's stamp, which on a loopback is the
//! moment when the other side sent them, the other by the clock just before the call, which delivers them. So the times say
//! nothing of how long either process had to wait for a core of its own.

use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Nanoseconds since 1970.
pub type Stamp = u64;

/// A socket and its stamps.
pub struct Stamped {
    socket: TcpStream,
    /// Room for the kernel's stamp; none while it is not asked for them, because that costs.
    room: Option<Vec<u8>>,
    /// When the last bytes that were read came; 0 if that is not known.
    pub arrived: Stamp,
    /// When something was last written.
    pub sent: Stamp,
}

impl Stamped {
    /// A socket that does not ask for stamps yet.
    pub fn new(socket: TcpStream) -> Stamped {
        Stamped { socket, room: None, arrived: 0, sent: 0 }
    }

    /// Asks for them from now on.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.room.is_none() {
            setsockopt(&self.socket, sockopt::ReceiveTimestampns, &true)?;
            self.room = Some(nix::cmsg_space!(TimeSpec));
        }
        Ok(())
    }
}

impl AsyncRead for Stamped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Stamped { socket, room, arrived, .. } = self.get_mut();
        let Some(room) = room else { return Pin::new(socket).poll_read(cx, buf) };
        loop {
            ready!(socket.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            let read = socket.try_io(Interest::READABLE, || {
                let mut into = [IoSliceMut::new(unfilled)];
                let message = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(room), MsgFlags::empty())?;
                let stamp = message.cmsgs()?.find_map(|one| match one {
                    ControlMessageOwned::ScmTimestampns(at) => Some(at),
                    _ => None,
                });
                Ok((message.bytes, stamp))
            });
            match read {
                Ok((count, stamp)) => {
                    buf.advance(count);
                    *arrived = stamp
                        .map_or(0, |at| at.tv_sec().cast_unsigned() * 1_000_000_000 + at.tv_nsec().cast_unsigned());
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.room.is_some() {
            this.sent = now();
        }
        Pin::new(&mut this.socket).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

/// The clock that the kernel stamps by.
pub fn now() -> Stamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}
