//! Addresses that no rule tells apart: a statement about a network is proven by asking once for each class. Exact, because
//! rules compare addresses with blocks only. Knows no rules itself: it is given their blocks.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses from `first` to `last`, both counted in; of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressRange {
    /// The lowest.
    pub first: IpAddr,
    /// The highest.
    pub last: IpAddr,
}

/// All addresses that are in the same blocks; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressClass {
    /// Where they are, ascending; IPv4 first.
    pub ranges: Vec<AddressRange>,
}

/// The classes into which `blocks` divide the addresses of `within` (`None`: all there are).
pub fn address_classes(within: Option<&[IpNet]>, blocks: &[IpNet]) -> Vec<AddressClass> {
    let whole = match within {
        None => vec![
            range(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST)),
            range(IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::from(u128::MAX))),
        ],
        Some(nets) => {
            let mut merged = IpNet::aggregate(&nets.to_vec());
            merged.sort();
            merged.iter().map(|net| range(net.network(), net.broadcast())).collect()
        }
    };
    let mut classes: Vec<AddressClass> = Vec::new();
    let mut known: HashMap<Vec<bool>, usize> = HashMap::new();
    for piece in whole.iter().flat_map(|whole| cut(*whole, blocks)) {
        let signature: Vec<bool> = blocks.iter().map(|block| block.contains(&piece.first)).collect();
        match known.get(&signature) {
            // Both families may be in no block at all, but a rule that speaks of one says nothing of the other: what differs
            // in family is shown apart.
            Some(&at) if is_v4(classes[at].ranges[0].first) == is_v4(piece.first) => classes[at].ranges.push(piece),
            _ => {
                known.insert(signature, classes.len());
                classes.push(AddressClass { ranges: vec![piece] });
            }
        }
    }
    classes
}

impl AddressClass {
    /// One of them: one reserved for documentation (RFC 5737, RFC 3849) if there is one, else an early one that a machine
    /// could have.
    pub fn sample(&self) -> IpAddr {
        let documented = [
            IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)),
            IpAddr::V4(Ipv4Addr::new(198, 51, 100, 77)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77)),
        ];
        let inside = documented.into_iter().find(|&address| self.ranges.iter().any(|range| range.contains(address)));
        inside.unwrap_or_else(|| {
            let AddressRange { first, last } = self.ranges[0];
            // The first of a block is the name of the network rather than a machine.
            if number(last) - number(first) > 1 { address(is_v4(first), number(first) + 1) } else { first }
        })
    }
}

impl AddressRange {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        is_v4(address) == is_v4(self.first) && self.first <= address && address <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// A range in pieces that no block divides further.
fn cut(whole: AddressRange, blocks: &[IpNet]) -> Vec<AddressRange> {
    let v4 = is_v4(whole.first);
    let (low, high) = (number(whole.first), number(whole.last));
    let mut starts: Vec<u128> = blocks
        .iter()
        .filter(|block| is_v4(block.network()) == v4)
        .flat_map(|block| [Some(number(block.network())), number(block.broadcast()).checked_add(1)])
        .flatten()
        .filter(|&start| start > low && start <= high)
        .collect();
    starts.push(low);
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().skip(1).map(|start| start - 1).chain([high]);
    starts.iter().zip(ends).map(|(&start, end)| range(address(v4, start), address(v4, end))).collect()
}

fn range(first: IpAddr, last: IpAddr) -> AddressRange {
    AddressRange { first, last }
}

fn is_v4(address: IpAddr) -> bool {
    address.is_ipv4()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address(v4: bool, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if v4 => IpAddr::V4(Ipv4Addr::from(number)),
        _ => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(classes: &[AddressClass]) -> Vec<String> {
        let ranges = |class: &AddressClass| class.ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        classes.iter().map(ranges).collect()
    }

    #[test]
    fn a_network_is_split_where_another_block_begins_and_ends() {
        let classes = address_classes(Some(&nets(&["192.168.9.0/24"])), &nets(&["192.168.9.64/26", "10.0.0.0/8"]));
        assert_eq!(
            shown(&classes),
            ["192.168.9.0-192.168.9.63 192.168.9.128-192.168.9.255", "192.168.9.64-192.168.9.127"]
        );
        assert_eq!(classes[0].sample().to_string(), "192.168.9.1");
    }

    #[test]
    fn a_single_address_is_a_class_of_its_own() {
        let classes = address_classes(Some(&nets(&["192.168.8.0/24"])), &nets(&["192.168.8.85/32", "fd00::/8"]));
        assert_eq!(shown(&classes)[1], "192.168.8.85");
    }

    #[test]
    fn without_bounds_everything_is_two_classes_one_for_each_family() {
        let classes = address_classes(None, &[]);
        assert_eq!(classes.len(), 2);
        assert_eq!(classes[0].sample().to_string(), "203.0.113.77");
        assert_eq!(classes[1].sample().to_string(), "2001:db8::77");
    }

    proptest! {
        #[test]
        fn every_address_is_in_exactly_one_class_and_its_sample_is_in_the_same_blocks(
            blocks in proptest::collection::vec((any::<u32>(), 0u8..=32), 0..8),
            asked in any::<u32>(),
        ) {
            let blocks: Vec<IpNet> = blocks
                .into_iter()
                .map(|(address, length)| ipnet::Ipv4Net::new(address.into(), length).unwrap().trunc().into())
                .collect();
            let asked = IpAddr::V4(asked.into());
            let classes = address_classes(None, &blocks);
            let holding: Vec<&AddressClass> =
                classes.iter().filter(|class| class.ranges.iter().any(|range| range.contains(asked))).collect();
            prop_assert_eq!(holding.len(), 1);
            for block in &blocks {
                prop_assert_eq!(block.contains(&asked), block.contains(&holding[0].sample()));
            }
        }
    }
}
