//! What TOML itself finds wrong, in the words of this house and with something to do about it.

use toml::de::{DeTable, DeValue};

use super::Span;
use super::reading::{Reading, shown, span_of};
use super::section::is_secret;

/// Reports every fault of the parser.
pub(super) fn report(reading: &mut Reading<'_>, root: &DeTable<'_>, faults: &[toml::de::Error]) {
    let mut previous = "";
    for fault in faults {
        if reading.is_full() {
            break;
        }
        let end = reading.source.text().len();
        let span = fault.span().map_or(Span { start: end, end }, span_of);
        let (mut message, label, mut help) = words(reading, root, fault.message(), span);
        if let Some(secret) = secret_behind(reading, span) {
            reading.keep_secret(secret);
            message = "not valid TOML, beside what looks like a secret".to_owned();
            help = "a secret is never in the file: put it into a file of its own and write `token_file = \"…\"`"
                .to_owned();
        }
        // A list without its end takes the rest of the file for its entries: one fault, said once.
        let is_echo = previous == fault.message() && previous.starts_with("missing comma between array elements");
        previous = fault.message();
        let span = within_text(reading, span);
        match is_echo {
            true => reading.syntax_echo(span),
            false => reading.syntax_fault(span, message, label, help),
        }
    }
}

/// The rest of a faulty line from the first value on whose key would hold a secret: TOML could not read it, so nobody
/// else will know that it must not be shown.
fn secret_behind(reading: &Reading<'_>, span: Span) -> Option<Span> {
    let text = reading.source.text();
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    line.match_indices('=').find_map(|(at, _)| {
        let before = line[..at].trim_end_matches([' ', '\t', '"', '\'']);
        let key = before.rsplit(|c| !is_part(c)).next().unwrap_or_default();
        is_secret(key).then_some(Span { start: start + at + 1, end: start + line.len() })
    })
}

/// A fault at the very end of a file (something was not closed) points at the last character there is.
fn within_text(reading: &Reading<'_>, span: Span) -> Span {
    let text = reading.source.text();
    if span.start < text.len() || text.is_empty() {
        return span;
    }
    let last = text.trim_end().char_indices().next_back().map_or(0, |(at, _)| at);
    Span { start: last, end: text.trim_end().len() }
}

fn words(reading: &Reading<'_>, root: &DeTable<'_>, message: &str, span: Span) -> (String, String, String) {
    let written = reading.source.text().get(span.start..span.end).unwrap_or_default();
    if message.starts_with("duplicate key") {
        let name = written.trim_matches(['"', '\'']);
        let first = last_key_before(root, name, span.start).or_else(|| earlier_line(reading, written, span.start));
        let label = first.map(|first| format!("first written at {}", reading.source.place(first))).unwrap_or_default();
        let help = "keep one of them; everything about one name stands in one place".to_owned();
        return (format!("{} is written twice", shown(name)), label, help);
    }
    // A word where a value should be is read as the beginning of `true`, `nan` or `inf` by the parser.
    let is_word = written.starts_with(|c: char| c.is_ascii_alphabetic()) && is_value(reading, span);
    if is_word
        && ["string values", "invalid float", "invalid bool", "invalid value"].iter().any(|m| message.starts_with(m))
    {
        return (
            format!("not valid TOML: {} has no quotes", shown(written)),
            String::new(),
            format!("write `\"{written}\"`"),
        );
    }
    (format!("not valid TOML: {message}"), String::new(), help_for(message).to_owned())
}

/// Whether a place is behind the `=` of its line, or in a list.
fn is_value(reading: &Reading<'_>, span: Span) -> bool {
    let before = reading.source.text().get(..span.start).unwrap_or_default();
    before.trim_end().ends_with(['=', '[', ','])
}

/// The nearest earlier line that begins with this name, as a key or alone in the same header: where the tree has lost it.
fn earlier_line(reading: &Reading<'_>, written: &str, before: usize) -> Option<Span> {
    let text = reading.source.text();
    let start_of_line = text.get(..before)?.rfind('\n').map_or(0, |at| at + 1);
    let header = text[start_of_line..].lines().next().unwrap_or_default().trim();
    let mut found = None;
    let mut start = 0;
    for line in text[..start_of_line].split_inclusive('\n') {
        let content = line.trim_start();
        let begin = start + line.len() - content.len();
        let behind = content.strip_prefix(written);
        if behind.is_some_and(|rest| rest.starts_with([' ', '\t', '=', '.'])) {
            found = Some(Span { start: begin, end: begin + written.len() });
        } else if header.starts_with('[') && content.trim_end() == header {
            found = Some(Span { start: begin, end: begin + header.len() });
        }
        start += line.len();
    }
    found
}

/// The nearest earlier key of this name: nearly always the other one.
fn last_key_before(root: &DeTable<'_>, name: &str, before: usize) -> Option<Span> {
    let mut found: Option<Span> = None;
    let mut open: Vec<&DeTable<'_>> = vec![root];
    while let Some(table) = open.pop() {
        for (key, value) in table.iter() {
            let span = span_of(key.span());
            if key.get_ref() == name && span.start < before && found.is_none_or(|f| f.start < span.start) {
                found = Some(span);
            }
            match value.get_ref() {
                DeValue::Table(inner) => open.push(inner),
                DeValue::Array(list) => open.extend(list.iter().filter_map(|entry| entry.get_ref().as_table())),
                _ => {}
            }
        }
    }
    found
}

/// What to do, by the parser's words; the first that fits.
const HELP: &[(&str, &str)] = &[
    ("string values must be quoted", "put the value into quotes: `sonarr = \"home\"`"),
    ("cannot extend value", "a name is either a value or a table; write one of the two"),
    (
        "invalid unquoted key",
        "a key has letters, digits, `-` and `_`; anything else stands in quotes: `\"akunito.com\" = …`",
    ),
    ("unquoted keys cannot be empty", "write a name before the `=`, or between the brackets"),
    ("unclosed array table", "a list of tables is headed `[[expect]]`, with two brackets on either side"),
    ("unclosed table", "a table is headed `[routes]`, with a bracket on either side"),
    ("unclosed array", "a list ends with `]`"),
    ("unclosed inline table", "a table on one line ends with `}`"),
    ("missing comma between array", "entries are parted by commas, and a list ends with `]`"),
    ("missing comma", "entries are parted by commas"),
    ("extra comma", "take one comma away"),
    ("missing value", "write a value behind the `=`"),
    ("key with no value", "write `name = \"value\"`"),
    ("missing assignment", "write `name = \"value\"`"),
    ("extra assignment", "one `=` for each line"),
    ("extra `=`", "one `=` for each line"),
    ("missing escaped value", "write `\\\\` for a backslash, or put the text into single quotes"),
    ("invalid basic string", "a text ends with the quote that it began with, on the same line"),
    ("invalid literal string", "a text ends with the quote that it began with, on the same line"),
    ("invalid multi-line", "a text of several lines ends with three quotes, as it began"),
    ("invalid comment", "a comment holds no control characters; delete them"),
    ("carriage return", "save the file with plain line ends"),
    ("recursion", "the file is nested far deeper than any key needs"),
    ("unexpected content", "one setting for each line; a comment begins with `#`"),
    ("unexpected key or value", "one setting for each line; a comment begins with `#`"),
];

fn help_for(message: &str) -> &'static str {
    let known = HELP.iter().find(|(words, _)| message.contains(words));
    known.map_or("a setting reads `name = \"value\"`; https://toml.io tells the rest", |(_, help)| help)
}
