//! Moving over: what another proxy serves, written as a routes.toml that a person might have written.
//! Refuses to be more open than what it came from: whatever protected a host and cannot be carried closes the route, and
//! the file says why. Writes nothing anywhere; the text is the caller's to print.

mod acme_sh;
mod docker;
mod home;
mod naming;
mod npm;
mod snippet;
mod text;
mod write;

use std::io;
use std::path::PathBuf;

pub use acme_sh::import_acme_sh;
pub use docker::import_docker;
pub use npm::import_npm;

/// A file made of what another proxy serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The whole routes.toml.
    pub file: String,
    /// Routes in it.
    pub routes: usize,
    /// Routes that admit nobody, because something protected them that cannot be carried.
    pub closed: usize,
    /// Other things that the reader is told about in the file.
    pub left: usize,
}

/// Why there is nothing to import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {cause}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// It is no database of Nginx Proxy Manager.
    #[error(
        "{path}: not a database of Nginx Proxy Manager: {why}; it is `data/database.sqlite` (with MySQL or PostgreSQL there is \
         none, and nothing to import)", path = path.display()
    )]
    NotNpm {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is nothing that `docker inspect` prints.
    #[error("{path}: not what `docker inspect` prints: {why}; give it a list of containers, in JSON", path = path.display())]
    NotInspect {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Nobody in it speaks nginx-proxy's language.
    #[error("{path}: none of its {number} containers has a VIRTUAL_HOST; nothing to import", path = path.display())]
    NobodyAsks {
        /// The file.
        path: PathBuf,
        /// How many there are.
        number: usize,
    },
    /// acme.sh keeps nothing there.
    #[error("{path}: holds no certificate of acme.sh; its folder is usually ~/.acme.sh", path = path.display())]
    NotAcmeSh {
        /// The folder.
        path: PathBuf,
    },
}

/// What `email` takes; others ask for no more than an `@`.
fn is_mailbox(text: &str) -> bool {
    let fits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b));
    text.split_once('@').is_some_and(|(local, domain)| fits(local) && crate::model::HostName::parse(domain).is_ok())
}
