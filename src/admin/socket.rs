//! The local socket: one JSON line in, one JSON line out, for root and the service's own user only.
//! It grants nothing to anybody else, replaces no file that is not a dead socket, and lets no client hold it up.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::model::show_duration;

use super::command::{Answer, Command, Order};

/// Longest order. Bytes; a whole routes.toml of 16 MiB fits, as JSON.
const LONGEST_ORDER: u64 = 32 << 20;
/// How long a client may take to send its order, and again to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients at a time; more wait in the kernel's queue.
const CLIENTS: usize = 64;
/// Lines that wait for a client that follows.
const LINES: usize = 64;
/// After an `accept` that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that fit into a socket address, with the closing zero (unix(7)).
const ADDRESS_BYTES: usize = 108;

/// Why there is no admin socket. Serving goes on without one.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Another process answers there.
    #[error("{}: another doorward answers there already; give this one a state folder of its own (--state)", socket.display())]
    Taken {
        /// The socket.
        socket: PathBuf,
    },
    /// Something that is no socket has the name.
    #[error("{}: is not a socket and is left alone; move it away", socket.display())]
    NotASocket {
        /// The file.
        socket: PathBuf,
    },
    /// The system says no.
    #[error("{}: the admin socket cannot be opened; its folder must exist and be writable", socket.display())]
    Unopened {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// Where the socket is: `admin.sock` in `$RUNTIME_DIRECTORY` (systemd may name several, divided by colons: the first), else in
/// the state folder.
pub fn socket_path(runtime_dir: Option<&OsStr>, state: &Path) -> PathBuf {
    let first = runtime_dir.and_then(|list| list.as_bytes().split(|&byte| byte == b':').next());
    match first {
        Some(folder) if !folder.is_empty() => Path::new(OsStr::from_bytes(folder)).join("admin.sock"),
        _ => state.join("admin.sock"),
    }
}

/// Opens the socket and answers until nobody takes orders any more. Returns early only when it cannot be opened.
pub async fn serve(socket: &Path, orders: mpsc::Sender<Order>) -> Result<(), AdminError> {
    AdminSocket::bind(socket)?.serve(orders).await
}

/// An open admin socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    /// Device and inode of the file, to know it again.
    file: Option<(u64, u64)>,
    /// Whether it is another process's by now.
    left: watch::Receiver<bool>,
    leave: watch::Sender<bool>,
}

/// The socket as whoever hands it over holds it.
#[derive(Debug)]
pub struct AdminHandle {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    leave: watch::Sender<bool>,
}

impl AdminHandle {
    /// Its file, and a second handle of the listening socket.
    pub fn share(&self) -> Option<(PathBuf, std::os::unix::net::UnixListener)> {
        Some((self.path.clone(), self.listener.try_clone().ok()?))
    }

