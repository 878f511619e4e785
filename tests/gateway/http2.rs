//! HTTP/2 in, HTTP/1.1 out.

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::mpsc;

use crate::abuse::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, field, frame, head, preface};
use crate::harness::{Gateway, Raw, Upstream, eventually, full, within};

const ACK: u8 = 1;
const GOAWAY: u8 = 7;

#[tokio::test]
async fn many_streams_share_one_connection() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let open = edge.client().h2().connect("shop.home.test").await;
    let asked = (0..90).map(|n| {
        let mut beside = open.beside();
        async move {
            let target = format!("/{n}");
            let echo = beside.request("POST", &target).body(target.clone()).await.echo();
            assert_eq!((echo.target(), echo.body()), (&*target, &*target));
        }
    });
    futures_util::future::join_all(asked).await;
}

#[tokio::test]
async fn a_stalled_stream_does_not_hold_up_the_others() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    let mut stalled = open.get("/100000000").start().await;
    stalled.piece().await.unwrap();
    for _ in 0..5 {
        assert_eq!(open.get("/10000").start().await.generated_rest(0).await, 10_000);
    }
}

#[tokio::test]
async fn cookie_crumbs_are_joined_for_the_upstream() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let ask = edge.client().h2().get("shop.home.test/").header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(ask.await.echo().header("cookie"), "a=1; b=2");
}

#[tokio::test]
async fn the_authority_becomes_the_host() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let echo = edge.client().h2().get("shop.home.test/a?b=c").await.echo();
    assert_eq!((echo.header("host").as_str(), echo.target()), ("shop.home.test", "/a?b=c"));
    assert_eq!(edge.client().h2().get("Shop.home.Test:8443/").await.status, 200);
}

#[tokio::test]
async fn fields_of_http1_connections_do_not_come_back_on_http2() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: x\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok";
    let shop = Upstream::recording(answer).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client().h2(), edge.client()] {
        let answer = client.get("shop.home.test/").await;
        assert_eq!((answer.text(), answer.header("x-end")), ("ok", "2"));
        for name in ["keep-alive", "x-hop", "proxy-connection", "transfer-encoding"] {
            assert!(!answer.has(name), "{name} in {answer}");
        }
    }
}

#[tokio::test]
async fn grpc_sees_its_te_and_its_trailers() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n3\r\nmsg\r\n0\r\ngrpc-status: 0\r\n\r\n";
    let shop = Upstream::recording(answer).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let ask = edge.client().h2().request("POST", "shop.home.test/pkg.Service/Call").header("te", "trailers");
    let answer = ask.header("content-type", "application/grpc").body("msg").await;
    assert_eq!(answer.trailers.expect("trailers")["grpc-status"], "0");
    assert!(shop.recorded()[0].to_ascii_lowercase().contains("\r\nte: trailers\r\n"), "{}", shop.recorded()[0]);
}

#[tokio::test]
async fn a_cancelled_stream_ends_the_work_behind_it() {
    let (pieces, body) = mpsc::channel::<Bytes>(4);
    let body = std::sync::Mutex::new(Some(body));
    let shop = Upstream::serving(move |_| {
        let body = body.lock().unwrap().take();
        async move { Response::new(body.map_or_else(|| full("again"), crate::harness::streamed)) }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    pieces.send(Bytes::from_static(b"first")).await.unwrap();
    let mut answer = open.get("/film").start().await;
    assert_eq!(answer.piece().await.unwrap(), "first");
    drop(answer);
    eventually("the upstream to notice", async || {
        let _ = pieces.try_send(Bytes::from_static(b"more"));
        (shop.open() == 0).then_some(())
    })
    .await;
    assert_eq!(open.get("/").await.text(), "again", "the connection goes on");
    let record = edge.record_of("/film").await;
    assert_eq!(record["aborted"], true, "{record}");
}

/// Many clients end an upload so, whose length they have said before.
#[tokio::test]
async fn an_upload_that_ends_with_an_empty_frame_leaves_the_upstream_connection_to_the_next() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let (wire, _) = edge.client().h2().open("shop.home.test").await.unwrap();
    let (mut send, connection) = h2::client::handshake(wire).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        send = send.ready().await.unwrap();
        let request = Request::post("https://shop.home.test/").header("content-length", "5").body(()).unwrap();
        let (answer, mut upload) = send.send_request(request, false).unwrap();
        upload.send_data(Bytes::from_static(b"hello"), false).unwrap();
        upload.send_data(Bytes::new(), true).unwrap();
        let (head, mut body) = within("an answer", answer).await.unwrap().into_parts();
        assert_eq!(head.status, 200);
        while let Some(piece) = within("the rest", body.data()).await {
            let _ = body.flow_control().release_capacity(piece.unwrap().len());
        }
    }
    assert_eq!(shop.connections(), 1);
}

#[tokio::test]
async fn a_refused_upload_leaves_the_other_streams_alone() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1K\" }}")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    for _ in 0..20 {
        let refused = open.request("POST", "/").generated(200_000, false).start().await;
        assert_eq!(refused.status, 413);
        drop(refused);
        assert_eq!(open.get("/x").await.echo().target(), "/x");
    }
}

/// The payload of the next frame of this kind; others before it are passed over.
async fn next(raw: &mut Raw, wanted: u8) -> Vec<u8> {
    loop {
        let header = raw.bytes(9).await;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
        let payload = raw.bytes(length as usize).await;
        if header[3] == wanted {
            return payload;
        }
    }
}

#[tokio::test]
async fn frames_of_64_kib_are_taken_and_longer_ones_end_the_connection() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = preface(&edge.client().h2()).await;
    let length = 64 << 10;
    let said = next(&mut raw, SETTINGS).await;
    assert!(said.chunks(6).any(|setting| setting == b"\0\x05\0\x01\0\0"), "the longest frame, in {said:?}");
    raw.send(frame(SETTINGS, ACK, 0, &[])).await;
    raw.send(frame(HEADERS, END_HEADERS, 1, &head("POST", "/up"))).await;
    raw.send(frame(DATA, END_STREAM, 1, &vec![b'a'; length])).await;
    next(&mut raw, HEADERS).await;
    assert_eq!(edge.record_of("/up").await["bytes_in"], length);
    raw.send(frame(HEADERS, END_HEADERS, 3, &head("POST", "/up"))).await;
    // No more than the header: what is behind it is not waited for.
    raw.send(&frame(DATA, END_STREAM, 3, &vec![b'a'; length + 1])[..9]).await;
    let farewell = next(&mut raw, GOAWAY).await;
    assert_eq!(farewell[4..8], 6_u32.to_be_bytes(), "FRAME_SIZE_ERROR (RFC 9113 §4.2)");
}

#[tokio::test]
async fn a_head_as_long_as_the_file_allows_may_come_in_frames_of_16_kib() {
    const LONG: usize = 600_000;
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n[limits]\nhead = \"1M\"\n")).await;
    let mut raw = preface(&edge.client().h2()).await;
    raw.send(frame(SETTINGS, ACK, 0, &[])).await;
    let fields = [head("GET", "/"), field("x-long", &"a".repeat(LONG))].concat();
    let count = fields.chunks(1 << 14).count();
    for (nth, part) in fields.chunks(1 << 14).enumerate() {
        let (kind, end) = if nth == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let last = if nth + 1 == count { END_HEADERS } else { 0 };
        raw.send(frame(kind, end | last, 1, part)).await;
    }
    next(&mut raw, HEADERS).await;
    assert!(shop.recorded()[0].contains(&format!("x-long: {}", "a".repeat(LONG))));
}
