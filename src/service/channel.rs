//! The line between a process and its successor: whole messages, each with at most one descriptor, and an end that is seen.
//! The other side is this program or an older or newer one: what it sends is bounded and checked, and never waited for for
//! ever.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown, socketpair,
};
use serde::{Deserialize, Serialize};

use super::ServiceError;

/// Longest message. Bytes; a Unix socket takes more than that by default.
const LONGEST: usize = 128 * 1024;

/// Longest reason that is passed on. Bytes.
const LONGEST_REASON: usize = 64 * 1024;

/// What a descriptor is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// The listening socket of a door, by its address as the file has it.
    Door(SocketAddr),
    /// The listening socket of `[metrics]`.
    Metrics(SocketAddr),
    /// The admin socket, and where its file is.
    Admin(PathBuf),
    /// The lock of the state folder.
    Lock,
}

/// Everything that is said on the line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// To the successor, first of all.
    Estate {
        /// Version of who leaves.
        version: String,
        /// The generation in force.
        generation: u64,
        /// Keys of TLS session tickets, as `cert` writes them.
        tickets: serde_json::Value,
        /// How many descriptors follow.
        descriptors: usize,
    },
    /// To the successor: one descriptor.
    Descriptor(Label),
    /// From the successor: the file is good, everything stands.
    Prepared {
        /// Who follows.
        process: u32,
        /// Its version.
        version: String,
    },
    /// From the successor: it will not follow.
    Refused(String),
    /// To the successor: open the doors.
    Begin,
    /// From the successor: the doors are open.
    Serving,
    /// To the successor: the supervisor knows.
    Released,
}

impl Word {
    /// A refusal, cut to a length that passes.
    pub fn refused(why: &str) -> Word {
        let mut end = why.len().min(LONGEST_REASON);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        Word::Refused(why[..end].to_owned())
    }
}

/// One end of the line.
pub struct Channel<F = OwnedFd>(F);

impl Channel {
    /// Both ends.
    pub fn pair() -> io::Result<(Channel, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel(ours), theirs))
    }

    /// A second handle of the same end, to hang up from elsewhere.
    pub fn try_clone(&self) -> io::Result<Channel> {
        self.0.try_clone().map(Channel)
    }
}

impl<F: AsFd> Channel<F> {
    /// An end that was made elsewhere.
    pub fn new(descriptor: F) -> Channel<F> {
        Channel(descriptor)
    }

    /// Ends the conversation for both sides and every handle.
    pub fn hang_up(&self) {
        // Whoever has gone already needs no telling.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    /// Says something, with a descriptor if there is one to give.
    pub fn say(&self, word: &Word, given: Option<BorrowedFd<'_>>) -> Result<(), ServiceError> {
        let text = serde_json::to_vec(word).map_err(|error| ServiceError::Misunderstood(error.to_string()))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let given = given.map(|descriptor| [descriptor]);
        if let Some(descriptors) = &given {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)
            .map_err(|cause| broken(cause.into()))?;
        Ok(())
    }

    /// Waits for what the other side says, until `deadline` at most.
    pub fn hear(&self, deadline: Instant, patience: Duration) -> Result<(Word, Option<OwnedFd>), ServiceError> {
        let late = || ServiceError::Late { seconds: patience.as_secs() };
        let mut text = vec![0; LONGEST];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late());
            }
            set_socket_timeout(&self.0, Timeout::Recv, Some(left)).map_err(|cause| ServiceError::Line(cause.into()))?;
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let heard = recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC);
            let bytes = match heard {
                Ok(heard) if heard.bytes == 0 => return Err(ServiceError::Gone),
                Ok(heard) => heard.bytes,
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => return Err(late()),
                Err(cause) => return Err(broken(cause.into())),
            };
            let mut given = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            });
            let descriptor = given.next().and_then(|mut descriptors| descriptors.next());
            let word = serde_json::from_slice(text.get(..bytes).unwrap_or_default())
                .map_err(|error| ServiceError::Misunderstood(error.to_string()))?;
            return Ok((word, descriptor));
        }
    }
}

/// A side that is gone is told from a line that is broken.
fn broken(cause: io::Error) -> ServiceError {
    match cause.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ServiceError::Gone,
        _ => ServiceError::Line(cause),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn soon() -> Instant {
        Instant::now() + PATIENCE
    }

    #[test]
    fn a_descriptor_arrives_with_its_label() {
        let (ours, theirs) = Channel::pair().unwrap();
        let theirs = Channel::new(theirs);
        let (mut near, far) = UnixStream::pair().unwrap();
        let door = Label::Door("127.0.0.1:443".parse().unwrap());
        ours.say(&Word::Descriptor(door.clone()), Some(far.as_fd())).unwrap();
        drop(far);
        let (word, descriptor) = theirs.hear(soon(), PATIENCE).unwrap();
        assert!(matches!(word, Word::Descriptor(label) if label == door));
        drop(descriptor.expect("the descriptor"));
        assert_eq!(near.read(&mut [0]).unwrap(), 0, "no other copy is left");
    }

    #[test]
    fn who_is_gone_is_not_waited_for() {
        let (ours, theirs) = Channel::pair().unwrap();
        drop(theirs);
        assert!(matches!(ours.hear(soon(), PATIENCE), Err(ServiceError::Gone)));
        assert!(matches!(ours.say(&Word::Begin, None), Err(ServiceError::Gone)));
    }

    #[test]
    fn what_is_no_word_is_told_as_such() {
        let (ours, theirs) = Channel::pair().unwrap();
        rustix::net::send(&theirs, b"{\"hello\":1}", SendFlags::empty()).unwrap();
        assert!(matches!(ours.hear(soon(), PATIENCE), Err(ServiceError::Misunderstood(_))));
    }

    #[test]
    fn a_reason_is_cut_between_letters() {
        let Word::Refused(cut) = Word::refused(&"ü".repeat(LONGEST_REASON)) else { panic!("a refusal") };
        assert_eq!(cut.len(), LONGEST_REASON);
        let Word::Refused(cut) = Word::refused(&format!("a{}", "ü".repeat(LONGEST_REASON))) else { panic!() };
        assert_eq!(cut.len(), LONGEST_REASON - 1);
    }
}
