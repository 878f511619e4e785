//! Sizes and silences.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::harness::{Door, Gateway, Upstream, eventually};

#[tokio::test]
async fn a_body_that_is_declared_too_large_never_reaches_the_upstream() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1K\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        let refused = client.request("POST", "shop.home.test/").generated(1025, true).await;
        assert_eq!(refused.refusal(), (413, "body-limit"));
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1K\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        for declared in [true, false] {
            let echo = client.request("POST", "shop.home.test/").generated(1024, declared).await.echo();
            assert_eq!(echo.length(), 1024);
        }
    }
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_cut_off() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1M\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        let refused = client.request("POST", "shop.home.test/").generated(3 << 20, false).start().await;
        assert_eq!(refused.status, 413);
        assert_eq!(refused.headers["x-doorward-error"], "body-limit");
    }
    for request in shop.recorded() {
        assert!(!request.contains("\r\n0\r\n\r\n"), "the upstream must not take it for whole");
    }
}

#[tokio::test]
async fn who_reads_only_after_sending_still_learns_why_it_was_refused() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1K\" }}")).await;
    let length = 20 << 20;
    let (outside, inside) = (crate::harness::STRANGER, crate::harness::HOME);
    for (source, framing, status) in [
        (inside, format!("Content-Length: {length}\r\n\r\n"), "413"),
        (inside, format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"), "413"),
        (outside, format!("Content-Length: {length}\r\n\r\n"), "403"),
    ] {
        for client in [edge.client().at(Door::Plain), edge.client()] {
            let mut raw = client.from(source).raw("shop.home.test").await;
            raw.send(format!("POST /late HTTP/1.1\r\nHost: shop.home.test\r\n{framing}")).await;
            for _ in 0..length / (1 << 20) {
                raw.send(vec![b'a'; 1 << 20]).await;
            }
            let said = raw.answer().await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{framing}: {said}");
        }
    }
}

#[tokio::test]
async fn without_a_limit_any_body_passes() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let echo = edge.request("POST", "shop.home.test/").generated(100 << 20, true).await.echo();
    assert!(echo.length() == 100 << 20 && echo.is_generated());
}

#[tokio::test]
async fn an_upstream_that_says_nothing_for_idle_is_given_up() {
    let shop = Upstream::acting(|mut peer| async move { peer.until_closed().await }).await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"1s\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        assert_eq!(client.get("shop.home.test/").await.refusal(), (504, "upstream-timeout"));
    }
    eventually("the connection to be given up too", async || (shop.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_answer_that_stops_for_idle_is_cut_off() {
    let shop = Upstream::acting(|mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        peer.until_closed().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"1s\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        let mut answer = client.get("shop.home.test/film").start().await;
        assert_eq!(answer.piece().await.unwrap(), "half");
        assert!(answer.try_piece().await.is_none_or(|piece| piece.is_err()), "never whole");
    }
    assert_eq!(edge.records_of("/film").await[0]["aborted"], true);
}

#[tokio::test]
async fn an_answer_that_flows_slowly_is_not_cut_off() {
    let shop = Upstream::acting(|mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(400));
        for _ in 0..11 {
            ticks.tick().await;
            peer.send("1\r\n.\r\n").await;
        }
        peer.send("0\r\n\r\n").await;
    })
    .await;
    // 4 s in all, but hardly any silence: there are no total limits.
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"3s\" }}")).await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "...........");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up_after_idle() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"1s\" }}")).await;
    let mut raw = edge.raw().await;
    raw.send("GET /1000000000 HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    raw.head().await;
    let record = edge.record_of("/1000000000").await;
    assert_eq!(record["aborted"], true, "{record}");
    eventually("the upstream to be let go", async || (shop.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_upload_that_lasts_longer_than_idle_is_not_cut_off() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"3s\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        let (pieces, body) = mpsc::channel(1);
        let asked = client.request("POST", "shop.home.test/").streamed(body).attempt();
        let sends = async move {
            let mut ticks = tokio::time::interval(std::time::Duration::from_millis(500));
            for _ in 0..9 {
                ticks.tick().await;
                pieces.send(Bytes::from_static(b".")).await.unwrap();
            }
        };
        let (answer, ()) = tokio::join!(asked, sends);
        assert_eq!(answer.unwrap().echo().body(), ".........");
    }
}

#[tokio::test]
async fn silence_of_the_client_does_not_count_against_the_upstream() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"1s\" }}")).await;
    let (pieces, body) = mpsc::channel(1);
    let asked = edge.request("POST", "shop.home.test/").streamed(body).attempt();
    let sends = async move {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(1500));
        for piece in ["one ", "two ", "three"] {
            ticks.tick().await;
            pieces.send(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
    };
    let (answer, ()) = tokio::join!(asked, sends);
    assert_eq!(answer.unwrap().echo().body(), "one two three");
}

