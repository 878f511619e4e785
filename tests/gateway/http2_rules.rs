//! HTTP/2 by the letter (RFC 9113): what breaks a rule of connections ends the connection with the error that the rule
//! names or the general one, what breaks one of streams ends the stream, and what must be ignored is. One table, one
//! connection for each line.

use std::time::Duration;

use crate::abuse::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, field,
    frame, head,
};
use crate::harness::{Gateway, Raw, Upstream};

const PUSH_PROMISE: u8 = 5;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const PADDED: u8 = 8;

/// Error codes (RFC 9113 §7).
const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;

/// What must come of it.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// GOAWAY with this error or the general one, or the end of the connection.
    EndConnection(u32),
    /// RST_STREAM with this error, or the same for the whole connection.
    EndStream(u32),
    /// The request is answered.
    Answer,
    /// A PING is answered with its own bytes.
    Pong,
}

/// What the other side did first.
#[derive(Debug, PartialEq)]
enum Did {
    EndedConnection(Option<u32>),
    EndedStream(u32),
    Answered,
    Ponged,
    Nothing,
}

type Case = (&'static str, Vec<Vec<u8>>, Must);

const WHOLE: u8 = END_HEADERS | END_STREAM;

fn get() -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, &head("GET", "/rules"))
}

fn post(more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &[&head("POST", "/rules"), more].concat())
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn update(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn of_connections() -> Vec<Case> {
    use Must::EndConnection as End;
    let large = vec![0; 16_385];
    vec![
        ("4.2 a HEADERS frame of more than is allowed", vec![frame(HEADERS, WHOLE, 1, &large)], End(FRAME_SIZE)),
        ("4.2 a SETTINGS frame of more than is allowed", vec![frame(SETTINGS, 0, 0, &large)], End(FRAME_SIZE)),
        ("4.3 a field block that is none", vec![frame(HEADERS, WHOLE, 1, &[0x40, 0xff])], End(COMPRESSION)),
        (
            "4.3 another frame in the middle of a field block",
            vec![frame(HEADERS, END_STREAM, 1, &head("GET", "/")), frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])],
            End(PROTOCOL),
        ),
        (
            "4.3 another stream in the middle of a field block",
            vec![frame(HEADERS, END_STREAM, 1, &head("GET", "/")), frame(HEADERS, WHOLE, 3, &head("GET", "/"))],
            End(PROTOCOL),
        ),
        (
            "5.5 an unknown frame in the middle of a field block",
            vec![frame(HEADERS, END_STREAM, 1, &head("GET", "/")), frame(0x16, 0, 0, b"what")],
            End(PROTOCOL),
        ),
        ("5.1 DATA on an idle stream", vec![frame(DATA, END_STREAM, 1, b"x")], End(PROTOCOL)),
        ("5.1 RST_STREAM on an idle stream", vec![frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])], End(PROTOCOL)),
        ("5.1 WINDOW_UPDATE on an idle stream", vec![update(1, 100)], End(PROTOCOL)),
        (
            "5.1 CONTINUATION on an idle stream",
            vec![frame(CONTINUATION, END_HEADERS, 1, &head("GET", "/"))],
            End(PROTOCOL),
        ),
        ("5.1.1 a stream of the server's", vec![frame(HEADERS, WHOLE, 2, &head("GET", "/"))], End(PROTOCOL)),
        (
            "5.1.1 a stream below another",
            vec![frame(HEADERS, END_HEADERS, 5, &head("POST", "/")), frame(HEADERS, WHOLE, 3, &head("GET", "/"))],
            End(PROTOCOL),
        ),
        ("6.1 DATA on no stream", vec![frame(DATA, 0, 0, b"x")], End(PROTOCOL)),
        (
            "6.1 more padding than frame",
            vec![post(&[]), frame(DATA, PADDED | END_STREAM, 1, &[9, b'x'])],
            End(PROTOCOL),
        ),
        ("6.2 HEADERS on no stream", vec![frame(HEADERS, WHOLE, 0, &head("GET", "/"))], End(PROTOCOL)),
        ("6.2 more padding than HEADERS", vec![frame(HEADERS, WHOLE | PADDED, 1, &[200, 0x82])], End(PROTOCOL)),
        ("6.3 PRIORITY on no stream", vec![frame(PRIORITY, 0, 0, &[0, 0, 0, 3, 1])], End(PROTOCOL)),
        ("6.4 RST_STREAM on no stream", vec![frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])], End(PROTOCOL)),
        ("6.4 RST_STREAM of three bytes", vec![post(&[]), frame(RST_STREAM, 0, 1, &[0, 0, 8])], End(FRAME_SIZE)),
        ("6.5 a SETTINGS acknowledgement with content", vec![frame(SETTINGS, ACK, 0, &[0; 6])], End(FRAME_SIZE)),
        ("6.5 SETTINGS on a stream", vec![frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 100])], End(PROTOCOL)),
        ("6.5 SETTINGS of seven bytes", vec![frame(SETTINGS, 0, 0, &[0; 7])], End(FRAME_SIZE)),
        ("6.5.2 ENABLE_PUSH is neither", vec![setting(2, 2)], End(PROTOCOL)),
        ("6.5.2 a window beyond all", vec![setting(4, 1 << 31)], End(FLOW_CONTROL)),
        ("6.5.2 frames too small", vec![setting(5, 16_383)], End(PROTOCOL)),
        ("6.5.2 frames too large", vec![setting(5, 1 << 24)], End(PROTOCOL)),
        (
            "6.6 PUSH_PROMISE of a client",
            vec![post(&[]), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            End(PROTOCOL),
        ),
        ("6.7 PING on a stream", vec![frame(PING, 0, 1, &[0; 8])], End(PROTOCOL)),
        ("6.7 PING of six bytes", vec![frame(PING, 0, 0, &[0; 6])], End(FRAME_SIZE)),
        ("6.8 GOAWAY on a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], End(PROTOCOL)),
        ("6.9 an update of nothing", vec![update(0, 0)], End(PROTOCOL)),
        ("6.9 WINDOW_UPDATE of three bytes", vec![frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])], End(FRAME_SIZE)),
        ("6.9.1 a window that overflows", vec![update(0, 0x7fff_ffff), update(0, 0x7fff_ffff)], End(FLOW_CONTROL)),
        (
            "6.10 CONTINUATION behind a whole block",
            vec![post(&[]), frame(CONTINUATION, END_HEADERS, 1, &[])],
            End(PROTOCOL),
        ),
        (
            "6.10 CONTINUATION on no stream",
            vec![frame(HEADERS, 0, 1, &head("GET", "/")), frame(CONTINUATION, 4, 0, &[])],
            End(PROTOCOL),
        ),
    ]
}

