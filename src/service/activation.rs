//! Listening sockets that this process begins with: those that systemd kept (its descriptor store) or opened (a `.socket`
//! unit), and those that a predecessor hands over. Each is known by its address; the names that systemd gives are not needed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use listenfd::ListenFd;
use rustix::net::{AddressFamily, SocketType};

/// The address that stands in for the any-address of IPv6 on a machine without IPv6.
pub fn fallback_of(address: SocketAddr) -> Option<SocketAddr> {
    let is_any_v6 = address.is_ipv6() && address.ip().is_unspecified();
    is_any_v6.then(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
}

/// Sockets that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// What systemd hands over (sd_listen_fds(3)). Only at the start of the process: the variables are cleared.
    pub fn from_environment() -> Inherited {
        // Without a process number the variables may be somebody else's.
        if std::env::var_os("LISTEN_PID").is_none_or(|number| number.is_empty()) {
            return Inherited::default();
        }
        let mut handed = ListenFd::from_env();
        let mut sockets = Inherited::default();
        for place in 0..handed.len() {
            let stream = SocketType::STREAM.as_raw();
            let families = [AddressFamily::INET, AddressFamily::INET6].map(|family| i32::from(family.as_raw()));
            let taken = families.into_iter().find_map(|family| {
                let taken = handed.take_custom::<TcpListener>(place, family, stream as i32, "listening TCP socket");
                taken.ok().flatten()
            });
            let Some(socket) = taken else {
                tracing::warn!(place, "a descriptor that systemd handed over is no TCP socket; it is left alone");
                continue;
            };
            match socket.local_addr() {
                Ok(address) => sockets.add(address, socket),
                Err(error) => tracing::warn!(place, %error, "a socket that systemd handed over has no address"),
            }
        }
        sockets
    }

    /// One more.
    pub fn add(&mut self, address: SocketAddr, socket: TcpListener) {
        match socket.set_nonblocking(true) {
            Ok(()) => self.0.push((address, socket)),
            Err(error) => tracing::warn!(%address, %error, "an inherited socket cannot be used"),
        }
    }

    /// The socket that listens on this address, if there is one. A second handle of it (a `.socket` unit's that was stored
    /// besides) is let go.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let wanted = [Some(address), fallback_of(address)];
        let found = self.0.extract_if(.., |(known, _)| wanted.contains(&Some(*known)));
        found.map(|(_, socket)| socket).reduce(|first, _| first)
    }

    /// Closes what nobody asked for, and says which those were.
    pub fn close_rest(&mut self) -> Vec<SocketAddr> {
        self.0.drain(..).map(|(address, _)| address).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_its_address() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut sockets = Inherited::default();
        sockets.add(address, socket);
        assert!(sockets.take("127.0.0.1:1".parse().unwrap()).is_none());
        assert_eq!(sockets.take(address).unwrap().local_addr().unwrap(), address);
        assert!(sockets.take(address).is_none(), "once");
    }

    #[test]
    fn two_handles_of_one_socket_are_one() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut sockets = Inherited::default();
        sockets.add(address, socket.try_clone().unwrap());
        sockets.add(address, socket);
        assert!(sockets.take(address).is_some());
        assert_eq!(sockets.close_rest(), []);
    }

    #[test]
    fn the_any_address_is_found_where_there_is_no_ipv6() {
        let socket = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let mut sockets = Inherited::default();
        sockets.add(socket.local_addr().unwrap(), socket);
        assert!(sockets.take(SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port)).is_some());
    }
}
