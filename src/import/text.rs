//! Words of others made fit for a TOML file: strings that end where they should, comments that stay comments.
//! Every character that a line, a string or a terminal could stumble over is replaced or escaped here and nowhere else.

/// The width that comments are wrapped at, in characters.
pub(super) const WIDTH: usize = 80;

/// The most of somebody else's text that a comment repeats: lines, and characters of each.
const QUOTED_LINES: usize = 60;
const QUOTED_WIDTH: usize = 160;

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unfit(c) => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A key: bare where TOML allows it.
pub(super) fn key(text: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !text.is_empty() && text.bytes().all(is_bare) { text.to_owned() } else { quoted(text) }
}

/// A list of strings on one line.
pub(super) fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// Prose as comment lines, wrapped.
pub(super) fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    let mut width = 1;
    for word in text.split_whitespace() {
        let word = one_line(word, QUOTED_WIDTH);
        let length = word.chars().count();
        if width > 1 && width + 1 + length > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
            width = 1;
        }
        line.push(' ');
        line.push_str(&word);
        width += 1 + length;
    }
    out.push_str(&line);
    out.push('\n');
}

/// Somebody else's text, line by line, as a comment: what is too long is cut and said to be.
pub(super) fn quote(out: &mut String, text: &str) {
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    for line in lines.by_ref().take(QUOTED_LINES) {
        out.push_str("#     ");
        out.push_str(&one_line(line, QUOTED_WIDTH));
        out.push('\n');
    }
    let more = lines.count();
    if more > 0 {
        out.push_str(&format!("#     … and {more} more lines\n"));
    }
}

/// A text on one line, at most `limit` characters: unfit characters become `\u{fffd}`.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let mut out: String = text
        .chars()
        .take(limit)
        .map(|c| match c {
            '\t' => ' ',
            c if is_unfit(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out
}

/// Control characters, line and paragraph separators, and those that turn the direction of writing: a comment with one of
/// them would read otherwise than it is.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A word for a name: lower-case letters, digits and single `-`, at most 40 characters; `otherwise` where nothing is left.
pub(super) fn slug(text: &str, otherwise: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => out.push(c),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
        if out.len() >= 40 {
            break;
        }
    }
    let out = out.trim_end_matches('-');
    // A number alone could be taken for an address.
    let is_word = out.bytes().any(|b| b.is_ascii_alphabetic());
    if is_word { out.to_owned() } else { format!("{otherwise}{}{out}", if out.is_empty() { "" } else { "-" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_a_text_it_ends_where_the_string_ends() {
        for hostile in ["a\"\n[routes]\nx = \"y", "\\", "\u{7f}\0\u{1b}[2J", "\u{202e}x", "'''\"\"\""] {
            let file = format!("a = {}\n", quoted(hostile));
            let table: toml_edit::DocumentMut = file.parse().unwrap();
            assert_eq!(table["a"].as_str(), Some(hostile), "{file}");
            assert_eq!(table.len(), 1, "{file}");
        }
    }

    #[test]
    fn whatever_stands_in_a_text_a_comment_stays_a_comment() {
        for hostile in ["a\nb = 1", "a\r[routes]", "x\u{2028}y\u{85}z", "\0\u{1b}[2J", "\u{202e}nothing"] {
            let mut out = String::new();
            comment(&mut out, hostile);
            quote(&mut out, hostile);
            assert!(out.split(['\n', '\r', '\u{85}', '\u{2028}']).all(|line| line.is_empty() || line.starts_with('#')));
            assert!(out.parse::<toml_edit::DocumentMut>().unwrap().is_empty(), "{out}");
            assert!(!out.chars().any(|c| c != '\n' && is_unfit(c)));
        }
    }

    #[test]
    fn a_long_text_is_wrapped_and_a_long_quotation_is_cut() {
        let mut out = String::new();
        comment(&mut out, &"word ".repeat(100));
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH) && out.lines().count() > 4, "{out}");
        let mut out = String::new();
        quote(&mut out, &"x\n".repeat(1000));
        assert!(out.lines().count() == QUOTED_LINES + 1 && out.contains("940 more lines"), "{out}");
    }

    #[test]
    fn a_name_is_made_of_letters() {
        assert_eq!(slug("LAN only (Büro)", "list"), "lan-only-b-ro");
        assert_eq!(slug("", "list"), "list");
        assert_eq!(slug("10.0.0.1", "list"), "list-10-0-0-1");
        assert!(slug(&"x".repeat(500), "list").len() <= 40);
    }
}
