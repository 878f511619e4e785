//! What is known of the engine's containers: facts only, without the secrets that containers carry in their environment.
//! Decides nothing; who is routed, and where, is `translate`'s to say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::surroundings::Surroundings;

/// Everything that routes of containers are made of, as it was at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// Oldest first; containers of one moment by name. Those that were removed lately are among them.
    pub containers: Vec<Arc<Container>>,
    /// The engine's networks; empty where it may not be asked for them.
    pub networks: Vec<Network>,
    /// Where we stand beside them.
    pub surroundings: Surroundings,
    /// The address of an engine on another machine (`tcp://host:port`); `None`: it is on this one.
    pub remote: Option<IpAddr>,
    /// Whether an address that outlasts its container (a published port) counts before one that does not: for whoever
    /// writes it down, instead of following.
    pub prefers_lasting: bool,
}

/// One container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Container {
    /// The engine's id, 64 hex digits.
    pub id: Box<str>,
    /// Its name, without the leading slash and without the prefix that Compose puts before the name of one it replaces.
    pub name: Arc<str>,
    /// When it was made, as the engine writes it: sorts by time.
    pub created: Box<str>,
    /// What it is doing.
    pub state: State,
    /// Since when, in seconds since 1970; `None` where the engine does not say.
    pub since: Option<i64>,
    /// Settings from its environment and labels: only the words that some vocabulary knows. A label does not replace a
    /// variable of the same name.
    pub settings: BTreeMap<String, String>,
    /// `HostConfig.NetworkMode`.
    pub network_mode: NetworkMode,
    /// The networks it is on, sorted by name.
    pub networks: Vec<Attachment>,
    /// TCP ports that it exposes, sorted.
    pub exposed: Vec<u16>,
    /// TCP ports that the engine publishes on its host, sorted.
    pub published: Vec<Published>,
    /// What was noticed when it was read, and somebody should know.
    pub remarks: Vec<String>,
    /// What keeps us from knowing it as it is.
    pub trouble: Option<Trouble>,
}

/// What keeps us from knowing a container as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The engine could not tell of it when it was asked last, for this reason: everything is as it was before.
    Stale(Box<str>),
    /// What it says cannot be used at all: it gets no route.
    Unusable(Box<str>),
}

/// What a container is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// It runs; `health` is what its HEALTHCHECK says.
    Running(Health),
    /// Frozen: connections to it would hang.
    Paused,
    /// Not running, or between two runs; the word is the engine's (`exited`, `created`, `restarting`, `dead`, …).
    Stopped(Box<str>),
    /// Removed; remembered for a while, so that its names are not unknown from one second to the next.
    Removed,
}

/// What a HEALTHCHECK says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// There is no HEALTHCHECK.
    Unchecked,
    /// Not known yet.
    Starting,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

/// Whose network a container uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetworkMode {
    /// Its own: the networks it is on.
    Own,
    /// The host's.
    Host,
    /// Another container's, by id or name.
    Container(Box<str>),
    /// None at all.
    Nothing,
}

/// One network of a container, with its addresses there. A container that does not run has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// The network's name.
    pub network: Arc<str>,
    /// The network's id; empty where the engine does not say.
    pub id: Box<str>,
    /// IPv4.
    pub v4: Option<Ipv4Addr>,
    /// IPv6, global.
    pub v6: Option<Ipv6Addr>,
    /// Whether somebody chose the address (`ipv4_address` of Compose): then it stays.
    pub is_fixed: bool,
}

/// One port that the engine publishes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Published {
    /// In the container.
    pub inside: u16,
    /// On the host; unspecified means every address.
    pub address: IpAddr,
    /// On the host.
    pub outside: u16,
}

/// One network of the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Box<str>,
    /// `bridge`, `macvlan`, `host`, …
    pub driver: Box<str>,
    /// Whether it is cut off from the outside.
    pub is_internal: bool,
    /// The host's addresses on it.
    pub gateways: Vec<IpAddr>,
}

impl Container {
    /// One of which nothing is known but that it is there.
    pub fn untold(id: &str, name: &str, why: &str) -> Container {
        Container {
            id: id.into(),
            name: name.into(),
            created: "".into(),
            state: State::Stopped("unknown".into()),
            since: None,
            settings: BTreeMap::new(),
            network_mode: NetworkMode::Nothing,
            networks: Vec::new(),
            exposed: Vec::new(),
            published: Vec::new(),
            remarks: Vec::new(),
            trouble: Some(Trouble::Unusable(format!("the engine does not tell of it: {why}").into())),
        }
    }

    /// The value of a setting, trimmed; empty is as good as absent.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether it runs, healthy or not.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }
}

impl Inventory {
    /// A container by id, the beginning of an id, or name.
    pub fn find(&self, id_or_name: &str) -> Option<&Arc<Container>> {
        let exists = |container: &&Arc<Container>| container.state != State::Removed;
        let mut by_id = self.containers.iter().filter(exists).filter(|c| c.id.starts_with(id_or_name));
        by_id.next().or_else(|| self.containers.iter().filter(exists).find(|c| &*c.name == id_or_name))
    }

    /// The container that we run in, if it is one of these: the one that has one of our own addresses.
    pub fn ourselves(&self) -> Option<&Arc<Container>> {
        let ours = |address: IpAddr| !address.is_loopback() && self.surroundings.addresses.contains(&address);
        self.containers.iter().filter(|container| container.is_running()).find(|container| {
            container
                .networks
                .iter()
                .any(|at| at.v4.is_some_and(|v4| ours(IpAddr::V4(v4))) || at.v6.is_some_and(|v6| ours(IpAddr::V6(v6))))
        })
    }

    /// What is known of a network.
    pub fn network(&self, attachment: &Attachment) -> Option<&Network> {
        self.networks.iter().find(|network| network.id == attachment.id || network.name == attachment.network)
    }

    /// Whether an address is one that the engine gave a container from a pool, and may give another tomorrow.
    pub fn is_given_out(&self, address: IpAddr) -> bool {
        let of = |at: &Attachment| at.v4.map(IpAddr::V4) == Some(address) || at.v6.map(IpAddr::V6) == Some(address);
        self.containers.iter().flat_map(|one| &one.networks).any(|at| of(at) && !at.is_fixed)
    }

    /// Puts the containers in their order: oldest first.
    pub fn sort(&mut self) {
        self.containers.sort_by(|a, b| (moment(a), &a.name, &a.id).cmp(&(moment(b), &b.name, &b.id)));
    }
}

/// The engine cuts zeros at the end of the fraction: without its `Z` the text sorts by time.
fn moment(container: &Container) -> &str {
    container.created.trim_end_matches('Z')
}
