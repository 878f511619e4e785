//! What a door speaks, and whose claims about the client it believes. Knows no file and nothing else of a door, so that the
//! first look at a request can be tried by itself.

use std::net::IpAddr;

use crate::model::{AccessList, Client};

/// What one listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// TLS; HTTP/1.1 and HTTP/2 by ALPN.
    Tls,
    /// Cleartext HTTP/1.1.
    Plain,
    /// Cleartext that only sends people to https, on this port.
    Redirect(u16),
}

/// Whose forwarding headers count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Nobody's.
    Nobody,
    /// CF-Connecting-IP from loopback; scheme https.
    Cloudflared,
    /// X-Forwarded-* from these peers.
    Peers(AccessList),
}

impl Trust {
    /// Whether this TCP peer is believed.
    pub fn believes(&self, peer: IpAddr) -> bool {
        let Some(peer) = Client::at(peer).address() else { return false };
        match self {
            Trust::Nobody => false,
            Trust::Cloudflared => peer.is_loopback(),
            Trust::Peers(list) => list.contains(peer),
        }
    }
}
