//! `doorward reload` and `doorward routes`: what is asked of the running one, and the offline twin of the second.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::screen::Screen;
use super::{LiveWords, NOTHING_THERE, RoutesWords, complain, places, show_faults};
use crate::admin::{self, Answer, Command};
use crate::app;

/// A reload reads certificates and binds doors; a machine under load takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn reload(words: LiveWords, screen: &mut Screen) -> ExitCode {
    let as_json = words.json;
    match ask(words, &Command::Reload) {
        Err(code) => code,
        Ok(answer) => verdict(&answer, as_json, screen),
    }
}

pub(super) fn routes(words: RoutesWords, screen: &mut Screen) -> ExitCode {
    let RoutesWords { file, config, live } = words;
    let as_json = live.json;
    let Some(path) = file.or(config) else {
        return match ask(live, &Command::Routes) {
            Err(code) => code,
            Ok(answer) => verdict(&answer, as_json, screen),
        };
    };
    match app::table(&path) {
        Ok(rows) => {
            let answer = Answer::done(rows.to_string(), json!(rows));
            verdict(&answer, as_json, screen)
        }
        Err(faults) => {
            show_faults(&faults);
            ExitCode::FAILURE
        }
    }
}

/// A refusal is an answer too: printed like any other, told apart by the exit code.
pub(super) fn verdict(answer: &Answer, as_json: bool, screen: &mut Screen) -> ExitCode {
    if as_json && answer.json.is_null() {
        screen.line(json!(answer));
    } else if as_json {
        screen.line(&answer.json);
    } else {
        screen.line(answer.text.trim_end());
    }
    if answer.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ask(words: LiveWords, command: &Command) -> Result<Answer, ExitCode> {
    ask_within(words, command, PATIENCE)
}

/// Whether there is a socket to ask at.
pub(super) fn is_anybody_there(words: &LiveWords) -> bool {
    let places = places::sockets(words.socket.clone(), words.state.clone(), &places::routes_file(None));
    places.iter().any(|place| std::os::unix::net::UnixStream::connect(place).is_ok())
}

/// Asks the running one, and waits this long for the answer.
pub(super) fn ask_within(words: LiveWords, command: &Command, patience: Duration) -> Result<Answer, ExitCode> {
    let place = place_of(&words)?;
    admin::ask(&place, command, patience).map_err(|cause| {
        complain(cause);
        ExitCode::from(NOTHING_THERE)
    })
}

/// The socket of the running one.
pub(super) fn place_of(words: &LiveWords) -> Result<PathBuf, ExitCode> {
    let LiveWords { state, socket, json: _ } = words;
    let places = places::sockets(socket.clone(), state.clone(), &places::routes_file(None));
    // The first socket that is there is the one meant; one that nobody answers on is not passed over in silence.
    let Some(place) = places.iter().find(|place| place.exists()) else {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        complain(format_args!(
            "nobody is there to ask; is doorward running? Looked for {}; name its state folder with --state",
            looked.join(", ")
        ));
        return Err(ExitCode::from(NOTHING_THERE));
    };
    Ok(place.clone())
}
