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

    /// Whom this client is counted with: everybody in its /64 under IPv6, where a household has a whole block and a guest
    /// could choose another address for each request; nobody else under IPv4. All the unknown are counted as one.
    pub fn counted_with(self) -> Client {
        match self {
            Client::Known(IpAddr::V6(v6)) => {
                Client::Known(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))))
            }
            other => other,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_counted_as_one_under_ipv6_and_an_address_alone_under_ipv4() {
        let counted = |text: &str| text.parse().ok().map(|address| Client::at(address).counted_with());
        assert_eq!(counted("2001:db8:1:2::7"), counted("2001:db8:1:2:ffff::1"));
        assert_ne!(counted("2001:db8:1:2::7"), counted("2001:db8:1:3::7"));
        assert_ne!(counted("203.0.113.7"), counted("203.0.113.8"));
        assert_eq!(counted("::ffff:203.0.113.7"), counted("203.0.113.7"));
        assert_eq!(Client::Unknown.counted_with(), Client::Unknown);
    }
}
