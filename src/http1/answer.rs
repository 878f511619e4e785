//! The head of an upstream's answer. What its body is framed by is settled here, once.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderValue};

use super::lines::{BadMessage, FirstLine, Found, Framing, NoHead, Said, digits, find};
use super::verbatim::{MayPass, Noted, Verbatim};

/// Bytes of an answer's head that are read: Calibre's Kobo sync sends 100 KiB.
pub const MOST_ANSWER_HEAD: usize = 256 * 1024;

/// Fields of an answer's head.
pub const MOST_ANSWER_FIELDS: usize = 1_000;

/// Fields that may be set on an answer on its way, for which there is room from the beginning.
const SET_BY_US: usize = 2;

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Its status.
    pub status: StatusCode,
    /// The words behind it, where they are not the usual ones.
    pub reason: Option<Bytes>,
    /// Its fields, in order.
    pub headers: HeaderMap,
    /// Its fields as they came, in the place of those.
    pub verbatim: Option<Verbatim>,
    /// What follows.
    pub framing: Framing,
    /// Whether the server takes another request on this connection.
    pub is_kept: bool,
}

/// Takes one head from the beginning of what was read; `None` while it is not whole. `is_head`: the request was HEAD, whose
/// answers have no body whatever they say. `may_pass`: which fields may go on as they came, if any may.
///
/// # Errors
/// What stands there is no head of an answer.
pub fn read_answer(
    read: &mut BytesMut,
    is_head: bool,
    may_pass: Option<MayPass>,
) -> Result<Option<AnswerHead>, BadMessage> {
    let too_long = BadMessage("its head is longer than 256 KiB");
    let found: Found<Start> = match find(read, MOST_ANSWER_FIELDS) {
        Ok(Some(found)) => found,
        Ok(None) if read.len() > MOST_ANSWER_HEAD => return Err(too_long),
        Ok(None) => return Ok(None),
        Err(NoHead::Bad(bad)) => return Err(bad),
        Err(NoHead::TooManyFields) => return Err(BadMessage("its head has more than 1000 fields")),
    };
    if found.length > MOST_ANSWER_HEAD {
        return Err(too_long);
    }
    if let Some(head) = may_pass.and_then(|may_pass| as_it_came(read, &found, is_head, may_pass)) {
        read.advance(found.length);
        return Ok(Some(head));
    }
    // One copy that its values share. They may live long, in the table of an HTTP/2 client's connection (RFC 7541 §2.3.2): the
    // whole buffer, of up to 128 KiB, must not live with them.
    let head = Bytes::copy_from_slice(&read[..found.length]);
    read.advance(found.length);
    let Start { code, reason, is_http10 } = &found.start;
    let status = StatusCode::from_u16(*code).map_err(|_| BadMessage("its status is no number from 100 to 999"))?;
    let reason = unusual(status, &head[reason.clone()]);
    let (mut headers, said) = found.fields(&head, SET_BY_US)?;
    let framing = framing_of(status, *is_http10, said, &mut headers, is_head)?;
    let is_kept = said.is_kept(*is_http10, &headers) && framing != Framing::UntilClosed;
    Ok(Some(AnswerHead { status, reason, headers, verbatim: None, framing, is_kept }))
}

/// A head none of whose fields has to be seen; what is not so plain is read the other way.
fn as_it_came(read: &[u8], found: &Found<Start>, is_head: bool, may_pass: MayPass) -> Option<AnswerHead> {
    let Start { code, reason, is_http10 } = &found.start;
    let status = StatusCode::from_u16(*code).ok()?;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return None;
    }
    let (verbatim, noted) = Verbatim::of(read, found, may_pass)?;
    let framing = match noted {
        _ if is_head || status == StatusCode::NOT_MODIFIED => Framing::Nothing,
        Noted { is_chunked: true, .. } if *is_http10 => return None,
        Noted { is_chunked: true, .. } => Framing::Chunked,
        Noted { length: Some(length), .. } => Framing::Length(length),
        Noted { length: None, .. } => Framing::UntilClosed,
    };
    let is_kept = (!is_http10 || noted.is_kept_alive) && framing != Framing::UntilClosed;
    let reason = unusual(status, &read[reason.clone()]);
    Some(AnswerHead { status, reason, headers: HeaderMap::new(), verbatim: Some(verbatim), framing, is_kept })
}

/// The words behind a status, where they are not the usual ones.
fn unusual(status: StatusCode, reason: &[u8]) -> Option<Bytes> {
    let is_usual = reason.is_empty() || status.canonical_reason().is_some_and(|usual| usual.as_bytes() == reason);
    (!is_usual).then(|| Bytes::copy_from_slice(reason))
}

/// What the first line says.
struct Start {
    code: u16,
    reason: Range<usize>,
    is_http10: bool,
}

const VERSION: &[u8] = b"HTTP/1.";
const NOT_HTTP: BadMessage = BadMessage("it does not begin with HTTP/1.1");

impl FirstLine for Start {
    fn may_become_one(part: &[u8]) -> Result<(), BadMessage> {
        let known = part.len().min(VERSION.len());
        if part[..known] == VERSION[..known] || part == b"\r" { Ok(()) } else { Err(NOT_HTTP) }
    }

    /// RFC 9112 §4.
    fn read(line: &[u8], at: usize) -> Result<Start, BadMessage> {
        let rest = line.strip_prefix(VERSION).ok_or(NOT_HTTP)?;
        let [minor @ (b'0' | b'1'), b' ', rest @ ..] = rest else { return Err(NOT_HTTP) };
        let (code, reason) = match rest {
            [a, b, c] => ([*a, *b, *c], &[][..]),
            [a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
            _ => return Err(BadMessage("its status is no number of three digits")),
        };
        let code = digits(&code).ok_or(BadMessage("its status is no number of three digits"))?;
        if reason.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(BadMessage("the words behind its status have control characters"));
        }
        // No client can be told in which letters those are.
        let reason = if reason.is_ascii() { reason.len() } else { 0 };
        let end = at + line.len();
        Ok(Start { code: code as u16, reason: end - reason..end, is_http10: *minor == b'0' })
    }
}

/// What follows a head (RFC 9112 §6.3). What can be understood in two ways is not understood at all.
fn framing_of(
    status: StatusCode,
    is_http10: bool,
    said: Said,
    headers: &mut HeaderMap,
    is_head: bool,
) -> Result<Framing, BadMessage> {
    if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || is_head {
        return Ok(Framing::Nothing);
    }
    if said.coding {
        if is_http10 {
            return Err(BadMessage("HTTP/1.0 with a transfer coding"));
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
fn length_of(headers: &mut HeaderMap) -> Result<u64, BadMessage> {
    let wrong = BadMessage("its Content-Length can be read in two ways");
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

#[cfg(test)]
mod tests;
