//! Which of an upstream's members a request goes to. One that fails is passed over until it works again, unless nothing
//! else is left. Pure but for the counter of turns; connects to nothing.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora_ketama::{Bucket, Continuum, DEFAULT_POINT_MULTIPLE};

use super::target::Target;
use crate::config::Balance;
use crate::model::{Client, Endpoint, EndpointHost};

/// How one upstream divides its requests.
#[derive(Debug)]
pub(super) enum Choice {
    /// Round robin: whose turn it is. All cores take from one counter.
    Turns(AtomicUsize),
    /// Fewest requests in flight; among equals, whose turn it is.
    Least(AtomicUsize),
    /// Consistent hash of the client; for one that is not known, whose turn it is.
    Sticky(Ring, AtomicUsize),
}

impl Choice {
    pub(super) fn new(balance: Balance, endpoints: &[Endpoint]) -> Choice {
        match balance {
            Balance::RoundRobin => Choice::Turns(AtomicUsize::new(0)),
            Balance::LeastRequests => Choice::Least(AtomicUsize::new(0)),
            Balance::Sticky => Choice::Sticky(Ring::new(endpoints), AtomicUsize::new(0)),
        }
    }
}

impl Target {
    /// The lane (by its number) that a request goes to: one that works and was not tried by this request, else one that was
    /// not tried. `None` when all were.
    pub fn choose(&self, client: Client, tried: &[usize]) -> Option<usize> {
        match self.lanes.len() {
            0 => None,
            1 => tried.is_empty().then_some(0),
            _ => {
                let is_fresh = |at: usize| !tried.contains(&at);
                let works = |at: usize| is_fresh(at) && !self.lanes[at].is_aside();
                self.choose_among(client, works).or_else(|| self.choose_among(client, is_fresh))
            }
        }
    }

    /// Whether some lane works that was not tried.
    pub fn has_another(&self, tried: &[usize]) -> bool {
        (0..self.lanes.len()).any(|at| !tried.contains(&at) && !self.lanes[at].is_aside())
    }

    fn choose_among(&self, client: Client, may_serve: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.lanes.len();
        let able = (0..count).filter(|&at| may_serve(at)).count();
        if able == 0 {
            return None;
        }
        // Turns go round among those that may serve, so that nobody takes over all of a neighbour that fails.
        let in_turn = |turns: &AtomicUsize| {
            let first = turns.fetch_add(1, Ordering::Relaxed) % able;
            (0..count).filter(|&at| may_serve(at)).cycle().skip(first).take(able)
        };
        match &self.upstream.choice {
            Choice::Turns(turns) => in_turn(turns).next(),
            Choice::Least(turns) => in_turn(turns).min_by_key(|&at| self.lanes[at].member.metrics.in_flight()),
            Choice::Sticky(ring, turns) => match client.address() {
                Some(address) => ring.first(address, may_serve),
                None => in_turn(turns).next(),
            },
        }
    }
}

/// nginx's consistent hash over the members: when one comes or goes, only its share of the clients moves.
pub(super) struct Ring {
    continuum: Continuum,
    /// What stands for each member on the ring.
    places: Box<[SocketAddr]>,
}

impl Ring {
    fn new(endpoints: &[Endpoint]) -> Ring {
        let places: Box<[SocketAddr]> = endpoints.iter().map(place_of).collect();
        let buckets: Vec<Bucket> = places.iter().map(|&place| Bucket::new(place, 1)).collect();
        Ring { continuum: Continuum::new(&buckets), places }
    }

    /// The first member, going round from the client's place, that may serve it.
    fn first(&self, client: IpAddr, may_serve: impl Fn(usize) -> bool) -> Option<usize> {
        let points = self.places.len() * DEFAULT_POINT_MULTIPLE as usize;
        let round = self.continuum.node_iter(client_key(client).to_string().as_bytes()).take(points);
        let mut members = round.filter_map(|place| self.places.iter().position(|known| known == place));
        members.find(|&at| may_serve(at))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("places", &self.places).finish_non_exhaustive()
    }
}

/// An address is its own place; a name, which may resolve to anything, gets one from its letters: the same in every process.
fn place_of(endpoint: &Endpoint) -> SocketAddr {
    let address = match &endpoint.host {
        EndpointHost::Ip(address) => *address,
        EndpointHost::Name(name) => {
            // FNV-1a, 128 bits.
            let letters = name.as_str().bytes();
            let hash = letters.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, letter| {
                (hash ^ u128::from(letter)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
            });
            IpAddr::V6(Ipv6Addr::from_bits(hash))
        }
    };
    SocketAddr::new(address, endpoint.port)
}

/// What of a client's address counts: all of IPv4; of IPv6 the network, since devices change the rest every day.
fn client_key(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests;
