//! The chunks of a body (RFC 9112 §7.1), however they were cut into reads. Strict: what other readers might take for
//! the end of a line, a size or a body is refused. Holds no data; no sockets.

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::lines::BadMessage;

/// Bytes of the line that begins a chunk, its end included. The longest in use, signatures of object stores, have 90 bytes; it
/// bounds leading zeros and extensions alike (RFC 9112 §7.1.1).
pub(super) const LONGEST_LINE: usize = 1024;

/// Bytes of all such lines' extensions in one body: nobody needs them, and they are no way to send what is not counted.
const MOST_EXTENSIONS: usize = 16 * 1024;

/// Bytes of the trailer section.
const MOST_TRAILERS: usize = 16 * 1024;

/// Fields of the trailer section.
const MOST_TRAILER_FIELDS: usize = 100;

/// Reads chunks.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    extensions: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    /// The line's end behind the data.
    Behind,
    Trailers,
    End,
}

/// What stands next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// More has to be read.
    More,
    /// Bytes of the body.
    Data(Bytes),
    /// The trailer section; nothing follows.
    Trailers(HeaderMap),
    /// The end; there was no trailer section.
    End,
}

impl Chunks {
    /// Takes what comes next from the beginning of what was read.
    ///
    /// # Errors
    /// It is no chunk.
    pub fn step(&mut self, read: &mut BytesMut) -> Result<Step, BadMessage> {
        loop {
            match &mut self.state {
                State::Size => match self.size(read)? {
                    None => return Ok(Step::More),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(_) if read.is_empty() => return Ok(Step::More),
                State::Data(left) => {
                    let here = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::Behind;
                    }
                    return Ok(Step::Data(read.split_to(here).freeze()));
                }
                State::Behind => match read.get(..2) {
                    Some(b"\r\n") => {
                        read.advance(2);
                        self.state = State::Size;
                    }
                    None if read.is_empty() || read[0] == b'\r' => return Ok(Step::More),
                    _ => return Err(BadMessage("a chunk is longer than it says")),
                },
                State::Trailers => {
                    let step = trailers(read)?;
                    if step != Step::More {
                        self.state = State::End;
                    }
                    return Ok(step);
                }
                State::End => return Ok(Step::End),
            }
        }
    }

    /// The size that a chunk begins with; `None` while its line is not whole.
    fn size(&mut self, read: &mut BytesMut) -> Result<Option<u64>, BadMessage> {
        let Some(end) = read.iter().take(LONGEST_LINE).position(|&b| b == b'\n') else {
            let has_control = read.iter().take(LONGEST_LINE).any(|&byte| is_control(byte) && byte != b'\r');
            return match read.len() < LONGEST_LINE && !has_control {
                true => Ok(None),
                false if has_control => Err(CONTROL),
                false => Err(BadMessage("a chunk's first line has more than 1024 bytes")),
            };
        };
        let wrong = BadMessage("a chunk's size is no number");
        let line = read[..end].strip_suffix(b"\r").ok_or(BadMessage("a chunk's first line ends without CR"))?;
        if line.iter().any(|&byte| is_control(byte)) {
            return Err(CONTROL);
        }
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let mut size = 0_u64;
        for &digit in &line[..digits] {
            let digit = char::from(digit).to_digit(16).ok_or(wrong)?;
            size = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit))).ok_or(wrong)?;
        }
        let rest = line[digits..].trim_ascii_start();
        if digits == 0 || !(rest.is_empty() || rest[0] == b';') {
            return Err(wrong);
        }
        self.extensions += rest.len();
        if self.extensions > MOST_EXTENSIONS {
            return Err(BadMessage("its chunks have too many extensions"));
        }
        read.advance(end + 1);
        Ok(Some(size))
    }
}

const CONTROL: BadMessage = BadMessage("a chunk's first line has control characters");

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

