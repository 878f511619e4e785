//! Lines that are cut: nobody closes, nobody resets, packets are lost and that is all. In a network of the test's own.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Bystanders, back_to, beside};
use crate::harness::{Network, Upstream, eventually};

fn address(upstream: &Upstream) -> Ipv4Addr {
    match upstream.address().ip() {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(address) => panic!("{address}"),
    }
}

/// The line to a server is cut while a connection to it is idle, while it owes an answer, and in the middle of one.
#[tokio::test]
async fn the_line_to_an_upstream_is_cut_and_mended() {
    let Some(network) = Network::of_its_own() else { return };
    let ill = Upstream::acting(|mut peer| async move {
        while let Some(head) = peer.head().await {
            if head.starts_with("GET /half") {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf").await;
                peer.told().await;
            } else if head.starts_with("GET /late") {
                peer.told().await;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell").await;
        }
    })
    .await;
    let (edge, _well) = beside(&ill, ", idle = \"2s\"").await;
    assert_eq!(edge.get("ill.home.test/").await.text(), "well");
    let before = edge.descriptors();
    let bystanders = Bystanders::of(&edge);
    for client in [edge.client(), edge.client().h2()] {
        // In the middle of an answer: it breaks off visibly.
        let mut answer = client.get("ill.home.test/half").start().await;
        assert_eq!(answer.piece().await.unwrap(), "half");
        network.cut(address(&ill));
        assert!(answer.try_piece().await.is_none_or(|piece| piece.is_err()), "never whole");
        network.mend();
        // While an answer is owed, then on connections that were idle, then on fresh ones that nobody answers.
        assert_eq!(client.get("ill.home.test/").await.text(), "well");
        let late = client.get("ill.home.test/late").attempt();
        let cuts = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            network.cut(address(&ill));
        };
        let (late, ()) = tokio::join!(late, cuts);
        assert_eq!(late.expect("an answer").refusal(), (504, "upstream-timeout"));
        let refused = client.get("ill.home.test/").await;
        assert_eq!(refused.status, 504, "{refused}");
        network.mend();
        let served = async || client.get("ill.home.test/").await.status == 200;
        eventually("service again", async || served().await.then_some(())).await;
    }
    bystanders.noticed_nothing().await;
    back_to(&edge, before).await;
}

/// The line to clients is cut while they ask, are answered and are idle: what they held is let go within the limits.
#[tokio::test]
async fn the_line_to_clients_is_cut() {
    let Some(network) = Network::of_its_own() else { return };
    let lost = Ipv4Addr::new(127, 0, 0, 99);
    let ill = Upstream::generating().await;
    let well = Upstream::generating().await;
    let edge = crate::harness::Gateway::serving(format!(
        "[routes]\nwell = \"{well}\"\nill = {{ to = \"{ill}\", idle = \"2s\" }}\n[limits]\nidle = \"2s\"\nhead_time = \"2s\"\n"
    ))
    .await;
    let before = edge.descriptors();
    let mut held = Vec::new();
    let mut answers = Vec::new();
    for client in [edge.client().from(lost), edge.client().from(lost).h2()] {
        for _ in 0..5 {
            let mut idle = client.connect("ill.home.test").await;
            assert_eq!(idle.get("/10").await.body.len(), 10);
            held.push(idle);
            let mut answer = client.get("ill.home.test/1000000000").start().await;
            answer.piece().await;
            answers.push(answer);
        }
    }
    let mut heads = Vec::new();
    for _ in 0..5 {
        let mut raw = edge.client().from(lost).raw("ill.home.test").await;
        raw.send("GET /10 HTTP/1.1\r\nHost: ill.h").await;
        heads.push(raw);
    }
    network.cut(lost);
    let bystanders = Bystanders::of(&edge);
    eventually("the downloads to be given up", async || (ill.open() <= 12).then_some(())).await;
    let open = async || (edge.metric("doorward_connections").await <= 6.0).then_some(());
    eventually("the connections of the lost to be closed", open).await;
    bystanders.noticed_nothing().await;
    back_to(&edge, before).await;
    network.mend();
}
