//! One access record as one line, JSON or text, appended to a buffer without an allocation of its own.
//! Every string a stranger chose is escaped and cut: a record can neither forge another nor grow without bound.
//!
//! JSON, one object a line. The names are a contract; what does not apply is left out:
//!
//! | field | value |
//! |---|---|
//! | `time` | when the answer was done: RFC 3339, UTC, milliseconds |
//! | `id` | request id, as on refusal pages |
//! | `client` | the believed client: an address, or `unknown` |
//! | `peer` | address of the TCP peer |
//! | `door`, `route` | names from the file; no `route` when none has the name |
//! | `method`, `host`, `path`, `query` | as sent; `query` only where the route says `log_query = true` |
//! | `version` | `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`, `HTTP/3` |
//! | `tls` | true when the peer's connection is encrypted |
//! | `status` | status code that was sent |
//! | `cause`, `detail` | why Doorward answered itself (`x-doorward-error`), and more about it |
//! | `bytes_in`, `bytes_out` | bytes of the bodies |
//! | `seconds` | from the request's head to the last byte of the answer |
//! | `upstream`, `upstream_address` | who was asked, and which of its addresses (the last one, if several were) |
//! | `upstream_seconds` | the time until its first byte |
//! | `user_agent` | as sent |
//! | `upgraded` | true for a WebSocket or other upgrade, else left out |
//! | `aborted` | true when the client or the upstream broke off, else left out |
//!
//! Text is `TIME STATUS METHOD URL VERSION` and then the same names as `name=value`; a value with a blank, a quote or anything
//! that is not printable ASCII stands in quotes, escaped as in JSON.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Client, Refusal};

use super::escape::push_escaped;
use super::request_id::RequestId;

/// What is known of one request when it is over.
#[derive(Clone, Copy, Debug)]
pub struct AccessRecord<'a> {
    /// The id on a refusal page, and in `x-request-id` where the route sets it.
    pub id: RequestId,
    /// The believed client.
    pub client: Client,
    /// The TCP peer.
    pub peer: IpAddr,
    /// Name of the door.
    pub door: &'a str,
    /// Name of the route; none: no route has the name, or the request was refused before one was looked for.
    pub route: Option<&'a str>,
    /// Method.
    pub method: &'a http::Method,
    /// Host as asked for, without a port; empty when there was none.
    pub host: &'a str,
    /// Path as sent.
    pub path: &'a str,
    /// Query as sent; only given where the route says so, queries carry tokens.
    pub query: Option<&'a str>,
    /// Version towards the client.
    pub version: http::Version,
    /// Whether the peer's connection is encrypted.
    pub tls: bool,
    /// Status sent; what would have been sent if the client went away first.
    pub status: u16,
    /// Why we answered ourselves.
    pub refusal: Option<Refusal>,
    /// More about the refusal, for the log only.
    pub detail: Option<&'a str>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// From the head of the request to the end of the answer.
    pub took: Duration,
    /// Name of the upstream that was asked.
    pub upstream: Option<&'a str>,
    /// Which of its addresses; the last one, if several were asked.
    pub upstream_address: Option<&'a str>,
    /// From asking the upstream to the head of its answer.
    pub first_byte: Option<Duration>,
    /// User-Agent as sent.
    pub user_agent: Option<&'a [u8]>,
    /// Whether the connection became a tunnel.
    pub upgraded: bool,
    /// Whether one side broke off.
    pub aborted: bool,
}

impl AccessRecord<'_> {
    /// Whether it is one that people ask about: refused by us, a fault of the upstream, or broken off.
    pub fn is_failure(&self) -> bool {
        self.refusal.is_some() || self.status >= 500 || self.aborted
    }
}

/// Bytes that are read of a host, a door, a route, an upstream.
const NAME_LIMIT: usize = 256;
/// Bytes that are read of a path and of a query.
const PATH_LIMIT: usize = 4096;
/// Bytes that are read of a user agent and of a detail.
const TEXT_LIMIT: usize = 512;
/// Bytes that are read of a method.
const METHOD_LIMIT: usize = 32;

/// The written second, kept from record to record: a calendar costs more than the rest of the line.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<u64>,
    written: [u8; 19],
}

impl Clock {
    /// Appends `2026-07-04T12:00:00.123Z`. A clock before 1970 is written as 1970.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            self.second = Some(since.as_secs());
            self.written = written_second(since.as_secs());
        }
        let [_, _, _, a, b, c] = six_digits(since.subsec_millis());
        out.extend_from_slice(&self.written);
        out.extend_from_slice(&[b'.', a, b, c, b'Z']);
    }
}

