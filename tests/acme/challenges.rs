//! http-01 and tls-alpn-01 at our own doors, and the example file of the VPS.

use std::net::Ipv4Addr;

use crate::harness::{Door, GUEST, Gateway, Upstream, eventually};
use crate::rigs::{Challtestsrv, Pebble, PebbleOptions};
use crate::site::roots;

/// The example, on the gateway's own address and with this CA.
fn example(pebble: &Pebble, challenge: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/routes.vps.toml");
    let text = std::fs::read_to_string(path).expect("the example is there");
    for line in ["\":443\"", "\":80\"", "challenge = \"http-01\""] {
        assert!(text.contains(line), "the example has {line}");
    }
    let text = format!("{text}\n[log]\naccess = \"json\"\n");
    text.replace("\":443\"", "\"ADDR:8443\"")
        .replace("\":80\"", "\"ADDR:8080\"")
        .replace("challenge = \"http-01\"", &format!("challenge = \"{challenge}\"\nacme = {}", pebble.acme()))
}

async fn pebble_for(gateway: Ipv4Addr, dns: &Challtestsrv) -> Pebble {
    dns.default_address(gateway).await;
    let options = PebbleOptions { http_port: 8080, tls_port: 8443, strict: true, ..PebbleOptions::new(dns.server()) };
    Pebble::start_with(options).await
}

async fn is_served(gateway: &Gateway, pebble: &Pebble) {
    let client = gateway.client().trusting(roots(&pebble.issuing_root().await));
    eventually("the public names to be served with certificates of the CA", async || {
        let mut facts = Vec::new();
        for name in ["wgui.akunito.com", "status.akunito.com"] {
            facts.push(client.handshake(name).await.ok()?);
        }
        Some(facts)
    })
    .await;
}

#[tokio::test]
async fn the_example_of_the_vps_gets_its_certificates_over_http() {
    let (dns, mut gateway) = (Challtestsrv::start().await, Gateway::stopped());
    let pebble = pebble_for(gateway.address(), &dns).await;
    gateway.write(example(&pebble, "http-01"));
    gateway.start(&[]).await;
    is_served(&gateway, &pebble).await;
    // What the CA asked for is in the log, and nothing answers there any more.
    let asked: Vec<_> = gateway
        .access_log()
        .into_iter()
        .filter(|record| record["path"].as_str().is_some_and(|path| path.starts_with("/.well-known/acme-challenge/")))
        .collect();
    assert!(!asked.is_empty() && asked.iter().all(|record| record["status"] == 200), "{asked:?}");
    let path = asked[0]["path"].as_str().unwrap();
    let gone = gateway.client().at(Door::Redirect).get(&format!("status.akunito.com{path}")).await;
    assert_eq!(gone.status, 308);
}

#[tokio::test]
async fn the_example_of_the_vps_gets_its_certificates_over_tls() {
    let (dns, mut gateway) = (Challtestsrv::start().await, Gateway::stopped());
    let pebble = pebble_for(gateway.address(), &dns).await;
    gateway.write(example(&pebble, "tls-alpn-01"));
    gateway.start(&[]).await;
    is_served(&gateway, &pebble).await;
    // Afterwards nobody speaks `acme-tls/1` here.
    let refused = gateway.client().offering(&["acme-tls/1"]).trusting_anything().open("status.akunito.com").await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_path_of_a_challenge_that_is_not_ours_is_like_any_other() {
    let upstream = Upstream::echoing().await;
    let gateway = Gateway::serving(format!("[routes]\nshop = \"{}\"", upstream.url("http"))).await;
    let place = "shop.home.test/.well-known/acme-challenge/not-a-token";
    let passed = gateway.client().at(Door::Plain).get(place).await;
    assert_eq!(passed.echo().target(), "/.well-known/acme-challenge/not-a-token");
    let denied = gateway.client().at(Door::Plain).from(GUEST).get(place).await;
    assert_eq!(denied.status, 403);
}
