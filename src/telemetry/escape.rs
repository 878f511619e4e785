//! Writes what strangers sent into a log line, so that it can end neither the string nor the line, nor steer a terminal.
//! The result is the inside of a JSON string (RFC 8259 §7); text lines use the same.

/// Appends `text` escaped. At most `limit` bytes of it are read; what is cut off is shown by `...`.
/// Bytes that are not UTF-8 become U+FFFD.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &[u8], limit: usize) {
    let (text, cut) = match text.get(..limit) {
        Some(head) => (head, head.len() < text.len()),
        None => (text, false),
    };
    for chunk in text.utf8_chunks() {
        push_valid(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
}

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

fn push_special(out: &mut Vec<u8>, special: char) {
    match special {
        '"' | '\\' => out.extend_from_slice(&[b'\\', special as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // Line ends and direction marks of Unicode: a viewer may show the line in another order than it was written.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => push_code(out, special),
        control if control.is_control() => push_code(out, control),
        letter => out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// `\u001b`. Everything escaped this way is in the basic plane.
fn push_code(out: &mut Vec<u8>, special: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let code = special as usize;
    out.extend_from_slice(b"\\u");
    out.extend([12, 8, 4, 0].map(|shift| HEX[code >> shift & 15]));
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
            prop_assert!(!text.chars().any(char::is_control));
            let read: String = serde_json::from_slice(&out)?;
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn terminal_sequences_and_direction_marks_are_spelled_out() {
        assert_eq!(
            escaped("\x1b[2J\u{9b}m\u{202e}\u{7f}é".as_bytes()),
            br#""\u001b[2J\u009bm\u202e\u007f"#.iter().chain("é\"".as_bytes()).copied().collect::<Vec<u8>>()
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mut out = Vec::new();
        push_escaped(&mut out, b"abcdef", 3);
        push_escaped(&mut out, b"abc", 3);
        push_escaped(&mut out, "aé".as_bytes(), 2);
        assert_eq!(String::from_utf8_lossy(&out), "abc...abca\u{fffd}...");
    }
}