#[tokio::test]
#[ignore = "slow: 30 s for a request head, then 30 s for a body"]
async fn slow_heads_and_silent_bodies_are_cut_off_after_30_seconds() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let plain = edge.client().at(Door::Plain);
    let slow_head = ends_after(&plain, "GET / HTTP/1.1\r\nHost: shop.home.test\r\nX-Slow: ");
    let nothing = ends_after(&plain, "");
    let body = ends_after(
        &plain,
        "POST /body HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 100000\r\n\r\nonly the beginning",
    );
    let tls = edge.client();
    let tls_head = ends_after(&tls, "GET / HTTP/1.1\r\nHost: shop.home.test\r\n");
    let no_tls = edge.client().port(Door::Https.port(), false);
    let unsaid = ends_after(&no_tls, "");
    let (head, nothing, body, tls_head, unsaid) = tokio::join!(slow_head, nothing, body, tls_head, unsaid);
    for (what, seconds) in [("head", head.0), ("body", body.0), ("head over TLS", tls_head.0)] {
        assert!((25..50).contains(&seconds), "{what}: {seconds} s");
    }
    assert!(nothing.0 < 90 && unsaid.0 < 90, "{} s, {} s before TLS", nothing.0, unsaid.0);
    assert!(body.1.is_empty() || body.1.starts_with("HTTP/1.1 408"), "{}", body.1);
    assert_eq!(edge.record_of("/body").await["cause"], "body-timeout");
}

#[tokio::test]
#[ignore = "slow: 60 s until an idle connection is closed"]
async fn idle_connections_are_closed_after_60_seconds() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let began = tokio::time::Instant::now();
    let mut one = edge.client().connect("shop.home.test").await;
    let mut two = edge.client().h2().connect("shop.home.test").await;
    one.get("/").await;
    two.get("/").await;
    let waits = async |connection: &mut crate::harness::Connection| {
        while connection.is_open() {
            assert!(began.elapsed().as_secs() < 100, "still open");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
        began.elapsed().as_secs()
    };
    // A frame that is no request neither begins the shorter time of a head nor makes this one longer.
    let (mut wire, _) = edge.client().h2().open("shop.home.test").await.unwrap();
    let pinged = async {
        wire.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x08\x06\0\0\0\0\0opaque..")
            .await
            .unwrap();
        let mut frames = Vec::new();
        let mut head = [0; 9];
        while wire.read_exact(&mut head).await.is_ok() {
            assert!(began.elapsed().as_secs() < 100, "still open");
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            wire.read_exact(&mut payload).await.unwrap();
            if (head[3], head[4]) == (6, 0) {
                wire.write_all(&[&[0, 0, 8, 6, 1, 0, 0, 0, 0], &payload[..]].concat()).await.unwrap();
            }
            frames.push((head[3], payload));
        }
        (frames, began.elapsed().as_secs())
    };
    let (one, two, (frames, three)) = tokio::join!(waits(&mut one), waits(&mut two), pinged);
    let farewell = frames.last().filter(|(kind, _)| *kind == 7).and_then(|(_, payload)| payload.get(4..8));
    assert_eq!(farewell, Some(&[0; 4][..]), "a GOAWAY without an error is the last word: {frames:?}");
    assert!([one, two, three].iter().all(|seconds| (50..90).contains(seconds)), "{one} s, {two} s, {three} s");
}

#[tokio::test]
#[ignore = "slow: a trickle is measured over 30 s"]
async fn a_trickling_body_is_cut_off() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let (mut wire, _) = edge.client().at(Door::Plain).open("shop.home.test").await.unwrap();
    wire.write_all(b"POST /trickle HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
    let began = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    while wire.write_all(b"ten bytes!").await.is_ok() {
        ticks.tick().await;
        assert!(began.elapsed().as_secs() < 90, "still taken");
    }
    assert!(began.elapsed().as_secs() > 20);
}

/// Sends this, and then nothing: after how many seconds the other side ended it, and what it said.
async fn ends_after(client: &crate::harness::Client, bytes: &str) -> (u64, String) {
    let (mut wire, _) = client.open("shop.home.test").await.unwrap();
    wire.write_all(bytes.as_bytes()).await.unwrap();
    wire.flush().await.unwrap();
    let began = tokio::time::Instant::now();
    let mut said = Vec::new();
    let read = wire.read_to_end(&mut said);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(100), read).await.expect("an end");
    (began.elapsed().as_secs(), String::from_utf8_lossy(&said).into_owned())
}
