//! Promises written beside the rules they test, kept before every reload by asking the very function that serves.
//!
//! A promise about a network is asked once for each class of its addresses that some rule could tell apart, in every
//! spelling of the path that matching holds equal, and without `via` on every door that knows the name. It says "denied" or
//! "unknown" of all of them; what it lets in may be refused in an odd spelling, but never led elsewhere. A `*` in its URL
//! stands for every name and every path that it fits (`all`).

mod all;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;

use all::{names_asked, paths_asked};

use super::Snapshot;
use super::classes::address_classes;
use super::decide::{Decision, Facts, Verdict, decide};
use super::door::{AllowPlace, Listener, Mode, Trust};
use super::route::{Action, Route};
use super::spellings::spellings;
use crate::config::{ExpectSpec, ExpectedSpec, FromSpec};
use crate::model::{AccessList, Client, HostPattern, Refusal};

/// A promise that the snapshot does not keep, with one counter-example.
#[derive(Debug)]
pub struct Broken<'a> {
    /// The promise.
    pub expect: &'a ExpectSpec,
    /// What happens instead, and to whom.
    pub found: String,
    /// The rule that makes the difference, in words; empty where it is that there is none.
    pub rule: String,
    /// 1-based line of that rule; 0 where there is none in the file.
    pub line: u32,
    /// What was asked for if the promise leaves it open, through which door, and how the path was spelled if not as promised.
    pub asked: String,
    /// The name that was asked for.
    pub host: String,
}

/// Every promise that this snapshot breaks.
pub fn broken_promises<'a>(snapshot: &Snapshot, expects: &'a [ExpectSpec]) -> Vec<Broken<'a>> {
    expects.iter().filter_map(|expect| counter_example(snapshot, expect)).collect()
}

/// The first way in which a promise is broken.
fn counter_example<'a>(snapshot: &Snapshot, expect: &'a ExpectSpec) -> Option<Broken<'a>> {
    let written = &expect.url.value.host;
    let nothing = |found: String| {
        let (rule, asked, host) = (String::new(), String::new(), written.to_string());
        Broken { expect, found, rule, line: 0, asked, host }
    };
    if let Some(FromSpec::Network(name)) = expect.from.as_ref().map(|from| &from.value)
        && &**name != ANYONE
        && snapshot.networks.find(name).unwrap_or_default().is_empty()
    {
        return Some(nothing(format!("network `{name}` has no address, so it is about nobody")));
    }
    let is_pattern = !matches!(written, HostPattern::Exact(_));
    let mut is_known = false;
    for host in names_asked(snapshot, written) {
        let listeners = listeners_asked(snapshot, expect, &host);
        is_known |= !listeners.is_empty();
        let broken = listeners.into_iter().find_map(|listener| at_listener(snapshot, expect, listener, &host));
        if broken.is_some() {
            return broken;
        }
    }
    // A promise about nothing is most likely a slip of the pen.
    (!is_known && expect.is.value != ExpectedSpec::UnknownHost).then(|| {
        nothing(match is_pattern {
            true => format!("no door knows a name that fits `{written}`"),
            false => format!("no door knows `{written}`"),
        })
    })
}

/// The first way in which a promise is broken for one name on one listener.
fn at_listener<'a>(snapshot: &Snapshot, expect: &'a ExpectSpec, listener: &Listener, host: &str) -> Option<Broken<'a>> {
    let route = snapshot.routes.find(host, listener.door.public_names).map(|found| found.route);
    let detours = match expect.is.value {
        // Whoever may enter, but not through the door of another rule, has been let in rightly or refused rightly.
        ExpectedSpec::Denied | ExpectedSpec::UnknownHost => bases(route),
        _ => Vec::new(),
    };
    let paths: Vec<Vec<String>> =
        paths_asked(&expect.url.value, route).iter().map(|path| spellings(path, &detours)).collect();
    for client in clients_asked(snapshot, expect, listener, route) {
        for spellings in &paths {
            for (nth, spelling) in spellings.iter().enumerate() {
                let plain = spellings.first().map_or("", String::as_str);
                let asked = Asked { snapshot, expect, listener, client, host, plain, path: spelling, is_odd: nth > 0 };
                if let Some(broken) = asked.broken() {
                    return Some(broken);
                }
            }
        }
    }
    None
}

/// The literal parts of a route's path rules.
fn bases(route: Option<&Arc<Route>>) -> Vec<&str> {
    route.into_iter().flat_map(|route| &route.paths).map(|rule| rule.pattern.base()).collect()
}

