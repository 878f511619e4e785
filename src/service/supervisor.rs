//! What systemd is told (sd_notify(3)): ready, reloading, stopping, a line of status, signs of life, sockets to keep, and
//! which process is the main one. Without systemd nothing is told to anybody. What systemd has to know waits for room in its
//! queue, within a bound: a start that is never told to be ready is ended by systemd. Signs of life wait for nobody. To be
//! called from the control plane only, never from a core that serves.

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

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::time::{ClockId, clock_gettime};

/// How long systemd may take to make room for one thing that it has to know. Once it took longer, nothing waits for it until
/// something passes again.
const TELLING: Duration = Duration::from_secs(5);

/// How often it is told who follows: what it does not learn, it takes for the end of the service.
const TIMES: u32 = 12;

/// The line to the supervisor; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
    is_silent: AtomicBool,
    /// The last thing that it had to know found no room in time.
    is_deaf: AtomicBool,
}

impl Supervisor {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say; without the first, nobody is told anything.
    pub fn from_environment() -> Supervisor {
        let Some(place) = env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty()) else {
            return Supervisor::default();
        };
        match connect(place.as_bytes()) {
            Ok(socket) => Supervisor(Some(Arc::new(Line::new(socket, watchdog())))),
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
        self.tell(&format!("READY=1\n{}", status_line(status)), None);
    }

    /// A reload begins; [`Supervisor::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading the file"), None);
    }

    /// The end begins.
    pub fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\n{}", status_line(status)), None);
    }

    /// One line about how it goes, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.mention(&status_line(status));
    }

    /// A sign of life for the watchdog.
    pub fn feed(&self) {
        self.mention("WATCHDOG=1");
    }

    /// Another process is the service from now on, and ready. Whether that passed, or nobody is there to be told. Blocks for a
    /// minute at most.
    pub fn main_process_is(&self, process: u32) -> bool {
        (0..TIMES).any(|_| {
            if let Some(line) = &self.0 {
                line.is_deaf.store(false, Ordering::Relaxed);
            }
            self.tell(&format!("MAINPID={process}\nREADY=1"), None)
        })
    }

    /// From now on nothing is told any more: another process speaks for the service.
    pub fn fall_silent(&self) {
        if let Some(line) = &self.0 {
            line.is_silent.store(true, Ordering::Release);
        }
    }

    /// Has a listening socket kept beyond the end of this process (`FileDescriptorStoreMax=`).
    pub fn keep(&self, address: SocketAddr, socket: &TcpListener) {
        self.tell(&format!("FDSTORE=1\nFDNAME={}", stored_name(address)), Some(socket.as_fd()));
    }

    /// Has it forgotten again.
    pub fn forget(&self, address: SocketAddr) {
        self.tell(&format!("FDSTOREREMOVE=1\nFDNAME={}", stored_name(address)), None);
    }

    /// What it has to know: waits for room. Whether it passed, or nobody is there to be told.
    fn tell(&self, text: &str, given: Option<BorrowedFd<'_>>) -> bool {
        let Some(line) = self.line() else { return true };
        let may_wait = !line.is_deaf.load(Ordering::Relaxed);
        let flags = if may_wait { SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL | SendFlags::DONTWAIT };
        let told = line.send(text, given, flags);
        line.is_deaf.store(told == Err(Errno::AGAIN), Ordering::Relaxed);
        if let Err(cause) = told {
            let what = text.lines().next().unwrap_or_default();
            tracing::warn!(what, error = %io::Error::from(cause), "the supervisor could not be told");
        }
        told.is_ok()
    }

    /// What it may miss, because the next one says the same or more.
    fn mention(&self, text: &str) {
        let Some(line) = self.line() else { return };
        if let Err(cause) = line.send(text, None, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            tracing::debug!(error = %io::Error::from(cause), "the supervisor was not told");
        }
    }

    fn line(&self) -> Option<&Line> {
        self.0.as_deref().filter(|line| !line.is_silent.load(Ordering::Acquire))
    }
}

impl Line {
    fn new(socket: UnixDatagram, watchdog: Option<Duration>) -> Line {
        if let Err(cause) = set_socket_timeout(&socket, Timeout::Send, Some(TELLING)) {
            tracing::warn!(error = %io::Error::from(cause), "a supervisor that does not read would be waited for");
        }
        Line { socket, watchdog, is_silent: AtomicBool::new(false), is_deaf: AtomicBool::new(false) }
    }

    fn send(&self, text: &str, given: Option<BorrowedFd<'_>>, flags: SendFlags) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let given = given.map(|descriptor| [descriptor]);
        if let Some(descriptors) = &given {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let text = [IoSlice::new(text.as_bytes())];
        // A signal that comes in between has told nobody anything.
        rustix::io::retry_on_intr(|| sendmsg(&self.socket, &text, &mut control, flags)).map(drop)
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
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn line() -> (Supervisor, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (Supervisor(Some(Arc::new(Line::new(near, None)))), far)
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
        assert!(supervisor.main_process_is(42));
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

    #[test]
    fn what_has_to_be_known_waits_for_room_in_the_queue() {
        let (supervisor, far) = line();
        // Until nothing passes any more.
        for _ in 0..10_000 {
            supervisor.feed();
        }
        let (number, its) = mpsc::channel();
        let teller = thread::spawn(move || {
            number.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            supervisor.ready("serving");
        });
        let state = format!("/proc/self/task/{}/stat", its.recv().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        // After its number it has nothing to sleep for but the queue.
        while !std::fs::read_to_string(&state).unwrap_or_default().contains(") S ") {
            assert!(!teller.is_finished(), "it did not wait");
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
        far.set_nonblocking(false).unwrap();
        while !heard(&far).starts_with("READY=1") {}
        teller.join().unwrap();
    }

    #[test]
    fn a_supervisor_that_never_reads_is_waited_for_once() {
        let (supervisor, far) = line();
        let line = supervisor.0.as_ref().unwrap();
        set_socket_timeout(&line.socket, Timeout::Send, Some(Duration::from_millis(10))).unwrap();
        for _ in 0..10_000 {
            supervisor.feed();
        }
        assert!(!supervisor.tell("READY=1", None));
        assert!(line.is_deaf.load(Ordering::Relaxed), "the next ones do not wait");
        assert!(!supervisor.main_process_is(42), "it gives up in the end");
        while far.recv(&mut [0; 64]).is_ok() {}
        assert!(supervisor.tell("READY=1", None));
        assert!(!line.is_deaf.load(Ordering::Relaxed), "it hears again");
    }
}
