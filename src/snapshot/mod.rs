//! What is served: one immutable value made from the checked file and the certificates, one cell that holds it, and the
//! one pure function from (snapshot, facts of a request) to a decision.

mod cell;
mod challenges;
mod classes;
mod compile;
mod decide;
mod diff;
mod door;
mod expect;
mod quota;
mod route;
mod route_diff;
mod spellings;
mod table;
mod targets;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;

pub use cell::{ChallengeBoard, Publisher, Shown, SnapshotCell};
pub use challenges::{CHALLENGE_PATH, Challenges, Proof};
pub use classes::{AddressClass, AddressRange, address_classes};
pub use compile::{Parts, compile};
pub use decide::{Decision, Facts, Rewrite, Verdict, decide};
pub use diff::{Changes, changes};
pub use door::{Allow, AllowPlace, Door, Listener, Mode, Trust};
pub use expect::{Broken, blocks_that_count, broken_promises, is_turned_away};
pub use quota::{Bound, Bounds, Quota};
pub use route::{Action, Answer, Edits, PathRule, Route};
pub use route_diff::{leads_to, route_changes, shown_allow};
pub use spellings::spellings;
pub use table::{Found, RouteTable};

use crate::cert::CertTable;
use crate::config::{AccessFormat, DrainSpec, LimitsSpec};
use crate::model::NetworkSet;
use crate::upstream::Target;

/// Everything that is in force at one moment. Never changes once made; the whole of one request sees one generation.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts accepted files, from 1.
    pub generation: u64,
    /// `[networks]`.
    pub networks: NetworkSet,
    /// Every address that is listened on, with its door.
    pub listeners: Vec<Listener>,
    /// Host and path to route.
    pub routes: RouteTable,
    /// TLS name to certificate.
    pub certificates: CertTable,
    /// The file's own `allow`.
    pub allow: Allow,
    /// The file's own `limit` and `in_flight`.
    pub quota: Quota,
    /// `[metrics]`: address and who may read.
    pub metrics: Option<(SocketAddr, Allow)>,
    /// `[log] access`.
    pub access_log: AccessFormat,
    /// `[drain]`.
    pub drain: DrainSpec,
    /// Whether containers may have names that are not known yet: then a name that nobody has is not unknown for good.
    pub awaits_containers: bool,
    /// `[limits]`.
    pub limits: LimitsSpec,
    /// Every target that some route leads to.
    pub targets: Vec<Arc<Target>>,
    /// The ids of all their lanes, sorted.
    pub lanes: Vec<u64>,
}

impl Snapshot {
    /// The listener on an address (as written in the file), if it still is one.
    pub fn listener(&self, address: SocketAddr) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.address == address)
    }
}
