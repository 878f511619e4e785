//! Clients that do one thing as slowly as they like: each loses its connection to the limit that concerns it, is counted where
//! the page says so, and nobody else notices. The table of them is in docs/protocols.md.

use std::time::Duration;

use tokio::time::Instant;

use crate::abuse::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, head, preface};
use crate::harness::{Client, Door, Gateway, HOME, Raw, Upstream, eventually};

/// A gateway whose limits are short, so that tests are.
async fn impatient() -> (Gateway, Upstream) {
    let shop = Upstream::generating().await;
    let routes = format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"2s\" }}\n");
    (Gateway::serving(format!("{routes}[limits]\nhead_time = \"2s\"\nidle = \"2s\"\n")).await, shop)
}

async fn ended(edge: &Gateway, cause: &str) -> f64 {
    edge.metric(&format!("doorward_connections_ended_total{{cause=\"{cause}\"}}")).await
}

async fn is_counted(edge: &Gateway, cause: &str) {
    eventually(&format!("`{cause}` to be counted"), async || (ended(edge, cause).await > 0.0).then_some(())).await;
}

/// Sends bytes one at a time, this far apart, until the other side has had enough; how many it took.
async fn trickle(raw: &mut Raw, bytes: &[u8], pause: Duration) -> usize {
    let mut ticks = tokio::time::interval(pause);
    for (nth, byte) in bytes.iter().enumerate() {
        ticks.tick().await;
        if raw.try_send([*byte]).await.is_err() {
            return nth;
        }
    }
    bytes.len()
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let (edge, shop) = impatient().await;
    let request = format!("GET /10 HTTP/1.1\r\nHost: shop.home.test\r\nX: {}\r\n\r\n", "a".repeat(400));
    for client in [edge.client().at(Door::Plain), edge.client()] {
        let mut raw = client.raw("shop.home.test").await;
        let sent = trickle(&mut raw, request.as_bytes(), Duration::from_millis(50)).await;
        assert!(sent < request.len(), "cut in the middle of it");
    }
    is_counted(&edge, "head-time").await;
    assert_eq!(shop.requests(), 0);
    assert_eq!(edge.get("shop.home.test/10").await.status, 200);
}

#[tokio::test]
async fn a_head_that_began_behind_a_request_is_not_waited_for_either() {
    let (edge, shop) = impatient().await;
    let mut raws = Vec::new();
    for client in [edge.client().at(Door::Plain), edge.client()] {
        let mut raw = client.raw("shop.home.test").await;
        raw.send("GET /10 HTTP/1.1\r\nHost: shop.home.test\r\n\r\nGET /20 HTTP/1.1\r\nHost: sh").await;
        assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
        raws.push(raw);
    }
    for mut raw in raws {
        assert_eq!(raw.rest().await, "");
    }
    assert_eq!(ended(&edge, "head-time").await, 2.0);
    assert_eq!(shop.requests(), 2);
}

#[tokio::test]
async fn http2_that_does_not_begin_or_does_not_end_its_head_is_not_waited_for() {
    let (edge, shop) = impatient().await;
    let client = edge.client().h2();
    let mut half = client.raw("shop.home.test").await;
    half.send("PRI * HTTP/2.0\r\n\r\nSM").await;
    let mut open = preface(&client).await;
    open.send(frame(HEADERS, END_STREAM, 1, &head("GET", "/10"))).await;
    let mut piece = preface(&client).await;
    piece.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/10"))[..20]).await;
    for raw in [&mut half, &mut open, &mut piece] {
        raw.rest().await;
    }
    assert_eq!(ended(&edge, "head-time").await, 3.0);
    assert_eq!(shop.requests(), 0);
    assert_eq!(client.get("shop.home.test/10").await.status, 200);
}

#[tokio::test]
async fn connections_without_a_request_are_closed_after_idle() {
    let (edge, _shop) = impatient().await;
    for client in [edge.client().at(Door::Plain), edge.client(), edge.client().h2()] {
        let mut idle = client.connect("shop.home.test").await;
        assert_eq!(idle.get("/10").await.status, 200);
        eventually("the connection to be closed", async || (!idle.is_open()).then_some(())).await;
    }
    let mut silent = preface(&edge.client().h2()).await;
    silent.rest().await;
    let mut nothing = edge.raw().await;
    assert_eq!(nothing.rest().await, "");
}

