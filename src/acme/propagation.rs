//! Whether a proof in DNS is visible where the CA will look: at the zone's own servers, asked directly, no cache between.
//! Refuses to stop anything: what cannot be seen is told, and the order goes on.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::delegation::Delegation;
use super::dns::{DnsProvider, ZoneServers};
use super::wire::{addresses, ask};
use crate::config::DnsSpec;

/// How long the servers are watched, unless `propagation` says otherwise. Seconds.
const WATCHED: Duration = Duration::from_secs(30);

/// How long it may take to find out whom to ask. Seconds.
const FINDING: Duration = Duration::from_secs(8);

/// The pause between two rounds, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The most servers that are asked: a zone has two to eight, each often with two addresses.
const SERVERS: usize = 16;

/// What the zone's servers showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Propagation {
    /// Every server shows every value.
    Seen {
        /// How long that took.
        took: Duration,
    },
    /// Not all of them did in time.
    Unseen {
        /// How long they were watched.
        after: Duration,
        /// Who does not show what.
        why: String,
    },
    /// Nobody could be asked.
    Unchecked {
        /// Why not.
        why: String,
    },
}

/// Watches until every server of the zone shows every value at a name; at most `propagation` of the file (30 s). Goes on
/// at once where nobody can be asked. Never fatal; what was not seen is in the log as a warning.
pub async fn wait(spec: &DnsSpec, provider: &dyn DnsProvider, name: &str, values: &[String]) -> Propagation {
    let limit = spec.propagation.as_ref().map_or(WATCHED, |limit| limit.value);
    let outcome = watch(limit, &Delegation::public(), provider, spec, name, values).await;
    match &outcome {
        Propagation::Seen { took } => tracing::debug!(name, ?took, "the proof is visible on all servers of its zone"),
        Propagation::Unseen { after, why } => {
            tracing::warn!(name, ?after, why, "the proof is not visible everywhere yet; the order goes on");
        }
        Propagation::Unchecked { why } => {
            tracing::warn!(name, why, "whether the proof is visible cannot be checked; the order goes on");
        }
    }
    outcome
}

async fn watch(
    limit: Duration,
    delegation: &Delegation,
    provider: &dyn DnsProvider,
    spec: &DnsSpec,
    name: &str,
    values: &[String],
) -> Propagation {
    let begun = Instant::now();
    let found = timeout(FINDING.min(limit), find(delegation, provider, spec, name)).await;
    let servers = match found.unwrap_or_else(|_| Err("the servers of its zone were not found in time".to_owned())) {
        Ok(servers) => servers,
        Err(why) => return Propagation::Unchecked { why },
    };
    let end = begun + limit;
    let mut pause = PAUSE.0;
    let mut behind: Option<String> = None;
    loop {
        let round = join_all(servers.iter().map(|server| look(*server, name, values)));
        let Ok(looks) = timeout_at(end, round).await else { break };
        let missing: Vec<&String> = looks.iter().filter_map(|look| look.as_ref().ok()?.as_ref()).collect();
        if let Some(first) = missing.first() {
            behind = Some((*first).clone());
        } else if looks.iter().any(Result::is_ok) {
            // A server that does not answer us is one that the CA will not wait for either.
            return Propagation::Seen { took: begun.elapsed() };
        } else {
            let why = looks.into_iter().find_map(Result::err).unwrap_or_default();
            return match behind {
                Some(_) => Propagation::Unseen { after: begun.elapsed(), why },
                None => Propagation::Unchecked { why },
            };
        }
        if timeout_at(end, sleep(pause)).await.is_err() {
            break;
        }
        pause = (pause * 2).min(PAUSE.1);
    }
    match behind {
        Some(why) => Propagation::Unseen { after: begun.elapsed(), why },
        None => Propagation::Unchecked { why: "no server of its zone answered in time".to_owned() },
    }
}

/// Whom to ask: those that the provider names, else those that the zone is delegated to, seen from the root.
async fn find(
    delegation: &Delegation,
    provider: &dyn DnsProvider,
    spec: &DnsSpec,
    name: &str,
) -> Result<Vec<SocketAddr>, String> {
    let told = provider.zone_servers(name).await.map_err(|fault| fault.to_string())?;
    match told {
        Some(ZoneServers { zone, servers }) => {
            let mut found = BTreeSet::new();
            let mut said = format!("{zone}: its provider names no server");
            for each in join_all(servers.iter().map(|server| addresses(server))).await {
                match each {
                    Ok(addresses) => found.extend(reachable(addresses)),
                    Err(fault) => said = fault,
                }
            }
            if found.is_empty() { Err(said) } else { Ok(found.into_iter().take(SERVERS).collect()) }
        }
        None => {
            let zone = spec.zone.as_ref().map_or(name, |zone| zone.value.as_str());
            let found = delegation.servers_of(zone).await?;
            Ok(reachable(found).into_iter().take(SERVERS).collect())
        }
    }
}

/// IPv4 where there is any: a home without IPv6 would take every second server for a silent one.
fn reachable(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v4: Vec<SocketAddr> = addresses.iter().copied().filter(SocketAddr::is_ipv4).collect();
    if v4.is_empty() { addresses } else { v4 }
}

/// One look: `Ok(None)` if everything is there, `Ok(Some(why))` if not, `Err` if the server gave no usable answer.
async fn look(server: SocketAddr, name: &str, values: &[String]) -> Result<Option<String>, String> {
    let answer = ask(server, name, RecordType::TXT).await?;
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => {}
        code => return Err(format!("{server}: {code}")),
    }
    if answer.answers.iter().any(|record| record.record_type() == RecordType::CNAME) && texts(&answer).is_empty() {
        return Err(format!("{server}: {name} is an alias of another name, whose servers are not asked"));
    }
    let shown = texts(&answer);
    let missing = values.iter().filter(|value| !shown.contains(value.as_str())).count();
    Ok((missing > 0).then(|| format!("{server} does not show {missing} of {} values yet", values.len())))
}

fn texts(answer: &Message) -> BTreeSet<String> {
    let of = |data: &RData| match data {
        RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| of(&record.data)).collect()
}
