//! The lines of a head, and what they say of the body behind it: the same for requests and answers.

use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields for which there is room at first: most heads have fewer.
const USUAL_FIELDS: usize = 24;

/// Something that is no HTTP/1.1, or that can be read in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadMessage(pub &'static str);

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    Nothing,
    /// By its length.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection; an answer's only.
    UntilClosed,
}

/// A head that is whole, as places in what was read.
pub(super) struct Found<S> {
    /// What its first line says.
    pub(super) start: S,
    /// Its bytes, up to the body.
    pub(super) length: usize,
    /// The bytes of its first line.
    pub(super) first_line: usize,
    fields: Vec<Line>,
}

/// A field's line, without its end. What stands before its colon is a name.
pub(super) struct Line {
    pub(super) start: usize,
    pub(super) colon: usize,
    pub(super) end: usize,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum NoHead {
    /// It is none.
    Bad(BadMessage),
    /// It has more fields than are read.
    TooManyFields,
}

impl From<BadMessage> for NoHead {
    fn from(bad: BadMessage) -> NoHead {
        NoHead::Bad(bad)
    }
}

/// How the first line of a head is read.
pub(super) trait FirstLine: Sized {
    /// Reads the whole of it, which begins at this place.
    fn read(line: &[u8], at: usize) -> Result<Self, BadMessage>;

    /// Whether a part of it may become one.
    fn may_become_one(part: &[u8]) -> Result<(), BadMessage>;
}

/// Finds the lines of a head, `most` fields of it. A line ends with a line feed, whether or not a carriage return stands before
/// it (RFC 9112 §2.2); empty lines before a message mean nothing. `None` while it is not whole.
pub(super) fn find<S: FirstLine>(read: &[u8], most: usize) -> Result<Option<Found<S>>, NoHead> {
    let mut at = 0;
    let line = loop {
        match line_at(read, at) {
            None => return Ok(S::may_become_one(&read[at..]).map(|()| None)?),
            Some(line) if line.is_empty() => at = after(read, line.end),
            Some(line) => break line,
        }
    };
    let start = S::read(&read[line.clone()], line.start)?;
    let first_line = line.len();
    let mut fields = Vec::with_capacity(USUAL_FIELDS);
    let mut last = line.end;
    loop {
        let Some(line) = line_at(read, after(read, last)) else { return Ok(None) };
        last = line.end;
        if line.is_empty() {
            return Ok(Some(Found { start, length: after(read, last), first_line, fields }));
        }
        if fields.len() == most {
            return Err(NoHead::TooManyFields);
        }
        let colon = name_in(&read[line.clone()])?;
        fields.push(Line { start: line.start, colon: line.start + colon, end: line.end });
    }
}

/// The length of the name that a field's line begins with (RFC 9112 §5).
fn name_in(line: &[u8]) -> Result<usize, BadMessage> {
    match line.iter().position(|&byte| !IS_OF_NAME[usize::from(byte)]) {
        Some(length @ 1..) if line[length] == b':' => Ok(length),
        Some(_) => Err(BadMessage("a field's name has characters that no name has")),
        None => Err(BadMessage("a line of its head is no field")),
    }
}

/// Bytes of a field's name (RFC 9110 §5.6.2).
static IS_OF_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let is_sign = matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        table[byte as usize] = byte.is_ascii_alphanumeric() || is_sign;
        byte += 1;
    }
    table
};

/// Whether a head ends somewhere in there.
pub fn has_end(read: &[u8]) -> bool {
    read.windows(2).any(|two| two == b"\n\n") || read.windows(3).any(|three| three == b"\n\r\n")
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

/// Which of the fields that say how to go on stand in a head.
#[derive(Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) coding: bool,
    pub(super) length: bool,
    connection: bool,
    keep_alive: bool,
}

impl<S> Found<S> {
    /// The lines of its fields.
    pub(super) fn lines(&self) -> &[Line] {
        &self.fields
    }

    /// Takes its fields, in order, from the copy of it, and leaves room for so many more.
    pub(super) fn fields(&self, head: &Bytes, room: usize) -> Result<(HeaderMap, Said), BadMessage> {
        let (mut headers, mut said) = (HeaderMap::with_capacity(self.fields.len() + room), Said::default());
        for Line { start, colon, end } in &self.fields {
            let name = HeaderName::from_bytes(&head[*start..*colon])
                .map_err(|_| BadMessage("a field's name has characters that no name has"))?;
            let value = trimmed(head, colon + 1, *end);
            let value = match value.is_empty() {
                true => HeaderValue::from_static(""),
                false => HeaderValue::from_maybe_shared(head.slice(value))
                    .map_err(|_| BadMessage("a field's value has characters that no value has"))?,
            };
            if name == header::CONNECTION && value.as_bytes().eq_ignore_ascii_case(b"keep-alive") {
                // Nearly everybody says so, and it concerns this connection alone.
                said.keep_alive = true;
                continue;
            }
            said.hear(&name);
            headers.append(name, value);
        }
        Ok((headers, said))
    }
}

impl Said {
    fn hear(&mut self, name: &HeaderName) {
        self.coding |= *name == header::TRANSFER_ENCODING;
        self.length |= *name == header::CONTENT_LENGTH;
        self.connection |= *name == header::CONNECTION;
    }

    /// Whether another message may follow on the connection (RFC 9112 §9.3).
    pub(super) fn is_kept(self, is_http10: bool, headers: &HeaderMap) -> bool {
        let mut is_kept = !is_http10 || self.keep_alive;
        if !self.connection {
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
}

/// Where a value stands, without the white space around it (RFC 9112 §5.1).
pub(super) fn trimmed(head: &[u8], mut start: usize, mut end: usize) -> Range<usize> {
    let is_white = |byte: u8| matches!(byte, b' ' | b'\t');
    while start < end && is_white(head[start]) {
        start += 1;
    }
    while start < end && is_white(head[end - 1]) {
        end -= 1;
    }
    start..end
}

/// Digits and nothing else: no sign, no space, no overflow.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}
