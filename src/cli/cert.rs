//! `doorward cert`: what is known of every certificate, a renewal on demand, and what acme.sh leaves behind.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::live::{ask_within, is_anybody_there, verdict};
use super::screen::Screen;
use super::{CertOrder, CertWords, LiveWords, complain, places, show_faults};
use crate::admin::{Answer, Command};
use crate::app;

/// An order, with DNS that must spread and a CA that takes its time.
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// Everything else.
const SHORT_PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn cert(words: CertWords, screen: &mut Screen) -> ExitCode {
    let CertWords { order, config, live } = words;
    match order {
        None => list(config, live, screen),
        Some(CertOrder::Renew { name, force }) => {
            let as_json = live.json;
            match ask_within(live, &Command::Renew { name, force }, PATIENCE) {
                Err(code) => code,
                Ok(answer) => verdict(&answer, as_json, screen),
            }
        }
        Some(CertOrder::Import { acme_sh }) => import(&acme_sh, config, live, screen),
    }
}

/// The running one is asked, unless a file is named; where nobody runs, what is stored is shown.
fn list(config: Option<PathBuf>, live: LiveWords, screen: &mut Screen) -> ExitCode {
    let as_json = live.json;
    if config.is_none() && is_anybody_there(&live) {
        return match ask_within(live, &Command::Certificates, SHORT_PATIENCE) {
            Err(code) => code,
            Ok(answer) => verdict(&answer, as_json, screen),
        };
    }
    let file = places::routes_file(config);
    let state = places::state_folder(live.state, &file);
    match app::certificates(&file, &state) {
        Ok(reports) => verdict(&Answer::done(reports.to_string(), json!(reports)), as_json, screen),
        Err(faults) => {
            show_faults(&faults);
            ExitCode::FAILURE
        }
    }
}

fn import(home: &std::path::Path, config: Option<PathBuf>, live: LiveWords, screen: &mut Screen) -> ExitCode {
    let file = places::routes_file(config);
    let state = places::state_folder(live.state.clone(), &file);
    if let Err(cause) = places::make_state_folder(&state) {
        complain(format_args!("{}: cannot make the state folder: {cause}", state.display()));
        return ExitCode::FAILURE;
    }
    let report = match app::import_acme_sh(&file, home, &state) {
        Ok(report) => report,
        Err(faults) => {
            show_faults(&faults);
            return ExitCode::FAILURE;
        }
    };
    if live.json {
        screen.line(json!({ "done": report.done, "left": report.left }));
    } else {
        report.done.iter().for_each(|done| screen.line(format_args!("taken over  {done}")));
        report.left.iter().for_each(|left| screen.line(format_args!("left        {left}")));
    }
    // One that runs with this state folder reads what was put there.
    if !report.done.is_empty() && is_anybody_there(&live) {
        let told = LiveWords { json: false, ..live };
        if let Err(code) = ask_within(told, &Command::Reload, SHORT_PATIENCE) {
            return code;
        }
    }
    if report.done.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
