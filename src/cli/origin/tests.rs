//! The demo's origin over real sockets.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;

use serde_json::{Value, json};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;

/// Sends bytes, closes, and gives back all that comes.
fn exchange(place: SocketAddr, request: &[u8]) -> String {
    let mut stream = StdStream::connect(place).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn echo_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[test]
fn the_origin_shows_what_it_received() {
    let origin = Origin::start().unwrap();
    let place = origin.stand_in_for("https://192.0.2.1").unwrap();
    let answer = exchange(
        place,
        b"POST /a%2Fb//c;d?q=1 HTTP/1.1\r\nhost: x.test\r\nx-two: 1\r\nx-two: 2\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
    );
    let echo = echo_of(&answer);
    assert_eq!(echo["stands_in_for"], "https://192.0.2.1");
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["path"], "/a%2Fb//c;d?q=1");
    assert_eq!(echo["headers"]["host"], "x.test");
    assert_eq!(echo["headers"]["x-two"], "1, 2");
    assert_eq!(echo["body_bytes"], 3);
    assert_eq!(echo["body_sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(echo["trailers"], Value::Null);
}

#[test]
fn the_origin_shows_trailers() {
    let origin = Origin::start().unwrap();
    let place = origin.stand_in_for("http://a").unwrap();
    let answer = exchange(
        place,
        b"PUT / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nconnection: close\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let echo = echo_of(&answer);
    assert_eq!(echo["body_bytes"], 2);
    assert_eq!(echo["trailers"], json!({"x-sum": "7"}));
}

#[test]
fn bytes_status_and_nonsense_are_answered_as_asked() {
    let origin = Origin::start().unwrap();
    let place = origin.stand_in_for("http://a").unwrap();
    let ask =
        |path: &str| exchange(place, format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
    let (head, body) = {
        let all = ask("/bytes/70000");
        let at = all.find("\r\n\r\n").unwrap();
        (all[..at].to_owned(), all[at + 4..].to_owned())
    };
    assert!(head.contains("content-length: 70000"), "{head}");
    assert_eq!(body.len(), 70_000);
    assert!(ask("/bytes/many").starts_with("HTTP/1.1 400"));
    assert!(ask("/status/418").starts_with("HTTP/1.1 418"));
    assert!(ask("/status/204").starts_with("HTTP/1.1 204"));
    assert!(ask("/status/101").starts_with("HTTP/1.1 400"));
    assert!(ask("/slow/0").starts_with("HTTP/1.1 200"));
}

#[test]
fn one_address_keeps_one_place() {
    let origin = Origin::start().unwrap();
    let first = origin.stand_in_for("http://a").unwrap();
    assert_eq!(origin.stand_in_for("http://a").unwrap(), first);
    assert_ne!(origin.stand_in_for("http://b").unwrap(), first);
}

#[tokio::test]
async fn a_websocket_gives_back_what_it_gets() {
    let origin = Origin::start().unwrap();
    let place = origin.stand_in_for("http://a").unwrap();
    let stream = TcpStream::connect(place).await.unwrap();
    let (mut socket, _) = client_async("ws://x.test/cable", stream).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![7; 300_000])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.close(None).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().is_close());
}
