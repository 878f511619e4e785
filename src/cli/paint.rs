//! Colour for people at a terminal: what is good, what is not, where to look. Adds nothing to what is said and takes nothing
//! away: without it every line reads the same. Knows the forms of our own texts, nothing of what they mean.

use anstyle::{AnsiColor, Style};

const GOOD: Style = AnsiColor::Green.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ASIDE: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();

/// The steps of an explanation.
const STEPS: &[&str] =
    &["door", "client", "certificate", "route", "path", "access", "limits", "upstream", "sent", "note"];

/// The headings of a plan.
const KINDS: &[&str] = &["routes", "access", "certificates", "doors", "settings", "connections", "promises"];

/// A line with colour in it, where it has one of our forms.
pub(super) fn painted(line: &str) -> String {
    match part(line) {
        Some((from, to, style)) => format!("{}{style}{}{style:#}{}", &line[..from], &line[from..to], &line[to..]),
        None => line.to_owned(),
    }
}

/// The bytes that get a colour, and which.
fn part(line: &str) -> Option<(usize, usize, Style)> {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let first = *words.first()?;
    let at = line.len() - line.trim_start().len();
    let is_heading =
        |word: &&str| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase() || b"/-0123456789".contains(&b));
    if at == 0 && words.len() > 1 && words.iter().all(is_heading) {
        return Some((0, line.len(), BOLD));
    }
    // `routes.toml:3:9: error: …`, and the marks below it.
    for (word, style) in [(": error: ", BAD), (": warning: ", WARNING)] {
        let found = line.find(word).filter(|&found| line[..found].ends_with(|c: char| c.is_ascii_digit()));
        if let Some(found) = found {
            return Some((found + 2, found + word.len() - 2, style));
        }
    }
    if let (Some(rest), Some(mark)) = (line.trim_start().strip_prefix("| "), line.find('^'))
        && rest.trim_start().starts_with('^')
    {
        let end = line[mark..].find(|c| c != '^').map_or(line.len(), |end| mark + end);
        return Some((mark, end, BAD));
    }
    let whole = (at, at + first.len());
    let style = match first {
        "help:" | "mend:" if at > 0 => ASIDE,
        "good" if at == 0 => GOOD,
        "warning" | "warning:" if at == 0 => WARNING,
        "FAULT" if at == 0 => BAD,
        "+" if at == 2 => GOOD,
        "-" if at == 2 => BAD,
        "~" if at == 2 => WARNING,
        "outcome" if at == 2 => return outcome(line, words.get(1)?),
        step if at == 0 && line.len() > 13 && line.as_bytes()[12] == b' ' && STEPS.contains(&step) => BOLD,
        kind if at == 0 && (words.len() == 1 || line.contains("  ")) && KINDS.contains(&kind) => BOLD,
        _ => return record(line, &words),
    };
    Some((whole.0, whole.1, style))
}

/// `  outcome    403 access-denied: …`: all that follows the label.
fn outcome(line: &str, what: &str) -> Option<(usize, usize, Style)> {
    let start = line.find(what)?;
    let style = match what.parse::<u16>() {
        Ok(400..) => BAD,
        Err(_) if what == "turned" => BAD,
        _ => GOOD,
    };
    Some((start, line.len(), style))
}

/// `06:10:05 200 GET …`: the status.
fn record(line: &str, words: &[&str]) -> Option<(usize, usize, Style)> {
    let [time, status, ..] = words else { return None };
    let is_time = time.len() == 8
        && time.bytes().enumerate().all(|(at, b)| if at % 3 == 2 { b == b':' } else { b.is_ascii_digit() });
    if !is_time || !line.starts_with(time) {
        return None;
    }
    let style = match status.parse::<u16>().ok()? {
        0..300 => GOOD,
        300..400 => ASIDE,
        400..500 => WARNING,
        _ => BAD,
    };
    let start = time.len() + line[time.len()..].find(status)?;
    Some((start, start + status.len(), style))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of a line has a colour.
    fn bright(line: &str) -> &str {
        part(line).map_or("", |(from, to, _)| &line[from..to])
    }

    #[test]
    fn the_word_that_matters_stands_out() {
        for (line, wanted) in [
            ("NAME       LEADS TO     MAY ENTER", "NAME       LEADS TO     MAY ENTER"),
            ("routes.toml:3:9: error: no network `lna`", "error"),
            ("routes.toml:3:9: warning: the pin", "warning"),
            ("      |   ^^^^ first claimed", "^^^^"),
            ("  help: rename one", "help:"),
            ("FAULT    rights       /srv", "FAULT"),
            ("  + wiki         wiki.home -> wiki", "+"),
            ("  outcome    403 access-denied: not you", "403 access-denied: not you"),
            ("door         lan on 127.0.0.1", "door"),
            ("promises         all 7 promises", "promises"),
            ("06:10:05 403 GET    0.3ms 192.168.1.20", "403"),
            ("sonarr       home http://192.168.1.80", ""),
            ("a line that says error: nothing", ""),
        ] {
            assert_eq!(bright(line), wanted, "{line}");
        }
    }

    #[test]
    fn nothing_is_added_but_colour() {
        for line in ["  - ä", "^", "| ^", "12:00:00 5ä", "outcome", "  outcome", "", " ", "é: error: x", "1: error: é"]
        {
            let painted = painted(line);
            let mut plain = String::new();
            let mut is_code = false;
            for c in painted.chars() {
                match c {
                    '\u{1b}' => is_code = true,
                    'm' if is_code => is_code = false,
                    c if !is_code => plain.push(c),
                    _ => {}
                }
            }
            assert_eq!(plain, line);
        }
    }
}
