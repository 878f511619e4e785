//! `doorward reload` and `doorward routes`: what is asked of the running one, and the offline twin of the second.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::screen::Screen;
use super::{LiveWords, NOTHING_THERE, RoutesWords, UpgradeWords, complain, places, show_faults};
use crate::admin::{self, Answer, Command};
use crate::app;

/// A reload reads certificates and binds doors; a machine under load takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A hand-over has longer limits of its own: the new process reads the file, the old one ends its certificate orders.
const HAND_OVER: Duration = Duration::from_secs(150);

pub(super) fn reload(words: LiveWords, screen: &mut Screen) -> ExitCode {
    let as_json = words.json;
    // Where this program cannot be told, it cannot be the one that takes over.
    let command = own_program().map_or(Command::Reload, |program| Command::ReloadAs { program });
    match ask_within(words, &command, HAND_OVER) {
        Err(code) => code,
        Ok(answer) => verdict(&answer, as_json, screen),
    }
}

pub(super) fn upgrade(words: UpgradeWords, screen: &mut Screen) -> ExitCode {
    let UpgradeWords { binary, live } = words;
    let as_json = live.json;
    let program = match binary.map(std::fs::canonicalize) {
        Some(Ok(program)) => Ok(program),
        Some(Err(cause)) => Err(format!("the program that is to take over cannot be found: {cause}")),
        None => own_program().ok_or_else(|| "this program was replaced meanwhile; name one with --binary".to_owned()),
    };
    let program = match program {
        Ok(program) => program,
        Err(why) => {
            complain(why);
            return ExitCode::from(NOTHING_THERE);
        }
    };
    match ask_within(live, &Command::Upgrade { program }, HAND_OVER) {
        Err(code) => code,
        Ok(answer) => verdict(&answer, as_json, screen),
    }
}

/// The file of this program, if it is still there.
fn own_program() -> Option<PathBuf> {
    std::env::current_exe().ok().filter(|program| program.is_file())
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
        screen.line(json!({ "ok": answer.ok, "text": answer.text.trim_end() }));
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
