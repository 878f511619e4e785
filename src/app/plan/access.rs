//! Who gains or loses access: every class of address is asked for, at every door, name and path rule, before and after.
//! Compares what is decided, not what is written: the same people let in by other words is no change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use crate::model::{Client, HostPattern, NetworkSet, PathPattern};
use crate::snapshot::{
    AddressClass, Facts, Listener, Mode, Snapshot, Verdict, address_classes, blocks_that_count, decide, is_turned_away,
};

/// Some people, and what is new for them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct AccessChange {
    /// Whether they may enter now; else they may no longer.
    pub gains: bool,
    /// Who: names of networks, `part of` one, `anyone`, addresses.
    pub who: Vec<String>,
    /// Through which door.
    pub door: String,
    /// To what: names, with the path rule where it is about one: `photos.home.example/admin/*`.
    pub to: Vec<String>,
}

/// Everything that changes for somebody. `is_same` says of a route (by name) that nothing about it can have changed.
pub(super) fn access_changes(before: &Snapshot, after: &Snapshot, is_same: impl Fn(&str) -> bool) -> Vec<AccessChange> {
    let mut grouped: BTreeMap<(bool, String, Vec<String>), BTreeSet<String>> = BTreeMap::new();
    let doors: BTreeSet<&Arc<str>> = [before, after].iter().flat_map(|s| &s.listeners).map(|l| &l.door.name).collect();
    for door in doors {
        let sides = [before, after].map(|snapshot| Side { snapshot, listener: main_listener(snapshot, door) });
        let hosts: BTreeSet<Host> = sides.iter().flat_map(|side| side.hosts(&is_same)).collect();
        for host in &hosts {
            let paths: BTreeSet<Path> = sides.iter().flat_map(|side| side.paths(host)).collect();
            for path in &paths {
                let classes = classes(&sides, host);
                let entered = |side: &Side<'_>| -> Vec<bool> {
                    classes.iter().map(|class| side.admits(Client::at(class.sample()), host, path)).collect()
                };
                let [was, is] = [entered(&sides[0]), entered(&sides[1])];
                for gains in [true, false] {
                    let is_meant: Vec<bool> =
                        was.iter().zip(&is).map(|(&was, &is)| if gains { !was && is } else { was && !is }).collect();
                    if is_meant.contains(&true) {
                        let networks = if gains { &after.networks } else { &before.networks };
                        let key = (gains, door.to_string(), who(&classes, &is_meant, networks));
                        grouped.entry(key).or_default().insert(format!("{}{}", host.shown, path.shown));
                    }
                }
            }
        }
    }
    grouped
        .into_iter()
        .map(|((gains, door, who), to)| AccessChange { gains, who, door, to: to.into_iter().collect() })
        .rev()
        .collect()
}

/// One snapshot as one door shows it; without a listener where it has no such door.
struct Side<'s> {
    snapshot: &'s Snapshot,
    listener: Option<&'s Listener>,
}

/// A name that is asked for, and as people read it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Host {
    shown: String,
    asked: String,
}

/// A path that is asked for, and the rule that it stands for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    shown: String,
    asked: String,
}

/// A path that no rule but `/*` is likely to have.
const ANY_OTHER: &str = "/~";

/// The listener that serves rather than redirects, if there is one.
fn main_listener<'s>(snapshot: &'s Snapshot, door: &str) -> Option<&'s Listener> {
    let of_door = || snapshot.listeners.iter().filter(|listener| *listener.door.name == *door);
    of_door().find(|listener| !matches!(listener.mode, Mode::Redirect(_))).or_else(|| of_door().next())
}

