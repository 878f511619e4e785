//! Pebble, Let's Encrypt's own test CA.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use rustls::RootCertStore;
use serde_json::json;

use super::daemon::Daemon;
use super::http::send_tls;
use crate::harness::{Folder, TestCa, eventually, own_address};

const ACME: u16 = 14000;
const MANAGEMENT: u16 = 15000;

/// An account of the CA's customer, given out beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Eab {
    /// Key identifier.
    pub kid: &'static str,
    /// HMAC key, base64url.
    pub key: &'static str,
}

impl Eab {
    /// The one that `PebbleOptions::eab` asks for.
    pub const KNOWN: Eab =
        Eab { kid: "kid-1", key: "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W" };
}

/// How a Pebble is to behave.
#[derive(Clone, Debug)]
pub struct PebbleOptions {
    /// The DNS server that it asks about everything.
    pub dns: SocketAddr,
    /// How long certificates are valid. Seconds.
    pub validity: u64,
    /// Whether an account needs [`Eab::KNOWN`].
    pub eab: bool,
    /// Where it expects `http-01` to be answered.
    pub http_port: u16,
    /// Where it expects `tls-alpn-01` to be answered.
    pub tls_port: u16,
    /// Of a hundred nonces, how many it rejects for no reason.
    pub nonces_rejected: u8,
    /// Of a hundred authorizations that are valid, how many it uses again.
    pub authorizations_reused: u8,
    /// `-strict`: refuses what a coming version of the protocol will.
    pub strict: bool,
}

impl PebbleOptions {
    /// Ninety days, five nonces of a hundred rejected, no authorization used twice.
    pub fn new(dns: SocketAddr) -> PebbleOptions {
        PebbleOptions {
            dns,
            validity: 90 * 86_400,
            eab: false,
            http_port: 5002,
            tls_port: 5001,
            // Every client gives up when three in a row were rejected: with Pebble's own 5 one run of all tests in ten saw that.
            nonces_rejected: 1,
            authorizations_reused: 0,
            strict: false,
        }
    }
}

/// A running Pebble.
pub struct Pebble {
    folder: Folder,
    daemon: Daemon,
    address: Ipv4Addr,
    ca: TestCa,
    options: PebbleOptions,
}

impl Pebble {
    /// Starts one that asks this DNS server.
    pub async fn start(dns: SocketAddr) -> Pebble {
        Pebble::start_with(PebbleOptions::new(dns)).await
    }

    /// Starts one.
    pub async fn start_with(options: PebbleOptions) -> Pebble {
        let folder = Folder::new();
        let address = own_address(&[ACME, MANAGEMENT]);
        let ca = TestCa::new("Pebble's API");
        let (cert, key) = ca.issue(&[&address.to_string(), "localhost"]).write(&folder, "api");
        folder.replace("ca.crt", ca.pem());
        let mut config = json!({ "pebble": {
            "listenAddress": format!("{address}:{ACME}"),
            "managementListenAddress": format!("{address}:{MANAGEMENT}"),
            "certificate": cert,
            "privateKey": key,
            "httpPort": options.http_port,
            "tlsPort": options.tls_port,
            "certificateValidityPeriod": options.validity,
            "externalAccountBindingRequired": options.eab,
        }});
        if options.eab {
            config["pebble"]["externalAccountMACKeys"] = json!({ Eab::KNOWN.kid: Eab::KNOWN.key });
        }
        folder.replace("pebble.json", config.to_string());
        let mut pebble = Pebble { daemon: run(&folder, &options), folder, address, ca, options };
        pebble.answers().await;
        pebble
    }

    async fn answers(&mut self) {
        let (server, roots) = (self.server(), self.roots());
        eventually("Pebble to answer", async || {
            self.daemon.assert_runs();
            let request = Request::get("/dir").header("host", server.to_string()).body(Bytes::new()).ok()?;
            send_tls(server, roots.clone(), request).await.ok()
        })
        .await;
    }

    /// Where its API is.
    pub fn server(&self) -> SocketAddr {
        SocketAddr::new(self.address.into(), ACME)
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.server())
    }

    /// Root of the API's own certificate, a file.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.at("ca.crt")
    }

    /// The same, to judge by.
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::new(self.ca.roots())
    }

    /// `acme = { … }` of a routes.toml that orders here.
    pub fn acme(&self) -> String {
        format!("{{ directory = \"{}\", ca = \"{}\" }}", self.directory(), self.ca_file().display())
    }

    /// PEM of the root that issued certificates lead to; another one each time Pebble starts.
    pub async fn issuing_root(&self) -> String {
        self.management("/roots/0").await
    }

    /// PEM of the intermediate that signs certificates.
    pub async fn intermediate(&self) -> String {
        self.management("/intermediates/0").await
    }

    async fn management(&self, path: &str) -> String {
        let server = SocketAddr::new(self.address.into(), MANAGEMENT);
        let request = Request::get(path).header("host", server.to_string()).body(Bytes::new()).expect("a request");
        let answer = send_tls(server, self.roots(), request).await.expect("Pebble's management answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        String::from_utf8_lossy(answer.body()).into_owned()
    }

    /// How often the log has this text: how many orders, challenges, certificates there were.
    pub fn counted(&self, text: &str) -> usize {
        self.daemon.log().matches(text).count()
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Ends it. It forgets everything: accounts, orders, its root.
    pub fn stop(&mut self) {
        self.daemon.stop();
    }

    /// Starts it again at the same address.
    pub async fn start_again(&mut self) {
        self.daemon = run(&self.folder, &self.options);
        self.answers().await;
    }
}

fn run(folder: &Folder, options: &PebbleOptions) -> Daemon {
    let mut command = Command::new("pebble");
    command.args(["-config", "pebble.json", "-dnsserver", &options.dns.to_string()]);
    if options.strict {
        command.arg("-strict");
    }
    command.env("PEBBLE_VA_NOSLEEP", "1");
    command.env("PEBBLE_WFE_NONCEREJECT", options.nonces_rejected.to_string());
    command.env("PEBBLE_AUTHZREUSE", options.authorizations_reused.to_string());
    Daemon::start("pebble", command, folder.path())
}
