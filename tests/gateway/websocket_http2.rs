//! WebSockets as streams of HTTP/2 connections (RFC 8441), on either side and on both.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response};

use crate::harness::{Client, Door, Gateway, STRANGER, Upstream, eventually, within};

/// An HTTP/2 connection that may open WebSockets.
struct Connection(h2::client::SendRequest<Bytes>);

/// One stream that was asked to be a WebSocket.
struct Stream {
    status: u16,
    head: http::HeaderMap,
    send: SendStream<Bytes>,
    body: RecvStream,
    unread: Vec<u8>,
}

impl Connection {
    async fn to(client: Client) -> Connection {
        let (wire, _) = client.h2().open("chat.home.test").await.unwrap();
        let (send, connection) = h2::client::handshake(wire).await.unwrap();
        tokio::spawn(connection);
        let send = send.ready().await.unwrap();
        eventually("extended CONNECT to be offered", async || {
            send.is_extended_connect_protocol_enabled().then_some(())
        })
        .await;
        Connection(send)
    }

    async fn ask(&mut self, protocol: Option<&'static str>, path: &str) -> Stream {
        let uri = match protocol {
            Some(_) => format!("https://chat.home.test{path}"),
            None => "chat.home.test:443".to_owned(),
        };
        let mut request = Request::builder().method(Method::CONNECT).uri(uri).header("sec-websocket-version", "13");
        request = request.header("sec-websocket-protocol", "a, b");
        if let Some(protocol) = protocol {
            request = request.extension(Protocol::from_static(protocol));
        }
        let (answer, send) = self.0.send_request(request.body(()).unwrap(), false).unwrap();
        let (head, body) = within("an answer", answer).await.unwrap().into_parts();
        Stream { status: head.status.as_u16(), head: head.headers, send, body, unread: Vec::new() }
    }

    async fn websocket(&mut self, path: &str) -> Stream {
        let stream = self.ask(Some("websocket"), path).await;
        assert_eq!(stream.status, 200, "{:?}", stream.head);
        stream
    }
}

impl Stream {
    fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.send.send_data(Bytes::copy_from_slice(bytes.as_ref()), false).unwrap();
    }

    /// A short text, masked with zeros.
    fn text(&mut self, text: &str) {
        self.say([&[0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0], text.as_bytes()].concat());
    }

    async fn hears(&mut self, bytes: impl AsRef<[u8]>) {
        let wanted = bytes.as_ref();
        while self.unread.len() < wanted.len() {
            let more = within("more of the stream", self.body.data()).await.expect("the stream goes on").unwrap();
            let _ = self.body.flow_control().release_capacity(more.len());
            self.unread.extend_from_slice(&more);
        }
        assert_eq!(self.unread.drain(..wanted.len()).collect::<Vec<u8>>(), wanted);
    }

    async fn echoes(&mut self, text: &str) {
        self.text(text);
        self.hears([&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()).await;
    }

    /// Waits for its end, clean or not.
    async fn ends(mut self) {
        while let Some(Ok(_)) = within("the end of the stream", self.body.data()).await {}
    }
}

#[tokio::test]
async fn a_stream_becomes_a_websocket_at_an_http1_server() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut open = Connection::to(edge.client()).await;
    let (mut one, mut two) = (open.websocket("/ws").await, open.websocket("/ws").await);
    for n in 0..20 {
        one.echoes(&format!("message {n}")).await;
        two.echoes(&format!("another {n}")).await;
    }
    let counted = "doorward_websockets{route=\"chat\"}";
    eventually("both to be counted", async || (edge.metric(counted).await == 2.0).then_some(())).await;
    one.send.send_data(Bytes::new(), true).unwrap();
    one.ends().await;
    two.echoes("still here").await;
    drop(two);
    eventually("the server to be left", async || (chat.open() == 0).then_some(())).await;
    eventually("none to be counted", async || (edge.metric(counted).await == 0.0).then_some(())).await;
    eventually("both records", async || (edge.records_of("/ws").await.len() == 2).then_some(())).await;
    for record in edge.records_of("/ws").await {
        assert_eq!((&record["upgraded"], &record["status"]), (&true.into(), &200.into()), "{record}");
    }
}

#[tokio::test]
async fn a_client_that_others_wrote_is_understood() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    edge.folder().replace("root.crt", edge.ca().pem());
    let mut command = Command::new("/usr/bin/python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/ws_peer.py"));
    command.args([edge.address().to_string(), Door::Https.port().to_string()]);
    command.arg(edge.folder().at("root.crt")).args(["chat.home.test", "/ws"]);
    let run = tokio::task::spawn_blocking(move || command.output().expect("Python runs"));
    let output = within("the client", run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "all is right");
}