fn trailers(read: &mut BytesMut) -> Result<Step, BadMessage> {
    match read.get(..2) {
        Some(b"\r\n") => {
            read.advance(2);
            return Ok(Step::End);
        }
        None if read.is_empty() || read[0] == b'\r' => return Ok(Step::More),
        _ => {}
    }
    let wrong = BadMessage("its trailer section is no HTTP");
    let Some(end) = read.windows(4).take(MOST_TRAILERS).position(|four| four == b"\r\n\r\n") else {
        let too_long = BadMessage("its trailer section is longer than 16 KiB");
        return if read.len() < MOST_TRAILERS { Ok(Step::More) } else { Err(too_long) };
    };
    let section = read.split_to(end + 4);
    let mut places = [httparse::EMPTY_HEADER; MOST_TRAILER_FIELDS];
    let Ok(httparse::Status::Complete((length, fields))) = httparse::parse_headers(&section, &mut places) else {
        return Err(wrong);
    };
    // Shorter, if a line ended in a way that only some take for an end.
    if length != section.len() {
        return Err(wrong);
    }
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| wrong)?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| wrong)?);
    }
    Ok(Step::Trailers(trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, the trailers and what stands behind.
    type Whole = (Vec<u8>, HeaderMap, Vec<u8>);

    /// Reads in pieces; `None` if it is not whole.
    fn read(text: &[u8], piece: usize) -> Result<Option<Whole>, BadMessage> {
        let mut chunks = Chunks::default();
        let (mut body, mut buffer) = (Vec::new(), BytesMut::new());
        let mut pieces = text.chunks(piece);
        loop {
            match chunks.step(&mut buffer)? {
                Step::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => return Ok(None),
                },
                Step::Data(data) => body.extend_from_slice(&data),
                Step::Trailers(trailers) => return Ok(Some((body, trailers, buffer.to_vec()))),
                Step::End => return Ok(Some((body, HeaderMap::new(), buffer.to_vec()))),
            }
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let text = b"4\r\nbody\r\n0a ;x=\"y\"\r\n0123456789\r\n00\r\nX-T: 1\r\nX-T: 2\r\n\r\n";
        for piece in 1..text.len() {
            let (body, trailers, behind) = read(text, piece).unwrap().unwrap();
            assert_eq!(body, b"body0123456789");
            assert_eq!(trailers.get_all("x-t").iter().collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(behind, b"");
        }
        for end in 0..text.len() {
            assert_eq!(read(&text[..end], 3), Ok(None), "{end}");
        }
        let (body, trailers, behind) = read(b"1\r\nx\r\n0\r\n\r\nHTTP/1.1", 100).unwrap().unwrap();
        assert_eq!((&body[..], trailers.len(), &behind[..]), (&b"x"[..], 0, &b"HTTP/1.1"[..]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let wrong: [&[u8]; 18] = [
            b"zz\r\nbody\r\n0\r\n\r\n",
            b"-4\r\nbody\r\n0\r\n\r\n",
            b"+4\r\nbody\r\n0\r\n\r\n",
            b"0x4\r\nbody\r\n0\r\n\r\n",
            b" 4\r\nbody\r\n0\r\n\r\n",
            b"4 4\r\nbody\r\n0\r\n\r\n",
            b"\r\n4\r\nbody\r\n0\r\n\r\n",
            b"3\r\nbody\r\n0\r\n\r\n",
            b"5\r\nbody\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\nbody\r\n0\r\n\r\n",
            b"4\nbody\r\n0\r\n\r\n",
            b"4\r\nbody\n0\r\n\r\n",
            b"4\rbody\r\n0\r\n\r\n",
            b"4;a\rb\r\nbody\r\n0\r\n\r\n",
            b";4\r\nbody\r\n0\r\n\r\n",
            b"0\r\nno colon\r\n\r\n",
            b"0\r\nX: a\n\nY: b\r\n\r\n",
            b"0\r\n X: a\r\n\r\n",
        ];
        for text in wrong {
            for piece in [1, 2, 1000] {
                assert!(read(text, piece).is_err(), "{:?}", text.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn a_size_line_that_nobody_writes_is_refused_as_soon_as_it_is_seen() {
        for bad in ["5;a\0", "\x01", "5\x7f", "0;\x1b", "5;a\0\r\nhello\r\n"] {
            for piece in [1, 100] {
                assert_eq!(read(bad.as_bytes(), piece), Err(CONTROL), "{bad:?}");
            }
        }
        let longest = [b"5;".to_vec(), vec![b'a'; LONGEST_LINE - 4], b"\r\nhello\r\n0\r\n\r\n".to_vec()].concat();
        assert!(read(&longest, 7).unwrap().is_some());
        for zeros in ["0".repeat(LONGEST_LINE), "0".repeat(LONGEST_LINE) + "5\r\nhello\r\n0\r\n\r\n"] {
            assert!(read(zeros.as_bytes(), 7).is_err());
        }
    }

    #[test]
    fn lines_extensions_and_trailers_are_bounded() {
        let line = [b"1;".to_vec(), vec![b'x'; LONGEST_LINE]].concat();
        assert!(read(&line, 100).is_err());
        let extension = [b"1;".to_vec(), vec![b'x'; 1000], b"\r\ny\r\n".to_vec()].concat();
        assert!(read(&extension.repeat(16), 100).is_ok());
        assert!(read(&extension.repeat(17), 100).is_err());
        let trailer = [b"0\r\nX: ".to_vec(), vec![b'x'; MOST_TRAILERS]].concat();
        assert!(read(&trailer, 100).is_err());
        let many = [b"0\r\n".to_vec(), b"X: y\r\n".repeat(101), b"\r\n".to_vec()].concat();
        assert!(read(&many, 100).is_err());
    }
}
