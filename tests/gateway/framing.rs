//! What reaches an upstream, byte by byte, when a request is odd or hostile.

use crate::harness::{Gateway, STRANGER, Upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway whose `shop` leads to an upstream that keeps what it gets.
async fn recorded() -> (Upstream, Gateway) {
    let shop = Upstream::recording(OK).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    (shop, edge)
}

/// The lower-case head of the last request that the upstream got.
fn last(shop: &Upstream) -> String {
    let recorded = shop.recorded().pop().expect("a request");
    recorded.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase() + "\r\n"
}

#[tokio::test]
async fn what_connection_nominates_goes_no_further() {
    let (shop, edge) = recorded().await;
    let said = edge
        .says("GET / HTTP/1.1\r\nHost: shop.home.test\r\nConnection: keep-alive, X-Secret , x-other\r\nX-Secret: 1\r\nX-Other: 2\r\nX-Stays: 3\r\n\r\n")
        .await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let head = last(&shop);
    assert!(!head.contains("x-secret") && !head.contains("x-other"), "{head}");
    assert!(head.contains("\r\nx-stays: 3\r\n"), "{head}");
}

#[tokio::test]
async fn connection_may_come_in_several_lines() {
    let (shop, edge) = recorded().await;
    let said = edge
        .says("GET / HTTP/1.1\r\nHost: shop.home.test\r\nConnection: keep-alive\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\r\n")
        .await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(!last(&shop).contains("x-secret"), "{}", last(&shop));
}

#[tokio::test]
async fn connection_cannot_take_away_what_we_say() {
    let (shop, edge) = recorded().await;
    for nominated in ["host", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "via"] {
        let said = edge
            .says(format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\nConnection: close, {nominated}\r\n\r\n"))
            .await;
        // Refusing it is as good.
        if said.starts_with("HTTP/1.1 200") {
            let head = last(&shop);
            assert!(head.contains(&format!("\r\n{nominated}: ")), "{nominated} is missing in {head}");
        } else {
            assert!(said.starts_with("HTTP/1.1 400"), "{said}");
        }
    }
}

#[tokio::test]
async fn connection_cannot_take_away_the_framing() {
    let (shop, edge) = recorded().await;
    for framing in ["content-length: 5", "transfer-encoding: chunked"] {
        let (name, _) = framing.split_once(':').unwrap();
        let body = if name == "content-length" { "hello" } else { "5\r\nhello\r\n0\r\n\r\n" };
        let said = edge
            .says(format!(
                "POST / HTTP/1.1\r\nHost: shop.home.test\r\n{framing}\r\nConnection: keep-alive, {name}\r\n\r\n{body}"
            ))
            .await;
        if said.starts_with("HTTP/1.1 200") {
            assert!(shop.recorded().pop().unwrap().contains("hello"));
        }
    }
    assert!(shop.recorded().iter().all(|r| r.starts_with("POST / HTTP/1.1\r\n")));
}

#[tokio::test]
async fn hop_by_hop_fields_are_removed() {
    let (shop, edge) = recorded().await;
    edge.says(
        "GET / HTTP/1.1\r\nHost: shop.home.test\r\nKeep-Alive: timeout=5\r\nProxy: http://evil.test\r\nProxy-Connection: keep-alive\r\n\
         Proxy-Authorization: Basic eA==\r\nTE: gzip, deflate\r\nTrailer: X-T\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\
         HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    )
    .await;
    let head = last(&shop);
    for name in ["keep-alive", "proxy", "proxy-connection", "proxy-authorization", "te", "upgrade", "http2-settings"] {
        assert!(!head.contains(&format!("\r\n{name}:")), "{name} in {head}");
    }
}

#[tokio::test]
async fn only_trailers_remain_of_te() {
    let (shop, edge) = recorded().await;
    edge.says("GET / HTTP/1.1\r\nHost: shop.home.test\r\nTE: gzip;q=0.5, trailers\r\nConnection: TE\r\n\r\n").await;
    let head = last(&shop);
    assert!(!head.contains("gzip"), "{head}");
}

#[tokio::test]
async fn an_upgrade_to_http2_is_never_forwarded() {
    let (shop, edge) = recorded().await;
    for upgrade in ["h2c", "h2c, websocket", "HTTP/2.0", "TLS/1.0"] {
        let said = edge
            .says(format!(
                "GET / HTTP/1.1\r\nHost: shop.home.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
            ))
            .await;
        assert!(!said.starts_with("HTTP/1.1 101"), "{said}");
    }
    for head in shop.recorded() {
        let head = head.to_ascii_lowercase();
        assert!(!head.contains("h2c") && !head.contains("http2-settings") && !head.contains("tls/1.0"), "{head}");
    }
}

#[tokio::test]
async fn a_request_without_one_clear_host_is_refused() {
    let (shop, edge) = recorded().await;
    for (what, request) in [
        ("no Host", "GET / HTTP/1.1\r\n\r\n"),
        ("two", "GET / HTTP/1.1\r\nHost: shop.home.test\r\nHost: shop.home.test\r\n\r\n"),
        ("two names", "GET / HTTP/1.1\r\nHost: shop.home.test\r\nHost: evil.home.test\r\n\r\n"),
        ("a list", "GET / HTTP/1.1\r\nHost: shop.home.test, evil.home.test\r\n\r\n"),
        ("empty", "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
        ("user information", "GET / HTTP/1.1\r\nHost: user@shop.home.test\r\n\r\n"),
        ("a path", "GET / HTTP/1.1\r\nHost: shop.home.test/x\r\n\r\n"),
        ("not a port", "GET / HTTP/1.1\r\nHost: shop.home.test:8o\r\n\r\n"),
        ("a space", "GET / HTTP/1.1\r\nHost: shop .home.test\r\n\r\n"),
        ("absolute, other Host", "GET http://shop.home.test/ HTTP/1.1\r\nHost: evil.home.test\r\n\r\n"),
        ("absolute, no Host", "GET http://shop.home.test/ HTTP/1.1\r\n\r\n"),
        ("absolute, user", "GET http://u:p@shop.home.test/ HTTP/1.1\r\nHost: shop.home.test\r\n\r\n"),
        ("not ASCII", "GET / HTTP/1.1\r\nHost: sh\u{f6}p.home.test\r\n\r\n"),
    ] {
        let said = edge.says(request).await;
        assert!(said.starts_with("HTTP/1.1 400"), "{what}: {said}");
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let (shop, edge) = recorded().await;
    for (what, fields) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("a list of lengths", "Content-Length: 5, 6\r\n"),
        ("signed", "Content-Length: +5\r\n"),
        ("hexadecimal", "Content-Length: 0x5\r\n"),
        ("negative", "Content-Length: -5\r\n"),
        ("empty", "Content-Length:\r\n"),
        ("unknown coding", "Transfer-Encoding: gzip\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, gzip\r\n"),
        ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("identity too", "Transfer-Encoding: identity, chunked\r\n"),
        ("a space before the colon", "Content-Length : 5\r\n"),
        ("a tab in the name", "Transfer-Encoding\t: chunked\r\n"),
        ("vertical tab", "Transfer-Encoding: \u{b}chunked\r\n"),
    ] {
        let said = edge.says(format!("POST / HTTP/1.1\r\nHost: shop.home.test\r\n{fields}\r\nhello")).await;
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.1 501"),
            "{what}: {said}"
        );
    }
    let said =
        edge.says("POST / HTTP/1.0\r\nHost: shop.home.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(said.is_empty() || said.contains(" 400 "), "{said}");
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn a_body_with_length_and_chunks_is_never_forwarded_with_both() {
    let (shop, edge) = recorded().await;
    edge.says("POST / HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    for request in shop.recorded() {
        let request = request.to_ascii_lowercase();
        assert!(!(request.contains("content-length:") && request.contains("transfer-encoding:")), "{request}");
    }
}

#[tokio::test]
async fn a_hidden_request_in_a_body_stays_a_body() {
    let (shop, edge) = recorded().await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    let mut raw = edge.raw().await;
    raw.send(format!("POST /a HTTP/1.1\r\nHost: shop.home.test\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()))
        .await;
    assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
    raw.send("GET /b HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
    let lines: Vec<String> = shop.recorded().iter().map(|r| r.lines().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(lines, ["POST /a HTTP/1.1", "GET /b HTTP/1.1"]);
}

#[tokio::test]
async fn the_unread_body_of_a_refused_request_is_never_taken_for_the_next_one() {
    let shop = Upstream::recording(OK).await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\nallow = [\"anyone\"]\n[routes.shop.paths]\n\"/closed/*\" = {{ allow = [\"home\"] }}\n\"/moved\" = {{ redirect = \"/\" }}\n\"/said\" = {{ text = \"said\" }}"
    ))
    .await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: shop.home.test\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
    let stranger = edge.client().at(crate::harness::Door::Plain).from(STRANGER);
    for target in ["/closed/x", "/moved", "/said"] {
        for chunked in [false, true] {
            let mut raw = stranger.raw("unnamed").await;
            let framing = match chunked {
                false => format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
                true => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
            };
            raw.send(format!("POST {target} HTTP/1.1\r\nHost: shop.home.test\r\n{framing}")).await;
            assert!(!raw.answer().await.is_empty());
            // Either the connection is over, or it is in step.
            if raw.try_send("GET /next HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await.is_ok() {
                let next = raw.answer().await;
                assert!(next.is_empty() || next.starts_with("HTTP/1.1 200"), "{target}: {next}");
            }
        }
    }
    assert!(shop.recorded().iter().all(|r| r.starts_with("GET /next ")), "{:?}", shop.recorded());
}

#[tokio::test]
async fn connect_and_trace_are_never_forwarded() {
    let (shop, edge) = recorded().await;
    for request in [
        "CONNECT shop.home.test:443 HTTP/1.1\r\nHost: shop.home.test:443\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n",
        "CONNECT / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n",
    ] {
        let said = edge.says(request).await;
        assert!(said.starts_with("HTTP/1.1 405") || said.starts_with("HTTP/1.1 400"), "{request}: {said}");
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (shop, edge) = recorded().await;
    let long = "a".repeat(64 * 1024);
    let said = edge.says(format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\nX-Long: {long}\r\n\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let many: String = (0..2000).map(|n| format!("X-{n}: a\r\n")).collect();
    let said = edge.says(format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\n{many}\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let said = edge.says(format!("GET /{} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n", "a".repeat(100_000))).await;
    assert!(said.starts_with("HTTP/1.1 414") || said.starts_with("HTTP/1.1 431"), "{said}");
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn ordinary_large_heads_pass() {
    let (shop, edge) = recorded().await;
    let cookie = "a".repeat(7000);
    let many: String = (0..80).map(|n| format!("X-{n}: a\r\n")).collect();
    let said = edge.says(format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\nCookie: {cookie}\r\n{many}\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(last(&shop).contains(&cookie));
}

#[tokio::test]
async fn two_equal_requests_share_a_connection_only_one_after_the_other() {
    let (shop, edge) = recorded().await;
    for n in 0..10 {
        let said = edge.says(format!("GET /{n} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
        assert!(said.ends_with("ok"), "{said}");
    }
    for request in shop.recorded() {
        assert_eq!(request.matches("HTTP/1.1\r\n").count(), 1, "{request}");
        assert!(request.to_ascii_lowercase().contains("\r\nx-forwarded-for: "), "{request}");
    }
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_are_not_passed_on() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/9.9 200 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>not http</html>\r\n\r\n",
    ] {
        let shop = Upstream::recording(answer).await;
        let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
        for client in [edge.client(), edge.client().h2()] {
            let got = client.get("shop.home.test/").await;
            assert_eq!(got.refusal(), (502, "upstream-bad-response"), "{answer:?}: {got}");
        }
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_do_not_become_the_answer_to_the_next_request() {
    let shop = Upstream::acting(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let own = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            let extra = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
            peer.send(format!("{own}{extra}")).await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for n in 0..10 {
        let target = format!("/{n}");
        assert_eq!(open.get(&target).await.text(), target);
    }
}
