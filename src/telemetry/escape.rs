//! Writes what strangers sent into a log line, so that it can end neither the string nor the line, nor steer a terminal.
//! The result is the inside of a JSON string (RFC 8259 §7); text lines use the same.

/// Appends `text` escaped. At most `limit` bytes of it are read; what is cut off is shown by `...`.
/// Bytes that are not UTF-8 become U+FFFD.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &[u8], limit: usize) {
    let (text, cut) = match text.get(..limit) {
        Some(head) => (head, head.len() < text.len()),
        None => (text, false),
    };
    // Nearly every string is.
    if are_plain(text) {
        out.extend_from_slice(text);
    } else {
        for chunk in text.utf8_chunks() {
            push_valid(out, chunk.valid());
            if !chunk.invalid().is_empty() {
                push_unit(out, 0xfffd);
            }
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
}

/// Whether all of it stands for itself. Eight bytes are looked at as one number; the last eight overlap those before them. What
/// is shorter goes by a table.
fn are_plain(text: &[u8]) -> bool {
    match text.last_chunk() {
        Some(last) => text.as_chunks().0.iter().chain([last]).all(|eight| are_eight_plain(u64::from_ne_bytes(*eight))),
        None => text.iter().fold(true, |so_far, &byte| so_far & PLAIN[usize::from(byte)]),
    }
}

/// [`is_plain`] for each of eight bytes. Subtracting borrows into the highest bit of a byte that is smaller; the highest bits of
/// the others may only be wrong beside one that is right.
fn are_eight_plain(eight: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHEST: u64 = ONES * 128;
    let below = |bytes: u64, least: u8| bytes.wrapping_sub(ONES * u64::from(least)) & !bytes;
    let are = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    (eight | below(eight, b' ') | are(b'"') | are(b'\\') | are(0x7f)) & HIGHEST == 0
}

/// [`is_plain`] for every byte.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        plain[byte as usize] = is_plain(byte);
        byte += 1;
    }
    plain
};

/// Copies plain runs whole; nearly every string is one plain run.
fn push_valid(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        let Some(special) = rest.chars().next() else { return };
        push_special(out, special);
        rest = &rest[special.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
}

/// ASCII that stands for itself in a JSON string.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Everything that is not printable ASCII is spelled out: besides controls, Unicode has line ends, marks that turn the
/// direction of a line, and letters that look like others.
fn push_special(out: &mut Vec<u8>, special: char) {
    match special {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        other => other.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| push_unit(out, unit)),
    }
}

/// `\u001b`: one UTF-16 unit.
fn push_unit(out: &mut Vec<u8>, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX[usize::from(unit >> shift & 15)]));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        let mut out = vec![b'"'];
        push_escaped(&mut out, text, usize::MAX);
        out.push(b'"');
        out
    }

    proptest! {
        #[test]
        fn what_is_valid_reads_back_unchanged(text in any::<String>()) {
            let read: String = serde_json::from_slice(&escaped(text.as_bytes()))?;
            prop_assert_eq!(read, text);
        }

        #[test]
        fn any_bytes_become_one_valid_string_without_controls(bytes in any::<Vec<u8>>()) {
            let out = escaped(&bytes);
            let text = std::str::from_utf8(&out)?;
            prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let read: String = serde_json::from_slice(&out)?;
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn one_byte_that_is_not_plain_is_found_wherever_it_stands() {
        for length in 0..70 {
            let mut text = vec![b'~'; length];
            assert!(are_plain(&text));
            for place in 0..length {
                for byte in [0, 0x1f, b'"', b'\\', 0x7f, 0x80, 0xff] {
                    text[place] = byte;
                    assert!(!are_plain(&text), "{byte} at {place} of {length}");
                }
                text[place] = b' ';
            }
        }
    }

    #[test]
    fn only_printable_ascii_is_written_as_it_is() {
        let text = String::from_utf8(escaped("\x1b[2J\u{9b}m\u{202e}\u{7f}\u{e9}\u{1f600}~".as_bytes())).unwrap();
        assert_eq!(text, r#""\u001b[2J\u009bm\u202e\u007f\u00e9\ud83d\ude00~""#);
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mut out = Vec::new();
        push_escaped(&mut out, b"abcdef", 3);
        push_escaped(&mut out, b"abc", 3);
        push_escaped(&mut out, "aé".as_bytes(), 2);
        assert_eq!(String::from_utf8_lossy(&out), "abc...abca\\ufffd...");
    }
}
