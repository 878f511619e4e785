//! HTTP/2 in the hands of somebody who wants to hurt: each flood runs beside a client that must not notice, and must not
//! cost memory that stays.

use std::net::Ipv4Addr;

use crate::harness::{Client, Gateway, Raw, Upstream, eventually};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// One frame (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(9 + payload.len());
    bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field without indexing or compression (RFC 7541 §6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(integer(text.len(), 7, 0));
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// An integer with a prefix of so many bits (RFC 7541 §5.1).
fn integer(value: usize, bits: u8, first: u8) -> Vec<u8> {
    let most = (1_usize << bits) - 1;
    if value < most {
        return vec![first | value as u8];
    }
    let mut bytes = vec![first | most as u8];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// The head of a request.
pub fn head(method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", "shop.home.test"), (":path", path)];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A connection on which the HTTP/2 preface was sent.
pub async fn preface(client: &Client) -> Raw {
    let mut raw = client.clone().from(Ipv4Addr::new(127, 0, 0, 66)).raw("shop.home.test").await;
    raw.send([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()).await;
    raw
}

/// Sends pieces until all are sent or the other side has had enough.
async fn pour(raw: &mut Raw, pieces: impl IntoIterator<Item = Vec<u8>>) {
    let mut block = Vec::new();
    for piece in pieces {
        block.extend(piece);
        if block.len() > 60_000 {
            if raw.pour(&block).await.is_err() {
                return;
            }
            block.clear();
        }
    }
    let _ = raw.pour(&block).await;
}

/// Runs one flood beside a victim: it is served before, during and after, and the memory comes back. Gives the gateway.
async fn survives<F>(flood: F) -> Gateway
where
    F: AsyncFnOnce(&mut Raw),
{
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut victim = edge.client().h2().connect("shop.home.test").await;
    for _ in 0..20 {
        assert_eq!(victim.get("/10000").start().await.generated_rest(0).await, 10_000);
    }
    let before = edge.memory();
    let client = edge.client().h2();
    let mut raw = preface(&client).await;
    let served = async {
        let mut count = 0;
        while count < 30 {
            assert_eq!(victim.get("/10000").start().await.generated_rest(0).await, 10_000);
            count += 1;
        }
    };
    tokio::join!(flood(&mut raw), served);
    let grown = edge.memory().saturating_sub(before);
    assert!(grown < 48 << 20, "the flood holds {} MiB", grown >> 20);
    drop(raw);
    assert_eq!(victim.get("/10000").start().await.generated_rest(0).await, 10_000);
    edge
}

/// How many connections were ended for this cause so far.
async fn ended(edge: &Gateway, cause: &str) -> f64 {
    edge.metric(&format!("doorward_connections_ended_total{{cause=\"{cause}\"}}")).await
}

#[tokio::test]
async fn rapid_reset() {
    let edge = survives(async |raw: &mut Raw| {
        let requests = (0..20_000).map(|n| {
            let stream = 2 * n + 1;
            [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", "/1000000")),
                frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
            ]
            .concat()
        });
        pour(raw, requests).await;
    })
    .await;
    assert_eq!(ended(&edge, "flood").await, 1.0, "its connection was ended, and counted");
}

#[tokio::test]
async fn resets_that_the_server_is_made_to_send() {
    survives(async |raw: &mut Raw| {
        let requests = (0..20_000).map(|n| {
            let stream = 2 * n + 1;
            // A window of more than 2^31-1 is the stream's error; so is an increment of zero.
            let increment = if n % 2 == 0 { 0x7fff_ffff_u32 } else { 0 };
            [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", "/1000000")),
                frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes()),
            ]
            .concat()
        });
        pour(raw, requests).await;
    })
    .await;
}

#[tokio::test]
async fn a_head_that_is_continued_for_ever() {
    survives(async |raw: &mut Raw| {
        let first = frame(HEADERS, END_STREAM, 1, &head("GET", "/1"));
        let more = (0..20_000).map(|n| frame(CONTINUATION, 0, 1, &field(&format!("x-{n}"), &"a".repeat(1000))));
        pour(raw, std::iter::once(first).chain(more)).await;
    })
    .await;
}

#[tokio::test]
async fn a_head_of_empty_continuations() {
    survives(async |raw: &mut Raw| {
        let first = frame(HEADERS, END_STREAM, 1, &head("GET", "/1"));
        pour(raw, std::iter::once(first).chain((0..200_000).map(|_| frame(CONTINUATION, 0, 1, &[])))).await;
    })
    .await;
}

#[tokio::test]
async fn floods_of_settings_pings_priorities_and_windows() {
    survives(async |raw: &mut Raw| pour(raw, (0..100_000).map(|_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))).await)
        .await;
    survives(async |raw: &mut Raw| pour(raw, (0..100_000).map(|_| frame(PING, 0, 0, b"pingpong"))).await).await;
    survives(async |raw: &mut Raw| {
        pour(raw, (0..100_000).map(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]))).await
    })
    .await;
    survives(async |raw: &mut Raw| pour(raw, (0..100_000).map(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))).await)
        .await;
}

#[tokio::test]
async fn a_flood_of_empty_data() {
    survives(async |raw: &mut Raw| {
        let first = frame(HEADERS, END_HEADERS, 1, &head("POST", "/up"));
        pour(raw, std::iter::once(first).chain((0..200_000).map(|_| frame(DATA, 0, 1, &[])))).await;
    })
    .await;
}

