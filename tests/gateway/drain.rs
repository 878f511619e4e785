//! The end: what has begun is finished, within a bound.

use bytes::Bytes;
use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::harness::{Door, Gateway, Upstream, eventually, full, streamed};

/// An upstream whose first answer goes on until the test ends it.
async fn lasting() -> (mpsc::Sender<Bytes>, Upstream) {
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let body = std::sync::Mutex::new(Some(body));
    let upstream = Upstream::serving(move |request| {
        let body = if request.uri().path() == "/long" { body.lock().unwrap().take() } else { None };
        async move { http::Response::new(body.map_or_else(|| full("short"), streamed)) }
    })
    .await;
    (pieces, upstream)
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_the_exit_is_clean() {
    for signal in [Signal::TERM, Signal::INT] {
        for two in [false, true] {
            let (pieces, shop) = lasting().await;
            let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
            let client = if two { edge.client().h2() } else { edge.client() };
            pieces.send(Bytes::from_static(b"one ")).await.unwrap();
            let mut answer = client.get("shop.home.test/long").start().await;
            assert_eq!(answer.piece().await.unwrap(), "one ");
            edge.signal(signal);
            eventually("the doors to close", async || edge.client().try_connect("shop.home.test").await.err()).await;
            assert!(!edge.has_ended());
            pieces.send(Bytes::from_static(b"two")).await.unwrap();
            assert_eq!(answer.piece().await.unwrap(), "two");
            drop(pieces);
            assert!(answer.piece().await.is_none(), "whole");
            assert_eq!(edge.exit_code().await, 0);
            assert_eq!(edge.access_log().last().expect("its record")["path"], "/long");
        }
    }
}

#[tokio::test]
async fn an_upload_in_flight_is_finished_too() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for_each_client(&edge).await;
    let (pieces, body) = mpsc::channel(1);
    pieces.send(Bytes::from_static(b"first ")).await.unwrap();
    let asked = tokio::spawn(edge.request("POST", "shop.home.test/up").streamed(body).attempt());
    eventually("the upload to begin", async || (shop.requests() == 3).then_some(())).await;
    edge.signal(Signal::TERM);
    eventually("the doors to close", async || edge.client().try_connect("shop.home.test").await.err()).await;
    pieces.send(Bytes::from_static(b"second")).await.unwrap();
    drop(pieces);
    assert_eq!(asked.await.unwrap().unwrap().echo().body(), "first second");
    assert_eq!(edge.exit_code().await, 0);
}

async fn for_each_client(edge: &Gateway) {
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    assert_eq!(edge.client().h2().get("shop.home.test/").await.status, 200);
}

#[tokio::test]
async fn idle_connections_are_told_and_closed() {
    let (pieces, shop) = lasting().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut one = edge.client().connect("shop.home.test").await;
    let mut two = edge.client().h2().connect("shop.home.test").await;
    one.get("/").await;
    two.get("/").await;
    // Something in flight, so that it does not end before it was looked at.
    pieces.send(Bytes::from_static(b"one")).await.unwrap();
    let mut answer = edge.get("shop.home.test/long").start().await;
    answer.piece().await.unwrap();
    edge.signal(Signal::TERM);
    one.closed().await;
    two.closed().await;
    drop(pieces);
    assert!(answer.piece().await.is_none());
    assert_eq!(edge.exit_code().await, 0);
}

#[tokio::test]
async fn the_last_answer_on_a_connection_says_that_it_is_the_last() {
    let shop = Upstream::acting(|mut peer| async move {
        if peer.request().await.is_some() {
            // Answers once the gateway has stopped accepting.
            peer.told().await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            peer.until_closed().await;
        }
    })
    .await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.client().at(Door::Plain).raw("unnamed").await;
    raw.send("GET /last HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    eventually("the request to arrive", async || (shop.requests() == 1).then_some(())).await;
    edge.signal(Signal::TERM);
    eventually("the doors to close", async || edge.client().try_connect("shop.home.test").await.err()).await;
    // Every core has its order by then.
    edge.logs("what is in flight finishes").await;
    shop.tell();
    let said = raw.rest().await.to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 200") && said.contains("\r\nconnection: close\r\n"), "{said}");
    assert_eq!(edge.exit_code().await, 0);
}

#[tokio::test]
async fn readiness_ends_before_the_process_does() {
    let (pieces, shop) = lasting().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    pieces.send(Bytes::from_static(b"one")).await.unwrap();
    let mut answer = edge.get("shop.home.test/long").start().await;
    answer.piece().await.unwrap();
    edge.signal(Signal::TERM);
    eventually("not ready any more", async || {
        let ready = edge.client().at(Door::Metrics).get("edge/readyz").attempt().await;
        (!ready.is_ok_and(|r| r.status == 200)).then_some(())
    })
    .await;
    drop(pieces);
    assert!(answer.piece().await.is_none());
    assert_eq!(edge.exit_code().await, 0);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_and_the_exit_is_clean() {
    let (chat, film) = (Upstream::websocket().await, Upstream::generating().await);
    let mut edge =
        Gateway::serving(format!("[routes]\nchat = \"{chat}\"\nfilm = \"{film}\"\n[drain]\nstop = \"1s\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    let mut paused = edge.get("film.home.test/1000000000").start().await;
    paused.piece().await.unwrap();
    socket.echoes("here").await;
    edge.signal(Signal::TERM);
    eventually("the doors to close", async || edge.client().try_connect("chat.home.test").await.err()).await;
    assert_eq!(edge.exit_code().await, 0);
    while let Some(Ok(_)) = socket.next().await {}
    assert_eq!(edge.record_of("/ws").await["upgraded"], true, "it is in the log all the same");
    assert_eq!(edge.record_of("/1000000000").await["aborted"], true);
}

#[tokio::test]
async fn websockets_have_the_same_time_to_finish() {
    let chat = Upstream::websocket().await;
    let mut edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("before").await;
    edge.signal(Signal::TERM);
    eventually("the doors to close", async || edge.client().try_connect("chat.home.test").await.err()).await;
    socket.echoes("after").await;
    socket.close().await;
    assert_eq!(edge.exit_code().await, 0);
}

#[tokio::test]
async fn without_anything_to_finish_it_ends_at_once() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n[drain]\nstop = \"10m\"")).await;
    for_each_client(&edge).await;
    edge.signal(Signal::TERM);
    assert_eq!(edge.exit_code().await, 0);
    assert!(!edge.folder().at("state/admin.sock").exists(), "nothing is left lying about");
}
