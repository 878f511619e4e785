//! A pooled connection that has died unnoticed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::harness::{Gateway, Upstream, eventually};

/// Answers the first request of every connection; at the second it closes without a word.
async fn tired() -> Upstream {
    Upstream::acting(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            peer.request().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_safe_request_on_a_dead_pooled_connection_is_sent_again() {
    for method in ["GET", "HEAD", "OPTIONS"] {
        let shop = tired().await;
        let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
        let mut open = edge.client().connect("shop.home.test").await;
        for n in 0..6 {
            let answer = open.request(method, &format!("/{n}")).await;
            assert_eq!(answer.status, 200, "{method} number {n}");
        }
    }
}

#[tokio::test]
async fn a_request_that_may_have_been_acted_on_is_not_sent_twice() {
    let shop = tired().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    assert_eq!(open.get("/first").await.status, 200);
    let answer = open.request("POST", "/buy").body("one").await;
    assert_eq!(answer.refusal(), (502, "upstream-closed"));
    let bought = shop.recorded().iter().filter(|r| r.starts_with("POST /buy")).count();
    assert_eq!(bought, 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used_again() {
    let shop = Upstream::acting(|mut peer| async move {
        if peer.request().await.is_some() {
            // Keep-alive is promised, and not kept.
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..6 {
        assert_eq!(open.request("POST", "/").body("x").await.status, 200);
        eventually("the upstream to have closed", async || (shop.open() == 0).then_some(())).await;
    }
    assert_eq!(shop.requests(), 6, "each was sent once");
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_the_servers_own_fault() {
    let shop = Upstream::acting(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-closed"));
    assert_eq!(shop.requests(), 1, "not tried again");
}

#[tokio::test]
async fn after_a_restart_of_the_upstream_nothing_fails() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    for round in 0..4 {
        for n in 0..5 {
            assert_eq!(open.get(&format!("/{round}/{n}")).await.status, 200);
        }
        shop.stop().await;
        shop.start().await;
    }
}

#[tokio::test]
async fn a_connection_that_still_owes_a_body_is_not_used_for_another_request() {
    let behind = Arc::new(Mutex::new(Vec::new()));
    let seen = behind.clone();
    let shop = Upstream::acting(move |mut peer| {
        let seen = seen.clone();
        async move {
            while let Some(head) = peer.head().await {
                // Answered before the body is there, and the connection stays.
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                if head.starts_with("POST") {
                    while let Some(bytes) = peer.bytes().await {
                        seen.lock().unwrap().extend(bytes);
                    }
                }
            }
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    for _ in 0..5 {
        let (pieces, body) = mpsc::channel(4);
        pieces.send(Bytes::from_static(b"the first half")).await.unwrap();
        let mut answer = open.request("POST", "/half").streamed(body).start().await;
        assert_eq!((answer.status, &answer.piece().await.unwrap()[..]), (200, &b"ok"[..]));
        for _ in 0..3 {
            assert_eq!(open.get("/next").await.text(), "ok");
        }
        drop(pieces);
    }
    let behind = String::from_utf8_lossy(&behind.lock().unwrap()).into_owned();
    assert!(!behind.contains("GET /next"), "a request inside of a body: {behind}");
}
