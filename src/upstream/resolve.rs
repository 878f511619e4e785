//! Keeps the addresses of a named upstream fresh, on the control plane. The data plane only reads what is published here:
//! a name that does not resolve delays nobody else and never stops a start.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::member::Member;
use crate::model::EndpointHost;

/// How long an answer is used before DNS is asked again. Seconds; the system's resolver does its own caching by TTL.
const REFRESH: Duration = Duration::from_secs(30);

/// How soon a failed connection may cause another question.
const SOONEST: Duration = Duration::from_secs(1);

/// Resolves a named member again and again until nobody holds it any more. The last good answer is kept while DNS
/// fails. Uses the system's resolver, so that `/etc/hosts` and mDNS names work.
pub async fn follow(member: Weak<Member>) {
    loop {
        let Some(strong) = member.upgrade() else { return };
        let EndpointHost::Name(name) = &strong.endpoint.host else { return };
        let asked = tokio::net::lookup_host((name.as_str(), strong.endpoint.port)).await;
        match asked {
            Ok(found) => strong.publish(sorted(found)),
            Err(error) => {
                if strong.addresses().is_none() {
                    tracing::warn!(upstream = strong.upstream(), %name, %error, "upstream's name does not resolve");
                    strong.publish(Arc::from([]));
                }
            }
        }
        let stale = async {
            strong.stale.notified().await;
            tokio::time::sleep(SOONEST).await;
        };
        // The strong reference lives through the wait: a removed member is let go of at the next turn.
        let _ = tokio::time::timeout(REFRESH, stale).await;
    }
}

/// IPv4 first: homes that publish AAAA records without routing them are common, and the order is stable so that an
/// unchanged answer is seen as unchanged.
fn sorted(found: impl Iterator<Item = SocketAddr>) -> Arc<[SocketAddr]> {
    let mut all: Vec<SocketAddr> = found.collect();
    all.sort_by_key(|address| (address.is_ipv6(), *address));
    all.dedup();
    all.into()
}
