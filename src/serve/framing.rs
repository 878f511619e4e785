//! Where each HTTP/1.1 message of a client ends, followed beside the HTTP library, which does not tell: whether a client that
//! ends its side has said all it had to say, and whether the lines between chunks are such lines. Refuses those that no sender
//! writes; decides nothing else, keeps a few bytes of one line, and leaves every other fault to whoever reads the messages.

/// A line between chunks is not longer than this, its end included. The longest in use, signatures of object stores, have 90
/// bytes; it bounds leading zeros and extensions alike (RFC 9112 §7.1.1).
const LONGEST_SIZE_LINE: usize = 1024;

/// Bytes of a field line that are looked at, without its white space: a name and the longest length that is a number.
const LOOKED_AT: usize = 48;

/// A line between chunks that no sender writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a chunk's size line with control characters or of more than {LONGEST_SIZE_LINE} bytes (RFC 9112 §7.1)")]
pub struct BadSizeLine;

/// Follows the messages of one connection.
#[derive(Debug)]
pub struct Framing {
    place: Place,
    /// Bytes of the line at hand so far.
    length: usize,
    /// Its beginning without white space, if it may be one of the two fields that say where a body ends.
    start: [u8; LOOKED_AT],
    kept: usize,
    /// What the head at hand has said so far.
    head: Head,
    /// The head before.
    last: Head,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before a request, or in its head.
    Head,
    /// In a body of a known length, or in a chunk: so many bytes to go.
    Counted { left: u64, is_chunk: bool },
    /// In the line before a chunk.
    Size { size: u64, is_over: bool, is_after_cr: bool },
    /// Behind the last chunk.
    Trailer,
    /// Nobody can say: whoever reads the messages refuses this one, or it is no HTTP any more.
    Unknown,
    /// A size line was none: nothing of what follows may be acted on.
    Bad,
}

/// What a head says of the body behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    is_begun: bool,
    is_chunked: bool,
    length: Option<u64>,
    is_unclear: bool,
    request_line: usize,
    bytes: usize,
}

impl Default for Framing {
    fn default() -> Self {
        let (head, last) = (Head::default(), Head::default());
        Framing { place: Place::Head, length: 0, start: [0; LOOKED_AT], kept: 0, head, last }
    }
}

