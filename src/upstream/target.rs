//! `Upstream`: what routes lead to, one server or several that are alike. `Target`: an upstream as one route reaches it.
//! `Lane`: the way to one member of it. All outlive a reload when the file says the same about them: their pools and state
//! stay.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::balance::Choice;
use super::hold::Hold;
use super::member::{Health, Member};
use crate::config::{Balance, VerifySpec};
use crate::model::{Endpoint, EndpointHost, ProxyVersion, Refusal, Scheme};
use crate::telemetry::UpstreamMetrics;

/// What makes an upstream the same one after a reload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UpstreamKey {
    /// Its name in `[upstreams]`, or the route's.
    pub name: Arc<str>,
    /// Where its servers are, in the order of the file. None: it is absent for now (a stopped container).
    pub endpoints: Arc<[Endpoint]>,
    /// Which of them a request goes to.
    pub balance: Balance,
    /// How their certificates are judged.
    pub verify: VerifySpec,
    /// How long requests wait while it is away.
    pub hold: Option<Duration>,
    /// Whether HTTP/2 is offered to it over TLS.
    pub http2: bool,
    /// In which version it is told who the client is, before the first byte. A connection is one client's then.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Whether Via is sent to it.
    pub via: bool,
}

/// What routes lead to. Shared by all cores.
#[derive(Debug)]
pub struct Upstream {
    /// What the file says.
    pub key: UpstreamKey,
    /// Requests that wait for it.
    pub hold: Hold,
    /// Its counters.
    pub metrics: Arc<UpstreamMetrics>,
    /// Its servers, one for each of the key's endpoints.
    pub members: Box<[Arc<Member>]>,
    pub(super) choice: Choice,
    last_failure: Mutex<Option<Failure>>,
}

impl Upstream {
    /// An upstream of these members.
    pub fn new(key: UpstreamKey, members: Box<[Arc<Member>]>, metrics: Arc<UpstreamMetrics>) -> Upstream {
        let choice = Choice::new(key.balance, &key.endpoints);
        Upstream { key, hold: Hold::default(), metrics, members, choice, last_failure: Mutex::default() }
    }

    /// Its name: log label and metric label.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Where it is, for people: `10.0.0.2:80`, or how many addresses it has.
    pub fn place(&self) -> String {
        match &*self.key.endpoints {
            [] => format!("{}: no address", self.key.name),
            [one] => one.to_string(),
            many => format!("{} ({} addresses)", self.key.name, many.len()),
        }
    }

    /// Remembers why an exchange with it failed, for those who ask.
    pub fn note_failure(&self, refusal: Refusal, detail: &str) {
        let failure = Failure { at: SystemTime::now(), refusal, detail: detail.into() };
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    /// Why the last exchange that failed did.
    pub fn last_failure(&self) -> Option<Failure> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why an exchange with an upstream failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When.
    pub at: SystemTime,
    /// The cause.
    pub refusal: Refusal,
    /// More about it.
    pub detail: Box<str>,
}

/// TLS towards an upstream.
#[derive(Debug)]
pub struct TargetTls {
    /// Name sent in SNI and, unless pinned, verified.
    pub name: ServerName<'static>,
    /// The client configuration, or why there is none (an unreadable `ca`): then every request is refused, never let
    /// through unverified.
    pub config: Result<Arc<ClientConfig>, String>,
}

/// What makes a target the same one after a reload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TargetKey {
    /// The upstream.
    pub upstream: UpstreamKey,
    /// The name sent in TLS; absent: each endpoint's own.
    pub tls_name: Option<Arc<str>>,
    /// The bytes of the `ca` file: a new file under the old name makes a new target.
    pub trusted: Option<Arc<[u8]>>,
}

/// An upstream as routes with one TLS name reach it.
#[derive(Debug)]
pub struct Target {
    /// What it was made from.
    pub key: TargetKey,
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The ways to its members, in their order.
    pub lanes: Box<[Arc<Lane>]>,
}

/// The way to one member with one TLS name: what the connection pools are keyed by.
#[derive(Debug)]
pub struct Lane {
    /// Unique for the life of the process; the pools' key.
    pub id: u64,
    /// The server.
    pub member: Arc<Member>,
    /// Set for `https://`.
    pub tls: Option<TargetTls>,
    /// Whether HTTP/2 may be spoken: it must (`h2c://`), or the server may choose so (`http2 = true`).
    pub may_speak_http2: bool,
    /// Whether a PROXY header stands before everything.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Whether the member is reachable but wrong for this name: a certificate that does not verify.
    pub health: Health,
}

impl Lane {
    /// A lane with an id of its own.
    pub fn new(member: Arc<Member>, tls: Option<TargetTls>, http2: bool, proxy_protocol: Option<ProxyVersion>) -> Lane {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let may_speak_http2 = match member.endpoint.scheme {
            Scheme::Http => false,
            Scheme::Https => http2,
            Scheme::H2c => true,
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Lane { id, member, tls, may_speak_http2, proxy_protocol, health: Health::default() }
    }

    /// Whether the last that is known of this way is a failure: others come first.
    pub fn is_aside(&self) -> bool {
        self.member.health.is_aside() || self.health.is_aside()
    }
}

impl Target {
    /// Whether its connections serve one client each, whom a PROXY header names, instead of whoever comes.
    pub fn is_private(&self) -> bool {
        self.upstream.key.proxy_protocol.is_some()
    }

    /// Whether it may be spoken to in HTTP/2. Without an address nothing is spoken.
    pub fn may_speak_http2(&self) -> bool {
        self.lanes.first().is_some_and(|lane| lane.may_speak_http2)
    }

    /// The TLS name for a route's local name, or the endpoint's own where that is no DNS name.
    pub fn server_name(preferred: Option<&str>, endpoint: &Endpoint) -> Option<ServerName<'static>> {
        if let Some(name) = preferred {
            return ServerName::try_from(name.to_owned()).ok();
        }
        match &endpoint.host {
            EndpointHost::Ip(address) => Some(ServerName::IpAddress(IpAddr::into(*address))),
            EndpointHost::Name(name) => ServerName::try_from(name.as_str().to_owned()).ok(),
        }
    }
}
