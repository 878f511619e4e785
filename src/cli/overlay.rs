//! What the demo changes in every accepted file before it is compiled: doors to loopback, upstreams to the origin,
//! nothing that leaves this machine. It changes the file as written, never what is served, so that all the rest of the
//! program is the very same as in `doorward run`.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::{IpNet, Ipv4Net};

use super::origin::Origin;
use crate::config::{
    AccessFormat, ActionSpec, AllowEntry, AllowSpec, Config, Located, NetworkSpec, Span, TargetSpec, ToSpec, VerifySpec,
};
use crate::model::{Endpoint, EndpointHost, Scheme};

/// The network that loopback is counted into.
const LAN: &str = "lan";

/// Which port of loopback a door gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ports {
    /// For port 443.
    pub(super) https: u16,
    /// For port 80.
    pub(super) http: u16,
    /// For the door with public names, or else for port 8080.
    pub(super) tunnel: u16,
    /// For `[metrics]`.
    pub(super) metrics: u16,
    /// Where the search begins for all others.
    others: u16,
}

impl Ports {
    /// 8443, 8080, 8081 and 9180; with a base B: B, B+1, B+2 and B+3.
    pub(super) fn from_base(base: Option<u16>) -> Ports {
        match base {
            None => Ports { https: 8443, http: 8080, tunnel: 8081, metrics: 9180, others: 8444 },
            Some(b) => Ports { https: b, http: b + 1, tunnel: b + 2, metrics: b + 3, others: b + 4 },
        }
    }
}

/// The demo's changes, with what has to stay the same from one edit to the next.
pub(super) struct Stage {
    ports: Ports,
    origin: Origin,
    /// Print access records as text although the file says JSON: a person is watching.
    readable_log: bool,
    /// Ports found for addresses that have none of their own, so that an edit does not move a door.
    found: Mutex<HashMap<SocketAddr, u16>>,
    /// The newest file, as changed.
    latest: Mutex<Option<Config>>,
}

impl Stage {
    pub(super) fn new(ports: Ports, origin: Origin, readable_log: bool) -> Stage {
        Stage { ports, origin, readable_log, found: Mutex::default(), latest: Mutex::default() }
    }

    /// The newest file that was changed here; none before the first.
    pub(super) fn latest(&self) -> Option<Config> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes a file fit for loopback.
    pub(super) fn change(&self, config: &mut Config) {
        self.move_doors(config);
        admit_loopback(config);
        self.replace_upstreams(config);
        config.certs.clear();
        config.docker = None;
        config.mail = None;
        if self.readable_log && config.log.access == AccessFormat::Json {
            config.log.access = AccessFormat::Text;
        }
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(config.clone());
    }

    fn move_doors(&self, config: &mut Config) {
        let mut taken = HashSet::new();
        // Metrics first: a door that happens to want its port has others to go to.
        if let Some(metrics) = &mut config.metrics {
            self.move_to(&mut metrics.listen, Some(self.ports.metrics), &mut taken);
        }
        let mut others = Vec::new();
        for door in &mut config.doors {
            let public = door.public_names;
            for address in &mut door.https {
                let wish = (address.value.port() == 443).then_some(self.ports.https);
                others.extend(self.wished(address, wish, &mut taken));
            }
            for address in &mut door.http {
                let wish = match address.value.port() {
                    _ if public => Some(self.ports.tunnel),
                    80 => Some(self.ports.http),
                    8080 => Some(self.ports.tunnel),
                    _ => None,
                };
                others.extend(self.wished(address, wish, &mut taken));
            }
        }
        // Those without a wish come last, so that they never take what another door was promised.
        for address in others {
            self.move_to(address, None, &mut taken);
        }
    }

    /// Moves an address to the port that it wishes; gives it back if there is none, or another was first.
    fn wished<'a>(
        &self,
        address: &'a mut Located<SocketAddr>,
        wish: Option<u16>,
        taken: &mut HashSet<u16>,
    ) -> Option<&'a mut Located<SocketAddr>> {
        if wish.is_none_or(|port| taken.contains(&port)) {
            return Some(address);
        }
        self.move_to(address, wish, taken);
        None
    }

    fn move_to(&self, address: &mut Located<SocketAddr>, wish: Option<u16>, taken: &mut HashSet<u16>) {
        let port = wish.unwrap_or_else(|| self.free_port(address.value, taken));
        taken.insert(port);
        address.value = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    }

    fn free_port(&self, written: SocketAddr, taken: &HashSet<u16>) -> u16 {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = found.get(&written).filter(|port| !taken.contains(port)) {
            return *port;
        }
        let ports = self.ports;
        let promised = [ports.https, ports.http, ports.tunnel, ports.metrics];
        let is_free = |port: &u16| {
            !taken.contains(port)
                && !promised.contains(port)
                && !found.values().any(|other| other == port)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
        };
        let port = (ports.others..=u16::MAX).find(is_free).unwrap_or(ports.others);
        found.insert(written, port);
        port
    }

    fn replace_upstreams(&self, config: &mut Config) {
        for upstream in &mut config.upstreams {
            self.replace(&mut upstream.target);
        }
        for route in &mut config.routes {
            if let Some(ToSpec::Address(target)) = &mut route.to {
                self.replace(target);
            }
            for path in &mut route.paths {
                if let ActionSpec::Forward { to: Some(ToSpec::Address(target)), .. } = &mut path.action {
                    self.replace(target);
                }
            }
        }
    }

    fn replace(&self, target: &mut TargetSpec) {
        let written = target.to.value.to_string();
        // Without a stand-in the request must still not leave this machine; port 1 of loopback refuses.
        let place = self.origin.stand_in_for(&written).unwrap_or_else(|cause| {
            tracing::warn!(upstream = written, %cause, "no stand-in for an upstream");
            SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
        });
        target.to.value = Endpoint { scheme: Scheme::Http, host: EndpointHost::Ip(place.ip()), port: place.port() };
        target.tls_name = None;
        target.verify = VerifySpec::System;
        target.http2 = false;
        target.proxy_protocol = None;
    }
}

/// Counts loopback into `lan`. A file without that network gets it, and an `allow` that names it; lists that would shut
/// out everybody on this machine (whose connections are accepted at all, who may read the metrics) are widened by it.
fn admit_loopback(config: &mut Config) {
    // The whole block of IPv4: every 127.x.y.z is this machine.
    let loopback =
        [IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)), IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST))];
    match config.networks.iter_mut().find(|network| &*network.name.value == LAN) {
        Some(lan) => lan.nets.extend(loopback),
        None => {
            config.networks.push(NetworkSpec { name: nowhere(Arc::from(LAN)), nets: loopback.to_vec() });
            let allow =
                config.allow.get_or_insert_with(|| AllowSpec { entries: Vec::new(), line: 0, span: Span::default() });
            admit_lan(allow);
        }
    }
    for door in &mut config.doors {
        door.peers.iter_mut().for_each(admit_lan);
    }
    if let Some(allow) = config.metrics.as_mut().and_then(|metrics| metrics.allow.as_mut()) {
        admit_lan(allow);
    }
}

fn admit_lan(allow: &mut AllowSpec) {
    let entry = AllowEntry::Network(Arc::from(LAN));
    if !allow.entries.iter().any(|known| known.value == entry || known.value == AllowEntry::Anyone) {
        allow.entries.push(nowhere(entry));
    }
}

/// A value that stands nowhere in the file.
fn nowhere<T>(value: T) -> Located<T> {
    Located { value, span: Span::default(), line: 0 }
}

#[cfg(test)]
mod tests;
