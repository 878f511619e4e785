//! The process that this one follows: it waits on standard input, gives what it has, and lets go once this one serves. If it
//! dies before it said `begin`, this one must not open a door; afterwards this one goes on without it.

use std::fs::File;
use std::io::Stdin;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ServiceError;
use super::activation::Inherited;
use super::channel::{Channel, Label, Word};
use super::lock::StateLock;

/// How long the predecessor may take for each thing it says. It may have a certificate order to end first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take to tell its supervisor; this one serves meanwhile.
const RELEASE: Duration = Duration::from_secs(60);

/// Descriptors that are taken at most.
const MOST_DESCRIPTORS: usize = 1024;

/// What a predecessor gave, and the line to it.
pub struct Predecessor {
    channel: Channel<Stdin>,
    /// Its version.
    pub version: String,
    /// The generation that it serves.
    pub generation: u64,
    /// Keys of TLS session tickets.
    pub tickets: serde_json::Value,
    /// Listening sockets.
    pub sockets: Inherited,
    /// The admin socket and its file.
    pub admin: Option<(PathBuf, UnixListener)>,
    /// The lock of the state folder.
    pub lock: Option<StateLock>,
}

impl Predecessor {
    /// Starts this program once more and returns at once: who started us does not become the parent of what follows it, the
    /// supervisor does. `arguments` tell it to follow.
    pub fn pass_on(arguments: &[std::ffi::OsString]) -> std::io::Result<()> {
        // By its name, so that it is found by it; where that file is gone already, by what runs here.
        let program = std::env::current_exe().ok().filter(|program| program.is_file());
        let mut command = Command::new(program.unwrap_or_else(|| PathBuf::from("/proc/self/exe")));
        command.arg0("doorward").args(arguments).stdin(Stdio::inherit()).spawn().map(drop)
    }

    /// Takes what the process on standard input gives.
    pub fn meet() -> Result<Predecessor, ServiceError> {
        let channel = Channel::new(std::io::stdin());
        let (word, _) = channel.hear(Instant::now() + PATIENCE, PATIENCE)?;
        let Word::Estate { version, generation, tickets, descriptors } = word else {
            return Err(ServiceError::Misunderstood("no estate came first".to_owned()));
        };
        let mut met = Predecessor {
            channel,
            version,
            generation,
            tickets,
            sockets: Inherited::default(),
            admin: None,
            lock: None,
        };
        for _ in 0..descriptors.min(MOST_DESCRIPTORS) {
            met.take_one()?;
        }
        Ok(met)
    }

    fn take_one(&mut self) -> Result<(), ServiceError> {
        let (word, descriptor) = self.channel.hear(Instant::now() + PATIENCE, PATIENCE)?;
        let (Word::Descriptor(label), Some(descriptor)) = (word, descriptor) else {
            return Err(ServiceError::Misunderstood("a descriptor is missing".to_owned()));
        };
        match label {
            Label::Door(address) | Label::Metrics(address) => self.sockets.add(address, descriptor.into()),
            Label::Admin(path) => self.admin = Some((path, descriptor.into())),
            Label::Lock => self.lock = Some(StateLock::handed_over(descriptor)),
        }
        Ok(())
    }

    /// Says why this process will not follow.
    pub fn refuse(&self, why: &str) {
        // Without anybody to hear it, the log has it.
        let _ = self.channel.say(&Word::refused(why), None);
    }

    /// Says that everything stands, and waits until the doors may be opened.
    pub fn prepared(&self) -> Result<(), ServiceError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.channel.say(&Word::Prepared { process: std::process::id(), version }, None)?;
        match self.channel.hear(Instant::now() + PATIENCE, PATIENCE)?.0 {
            Word::Begin => Ok(()),
            _ => Err(ServiceError::Misunderstood("an order out of turn".to_owned())),
        }
    }

    /// Says that the doors are open, and waits until the supervisor was told who we are. Returns in any case: the doors are
    /// ours from here on.
    pub fn serving(self) {
        let told = self.channel.say(&Word::Serving, None);
        if told.is_ok()
            && let Err(error) = self.channel.hear(Instant::now() + RELEASE, RELEASE)
        {
            tracing::warn!(%error, "the predecessor did not take leave; serving without it");
        }
        // Nothing more comes from there, and the line is not to be held open.
        if let Ok(nothing) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(nothing);
        }
    }
}