impl Framing {
    /// Looks at the next bytes, however they were cut into reads. How many of them are good: fewer than there are if the next
    /// one must not be acted on.
    ///
    /// # Errors
    /// The first of them must not.
    pub fn look(&mut self, bytes: &[u8]) -> Result<usize, BadSizeLine> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let taken = match self.place {
                Place::Head | Place::Trailer => self.take_line(rest),
                Place::Counted { left, is_chunk } => self.take_counted(rest, left, is_chunk),
                Place::Size { .. } => {
                    self.take_size_byte(rest[0]);
                    usize::from(self.place != Place::Bad)
                }
                Place::Unknown => rest.len(),
                Place::Bad if at == 0 => return Err(BadSizeLine),
                Place::Bad => return Ok(at),
            };
            at += taken;
        }
        Ok(bytes.len())
    }

    /// Whether the last message is whole and nothing of another one has come.
    pub fn is_between(&self) -> bool {
        self.place == Place::Head && !self.head.is_begun && self.length == 0
    }

    /// Whether the request line is most of the head at hand, or of the last one that was whole.
    pub fn is_mostly_request_line(&self) -> bool {
        let head = if self.head.bytes == 0 { &self.last } else { &self.head };
        let line = if head.is_begun { head.request_line } else { self.length };
        line * 2 > head.bytes
    }

    /// Whether a line was none: nothing more is to be read.
    pub fn is_bad(&self) -> bool {
        self.place == Place::Bad
    }

    /// From here on it is no HTTP.
    pub fn give_up(&mut self) {
        self.place = Place::Unknown;
    }

    fn take_counted(&mut self, bytes: &[u8], left: u64, is_chunk: bool) -> usize {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - taken as u64;
        self.place = match (left, is_chunk) {
            (0, true) => Place::Size { size: 0, is_over: false, is_after_cr: false },
            (0, false) => Place::Head,
            (left, is_chunk) => Place::Counted { left, is_chunk },
        };
        taken
    }

    /// Takes a line of a head or of a trailer section, or the piece of one that is there.
    fn take_line(&mut self, bytes: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', bytes);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        self.keep(piece);
        self.length += piece.len();
        let taken = piece.len() + usize::from(end.is_some());
        self.head.bytes += taken;
        if end.is_some() {
            self.end_line();
        }
        taken
    }

    /// Keeps the beginning of what may be `Content-Length` or `Transfer-Encoding`, and of what may be an empty line.
    fn keep(&mut self, piece: &[u8]) {
        for (nth, &byte) in piece.iter().enumerate() {
            let is_first = self.length + nth == 0;
            let is_telling = self.kept > 0 || (is_first && matches!(byte, b'c' | b'C' | b't' | b'T' | b'\r'));
            if !is_telling || self.kept == LOOKED_AT {
                break;
            }
            if !matches!(byte, b' ' | b'\t') {
                self.start[self.kept] = byte;
                self.kept += 1;
            }
        }
    }

    fn end_line(&mut self) {
        let (length, kept) = (std::mem::take(&mut self.length), std::mem::take(&mut self.kept));
        let start = self.start;
        let line = &start[..kept];
        let is_empty = length == 0 || (length == 1 && line == b"\r");
        match (self.place, is_empty) {
            (Place::Trailer, true) => self.place = Place::Head,
            (Place::Trailer, false) => return,
            // Empty lines before a request mean nothing (RFC 9112 §2.2).
            (_, true) if !self.head.is_begun => {}
            (_, true) => {
                self.last = self.head;
                self.place = self.head.body();
            }
            (_, false) if !self.head.is_begun => {
                self.head.is_begun = true;
                self.head.request_line = length;
                return;
            }
            (_, false) => return self.head.hear(line),
        }
        self.head = Head::default();
    }

    fn take_size_byte(&mut self, byte: u8) {
        let Place::Size { size, is_over, is_after_cr } = self.place else { return };
        self.length += 1;
        let is_end = is_after_cr && byte == b'\n';
        let is_control = byte.is_ascii_control() && byte != b'\t' && byte != b'\r' && byte != b'\n';
        self.place = if is_control || self.length > LONGEST_SIZE_LINE {
            Place::Bad
        } else if is_end {
            self.length = 0;
            match size {
                0 => Place::Trailer,
                // The line's end behind the chunk belongs to it.
                size => Place::Counted { left: size.saturating_add(2), is_chunk: true },
            }
        } else if is_after_cr || byte == b'\n' {
            Place::Unknown
        } else if byte == b'\r' {
            Place::Size { size, is_over: true, is_after_cr: true }
        } else {
            match char::from(byte).to_digit(16).filter(|_| !is_over) {
                Some(digit) => match size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit))) {
                    Some(size) => Place::Size { size, is_over, is_after_cr },
                    None => Place::Unknown,
                },
                None => Place::Size { size, is_over: true, is_after_cr },
            }
        };
    }
}

