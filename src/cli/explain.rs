//! `doorward explain`: the way of a request, asked of the running one, or of a file; or what became of one that failed.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::live::{ask_within, verdict};
use super::screen::Screen;
use super::{ExplainWords, NOTHING_THERE, complain, show_faults};
use crate::admin::{Answer, Command, Question};
use crate::app;
use crate::telemetry::RequestId;

/// A look at the upstream is part of it.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn explain(words: ExplainWords, screen: &mut Screen) -> ExitCode {
    let ExplainWords { what, from, via, method, header, config, live } = words;
    let as_json = live.json;
    if what.parse::<RequestId>().is_ok() {
        return match ask_within(live, &Command::Incident { id: what }, PATIENCE) {
            Err(code) => code,
            Ok(answer) => verdict(&answer, as_json, screen),
        };
    }
    let mut headers = Vec::new();
    for field in header {
        let Some((name, value)) = field.split_once(':') else {
            complain(format_args!("`{field}` is not a header field; write --header 'Name: value'"));
            return ExitCode::from(NOTHING_THERE);
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let question = Question { url: what, from, via, method, headers };
    let Some(path) = config else {
        return match ask_within(live, &Command::Explain { question }, PATIENCE) {
            Err(code) => code,
            Ok(answer) => verdict(&answer, as_json, screen),
        };
    };
    match app::explain_file(&path, &question) {
        Ok(Ok(explained)) => verdict(&Answer::done(explained.to_string(), json!(explained)), as_json, screen),
        Ok(Err(why)) => verdict(&Answer::refused(why), as_json, screen),
        Err(faults) => {
            show_faults(&faults);
            ExitCode::FAILURE
        }
    }
}
