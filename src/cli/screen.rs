//! Standard output, for people and for pipes: colour only where a person looks, and a reader that left early
//! (`doorward routes | head -1`) is not a fault.

use std::fmt;
use std::io::{self, IsTerminal, Write};

/// Where answers are printed.
pub(super) struct Screen {
    out: io::Stdout,
    coloured: bool,
    /// The reader left; the rest is not for anybody.
    closed: bool,
}

impl Screen {
    pub(super) fn stdout() -> Screen {
        let out = io::stdout();
        // https://no-color.org: set and not empty means none.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        let coloured = out.is_terminal() && !unwanted;
        Screen { out, coloured, closed: false }
    }

    /// Whether a person is likely to watch.
    pub(super) fn is_terminal(&self) -> bool {
        self.out.is_terminal()
    }

    /// Whether the reader left.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// One line.
    pub(super) fn line(&mut self, text: impl fmt::Display) {
        self.write(format_args!("{text}\n"));
    }

    /// One line that stands out.
    pub(super) fn heading(&mut self, text: impl fmt::Display) {
        if self.coloured { self.line(format_args!("\u{1b}[1m{text}\u{1b}[0m")) } else { self.line(text) }
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        if self.closed {
            return;
        }
        let mut out = self.out.lock();
        if out.write_fmt(text).and_then(|()| out.flush()).is_err() {
            self.closed = true;
        }
    }
}
