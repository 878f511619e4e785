//! `Member`: one address of an upstream, with what is known of it. Shared by all cores; it outlives a reload as long as its
//! address stays in the list, whatever happens to the others. Chooses nothing: that is `balance`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::model::{Endpoint, EndpointHost};
use crate::telemetry::MemberMetrics;

/// How soon what has failed is tried again; doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest time between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One server of an upstream.
#[derive(Debug)]
pub struct Member {
    /// Where it is, as written.
    pub endpoint: Endpoint,
    /// `host:port`: log field and metric label.
    pub authority: Box<str>,
    /// Its counters.
    pub metrics: Arc<MemberMetrics>,
    /// Whether connections to it fail.
    pub health: Health,
    /// Name of the upstream, for the log.
    upstream: Arc<str>,
    addresses: watch::Sender<Option<Arc<[SocketAddr]>>>,
    is_followed: AtomicBool,
    /// Rung when a connection failed: the name may have moved.
    pub(super) stale: Notify,
}

impl Member {
    /// A member of which nothing is known yet, with the counters for its address. A literal address is its own resolution.
    pub fn new(upstream: Arc<str>, endpoint: Endpoint, counted: impl FnOnce(&str) -> Arc<MemberMetrics>) -> Member {
        let known = match endpoint.host {
            EndpointHost::Ip(address) => Some(Arc::from([SocketAddr::new(address, endpoint.port)])),
            EndpointHost::Name(_) => None,
        };
        let authority: Box<str> = written_out(&endpoint).into();
        Member {
            metrics: counted(&authority),
            authority,
            endpoint,
            health: Health::default(),
            upstream,
            addresses: watch::Sender::new(known),
            is_followed: AtomicBool::new(false),
            stale: Notify::new(),
        }
    }

    /// The name of its upstream.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Whether its addresses must be asked of DNS.
    pub fn is_named(&self) -> bool {
        matches!(self.endpoint.host, EndpointHost::Name(_))
    }

    /// Whether the caller is the first to claim the right (and duty) to resolve its name from now on.
    pub fn claim_follower(&self) -> bool {
        !self.is_followed.swap(true, Ordering::Relaxed)
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

    /// Connections to it can be made; whether that is news.
    pub(super) fn works(&self) -> bool {
        let is_news = self.health.work();
        if is_news {
            self.metrics.set_up(true);
        }
        is_news
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

/// With the port always: two members may differ in nothing else.
fn written_out(endpoint: &Endpoint) -> String {
    let authority = endpoint.authority();
    match endpoint.port == endpoint.scheme.default_port() {
        true => format!("{authority}:{}", endpoint.port),
        false => authority,
    }
}

/// Whether something fails.
#[derive(Debug, Default)]
pub struct Health {
    is_failing: AtomicBool,
    is_retried: AtomicBool,
}

impl Health {
    /// Whether the last thing known is a failure: others come first.
    pub fn is_aside(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// It fails; whether that is news.
    pub(super) fn fail(&self) -> bool {
        !self.is_failing.swap(true, Ordering::Relaxed)
    }

    /// It works; whether that is news.
    pub(super) fn work(&self) -> bool {
        // The rule is that nothing changes, and a swap would take the line from every other core.
        self.is_aside() && self.is_failing.swap(false, Ordering::Relaxed)
    }

    /// Whether the caller is the one who tries again from now on.
    pub(super) fn claim_retry(&self) -> bool {
        !self.is_retried.swap(true, Ordering::AcqRel)
    }

    pub(super) fn retry_ended(&self) {
        self.is_retried.store(false, Ordering::Release);
    }
}

/// The time before try number `tries` (from 0).
pub(super) fn pause(tries: u32) -> Duration {
    LONGEST_PAUSE.min(FIRST_PAUSE.saturating_mul(1_u32.checked_shl(tries).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_rare_but_never_rarer_than_half_a_minute() {
        let seconds: Vec<u64> = (0..8).map(|tries| pause(tries).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn the_port_is_always_written() {
        for (text, written) in [
            ("http://10.0.0.2", "10.0.0.2:80"),
            ("https://nas.home", "nas.home:443"),
            ("http://[fd00::2]", "[fd00::2]:80"),
            ("http://10.0.0.2:8080", "10.0.0.2:8080"),
        ] {
            assert_eq!(written_out(&Endpoint::parse(text).unwrap()), written);
        }
    }
}
