//! Doors as served: addresses, whom they let in, whom they believe.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::quota::Quota;
pub use super::trust::{Mode, Trust};
use crate::model::AccessList;

/// One address that is listened on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// As written in the file.
    pub address: SocketAddr,
    /// What is spoken there.
    pub mode: Mode,
    /// Its door.
    pub door: Arc<Door>,
}

/// One `[listen.<name>]`.
#[derive(PartialEq, Eq, Debug)]
pub struct Door {
    /// The key.
    pub name: Arc<str>,
    /// Whether only `public` names exist here.
    pub public_names: bool,
    /// Whose connections are accepted; `None`: anyone's.
    pub peers: Option<AccessList>,
    /// Whose forwarding headers are believed.
    pub trust: Trust,
    /// Whether connections begin with a PROXY header, which only those in `trust` may send.
    pub proxy_protocol: bool,
    /// For routes that say nothing themselves.
    pub allow: Option<Allow>,
    /// For routes that say nothing themselves.
    pub quota: Quota,
}

/// An `allow` with the place where it was written, so that an answer can name its line. Two are equal if they admit the
/// same: a comment above that moves the line changes nothing.
#[derive(Clone, Debug)]
pub struct Allow {
    /// Who enters.
    pub list: AccessList,
    /// Whose `allow` it is.
    pub place: AllowPlace,
    /// 1-based line in the file; 0 where it stands in none (nothing was written, or a container said it).
    pub line: u32,
    /// The entries as written, for people.
    pub words: Arc<str>,
}

impl PartialEq for Allow {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Allow {}

/// Which table an `allow` stands in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowPlace {
    /// At top level.
    File,
    /// In a door.
    Door(Arc<str>),
    /// In a route.
    Route(Arc<str>),
    /// At a path of a route.
    Path(Arc<str>, Arc<str>),
    /// In `[metrics]`.
    Metrics,
}

impl fmt::Display for AllowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllowPlace::File => f.write_str("the file"),
            AllowPlace::Door(name) => write!(f, "door `{name}`"),
            AllowPlace::Route(name) => write!(f, "route `{name}`"),
            AllowPlace::Path(route, path) => write!(f, "path `{path}` of route `{route}`"),
            AllowPlace::Metrics => f.write_str("`[metrics]`"),
        }
    }
}