/// `2026-07-04T12:00:00`. Beyond the year 9999 the last second of it.
fn written_second(unix: u64) -> [u8; 19] {
    const END: i64 = 253_402_300_799;
    let unix = i64::try_from(unix).unwrap_or(END).min(END);
    let at = time::OffsetDateTime::from_unix_timestamp(unix).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let mut written = *b"0000-00-00T00:00:00";
    let mut put = |place: usize, width: usize, mut value: u64| {
        for digit in written[place..place + width].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, u64::from(at.year().unsigned_abs()));
    put(5, 2, u64::from(u8::from(at.month())));
    put(8, 2, u64::from(at.day()));
    put(11, 2, u64::from(at.hour()));
    put(14, 2, u64::from(at.minute()));
    put(17, 2, u64::from(at.second()));
    written
}

/// A field's name with everything around it, in one piece; with `text`, also the quote before its value.
macro_rules! json {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
    (text $name:literal) => {
        concat!(",\"", $name, "\":\"").as_bytes()
    };
    // Behind a text whose quote is still open.
    (next $name:literal) => {
        concat!("\",\"", $name, "\":\"").as_bytes()
    };
}

/// Appends the record as one JSON object and a line end.
pub(super) fn push_json(out: &mut Vec<u8>, clock: &mut Clock, now: SystemTime, record: &AccessRecord<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.push(out, now);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(&record.id.written());
    out.extend_from_slice(b"\",\"client\":\"");
    let begins = out.len();
    push_client(out, record.client);
    let ends = out.len();
    out.extend_from_slice(b"\",\"peer\":\"");
    if record.client.address() == Some(record.peer) {
        out.extend_from_within(begins..ends);
    } else {
        push_address(out, record.peer);
    }
    json_open(out, json!(next "door"), record.door.as_bytes(), NAME_LIMIT);
    if let Some(route) = record.route {
        json_open(out, json!(next "route"), route.as_bytes(), NAME_LIMIT);
    }
    json_open(out, json!(next "method"), record.method.as_str().as_bytes(), METHOD_LIMIT);
    json_open(out, json!(next "host"), record.host.as_bytes(), NAME_LIMIT);
    json_open(out, json!(next "path"), record.path.as_bytes(), PATH_LIMIT);
    if let Some(query) = record.query {
        json_open(out, json!(next "query"), query.as_bytes(), PATH_LIMIT);
    }
    out.extend_from_slice(json!(next "version"));
    out.extend_from_slice(version(record.version));
    out.extend_from_slice(b"\",\"tls\":");
    out.extend_from_slice(if record.tls { b"true" } else { b"false" });
    json_number(out, json!("status"), u64::from(record.status));
    if let Some(refusal) = record.refusal {
        json_string(out, json!(text "cause"), refusal.cause().as_bytes(), NAME_LIMIT);
    }
    if let Some(detail) = record.detail {
        json_string(out, json!(text "detail"), detail.as_bytes(), TEXT_LIMIT);
    }
    json_number(out, json!("bytes_in"), record.bytes_in);
    json_number(out, json!("bytes_out"), record.bytes_out);
    out.extend_from_slice(json!("seconds"));
    push_seconds(out, record.took);
    if let Some(upstream) = record.upstream {
        json_string(out, json!(text "upstream"), upstream.as_bytes(), NAME_LIMIT);
    }
    if let Some(address) = record.upstream_address {
        json_string(out, json!(text "upstream_address"), address.as_bytes(), NAME_LIMIT);
    }
    if let Some(first_byte) = record.first_byte {
        out.extend_from_slice(json!("upstream_seconds"));
        push_seconds(out, first_byte);
    }
    if let Some(user_agent) = record.user_agent {
        json_string(out, json!(text "user_agent"), user_agent, TEXT_LIMIT);
    }
    if record.upgraded {
        out.extend_from_slice(b",\"upgraded\":true");
    }
    if record.aborted {
        out.extend_from_slice(b",\"aborted\":true");
    }
    out.extend_from_slice(b"}\n");
}

