//! The head of a client's request. Only what is HTTP/1.1 is read as it; what is, and can still be understood in two ways, is
//! given to whoever refuses requests, and nothing behind it is read as another one.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Method, Uri, Version};

use super::lines::{BadMessage, FirstLine, Found, Framing, NoHead, Said, digits, find};

/// The longest target that is read: as much as the type of a URI holds.
const LONGEST_TARGET: usize = 65_534;

/// Fields that are set on a request on its way, for which there is room from the beginning.
const SET_BY_US: usize = 6;

/// How much of a head is read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes.
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

/// The head of a request.
#[derive(Debug)]
pub struct RequestHead {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// Its fields, in order.
    pub headers: HeaderMap,
    /// What follows; nothing where that is unclear.
    pub framing: Framing,
    /// Whether another request may follow. None may where it is unclear where this one ends.
    pub is_kept: bool,
}

/// Why there is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadRequest {
    /// It is none.
    #[error("{0}")]
    Bad(#[from] BadMessage),
    /// Its target is longer than is read, or makes its head so.
    #[error("the target of the request is too long")]
    TargetTooLong,
    /// Its head is longer than is read.
    #[error("the head of the request is too long")]
    HeadTooLong,
    /// Its head has more fields than are read.
    #[error("the head of the request has too many fields")]
    TooManyFields,
}

/// Takes one head from the beginning of what was read; `None` while it is not whole.
///
/// # Errors
/// What stands there is no head of a request, or more of it than is read.
pub fn read_request(read: &mut BytesMut, bounds: Bounds) -> Result<Option<RequestHead>, BadRequest> {
    // Empty lines before a request mean nothing (RFC 9112 §2.2): however many come, one by one, each is looked at once.
    while let Some(end) = [&b"\r\n"[..], b"\n"].into_iter().find(|end| read.starts_with(end)) {
        read.advance(end.len());
    }
    let found: Found<Start> = match find(read, bounds.fields) {
        Ok(Some(found)) if found.length > bounds.bytes => return Err(too_long(found.length, found.first_line)),
        Ok(Some(found)) => found,
        Ok(None) if read.len() > bounds.bytes => {
            let first_line = memchr::memchr(b'\n', read).unwrap_or(read.len());
            return Err(too_long(read.len(), first_line));
        }
        Ok(None) => return Ok(None),
        Err(NoHead::Bad(bad)) => return Err(bad.into()),
        Err(NoHead::TooManyFields) => return Err(BadRequest::TooManyFields),
    };
    let Start { method, target, version } = &found.start;
    if target.len() > LONGEST_TARGET {
        return Err(BadRequest::TargetTooLong);
    }
    // One copy that its target and values share. They may live long, in the table of an HTTP/2 upstream's connection.
    let head = Bytes::copy_from_slice(&read[..found.length]);
    read.advance(found.length);
    let method = Method::from_bytes(&head[method.clone()])
        .map_err(|_| BadMessage("a method with characters that no method has (RFC 9110 §9.1)"))?;
    let uri = Uri::from_maybe_shared(head.slice(target.clone()))
        .map_err(|_| BadMessage("a target that is none (RFC 9112 §3.2)"))?;
    let (headers, said) = found.fields(&head, SET_BY_US)?;
    let framing = framing_of(*version, said, &headers);
    let is_kept = framing.is_some() && said.is_kept(*version == Version::HTTP_10, &headers);
    let framing = framing.unwrap_or(Framing::Nothing);
    Ok(Some(RequestHead { method, uri, version: *version, headers, framing, is_kept }))
}

/// What makes a head too long: its first line, if that is most of it.
fn too_long(head: usize, first_line: usize) -> BadRequest {
    if first_line * 2 > head { BadRequest::TargetTooLong } else { BadRequest::HeadTooLong }
}

/// What the first line says.
struct Start {
    method: Range<usize>,
    target: Range<usize>,
    version: Version,
}

const NO_REQUEST: BadMessage = BadMessage("it does not begin like `GET / HTTP/1.1` (RFC 9112 §3)");

impl FirstLine for Start {
    /// What a text begins with is no TLS, and no other protocol that nobody would read to its end.
    fn may_become_one(part: &[u8]) -> Result<(), BadMessage> {
        let line = part.strip_suffix(b"\r").unwrap_or(part);
        if line.first() == Some(&b' ') || line.iter().any(|byte| is_never_there(*byte) && *byte != b' ') {
            return Err(NO_REQUEST);
        }
        Ok(())
    }

    /// RFC 9112 §3. One space on either side of the target: what others would take for white space there is none.
    fn read(line: &[u8], at: usize) -> Result<Start, BadMessage> {
        let method = memchr::memchr(b' ', line).ok_or(NO_REQUEST)?;
        let rest = &line[method + 1..];
        let (target, version) = match rest {
            [target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] => (target, Version::HTTP_11),
            [target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'] => (target, Version::HTTP_10),
            _ => return Err(NO_REQUEST),
        };
        let is_clean = !target.iter().any(|byte| is_never_there(*byte)) && std::str::from_utf8(target).is_ok();
        if method == 0 || target.is_empty() || !is_clean {
            return Err(NO_REQUEST);
        }
        let begins = at + method + 1;
        Ok(Start { method: at..at + method, target: begins..begins + target.len(), version })
    }
}

/// White space and control characters, which no target has.
fn is_never_there(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

/// What follows a head (RFC 9112 §6.3); `None` where that can be understood in two ways.
fn framing_of(version: Version, said: Said, headers: &HeaderMap) -> Option<Framing> {
    if !said.coding && !said.length {
        return Some(Framing::Nothing);
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (Some(coding), None) => {
            let is_plain = codings.next().is_none() && version == Version::HTTP_11;
            (is_plain && coding.as_bytes().eq_ignore_ascii_case(b"chunked")).then_some(Framing::Chunked)
        }
        (None, Some(length)) if lengths.next().is_none() => match digits(length.as_bytes())? {
            0 => Some(Framing::Nothing),
            length => Some(Framing::Length(length)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
