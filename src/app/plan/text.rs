//! A plan for people: what changes, under a heading for each kind, within 80 columns; what does not change is one line.

use std::fmt;

use super::Plan;
use crate::app::paragraph::listed_from;
use crate::app::paragraph::paragraph_at;

/// How many entries of one kind are shown.
const SHOWN: usize = 40;

/// Columns of names on the left.
const LEFT: usize = 17;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = match self.generation {
            Some(generation) => format!("generation {generation}, which is in force"),
            None => "the other file".to_owned(),
        };
        if !self.changes {
            writeln!(f, "{}: nothing would change against {with}", self.file)?;
            writeln!(f, "{} routes as before; promises: {}", self.same, self.kept())?;
            return self.write_warnings(f);
        }
        writeln!(f, "{} against {with}:", self.file)?;
        self.write_routes(f)?;
        self.write_access(f)?;
        let certificates = &self.certificates;
        if !(certificates.lost.is_empty() && certificates.gained.is_empty() && certificates.renewed.is_empty()) {
            writeln!(f, "certificates")?;
            entry(f, "- no longer for", &certificates.lost)?;
            entry(f, "+ newly for", &certificates.gained)?;
            entry(f, "~ new files of", &certificates.renewed)?;
        }
        section(f, "doors", &self.doors)?;
        section(f, "settings", &self.settings)?;
        self.write_connections(f)?;
        self.write_warnings(f)?;
        paragraph_at(f, LEFT, "promises", &self.kept())
    }
}

impl Plan {
    fn kept(&self) -> String {
        match self.promises {
            0 => "the file makes none".to_owned(),
            1 => "the one promise of the file is kept".to_owned(),
            number => format!("all {number} promises of the file are kept"),
        }
    }

    fn write_warnings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.warnings.iter().take(SHOWN).try_for_each(|warning| {
            paragraph_at(f, LEFT, "warning", &format!("line {}: {}", warning.line, warning.message))
        })
    }

    fn write_routes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "routes")?;
        for (sign, lines) in [('+', &self.added), ('-', &self.removed)] {
            for line in lines.iter().take(SHOWN) {
                let text = format!("{} -> {}", line.hosts.join(", "), line.to);
                paragraph_at(f, LEFT, &format!("  {sign} {}", line.name), &text)?;
            }
            more(f, lines.len())?;
        }
        for route in self.changed.iter().take(SHOWN) {
            for (nth, what) in route.what.iter().enumerate() {
                let label = if nth == 0 { format!("  ~ {}", route.name) } else { String::new() };
                paragraph_at(f, LEFT, &label, what)?;
            }
        }
        more(f, self.changed.len())?;
        writeln!(f, "  = {} as before", self.same)
    }

    fn write_access(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.access.is_empty() {
            return writeln!(f, "access\n  = nobody gains or loses any");
        }
        writeln!(f, "access")?;
        for change in self.access.iter().take(SHOWN) {
            let (sign, verb) = if change.gains { ('+', "may now enter") } else { ('-', "may no longer enter") };
            let text = format!("{verb}, through door {}: {}", change.door, listed_from(&change.to, 12));
            paragraph_at(f, LEFT, &format!("  {sign} {}", change.who.join(", ")), &text)?;
        }
        more(f, self.access.len())
    }

    fn write_connections(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(seen) = &self.connections else { return Ok(()) };
        if seen.connections == 0 {
            return paragraph_at(f, LEFT, "connections", "none is open");
        }
        let kept = seen.connections.saturating_sub(seen.connections_closing);
        let closing = match seen.connections_closing {
            0 => String::new(),
            number => format!(", {number} close with their door"),
        };
        let ending = match (seen.requests_ending, seen.websockets_ending) {
            (0, _) => "none of them ends".to_owned(),
            (requests, websockets) => {
                format!("{requests} of them ({websockets} WebSockets) end within `[drain] route`")
            }
        };
        let text = format!(
            "{kept} of {} stay open{closing}; {} requests in flight ({} WebSockets), {ending}",
            seen.connections, seen.requests, seen.websockets
        );
        paragraph_at(f, LEFT, "connections", &text)
    }
}

fn section(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    for line in lines.iter().take(SHOWN) {
        paragraph_at(f, 4, "  ~ ", line)?;
    }
    more(f, lines.len())
}

fn entry(f: &mut fmt::Formatter<'_>, label: &str, names: &[String]) -> fmt::Result {
    match names.is_empty() {
        true => Ok(()),
        false => paragraph_at(f, LEFT, &format!("  {label}"), &listed_from(names, 12)),
    }
}

fn more(f: &mut fmt::Formatter<'_>, number: usize) -> fmt::Result {
    match number.checked_sub(SHOWN) {
        Some(more) if more > 0 => writeln!(f, "    and {more} more; --json has all"),
        _ => Ok(()),
    }
}
