//! WebSockets: always, without a key in the file.

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::{Door, Gateway, Identity, STRANGER, Upstream, eventually};

const ASKS: &str = "GET /ws HTTP/1.1\r\nHost: chat.home.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const ACCEPTS: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn messages_pass_in_both_directions() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    for client in [edge.client(), edge.client().at(Door::Plain), edge.client().tls12()] {
        let mut socket = client.websocket("chat.home.test/ws").await;
        for n in 0..20 {
            socket.echoes(&format!("message {n}")).await;
        }
        socket.close().await;
    }
}

#[tokio::test]
async fn large_messages_pass_whole() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    let large: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 249) as u8).collect();
    socket.send(Message::binary(large.clone())).await;
    match socket.next().await {
        Some(Ok(Message::Binary(back))) => assert!(back == large),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_server_may_speak_first_and_alone() {
    let chat = Upstream::acting(|mut peer| async move {
        peer.head().await;
        // In one write with the 101.
        peer.send([ACCEPTS.as_bytes(), b"\x81\x05hello"].concat()).await;
        peer.send(b"\x81\x05again").await;
        peer.until_closed().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut raw = edge.client().raw("chat.home.test").await;
    raw.send(ASKS).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(raw.bytes(14).await, b"\x81\x05hello\x81\x05again");
}

#[tokio::test]
async fn the_handshake_reaches_the_server_as_it_was() {
    let chat = Upstream::acting(|mut peer| async move {
        peer.head().await;
        peer.send(ACCEPTS).await;
        peer.until_closed().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut raw = edge.raw().await;
    raw.send(ASKS.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: https://x.example\r\n\r\n")).await;
    let head = raw.head().await.to_ascii_lowercase();
    assert!(head.contains("\r\nupgrade: websocket\r\n") && head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
    let sent = chat.recorded()[0].to_ascii_lowercase();
    for field in [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: a, b",
        "origin: https://x.example",
        "x-forwarded-for: 127.0.0.7",
    ] {
        assert!(sent.contains(&format!("\r\n{field}\r\n")), "{field} in {sent}");
    }
}

#[tokio::test]
async fn upgrade_is_recognised_in_any_spelling() {
    let chat = Upstream::acting(|mut peer| async move {
        peer.head().await;
        peer.send(ACCEPTS).await;
        peer.until_closed().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    for (connection, upgrade) in
        [("upgrade", "WebSocket"), ("keep-alive, Upgrade", "websocket"), ("Upgrade,keep-alive", "WEBSOCKET")]
    {
        let mut raw = edge.raw().await;
        let asks = ASKS
            .replace("Connection: Upgrade", &format!("Connection: {connection}"))
            .replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        raw.send(asks).await;
        assert!(raw.head().await.starts_with("HTTP/1.1 101"), "{connection}, {upgrade}");
    }
}

#[tokio::test]
async fn goodbyes_pass_with_code_and_reason() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    let goodbye = CloseFrame { code: CloseCode::Away, reason: "lunch".into() };
    socket.send(Message::Close(Some(goodbye.clone()))).await;
    match socket.next().await {
        Some(Ok(Message::Close(Some(back)))) => assert_eq!(back.code, goodbye.code),
        other => panic!("{other:?}"),
    }
    while let Some(Ok(_)) = socket.next().await {}
    eventually("the upstream to be left", async || (chat.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_servers_side_and_the_other_way_round() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("here").await;
    drop(socket);
    eventually("the server's side to end", async || (chat.open() == 0).then_some(())).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("here").await;
    chat.stop().await;
    while let Some(Ok(_)) = socket.next().await {}
}

#[tokio::test]
async fn a_websocket_that_its_server_has_ended_is_not_kept_for_a_client_that_forgot_it() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/forgotten").await;
    socket.echoes("here").await;
    chat.stop().await;
    let record = edge.record_of("/forgotten").await;
    assert_eq!(record["upgraded"], true, "{record}");
    drop(socket);
}

#[tokio::test]
async fn an_answer_other_than_101_passes_and_nothing_is_tunnelled() {
    let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\nX-Why: theirs\r\n\r\nno way";
    let chat = Upstream::recording(answer).await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut raw = edge.raw().await;
    raw.send(ASKS).await;
    let said = raw.answer().await;
    assert!(said.starts_with("HTTP/1.1 403") && said.ends_with("no way"), "{said}");
    assert!(said.to_ascii_lowercase().contains("x-why: theirs"), "{said}");
    // What follows is a request like any other.
    if raw.try_send("GET /next HTTP/1.1\r\nHost: chat.home.test\r\n\r\n").await.is_ok() {
        let next = raw.answer().await;
        assert!(next.is_empty() || next.starts_with("HTTP/1.1 403"), "{next}");
    }
    for request in &chat.recorded()[1..] {
        assert!(request.to_ascii_lowercase().contains("\r\nx-forwarded-for: "), "not through us: {request}");
    }
}

#[tokio::test]
async fn bytes_sent_before_the_101_wait_for_it() {
    let chat = Upstream::acting(|mut peer| async move {
        peer.head().await;
        peer.send(ACCEPTS).await;
        let early = peer.bytes().await.unwrap_or_default();
        peer.send(&early).await;
        peer.until_closed().await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut raw = edge.raw().await;
    let frame = b"\x81\x85\0\0\0\0early";
    raw.send([ASKS.as_bytes(), frame].concat()).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101"));
    assert_eq!(raw.bytes(frame.len()).await, frame);
}

#[tokio::test]
async fn a_request_hidden_behind_a_refused_upgrade_is_not_passed_on_unseen() {
    let chat = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!(
        "[routes.chat]\nto = \"{chat}\"\n[routes.chat.paths]\n\"/closed\" = {{ allow = [\"guest\"] }}"
    ))
    .await;
    let mut raw = edge.raw().await;
    raw.send(format!("{ASKS}GET /closed HTTP/1.1\r\nHost: chat.home.test\r\n\r\n")).await;
    assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
    let next = raw.answer().await;
    assert!(next.is_empty() || next.starts_with("HTTP/1.1 403"), "{next}");
    assert!(chat.recorded().iter().all(|r| !r.contains("/closed")), "{:?}", chat.recorded());
}

#[tokio::test]
async fn a_server_that_switches_without_being_asked_is_not_believed() {
    let chat = Upstream::recording(ACCEPTS).await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let answer = client.get("chat.home.test/").await;
        assert_eq!(answer.status, 502, "{answer}");
    }
}

#[tokio::test]
async fn who_may_not_enter_may_not_open_a_websocket() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut raw = edge.client().from(STRANGER).raw("chat.home.test").await;
    raw.send(ASKS).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 403"));
    assert_eq!(chat.connections(), 0);
}

#[tokio::test]
async fn a_websocket_over_tls_to_the_server_works_too() {
    let identity = Identity::self_signed("chat");
    let chat = Upstream::websocket_tls(&identity).await;
    let edge = Gateway::serving(format!("[routes]\nchat = {{ to = \"{chat}\", pin = \"{}\" }}", identity.pin())).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("through two").await;
}

#[tokio::test]
async fn websockets_are_counted_while_open_and_recorded_when_closed() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws?token=secret").await;
    socket.echoes("counted").await;
    assert_eq!(edge.metric("doorward_websockets{route=\"chat\"}").await, 1.0);
    socket.close().await;
    let record = edge.record_of("/ws").await;
    assert_eq!((record["status"].as_u64(), record["upgraded"].as_bool()), (Some(101), Some(true)), "{record}");
    assert!(record["bytes_in"].as_u64() > Some(0) && record["bytes_out"].as_u64() > Some(0), "{record}");
    eventually("none open", async || (edge.metric("doorward_websockets{route=\"chat\"}").await == 0.0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_silent_websocket_ends_after_idle_and_a_speaking_one_does_not() {
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nchat = {{ to = \"{chat}\", idle = \"3s\" }}")).await;
    let mut speaking = edge.client().websocket("chat.home.test/speaking").await;
    let mut silent = edge.client().websocket("chat.home.test/silent").await;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(400));
    let speaks = async {
        for _ in 0..14 {
            ticks.tick().await;
            speaking.echoes("still here").await;
        }
    };
    let (ended, ()) = tokio::join!(silent.next(), speaks);
    assert!(!matches!(ended, Some(Ok(Message::Text(_)))));
    edge.record_of("/silent").await;
}

#[tokio::test]
async fn the_last_words_of_a_server_that_throws_the_client_out_arrive() {
    let chat = Upstream::acting(|mut peer| async move {
        peer.head().await;
        peer.send(ACCEPTS).await;
        peer.bytes().await;
        // Dropped with bytes unread: the kernel resets what the client still sends.
        peer.send(b"\x81\x03bye").await;
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    for client in [edge.client(), edge.client().at(Door::Plain)] {
        for _ in 0..20 {
            let mut raw = client.raw("chat.home.test").await;
            raw.send(ASKS).await;
            assert!(raw.head().await.starts_with("HTTP/1.1 101"));
            for _ in 0..20 {
                if raw.try_send(b"\x81\x85\0\0\0\0hello").await.is_err() {
                    break;
                }
            }
            assert_eq!(raw.bytes(5).await, b"\x81\x03bye");
        }
    }
}
