//! Who may enter: named networks, and lists of them as served.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::Client;

/// The `[networks]` of a file, by name.
#[derive(Clone, Debug, Default)]
pub struct NetworkSet {
    named: Vec<(Arc<str>, Vec<IpNet>)>,
}

impl NetworkSet {
    /// A set of named networks; the names are unique (the file's keys).
    pub fn new(named: Vec<(Arc<str>, Vec<IpNet>)>) -> NetworkSet {
        NetworkSet { named }
    }

    /// The blocks of one network.
    pub fn find(&self, name: &str) -> Option<&[IpNet]> {
        self.named.iter().find(|(known, _)| &**known == name).map(|(_, nets)| nets.as_slice())
    }

    /// Whether any named network holds this client: the home, as against the open internet.
    pub fn knows(&self, client: Client) -> bool {
        self.names_of(client).next().is_some()
    }

    /// The names of all networks that hold this client.
    pub fn names_of(&self, client: Client) -> impl Iterator<Item = &str> {
        self.named
            .iter()
            .filter(move |(_, nets)| client.address().is_some_and(|a| nets.iter().any(|n| n.contains(&a))))
            .map(|(name, _)| &**name)
    }

    /// Every network with its blocks, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[IpNet])> {
        self.named.iter().map(|(name, nets)| (&**name, nets.as_slice()))
    }
}

/// One `allow` (or `peers`) as served: a client is admitted if any block holds it. Empty admits nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    anyone: bool,
    nets: Vec<IpNet>,
}

impl AccessList {
    /// Nobody enters.
    pub fn nobody() -> AccessList {
        AccessList::default()
    }

    /// Everybody enters, a client without an address too.
    pub fn anyone() -> AccessList {
        AccessList { anyone: true, nets: Vec::new() }
    }

    /// Clients in these blocks enter, and everybody if `anyone`. Blocks inside one another are merged.
    pub fn of(anyone: bool, nets: Vec<IpNet>) -> AccessList {
        AccessList { anyone, nets: IpNet::aggregate(&nets) }
    }

    /// Whether this client may enter.
    pub fn admits(&self, client: Client) -> bool {
        self.anyone || client.address().is_some_and(|a| self.contains(a))
    }

    /// Whether this address is named by a block (`anyone` names no address).
    pub fn contains(&self, address: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(&address))
    }

    /// Whether everybody enters.
    pub fn is_anyone(&self) -> bool {
        self.anyone
    }

    /// The blocks.
    pub fn nets(&self) -> &[IpNet] {
        &self.nets
    }
}
