//! What a person would have called things: the domain that short names share, networks after the lists they come from,
//! upstreams that several routes lead to. Chosen the same way every time, whatever order a map has.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::home::{Admission, CertSource, Destination, Home, PathAction, Route};
use super::text::slug;
use crate::model::{EndpointHost, HostName, HostPattern};

/// Names for everything in a file.
pub(super) struct Naming {
    /// `domain`.
    pub(super) domain: Option<HostName>,
    /// `[networks]`, in the order of first use.
    pub(super) networks: Vec<(String, BTreeSet<IpNet>)>,
    /// `[upstreams]`, in the order of first use.
    pub(super) upstreams: Vec<(String, Destination)>,
    /// `[cert]`, in the order of the source.
    pub(super) certs: Vec<String>,
    /// Who may enter where a route says nothing else.
    pub(super) admission: Admission,
}

impl Naming {
    pub(super) fn of(home: &Home) -> Naming {
        let domain = domain(home);
        let route_names: HashSet<String> =
            home.routes.iter().map(|route| short(&route.host, domain.as_ref())).collect();
        Naming {
            networks: networks(home),
            upstreams: upstreams(home, route_names),
            certs: certs(home),
            admission: admission(home),
            domain,
        }
    }

    /// The key of a route: short below the domain.
    pub(super) fn route(&self, host: &HostPattern) -> String {
        short(host, self.domain.as_ref())
    }

    /// The name of the upstream that stands for a destination, if it has one.
    pub(super) fn upstream(&self, to: &Destination) -> Option<&str> {
        self.upstreams.iter().find(|(_, known)| known == to).map(|(name, _)| name.as_str())
    }

    /// The name of a network with these blocks.
    pub(super) fn network(&self, nets: &BTreeSet<IpNet>) -> Option<&str> {
        self.networks.iter().find(|(_, known)| known == nets).map(|(name, _)| name.as_str())
    }
}

fn short(host: &HostPattern, domain: Option<&HostName>) -> String {
    let full = host.to_string();
    let below = |domain: &HostName| full.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned);
    match (host, domain.and_then(below)) {
        (HostPattern::Exact(_), Some(label)) if !label.contains('.') => label,
        _ => full,
    }
}

/// The parent that most names share; of several, the first in the alphabet. One name alone has none.
fn domain(home: &Home) -> Option<HostName> {
    let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
    for route in &home.routes {
        if let HostPattern::Exact(name) = &route.host
            && let Some((_, parent)) = name.as_str().split_once('.')
            && parent.contains('.')
        {
            *shared.entry(parent).or_default() += 1;
        }
    }
    let most = shared.values().copied().max().filter(|&most| most > 1)?;
    let (parent, _) = shared.into_iter().find(|&(_, number)| number == most)?;
    HostName::parse(parent).ok()
}

fn networks(home: &Home) -> Vec<(String, BTreeSet<IpNet>)> {
    let mut named: Vec<(String, BTreeSet<IpNet>)> = Vec::new();
    let mut taken = HashSet::from(["anyone".to_owned()]);
    for route in &home.routes {
        if let Admission::Nets { title, nets } = &route.admission
            && !named.iter().any(|(_, known)| known == nets)
        {
            named.push((unique(slug(title, "list"), &mut taken), nets.clone()));
        }
    }
    named
}

/// A server gets a name where more than one route or path leads to it, or where a path needs more than its address.
fn upstreams(home: &Home, mut taken: HashSet<String>) -> Vec<(String, Destination)> {
    taken.extend(["denied", "redirect", "answer"].map(str::to_owned));
    let mut order: Vec<&Destination> = Vec::new();
    let mut uses: HashMap<&Destination, usize> = HashMap::new();
    for route in &home.routes {
        for (to, is_path) in destinations(route) {
            if !uses.contains_key(to) {
                order.push(to);
            }
            let weight = if is_path && to.has_options() { 2 } else { 1 };
            *uses.entry(to).or_default() += weight;
        }
    }
    let shared = order.into_iter().filter(|to| uses.get(to).is_some_and(|&uses| uses > 1));
    let mut ports: HashMap<String, u16> = HashMap::new();
    shared
        .map(|to| {
            let host = host_word(&to.endpoint.host);
            let port = to.endpoint.port;
            // The second server on a machine is told apart by its port.
            let word = match ports.get(&host) {
                Some(&first) if first != port => format!("{host}-{port}"),
                _ => host.clone(),
            };
            ports.entry(host).or_insert(port);
            (unique(word, &mut taken), to.clone())
        })
        .collect()
}

fn destinations(route: &Route) -> impl Iterator<Item = (&Destination, bool)> {
    let in_paths = route.paths.iter().filter_map(|path| match &path.action {
        PathAction::Forward { to, .. } => Some((to, true)),
        PathAction::Redirect { .. } | PathAction::Missing | PathAction::Closed => None,
    });
    route.to.iter().map(|to| (to, false)).chain(in_paths)
}

fn host_word(host: &EndpointHost) -> String {
    match host {
        EndpointHost::Ip(IpAddr::V4(v4)) => format!("host{}", v4.octets()[3]),
        EndpointHost::Ip(IpAddr::V6(v6)) => format!("host{:x}", v6.segments()[7]),
        EndpointHost::Name(name) => slug(name.as_str().split('.').next().unwrap_or_default(), "host"),
    }
}

fn certs(home: &Home) -> Vec<String> {
    let mut taken = HashSet::new();
    home.certs
        .iter()
        .map(|cert| {
            let first = cert.names.first().map(ToString::to_string).unwrap_or_default();
            let base = first.trim_start_matches("*.");
            let otherwise = match cert.source {
                CertSource::Files { .. } => "custom",
                CertSource::Dns { .. } | CertSource::Http { .. } => "cert",
            };
            unique(slug(base.split('.').next().unwrap_or_default(), otherwise), &mut taken)
        })
        .collect()
}

/// The most frequent admission; of several, the narrower.
fn admission(home: &Home) -> Admission {
    let mut uses: Vec<(&Admission, usize)> = Vec::new();
    for route in home.routes.iter().filter(|route| route.admission != Admission::Nobody) {
        match uses.iter_mut().find(|(known, _)| *known == &route.admission) {
            Some((_, number)) => *number += 1,
            None => uses.push((&route.admission, 1)),
        }
    }
    let most = uses.iter().map(|&(_, number)| number).max();
    let mut best = uses.into_iter().filter(|&(_, number)| Some(number) == most).map(|(admission, _)| admission);
    let first = best.next();
    let narrower = first.into_iter().chain(best).find(|admission| **admission != Admission::Anyone);
    narrower.or(first).cloned().unwrap_or(Admission::Anyone)
}

fn unique(word: String, taken: &mut HashSet<String>) -> String {
    let mut name = word.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{word}-{number}");
        number += 1;
    }
    name
}
