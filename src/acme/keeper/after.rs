//! What follows from a stored pair: it is put in force, handed on, and looked for at our own doors.
//! Refuses to hold up the next renewal: what fails here is tried again by itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Keeper, now};
use crate::acme::export::{self, export_key};
use crate::acme::look::look;
use crate::acme::wanted::name_to_ask;
use crate::acme::worker::Stored;
use crate::cert::hex;

/// How often our own doors are looked at. Seconds.
const DOORS_AGAIN: i64 = 3600;

impl Keeper {
    /// Has the new pair served.
    pub(super) async fn publish(&mut self) {
        let (in_force, answer) = oneshot::channel();
        let stored = Stored { id: Arc::clone(&self.wanted.id), in_force };
        if self.bench.stored.send(stored).await.is_err() {
            return;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            answer = answer => if let Ok(Err(said)) = answer {
                tracing::error!(cert = %self.wanted.id, said, "the new certificate is stored, but not served");
            },
            _ = stopping.changed() => {}
        }
        self.doors_at = 0;
    }

    /// Hands the pair on, as far as that is pending. When to try again, if something is.
    pub(super) async fn export(&mut self) -> Option<i64> {
        let Some(Ok(pair)) = &self.pair else { return None };
        let fingerprint = hex(pair.certificate.fingerprint());
        let (seed, mut next, mut is_changed) = (self.state.seed, None, false);
        let mut waiting: BTreeMap<&'static str, u64> = export::STEPS.iter().map(|step| (*step, 0)).collect();
        for spec in &self.wanted.exports {
            let key = export_key(spec);
            let state = self.state.exports.entry(key.clone()).or_default();
            if export::pending(spec, state, &fingerprint).is_some() && export::next_try(state, now(), seed) <= now() {
                is_changed = true;
                if let Err(failure) = export::advance(spec, &self.wanted.id, pair, state, now()).await {
                    self.work.failed(failure.step);
                    tracing::warn!(cert = %self.wanted.id, export = key, step = failure.step, said = failure.said, "export not done; tried again");
                }
            }
            if let Some(step) = export::pending(spec, state, &fingerprint) {
                *waiting.entry(step).or_default() += 1;
                next = next.into_iter().chain([export::next_try(state, now(), seed)]).min();
            }
        }
        if !self.wanted.exports.is_empty() {
            self.work.set_pending(waiting);
        }
        if is_changed {
            self.save();
        }
        next
    }

    /// Looks whether our own doors show what is stored. A door that does not let us look says nothing.
    pub(super) async fn check_doors(&mut self) {
        let Some(Ok(pair)) = &self.pair else { return };
        let is_due = self.doors_at <= now() || self.doors_at > now() + DOORS_AGAIN;
        if self.wanted.order().is_none() || !is_due {
            return;
        }
        self.doors_at = now() + DOORS_AGAIN;
        let doors = self.bench.doors.borrow().clone();
        let (name, mut is_served) = (name_to_ask(&pair.certificate), None);
        for door in doors {
            match look(&reachable(door).to_string(), &name).await {
                Ok(seen) if seen.fingerprint == *pair.certificate.fingerprint() => {
                    is_served = is_served.or(Some(true));
                }
                Ok(seen) => {
                    is_served = Some(false);
                    if self.was_served != Some(false) {
                        let stored = pair.certificate.serial();
                        tracing::warn!(cert = %self.wanted.id, %door, name, stored, served = seen.serial, "a door serves another certificate than the stored one");
                    }
                }
                Err(why) => tracing::debug!(cert = %self.wanted.id, %door, why, "a door could not be looked at"),
            }
        }
        if let Some(is_served) = is_served {
            self.work.set_served(is_served);
        }
        self.was_served = is_served;
    }
}

/// A door on every address is asked on loopback.
fn reachable(door: SocketAddr) -> SocketAddr {
    let ip = match door.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, door.port())
}