impl Side<'_> {
    /// The names that this door knows, of routes that may have changed.
    fn hosts(&self, is_same: &impl Fn(&str) -> bool) -> Vec<Host> {
        let Some(listener) = self.listener else { return Vec::new() };
        let mut hosts = Vec::new();
        for route in self.snapshot.routes.iter().filter(|route| !is_same(&route.name)) {
            if listener.door.public_names {
                hosts.extend(route.public.iter().map(|name| Host { shown: name.to_string(), asked: name.to_string() }));
                continue;
            }
            let shown = route.host.to_string();
            hosts.push(match &route.host {
                HostPattern::Exact(name) => Host { shown, asked: name.to_string() },
                HostPattern::Wildcard(base) => Host { shown, asked: format!("any-other.{base}") },
                HostPattern::Any => Host { shown, asked: "any-other.invalid".to_owned() },
            });
        }
        hosts
    }

    fn paths(&self, host: &Host) -> Vec<Path> {
        let route = self.listener.and_then(|l| self.snapshot.routes.find(&host.asked, l.door.public_names));
        let rules = route.iter().flat_map(|found| &found.route.paths).map(|rule| Path {
            shown: rule.pattern.to_string(),
            asked: match &rule.pattern {
                PathPattern::Exact(path) => path.to_string(),
                PathPattern::Below(base) => format!("{base}{ANY_OTHER}"),
            },
        });
        rules.chain([Path { shown: String::new(), asked: ANY_OTHER.to_owned() }]).collect()
    }

    fn admits(&self, client: Client, host: &Host, path: &Path) -> bool {
        let Some(listener) = self.listener else { return false };
        let facts = Facts {
            listener,
            peer: client.address().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            client,
            host: &host.asked,
            path: &path.asked,
            is_covered: true,
        };
        !is_turned_away(listener, client) && !matches!(decide(self.snapshot, &facts).verdict, Verdict::Refuse(_))
    }
}

/// Addresses that neither side tells apart for this name, nor the names of its networks.
fn classes(sides: &[Side<'_>; 2], host: &Host) -> Vec<AddressClass> {
    let mut blocks: Vec<IpNet> = Vec::new();
    for Side { snapshot, listener } in sides {
        blocks.extend(snapshot.networks.iter().flat_map(|(_, nets)| nets.iter().copied()));
        if let Some(listener) = listener {
            let route = snapshot.routes.find(&host.asked, listener.door.public_names).map(|found| found.route);
            blocks.extend(blocks_that_count(snapshot, listener, route));
        }
    }
    blocks.sort();
    blocks.dedup();
    address_classes(None, &blocks)
}

/// The people of some classes in the words of the file: whole networks first, the largest first; then what is left.
fn who(classes: &[AddressClass], is_meant: &[bool], networks: &NetworkSet) -> Vec<String> {
    if is_meant.iter().all(|&meant| meant) {
        return vec!["anyone".to_owned()];
    }
    let mut open: Vec<usize> = (0..classes.len()).filter(|&at| is_meant[at]).collect();
    let mut members: Vec<(&str, Vec<usize>)> = networks
        .iter()
        .map(|(name, nets)| {
            let inside = |at: &usize| nets.iter().any(|net| net.contains(&classes[*at].ranges[0].first));
            (name, (0..classes.len()).filter(inside).collect())
        })
        .collect();
    members.sort_by_key(|(_, inside)| std::cmp::Reverse(inside.len()));
    let mut words = Vec::new();
    for (name, inside) in &members {
        if !inside.is_empty() && inside.iter().all(|&at| is_meant[at]) && inside.iter().any(|at| open.contains(at)) {
            words.push((*name).to_owned());
            open.retain(|at| !inside.contains(at));
        }
    }
    for (name, inside) in &members {
        let part: Vec<usize> = open.iter().copied().filter(|at| inside.contains(at)).collect();
        if !part.is_empty() {
            words.push(format!("part of {name} ({})", ranges(classes, &part)));
            open.retain(|at| !inside.contains(at));
        }
    }
    let is_nowhere = |at: &usize| !networks.knows(Client::at(classes[*at].ranges[0].first));
    let all_strangers = (0..classes.len()).filter(is_nowhere).all(|at| is_meant[at]);
    match open.is_empty() {
        true => {}
        false if all_strangers => words.push("strangers (in no network)".to_owned()),
        false => words.push(ranges(classes, &open)),
    }
    words
}

/// The first few ranges, and how many more.
fn ranges(classes: &[AddressClass], of: &[usize]) -> String {
    const SHOWN: usize = 3;
    let all: Vec<String> = of.iter().flat_map(|&at| &classes[at].ranges).map(ToString::to_string).collect();
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", all[..SHOWN].join(", ")),
        _ => all.join(", "),
    }
}