fn of_streams() -> Vec<Case> {
    use Must::EndStream as End;
    let with = |name: &str, value: &str| frame(HEADERS, WHOLE, 1, &[head("GET", "/"), field(name, value)].concat());
    let only = |fields: &[(&str, &str)]| {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        frame(HEADERS, WHOLE, 1, &block)
    };
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "https"), (":path", "/"));
    let host = (":authority", "shop.home.test");
    vec![
        (
            "4.2 a DATA frame of more than is allowed",
            vec![post(&[]), frame(DATA, END_STREAM, 1, &[0; 16_385])],
            End(FRAME_SIZE),
        ),
        (
            "5.1 DATA behind the end",
            vec![post(&[]), frame(DATA, END_STREAM, 1, b"x"), frame(DATA, 0, 1, b"y")],
            End(CLOSED),
        ),
        (
            "5.1 HEADERS behind a reset",
            vec![post(&[]), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), frame(HEADERS, WHOLE, 1, &head("GET", "/"))],
            End(CLOSED),
        ),
        ("6.3 PRIORITY of four bytes", vec![post(&[]), frame(PRIORITY, 0, 1, &[0; 4])], End(FRAME_SIZE)),
        ("6.9 an update of nothing", vec![post(&[]), update(1, 0)], End(PROTOCOL)),
        (
            "6.9.1 a window that overflows",
            vec![post(&[]), update(1, 0x7fff_ffff), update(1, 0x7fff_ffff)],
            End(FLOW_CONTROL),
        ),
        (
            "8.1 trailers that end nothing",
            vec![post(&[]), frame(HEADERS, END_HEADERS, 1, &field("x-t", "1"))],
            End(PROTOCOL),
        ),
        (
            "8.1 pseudo-header fields in trailers",
            vec![post(&[]), frame(HEADERS, WHOLE, 1, &field(":method", "GET"))],
            End(PROTOCOL),
        ),
        (
            "8.1.1 more body than it says",
            vec![post(&field("content-length", "1")), frame(DATA, END_STREAM, 1, b"two")],
            End(PROTOCOL),
        ),
        (
            "8.1.1 less body than it says",
            vec![post(&field("content-length", "9")), frame(DATA, END_STREAM, 1, b"two")],
            End(PROTOCOL),
        ),
        ("8.2.1 upper case", vec![with("X-Upper", "x")], End(PROTOCOL)),
        ("8.2.2 Connection", vec![with("connection", "keep-alive")], End(PROTOCOL)),
        ("8.2.2 TE other than trailers", vec![with("te", "gzip")], End(PROTOCOL)),
        ("8.3 an unknown pseudo-header field", vec![with(":unknown", "x")], End(PROTOCOL)),
        ("8.3 one behind a field", vec![only(&[method, scheme, host, ("x-a", "b"), path])], End(PROTOCOL)),
        ("8.3 one of answers", vec![only(&[method, scheme, host, path, (":status", "200")])], End(PROTOCOL)),
        ("8.3.1 no method", vec![only(&[scheme, host, path])], End(PROTOCOL)),
        ("8.3.1 no scheme", vec![only(&[method, host, path])], End(PROTOCOL)),
        ("8.3.1 no path", vec![only(&[method, scheme, host])], End(PROTOCOL)),
        ("8.3.1 an empty path", vec![only(&[method, scheme, host, (":path", "")])], End(PROTOCOL)),
        ("8.3.1 two methods", vec![only(&[method, method, scheme, host, path])], End(PROTOCOL)),
        ("8.3.1 two schemes", vec![only(&[method, scheme, scheme, host, path])], End(PROTOCOL)),
        ("8.3.1 two paths", vec![only(&[method, scheme, host, path, path])], End(PROTOCOL)),
    ]
}

