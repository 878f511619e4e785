//! Clients that are gone from one moment to the next.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::{Bystanders, back_to};
use crate::harness::{Door, Gateway, HOME, Upstream, eventually};

/// What a client has said when it vanishes, and whether it waits for the beginning of an answer first.
const PHASES: [(&str, &[u8], bool); 9] = [
    ("before it said anything", b"", false),
    ("in its request line", b"GET /100", false),
    ("in its fields", b"GET /1000000 HTTP/1.1\r\nHost: well.home.test\r\nX-", false),
    ("before its body", b"POST /up HTTP/1.1\r\nHost: well.home.test\r\nContent-Length: 100000\r\n\r\n", false),
    ("in its body", b"POST /up HTTP/1.1\r\nHost: well.home.test\r\nContent-Length: 100000\r\n\r\nsome of it", false),
    (
        "in a chunk",
        b"POST /up HTTP/1.1\r\nHost: well.home.test\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nsome",
        false,
    ),
    ("before the answer", b"GET /100000000 HTTP/1.1\r\nHost: well.home.test\r\n\r\n", false),
    ("in the answer", b"GET /100000000 HTTP/1.1\r\nHost: well.home.test\r\n\r\n", true),
    (
        "in a tunnel",
        b"GET /ws HTTP/1.1\r\nHost: chat.home.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        true,
    ),
];

/// Ways to go.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// FIN: the program ended.
    Close,
    /// RST: it was killed with bytes unread.
    Reset,
}

#[tokio::test]
async fn clients_vanish_at_every_phase() {
    let (well, chat) = (Upstream::generating().await, Upstream::websocket().await);
    let edge = Gateway::serving(format!("[routes]\nwell = \"{well}\"\nchat = \"{chat}\"\n")).await;
    assert_eq!(edge.get("well.home.test/10").await.body.len(), 10);
    let before = edge.descriptors();
    let bystanders = Bystanders::of(&edge);
    for (phase, said, waits) in PHASES {
        for way in [Way::Close, Way::Reset] {
            let mut vanishing = JoinSet::new();
            for _ in 0..25 {
                vanishing.spawn(vanish(SocketAddr::from((edge.address(), Door::Plain.port())), said, waits, way));
                vanishing.spawn(vanish(SocketAddr::from((edge.address(), Door::Https.port())), said, false, way));
            }
            vanishing.join_all().await;
            assert_eq!(edge.get("well.home.test/10").await.body.len(), 10, "{phase}, {way:?}");
        }
    }
    bystanders.noticed_nothing().await;
    back_to(&edge, before).await;
    eventually("every tunnel to end", async || (chat.open() == 0).then_some(())).await;
    // What was never to be read by anybody is not held open behind us either.
    eventually("the uploads and downloads to end", async || (well.open() <= 12).then_some(())).await;
}

async fn vanish(to: SocketAddr, said: &[u8], waits: bool, way: Way) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((HOME, 0).into()).unwrap();
    let mut tcp: TcpStream = socket.connect(to).await.unwrap();
    let _ = tcp.write_all(said).await;
    if waits {
        let mut block = [0; 64];
        let _ = tokio::time::timeout(Duration::from_secs(5), tcp.read(&mut block)).await;
    }
    if matches!(way, Way::Reset) {
        let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
    }
}
