//! The head of an HTTP/1.1 message to and from an upstream: a request is written in one piece, an answer is read strictly.
//! What an answer's body is framed by is settled here, once; what can be understood in two ways is refused. No sockets.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

/// Bytes of an answer's head that are read: Calibre's Kobo sync sends 100 KiB.
pub const MOST_ANSWER_HEAD: usize = 256 * 1024;

/// Fields of an answer's head.
const MOST_ANSWER_FIELDS: usize = 1_000;

/// Fields for which there is room at first: most heads have fewer.
const USUAL_FIELDS: usize = 24;

/// Fields that may be set on an answer on its way, for which there is room from the beginning.
const SET_BY_US: usize = 2;

/// What an upstream said that is no HTTP/1.1, or that can be read in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadAnswer(pub &'static str);

/// How the end of an answer's body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    Nothing,
    /// By its length.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClosed,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// The words behind it, where they are not the usual ones.
    pub reason: Option<Bytes>,
    /// Its fields, in order.
    pub headers: HeaderMap,
    /// What follows.
    pub framing: Framing,
    /// Whether the server takes another request on this connection.
    pub is_kept: bool,
}

/// Takes one head from the beginning of what was read; `None` while it is not whole. `is_head`: the request was HEAD, whose
/// answers have no body whatever they say.
///
/// # Errors
/// What stands there is no head of an answer.
pub fn read_head(read: &mut BytesMut, is_head: bool) -> Result<Option<Head>, BadAnswer> {
    let too_long = BadAnswer("its head is longer than 256 KiB");
    let Some(Found { start, length, fields }) = find(read)? else {
        return if read.len() > MOST_ANSWER_HEAD { Err(too_long) } else { Ok(None) };
    };
    if length > MOST_ANSWER_HEAD {
        return Err(too_long);
    }
    // One copy that its values share. They may live long, in the table of an HTTP/2 client's connection (RFC 7541 §2.3.2): the
    // whole buffer, of up to 128 KiB, must not live with them.
    let head = Bytes::copy_from_slice(&read[..length]);
    read.advance(length);
    let Start { code, reason, is_http10 } = start;
    let status = StatusCode::from_u16(code).map_err(|_| BadAnswer("its status is no number from 100 to 999"))?;
    let reason = head.slice(reason);
    let is_usual = reason.is_empty() || status.canonical_reason().is_some_and(|usual| usual.as_bytes() == &*reason);
    let (mut headers, mut said) = (HeaderMap::with_capacity(fields.len() + SET_BY_US), Said::default());
    for Line { start, colon, end } in fields {
        let name = HeaderName::from_bytes(&head[start..colon])
            .map_err(|_| BadAnswer("a field's name has characters that no name has"))?;
        let value = trimmed(&head, colon + 1, end);
        let value = match value.is_empty() {
            true => HeaderValue::from_static(""),
            false => HeaderValue::from_maybe_shared(head.slice(value))
                .map_err(|_| BadAnswer("a field's value has characters that no value has"))?,
        };
        if name == header::CONNECTION && value.as_bytes().eq_ignore_ascii_case(b"keep-alive") {
            // Nearly every server says so, and it concerns this connection alone.
            said.keep_alive = true;
            continue;
        }
        said.hear(&name);
        headers.append(name, value);
    }
    let framing = framing_of(status, is_http10, said, &mut headers, is_head)?;
    let is_kept = is_kept(is_http10, said, &headers) && framing != Framing::UntilClosed;
    Ok(Some(Head { status, reason: (!is_usual).then_some(reason), headers, framing, is_kept }))
}

/// A head that is whole, as places in what was read.
struct Found {
    start: Start,
    length: usize,
    fields: Vec<Line>,
}

/// What the first line says.
struct Start {
    code: u16,
    reason: Range<usize>,
    is_http10: bool,
}

/// A field's line, without its end.
struct Line {
    start: usize,
    colon: usize,
    end: usize,
}

/// Which of the fields that say how to go on stand in a head.
#[derive(Clone, Copy, Default)]
struct Said {
    coding: bool,
    length: bool,
    connection: bool,
    keep_alive: bool,
}

impl Said {
    fn hear(&mut self, name: &HeaderName) {
        self.coding |= *name == header::TRANSFER_ENCODING;
        self.length |= *name == header::CONTENT_LENGTH;
        self.connection |= *name == header::CONNECTION;
    }
}

/// Finds the lines of a head. A line ends with a line feed, whether or not a carriage return stands before it (RFC 9112 §2.2);
/// empty lines before an answer mean nothing.
fn find(read: &[u8]) -> Result<Option<Found>, BadAnswer> {
    let mut at = 0;
    let line = loop {
        match line_at(read, at) {
            None => return begins_well(&read[at..]).map(|()| None),
            Some(line) if line.is_empty() => at = after(read, line.end),
            Some(line) => break line,
        }
    };
    let start = start_of(&read[line.clone()], line.start)?;
    let mut fields = Vec::with_capacity(USUAL_FIELDS);
    let mut last = line.end;
    loop {
        let Some(line) = line_at(read, after(read, last)) else { return Ok(None) };
        last = line.end;
        if line.is_empty() {
            return Ok(Some(Found { start, length: after(read, last), fields }));
        }
        if fields.len() == MOST_ANSWER_FIELDS {
            return Err(BadAnswer("its head has more than 1000 fields"));
        }
        let colon = memchr::memchr(b':', &read[line.clone()]).ok_or(BadAnswer("a line of its head is no field"))?;
        fields.push(Line { start: line.start, colon: line.start + colon, end: line.end });
    }
}

