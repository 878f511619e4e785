//! HTTP/2 frames as the client sends them, looked at for two things. A trailer section that has pseudo-header fields makes
//! the request malformed (RFC 9113 §8.1), and the HTTP library takes such fields away before anybody can see them: it ends the
//! connection. And whether something has begun that is not whole yet: a client may be slow about that, but not for ever.
//! Decides nothing else, keeps no bytes beyond the beginning of one frame, and knows nothing of field values.

/// A frame's header (RFC 9113 §4.1).
const HEADER: usize = 9;

/// What the client sends before its first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Bytes of a frame that are looked at: its header, the padding's length, a priority, updates of the table's size, and the
/// beginning of the first field.
const LOOKED_AT: usize = HEADER + 24;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// The last pseudo-header field of the static table (RFC 7541, appendix A).
const LAST_PSEUDO: u8 = 14;

/// A trailer section began with a pseudo-header field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("pseudo-header fields in a trailer section (RFC 9113 §8.1)")]
pub struct PseudoTrailer;

/// Follows the frames of one connection.
///
/// The first field is enough: the library itself refuses a pseudo-header field behind an ordinary one. One that is named by
/// the dynamic table is not seen here; the library drops it, as it does with all of them, so nothing of it goes on.
#[derive(Debug)]
pub struct Trailers {
    /// Bytes that are of no interest: the rest of the preface, or of a frame.
    skip: usize,
    /// The beginning of the frame that is being read.
    start: [u8; LOOKED_AT],
    filled: usize,
    /// The highest stream that the client opened. A second HEADERS frame on a stream is its trailer section.
    highest: u32,
    /// Whether a block of fields goes on in the next frame (RFC 9113 §4.3).
    is_block_open: bool,
}

impl Default for Trailers {
    fn default() -> Self {
        Trailers { skip: PREFACE, start: [0; LOOKED_AT], filled: 0, highest: 0, is_block_open: false }
    }
}

impl Trailers {
    /// Whether all that began is whole: frames, and blocks of fields.
    pub fn is_between(&self) -> bool {
        self.skip == 0 && self.filled == 0 && !self.is_block_open
    }

    /// Looks at the next bytes, however they were cut into reads.
    ///
    /// # Errors
    /// They must not be acted on.
    pub fn look(&mut self, mut bytes: &[u8]) -> Result<(), PseudoTrailer> {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let wanted = self.wanted();
            let taken = (wanted - self.filled).min(bytes.len());
            self.start[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            // With the header known, more of the frame may be wanted.
            if self.filled >= HEADER && self.filled == self.wanted() {
                self.judge()?;
                self.skip = self.length() - (self.filled - HEADER);
                self.filled = 0;
            }
        }
        Ok(())
    }

