//! Routes as served.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::door::Allow;
use super::quota::Quota;
use crate::config::{Origin, Schemes};
use crate::model::{HostName, HostPattern, PathMatch, PathPattern};
use crate::telemetry::RouteMetrics;
use crate::upstream::Target;

/// One route: what happens to requests for its names.
#[derive(Debug)]
pub struct Route {
    /// Who wrote it.
    pub origin: Origin,
    /// 1-based line of its key in the file.
    pub line: u32,
    /// The key: log label and metric label.
    pub name: Arc<str>,
    /// Its name on doors without `names = "public"`.
    pub host: HostPattern,
    /// Its names on doors with.
    pub public: Vec<HostName>,
    /// Where requests go that no path rule takes elsewhere.
    pub target: Option<Arc<Target>>,
    /// Its own `allow`.
    pub allow: Option<Allow>,
    /// Whether the door (else the file) must admit a client too: what a container says only narrows.
    pub is_within_door: bool,
    /// Its own `limit` and `in_flight`.
    pub quota: Quota,
    /// The same number for the same name, in every snapshot: what is counted of it goes on counting.
    pub number: u64,
    /// Its path rules, in the order of the file.
    pub paths: Vec<PathRule>,
    /// Whether some path rule has an `allow`: then the spelling of a path is a matter of security.
    pub guards_paths: bool,
    /// Over which schemes it is served.
    pub schemes: Schemes,
    /// Largest request body in bytes.
    pub max_body: Option<u64>,
    /// Silence allowed, on either side.
    pub idle: Duration,
    /// How long a client may take nothing of its answer.
    pub idle_reader: Duration,
    /// Silence allowed in a WebSocket.
    pub idle_tunnel: Duration,
    /// Strict-Transport-Security.
    pub hsts: Option<HeaderValue>,
    /// Whether query strings are logged.
    pub log_query: bool,
    /// Edits towards the upstream.
    pub request_edits: Edits,
    /// Edits towards the client.
    pub response_edits: Edits,
    /// Its counters.
    pub metrics: Arc<RouteMetrics>,
}

/// Header edits of one direction: removed first, then set.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Edits {
    /// Set, in place of what is there.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl Edits {
    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// One line of `paths`.
#[derive(Debug)]
pub struct PathRule {
    /// What it matches.
    pub pattern: PathPattern,
    /// 1-based line in the file.
    pub line: u32,
    /// Its own `allow`.
    pub allow: Option<Allow>,
    /// Its own `limit` and `in_flight`.
    pub quota: Quota,
    /// What happens.
    pub action: Action,
}

/// What a path rule does.
#[derive(Debug)]
pub enum Action {
    /// Forwards.
    Forward {
        /// Where to; absent: the route's own target.
        target: Option<Arc<Target>>,
        /// What stands in place of the matched part; absent: the path goes on as it came.
        replace: Option<Arc<str>>,
    },
    /// Sends the client elsewhere.
    Redirect {
        /// Location.
        location: HeaderValue,
        /// 3xx.
        status: StatusCode,
    },
    /// Answers from the file.
    Answer(Answer),
}

/// A fixed answer.
#[derive(PartialEq, Eq, Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Content-Type.
    pub content_type: HeaderValue,
    /// Body.
    pub body: Bytes,
    /// Whether any web page may read it.
    pub cors: bool,
}

impl Route {
    /// The most specific rule for a path.
    pub fn rule(&self, path: &str) -> Option<&PathRule> {
        let mut best: Option<(PathMatch, &PathRule)> = None;
        for rule in &self.paths {
            if let Some(how) = rule.pattern.matches(path)
                && best.is_none_or(|(so_far, _)| how > so_far)
            {
                best = Some((how, rule));
            }
        }
        best.map(|(_, rule)| rule)
    }
}
