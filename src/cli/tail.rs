//! `doorward tail`: access records as they happen, one or two lines for each.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::live::{place_of, verdict};
use super::screen::Screen;
use super::{NOTHING_THERE, TailWords, complain};
use crate::admin::{self, Command};

/// How long the first answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Columns of a terminal line.
const WIDTH: usize = 80;

/// Columns before the reason of a failure.
const BELOW: usize = 13;

pub(super) fn tail(words: TailWords, screen: &mut Screen) -> ExitCode {
    let TailWords { route, errors, count, live } = words;
    let as_json = live.json;
    let place = match place_of(&live) {
        Ok(place) => place,
        Err(code) => return code,
    };
    let mut left = count;
    let is_narrow = screen.is_terminal();
    let followed = admin::follow(&place, &Command::Tail { route, errors }, PATIENCE, |line| {
        match serde_json::from_slice::<Value>(line) {
            Ok(record) if !as_json => shown(&record, is_narrow).iter().for_each(|line| screen.line(line)),
            _ => screen.line(String::from_utf8_lossy(line).trim_end()),
        }
        left = left.map(|left| left.saturating_sub(1));
        left != Some(0) && !screen.is_closed()
    });
    match followed {
        Ok(answer) if answer.ok => ExitCode::SUCCESS,
        Ok(answer) => verdict(&answer, as_json, screen),
        Err(cause) => {
            complain(cause);
            ExitCode::from(NOTHING_THERE)
        }
    }
}

/// A record for people: who got what, and for a failure why, with its id.
fn shown(record: &Value, is_narrow: bool) -> Vec<String> {
    if let Some(lost) = record["lost"].as_u64() {
        return vec![format!("         … {lost} records were lost: this reader was too slow")];
    }
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    let time = text("time").get(11..19).unwrap_or("--:--:--");
    let took = milliseconds(record["seconds"].as_f64().unwrap_or_default());
    let mut line = format!(
        "{time} {:>3} {:<4} {took:>7} {:<15} {}{}",
        record["status"],
        text("method"),
        text("client"),
        text("host"),
        text("path"),
    );
    if record["upgraded"] == true {
        line.push_str(" (WebSocket)");
    }
    if is_narrow && line.chars().count() > WIDTH {
        line = line.chars().take(WIDTH - 1).chain(['…']).collect();
    }
    let mut lines = vec![line];
    let aborted = (record["aborted"] == true).then_some("broken off");
    if let Some(cause) = record["cause"].as_str().or(aborted) {
        let detail = record["detail"].as_str().map(|detail| format!(": {detail}")).unwrap_or_default();
        lines.extend(wrapped(&format!("{cause}{detail} (id {})", text("id"))));
    }
    lines
}

/// Below its record, broken at blanks; a word that is wider than a line is not broken.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= WIDTH) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(format!("{:BELOW$}{word}", "")),
        }
    }
    lines
}

/// `0.4ms`, `12ms`, `1.5s`.
fn milliseconds(seconds: f64) -> String {
    match seconds * 1_000.0 {
        ms if ms < 10.0 => format!("{ms:.1}ms"),
        ms if ms < 1_000.0 => format!("{ms:.0}ms"),
        ms => format!("{:.1}s", ms / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_is_one_line_and_a_failure_has_its_reason_below() {
        let good = json!({"time": "2026-07-04T12:00:01.123Z", "status": 200, "method": "GET", "client": "192.168.8.5",
            "host": "photos.home.test", "path": "/a", "seconds": 0.0123});
        assert_eq!(shown(&good, false), ["12:00:01 200 GET     12ms 192.168.8.5     photos.home.test/a"]);
        let bad = json!({"time": "2026-07-04T12:00:01.123Z", "status": 403, "method": "GET", "client": "192.168.9.5",
            "host": "photos.home.test", "path": "/".repeat(90), "seconds": 0.0004, "cause": "access-denied",
            "detail": "not in [lan]", "id": "mzxw6ytbojrgc6tr"});
        let lines = shown(&bad, true);
        assert_eq!(lines[0].chars().count(), WIDTH);
        assert_eq!(lines[1], "             access-denied: not in [lan] (id mzxw6ytbojrgc6tr)");
        let long = json!({"time": "2026-07-04T12:00:01.123Z", "status": 403, "cause": "access-denied", "id": "mzxw6ytbojrgc6tr",
            "detail": "192.168.1.20 is not in [monitoring], the `allow` of path `/metrics` of route `films` (line 95)"});
        let lines = shown(&long, false);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
        assert!(shown(&json!({"lost": 7}), true)[0].contains("7 records were lost"));
    }
}
