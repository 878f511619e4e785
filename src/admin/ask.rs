//! The other end of the admin socket, for the command line: gives one order and waits for the answer.
//! Blocking, and never longer than it was told to.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::model::show_duration;

use super::command::{Answer, Command};
use super::socket::Near;

/// Longest answer that is read. Bytes; the metrics of 100,000 routes fit.
const LONGEST_ANSWER: usize = 256 << 20;
/// Between two tries when the socket's queue is full.
const PAUSE: Duration = Duration::from_millis(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No socket there, or a dead one.
    #[error("{}: nobody listens; is doorward running? Say where its state folder is with --state, or the socket with --socket", socket.display())]
    NobodyListens {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error("{}: no right to ask; do this as root, or as the user that doorward runs as", socket.display())]
    NoRight {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Too slow.
    #[error("{}: no answer within {}; the order may still be carried out, the log of doorward says", socket.display(), show_duration(*waited))]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended too early.
    #[error("{}: the connection broke off before the answer; the log of doorward says why", socket.display())]
    BrokenOff {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// An answer that is none.
    #[error("{}: the answer cannot be read; do this command and the running doorward have the same version?", socket.display())]
    Unreadable {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
}

/// Gives an order and waits at most `timeout` for the answer, connecting included.
pub fn ask(socket: &Path, command: &Command, timeout: Duration) -> Result<Answer, AskError> {
    let deadline = Instant::now() + timeout;
    let exchange = connect(socket, deadline)
        .map_err(|cause| (true, cause))
        .and_then(|mut stream| exchange(&mut stream, command, deadline).map_err(|cause| (false, cause)));
    let socket = || socket.to_owned();
    let line = exchange.map_err(|(connecting, cause)| match cause.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => AskError::Timeout { socket: socket(), waited: timeout },
        io::ErrorKind::PermissionDenied => AskError::NoRight { socket: socket(), cause },
        _ if connecting => AskError::NobodyListens { socket: socket(), cause },
        _ => AskError::BrokenOff { socket: socket(), cause },
    })?;
    serde_json::from_slice(&line).map_err(|cause| AskError::Unreadable { socket: socket(), cause })
}

/// Gives an order that is answered with lines, and takes them until `each` says `false`, or there are no more. Waits at most
/// `timeout` for the answer, and for ever for lines.
pub fn follow(
    socket: &Path,
    command: &Command,
    timeout: Duration,
    mut each: impl FnMut(&[u8]) -> bool,
) -> Result<Answer, AskError> {
    let deadline = Instant::now() + timeout;
    let broken_off = |cause| AskError::BrokenOff { socket: socket.to_owned(), cause };
    let nobody = |cause: io::Error| match cause.kind() {
        io::ErrorKind::PermissionDenied => AskError::NoRight { socket: socket.to_owned(), cause },
        _ => AskError::NobodyListens { socket: socket.to_owned(), cause },
    };
    let mut stream = connect(socket, deadline).map_err(nobody)?;
    let mut order = serde_json::to_vec(command).map_err(|cause| broken_off(cause.into()))?;
    order.push(b'\n');
    // A server that refuses us answers and closes without reading: its answer counts, not the broken pipe.
    let sent = stream.write_all(&order);
    stream.set_read_timeout(Some(timeout)).map_err(broken_off)?;
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line).map_err(broken_off)? == 0 {
        return Err(broken_off(sent.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())));
    }
    let answer: Answer =
        serde_json::from_slice(&line).map_err(|cause| AskError::Unreadable { socket: socket.to_owned(), cause })?;
    if !answer.ok {
        return Ok(answer);
    }
    reader.get_ref().set_read_timeout(None).map_err(broken_off)?;
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(answer),
            Ok(_) if !each(&line) => return Ok(answer),
            Ok(_) => {}
            Err(cause) => return Err(broken_off(cause)),
        }
    }
}

/// Connects; a queue that is full is waited for.
fn connect(path: &Path, deadline: Instant) -> io::Result<Socket> {
    let near = Near::to(path)?;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match socket.connect_timeout(&near.address()?, left(deadline)?) {
            Ok(()) => return Ok(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE.min(left(deadline)?)),
            Err(error) => return Err(error),
        }
    }
}

/// Sends the order, reads one line.
fn exchange(socket: &mut Socket, command: &Command, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut order = serde_json::to_vec(command)?;
    order.push(b'\n');
    socket.set_write_timeout(Some(left(deadline)?))?;
    // A server that refuses us answers and closes without reading: its answer counts, not the broken pipe.
    let sent = socket.write_all(&order);
    let mut line = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        socket.set_read_timeout(Some(left(deadline)?))?;
        match socket.read(&mut piece) {
            Ok(0) => {
                sent?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(read) => {
                let end = piece[..read].iter().position(|&byte| byte == b'\n');
                line.extend_from_slice(&piece[..end.unwrap_or(read)]);
                if end.is_some() {
                    return Ok(line);
                }
                if line.len() > LONGEST_ANSWER {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What is left of the time; none left is an error, because a timeout of zero means for ever.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests;