    /// Leaves it to the other process: nobody is accepted here any more, and the file stays.
    pub fn leave(self) {
        self.leave.send_replace(true);
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AdminSocket {
    /// Opens it, 0600 from its first moment. A socket that a dead process left is replaced. The folder stays as it is.
    pub fn bind(path: &Path) -> Result<AdminSocket, AdminError> {
        remove_stale(path)?;
        let unopened = |cause| AdminError::Unopened { socket: path.to_owned(), cause };
        let listener = listen(path).map_err(unopened)?;
        Ok(AdminSocket::of(path, listener))
    }

    /// The socket of a process that this one follows.
    pub fn adopt(path: &Path, listener: std::os::unix::net::UnixListener) -> Result<AdminSocket, AdminError> {
        let unopened = |cause| AdminError::Unopened { socket: path.to_owned(), cause };
        listener.set_nonblocking(true).map_err(unopened)?;
        Ok(AdminSocket::of(path, listener))
    }

    fn of(path: &Path, listener: std::os::unix::net::UnixListener) -> AdminSocket {
        let file = fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let (leave, left) = watch::channel(false);
        AdminSocket { listener, path: path.to_owned(), file, left, leave }
    }

    /// What is needed to hand it over later.
    pub fn handle(&self) -> Result<AdminHandle, AdminError> {
        let unopened = |cause| AdminError::Unopened { socket: self.path.clone(), cause };
        let listener = self.listener.try_clone().map_err(unopened)?;
        Ok(AdminHandle { listener, path: self.path.clone(), leave: self.leave.clone() })
    }

    /// Answers until the receiver of `orders` is gone. To stop earlier, drop the future.
    pub async fn serve(self, orders: mpsc::Sender<Order>) -> Result<(), AdminError> {
        let unopened = |cause| AdminError::Unopened { socket: self.path.clone(), cause };
        let listener = self.listener.try_clone().and_then(UnixListener::from_std).map_err(unopened)?;
        let places = Arc::new(Semaphore::new(CLIENTS));
        let mut clients = JoinSet::new();
        let mut left = self.left.clone();
        loop {
            let place = tokio::select! {
                place = places.clone().acquire_owned() => place,
                () = orders.closed() => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = left.wait_for(|left| *left) => break,
                () = orders.closed() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let orders = orders.clone();
                    clients.spawn(async move {
                        converse(stream, orders, PATIENCE).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "admin socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while clients.try_join_next().is_some() {}
        }
        // Who asked before the end still gets the answer.
        let _ = timeout(PATIENCE, async { while clients.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if *self.left.borrow() {
            return;
        }
        let now = fs::symlink_metadata(&self.path).ok().map(|file| (file.dev(), file.ino()));
        if now.is_some() && now == self.file {
            // Whoever comes next replaces what stays behind.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Clears the way: nothing there, or a socket on which nobody answers.
fn remove_stale(path: &Path) -> Result<(), AdminError> {
    let socket = || path.to_owned();
    match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(AdminError::Unopened { socket: socket(), cause }),
        Ok(file) if !file.file_type().is_socket() => return Err(AdminError::NotASocket { socket: socket() }),
        Ok(_) => {}
    }
    match connect_at_once(path) {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A full queue also means that somebody lives there.
        Ok(()) => return Err(AdminError::Taken { socket: socket() }),
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Err(AdminError::Taken { socket: socket() }),
        Err(cause) => return Err(AdminError::Unopened { socket: socket(), cause }),
    }
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(AdminError::Unopened { socket: socket(), cause }),
        _ => Ok(()),
    }
}

fn connect_at_once(path: &Path) -> io::Result<()> {
    let near = Near::to(path)?;
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    probe.connect(&near.address()?)
}

fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let near = Near::to(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file of a Unix socket takes its mode from the socket itself, less the umask: set before `bind` there is no moment
    // in which others could connect, and no other thread's umask is touched.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&near.address()?)?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    Ok(OwnedFd::from(socket).into())
}

/// A path as a socket address takes it: one that is too long is written from its folder's descriptor.
pub(super) struct Near {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl Near {
    pub(super) fn to(path: &Path) -> io::Result<Near> {
        if path.as_os_str().len() < ADDRESS_BYTES {
            return Ok(Near { path: path.to_owned(), _folder: None });
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Near { path, _folder: Some(folder) })
    }

    pub(super) fn address(&self) -> io::Result<SockAddr> {
        SockAddr::unix(&self.path)
    }
}

/// One client: its order, and the answer.
async fn converse(mut stream: UnixStream, orders: mpsc::Sender<Order>, patience: Duration) {
    let own = rustix::process::geteuid().as_raw();
    let mut lines = None;
    let answer = match stream.peer_cred() {
        Ok(peer) if may_order(peer.uid(), own) => match timeout(patience, read_order(&mut stream)).await {
            Ok(Ok(command)) => {
                let sender = matches!(command, Command::Tail { .. }).then(|| {
                    let (sender, receiver) = mpsc::channel(LINES);
                    lines = Some(receiver);
                    sender
                });
                carry_out(command, sender, &orders).await
            }
            Ok(Err(answer)) => answer,
            Err(_) => Answer::refused(format!("the order did not come within {}", show_duration(patience))),
        },
        Ok(peer) => {
            warn!(uid = peer.uid(), "order refused: neither root nor the user of this service");
            Answer::refused("only root and the user that doorward runs as may give orders")
        }
        Err(_) => Answer::refused("who asks cannot be seen"),
    };
    let Ok(mut line) = serde_json::to_vec(&answer) else { return };
    line.push(b'\n');
    // A client that went away has no use for the answer.
    let told = timeout(patience, stream.write_all(&line)).await;
    if let (Some(lines), true, Ok(Ok(()))) = (lines, answer.ok, told) {
        pass_on(&mut stream, lines).await;
    }
    let _ = timeout(patience, stream.shutdown()).await;
}

/// Writes lines until there are no more, or the client goes. One that reads slowly waits alone: what it misses is lost where
/// the lines come from.
async fn pass_on(stream: &mut UnixStream, mut lines: mpsc::Receiver<Box<[u8]>>) {
    let (mut from, mut to) = stream.split();
    let gone = async {
        let _ = from.read(&mut [0; 1]).await;
    };
    let written = async {
        while let Some(line) = lines.recv().await {
            if to.write_all(&line).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = gone => {}
        () = written => {}
    }
}

/// Root, and the user that we run as.
fn may_order(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

async fn read_order(stream: &mut UnixStream) -> Result<Command, Answer> {
    let mut line = Vec::new();
    let read = BufReader::new(stream.take(LONGEST_ORDER)).read_until(b'\n', &mut line).await;
    if let Err(error) = read {
        return Err(Answer::refused(format!("the order cannot be read: {error}")));
    }
    if line.len() as u64 >= LONGEST_ORDER && line.last() != Some(&b'\n') {
        return Err(Answer::refused("the order is longer than 32 MiB"));
    }
    serde_json::from_slice(&line).map_err(|error| {
        Answer::refused(format!(
            "not an order: {error}; do this command and the running doorward have the same version?"
        ))
    })
}

async fn carry_out(command: Command, lines: Option<mpsc::Sender<Box<[u8]>>>, orders: &mpsc::Sender<Order>) -> Answer {
    let (answer, answered) = oneshot::channel();
    let leaving = || Answer::refused("doorward is stopping");
    if orders.send(Order { command, answer, lines }).await.is_err() {
        return leaving();
    }
    answered.await.unwrap_or_else(|_| leaving())
}

#[cfg(test)]
mod tests;