/// Appends the record as one readable line and a line end.
pub(super) fn push_text(out: &mut Vec<u8>, clock: &mut Clock, now: SystemTime, record: &AccessRecord<'_>) {
    clock.push(out, now);
    out.push(b' ');
    push_number(out, u64::from(record.status));
    out.push(b' ');
    push_word(out, record.method.as_str().as_bytes(), METHOD_LIMIT);
    out.push(b' ');
    push_url(out, record);
    out.push(b' ');
    out.extend_from_slice(version(record.version));
    out.extend_from_slice(b" client=");
    push_client(out, record.client);
    if record.client.address() != Client::at(record.peer).address() {
        out.extend_from_slice(b" peer=");
        push_address(out, record.peer);
    }
    text_field(out, b" door=", record.door.as_bytes(), NAME_LIMIT);
    if let Some(route) = record.route {
        text_field(out, b" route=", route.as_bytes(), NAME_LIMIT);
    }
    if let Some(refusal) = record.refusal {
        text_field(out, b" cause=", refusal.cause().as_bytes(), NAME_LIMIT);
    }
    if let Some(detail) = record.detail {
        text_field(out, b" detail=", detail.as_bytes(), TEXT_LIMIT);
    }
    out.extend_from_slice(b" bytes_in=");
    push_number(out, record.bytes_in);
    out.extend_from_slice(b" bytes_out=");
    push_number(out, record.bytes_out);
    out.extend_from_slice(b" seconds=");
    push_seconds(out, record.took);
    if let Some(upstream) = record.upstream {
        text_field(out, b" upstream=", upstream.as_bytes(), NAME_LIMIT);
    }
    if let Some(address) = record.upstream_address {
        text_field(out, b" upstream_address=", address.as_bytes(), NAME_LIMIT);
    }
    if let Some(first_byte) = record.first_byte {
        out.extend_from_slice(b" upstream_seconds=");
        push_seconds(out, first_byte);
    }
    if let Some(user_agent) = record.user_agent {
        text_field(out, b" user_agent=", user_agent, TEXT_LIMIT);
    }
    if record.upgraded {
        out.extend_from_slice(b" upgraded");
    }
    if record.aborted {
        out.extend_from_slice(b" aborted");
    }
    out.extend_from_slice(b" id=");
    out.extend_from_slice(&record.id.written());
    out.push(b'\n');
}

fn json_string(out: &mut Vec<u8>, name: &[u8], value: &[u8], limit: usize) {
    json_open(out, name, value, limit);
    out.push(b'"');
}

/// A text without the quote behind it.
fn json_open(out: &mut Vec<u8>, name: &[u8], value: &[u8], limit: usize) {
    out.extend_from_slice(name);
    push_escaped(out, value, limit);
}

fn json_number(out: &mut Vec<u8>, name: &[u8], value: u64) {
    out.extend_from_slice(name);
    push_number(out, value);
}

fn text_field(out: &mut Vec<u8>, name: &[u8], value: &[u8], limit: usize) {
    out.extend_from_slice(name);
    push_word(out, value, limit);
}

/// A value that no reader can take for two: bare if it is printable and without blanks and quotes, else in quotes.
fn push_word(out: &mut Vec<u8>, value: &[u8], limit: usize) {
    if is_bare(value) && !value.is_empty() && value.len() <= limit {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    push_escaped(out, value, limit);
    out.push(b'"');
}

fn push_url(out: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let parts = [record.host, record.path, record.query.unwrap_or_default()];
    let quoted = !parts.iter().all(|part| is_bare(part.as_bytes()));
    if quoted {
        out.push(b'"');
    }
    out.extend_from_slice(if record.tls { b"https://" } else { b"http://" });
    push_escaped(out, record.host.as_bytes(), NAME_LIMIT);
    push_escaped(out, record.path.as_bytes(), PATH_LIMIT);
    if let Some(query) = record.query {
        out.push(b'?');
        push_escaped(out, query.as_bytes(), PATH_LIMIT);
    }
    if quoted {
        out.push(b'"');
    }
}

fn is_bare(value: &[u8]) -> bool {
    value.iter().all(|&byte| matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'\\')
}

fn version(version: http::Version) -> &'static [u8] {
    match version {
        http::Version::HTTP_09 => b"HTTP/0.9",
        http::Version::HTTP_10 => b"HTTP/1.0",
        http::Version::HTTP_2 => b"HTTP/2",
        http::Version::HTTP_3 => b"HTTP/3",
        _ => b"HTTP/1.1",
    }
}

fn push_client(out: &mut Vec<u8>, client: Client) {
    match client.address() {
        Some(address) => push_address(out, address),
        None => out.extend_from_slice(b"unknown"),
    }
}

fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                push_number(out, u64::from(octet));
            }
        }
        // Writing into a Vec cannot fail.
        IpAddr::V6(address) => write!(out, "{address}").unwrap_or_default(),
    }
}

/// Seconds with six digits.
fn push_seconds(out: &mut Vec<u8>, duration: Duration) {
    let [a, b, c, d, e, f] = six_digits(duration.subsec_micros());
    push_number(out, duration.as_secs());
    out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
}

/// Decimal digits, as many as it takes.
fn push_number(out: &mut Vec<u8>, mut value: u64) {
    let digit = |of: u64| b'0' + (value / of % 10) as u8;
    match value {
        0..10 => return out.push(digit(1)),
        10..100 => return out.extend_from_slice(&[digit(10), digit(1)]),
        100..1000 => return out.extend_from_slice(&[digit(100), digit(10), digit(1)]),
        1000..10_000 => return out.extend_from_slice(&[digit(1000), digit(100), digit(10), digit(1)]),
        _ => {}
    }
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while value > 0 {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

/// The last six digits, zeros before them.
fn six_digits(value: u32) -> [u8; 6] {
    let digit = |of: u32| b'0' + (value / of % 10) as u8;
    [digit(100_000), digit(10_000), digit(1000), digit(100), digit(10), digit(1)]
}

#[cfg(test)]
mod tests;
