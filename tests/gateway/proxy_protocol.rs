//! PROXY headers: from a gateway in front, and to an upstream that wants them.

use crate::harness::{CERT, FRONT, GUEST, Gateway, HOME, TAIL, TestCa, Upstream, eventually};

/// A gateway with a door for connections with a header, on 8090 (cleartext) and 8453 (TLS); `HOME` may come.
async fn behind(routes: impl AsRef<str>) -> Gateway {
    let doors = format!(
        "[listen.front]\nhttps = \"ADDR:8453\"\ntrust = [\"{HOME}\", \"10.9.9.9\"]\nproxy_protocol = true\n\
         [listen.clear]\nhttp = \"ADDR:8090\"\ntrust = [\"{HOME}\", \"10.9.9.9\"]\nproxy_protocol = true\n"
    );
    let front = FRONT.replace("[networks]", "[networks]\ninside = [\"10.1.0.0/16\", \"2001:db8::/32\"]");
    Gateway::running(format!("{front}{doors}{CERT}{TAIL}{}", routes.as_ref())).await
}

fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, addresses].concat()
}

const INSIDE: &str = "PROXY TCP4 10.1.2.3 10.0.0.1 5000 443\r\n";

#[tokio::test]
async fn the_header_says_who_the_client_is_in_either_version_with_and_without_tls() {
    let shop = Upstream::echoing().await;
    let edge = behind(format!("[routes.shop]\nto = \"{shop}\"\nallow = [\"inside\"]")).await;
    let with_extensions =
        [&[10, 1, 2, 3, 10, 0, 0, 1, 0x13, 0x88, 1, 0xbb][..], &[0x02, 0, 3, b'a', b'b', b'c']].concat();
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x13, 0x88, 1, 0xbb]].concat();
    for (header, client) in [
        (INSIDE.as_bytes().to_vec(), "10.1.2.3"),
        (b"PROXY TCP6 2001:db8::7 ::1 5000 443\r\n".to_vec(), "2001:db8::7"),
        (v2(0x21, 0x11, &with_extensions), "10.1.2.3"),
        (v2(0x21, 0x21, &six), "2001:db8::7"),
    ] {
        for (port, is_encrypted) in [(8090, false), (8453, true)] {
            let from = edge.client().port(port, is_encrypted).greeting(&header);
            let echo = from.get("shop.home.test/").header("x-forwarded-for", "10.1.7.7").await.echo();
            assert_eq!(echo.header("x-forwarded-for"), client);
            assert_eq!(echo.header("x-forwarded-proto"), if is_encrypted { "https" } else { "http" });
        }
        let h2 = edge.client().h2().port(8453, true).greeting(&header);
        assert_eq!(h2.get("shop.home.test/h2").await.echo().header("x-real-ip"), client);
    }
    for record in edge.records_of("/h2").await {
        assert_eq!(record["peer"], HOME.to_string(), "the log knows both: {record}");
        assert!(record["client"] == "10.1.2.3" || record["client"] == "2001:db8::7", "{record}");
    }
}

