//! Clients that end their side of a connection once they have asked, as `nc` and old HTTP/1.0 programs do: they are answered.
//! One that is gone altogether looks the same, so they are not waited for without end.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::harness::{Client, Door, Gateway, HOME, Upstream, eventually};

/// Says nothing to a request before the test tells it to.
async fn hesitating() -> Upstream {
    Upstream::acting(|mut peer| async move {
        while let Some(request) = peer.request().await {
            peer.told().await;
            let length = request.len();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{request}")).await;
        }
    })
    .await
}

fn ways(edge: &Gateway) -> [Client; 3] {
    [edge.client().at(Door::Plain), edge.client().tls13(), edge.client().tls12()]
}

#[tokio::test]
async fn who_ends_its_side_behind_a_request_is_answered() {
    let shop = hesitating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let host = "Host: shop.home.test\r\n";
    let requests = [
        format!("GET /get HTTP/1.1\r\n{host}\r\n"),
        format!("GET /old HTTP/1.0\r\n{host}\r\n"),
        format!("GET /close HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        format!("POST /counted HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello"),
        format!("POST /chunks HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
    ];
    let mut asked = 0;
    for client in ways(&edge) {
        for request in &requests {
            let mut raw = client.raw("shop.home.test").await;
            raw.send(request).await.end().await;
            asked += 1;
            eventually("the request to arrive", async || (shop.requests() == asked).then_some(())).await;
            shop.tell();
            let said = raw.rest().await;
            assert!(said.starts_with("HTTP/1.") && said.contains(" 200 OK\r\n"), "{request}: {said}");
            assert_eq!(said.matches(request.split(' ').nth(1).unwrap()).count(), 1, "{request}: {said}");
        }
    }
    let open = async || (edge.metric("doorward_connections").await <= 1.0).then_some(());
    eventually("nothing to be left of them", open).await;
    assert!(edge.access_log().iter().all(|record| record["aborted"] != true));
}

#[tokio::test]
async fn every_request_that_was_sent_ahead_is_answered() {
    let shop = hesitating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in ways(&edge) {
        let before = shop.requests();
        let mut raw = client.raw("shop.home.test").await;
        let requests: String = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).collect();
        raw.send(requests).await.end().await;
        for n in 1..=5 {
            eventually("a request to arrive", async || (shop.requests() == before + n).then_some(())).await;
            shop.tell();
        }
        let said = raw.rest().await;
        assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), 5, "{said}");
    }
}

#[tokio::test]
async fn a_long_answer_is_whole_however_slowly_it_is_taken() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in ways(&edge) {
        let mut raw = client.raw("shop.home.test").await;
        raw.send("GET /30000000 HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await.end().await;
        assert!(raw.head().await.starts_with("HTTP/1.1 200"));
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..100 {
            ticks.tick().await;
            raw.bytes(300_000).await;
        }
        assert_eq!(raw.rest().await, "", "and it ends");
    }
}

#[tokio::test]
async fn who_ends_in_the_middle_of_a_request_has_broken_it_off() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let post = "POST /up HTTP/1.1\r\nHost: shop.home.test\r\n";
    for client in ways(&edge) {
        for cut in [
            "GET / HTTP/1.1\r\nHost: shop.home.test\r\n".to_owned(),
            format!("{post}Content-Length: 100\r\n\r\nnot all of it"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            format!("{post}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        ] {
            let mut raw = client.raw("shop.home.test").await;
            raw.send(&cut).await.end().await;
            let said = raw.rest().await;
            assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{cut}: {said}");
        }
    }
    eventually("the uploads to end", async || (shop.open() == 0).then_some(())).await;
}

/// A machine that resets, or ends without TLS's word for it, has gone: nobody waits for that.
#[tokio::test]
async fn who_is_seen_to_be_gone_ends_its_request_at_once() {
    let shop = Upstream::acting(|mut peer| async move { peer.until_closed().await }).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let request = "GET /gone HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    let mut raw = edge.client().raw("shop.home.test").await;
    raw.send(request).await;
    eventually("the request to arrive", async || (shop.open() == 1).then_some(())).await;
    drop(raw);
    eventually("the request to end", async || (shop.open() == 0).then_some(())).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((HOME, 0).into()).unwrap();
    let mut tcp = socket.connect(SocketAddr::from((edge.address(), Door::Plain.port()))).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    eventually("the request to arrive", async || (shop.open() == 1).then_some(())).await;
    sockopt::set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
    drop(tcp);
    eventually("the request to end", async || (shop.open() == 0).then_some(())).await;
}

#[tokio::test]
#[ignore = "slow: 10 s for a client that may only have ended its side"]
async fn who_ended_its_side_is_given_up_when_nothing_comes_for_it() {
    let shop = Upstream::acting(|mut peer| async move { peer.until_closed().await }).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    raw.send("GET /never HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await.end().await;
    let began = tokio::time::Instant::now();
    let record = loop {
        let found = edge.access_log().into_iter().find(|record| record["path"] == "/never");
        match found {
            Some(record) => break record,
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        assert!(began.elapsed().as_secs() < 60, "still waited for");
    };
    assert!(began.elapsed().as_secs() > 7, "{:?}", began.elapsed());
    assert_eq!(record["aborted"], true);
    assert!(record["detail"].as_str().unwrap().contains("closed its side"), "{record}");
    assert_eq!(shop.open(), 0, "the upstream is let go");
}
