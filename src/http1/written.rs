//! Heads as they are written, each in one piece. Whatever the fields say, what is written names the framing that is used, and no
//! other.

use std::cell::RefCell;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

use super::lines::{BadMessage, digits};
use super::verbatim::Verbatim;

/// How the body of a message is told from what follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coding {
    /// There is no body.
    Nothing,
    /// It has so many bytes.
    Length(u64),
    /// In chunks, behind which these fields may come as trailers: those that the head names.
    Chunked(Vec<HeaderName>),
    /// It ends with the connection; an answer's only.
    UntilClosed,
}

/// Writes the head of a request. `more`: lines that stand behind its fields. `size`: the bytes of its body, where they are
/// known; 0 if there is none.
///
/// # Errors
/// Its fields say of its length what cannot be.
pub fn write_request(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    more: &[u8],
    size: Option<u64>,
) -> Result<(Vec<u8>, Coding), BadMessage> {
    let coding = coding_of(headers, size)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let mut out = Vec::with_capacity(96 + target.len() + more.len() + headers.len() * 40);
    for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let seen = write_fields(headers, &mut out);
    out.extend_from_slice(more);
    match &coding {
        Coding::Length(length) => write_length(*length, &mut out),
        // What has a meaning without a body is said to have none (RFC 9110 §8.6).
        Coding::Nothing if seen.length => write_length(0, &mut out),
        Coding::Nothing | Coding::UntilClosed => {}
        Coding::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok((out, coding))
}

/// What is known of a client that is answered.
#[derive(Clone, Copy, Debug)]
pub struct ToClient {
    /// Whether it speaks HTTP/1.0: no chunks, and it has to be told if its connection goes on.
    pub is_http10: bool,
    /// Whether it asked with HEAD.
    pub is_head: bool,
    /// Whether it takes trailers (RFC 9110 §6.5.1).
    pub takes_trailers: bool,
    /// Whether its connection goes on, as far as that is ours to say.
    pub is_kept: bool,
}

/// Writes the head of an answer, and says whether the connection goes on behind it. `verbatim`: fields that stand before the
/// others. `size` as for a request.
///
/// # Errors
/// Its fields say of its length what cannot be.
pub fn write_answer(
    status: StatusCode,
    reason: Option<&[u8]>,
    verbatim: Option<&Verbatim>,
    headers: &HeaderMap,
    size: Option<u64>,
    to: ToClient,
) -> Result<(Vec<u8>, Coding, bool), BadMessage> {
    let has_none = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut coding = if has_none || to.is_head { Coding::Nothing } else { coding_of(headers, size)? };
    match &mut coding {
        Coding::Chunked(_) if to.is_http10 => coding = Coding::UntilClosed,
        Coding::Chunked(named) if !to.takes_trailers => named.clear(),
        _ => {}
    }
    let mut out = Vec::with_capacity(192 + verbatim.map_or(0, |verbatim| verbatim.text.len()) + headers.len() * 40);
    out.extend_from_slice(if to.is_http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    let reason = reason.or(status.canonical_reason().map(str::as_bytes)).unwrap_or(b"<none>");
    for part in [status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(verbatim.map_or(&[], |verbatim| &verbatim.text));
    let mut seen = write_fields(headers, &mut out);
    if let Some(Verbatim { has_length, has_date, .. }) = verbatim {
        (seen.length, seen.date) = (*has_length, seen.date || *has_date);
    }
    match &coding {
        Coding::Length(_) | Coding::Nothing if verbatim.is_some() && seen.length => {}
        Coding::Length(length) => write_length(*length, &mut out),
        Coding::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // The length that there would have been (RFC 9110 §8.6).
        Coding::Nothing if to.is_head || status == StatusCode::NOT_MODIFIED => {
            headers.get(header::CONTENT_LENGTH).inspect(|length| write_field("content-length", length, &mut out));
        }
        Coding::Nothing if !has_none => write_length(0, &mut out),
        Coding::Nothing | Coding::UntilClosed => {}
    }
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    let says_close = seen.connection
        && headers.get_all(header::CONNECTION).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let is_kept = to.is_kept && !says_close && !is_switch && coding != Coding::UntilClosed;
    match (is_kept, to.is_http10) {
        (false, false) if !seen.connection => out.extend_from_slice(b"connection: close\r\n"),
        (true, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
        _ => {}
    }
    if !seen.date {
        write_date(&mut out);
    }
    out.extend_from_slice(b"\r\n");
    Ok((out, coding, is_kept))
}

/// Which of the fields that are looked at on the way were there.
#[derive(Default)]
struct Seen {
    length: bool,
    connection: bool,
    date: bool,
}

/// Writes all fields but those that frame the body.
fn write_fields(headers: &HeaderMap, out: &mut Vec<u8>) -> Seen {
    let mut seen = Seen::default();
    for (name, value) in headers {
        if *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH {
            seen.length |= *name == header::CONTENT_LENGTH;
            continue;
        }
        seen.connection |= *name == header::CONNECTION;
        seen.date |= *name == header::DATE;
        write_field(name.as_str(), value, out);
    }
    seen
}

fn write_field(name: &str, value: &HeaderValue, out: &mut Vec<u8>) {
    for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    // To a vector it cannot fail.
    let _ = write!(out, "content-length: {length}\r\n");
}

thread_local! {
    /// The field that says now, and the second that it says.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// Says when an answer was made that does not say so itself (RFC 9110 §6.6.1).
fn write_date(out: &mut Vec<u8>) {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(of, field)| {
        if *of != second {
            *field = format!("date: {}\r\n", httpdate::HttpDate::from(now));
            *of = second;
        }
        out.extend_from_slice(field.as_bytes());
    });
}

fn coding_of(headers: &HeaderMap, size: Option<u64>) -> Result<Coding, BadMessage> {
    if size == Some(0) {
        return Ok(Coding::Nothing);
    }
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = match (said.next(), said.next()) {
            (None, _) => size,
            (Some(one), None) => Some(digits(one.as_bytes()).ok_or(BadMessage("a length that is no number"))?),
            (Some(_), Some(_)) => return Err(BadMessage("a length that is named twice")),
        };
        if let Some(length) = length {
            return Ok(Coding::Length(length));
        }
    }
    let named = headers.get_all(header::TRAILER).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    Ok(Coding::Chunked(named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()))
}

#[cfg(test)]
mod tests;