    /// How much of the frame at hand has to be looked at.
    fn wanted(&self) -> usize {
        if self.filled < HEADER || !self.is_trailer() { HEADER } else { LOOKED_AT.min(HEADER + self.length()) }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.start;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn stream(&self) -> u32 {
        let [_, _, _, _, _, a, b, c, d, ..] = self.start;
        u32::from_be_bytes([a & 0x7f, b, c, d])
    }

    fn is_headers(&self) -> bool {
        self.start[3] == HEADERS
    }

    fn is_trailer(&self) -> bool {
        self.is_headers() && self.stream() <= self.highest
    }

    fn judge(&mut self) -> Result<(), PseudoTrailer> {
        if matches!(self.start[3], HEADERS | CONTINUATION) {
            self.is_block_open = self.start[4] & END_HEADERS == 0;
        }
        if !self.is_trailer() {
            if self.is_headers() {
                self.highest = self.stream();
            }
            return Ok(());
        }
        let flags = self.start[4];
        let before = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
        let block = self.start[..self.filled].get(HEADER + before..).unwrap_or_default();
        if begins_with_pseudo(block) { Err(PseudoTrailer) } else { Ok(()) }
    }
}

/// Whether a field block (RFC 7541 §6) begins with a pseudo-header field, as far as the static table and plain names tell.
fn begins_with_pseudo(block: &[u8]) -> bool {
    // Updates of the table's size may come first (§4.2): 001, and an integer whose bytes but the last have the high bit.
    let mut rest = block;
    while let [first, more @ ..] = rest
        && first & 0xe0 == 0x20
    {
        let long = if first & 0x1f == 0x1f { more.iter().take_while(|b| **b & 0x80 != 0).count() + 1 } else { 0 };
        rest = more.get(long..).unwrap_or_default();
    }
    let [first, name @ ..] = rest else { return false };
    let index = match first {
        indexed if indexed & 0x80 != 0 => indexed & 0x7f,
        added if added & 0x40 != 0 => added & 0x3f,
        literal => literal & 0x0f,
    };
    if index != 0 {
        return index <= LAST_PSEUDO;
    }
    // A name of its own: its length, then its bytes, plain or by Huffman's code, where a colon is 1011100.
    match name {
        [length, first, ..] if length & 0x80 == 0 => *first == b':',
        [_, first, ..] => first & 0xfe == 0b1011_1000,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    }

    /// A request on stream 1 with a body, and these bytes behind.
    fn conversation(behind: &[u8]) -> Vec<u8> {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let request = frame(HEADERS, 4, 1, &[0x83, 0x87, 0x84, 0x41, 1, b'a']);
        [preface, frame(4, 0, 0, &[]), request, frame(0, 0, 1, b"a body"), behind.to_vec()].concat()
    }

    fn verdict(bytes: &[u8], piece: usize) -> Result<(), PseudoTrailer> {
        let mut screen = Trailers::default();
        bytes.chunks(piece).try_for_each(|piece| screen.look(piece))
    }

    #[test]
    fn a_trailer_section_with_a_pseudo_header_field_is_seen_however_it_is_cut() {
        let blocks: [&[u8]; 9] = [
            &[0x84],
            &[0x44, 2, b'/', b'x'],
            &[0x04, 2, b'/', b'x'],
            &[0x18, 3, b'2', b'0', b'0'],
            &[0x00, 5, b':', b'p', b'a', b't', b'h', 1, b'/'],
            &[0x40, 5, b':', b'p', b'a', b't', b'h', 1, b'/'],
            &[0x10, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 1, b'/'],
            &[0x20, 0x84],
            &[0x3f, 0x80, 0x01, 0x84],
        ];
        for block in blocks {
            let padded = [&[2], block, &[0, 0]].concat();
            let prior = [&[0, 0, 0, 0, 1], block].concat();
            for trailer in
                [frame(HEADERS, 5, 1, block), frame(HEADERS, 13, 1, &padded), frame(HEADERS, 0x25, 1, &prior)]
            {
                for piece in [1, 2, 7, 10, 1000] {
                    assert_eq!(verdict(&conversation(&trailer), piece), Err(PseudoTrailer), "{block:x?} by {piece}");
                }
            }
        }
    }

    #[test]
    fn a_frame_or_a_block_that_has_begun_is_not_between() {
        let mut screen = Trailers::default();
        assert!(!screen.is_between(), "the preface is to come");
        screen.look(&conversation(b"")).unwrap();
        assert!(screen.is_between());
        let open = frame(HEADERS, 1, 3, &[0x82]);
        let (first, rest) = open.split_at(4);
        let steps: [(&[u8], bool); 5] = [
            (&frame(6, 0, 0, &[0; 8]), true),
            (first, false),
            (rest, false),
            (&frame(CONTINUATION, 0, 3, &[0x87]), false),
            (&frame(CONTINUATION, 4, 3, &[0x84]), true),
        ];
        for (step, (bytes, is_between)) in steps.into_iter().enumerate() {
            screen.look(bytes).unwrap();
            assert_eq!(screen.is_between(), is_between, "step {step}");
        }
    }

    #[test]
    fn trailers_and_further_requests_pass() {
        let trailers: [&[u8]; 5] =
            [&[], &[0x90], &[0x00, 3, b'x', b'-', b't', 1, b'1'], &[0x40, 0x82, 0xf2, 0xb7, 0, 0], &[0xbe]];
        for block in trailers {
            let trailer = frame(HEADERS, 5, 1, block);
            let next = frame(HEADERS, 5, 3, &[0x82, 0x87, 0x84, 0x41, 1, b'a']);
            for piece in [1, 3, 9, 1000] {
                assert_eq!(
                    verdict(&conversation(&[trailer.clone(), next.clone()].concat()), piece),
                    Ok(()),
                    "{block:x?}"
                );
            }
        }
    }
}
