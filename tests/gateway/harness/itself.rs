//! The parts of the harness, without a gateway between them: what fails here is the fault of no gateway.

use std::net::SocketAddr;

use super::{Client, TestCa, Upstream};

/// A client that goes straight to an upstream.
fn straight_to(upstream: &Upstream, ca: &TestCa, encrypted: bool) -> Client {
    let SocketAddr::V4(address) = upstream.address() else { panic!("upstreams are at IPv4 addresses") };
    Client::new(*address.ip(), ca.roots()).port(address.port(), encrypted)
}

#[tokio::test]
async fn client_and_upstream_understand_each_other() {
    let ca = TestCa::new("itself");
    let (plain, tls) = (Upstream::echoing().await, Upstream::echoing_tls(&ca.issue(&["shop.test"])).await);
    for client in [straight_to(&plain, &ca, false), straight_to(&tls, &ca, true)] {
        let mut open = client.connect("shop.test").await;
        let echo = open.request("POST", "/a?b").header("x-a", "1").body("hello").await.echo();
        assert_eq!((echo.method(), echo.target(), echo.body()), ("POST", "/a?b", "hello"));
        assert_eq!((echo.header("host").as_str(), echo.header("x-a").as_str()), ("shop.test", "1"));
        let echo = open.request("PUT", "/").generated(3_000_000, false).await.echo();
        assert!(echo.length() == 3_000_000 && echo.is_generated());
        let ask = open.request("PUT", "/").header("trailer", "x-sum").pieces(&["a", "b"], &[("x-sum", "1")]);
        let echo = ask.await.echo();
        assert_eq!((echo.body(), echo.trailer("x-sum")), ("ab", "1"));
    }
    assert_eq!((plain.connections(), plain.requests()), (1, 3));
    assert_eq!(tls.names(), ["shop.test"]);
}

#[tokio::test]
async fn generated_bodies_are_recognised() {
    let ca = TestCa::new("itself");
    let upstream = Upstream::generating().await;
    let mut answer = straight_to(&upstream, &ca, false).get("any/1234567").start().await;
    assert_eq!(answer.generated_rest(0).await, 1_234_567);
}

#[tokio::test]
async fn raw_bytes_go_out_and_come_back() {
    let ca = TestCa::new("itself");
    let upstream = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut raw = straight_to(&upstream, &ca, false).raw("any").await;
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n").await;
    assert!(raw.answer().await.ends_with("\r\n\r\nok"));
    raw.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
    assert!(raw.answer().await.ends_with("\r\n\r\nok"));
    let recorded = upstream.recorded();
    assert!(recorded[0].ends_with("0\r\n\r\n") && recorded[1].ends_with("abc"), "{recorded:?}");
    upstream.stop().await;
    assert_eq!(raw.rest().await, "");
    upstream.start().await;
    assert_eq!(straight_to(&upstream, &ca, false).get("any/").await.text(), "ok");
}

#[tokio::test]
async fn websockets_echo() {
    let ca = TestCa::new("itself");
    let upstream = Upstream::websocket().await;
    let mut socket = straight_to(&upstream, &ca, false).websocket("any/ws").await;
    socket.echoes("hello").await;
    socket.close().await;
}