#[tokio::test]
async fn a_small_head_that_unfolds_into_a_large_one() {
    survives(async |raw: &mut Raw| {
        // Put into the table once (RFC 7541 §6.2.1), then named thousands of times with one byte each.
        let mut first = head("GET", "/1");
        first.push(0x40);
        first.extend(integer(1, 7, 0));
        first.push(b'x');
        first.extend(integer(3000, 7, 0));
        first.extend(vec![b'a'; 3000]);
        let bomb = |n: u32| {
            let mut block = head("GET", "/1");
            block.extend(vec![0x80 | 62; 15_000]);
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 3, &block)
        };
        pour(raw, std::iter::once(frame(HEADERS, END_HEADERS | END_STREAM, 1, &first)).chain((0..200).map(bomb))).await;
    })
    .await;
}

#[tokio::test]
async fn a_head_of_cookie_crumbs() {
    survives(async |raw: &mut Raw| {
        let crumbs: Vec<u8> = (0..3000).flat_map(|_| field("cookie", "")).collect();
        let heads = (0..200).map(|n| {
            let block = [head("GET", "/1"), crumbs[..15_000].to_vec()].concat();
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block)
        });
        pour(raw, heads).await;
    })
    .await;
}

#[tokio::test]
async fn a_hundred_answers_that_nobody_takes() {
    survives(async |raw: &mut Raw| {
        // No window at all for answers.
        let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let asks = (0..100).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head("GET", "/100000000")));
        pour(raw, std::iter::once(closed).chain(asks)).await;
    })
    .await;
}

#[tokio::test]
async fn a_hundred_uploads_that_are_not_continued() {
    survives(async |raw: &mut Raw| {
        let uploads = (0..100).map(|n| {
            [frame(HEADERS, END_HEADERS, 2 * n + 1, &head("POST", "/up")), frame(DATA, 0, 2 * n + 1, &[b'a'; 600])]
                .concat()
        });
        pour(raw, uploads).await;
    })
    .await;
}

#[tokio::test]
async fn more_streams_than_are_allowed() {
    survives(async |raw: &mut Raw| {
        let asks = (0..5000).map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &head("POST", "/up")));
        pour(raw, asks).await;
    })
    .await;
}

#[tokio::test]
async fn two_hundred_answers_whose_windows_stay_shut_cost_little() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    assert_eq!(edge.client().h2().get("shop.home.test/1000").await.status, 200);
    let before = edge.memory();
    let mut stalled = Vec::new();
    for _ in 0..2 {
        let client = edge.client().h2();
        let mut raw = preface(&client).await;
        let asks = (0..100).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head("GET", "/100000000")));
        pour(&mut raw, std::iter::once(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).chain(asks)).await;
        stalled.push(raw);
    }
    eventually("all to be asked for", async || (shop.requests() >= 201).then_some(())).await;
    let each = edge.memory().saturating_sub(before) / 200;
    assert!(each < 160 << 10, "{} KiB for each answer that nobody takes", each >> 10);
    assert_eq!(edge.client().h2().get("shop.home.test/1000").await.status, 200);
}

#[tokio::test]
async fn windows_that_open_byte_by_byte() {
    survives(async |raw: &mut Raw| {
        let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let asks = (0..50).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head("GET", "/1000000")));
        let opens = (0..50_000).map(|n| frame(WINDOW_UPDATE, 0, 2 * (n % 50) + 1, &[0, 0, 0, 1]));
        pour(raw, std::iter::once(closed).chain(asks).chain(opens)).await;
    })
    .await;
}

#[tokio::test]
async fn settings_that_move_every_window_up_and_down() {
    survives(async |raw: &mut Raw| {
        let asks = (0..100).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &head("GET", "/1000000")));
        let moves = (0..50_000).map(|n| frame(SETTINGS, 0, 0, &[0, 4, 0, if n % 2 == 0 { 0 } else { 255 }, 255, 255]));
        pour(raw, asks.chain(moves)).await;
    })
    .await;
}

#[tokio::test]
async fn floods_of_frames_that_nobody_knows_and_of_padding() {
    survives(async |raw: &mut Raw| pour(raw, (0..100_000).map(|n| frame(0xb0, 0, 2 * n + 1, b"what?"))).await).await;
    survives(async |raw: &mut Raw| {
        let first = frame(HEADERS, END_HEADERS, 1, &head("POST", "/up"));
        let mut padding = vec![255];
        padding.extend([0; 255]);
        pour(raw, std::iter::once(first).chain((0..50_000).map(|_| frame(DATA, 8, 1, &padding)))).await;
    })
    .await;
}

#[tokio::test]
async fn a_table_of_headers_that_is_resized_for_ever() {
    survives(async |raw: &mut Raw| {
        // Two changes of size may begin a block (RFC 7541 §4.2); thousands are nobody's.
        let block = |n: usize| [[0x20, 0x3f, 0xe1, 0x1f].repeat(n), head("GET", "/1")].concat();
        let few = (0..500).map(|n| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block(1)));
        let many = frame(HEADERS, END_HEADERS | END_STREAM, 1001, &block(3000));
        pour(raw, few.chain(std::iter::once(many))).await;
    })
    .await;
}

#[tokio::test]
async fn what_breaks_the_rules_ends_its_connection_and_is_counted() {
    for wrong in [
        frame(DATA, 0, 0, b"on no stream"),
        frame(HEADERS, END_HEADERS | END_STREAM, 2, &head("GET", "/1")),
        frame(5, END_HEADERS, 1, &head("GET", "/1")),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 0]),
        frame(PING, 0, 0, b"short"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 40]),
    ] {
        let edge = survives(async |raw: &mut Raw| pour(raw, [wrong]).await).await;
        eventually("its end to be counted", async || (ended(&edge, "protocol").await == 1.0).then_some(())).await;
    }
}
