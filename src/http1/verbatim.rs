//! Fields of an answer that go on as they came: what nobody wants to see on their way is not taken apart and put together again,
//! which is most of what a small answer costs. It is looked at as strictly as what is.

use super::lines::{Found, Line, digits, trimmed};

/// Whether a field of this name, in whatever letters, is none that anybody has to see on its way.
pub type MayPass = fn(&[u8]) -> bool;

/// Fields in one piece, each with its line's end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verbatim {
    /// The text.
    pub text: Vec<u8>,
    /// Whether Content-Length is among them.
    pub has_length: bool,
    /// Whether Date is among them.
    pub has_date: bool,
}

/// What was left out, or has to be known beside the text.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Noted {
    pub(super) is_chunked: bool,
    pub(super) length: Option<u64>,
    pub(super) is_kept_alive: bool,
}

impl Verbatim {
    /// The fields of a head; `None` where one of them has to be seen, or is not as it should be.
    pub(super) fn of<S>(read: &[u8], found: &Found<S>, may_pass: MayPass) -> Option<(Verbatim, Noted)> {
        let first = found.lines().first().map_or(found.length, |line| line.start);
        let lines = &read[first..found.length];
        if !lines.ends_with(b"\r\n\r\n") || !are_clean(lines, found.lines().len() + 1) {
            return None;
        }
        let (mut verbatim, mut noted) =
            (Verbatim { text: Vec::with_capacity(lines.len()), has_length: false, has_date: false }, Noted::default());
        // What goes on is copied in as few pieces as what stays behind leaves.
        let mut run = first..first;
        for line in found.lines() {
            let whole = line.start..line.end + "\r\n".len();
            if verbatim.takes(read, line, may_pass, &mut noted)? {
                run.end = whole.end;
            } else {
                verbatim.text.extend_from_slice(&read[run]);
                run = whole.end..whole.end;
            }
        }
        verbatim.text.extend_from_slice(&read[run]);
        (!noted.is_chunked || noted.length.is_none()).then_some((verbatim, noted))
    }

    /// Whether a line goes on; `None` if it has to be seen.
    fn takes(&mut self, read: &[u8], line: &Line, may_pass: MayPass, noted: &mut Noted) -> Option<bool> {
        let name = &read[line.start..line.colon];
        let value = || &read[trimmed(read, line.colon + 1, line.end)];
        if read[line.end] != b'\r' {
            return None;
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if noted.length.replace(digits(value())?).is_some() {
                    return None;
                }
                self.has_length = true;
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                // Nearly every server says so, and it concerns this connection alone.
                noted.is_kept_alive = value().eq_ignore_ascii_case(b"keep-alive");
                return noted.is_kept_alive.then_some(false);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                let is_plain = value().eq_ignore_ascii_case(b"chunked") && !noted.is_chunked;
                noted.is_chunked = true;
                return is_plain.then_some(false);
            }
            7 if name.eq_ignore_ascii_case(b"trailer") => return None,
            _ => return may_pass(name).then_some(true),
        }
        Some(true)
    }
}

/// Whether there is nothing in so many lines but what may stand in values, and their ends.
fn are_clean(text: &[u8], lines: usize) -> bool {
    let (mut returns, mut feeds, mut wrong) = (0, 0, 0);
    let mut count = |byte: u8| {
        returns += usize::from(byte == b'\r');
        feeds += usize::from(byte == b'\n');
        wrong += usize::from(is_wrong(byte));
    };
    let (blocks, rest) = text.as_chunks::<LANES>();
    rest.iter().copied().for_each(&mut count);
    // Lane by lane, as processors do it: a byte in a lane counts to 255.
    for blocks in blocks.chunks(255) {
        let (mut in_returns, mut in_feeds, mut in_wrong) = ([0_u8; LANES], [0_u8; LANES], [0_u8; LANES]);
        for block in blocks {
            for lane in 0..LANES {
                in_returns[lane] += u8::from(block[lane] == b'\r');
                in_feeds[lane] += u8::from(block[lane] == b'\n');
                in_wrong[lane] += u8::from(is_wrong(block[lane]));
            }
        }
        let sum = |lanes: [u8; LANES]| lanes.iter().copied().map(usize::from).sum::<usize>();
        (returns, feeds, wrong) = (returns + sum(in_returns), feeds + sum(in_feeds), wrong + sum(in_wrong));
    }
    // As many returns as lines: if one stands before the end of each, there is no other.
    returns == lines && feeds == lines && wrong == 2 * lines
}

/// Bytes that are looked at at once.
const LANES: usize = 16;

/// Whether a byte may not stand in a value (RFC 9110 §5.5).
fn is_wrong(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}