/// The listeners through which the promise is tried: of the door named, else of every door that knows the name. A door
/// that listens for both schemes is tried with that of the URL, one that has a single kind with that kind.
fn listeners_asked<'s>(snapshot: &'s Snapshot, expect: &ExpectSpec, host: &str) -> Vec<&'s Listener> {
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

/// One client of each class that the promise speaks of.
fn clients_asked(
    snapshot: &Snapshot,
    expect: &ExpectSpec,
    listener: &Listener,
    route: Option<&Arc<Route>>,
) -> Vec<Client> {
    let blocks = blocks_that_count(snapshot, listener, route);
    let samples = |within: Option<&[IpNet]>, blocks: &[IpNet]| {
        address_classes(within, blocks).iter().map(|class| Client::at(class.sample())).collect::<Vec<_>>()
    };
    // Only a door that believes somebody can meet a client without an address.
    let unknown = (listener.door.trust != Trust::Nobody).then_some(Client::Unknown);
    match expect.from.as_ref().map(|from| &from.value) {
        Some(FromSpec::Address(address)) => vec![Client::at(*address)],
        Some(FromSpec::Network(name)) if &**name == ANYONE => {
            samples(None, &blocks).into_iter().chain(unknown).collect()
        }
        Some(FromSpec::Network(name)) => samples(Some(snapshot.networks.find(name).unwrap_or_default()), &blocks),
        None => {
            let named: Vec<IpNet> = snapshot.networks.iter().flat_map(|(_, nets)| nets.iter().copied()).collect();
            // A block of length 0 names nobody in particular.
            let named_in_lists = blocks.iter().copied().filter(|block| block.prefix_len() > 0);
            let named: Vec<IpNet> = named.into_iter().chain(named_in_lists).collect();
            let is_named = |client: &Client| client.address().is_some_and(|at| named.iter().any(|n| n.contains(&at)));
            let all: Vec<IpNet> = named.iter().chain(&blocks).copied().collect();
            let mut strangers = samples(None, &all);
            strangers.retain(|client| !is_named(client));
            strangers.extend(unknown);
            // A file may name every address there is.
            if strangers.is_empty() { vec![Client::Unknown] } else { strangers }
        }
    }
}

/// The word for everybody, in `from` as in `allow`.
const ANYONE: &str = "anyone";

/// The blocks of every list that could be asked for a name on a listener.
pub fn blocks_that_count(snapshot: &Snapshot, listener: &Listener, route: Option<&Arc<Route>>) -> Vec<IpNet> {
    let door = &listener.door;
    let of_route = route.into_iter().flat_map(|route| {
        route.allow.iter().chain(route.paths.iter().filter_map(|rule| rule.allow.as_ref())).map(|allow| &allow.list)
    });
    let believed = match &door.trust {
        Trust::Peers(list) => Some(list),
        Trust::Nobody | Trust::Cloudflared => None,
    };
    let lists = [&snapshot.allow.list].into_iter().chain(door.allow.as_ref().map(|allow| &allow.list));
    let lists: Vec<&AccessList> = lists.chain(of_route).chain(&door.peers).chain(believed).collect();
    let mut blocks: Vec<IpNet> = lists.into_iter().flat_map(|list| list.nets().iter().copied()).collect();
    blocks.sort();
    blocks.dedup();
    blocks
}

/// One question of a promise.
struct Asked<'s, 'e> {
    snapshot: &'s Snapshot,
    expect: &'e ExpectSpec,
    listener: &'s Listener,
    client: Client,
    host: &'s str,
    /// The path as promised.
    plain: &'s str,
    path: &'s str,
    is_odd: bool,
}

