//! `doorward top`: what each route does now, in the terminal; or once, for scripts.

mod rows;
mod view;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::live::ask_within;
use super::screen::Screen;
use super::{LiveWords, NOTHING_THERE, TopWords, complain};
use crate::admin::Command;
pub(super) use rows::Sort;
use rows::{Sample, Table};

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn top(words: TopWords, screen: &mut Screen) -> ExitCode {
    let TopWords { once, interval, sort, filter, live } = words;
    let interval = Duration::from_secs(u64::from(interval));
    let shape = Shape { sort, filter: filter.unwrap_or_default(), is_typing: false };
    let outcome = match once || live.json {
        true => look_once(&live, interval, &shape, screen),
        false if !std::io::stdout().is_terminal() => {
            complain("`doorward top` needs a terminal; `doorward top --once` prints one look");
            return ExitCode::from(NOTHING_THERE);
        }
        false => watch(&live, interval, shape),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

/// How the table is shown.
struct Shape {
    sort: Sort,
    filter: String,
    is_typing: bool,
}

fn sample(live: &LiveWords) -> Result<Sample, ExitCode> {
    let words = LiveWords { state: live.state.clone(), socket: live.socket.clone(), json: live.json };
    let answer = ask_within(words, &Command::Top, PATIENCE)?;
    Sample::read(answer.json).map_err(|cause| {
        complain(format_args!("the answer cannot be read: {cause}; have both doorwards the same version?"));
        ExitCode::FAILURE
    })
}

fn look_once(live: &LiveWords, interval: Duration, shape: &Shape, screen: &mut Screen) -> Result<(), ExitCode> {
    let first = sample(live)?;
    std::thread::sleep(interval);
    let table = Table::between(&first, &sample(live)?, shape.sort, &shape.filter);
    match live.json {
        true => screen.line(serde_json::json!(table)),
        false => table.lines().iter().for_each(|line| screen.line(line)),
    }
    Ok(())
}

/// Looks again and again, until `q`.
fn watch(live: &LiveWords, interval: Duration, mut shape: Shape) -> Result<(), ExitCode> {
    // Asked before the screen is taken, so that a complaint can be read.
    let mut before = sample(live)?;
    let mut terminal = ratatui::init();
    let mut table = Table::between(&before, &before, shape.sort, &shape.filter);
    let outcome = loop {
        let next = Instant::now() + interval;
        if let Err(cause) = draw_until(next, &mut terminal, &mut table, &mut shape) {
            break cause;
        }
        match sample(live) {
            Ok(now) => {
                table = Table::between(&before, &now, shape.sort, &shape.filter);
                before = now;
            }
            Err(code) => break Some(code),
        }
    };
    ratatui::restore();
    if outcome.is_some() {
        // What was said before stood on the screen that is gone.
        complain("the running one does not answer any more");
    }
    outcome.map_or(Ok(()), Err)
}

/// Draws, and obeys keys, until it is time to look again. `Err` ends the whole, with an exit code if it went wrong.
fn draw_until(
    next: Instant,
    terminal: &mut ratatui::DefaultTerminal,
    table: &mut Table,
    shape: &mut Shape,
) -> Result<(), Option<ExitCode>> {
    let failed = |_| Some(ExitCode::FAILURE);
    loop {
        table.arrange(shape.sort, &shape.filter);
        terminal.draw(|frame| view::draw(frame, table, shape)).map_err(failed)?;
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() || !event::poll(left).map_err(failed)? {
            return Ok(());
        }
        if let Event::Key(key) = event::read().map_err(failed)?
            && key.kind == KeyEventKind::Press
            && !shape.obey(key)
        {
            return Err(None);
        }
    }
}

impl Shape {
    /// Obeys a key; `false` for the one that ends.
    fn obey(&mut self, key: KeyEvent) -> bool {
        let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if is_interrupt => return false,
            KeyCode::Enter | KeyCode::Esc if self.is_typing => self.is_typing = false,
            KeyCode::Backspace if self.is_typing => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.is_typing => self.filter.push(letter),
            KeyCode::Char('q') => return false,
            KeyCode::Char('/') => {
                self.filter.clear();
                self.is_typing = true;
            }
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char(letter) => self.sort = Sort::of_key(letter).unwrap_or(self.sort),
            _ => {}
        }
        true
    }
}

#[cfg(test)]
mod tests;
