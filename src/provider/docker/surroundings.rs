//! Where Doorward itself stands: the networks its own interfaces are on, as the kernel tells them in `/proc/net`. Whether a
//! container can be reached follows from that, on the host as well as in a container of our own.
//! Sends nothing anywhere to find out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Our own networks and addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    /// Blocks that an interface of ours is on directly, with the interface.
    pub on_link: Vec<(Arc<str>, IpNet)>,
    /// Our own addresses, loopback apart.
    pub addresses: Vec<IpAddr>,
    /// Nothing is known of where we stand (an answer read from a file): every bridge counts as reachable, as it is from
    /// the engine's host.
    pub is_assumed: bool,
}

impl Surroundings {
    /// As they are now. What cannot be read is empty.
    pub fn here() -> Surroundings {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
        Surroundings::of(&read("route"), &read("fib_trie"), &read("if_inet6"))
    }

    /// The engine's own host, of which nothing more is known.
    pub fn assumed() -> Surroundings {
        Surroundings { is_assumed: true, ..Surroundings::default() }
    }

    /// Reads what `/proc/net/{route, fib_trie, if_inet6}` say.
    fn of(route: &str, fib_trie: &str, if_inet6: &str) -> Surroundings {
        let mut on_link: Vec<(Arc<str>, IpNet)> = route.lines().filter_map(route_on_link).collect();
        let mut addresses: Vec<IpAddr> = local_v4(fib_trie).map(IpAddr::V4).collect();
        for (interface, net) in if_inet6.lines().filter_map(address_v6) {
            addresses.push(IpAddr::V6(net.addr()));
            on_link.push((interface, IpNet::V6(net.trunc())));
        }
        on_link.sort();
        on_link.dedup();
        addresses.sort();
        addresses.dedup();
        Surroundings { on_link, addresses, is_assumed: false }
    }

    /// The interface that reaches an address directly.
    pub fn interface_to(&self, address: IpAddr) -> Option<&str> {
        self.on_link.iter().find(|(_, net)| net.contains(&address)).map(|(interface, _)| &**interface)
    }
}

/// A line of `/proc/net/route` without a gateway: `iface destination gateway flags … mask`, little-endian hex.
fn route_on_link(line: &str) -> Option<(Arc<str>, IpNet)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, destination, gateway, _, _, _, _, mask, ..] = words.as_slice() else { return None };
    let read = |text: &str| Some(Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?.swap_bytes()));
    let (destination, gateway, mask) = (read(destination)?, read(gateway)?, read(mask)?);
    if !gateway.is_unspecified() || mask.is_unspecified() {
        return None;
    }
    let net = Ipv4Net::with_netmask(destination, mask).ok()?;
    Some((Arc::from(*interface), IpNet::V4(net)))
}

/// In `/proc/net/fib_trie` an own address is a leaf (`|-- 172.18.0.1`) followed by `/32 host LOCAL`.
fn local_v4(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let mut leaf = None;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
            return None;
        }
        leaf.filter(|address| line == "/32 host LOCAL" && !address.is_loopback())
    })
}

/// A line of `/proc/net/if_inet6`: address, interface index, prefix length, scope, flags, name. Link-local addresses tell
/// nothing: every interface has one.
fn address_v6(line: &str) -> Option<(Arc<str>, Ipv6Net)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [address, _, prefix, _, _, interface] = words.as_slice() else { return None };
    let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
    let net = Ipv6Net::new(address, u8::from_str_radix(prefix, 16).ok()?).ok()?;
    let tells = !address.is_loopback() && !address.is_unicast_link_local();
    tells.then(|| (Arc::from(*interface), net))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
         eth0\t00000000\t0108A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
         docker0\t0000CB0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
         br-50ec4817dacf\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
    const FIB_TRIE: &str = "Main:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 10.203.0.0\n        /24 link UNICAST\n     \
                            |-- 10.203.0.1\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
    const IF_INET6: &str = "00000000000000000000000000000001 01 80 10 80       lo\n\
                            fe800000000000000042e0fffe887ecf 04 40 20 80 br-50ec4817dacf\n\
                            fd000000000000000000000000000001 04 40 00 80 br-50ec4817dacf\n";

    #[test]
    fn the_kernel_tells_which_networks_are_ours() {
        let here = Surroundings::of(ROUTE, FIB_TRIE, IF_INET6);
        assert_eq!(here.interface_to("10.203.0.7".parse().unwrap()), Some("docker0"));
        assert_eq!(here.interface_to("172.18.0.9".parse().unwrap()), Some("br-50ec4817dacf"));
        assert_eq!(here.interface_to("fd00::9".parse().unwrap()), Some("br-50ec4817dacf"));
        // Through a gateway, or on a link that every interface has: not reached directly.
        assert_eq!(here.interface_to("192.168.9.9".parse().unwrap()), None);
        assert_eq!(here.interface_to("fe80::1".parse().unwrap()), None);
        let ours: Vec<IpAddr> = ["10.203.0.1", "fd00::1"].map(|a| a.parse().unwrap()).into();
        assert_eq!(here.addresses, ours);
    }

    #[test]
    fn what_is_no_table_of_the_kernel_tells_nothing() {
        let nothing = Surroundings::of("eth0\tzz\n\u{0}", "|-- x\n/32 host LOCAL\n", "12 34");
        assert_eq!(nothing, Surroundings::default());
    }
}
