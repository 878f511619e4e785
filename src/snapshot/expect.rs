//! Promises written beside the rules they test, kept before every reload by asking the very function that serves.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::Snapshot;
use super::decide::{Decision, Facts, Verdict, decide};
use super::door::{Listener, Mode};
use crate::config::{ExpectSpec, ExpectedSpec, FromSpec};
use crate::model::{Client, Refusal};

/// A promise that the snapshot does not keep.
#[derive(Debug)]
pub struct Broken<'a> {
    /// The promise.
    pub expect: &'a ExpectSpec,
    /// What happens instead, to whom and why, in words.
    pub found: String,
}

/// Every promise that this snapshot breaks.
pub fn broken_promises<'a>(snapshot: &Snapshot, expects: &'a [ExpectSpec]) -> Vec<Broken<'a>> {
    expects
        .iter()
        .filter_map(|expect| counter_example(snapshot, expect).map(|found| Broken { expect, found }))
        .collect()
}

/// The first way in which a promise is broken.
fn counter_example(snapshot: &Snapshot, expect: &ExpectSpec) -> Option<String> {
    let listeners = listeners_asked(snapshot, expect);
    if listeners.is_empty() {
        return (expect.is.value != ExpectedSpec::UnknownHost)
            .then(|| format!("unknown host: no door knows `{}`", expect.url.value.host));
    }
    for listener in listeners {
        for client in clients_asked(snapshot, expect) {
            let facts = Facts {
                listener,
                peer: client.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                client,
                host: expect.url.value.host.as_str(),
                path: expect.url.value.path.split(['?', '#']).next().unwrap_or("/"),
                is_covered: true,
            };
            let decision = decide(snapshot, &facts);
            if !keeps(&decision, &expect.is.value) {
                return Some(format!("{} for {client} through door `{}`", describe(&decision), listener.door.name));
            }
        }
    }
    None
}

/// The listeners through which the promise is tried: of the door named, else of every door that knows the name. A door
/// that listens for both schemes is tried with that of the URL, one that has a single kind with that kind.
fn listeners_asked<'s>(snapshot: &'s Snapshot, expect: &ExpectSpec) -> Vec<&'s Listener> {
    let host = expect.url.value.host.as_str();
    let is_asked = |listener: &&Listener| match &expect.via {
        Some(via) => via.value == listener.door.name,
        None => snapshot.routes.find(host, listener.door.public_names).is_some(),
    };
    let fits = |listener: &Listener| (listener.mode == Mode::Tls) == expect.url.value.https;
    let is_spoken = |listener: &&Listener| {
        let mut siblings = snapshot.listeners.iter().filter(|other| Arc::ptr_eq(&other.door, &listener.door));
        fits(listener) || !siblings.any(fits)
    };
    snapshot.listeners.iter().filter(is_asked).filter(is_spoken).collect()
}

fn clients_asked(snapshot: &Snapshot, expect: &ExpectSpec) -> Vec<Client> {
    match expect.from.as_ref().map(|from| &from.value) {
        Some(FromSpec::Address(address)) => vec![Client::at(*address)],
        Some(FromSpec::Network(name)) if &**name != "anyone" => {
            let nets = snapshot.networks.find(name).into_iter().flatten();
            nets.flat_map(|net| [net.network(), net.broadcast()]).map(Client::at).collect()
        }
        _ => vec![stranger(snapshot)],
    }
}

/// An address in no network of the file: one of those reserved for documentation (RFC 5737, RFC 3849), else unknown.
fn stranger(snapshot: &Snapshot) -> Client {
    let candidates = [
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)),
        IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)),
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77)),
    ];
    candidates.into_iter().map(Client::at).find(|&client| !snapshot.networks.knows(client)).unwrap_or(Client::Unknown)
}

fn keeps(decision: &Decision<'_>, expected: &ExpectedSpec) -> bool {
    match (expected, decision.verdict) {
        (ExpectedSpec::Denied, Verdict::Refuse(Refusal::AccessDenied))
        | (ExpectedSpec::UnknownHost, Verdict::Refuse(Refusal::NoRoute | Refusal::Misdirected))
        | (ExpectedSpec::Redirect, Verdict::Redirect(_) | Verdict::ToHttps(_))
        | (ExpectedSpec::Answer, Verdict::Answer(_)) => true,
        (ExpectedSpec::Upstream(name), Verdict::Forward(target, _)) => target.upstream.name() == &**name,
        _ => false,
    }
}

/// A decision in words, with the line of the rule that made it.
fn describe(decision: &Decision<'_>) -> String {
    let by = |what: &str| match decision.allow.line {
        0 => format!("{what} (nothing says who may enter)"),
        line => format!("{what} by `allow` of {} (line {line})", decision.allow.place),
    };
    match decision.verdict {
        Verdict::Refuse(Refusal::AccessDenied) => by("denied"),
        Verdict::Refuse(Refusal::NoRoute | Refusal::Misdirected) => "unknown host".to_owned(),
        Verdict::Refuse(other) => other.to_string(),
        Verdict::ToHttps(_) => "redirect to https".to_owned(),
        Verdict::Redirect(_) => "redirect".to_owned(),
        Verdict::Answer(_) => "answer".to_owned(),
        Verdict::Forward(target, _) => by(&format!("reaches `{}`, admitted", target.upstream.name())),
    }
}
