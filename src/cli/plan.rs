//! `doorward plan`: what a file would change against what is in force, or against another file.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::live::{ask_within, verdict};
use super::screen::Screen;
use super::{NOTHING_THERE, PlanWords, complain, places};
use crate::admin::{Answer, Command};
use crate::app;

/// A file of 100,000 routes takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

/// With `--exit-code`: the file is good, and would change something.
const CHANGES: u8 = 3;

pub(super) fn plan(words: PlanWords, screen: &mut Screen) -> ExitCode {
    let PlanWords { file, config, exit_code, live } = words;
    let as_json = live.json;
    let path = places::routes_file(file);
    if let Some(why) = places::missing_file(&path) {
        complain(why);
        return ExitCode::from(NOTHING_THERE);
    }
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) => {
            complain(format_args!("{}: cannot be read: {cause}", path.display()));
            return ExitCode::from(NOTHING_THERE);
        }
    };
    let answer = match &config {
        Some(current) => offline(current, &path, &text),
        None => match ask_within(live, &Command::Plan { path, text }, PATIENCE) {
            Ok(answer) => answer,
            Err(code) => return code,
        },
    };
    let code = verdict(&answer, as_json, screen);
    if exit_code && answer.ok && answer.json["changes"] == true { ExitCode::from(CHANGES) } else { code }
}

fn offline(current: &Path, new: &Path, text: &str) -> Answer {
    match app::plan_files(current, new, text) {
        Ok(plan) => Answer::done(plan.to_string(), json!(plan)),
        Err(faults) => Answer {
            ok: false,
            text: format!("{faults}\n{}: would be refused\n", new.display()),
            json: app::refused_json(new, &faults),
        },
    }
}