#[tokio::test]
async fn the_header_may_come_in_pieces_and_in_one_with_what_follows() {
    let shop = Upstream::echoing().await;
    let edge = behind(format!("[routes.shop]\nto = \"{shop}\"\nallow = [\"inside\"]")).await;
    let request = "GET / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    let binary = v2(0x21, 0x11, &[10, 1, 2, 3, 10, 0, 0, 1, 0, 1, 0, 2]);
    for header in [INSIDE.as_bytes(), &binary] {
        let mut raw = edge.client().port(8090, false).raw("unnamed").await;
        for byte in header {
            raw.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        raw.send(request).await;
        assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
        let mut raw = edge.client().port(8090, false).raw("unnamed").await;
        raw.send([header, request.as_bytes()].concat()).await;
        assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn who_is_announced_is_believed_no_further_than_the_door_trusts_him() {
    let shop = Upstream::echoing().await;
    let edge = behind(format!("[routes.shop]\nto = \"{shop}\"\nallow = [\"anyone\"]")).await;
    let ask = |header: &str| {
        let client = edge.client().port(8090, false).greeting(header);
        client.get("shop.home.test/").header("x-forwarded-for", "10.7.7.7").header("x-forwarded-proto", "https")
    };
    // A client's own word counts for nothing …
    let echo = ask(INSIDE).await.echo();
    assert_eq!((&*echo.header("x-forwarded-for"), &*echo.header("x-forwarded-proto")), ("10.1.2.3", "http"));
    // … another gateway's, which is trusted itself, does.
    let echo = ask("PROXY TCP4 10.9.9.9 10.0.0.1 1 2\r\n").await.echo();
    assert_eq!((&*echo.header("x-forwarded-for"), &*echo.header("x-forwarded-proto")), ("10.7.7.7", "https"));
}

#[tokio::test]
async fn a_gateway_that_names_nobody_lends_nobody_its_own_rights() {
    let shop = Upstream::echoing().await;
    let edge =
        behind(format!("[routes.shop]\nto = \"{shop}\"\n[routes.open]\nto = \"{shop}\"\nallow = [\"anyone\"]")).await;
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0x21, 0x00, &[]), v2(0x21, 0x31, &[0; 216])] {
        let nobody = edge.client().port(8090, false).greeting(&header);
        let refused = nobody.get("shop.home.test/").header("x-forwarded-for", "127.0.0.9").await;
        assert_eq!(refused.status, 403, "{refused}");
        let echo = nobody.get("open.home.test/").header("x-forwarded-for", "127.0.0.9").await.echo();
        assert_eq!(echo.header("x-forwarded-for"), "");
    }
    // Its own health check is its own.
    let own = edge.client().port(8090, false).greeting(v2(0x20, 0x00, &[]));
    assert_eq!(own.get("shop.home.test/").await.echo().header("x-forwarded-for"), HOME.to_string());
}

#[tokio::test]
async fn whoever_is_not_trusted_or_sends_no_header_is_not_served() {
    let shop = Upstream::echoing().await;
    let edge = behind(format!("[routes.shop]\nto = \"{shop}\"\nallow = [\"anyone\"]")).await;
    let request = "GET / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    let mut stranger = edge.client().from(GUEST).port(8090, false).raw("unnamed").await;
    let _ = stranger.try_send(format!("{INSIDE}{request}")).await;
    assert_eq!(stranger.rest().await, "");
    for header in ["", "PROXY TCP4 10.1.2.3\r\n", "PROXY TCP5 1 2 3 4\r\n", "\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0"] {
        let mut raw = edge.client().port(8090, false).raw("unnamed").await;
        let _ = raw.try_send(format!("{header}{request}")).await;
        assert_eq!(raw.rest().await, "", "{header:?}");
    }
    assert!(edge.client().port(8453, true).get("shop.home.test/").attempt().await.is_err());
    assert_eq!(shop.requests(), 0);
    let counted = "doorward_tls_handshakes_failed_total{cause=\"proxy-header\"}";
    eventually("the count", async || (edge.metric(counted).await == 5.0).then_some(())).await;
}

#[tokio::test]
#[ignore = "slow: a header that never ends is waited for 10 s"]
async fn a_header_that_never_ends_is_not_waited_for() {
    let edge = behind("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    let mut raw = edge.client().port(8090, false).raw("unnamed").await;
    raw.send("PROXY TCP4 ").await;
    assert_eq!(raw.rest().await, "");
}

#[tokio::test]
async fn an_upstream_is_told_who_the_client_is_and_shares_no_connection() {
    for (version, begins) in [
        ("v1", b"PROXY TCP4 127.0.0.7 ".to_vec()),
        ("v2", [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", &[127, 0, 0, 7][..]].concat()),
    ] {
        let shop = Upstream::acting(|mut peer| async move {
            let first = peer.bytes().await.unwrap_or_default();
            let end =
                if first.starts_with(b"PROXY") { first.iter().position(|b| *b == b'\n').unwrap() + 1 } else { 28 };
            let header: String = first[..end.min(first.len())].iter().map(|b| format!("{b:02x}")).collect();
            if first.len() == end {
                peer.head().await;
            }
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{header}", header.len())).await;
            peer.until_closed().await;
        })
        .await;
        let edge =
            Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", proxy_protocol = \"{version}\" }}")).await;
        let begins: String = begins.iter().map(|b| format!("{b:02x}")).collect();
        let mut open = edge.client().connect("shop.home.test").await;
        for nth in 1..4 {
            let answer = open.get("/").await;
            assert!(answer.text().starts_with(&begins), "{version}: {}", answer.text());
            assert_eq!(shop.connections(), nth, "each request has its own");
        }
        let other = edge.client().from("127.0.0.99".parse().unwrap()).get("shop.home.test/").await;
        assert!(!other.text().starts_with(&begins), "{other}");
    }
}

#[tokio::test]
async fn the_announcement_comes_before_tls_and_before_http2() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let shop = Upstream::acting(move |mut peer| {
        let tell = tell.clone();
        async move {
            let mut all = Vec::new();
            while all.len() < 60
                && let Some(more) = peer.bytes().await
            {
                all.extend_from_slice(&more);
            }
            let _ = tell.send(all);
        }
    })
    .await;
    let edge = Gateway::stopped();
    edge.folder().replace("ca.crt", TestCa::new("any").pem());
    let mut edge = edge;
    edge.write_routes(format!(
        "[routes]\nsafe = {{ to = \"{}\", ca = \"ca.crt\", proxy_protocol = \"v1\" }}\ncalls = {{ to = \"{}\", proxy_protocol = \"v1\" }}",
        shop.url("https"),
        shop.url("h2c")
    ));
    edge.start(&[]).await;
    for (name, follows) in [("safe", &b"\x16\x03"[..]), ("calls", b"PRI * HTTP/2.0")] {
        assert_eq!(edge.get(&format!("{name}.home.test/")).await.status, 502);
        let all = told.recv().await.unwrap();
        let end = all.iter().position(|b| *b == b'\n').unwrap() + 1;
        assert!(all.starts_with(b"PROXY TCP4 127.0.0.7 "), "{}", all.escape_ascii());
        assert!(all[end..].starts_with(follows), "{}", all.escape_ascii());
    }
}
