//! What systemd is told (sd_notify(3)): ready, reloading, stopping, a line of status, signs of life, sockets to keep, and
//! which process is the main one. Without systemd nothing is told to anybody; a message that does not pass is not repeated.

use std::env;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::time::{ClockId, clock_gettime};

/// The line to the supervisor; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
    is_silent: AtomicBool,
}

impl Supervisor {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say; without the first, nobody is told anything.
    pub fn from_environment() -> Supervisor {
        let Some(place) = env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty()) else {
            return Supervisor::default();
        };
        match connect(place.as_bytes()) {
            Ok(socket) => {
                let line = Line { socket, watchdog: watchdog(), is_silent: AtomicBool::new(false) };
                Supervisor(Some(Arc::new(line)))
            }
            Err(error) => {
                tracing::warn!(place = %place.display(), %error, "the supervisor cannot be told anything");
                Supervisor::default()
            }
        }
    }

    /// Whether anybody listens.
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// How often it wants a sign of life at the latest; `None`: it does not watch.
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?.watchdog
    }

    /// Serving, after a start or a reload.
    pub fn ready(&self, status: &str) {
        self.say(&format!("READY=1\n{}", status_line(status)));
    }

    /// A reload begins; [`Supervisor::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the file"));
    }

    /// The end begins.
    pub fn stopping(&self, status: &str) {
        self.say(&format!("STOPPING=1\n{}", status_line(status)));
    }

    /// One line about how it goes, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.say(&status_line(status));
    }

    /// A sign of life for the watchdog.
    pub fn feed(&self) {
        self.say("WATCHDOG=1");
    }

    /// Another process is the service from now on, and ready.
    pub fn main_process_is(&self, process: u32) {
        self.say(&format!("MAINPID={process}\nREADY=1"));
    }

    /// From now on nothing is told any more: another process speaks for the service.
    pub fn fall_silent(&self) {
        if let Some(line) = &self.0 {
            line.is_silent.store(true, Ordering::Release);
        }
    }

    /// Has a listening socket kept beyond the end of this process (`FileDescriptorStoreMax=`).
    pub fn keep(&self, address: SocketAddr, socket: &TcpListener) {
        self.send(&format!("FDSTORE=1\nFDNAME={}", stored_name(address)), Some(socket.as_fd()));
    }

    /// Has it forgotten again.
    pub fn forget(&self, address: SocketAddr) {
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={}", stored_name(address)));
    }

    fn say(&self, text: &str) {
        self.send(text, None);
    }

    fn send(&self, text: &str, given: Option<BorrowedFd<'_>>) {
        let Some(line) = self.0.as_ref().filter(|line| !line.is_silent.load(Ordering::Acquire)) else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let given = given.map(|descriptor| [descriptor]);
        if let Some(descriptors) = &given {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let text = [IoSlice::new(text.as_bytes())];
        // systemd that does not read holds nobody up here: it has its own time limits for what it wants to hear.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if let Err(error) = sendmsg(&line.socket, &text, &mut control, flags) {
            tracing::debug!(%error, "the supervisor was not told");
        }
    }
}

fn connect(place: &[u8]) -> io::Result<UnixDatagram> {
    let address = match place {
        [b'@', name @ ..] => std::os::unix::net::SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => std::os::unix::net::SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(place))?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// What `WATCHDOG_USEC` says, if it is meant for this process (sd_watchdog_enabled(3)).
fn watchdog() -> Option<Duration> {
    let is_ours = env::var("WATCHDOG_PID").map_or(true, |process| process == std::process::id().to_string());
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (is_ours && micros > 0).then(|| Duration::from_micros(micros))
}

/// A status is one line.
fn status_line(status: &str) -> String {
    format!("STATUS={}", status.lines().next().unwrap_or_default())
}

/// Names in the store have no colon.
fn stored_name(address: SocketAddr) -> String {
    format!("door-{}", address.to_string().replace(':', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> (Supervisor, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let line = Line { socket: near, watchdog: None, is_silent: AtomicBool::new(false) };
        (Supervisor(Some(Arc::new(line))), far)
    }

    fn heard(far: &UnixDatagram) -> String {
        let mut text = [0; 512];
        let length = far.recv(&mut text).unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }

    #[test]
    fn what_is_told_is_what_systemd_understands() {
        let (supervisor, far) = line();
        supervisor.ready("serving 3 routes\nsecond line");
        assert_eq!(heard(&far), "READY=1\nSTATUS=serving 3 routes");
        supervisor.reloading();
        let text = heard(&far);
        let stamp = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("the stamp").split('\n').next().unwrap();
        assert!(stamp.parse::<u64>().unwrap() > 0);
        supervisor.main_process_is(42);
        assert_eq!(heard(&far), "MAINPID=42\nREADY=1");
        supervisor.forget("[::]:443".parse().unwrap());
        assert_eq!(heard(&far), "FDSTOREREMOVE=1\nFDNAME=door-[__]_443");
    }

    #[test]
    fn who_is_silent_tells_nothing_and_nobody_is_waited_for() {
        let (supervisor, far) = line();
        for _ in 0..10_000 {
            supervisor.feed();
        }
        while far.recv(&mut [0; 64]).is_ok() {}
        supervisor.fall_silent();
        supervisor.feed();
        assert!(far.recv(&mut [0; 64]).is_err());
        Supervisor::default().ready("nobody listens");
    }
}
