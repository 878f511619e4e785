//! Faults and warnings for people at a terminal: lines that are too long for it are folded between words, so that none breaks
//! in the middle of one. What is piped stays one line each, for programs. Knows the form of our own faults and no other: what
//! is to be copied is never folded.

/// Columns that every terminal has.
const WIDTH: usize = 80;

/// A text with its faults folded; every other line stays as it is.
pub(super) fn folded(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    if line.starts_with("  help: ") {
        return wrapped("", line, "        ");
    }
    if let Some((marks, label)) = marks_and_label(line) {
        return format!("{marks}\n{}", wrapped("      | ", label, "      | "));
    }
    if is_head(line) { wrapped("", line, "  ") } else { line.to_owned() }
}

/// `routes.toml:3:9: error: …`
fn is_head(line: &str) -> bool {
    [": error: ", ": warning: "].iter().any(|word| {
        let place = line.split_once(word).map(|(place, _)| place).unwrap_or_default();
        let mut parts = place.rsplitn(3, ':');
        let mut is_number =
            || parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        is_number() && is_number()
    })
}

/// `      |    ^^^^ label`, apart.
fn marks_and_label(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("      | ")?;
    let marks = rest.trim_start_matches(' ');
    let label = marks.trim_start_matches('^').strip_prefix(' ').filter(|_| marks.starts_with('^'))?;
    Some((line.get(..line.len() - label.len() - 1)?, label))
}

/// Words over lines: the first begins with `first`, the others with `next`.
fn wrapped(first: &str, text: &str, next: &str) -> String {
    let mut out = first.to_owned();
    let mut column = first.chars().count();
    let mut is_begun = false;
    for word in text.split(' ') {
        let width = word.chars().count();
        if is_begun && column + 1 + width > WIDTH {
            out.push('\n');
            out.push_str(next);
            column = next.chars().count();
        } else if is_begun {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        is_begun |= !word.is_empty();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: &str = "routes.toml:148:8: error: this promise is broken: 192.168.9.1 (guest) reaches `monitoring`\n  \
                         148 | is   = \"denied\"\n      |        ^^^^^^^^ let in by `allow` of route `npm` (lan, guest) at \
                         routes.toml:71, asking for `npm.home.test/`\n  help: change the rule at routes.toml:71 so that it \
                         holds, or the promise if it is no longer meant";

    #[test]
    fn a_fault_is_folded_between_words_and_says_the_same() {
        let folded = folded(FAULT);
        assert!(folded.lines().all(|line| line.chars().count() <= WIDTH), "{folded}");
        assert!(folded.contains("      |        ^^^^^^^^\n      | let in by"), "{folded}");
        assert!(folded.contains("\n        is no longer meant"), "{folded}");
        let words =
            |text: &str| text.split_whitespace().filter(|word| *word != "|").map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&folded), words(FAULT));
    }

    #[test]
    fn what_is_to_be_copied_stays_on_its_line() {
        let command = format!("curl --resolve {} https://a.home.test/", "x".repeat(90));
        let of_file = format!("    3 | allow = [\"{}\"]", "x ".repeat(60));
        for line in [command.as_str(), &of_file, "short: error: x", ""] {
            assert_eq!(folded(line), line);
        }
    }
}