#[tokio::test]
async fn an_http2_stream_whose_window_stays_shut_ends_alone() {
    let (edge, shop) = impatient().await;
    let client = edge.client().h2();
    let mut raw = client.raw("shop.home.test").await;
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    raw.send([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat()).await;
    raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", "/5000000"))).await;
    let record = edge.record_of("/5000000").await;
    assert_eq!(record["aborted"], true, "{record}");
    assert!(record["detail"].as_str().unwrap().contains("took nothing"), "{record}");
    eventually("the upstream to be let go", async || (shop.open() == 0).then_some(())).await;
    assert_eq!(client.get("shop.home.test/10").await.status, 200);
}

#[tokio::test]
#[ignore = "slow: ten seconds for a handshake, thirty for a body"]
async fn handshakes_trailers_and_uploads_that_stop_are_not_waited_for() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1M\" }}")).await;
    let unencrypted = edge.client().port(Door::Https.port(), false);
    // The beginning of a ClientHello: its record says 512 bytes.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 600]].concat();
    let handshakes = async {
        let mut stalled = unencrypted.raw("unnamed").await;
        stalled.send(&hello[..100]).await;
        let mut slow = unencrypted.raw("unnamed").await;
        let began = Instant::now();
        let (_, sent) = tokio::join!(stalled.rest(), trickle(&mut slow, &hello, Duration::from_millis(200)));
        assert!(sent < 512 && began.elapsed().as_secs() < 18, "{sent} bytes, {:?}", began.elapsed());
        assert_eq!(edge.metric("doorward_tls_handshakes_failed_total{cause=\"timeout\"}").await, 2.0);
    };
    let plain: Client = edge.client().at(Door::Plain).from(HOME);
    let post = "POST /up HTTP/1.1\r\nHost: shop.home.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = async {
        let mut raw = plain.raw("shop.home.test").await;
        raw.send(format!("{post}5\r\nhello\r\n0\r\nX-T: 1")).await;
        let said = tokio::time::timeout(Duration::from_secs(60), raw.patient_rest()).await.expect("an end");
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    };
    let sizes = async {
        let mut raw = plain.raw("shop.home.test").await;
        raw.send(post).await;
        let sent = trickle(&mut raw, &[b'0'; 300], Duration::from_millis(200)).await;
        assert!(sent < 300, "a size that never ends");
    };
    let lingering = async {
        let mut raw = plain.raw("shop.home.test").await;
        raw.send("POST /big HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 9000000\r\n\r\n").await;
        assert!(raw.answer().await.starts_with("HTTP/1.1 413"));
        let began = Instant::now();
        trickle(&mut raw, &[b'a'; 600], Duration::from_millis(50)).await;
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        is_counted(&edge, "lingering").await;
    };
    tokio::join!(handshakes, trailers, sizes, lingering);
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
}

/// With the limits that a file has which says nothing of them.
#[tokio::test]
#[ignore = "slow: a minute for answers that nobody takes"]
async fn who_takes_its_answer_as_slowly_as_it_likes_is_not_waited_for() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let request = "GET /100000001 HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    let mut plain = edge.raw().await;
    plain.send(request).await;
    let mut tls = edge.client().raw("shop.home.test").await;
    tls.send(request).await;
    let client = edge.client().h2();
    let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let ask = |path: &str| frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("GET", path));
    let mut never = preface(&client).await;
    never.send([shut.clone(), ask("/100000002")].concat()).await;
    let mut slowly = preface(&client).await;
    slowly.send([shut, ask("/100000003")].concat()).await;
    let began = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let is_told = |path: &str| edge.access_log().iter().filter(|record| record["path"] == path).count();
    while is_told("/100000001") < 2 || is_told("/100000002") < 1 || is_told("/100000003") < 1 {
        ticks.tick().await;
        // WINDOW_UPDATE: one byte more for stream 1.
        let _ = slowly.try_send(frame(8, 0, 1, &[0, 0, 0, 1])).await;
        assert!(began.elapsed().as_secs() < 75, "still waited for: {:?}", edge.access_log());
    }
    assert!(began.elapsed().as_secs() > 50);
    assert!(edge.access_log().iter().all(|record| record["aborted"] == true));
    eventually("the upstream to be let go", async || (shop.open() == 0).then_some(())).await;
}