fn of_patience() -> Vec<Case> {
    use Must::{Answer, Pong};
    let mut reserved = get();
    reserved[5] |= 0x80;
    let padded = frame(HEADERS, WHOLE | PADDED, 1, &[&[3][..], &head("GET", "/"), &[0; 3]].concat());
    let whole = head("GET", "/");
    let pieces: Vec<Vec<u8>> = std::iter::once(frame(HEADERS, END_STREAM, 1, &whole[..5]))
        .chain(whole[5..whole.len() - 1].chunks(30).map(|piece| frame(CONTINUATION, 0, 1, piece)))
        .chain([frame(CONTINUATION, END_HEADERS, 1, &whole[whole.len() - 1..])])
        .collect();
    vec![
        ("4.1 a frame of a kind that nobody knows", vec![frame(0x16, 0xff, 0, b"what"), get()], Answer),
        ("4.1 a reserved bit", vec![reserved], Answer),
        ("4.1 flags that mean nothing", vec![frame(HEADERS, 0xd2 | WHOLE, 1, &head("GET", "/"))], Answer),
        ("4.3 a field block in many pieces", pieces, Answer),
        ("5.3 priorities of streams that are not there", vec![frame(PRIORITY, 0, 9, &[0, 0, 0, 0, 1]), get()], Answer),
        ("6.1 padding", vec![padded], Answer),
        ("6.1 an empty DATA frame", vec![post(&[]), frame(DATA, 0, 1, &[]), frame(DATA, END_STREAM, 1, &[])], Answer),
        ("6.5 a setting that nobody knows", vec![setting(0xff, 7), get()], Answer),
        (
            "6.5.3 settings in mid-stream",
            vec![post(&[]), setting(4, 100_000), frame(DATA, END_STREAM, 1, b"x")],
            Answer,
        ),
        ("6.7 an acknowledged PING that was none", vec![frame(PING, ACK, 0, &[7; 8]), get()], Answer),
        ("6.7 PING", vec![frame(PING, 0, 0, b"one-word")], Pong),
        ("6.9.1 a window that was too small grows", vec![setting(4, 1), get(), update(1, 100_000)], Answer),
        (
            "8.1 trailers",
            vec![post(&[]), frame(DATA, 0, 1, b"x"), frame(HEADERS, WHOLE, 1, &field("x-t", "1"))],
            Answer,
        ),
        ("8.2.2 TE: trailers", vec![post(&field("te", "trailers")), frame(DATA, END_STREAM, 1, b"x")], Answer),
    ]
}

