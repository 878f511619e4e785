//! Who asks, as far as the door believes it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The client of one request after the door's `trust` was applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// An address: the TCP peer, or what a trusted peer said.
    Known(IpAddr),
    /// A trusted peer that named nobody, or not exactly one: in no network but `anyone`.
    Unknown,
}

impl Client {
    /// The client for an address. IPv4 inside IPv6 (`::ffff:a.b.c.d`, what a dual-stack socket reports)
    /// is the IPv4 address: rules are written for that.
    pub fn at(address: IpAddr) -> Client {
        Client::Known(canonical(address))
    }

    /// The address, if one is believed.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Client::Known(address) => Some(address),
            Client::Unknown => None,
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Known(address) => address.fmt(f),
            Client::Unknown => f.write_str("unknown"),
        }
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => embedded_v4(v6),
        v4 => v4,
    }
}

fn embedded_v4(v6: Ipv6Addr) -> IpAddr {
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}
