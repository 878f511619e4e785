//! Loopback addresses: one of its own for every part of every test, and three fixed ones to come from.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// A client at home: in the network `home` of the standard file, which its `allow` names.
pub const HOME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);
/// A client in the network `guest` of the standard file, which nothing admits.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 7);
/// A client in no named network.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 7);

/// 127.16.0.0 to 127.249.255.255: what tests share out; the rest is for clients.
const POOL: u32 = (250 - 16) << 16;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// A loopback address that no other test uses now: derived from the process id, then checked on these ports.
pub fn own_address(ports: &[u16]) -> Ipv4Addr {
    loop {
        let nth = TAKEN.fetch_add(1, Ordering::Relaxed);
        let offset = std::process::id().wrapping_mul(97).wrapping_add(nth) % POOL;
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 16, 0, 0)) + offset);
        if ports.iter().all(|&port| TcpListener::bind((address, port)).is_ok()) {
            return address;
        }
    }
}
