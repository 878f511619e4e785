//! The log for people, on standard error: one readable line per event, `LEVEL phrase name=value …`.
//! Level from `DOORWARD_LOG` (`debug`, `warn,doorward=trace` …), default `info`. Under the journal a line carries its
//! priority and no time, which the journal keeps itself. What strangers sent cannot forge a line or steer a terminal.

use std::env;
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;

use time::OffsetDateTime;
use time::macros::format_description;
use tracing::{Event, Level, Subscriber, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What is shown when `DOORWARD_LOG` says nothing.
const DEFAULT: &str = "info";

/// Starts the log of this process; later calls change nothing. A `DOORWARD_LOG` that cannot be read is said, and the default
/// used: a typo there must not keep a gateway from starting.
pub fn start_logging() {
    let wanted = env::var("DOORWARD_LOG").unwrap_or_default();
    let wanted = if wanted.trim().is_empty() { DEFAULT } else { wanted.trim() };
    let (filter, fault) = match EnvFilter::builder().parse(wanted) {
        Ok(filter) => (filter, None),
        Err(fault) => (EnvFilter::new(DEFAULT), Some(fault)),
    };
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .event_format(Line { style: Style::of_stderr() })
        .try_init();
    if let (Ok(()), Some(fault)) = (started, fault) {
        warn!(%fault, "DOORWARD_LOG cannot be read; the level is info");
    }
}

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// The journal: `<6>` in front, no time.
    Journal,
    /// A terminal: colours.
    Terminal,
    /// A file or a pipe.
    Plain,
}

impl Style {
    fn of_stderr() -> Style {
        if env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stream(&stream, io::stderr())) {
            Style::Journal
        } else if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
            Style::Terminal
        } else {
            Style::Plain
        }
    }
}

/// Whether `JOURNAL_STREAM` (`device:inode`, systemd.exec(5)) means this descriptor: children inherit the variable even when
/// their standard error leads elsewhere.
fn is_stream(stream: &str, descriptor: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(descriptor) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// How a line looks.
struct Line {
    style: Style,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        for (place, line) in text.lines().enumerate() {
            self.begin(&mut out, level)?;
            // What follows a line end is pushed in, so that nobody takes it for an event of its own.
            if place > 0 {
                out.write_str("    ")?;
            }
            line.chars().try_for_each(|letter| write_visible(&mut out, letter))?;
            out.write_char('\n')?;
        }
        Ok(())
    }
}

impl Line {
    fn begin(&self, out: &mut Writer<'_>, level: Level) -> fmt::Result {
        let (priority, colour, word) = match level {
            Level::ERROR => (3, 31, "ERROR"),
            Level::WARN => (4, 33, "WARN "),
            Level::INFO => (6, 32, "INFO "),
            Level::DEBUG => (7, 34, "DEBUG"),
            Level::TRACE => (7, 35, "TRACE"),
        };
        match self.style {
            Style::Journal => write!(out, "<{priority}>{word} "),
            Style::Terminal => write!(out, "{} \x1b[{colour}m{word}\x1b[0m ", now()),
            Style::Plain => write!(out, "{} {word} ", now()),
        }
    }
}

/// UTC, as the access log has it.
fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc().format(&format).unwrap_or_default()
}

fn write_visible(out: &mut Writer<'_>, letter: char) -> fmt::Result {
    match letter {
        '\t' => out.write_char('\t'),
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => {
            write!(out, "{}", letter.escape_unicode())
        }
        control if control.is_control() => write!(out, "{}", control.escape_default()),
        other => out.write_char(other),
    }
}

#[cfg(test)]
mod tests;