#[tokio::test]
async fn the_server_gets_a_handshake_with_a_key_and_has_to_prove_that_it_read_it() {
    for (answer, status) in [
        // The proof for another key.
        (
            "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            502,
        ),
        ("101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket", 502),
        ("101 Switching Protocols", 502),
        // To the client, any success would be the WebSocket.
        ("200 OK\r\nContent-Length: 0", 502),
        ("204 No Content", 502),
        ("403 Forbidden\r\nContent-Length: 0", 403),
        ("302 Found\r\nLocation: /login\r\nContent-Length: 0", 302),
    ] {
        let chat = Upstream::acting(move |mut peer| async move {
            peer.head().await;
            peer.send(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
            peer.until_closed().await;
        })
        .await;
        let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
        let mut open = Connection::to(edge.client()).await;
        assert_eq!(open.ask(Some("websocket"), "/ws").await.status, status, "{answer}");
        let head = chat.recorded()[0].to_ascii_lowercase();
        assert!(head.starts_with("get /ws http/1.1\r\n"), "{head}");
        for field in [
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-protocol: a, b",
            "host: chat.home.test",
        ] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} in {head}");
        }
        let key = head.split("\r\nsec-websocket-key: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        assert_eq!(key.len(), 24, "16 bytes in base64: {key}");
    }
}

#[tokio::test]
async fn no_other_protocol_and_no_bare_connect_becomes_a_tunnel() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut open = Connection::to(edge.client()).await;
    for protocol in [Some("connect-udp"), Some("h2c"), None] {
        let refused = open.ask(protocol, "/ws").await;
        assert!(matches!(refused.status, 400 | 405), "{protocol:?}: {}", refused.status);
    }
    assert_eq!(chat.connections(), 0);
    open.websocket("/ws").await.echoes("and the connection goes on").await;
}

#[tokio::test]
async fn who_may_not_enter_may_not_open_a_stream_either() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut open = Connection::to(edge.client().from(STRANGER)).await;
    assert_eq!(open.ask(Some("websocket"), "/ws").await.status, 403);
    assert_eq!(chat.connections(), 0);
}

#[tokio::test]
async fn a_silent_one_ends_after_idle() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = {{ to = \"{chat}\", idle = \"1s\" }}")).await;
    let mut open = Connection::to(edge.client()).await;
    let mut socket = open.websocket("/ws").await;
    socket.echoes("hello").await;
    socket.ends().await;
    eventually("the server to be left", async || (chat.open() == 0).then_some(())).await;
}

/// An HTTP/2 server that takes WebSockets as streams, and sends back what it gets.
async fn streaming() -> Upstream {
    Upstream::acting(|peer| async move {
        let mut builder = h2::server::Builder::new();
        let Ok(mut server) = builder.enable_connect_protocol().handshake::<_, Bytes>(peer.into_wire()).await else {
            return;
        };
        while let Some(Ok((request, mut respond))) = server.accept().await {
            let is_asked = request.method() == Method::CONNECT
                && request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
                && request.headers().get("sec-websocket-key").is_none();
            if !is_asked {
                let _ = respond.send_response(Response::builder().status(418).body(()).unwrap(), true);
                continue;
            }
            let head = Response::builder().header("sec-websocket-protocol", "a").body(()).unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            tokio::spawn(async move {
                let mut body = request.into_body();
                while let Some(Ok(data)) = body.data().await {
                    let _ = body.flow_control().release_capacity(data.len());
                    let _ = send.send_data(data, false);
                }
                let _ = send.send_data(Bytes::new(), true);
            });
        }
    })
    .await
}

#[tokio::test]
async fn an_http2_server_that_takes_streams_gets_one_whatever_the_client_speaks() {
    let chat = streaming().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{}\"", chat.url("h2c"))).await;
    let mut open = Connection::to(edge.client()).await;
    let mut stream = open.websocket("/ws").await;
    assert_eq!(stream.head["sec-websocket-protocol"], "a");
    for text in ["one", "two"] {
        stream.say(text);
        stream.hears(text).await;
    }
    let mut raw = edge.client().raw("chat.home.test").await;
    raw.send(
        "GET /ws HTTP/1.1\r\nHost: chat.home.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="] {
        assert!(head.contains(&format!("\r\n{field}\r\n")), "{field} in {head}");
    }
    for text in ["three", "four"] {
        raw.send(text).await;
        assert_eq!(raw.bytes(text.len()).await, text.as_bytes());
    }
    assert!(chat.connections() <= 2, "they share what each core has");
}

#[tokio::test]
async fn an_http2_server_that_takes_no_streams_is_asked_in_http1() {
    let nth = Arc::new(AtomicUsize::new(0));
    let chat = Upstream::acting(move |mut peer| {
        let nth = nth.clone();
        async move {
            if nth.fetch_add(1, Ordering::SeqCst) == 0 {
                let Ok(mut server) = h2::server::handshake(peer.into_wire()).await else { return };
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    let _: Result<SendStream<Bytes>, _> = respond.send_response(Response::new(()), true);
                }
                return;
            }
            let head = peer.head().await.unwrap_or_default();
            assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello").await;
            peer.until_closed().await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{}\"", chat.url("h2c"))).await;
    let mut raw = edge.client().raw("chat.home.test").await;
    raw.send(
        "GET /ws HTTP/1.1\r\nHost: chat.home.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.bytes(5).await, b"hello");
}
