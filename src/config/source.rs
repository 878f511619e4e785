//! The text of one file, and how a place in it becomes a line and a column.
//! Reads nothing itself: whoever has the text makes one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Diagnostic, Severity, Span};

/// A file's name and text; later checks use it to point into the file.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    text: Arc<str>,
    /// Byte offset at which each line begins.
    lines: Arc<[usize]>,
}

/// How many characters of a long line a diagnostic shows, and how many of them before the fault.
const SHOWN: usize = 160;
const SHOWN_BEFORE: usize = 60;

impl Source {
    /// A text and the path that messages show for it.
    pub fn new(path: &Path, text: &str) -> Source {
        let lines =
            std::iter::once(0).chain(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at + 1));
        Source { path: path.to_owned(), text: text.into(), lines: lines.collect() }
    }

    /// The path as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// 1-based line of a byte offset; offsets behind the end count as the end.
    pub fn line_of(&self, offset: usize) -> u32 {
        let line = self.lines.partition_point(|&start| start <= offset).max(1);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    /// 1-based line and column of a byte offset; the column counts characters.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let line = self.line_of(offset);
        let start = self.line_start(line);
        (line, as_u32(self.slice(start, offset).chars().count()).saturating_add(1))
    }

    /// `routes.toml:12:1`, to name another place in a message.
    pub fn place(&self, span: Span) -> String {
        let (line, column) = self.position(span.start);
        format!("{}:{line}:{column}", self.path.display())
    }

    /// A warning that points here. The default span means the file as a whole.
    pub fn warning(
        &self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic(Severity::Warning, span, message.into(), label.into(), help.into())
    }

    /// A fault that points here. The default span means the file as a whole.
    pub fn fault(
        &self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic(Severity::Error, span, message.into(), label.into(), help.into())
    }

    /// The same file with some places made unreadable, for excerpts.
    pub(super) fn without(&self, secrets: &[Span]) -> Source {
        if secrets.is_empty() {
            return self.clone();
        }
        let mut masked = self.text.as_bytes().to_vec();
        for secret in secrets {
            // One byte for one, so that every offset stays right.
            let bytes = masked.get_mut(secret.start..secret.end).unwrap_or_default();
            bytes.iter_mut().filter(|b| !matches!(b, b'\n' | b'\r')).for_each(|b| *b = b'*');
        }
        Source { text: String::from_utf8_lossy(&masked).into(), ..self.clone() }
    }

    fn diagnostic(&self, severity: Severity, span: Span, message: String, label: String, help: String) -> Diagnostic {
        let (line, column) = self.position(span.start);
        let excerpt = (span != Span::default()).then(|| self.excerpt(line, span));
        Diagnostic::new(severity, &self.path, (line, column), excerpt, [message, label, help])
    }

    /// The line as shown, and where its caret begins and how wide it is, in characters from 0.
    fn excerpt(&self, line: u32, span: Span) -> (String, usize, usize) {
        let start = self.line_start(line);
        let whole = self.text[start..].split(['\n', '\r']).next().unwrap_or_default();
        let line_end = start + whole.len();
        let before = self.slice(start, span.start.min(line_end)).chars().count();
        let width = self.slice(span.start, span.end.min(line_end)).chars().count().max(1);
        // A line can be megabytes long; a message never is.
        let skipped = if before + width > SHOWN { before.saturating_sub(SHOWN_BEFORE) } else { 0 };
        let mut shown: String = whole.chars().skip(skipped).take(SHOWN).collect();
        if skipped > 0 {
            shown.insert(0, '…');
        }
        let caret = before - skipped + usize::from(skipped > 0);
        let room = shown.chars().count().saturating_sub(caret).max(1);
        (shown, caret, width.min(room))
    }

    fn line_start(&self, line: u32) -> usize {
        let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        self.lines.get(index).copied().unwrap_or_default()
    }

    /// The text between two offsets, empty where they do not fit: a span from elsewhere never panics.
    fn slice(&self, start: usize, end: usize) -> &str {
        self.text.get(start..end.min(self.text.len())).unwrap_or_default()
    }
}

fn as_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.path.display(), self.text.len())
    }
}
