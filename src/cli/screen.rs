//! Standard output, for people and for pipes: colour and folded lines only where a person looks, and a reader that left early
//! (`doorward routes | head -1`) is not a fault.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use super::fold::folded;
use super::paint::painted;

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
        let coloured = out.is_terminal() && is_colour_wanted();
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

    /// One line, or several.
    pub(super) fn line(&mut self, text: impl fmt::Display) {
        if !self.out.is_terminal() {
            return self.write(format_args!("{text}\n"));
        }
        let text = folded(&text.to_string());
        if !self.coloured {
            return self.write(format_args!("{text}\n"));
        }
        text.split('\n').for_each(|line| self.write(format_args!("{}\n", painted(line))));
    }

    /// One line that stands out.
    pub(super) fn heading(&mut self, text: impl fmt::Display) {
        if self.coloured { self.write(format_args!("\u{1b}[1m{text}\u{1b}[0m\n")) } else { self.line(text) }
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

/// Whether colour is not declined: <https://no-color.org>, set and not empty means none; nor does a dumb terminal show any.
pub(super) fn is_colour_wanted() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    !unwanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
