//! One thing to say about a file: where, what is wrong, and what to write instead.
//! Untrusted text is shown here, so it is cut to a sane length and control characters never reach a terminal.

use std::fmt;
use std::path::Path;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, but somebody should look.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// A fault or a warning, with its place. Shown over two to four lines; as JSON: `severity`, `file`, `line`, `column`,
/// `message`, `label`, `help`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// The file, as given on the command line.
    pub path: String,
    /// 1-based.
    pub line: u32,
    /// 1-based, in characters.
    pub column: u32,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The line it stands on; `None` where the whole file is meant.
    pub source_line: Option<String>,
    /// Characters of `source_line` before the caret.
    pub caret_start: usize,
    /// Characters under which carets stand; at least 1.
    pub caret_width: usize,
    /// Text behind the carets; may be empty.
    pub label: String,
    /// What to do; never empty for a fault.
    pub help: String,
}

/// The longest message, label or help, in characters.
const LONGEST: usize = 400;

impl Diagnostic {
    pub(super) fn new(
        severity: Severity,
        path: &Path,
        (line, column): (u32, u32),
        excerpt: Option<(String, usize, usize)>,
        [message, label, help]: [String; 3],
    ) -> Diagnostic {
        let (source_line, caret_start, caret_width) = match excerpt {
            // A tab would shift the carets, so each becomes one space.
            Some((text, start, width)) => (Some(printable(&text.replace('\t', " "))), start, width),
            None => (None, 0, 1),
        };
        Diagnostic {
            severity,
            path: printable(&path.display().to_string()),
            line,
            column,
            message: bounded(&message),
            source_line,
            caret_start,
            caret_width,
            label: bounded(&label),
            help: bounded(&help),
        }
    }
}

impl Diagnostic {
    /// Calls the file by another name: it was read as if it stood elsewhere.
    pub fn rename(&mut self, from: &str, to: &str) {
        let to = printable(to);
        for text in [&mut self.path, &mut self.message, &mut self.label, &mut self.help] {
            *text = text.replace(from, &to);
        }
    }
}

fn bounded(text: &str) -> String {
    let mut out = printable(&text.chars().take(LONGEST).collect::<String>());
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

/// One character for one: positions stay right.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { path, line, column, message, .. } = self;
        write!(f, "{path}:{line}:{column}: {}: {message}", self.severity.as_str())?;
        if let Some(source_line) = &self.source_line {
            write!(f, "\n{line:>5} | {source_line}")?;
            let carets = "^".repeat(self.caret_width);
            write!(f, "\n      | {:indent$}{carets}", "", indent = self.caret_start)?;
            if !self.label.is_empty() {
                write!(f, " {}", self.label)?;
            }
        }
        if !self.help.is_empty() {
            write!(f, "\n  help: {}", self.help)?;
        }
        Ok(())
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Diagnostic", 7)?;
        out.serialize_field("severity", self.severity.as_str())?;
        out.serialize_field("file", &self.path)?;
        out.serialize_field("line", &self.line)?;
        out.serialize_field("column", &self.column)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("label", &self.label)?;
        out.serialize_field("help", &self.help)?;
        out.end()
    }
}

/// Why a file is refused: every fault in it, and its warnings too. Shown in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// At least one.
    pub faults: Vec<Diagnostic>,
    /// What would have been warned about anyway.
    pub warnings: Vec<Diagnostic>,
}

impl Faults {
    /// Faults and warnings together, in the order of the file.
    pub fn in_order(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = self.faults.iter().chain(&self.warnings).collect();
        all.sort_by_key(|d| (d.line, d.column));
        all
    }
}

impl Faults {
    /// Every fault with its place, reason and help, without the lines of the file: those may hold what is not for everybody
    /// who reads of a fault.
    pub fn in_words(&self) -> String {
        let one = |fault: &Diagnostic| {
            let Diagnostic { path, line, column, message, label, help, .. } = fault;
            let label = if label.is_empty() { String::new() } else { format!(" ({label})") };
            format!("{path}:{line}:{column}: error: {message}{label}\n  help: {help}\n")
        };
        self.faults.iter().map(one).collect()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.in_order().into_iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
