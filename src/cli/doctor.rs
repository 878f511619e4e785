//! `doorward doctor`.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::screen::Screen;
use super::{DoctorWords, NOTHING_THERE, complain, places, show_faults};
use crate::admin::{self, Command};
use crate::app::{self, Health};
use crate::config;

/// How long the running one may take to say which addresses it has.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn doctor(words: DoctorWords, screen: &mut Screen) -> ExitCode {
    let DoctorWords { file, config, unit, live } = words;
    let path = places::routes_file(file.or(config));
    if let Some(why) = places::missing_file(&path) {
        complain(why);
        return ExitCode::from(NOTHING_THERE);
    }
    if unit {
        return match config::load(&path) {
            Ok(checked) => {
                screen.line(app::drop_in(&checked.config).trim_end());
                ExitCode::SUCCESS
            }
            Err(faults) => {
                show_faults(&faults);
                ExitCode::FAILURE
            }
        };
    }
    let sockets = places::sockets(live.socket, live.state.clone(), &path);
    let served = sockets.iter().find_map(|socket| admin::ask(socket, &Command::Status, PATIENCE).ok());
    let served = served.map(|answer| addresses(&answer.json)).unwrap_or_default();
    let findings = app::examine(&path, &places::state_folder_of_the_service(live.state, &path), &served);
    if live.json {
        screen.line(json!(findings));
    } else {
        screen.line(findings.to_string().trim_end());
    }
    if findings.health() == Health::Fault { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `"main 0.0.0.0:443"` in the answer: the address behind the door's name; and that of the metrics.
fn addresses(status: &serde_json::Value) -> Vec<String> {
    let doors = status["listeners"].as_array().into_iter().flatten().filter_map(|listener| listener.as_str());
    let doors = doors.filter_map(|listener| listener.rsplit(' ').next());
    doors.chain(status["metrics"].as_str()).map(str::to_owned).collect()
}