impl Head {
    /// A field line, as far as it is looked at.
    fn hear(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { return };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.strip_suffix(b"\r").unwrap_or(value);
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            self.is_unclear |= length.is_none() || self.length.is_some() || line.len() == LOOKED_AT;
            self.length = length;
        }
    }

    /// Where the body is. What is unclear is refused by whoever reads the head.
    fn body(&self) -> Place {
        match (self.is_unclear, self.is_chunked, self.length) {
            (true, _, _) | (false, true, Some(_)) => Place::Unknown,
            (false, true, None) => Place::Size { size: 0, is_over: false, is_after_cr: false },
            (false, false, Some(left)) if left > 0 => Place::Counted { left, is_chunk: false },
            (false, false, _) => Place::Head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes pass, cut into pieces of this size, and whether the connection is between two messages then.
    fn seen(bytes: &[u8], piece: usize) -> (usize, bool) {
        let mut framing = Framing::default();
        let mut passed = 0;
        for piece in bytes.chunks(piece) {
            match framing.look(piece) {
                Ok(good) if good == piece.len() => passed += good,
                Ok(good) => return (passed + good, false),
                Err(BadSizeLine) => return (passed, false),
            }
        }
        (passed, framing.is_between())
    }

    const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn a_whole_request_is_known_to_be_whole_however_it_is_cut() {
        let whole = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "\r\n\r\nGET / HTTP/1.0\n\n".to_owned(),
            "POST / HTTP/1.1\r\nCookie: transfer-encoding: chunked\r\nContent-Length:  \t 5 \r\n\r\nhello".to_owned(),
            "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_owned(),
            format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n"),
            format!("{CHUNKED}00005 ;a=\"b\"\t;c\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n{CHUNKED}0\r\n\r\n"),
        ];
        for text in &whole {
            for piece in [1, 2, 3, 7, 16, 10_000] {
                assert_eq!(seen(text.as_bytes(), piece), (text.len(), true), "{text:?} by {piece}");
                for cut in 5..text.len() {
                    let (passed, is_between) = seen(&text.as_bytes()[..cut], piece);
                    assert_eq!(passed, cut);
                    let is_end = text[..cut].ends_with("\r\n\r\n") && text[cut..].starts_with(['G', 'P']);
                    assert_eq!(is_between, is_end, "{:?} by {piece}", &text[..cut]);
                }
            }
        }
    }

    #[test]
    fn a_size_line_that_nobody_writes_passes_as_far_as_it_is_one() {
        let zeros = format!("{CHUNKED}{}", "0".repeat(LONGEST_SIZE_LINE));
        let long = format!("{CHUNKED}5;{}", "a".repeat(LONGEST_SIZE_LINE - 2));
        let spaces = format!("{CHUNKED}1\r\n.\r\n5{}", " ".repeat(LONGEST_SIZE_LINE - 1));
        for good in
            [zeros, long, spaces, format!("{CHUNKED}5;a"), format!("{CHUNKED}5"), format!("{CHUNKED}5\r\nhello\r\n0;")]
        {
            for piece in [1, 5, 64, 10_000] {
                for bad in ["\0b\r\nhello\r\n", "\x01", "\x7f", "\x1b"] {
                    assert_eq!(seen(format!("{good}{bad}").as_bytes(), piece), (good.len(), false), "{good:.80}");
                }
            }
        }
        let zeros = format!("{CHUNKED}{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(LONGEST_SIZE_LINE));
        assert_eq!(seen(zeros.as_bytes(), 999), (CHUNKED.len() + LONGEST_SIZE_LINE, false));
    }

    #[test]
    fn what_cannot_be_told_is_left_to_others() {
        for head in
            ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: x", "Transfer-Encoding: x\r\nContent-Length: 1"]
        {
            let text = format!("POST / HTTP/1.1\r\n{head}\r\n\r\n\x01\x02\x03 and so on");
            assert_eq!(seen(text.as_bytes(), 4), (text.len(), false), "{head}");
        }
        for body in ["5\nhello", "5\r\rhello", "fffffffffffffffff\r\n\0"] {
            let text = format!("{CHUNKED}{body}");
            assert_eq!(seen(text.as_bytes(), 4), (text.len(), false), "{body}");
        }
    }

    #[test]
    fn a_head_is_told_from_its_request_line() {
        for (text, expected) in [
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n", "a".repeat(100)), true),
            (format!("GET /{}", "a".repeat(100)), true),
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100)), true),
            (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(100)), false),
        ] {
            let mut framing = Framing::default();
            assert_eq!(framing.look(text.as_bytes()), Ok(text.len()));
            assert_eq!(framing.is_mostly_request_line(), expected, "{text}");
        }
    }
}
