//! `pebble-challtestsrv`: a DNS server that answers what a test tells it to, by HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use serde_json::{Value, json};

use super::answer_code;
use super::daemon::Daemon;
use super::http::post_plain;
use crate::harness::{Folder, eventually, own_address};

const DNS: u16 = 5301;
const MANAGEMENT: u16 = 8055;

/// A running one. Every name has the address that `default_address` gave, at first 127.0.0.1.
pub struct Challtestsrv {
    _folder: Folder,
    _daemon: Daemon,
    address: Ipv4Addr,
}

impl Challtestsrv {
    /// Starts it.
    pub async fn start() -> Challtestsrv {
        let folder = Folder::new();
        let address = own_address(&[DNS, MANAGEMENT]);
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-dns01", &format!("{address}:{DNS}"), "-management", &format!("{address}:{MANAGEMENT}")]);
        let mut daemon = Daemon::start("challtestsrv", command, folder.path());
        let server = SocketAddr::new(address.into(), DNS);
        eventually("pebble-challtestsrv to answer", async || {
            daemon.assert_runs();
            tokio::net::TcpStream::connect((address, MANAGEMENT)).await.ok()?;
            answer_code(server, "ready.test").await
        })
        .await;
        Challtestsrv { _folder: folder, _daemon: daemon, address }
    }

    /// Where its DNS is.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::new(self.address.into(), DNS)
    }

    /// Where it takes orders.
    pub fn management(&self) -> SocketAddr {
        SocketAddr::new(self.address.into(), MANAGEMENT)
    }

    /// Gives one order.
    pub async fn order(&self, path: &str, body: Value) {
        order(self.management(), path, body).await;
    }

    /// The address that every name has from now on.
    pub async fn default_address(&self, address: Ipv4Addr) {
        self.order("/set-default-ipv4", json!({ "ip": address })).await;
    }

    /// Adds a TXT value to a name.
    pub async fn set_txt(&self, name: &str, value: &str) {
        self.order("/set-txt", json!({ "host": format!("{name}."), "value": value })).await;
    }

    /// Takes all TXT values of a name away.
    pub async fn clear_txt(&self, name: &str) {
        self.order("/clear-txt", json!({ "host": format!("{name}.") })).await;
    }
}

pub(super) async fn order(management: SocketAddr, path: &str, body: Value) {
    let status = post_plain(management, path, &body).await;
    assert!(status.is_success(), "pebble-challtestsrv answered {status} to {path} {body}");
}
