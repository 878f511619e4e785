//! HTTP/1.1 from end to end: framing, bodies, connections.

use bytes::Bytes;
use http::Response;
use tokio::sync::mpsc;

use crate::harness::{Door, Gateway, Upstream, eventually, full};

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..5 {
        assert_eq!(open.get("/").await.text(), "the shop");
    }
    assert_eq!(shop.connections(), 1, "one upstream connection is enough for one client");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    let requests: String = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).collect();
    raw.send(requests).await;
    for n in 0..5 {
        let answer = raw.answer().await;
        assert!(answer.contains(&format!("\"target\":\"/{n}\"")), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_the_connection_goes_on() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: b\r\n\r\n").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    for _ in 0..2 {
        raw.send("HEAD /h HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_ascii_lowercase().contains("content-length: 1234"), "{head}");
    }
    assert!(shop.recorded()[0].starts_with("HEAD /h HTTP/1.1\r\n"));
    assert_eq!(edge.client().h2().request("HEAD", "shop.home.test/h").await.header("content-length"), "1234");
}

#[tokio::test]
async fn answers_without_a_body_leave_the_connection_in_step() {
    for status in ["204 No Content", "304 Not Modified"] {
        let shop = Upstream::recording(&format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\n\r\n")).await;
        let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
        let mut open = edge.client().connect("shop.home.test").await;
        for _ in 0..3 {
            let answer = open.get("/").await;
            assert_eq!(answer.status.to_string(), status[..3]);
            assert_eq!((answer.header("etag"), answer.body.len()), ("\"x\"", 0));
        }
        assert_eq!(shop.connections(), 1);
    }
}

#[tokio::test]
async fn a_304_keeps_the_length_that_it_names() {
    let shop = Upstream::recording("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..2 {
        let answer = open.get("/").await;
        assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (304, "77", 0));
    }
}

#[tokio::test]
async fn who_expects_100_continue_gets_it_and_then_sends() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    raw.send("POST /u HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(raw.head().await.starts_with("HTTP/1.1 100"));
    raw.send("hello").await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"body\":\"hello\""), "{answer}");
    raw.send("GET /next HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(raw.answer().await.contains("/next"), "the connection is in step");
}

#[tokio::test]
async fn who_expects_100_continue_and_is_refused_is_not_asked_for_the_body() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", max_body = \"1K\" }}")).await;
    let mut raw = edge.raw().await;
    raw.send("POST /u HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(raw.head().await.starts_with("HTTP/1.1 413"));
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn who_waits_to_be_asked_and_is_answered_instead_learns_that_the_connection_ends() {
    let shop = Upstream::echoing().await;
    let edge =
        Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npaths.\"/moved\" = {{ redirect = \"/\" }}")).await;
    let mut raw = edge.raw().await;
    raw.send("POST /moved HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    let said = raw.answer().await;
    assert!(said.starts_with("HTTP/1.1 30") && said.contains("\r\nconnection: close\r\n"), "{said}");
    let _ = raw.try_send("hello").await;
    assert_eq!(raw.rest().await, "");
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn requests_are_understood_however_they_are_cut() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let host = "Host: shop.home.test\r\n";
    let all = format!(
        "\r\nGET /0 HTTP/1.1\r\n{host}\r\nPOST /1 HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello\
         POST /2 HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n2;a\r\nhe\r\n3\r\nllo\r\n0\r\nX-T: 1\r\n\r\n\
         GET /3 HTTP/1.1\n{host}\r\n"
    );
    for client in [edge.client().at(Door::Plain), edge.client()] {
        for piece in [1, 2, 7, 50] {
            let mut raw = client.raw("shop.home.test").await;
            for part in all.as_bytes().chunks(piece) {
                raw.send(part).await;
            }
            for (nth, body) in ["", "hello", "hello", ""].into_iter().enumerate() {
                let said = raw.answer().await;
                assert!(said.contains(&format!("\"target\":\"/{nth}\"")), "{nth} by {piece}: {said}");
                assert!(said.contains(&format!("\"body\":\"{body}\"")), "{nth} by {piece}: {said}");
            }
        }
    }
}

/// A body that nobody wants ends the connection only if it is not here already.
#[tokio::test]
async fn a_body_that_nobody_wants_does_not_end_a_connection_that_can_go_on() {
    let shop = Upstream::echoing().await;
    let paths = "paths.\"/*\" = { text = \"said\" }";
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\n{paths}")).await;
    for client in [edge.client().at(Door::Plain), edge.client()] {
        let mut raw = client.raw("shop.home.test").await;
        for framing in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            raw.send(format!("POST / HTTP/1.1\r\nHost: shop.home.test\r\n{framing}")).await;
            assert!(raw.answer().await.ends_with("\r\n\r\nsaid"));
        }
        raw.send("POST / HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 500000\r\n\r\nhello").await;
        assert!(raw.answer().await.ends_with("\r\n\r\nsaid"));
        assert_eq!(raw.rest().await, "", "what is to come is waited for by nobody");
    }
}

