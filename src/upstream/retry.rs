//! What fails is set aside, and tried again by a connection of our own after 1 s, 2 s, … 30 s: no request is risked for it
//! while others serve.

use std::sync::{Arc, Weak};

use super::connect::{Protocol, UpstreamError, connect};
use super::member::{Member, pause};
use super::target::Lane;

impl Lane {
    /// Notes that a connection could not be made, or was of no use. Call on a data core: what tries again is spawned there.
    pub fn set_aside(self: &Arc<Self>, error: &UpstreamError) {
        let Lane { member, health, .. } = &**self;
        // A certificate that is wrong for this name says nothing of the others.
        let failing = if error.is_away { &member.health } else { health };
        if failing.fail() {
            tracing::warn!(upstream = member.upstream(), address = %member.authority, why = %error, "an address fails");
        }
        if error.is_away {
            member.metrics.set_up(false);
        }
        if failing.claim_retry() {
            tokio::task::spawn_local(try_again(Arc::downgrade(self), Arc::clone(member), error.is_away));
        }
    }

    /// Notes that a connection was made.
    pub fn put_back(&self) {
        let Lane { member, health, .. } = self;
        let was_away = member.works();
        if health.work() || was_away {
            tracing::info!(upstream = member.upstream(), address = %member.authority, "an address works again");
        }
    }
}

async fn try_again(lane: Weak<Lane>, member: Arc<Member>, is_away: bool) {
    for tries in 0.. {
        tokio::time::sleep(pause(tries)).await;
        let Some(lane) = lane.upgrade() else { break };
        let health = if is_away { &member.health } else { &lane.health };
        if health.is_aside() {
            match connect(&lane, Protocol::Http2, None).await {
                Ok(_) => lane.put_back(),
                // It is there again, but wrong for this name: that is the other kind of failure.
                Err(error) if is_away && !error.is_away => {
                    member.works();
                    lane.set_aside(&error);
                }
                Err(_) => continue,
            }
        }
        return health.retry_ended();
    }
    // No route leads there this way any more. If another does, its first request finds out.
    if is_away {
        member.works();
        member.health.retry_ended();
    }
}