/// The line that begins at a place, without its end; `None` if its end is not there.
fn line_at(read: &[u8], start: usize) -> Option<Range<usize>> {
    let feed = start + memchr::memchr(b'\n', &read[start..])?;
    let has_return = feed > start && read[feed - 1] == b'\r';
    Some(start..feed - usize::from(has_return))
}

/// Where the next line begins, behind one that ends there.
fn after(read: &[u8], end: usize) -> usize {
    end + if read[end] == b'\r' { 2 } else { 1 }
}

const VERSION: &[u8] = b"HTTP/1.";
const NOT_HTTP: BadAnswer = BadAnswer("it does not begin with HTTP/1.1");

/// Whether a first line that is not whole may become one.
fn begins_well(part: &[u8]) -> Result<(), BadAnswer> {
    let known = part.len().min(VERSION.len());
    if part[..known] == VERSION[..known] || part == b"\r" { Ok(()) } else { Err(NOT_HTTP) }
}

/// Reads the first line, which begins at a place (RFC 9112 §4).
fn start_of(line: &[u8], at: usize) -> Result<Start, BadAnswer> {
    let rest = line.strip_prefix(VERSION).ok_or(NOT_HTTP)?;
    let [minor @ (b'0' | b'1'), b' ', rest @ ..] = rest else { return Err(NOT_HTTP) };
    let (code, reason) = match rest {
        [a, b, c] => ([*a, *b, *c], &[][..]),
        [a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
        _ => return Err(BadAnswer("its status is no number of three digits")),
    };
    let code = digits(&code).ok_or(BadAnswer("its status is no number of three digits"))?;
    if reason.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(BadAnswer("the words behind its status have control characters"));
    }
    // No client can be told in which letters those are.
    let reason = if reason.is_ascii() { reason.len() } else { 0 };
    let end = at + line.len();
    Ok(Start { code: code as u16, reason: end - reason..end, is_http10: *minor == b'0' })
}

/// Where a value stands, without the white space around it (RFC 9112 §5.1).
fn trimmed(head: &[u8], mut start: usize, mut end: usize) -> Range<usize> {
    let is_white = |byte: u8| matches!(byte, b' ' | b'\t');
    while start < end && is_white(head[start]) {
        start += 1;
    }
    while start < end && is_white(head[end - 1]) {
        end -= 1;
    }
    start..end
}

/// What follows a head (RFC 9112 §6.3). What can be understood in two ways is not understood at all.
fn framing_of(
    status: StatusCode,
    is_http10: bool,
    said: Said,
    headers: &mut HeaderMap,
    is_head: bool,
) -> Result<Framing, BadAnswer> {
    if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || is_head {
        return Ok(Framing::Nothing);
    }
    if said.coding {
        if is_http10 {
            return Err(BadAnswer("HTTP/1.0 with a transfer coding"));
        }
        let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
        let last = last.and_then(|value| value.as_bytes().rsplit(|&b| b == b',').next());
        let is_chunked = last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        return Ok(if is_chunked { Framing::Chunked } else { Framing::UntilClosed });
    }
    match said.length {
        true => length_of(headers).map(Framing::Length),
        false => Ok(Framing::UntilClosed),
    }
}

/// The length that a head names. One that is named more than once, always the same, is named once from here on.
fn length_of(headers: &mut HeaderMap) -> Result<u64, BadAnswer> {
    let wrong = BadAnswer("its Content-Length can be read in two ways");
    let mut length = None;
    let mut count = 0;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for part in value.as_bytes().split(|&b| b == b',') {
            let said = digits(part.trim_ascii()).ok_or(wrong)?;
            if length.is_some_and(|length| length != said) {
                return Err(wrong);
            }
            length = Some(said);
            count += 1;
        }
    }
    let length = length.ok_or(wrong)?;
    if count > 1 {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

/// Digits and nothing else: no sign, no space, no overflow.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

fn is_kept(is_http10: bool, said: Said, headers: &HeaderMap) -> bool {
    let mut is_kept = !is_http10 || said.keep_alive;
    if !said.connection {
        return is_kept;
    }
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            is_kept |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    is_kept
}

/// How the body of a request is told from what follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coding {
    /// There is no body.
    Nothing,
    /// It has so many bytes.
    Length(u64),
    /// In chunks, behind which these fields may come as trailers: those that the head names.
    Chunked(Vec<HeaderName>),
}

/// Writes the head of a request. `size`: the bytes of its body, where they are known; 0 if there is none. Whatever the fields
/// say, what is written names the framing that is used, and no other.
pub fn write_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    size: Option<u64>,
    out: &mut Vec<u8>,
) -> Result<Coding, BadAnswer> {
    let coding = coding_of(headers, size)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    out.reserve(64 + target.len() + headers.len() * 40);
    for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let mut has_length = false;
    for (name, value) in headers {
        if *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH {
            has_length |= *name == header::CONTENT_LENGTH;
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match &coding {
        Coding::Length(length) => write_length(*length, out),
        // What has a meaning without a body is said to have none (RFC 9110 §8.6).
        Coding::Nothing if has_length => write_length(0, out),
        Coding::Nothing => {}
        Coding::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(coding)
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    // To a vector it cannot fail.
    let _ = write!(out, "content-length: {length}\r\n");
}

fn coding_of(headers: &HeaderMap, size: Option<u64>) -> Result<Coding, BadAnswer> {
    if size == Some(0) {
        return Ok(Coding::Nothing);
    }
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = match (said.next(), said.next()) {
            (None, _) => size,
            (Some(one), None) => Some(digits(one.as_bytes()).ok_or(BadAnswer("a length that is no number"))?),
            (Some(_), Some(_)) => return Err(BadAnswer("a length that is named twice")),
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
