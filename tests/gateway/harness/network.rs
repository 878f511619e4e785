//! A network of its own for one test: addresses that are not loopback's, and lines that can be cut. Needs root.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where the test lives until it ends: it, what it starts, and everybody who talks to either.
pub struct Network {
    name: String,
}

impl Network {
    /// Moves this test into a network that nobody else is in. To be asked for first of all: what the test started before stays
    /// outside. `None` where that is not allowed; the test says so and judges nothing.
    pub fn of_its_own() -> Option<Network> {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("test").rsplit(':').next().unwrap_or("test");
        let name = format!("doorward-{}-{test:.40}", std::process::id());
        if !ip(&["netns", "add", &name]) {
            eprintln!("NOT JUDGED: no network namespace can be made here; run as root");
            return None;
        }
        let network = Network { name };
        let file = File::open(format!("/run/netns/{}", network.name)).expect("the namespace is there");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
        assert!(ip(&["link", "set", "lo", "up"]), "there is a way to ourselves");
        Some(network)
    }

    /// Gives this network an address that is nobody's loopback.
    pub fn add(&self, address: Ipv4Addr) {
        assert!(ip(&["address", "add", &format!("{address}/32"), "dev", "lo"]), "{address}");
    }

    /// Cuts the line to an address: what is sent there is lost, and nobody is told.
    pub fn cut(&self, address: Ipv4Addr) {
        for direction in ["-d", "-s"] {
            let arguments = ["-w", "-A", "OUTPUT", direction, &address.to_string(), "-j", "DROP"];
            assert!(run("iptables", &arguments), "iptables cuts the line to {address}");
        }
    }

    /// Mends every line.
    pub fn mend(&self) {
        assert!(run("iptables", &["-w", "-F", "OUTPUT"]), "iptables forgets");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