impl<'e> Asked<'_, 'e> {
    /// The counter-example, if this is one.
    fn broken(&self) -> Option<Broken<'e>> {
        let Asked { snapshot, expect, listener, client, host, path, is_odd, .. } = self;
        let door = &listener.door;
        if is_turned_away(listener, *client) {
            let found = format!("{} cannot even connect", self.who());
            let rule = format!("`peers` of door `{}`", door.name);
            return (expect.is.value != ExpectedSpec::Denied).then(|| self.with(found, rule, 0));
        }
        if matches!(expect.method, Method::CONNECT | Method::TRACE) {
            // Refused before anything is decided.
            let found = format!("{} gets 405: {} is never forwarded", self.who(), expect.method);
            return (expect.is.value != ExpectedSpec::Denied).then(|| self.with(found, String::new(), 0));
        }
        let facts = Facts {
            listener,
            peer: client.address().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            client: *client,
            host,
            path,
            is_covered: true,
        };
        let decision = decide(snapshot, &facts);
        if keeps(&decision, &expect.is.value, *is_odd) {
            return None;
        }
        let (rule, line) = deciding_rule(&decision, &expect.is.value);
        Some(self.with(self.happens(&decision), rule, line))
    }

    fn with(&self, found: String, rule: String, line: u32) -> Broken<'e> {
        let url = &self.expect.url.value;
        let is_open = url.below || !matches!(url.host, HostPattern::Exact(_));
        let mut asked = if is_open { format!("asking for `{}{}`, ", self.host, self.plain) } else { String::new() };
        asked += &format!("through door `{}`", self.listener.door.name);
        if self.is_odd {
            asked += &format!(", spelled `{}`", self.path);
        }
        Broken { expect: self.expect, found, rule, line, asked, host: self.host.to_owned() }
    }

    /// `192.168.9.1 (guest)`.
    fn who(&self) -> String {
        let names: Vec<&str> = self.snapshot.networks.names_of(self.client).collect();
        match self.client {
            Client::Unknown => "a client without an address".to_owned(),
            Client::Known(address) if names.is_empty() => format!("{address} (in no network)"),
            Client::Known(address) => format!("{address} ({})", names.join(", ")),
        }
    }

    fn happens(&self, decision: &Decision<'_>) -> String {
        let who = self.who();
        match decision.verdict {
            Verdict::Refuse(Refusal::AccessDenied) => format!("{who} is denied"),
            Verdict::Refuse(Refusal::NoRoute | Refusal::Misdirected) => {
                format!("{who} finds no such name on door `{}`", self.listener.door.name)
            }
            Verdict::Refuse(other) => format!("{who} gets {} {other}", other.status()),
            Verdict::ToHttps(_) => format!("{who} is sent to https"),
            Verdict::Redirect(Action::Redirect { location, .. }) => {
                format!("{who} is sent to {}", String::from_utf8_lossy(location.as_bytes()))
            }
            Verdict::Redirect(_) => format!("{who} is sent elsewhere"),
            Verdict::Answer(_) => format!("{who} gets a fixed answer"),
            Verdict::Forward(target, _) => format!("{who} reaches `{}`", target.upstream.name()),
        }
    }
}

/// Whether the door closes this client's connections before a byte is read: where nobody is believed, the client is the peer.
pub fn is_turned_away(listener: &Listener, client: Client) -> bool {
    let door = &listener.door;
    door.trust == Trust::Nobody && door.peers.as_ref().is_some_and(|peers| !peers.admits(client))
}

fn keeps(decision: &Decision<'_>, expected: &ExpectedSpec, is_odd: bool) -> bool {
    match (expected, decision.verdict) {
        (ExpectedSpec::Denied, Verdict::Refuse(Refusal::AccessDenied | Refusal::BadPath))
        | (ExpectedSpec::UnknownHost, Verdict::Refuse(Refusal::NoRoute | Refusal::Misdirected))
        | (ExpectedSpec::Redirect, Verdict::Redirect(_) | Verdict::ToHttps(_))
        | (ExpectedSpec::Answer, Verdict::Answer(_)) => true,
        (ExpectedSpec::UnknownHost, Verdict::Refuse(Refusal::AccessDenied)) => decision.route.is_none(),
        (ExpectedSpec::Upstream(name), Verdict::Forward(target, _)) => target.upstream.name() == &**name,
        // What is written oddly may be refused where both readings of it must be admitted.
        (
            ExpectedSpec::Upstream(_) | ExpectedSpec::Redirect | ExpectedSpec::Answer,
            Verdict::Refuse(Refusal::AccessDenied | Refusal::BadPath),
        ) => is_odd,
        _ => false,
    }
}

/// The rule that makes the difference between what is promised and what happens, and its line.
fn deciding_rule(decision: &Decision<'_>, expected: &ExpectedSpec) -> (String, u32) {
    let allow = decision.allow;
    let by_allow = |verb: &str| match allow.line {
        0 if allow.place == AllowPlace::File => ("no `allow` says who may enter".to_owned(), 0),
        line => (format!("{verb} by `allow` of {} ({})", allow.place, shown_words(&allow.words)), line),
    };
    match (expected, decision.verdict) {
        (_, Verdict::Refuse(Refusal::AccessDenied)) => by_allow("shut out"),
        (ExpectedSpec::Denied, Verdict::Refuse(_)) => (String::new(), 0),
        (ExpectedSpec::Denied, _) => by_allow("let in"),
        _ => match (decision.rule, decision.route) {
            (Some(rule), Some(route)) => (format!("path `{}` of route `{}`", rule.pattern, route.name), rule.line),
            (None, Some(route)) => (format!("route `{}`", route.name), route.line),
            _ => (String::new(), 0),
        },
    }
}

fn shown_words(words: &str) -> &str {
    if words.is_empty() { "nobody" } else { words }
}

#[cfg(test)]
mod tests;
