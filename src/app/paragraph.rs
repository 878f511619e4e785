//! Text for people, within 80 columns. Whatever strangers put into it cannot steer a terminal.

use std::fmt;

/// Columns of a line.
const WIDTH: usize = 80;

/// A label of `left` columns, and a text that is broken at blanks and goes on below itself. A longer label has a line of its
/// own. Control characters are made harmless; a word that is wider than a line is not broken.
pub fn paragraph_at(f: &mut fmt::Formatter<'_>, left: usize, label: &str, text: &str) -> fmt::Result {
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect::<String>();
    let (label, text) = (clean(label), clean(text));
    let mut line = format!("{label:left$}");
    if label.chars().count() > left {
        writeln!(f, "{label}")?;
        line = " ".repeat(left);
    } else if label.chars().count() == left && !label.ends_with(' ') {
        line.push(' ');
    }
    let mut is_fresh = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = line.chars().count() + usize::from(!is_fresh) + word.chars().count();
        if !is_fresh && wide > WIDTH {
            writeln!(f, "{}", line.trim_end())?;
            line = " ".repeat(left);
            is_fresh = true;
        }
        if !is_fresh {
            line.push(' ');
        }
        line.push_str(word);
        is_fresh = false;
    }
    writeln!(f, "{}", line.trim_end())
}

/// The first `most` names, and how many more.
pub fn listed_from(names: &[String], most: usize) -> String {
    match names.len().checked_sub(most) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..most].join(", ")),
        _ => names.join(", "),
    }
}