#[tokio::test]
async fn what_breaks_a_rule_of_connections_ends_the_connection() {
    judge(of_connections()).await;
}

#[tokio::test]
async fn what_breaks_a_rule_of_streams_ends_the_stream() {
    judge(of_streams()).await;
}

#[tokio::test]
async fn what_must_be_ignored_or_answered_is() {
    judge(of_patience()).await;
}

#[tokio::test]
async fn whatever_is_no_preface_ends_the_connection() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for bytes in ["PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "GET / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n"] {
        let mut raw = edge.client().h2().raw("shop.home.test").await;
        raw.send(bytes).await;
        assert!(!raw.rest().await.contains("HTTP/1.1 200"), "{bytes}");
    }
    assert_eq!(shop.requests(), 0);
}

async fn judge(cases: Vec<Case>) {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let client = edge.client().h2();
    let mut faults = Vec::new();
    for (name, frames, must) in &cases {
        let mut raw = client.raw("shop.home.test").await;
        raw.send([&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()).await;
        let _ = raw.try_send(frames.concat()).await;
        let did = first_deed(&mut raw).await;
        let is_met = match (must, &did) {
            (Must::EndConnection(_) | Must::EndStream(_), Did::EndedConnection(None)) => true,
            (Must::EndConnection(code) | Must::EndStream(code), Did::EndedConnection(Some(said))) => {
                [*code, PROTOCOL].contains(said)
            }
            (Must::EndStream(code), Did::EndedStream(said)) => code == said,
            (Must::Answer, Did::Answered) | (Must::Pong, Did::Ponged) => true,
            _ => false,
        };
        if !is_met {
            faults.push(format!("{name}: must {must:?}, did {did:?}"));
        }
        assert_eq!(client.get("shop.home.test/after").await.status, 200, "{name}: another connection notices nothing");
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

/// What the other side does first of all that means something.
async fn first_deed(raw: &mut Raw) -> Did {
    let reads = async {
        loop {
            let Some(start) = raw.try_bytes(9).await else { return Did::EndedConnection(None) };
            let length = usize::from(start[0]) << 16 | usize::from(start[1]) << 8 | usize::from(start[2]);
            let Some(payload) = raw.try_bytes(length).await else { return Did::EndedConnection(None) };
            let code = |at: usize| payload.get(at..at + 4).map(|four| u32::from_be_bytes(four.try_into().unwrap()));
            match (start[3], start[4]) {
                (GOAWAY, _) => return Did::EndedConnection(code(4)),
                (RST_STREAM, _) => return Did::EndedStream(code(0).unwrap_or(0)),
                (HEADERS, _) => return Did::Answered,
                (PING, ACK) if payload == b"one-word" => return Did::Ponged,
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), reads).await.unwrap_or(Did::Nothing)
}
