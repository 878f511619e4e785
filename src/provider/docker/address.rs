//! Which address of a container is taken, and why: of the networks it is on, in the order of their names, the first that we
//! are on too; else a port that the engine publishes. The same every time, and always with a reason.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::inventory::{Attachment, Container, Inventory, NetworkMode, Published};

/// Whose network a container may use through how many others: more is a circle.
const MOST_STEPS: usize = 8;

/// Where a container is reached, or why it is not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    /// The address, if there is one.
    pub address: Option<SocketAddr>,
    /// Why this one, or why none; follows the address in a sentence.
    pub why: String,
}

/// The port where nothing is said: the only one that is exposed, else 80.
pub fn default_port(container: &Container) -> u16 {
    match container.exposed.as_slice() {
        [only] => *only,
        _ => 80,
    }
}

/// Chooses the address of a running container for a port. `considered` are the only Docker networks that count; empty: all.
pub fn choose(container: &Container, port: u16, considered: &[&str], inventory: &Inventory) -> Reached {
    let mut owner = container;
    let mut through = String::new();
    for _ in 0..MOST_STEPS {
        let NetworkMode::Container(id) = &owner.network_mode else {
            let chosen = of_owner(owner, port, considered, inventory);
            let why = match (&chosen.address, through.is_empty()) {
                (None, false) => format!("it uses the network of {through}: {}", chosen.why),
                (Some(_), false) => format!("{}, the network of {through}", chosen.why),
                (_, true) => chosen.why,
            };
            return Reached { why, address: chosen.address };
        };
        match inventory.find(id) {
            None => {
                let short: String = id.chars().take(12).collect();
                return none(format!("it uses the network of container {short}, which is gone; create it anew"));
            }
            Some(next) if !next.is_running() => {
                return none(format!("it uses the network of {}, which is not running", next.name));
            }
            Some(next) => {
                through = next.name.to_string();
                owner = next;
            }
        }
    }
    none("its network is that of a container whose network is its own".to_owned())
}

fn of_owner(owner: &Container, port: u16, considered: &[&str], inventory: &Inventory) -> Reached {
    if owner.network_mode == NetworkMode::Host || owner.networks.iter().any(|at| &*at.network == "host") {
        return on_the_host(port, inventory);
    }
    if let Some(reached) = published(owner, port, inventory).filter(|_| inventory.prefers_lasting) {
        return reached;
    }
    let is_considered = |at: &&Attachment| considered.is_empty() || considered.contains(&&*at.network);
    let candidates: Vec<&Attachment> =
        owner.networks.iter().filter(|at| &*at.network != "ingress").filter(is_considered).collect();
    for at in &candidates {
        if let Some(address) = direct(at, inventory) {
            let others: Vec<&str> =
                candidates.iter().map(|other| &*other.network).filter(|n| *n != &*at.network).collect();
            let why = match others.as_slice() {
                [] => format!("on {}", at.network),
                others => {
                    format!("on {}, the first by name that we are on too (also on {})", at.network, others.join(", "))
                }
            };
            return Reached { address: Some(SocketAddr::new(address, port)), why };
        }
    }
    if let Some(reached) = published(owner, port, inventory) {
        return reached;
    }
    none(unreachable(owner, port, considered, inventory))
}

/// A container on the host's network listens on the host's own addresses.
fn on_the_host(port: u16, inventory: &Inventory) -> Reached {
    match host_address(inventory) {
        Some(host) => {
            Reached { address: Some(SocketAddr::new(host, port)), why: "on the host's own network".to_owned() }
        }
        None => none("it is on the host's network, and no network of ours leads to the host".to_owned()),
    }
}

/// How the engine's host is reached from here.
fn host_address(inventory: &Inventory) -> Option<IpAddr> {
    let Some(ours) = inventory.ourselves() else {
        return Some(inventory.remote.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    };
    if ours.network_mode == NetworkMode::Host {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let open = ours.networks.iter().filter_map(|at| inventory.network(at)).filter(|network| !network.is_internal);
    open.flat_map(|network| &network.gateways).next().copied()
}

/// The address on a network that we are on too; IPv4 before IPv6.
fn direct(at: &Attachment, inventory: &Inventory) -> Option<IpAddr> {
    let driver = inventory.network(at).map_or("", |network| &network.driver);
    let is_reached = |address: &IpAddr| {
        let ours = &inventory.surroundings;
        if ours.is_assumed {
            return !has_no_way_from_the_host(driver);
        }
        if inventory.ourselves().is_some_and(|us| us.networks.iter().any(|our| our.network == at.network)) {
            return true;
        }
        // An engine elsewhere may use the very blocks that ours uses.
        inventory.remote.is_none() && !has_no_way_from_the_host(driver) && ours.interface_to(*address).is_some()
    };
    let addresses = [at.v4.map(IpAddr::V4), at.v6.map(IpAddr::V6)];
    addresses.into_iter().flatten().find(is_reached)
}

/// A host cannot speak to the children of its own interface.
fn has_no_way_from_the_host(driver: &str) -> bool {
    matches!(driver, "macvlan" | "ipvlan")
}

/// A port that the engine publishes on its host.
fn published(owner: &Container, port: u16, inventory: &Inventory) -> Option<Reached> {
    let host = host_address(inventory)?;
    let reachable = |published: &&Published| {
        let is_everywhere = published.address.is_unspecified();
        published.inside == port && (is_everywhere || host.is_loopback() || !published.address.is_loopback())
    };
    let found = owner.published.iter().find(reachable)?;
    let address = match found.address {
        everywhere if everywhere.is_unspecified() => host,
        address => address,
    };
    let address = SocketAddr::new(address, found.outside);
    Some(Reached { address: Some(address), why: format!("its port {port} as published, for we share no network") })
}

/// Why there is no way, and what would be one.
fn unreachable(owner: &Container, port: u16, considered: &[&str], inventory: &Inventory) -> String {
    let on: Vec<&str> = owner.networks.iter().map(|at| &*at.network).collect();
    if on.is_empty() {
        return format!("it is on no network; connect it to one, or publish its port {port}");
    }
    let on = on.join(", ");
    if !considered.is_empty() && !owner.networks.iter().any(|at| considered.contains(&&*at.network)) {
        return format!("it is on {on}, and `networks` of [docker] has {}", considered.join(", "));
    }
    let is_macvlan = |at: &Attachment| inventory.network(at).is_some_and(|net| has_no_way_from_the_host(&net.driver));
    if owner.networks.iter().all(is_macvlan) {
        return format!("it is on {on}, a network that its own host cannot reach; route it from another machine");
    }
    let ours = match inventory.ourselves() {
        Some(us) => format!("we are on {}", us.networks.iter().map(|at| &*at.network).collect::<Vec<_>>().join(", ")),
        None if inventory.remote.is_some() => "the engine is on another machine".to_owned(),
        None => "no interface of ours is on it".to_owned(),
    };
    format!("not on a shared network: it is on {on}, {ours}; publish its port {port}, or share a network")
}

fn none(why: String) -> Reached {
    Reached { address: None, why }
}

#[cfg(test)]
mod tests;
