//! A gateway that orders its certificate: what it is told, what one sees of it.

use std::path::Path;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::harness::{Client, Finished, Gateway, Upstream, doorward, eventually};
use crate::rigs::Pebble;

/// Names below which everything is served.
pub const DOMAIN: &str = "home.test";

/// A gateway for `home.test` and `*.home.test` with one route, `hello`.
pub struct Site {
    pub gateway: Gateway,
    _upstream: Upstream,
    route: String,
}

impl Site {
    /// One that is not started yet: its certificate by this `dns` and `acme`, `more` behind the table's own keys.
    pub async fn stopped(dns: &str, acme: &str, more: &str) -> Site {
        let upstream = Upstream::answering("hello").await;
        let site = Site { gateway: Gateway::stopped(), route: upstream.url("http"), _upstream: upstream };
        site.write(dns, acme, more);
        site
    }

    /// One that runs.
    pub async fn start(dns: &str, acme: &str, more: &str) -> Site {
        let mut site = Site::stopped(dns, acme, more).await;
        site.gateway.start(&[]).await;
        site
    }

    /// Writes the file anew.
    pub fn write(&self, dns: &str, acme: &str, more: &str) {
        self.gateway.write(file(dns, acme, more, &self.route));
    }

    /// Waits until a certificate was issued and is served, and gives its serial number.
    pub async fn issued(&self) -> String {
        self.issued_after("").await
    }

    /// Waits until another certificate than this one is served, and gives its serial number.
    pub async fn issued_after(&self, serial: &str) -> String {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
        loop {
            let stored = self.report().await["stored"]["serial"].as_str().unwrap_or_default().to_owned();
            if !stored.is_empty() && stored != serial && self.served().await == stored {
                return stored;
            }
            assert!(tokio::time::Instant::now() < deadline, "no new certificate:\n{}", self.gateway.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Serial number of what the door shows for `hello`.
    pub async fn served(&self) -> String {
        let client = self.gateway.client().trusting_anything();
        let (wire, _) = client.open(&format!("hello.{DOMAIN}")).await.expect("a handshake");
        drop(wire);
        let shown = client.handshake(&format!("hello.{DOMAIN}")).await.expect("a handshake");
        serial_of(&shown.certificates[0])
    }

    /// What `doorward cert --json` says of the certificate, without asking the running one.
    pub async fn report(&self) -> Value {
        let words = ["cert", "--config", "routes.toml", "--state", "state", "--json"];
        let said = doorward(self.gateway.folder().path(), &words).await;
        assert_eq!(said.code, 0, "{}", said.said());
        let all: Value = serde_json::from_str(&said.out).expect("JSON");
        all["certificates"][0].clone()
    }

    /// `doorward cert …`, of the running one.
    pub async fn cert(&self, words: &[&str]) -> Finished {
        let words = [&["cert"], words, &["--state", "state"]].concat();
        doorward(self.gateway.folder().path(), &words).await
    }

    /// Waits until the last error says this.
    pub async fn fails_with(&self, phrase: &str) {
        let what = format!("the last error to say `{phrase}`");
        eventually(&what, async || {
            let error = self.report().await["last_error"].to_string();
            error.contains(phrase).then_some(())
        })
        .await;
    }

    /// A client that trusts what this CA issues.
    pub async fn client(&self, pebble: &Pebble) -> Client {
        self.gateway.client().trusting(roots(&pebble.issuing_root().await))
    }

    /// A file of the certificate's folder.
    pub fn stored(&self, name: &str) -> String {
        self.gateway.folder().read(&format!("state/certificates/local/{name}"))
    }

    /// What is remembered of the certificate.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.stored("state.json")).expect("JSON")
    }
}

/// A whole routes.toml.
pub fn file(dns: &str, acme: &str, more: &str, route: &str) -> String {
    format!(
        r#"
domain = "{DOMAIN}"
allow = ["home"]
[networks]
home = ["127.0.0.0/24"]
[listen.main]
https = "ADDR:8443"
http = "ADDR:8080"
[metrics]
listen = "ADDR:9180"
allow = ["home"]
[log]
access = "json"
[cert.local]
names = ["{DOMAIN}", "*.{DOMAIN}"]
dns = {dns}
acme = {acme}
email = "admin@{DOMAIN}"
renew = "auto"
{more}
[routes]
hello = "{route}"
"#
    )
}

/// A store with one root.
pub fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("a root");
    roots
}

/// Serial number of a certificate, as `doorward cert` writes it.
pub fn serial_of(der: &[u8]) -> String {
    let (_, parsed) = X509Certificate::from_der(der).expect("a certificate");
    parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serial number of the first certificate in a file.
pub fn serial_in(path: &Path) -> String {
    serial_of(&CertificateDer::from_pem_file(path).expect("a certificate in the file"))
}