#[tokio::test]
async fn the_upstream_is_asked_whether_it_wants_the_body() {
    let shop = Upstream::acting(|mut peer| async move {
        let head = peer.head().await.unwrap_or_default().to_ascii_lowercase();
        assert!(head.contains("\r\nexpect: 100-continue\r\n"), "{head}");
        peer.told().await;
        peer.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n").await;
        let body = String::from_utf8_lossy(&peer.bytes().await.unwrap_or_default()).into_owned();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        peer.until_closed().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    raw.send("POST /u HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n").await;
    eventually("the head at the upstream", async || (shop.requests() == 1).then_some(())).await;
    shop.tell();
    assert!(raw.head().await.starts_with("HTTP/1.1 100"));
    raw.send("hello").await;
    assert!(raw.answer().await.ends_with("\r\n\r\nhello"));
}

#[tokio::test]
async fn an_upstream_that_never_says_100_gets_the_body_all_the_same() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    for _ in 0..2 {
        raw.send("POST /u HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
        assert!(raw.head().await.starts_with("HTTP/1.1 100"));
        raw.send("hello").await;
        assert!(raw.answer().await.ends_with("ok"));
    }
    assert!(shop.recorded().iter().all(|request| request.ends_with("\r\n\r\nhello")), "{:?}", shop.recorded());
}

#[tokio::test]
async fn an_upstream_that_answers_instead_of_asking_is_sent_no_body_and_nothing_else_either() {
    let shop = Upstream::acting(|mut peer| async move {
        let refuses = peer.head().await.is_some_and(|head| head.contains("/refused"));
        let said = if refuses { "HTTP/1.1 401 Unauthorized" } else { "HTTP/1.1 200 OK\r\nConnection: close" };
        peer.send(format!("{said}\r\nContent-Length: 2\r\n\r\nno")).await;
        // What follows on this connection would be taken for the body.
        let more = peer.bytes().await;
        assert!(!refuses || more.is_none(), "{more:?}");
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for n in 0..5 {
        let mut raw = edge.raw().await;
        raw.send(
            "POST /refused HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 38\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
        let said = raw.answer().await.to_ascii_lowercase();
        assert!(said.starts_with("http/1.1 401") && said.contains("\r\nconnection: close\r\n"), "{said}");
        // Whoever sends its body in spite of that does not get a request into anybody's way.
        let _ = raw.try_send("GET /smuggled HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
        assert_eq!(raw.rest().await, "");
        assert_eq!(edge.get(&format!("shop.home.test/{n}")).await.text(), "no");
    }
    assert!(shop.recorded().iter().all(|head| !head.contains("/smuggled")), "{:?}", shop.recorded());
    eventually("the refused ones to be let go", async || (shop.open() <= 5).then_some(())).await;
    for record in edge.records_of("/refused").await {
        assert_eq!(record["status"], 401, "{record}");
    }
}

#[tokio::test]
async fn a_chunked_upload_arrives_whole() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let echo = edge.request("POST", "shop.home.test/up").pieces(&["one ", "two ", "three"], &[]).await.echo();
    assert_eq!(echo.body(), "one two three");
    let big = edge.request("PUT", "shop.home.test/up").generated(5_000_000, false).await.echo();
    assert!(big.length() == 5_000_000 && big.is_generated());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_not_lost_with_any_method() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for method in ["GET", "DELETE", "OPTIONS", "POST", "PATCH", "REPORT"] {
        for client in [edge.client(), edge.client().h2()] {
            let echo = client.request(method, "shop.home.test/b").pieces(&["a query"], &[]).await.echo();
            assert_eq!((echo.method(), echo.body()), (method, "a query"));
        }
    }
}

#[tokio::test]
async fn an_upload_flows_while_it_is_sent() {
    let shop = Upstream::acting(|mut peer| async move {
        if peer.head().await.is_some() {
            // The first piece is answered before there is a second one.
            let first = String::from_utf8_lossy(&peer.bytes().await.unwrap_or_default()).into_owned();
            let early = if first.contains("first") { "seen" } else { "lost" };
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{early}")).await;
            peer.until_closed().await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let (pieces, body) = mpsc::channel(1);
        pieces.send(Bytes::from_static(b"first")).await.unwrap();
        let mut answer = client.request("POST", "shop.home.test/").streamed(body).start().await;
        assert_eq!(&answer.piece().await.unwrap()[..], b"seen");
        drop(pieces);
    }
}

#[tokio::test]
async fn an_answer_flows_while_it_is_made() {
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let body = std::sync::Mutex::new(Some(body));
    let shop = Upstream::serving(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(crate::harness::streamed(body)) }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let asked = edge.get("shop.home.test/").start();
    let (mut answer, sent) = tokio::join!(asked, pieces.send(Bytes::from_static(b"one")));
    sent.unwrap();
    assert_eq!(answer.piece().await.unwrap(), "one");
    pieces.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(answer.piece().await.unwrap(), "two");
    drop(pieces);
    assert!(answer.piece().await.is_none());
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let ask = client.request("POST", "shop.home.test/").header("trailer", "x-sum");
        let echo = ask.pieces(&["body"], &[("x-sum", "abc")]).await.echo();
        assert_eq!((echo.body(), echo.trailer("x-sum")), ("body", "abc"));
    }
    let mut open = edge.client().connect("shop.home.test").await;
    let before = shop.connections();
    for _ in 0..4 {
        let ask = open.request("POST", "/").header("trailer", "x-sum").pieces(&["body"], &[("x-sum", "abc")]);
        assert_eq!(ask.await.echo().trailer("x-sum"), "abc");
    }
    assert!(shop.connections() <= before + 1, "the connection goes on behind trailers");
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: def\r\n\r\n";
    let blog = Upstream::recording(answer).await;
    let edge = Gateway::serving(format!("[routes]\nblog = \"{blog}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let answer = client.get("blog.home.test/").header("te", "trailers").await;
        assert_eq!(answer.text(), "body");
        assert_eq!(answer.trailers.expect("trailers")["x-sum"], "def");
    }
}

#[tokio::test]
async fn ranges_pass_untouched() {
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-5/10\r\nContent-Length: 4\r\n\r\n2345";
    let shop = Upstream::recording(part).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let answer = edge.get("shop.home.test/film").header("range", "bytes=2-5").header("if-range", "\"x\"").await;
    assert_eq!((answer.status, answer.header("content-range"), answer.text()), (206, "bytes 2-5/10", "2345"));
    let sent = shop.recorded()[0].to_ascii_lowercase();
    assert!(sent.contains("\r\nrange: bytes=2-5\r\n") && sent.contains("\r\nif-range: \"x\"\r\n"), "{sent}");
}

#[tokio::test]
async fn http_1_0_clients_are_served_without_chunks() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let shop = Upstream::recording(chunked).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    raw.send("GET / HTTP/1.0\r\nHost: shop.home.test\r\n\r\n").await;
    let said = raw.rest().await;
    assert!(said.contains(" 200 ") && said.ends_with("\r\n\r\nhello"), "{said}");
    assert!(!said.to_ascii_lowercase().contains("transfer-encoding"), "{said}");
    assert!(shop.recorded()[0].starts_with("GET / HTTP/1.1\r\n"), "our own version towards the upstream");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole() {
    let shop = Upstream::acting(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end").await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        assert_eq!(client.get("shop.home.test/").await.text(), "until the end");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_never_passed_on_as_whole() {
    let cuts = [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nffff\r\nmore",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\nzz\r\n",
    ];
    for cut in cuts {
        let shop = Upstream::acting(move |mut peer| async move {
            if peer.request().await.is_some() {
                peer.send(cut).await;
            }
        })
        .await;
        let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
        for client in [edge.client(), edge.client().h2()] {
            let answer = client.get("shop.home.test/").attempt().await;
            assert!(!answer.as_ref().is_ok_and(|a| a.status == 200), "{cut:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_early_answer_ends_the_upload() {
    let shop = Upstream::acting(|mut peer| async move {
        if peer.head().await.is_some() {
            peer.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much").await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let (pieces, body) = mpsc::channel(1);
        pieces.send(Bytes::from_static(b"first")).await.unwrap();
        let mut answer = client.request("POST", "shop.home.test/").streamed(body).start().await;
        assert_eq!(answer.status, 413);
        assert_eq!(answer.piece().await.unwrap(), "too much");
        drop(pieces);
    }
}

#[tokio::test]
async fn interim_answers_of_an_upstream_do_not_hide_the_final_one() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal";
    let shop = Upstream::recording(hints).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..2 {
        let answer = open.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, "final"));
    }
    assert_eq!(shop.connections(), 1);
}

#[tokio::test]
async fn connection_close_is_honoured_on_both_sides() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    raw.send("GET /a HTTP/1.1\r\nHost: shop.home.test\r\nConnection: close\r\n\r\n").await;
    let said = raw.rest().await.to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 200") && said.contains("\r\nconnection: close\r\n"), "{said}");
    // The client's wish concerns its own connection only.
    let sent = shop.recorded()[0].to_ascii_lowercase();
    assert!(!sent.contains("\r\nconnection:"), "{sent}");
    assert_eq!(shop.open(), 1);
}

#[tokio::test]
async fn an_upstream_may_close_after_every_answer() {
    let shop = Upstream::acting(|mut peer| async move {
        if peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..5 {
        let answer = open.get("/").await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "the client's own connection stays");
    }
    assert_eq!(shop.requests(), 5);
}

#[tokio::test]
async fn an_absolute_target_is_forwarded_in_origin_form() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let said = edge.says("GET http://shop.home.test/a?b HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(shop.recorded()[0].starts_with("GET /a?b HTTP/1.1\r\n"), "{}", shop.recorded()[0]);
}

#[tokio::test]
async fn upstream_errors_pass_untouched() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\nRetry-After: 7\r\n\r\ntheir own";
    let shop = Upstream::recording(answer).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let answer = edge.get("shop.home.test/").await;
    assert_eq!((answer.status, answer.text(), answer.header("retry-after")), (503, "their own", "7"));
    assert!(!answer.has("x-doorward-error"));
}

#[tokio::test]
async fn repeated_fields_keep_number_and_order() {
    let answer = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n";
    let shop = Upstream::recording(answer).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let answer = edge.get("shop.home.test/").header("x-many", "1").header("x-many", "2").await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    let sent = shop.recorded()[0].to_ascii_lowercase();
    let (one, two) = (sent.find("x-many: 1").unwrap(), sent.find("x-many: 2").unwrap());
    assert!(one < two);
}

#[tokio::test]
async fn compressed_answers_pass_untouched() {
    let shop = Upstream::serving(|request| async move {
        let accepts = request.headers().get("accept-encoding").cloned();
        let mut response = Response::new(full(&b"\x1f\x8b not really"[..]));
        response.headers_mut().insert("content-encoding", accepts.unwrap());
        response
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let answer = edge.get("shop.home.test/").header("accept-encoding", "gzip").await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(&answer.body[..], b"\x1f\x8b not really");
}

#[tokio::test]
async fn half_a_gibibyte_passes_up_and_down_with_flat_memory() {
    const SIZE: u64 = 512 << 20;
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let clients = [edge.client(), edge.client().h2(), edge.client().at(Door::Plain)];
    // A first small one, so that what is loaded once is loaded.
    for client in &clients {
        assert_eq!(client.get("shop.home.test/1000000").start().await.generated_rest(0).await, 1_000_000);
        assert_eq!(
            client.request("POST", "shop.home.test/up").generated(1_000_000, true).await.echo().length(),
            1_000_000
        );
    }
    let before = edge.memory();
    for client in &clients[1..] {
        assert_eq!(client.get(&format!("shop.home.test/{SIZE}")).start().await.generated_rest(0).await, SIZE);
        let echo = client.request("POST", "shop.home.test/up").generated(SIZE, false).await.echo();
        assert!(echo.length() == SIZE && echo.is_generated());
    }
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "memory grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_client_that_does_not_read_costs_little_memory() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let before = edge.memory();
    let mut paused = Vec::new();
    for client in [edge.client(), edge.client().h2()] {
        for _ in 0..10 {
            let mut answer = client.get("shop.home.test/1000000000").start().await;
            answer.piece().await.unwrap();
            paused.push(answer);
        }
    }
    // What can be taken in has been, once others are served as usual.
    for _ in 0..50 {
        assert_eq!(edge.get("shop.home.test/100000").start().await.generated_rest(0).await, 100_000);
    }
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "20 paused downloads hold {} MiB", grown >> 20);
}

#[tokio::test]
async fn idle_connections_hold_nothing_of_what_was_uploaded_on_them() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let mut open = Vec::new();
        let mut before = 0;
        for count in 0..110 {
            if count == 10 {
                before = edge.memory();
            }
            let mut connection = client.connect("shop.home.test").await;
            let answer = connection.request("POST", "/up").generated(1_000_000, true).await;
            assert_eq!(answer.echo().length(), 1_000_000);
            open.push(connection);
        }
        eventually("memory to be given back", async || {
            let each = edge.memory().saturating_sub(before) / 100;
            (each < 40 << 10).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn two_heavy_downloads_do_not_share_a_core() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut one = edge.get("shop.home.test/200000000").start().await;
    one.piece().await.unwrap();
    let mut two = edge.get("shop.home.test/200000000").start().await;
    two.piece().await.unwrap();
    let before = edge.ticks_of_cores();
    tokio::join!(drained(one), drained(two));
    let worked: Vec<u64> = edge.ticks_of_cores().iter().zip(before).map(|(after, before)| after - before).collect();
    let all: u64 = worked.iter().sum();
    assert!(worked.len() == 2 && worked.iter().all(|ticks| ticks * 5 > all), "processor time by core: {worked:?}");
}

async fn drained(mut answer: crate::harness::Streaming) {
    while answer.piece().await.is_some() {}
}

#[tokio::test]
async fn answers_to_head_and_without_a_body_are_in_step_from_http2_upstreams_too() {
    let shop = Upstream::serving_http2(|request| async move {
        let status = request.uri().path()[1..].parse().unwrap_or(200);
        let is_head = request.method() == "HEAD";
        let mut answer = Response::new(if is_head || status != 200 { full("") } else { full("body") });
        *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
        if is_head {
            answer.headers_mut().insert("content-length", "77".parse().unwrap());
        }
        answer
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{}\"", shop.url("h2c"))).await;
    for client in [edge.client(), edge.client().h2()] {
        let mut open = client.connect("shop.home.test").await;
        for _ in 0..2 {
            let head = open.request("HEAD", "/").await;
            assert_eq!((head.header("content-length"), head.body.len()), ("77", 0));
            for status in ["204", "304"] {
                let answer = open.get(&format!("/{status}")).await;
                assert_eq!((answer.status.to_string(), answer.body.len()), (status.to_owned(), 0));
            }
            assert_eq!(open.get("/").await.text(), "body");
        }
    }
}

#[tokio::test]
async fn http_1_0_clients_may_keep_their_connection() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.raw().await;
    for _ in 0..3 {
        raw.send("GET / HTTP/1.0\r\nHost: shop.home.test\r\nConnection: keep-alive\r\n\r\n").await;
        let said = raw.answer().await.to_ascii_lowercase();
        assert!(said.starts_with("http/1.0 200") || said.starts_with("http/1.1 200"), "{said}");
        assert!(said.contains("\r\nconnection: keep-alive\r\n") && said.ends_with("ok"), "{said}");
    }
    raw.send("GET / HTTP/1.0\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(raw.rest().await.ends_with("ok"), "and it is closed where they do not");
}

#[tokio::test]
async fn the_whole_server_may_be_asked_for_its_options() {
    let shop = Upstream::recording("HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n").await;
    let calls = Upstream::echoing_http2().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\ncalls = \"{}\"", calls.url("h2c"))).await;
    let said = edge.says("OPTIONS * HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 204"), "{said}");
    assert!(shop.recorded()[0].starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", shop.recorded()[0]);
    let said = edge.says("OPTIONS * HTTP/1.1\r\nHost: calls.home.test\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[tokio::test]
async fn each_event_of_a_stream_arrives_before_the_next_is_made() {
    let events = |pieces: mpsc::Receiver<Bytes>| {
        let body = std::sync::Mutex::new(Some(pieces));
        move |_: http::Request<hyper::body::Incoming>| {
            let body = body.lock().unwrap().take().unwrap();
            async move {
                let stream = crate::harness::streamed(body);
                Response::builder().header("content-type", "text/event-stream").body(stream).unwrap()
            }
        }
    };
    for (spoken, h2) in [("http", false), ("http", true), ("h2c", false), ("h2c", true)] {
        let (pieces, body) = mpsc::channel::<Bytes>(1);
        let news = match spoken {
            "http" => Upstream::serving(events(body)).await,
            _ => Upstream::serving_http2(events(body)).await,
        };
        let edge = Gateway::serving(format!("[routes]\nnews = \"{}\"", news.url(spoken))).await;
        let client = if h2 { edge.client().h2() } else { edge.client() };
        let (mut answer, sent) =
            tokio::join!(client.get("news.home.test/").start(), pieces.send(Bytes::from_static(b"data: 0\n\n")));
        sent.unwrap();
        for n in 0..20 {
            assert_eq!(answer.piece().await.unwrap(), format!("data: {n}\n\n"), "{spoken}, {h2}");
            pieces.send(format!("data: {}\n\n", n + 1).into()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_long_poll_may_be_silent_for_less_than_idle() {
    let shop = Upstream::acting(|mut peer| async move {
        while peer.request().await.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", idle = \"10s\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        assert_eq!(client.get("shop.home.test/sync").await.text(), "ok");
    }
}
