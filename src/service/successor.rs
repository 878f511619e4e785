//! The process that follows this one, as this one sees it: started, given everything, asked whether it is ready. Until it
//! says so nothing here has changed; if it dies before, this process goes on as if nothing had been.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::ServiceError;
use super::channel::{Channel, Label, Word};
use super::lock::StateLock;

/// How long a successor may take to read and check the file, and to make what it needs.
const PREPARING: Duration = Duration::from_secs(60);

/// How long it may take to open the doors then.
const OPENING: Duration = Duration::from_secs(20);

/// Variables that are about this process alone.
const OURS_ALONE: [&str; 5] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_PID"];

/// What is handed over.
pub struct Estate {
    /// The generation in force.
    pub generation: u64,
    /// Keys of TLS session tickets, as `cert` writes them.
    pub tickets: serde_json::Value,
    /// The doors.
    pub doors: Vec<(SocketAddr, TcpListener)>,
    /// The socket of `[metrics]`.
    pub metrics: Option<(SocketAddr, TcpListener)>,
    /// The admin socket and its file.
    pub admin: Option<(PathBuf, UnixListener)>,
    /// The lock of the state folder.
    pub lock: Option<OwnedFd>,
}

/// A process that is to follow this one.
pub struct Successor {
    channel: Channel,
    starter: Child,
    /// Its number, once it has said so.
    process: Option<u32>,
    version: String,
}

impl Successor {
    /// Starts `program` with these arguments, which must tell it that somebody waits on its standard input.
    pub fn start(program: &Path, arguments: &[OsString]) -> Result<Successor, ServiceError> {
        let (channel, theirs) = Channel::pair().map_err(ServiceError::Line)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::from(theirs));
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        let started = command.spawn();
        let starter = started.map_err(|cause| ServiceError::NotStarted { program: program.to_owned(), cause })?;
        Ok(Successor { channel, starter, process: None, version: String::new() })
    }

    /// Something that ends the conversation from another thread.
    pub fn line(&self) -> Result<impl Fn() + Send + use<>, ServiceError> {
        let channel = self.channel.try_clone().map_err(ServiceError::Line)?;
        Ok(move || channel.hang_up())
    }

    /// Gives it everything and waits until it has read and checked the file. Blocks.
    pub fn prepare(&mut self, estate: Estate) -> Result<(), ServiceError> {
        let Estate { generation, tickets, doors, metrics, admin, lock } = estate;
        let doors = doors.into_iter().map(|(address, socket)| (Label::Door(address), OwnedFd::from(socket)));
        let metrics = metrics.into_iter().map(|(address, socket)| (Label::Metrics(address), OwnedFd::from(socket)));
        let admin = admin.into_iter().map(|(path, socket)| (Label::Admin(path), OwnedFd::from(socket)));
        let lock = lock.into_iter().map(|lock| (Label::Lock, lock));
        let given: Vec<(Label, OwnedFd)> = doors.chain(metrics).chain(admin).chain(lock).collect();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.channel.say(&Word::Estate { version, generation, tickets, descriptors: given.len() }, None)?;
        for (label, descriptor) in given {
            self.channel.say(&Word::Descriptor(label), Some(descriptor.as_fd()))?;
        }
        match self.channel.hear(Instant::now() + PREPARING, PREPARING)?.0 {
            Word::Prepared { process, version } => {
                self.process = Some(process);
                self.version = version;
                Ok(())
            }
            Word::Refused(why) => Err(ServiceError::Refused(why)),
            _ => Err(ServiceError::Misunderstood("an answer out of turn".to_owned())),
        }
    }

    /// Lets it open the doors, and waits until it serves. Blocks.
    pub fn begin(&mut self) -> Result<(), ServiceError> {
        self.channel.say(&Word::Begin, None)?;
        match self.channel.hear(Instant::now() + OPENING, OPENING)?.0 {
            Word::Serving => Ok(()),
            Word::Refused(why) => Err(ServiceError::Refused(why)),
            _ => Err(ServiceError::Misunderstood("an answer out of turn".to_owned())),
        }
    }

    /// Tells it that the supervisor knows, and takes leave.
    pub fn release(mut self) {
        // It goes on by itself where this does not pass.
        let _ = self.channel.say(&Word::Released, None);
        // The one that started it has ended long since.
        let _ = self.starter.wait();
    }

    /// Ends it, whatever it does. Blocks until the process that started it is gone.
    pub fn end(mut self) {
        self.channel.hang_up();
        if let Some(process) = self.process.and_then(|number| i32::try_from(number).ok()).and_then(Pid::from_raw) {
            // Gone by itself is as good.
            let _ = kill_process(process, Signal::KILL);
        }
        let _ = self.starter.kill();
        let _ = self.starter.wait();
    }

    /// Its process number and version, once it is prepared.
    pub fn who(&self) -> (u32, &str) {
        (self.process.unwrap_or_default(), &self.version)
    }
}

impl Estate {
    /// A second handle of the lock.
    pub fn share(lock: &StateLock) -> Option<OwnedFd> {
        lock.as_fd().try_clone_to_owned().ok()
    }
}
