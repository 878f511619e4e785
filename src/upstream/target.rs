//! `Upstream`: one server that routes lead to, with what is known of it. `Target`: an upstream as one route reaches it.
//! Both outlive a reload when the file says the same about them: their pools and state stay.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::{Notify, watch};

use super::hold::Hold;
use crate::config::VerifySpec;
use crate::model::{Endpoint, EndpointHost, ProxyVersion, Refusal, Scheme};
use crate::telemetry::UpstreamMetrics;

/// What makes an upstream the same one after a reload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UpstreamKey {
    /// Its name in `[upstreams]`, or the route's.
    pub name: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// How its certificate is judged.
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

/// One upstream server. Shared by all cores.
#[derive(Debug)]
pub struct Upstream {
    /// What the file says.
    pub key: UpstreamKey,
    /// Requests that wait for it.
    pub hold: Hold,
    /// Its counters.
    pub metrics: Arc<UpstreamMetrics>,
    addresses: watch::Sender<Option<Arc<[SocketAddr]>>>,
    is_followed: AtomicBool,
    last_failure: Mutex<Option<Failure>>,
    /// Rung when a connection failed: the name may have moved.
    pub(super) stale: Notify,
}

impl Upstream {
    /// An upstream of which nothing is known yet. A literal address is its own resolution.
    pub fn new(key: UpstreamKey, metrics: Arc<UpstreamMetrics>) -> Upstream {
        let known = match key.endpoint.host {
            EndpointHost::Ip(address) => Some(Arc::from([SocketAddr::new(address, key.endpoint.port)])),
            EndpointHost::Name(_) => None,
        };
        Upstream {
            key,
            hold: Hold::default(),
            metrics,
            addresses: watch::Sender::new(known),
            is_followed: AtomicBool::new(false),
            last_failure: Mutex::default(),
            stale: Notify::new(),
        }
    }

    /// Its name: log label and metric label.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Whether its addresses must be asked of DNS.
    pub fn is_named(&self) -> bool {
        matches!(self.key.endpoint.host, EndpointHost::Name(_))
    }

    /// Whether the caller is the first to claim the right (and duty) to resolve its name from now on.
    pub fn claim_follower(&self) -> bool {
        !self.is_followed.swap(true, Ordering::Relaxed)
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

    /// The addresses known now; `None` before the first answer of DNS, empty if DNS knows none and never did.
    pub fn addresses(&self) -> Option<Arc<[SocketAddr]>> {
        self.addresses.borrow().clone()
    }

    /// The addresses, as soon as there was any answer of DNS.
    pub(super) async fn resolved(&self) -> Arc<[SocketAddr]> {
        let mut seen = self.addresses.subscribe();
        match seen.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| Arc::from([])),
            Err(_) => Arc::from([]),
        }
    }

    pub(super) fn publish(&self, found: Arc<[SocketAddr]>) {
        self.addresses.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&found);
            if changed {
                *known = Some(found);
            }
            changed
        });
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
    /// The bytes of the `ca` file that the configuration was made from.
    pub trusted: Option<Arc<[u8]>>,
}

/// An upstream as routes with one TLS name reach it: the key of the connection pools.
#[derive(Debug)]
pub struct Target {
    /// Unique for the life of the process; the pools' key.
    pub id: u64,
    /// The server.
    pub upstream: Arc<Upstream>,
    /// Set for `https://`.
    pub tls: Option<TargetTls>,
}

impl Target {
    /// A target with an id of its own.
    pub fn new(upstream: Arc<Upstream>, tls: Option<TargetTls>) -> Target {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Target { id: NEXT.fetch_add(1, Ordering::Relaxed), upstream, tls }
    }

    /// Whether its connections serve one client each, whom a PROXY header names, instead of whoever comes.
    pub fn is_private(&self) -> bool {
        self.upstream.key.proxy_protocol.is_some()
    }

    /// Whether it may be spoken to in HTTP/2: it must (`h2c://`), or it may choose so.
    pub fn may_speak_http2(&self) -> bool {
        match self.upstream.key.endpoint.scheme {
            Scheme::Http => false,
            Scheme::Https => self.upstream.key.http2,
            Scheme::H2c => true,
        }
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
