//! This process as a service: what it tells its supervisor, which sockets it begins with, and how it hands everything over
//! to the process that follows it. Nothing here knows what is served.

mod activation;
mod channel;
mod lock;
mod predecessor;
mod privileges;
mod successor;
mod supervisor;

use std::path::PathBuf;

pub use activation::{Inherited, fallback_of};
pub use lock::{StateLock, died_serving};
pub use predecessor::Predecessor;
pub use privileges::become_user;
pub use successor::{Estate, Successor};
pub use supervisor::Supervisor;

/// Why a hand-over did not come about, or a service cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The program that is to follow cannot be started.
    #[error("{}: cannot be started: {cause}{}", program.display(), hint(cause))]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// The system's answer.
        #[source]
        cause: std::io::Error,
    },
    /// The other process said no, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The other process is gone, or is something else than a Doorward.
    #[error("the new process ended before it was ready; its last words stand in the log")]
    Gone,
    /// The other process does not answer.
    #[error("the new process was not ready within {seconds} s, and was ended")]
    Late {
        /// How long was waited.
        seconds: u64,
    },
    /// The other process speaks, but not our language.
    #[error("the two processes do not understand one another: {0}")]
    Misunderstood(String),
    /// The line between the two processes broke.
    #[error("the line between the two processes broke: {0}")]
    Line(#[source] std::io::Error),
    /// Root cannot be given up for this user.
    #[error("--user {user}: {why}")]
    NotAllowed {
        /// The name.
        user: String,
        /// What is in the way.
        why: String,
    },
    /// Another process has the state folder.
    #[error("{}: another doorward{} uses this state folder; give this one its own with --state, or end the other one first", folder.display(), process.map(|id| format!(" (process {id})")).unwrap_or_default())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Who has it, where it says so.
        process: Option<u32>,
    },
}

/// Who asks for the hand-over may see files that the service does not (`ProtectHome=`, `PrivateTmp=`).
fn hint(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
            "; copy it to where the service sees it and may run it, as /usr/bin"
        }
        _ => "",
    }
}
