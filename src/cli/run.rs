//! `doorward run`.

use std::ffi::OsString;
use std::process::ExitCode;

use super::{NOTHING_THERE, RunWords, complain, places, show_faults};
use crate::app::{self, AppError, RunOptions};
use crate::service::{Predecessor, become_user};
use crate::telemetry;

/// The file is good, the words are understood, but this machine does not let it serve.
const NOT_HERE: u8 = 3;

pub(super) fn run(words: RunWords) -> ExitCode {
    let RunWords { config, state, workers, user, follow } = words;
    telemetry::start_logging();
    let is_named = config.is_some();
    let config = places::routes_file(config);
    let state = places::state_folder(state, &config);
    let mut called_with: Vec<OsString> = vec!["run".into(), "--config".into(), (&config).into()];
    called_with.extend(["--state".into(), (&state).into()]);
    called_with.extend(workers.iter().flat_map(|workers| ["--workers".into(), workers.to_string().into()]));
    called_with.extend(user.iter().flat_map(|user| ["--user".into(), user.into()]));
    let with_step = |step: &str| [&called_with[..], &["--follow".into(), step.into()]].concat();
    if follow == Some(1) {
        return match Predecessor::pass_on(&with_step("2")) {
            Ok(()) => ExitCode::SUCCESS,
            Err(cause) => {
                complain(format_args!("this program cannot be started once more: {cause}"));
                ExitCode::from(NOT_HERE)
            }
        };
    }
    // A named file that is missing may come yet, as one that is faulty may be mended: a supervisor is to try again.
    if follow.is_none()
        && !is_named
        && let Some(why) = places::missing_file(&config)
    {
        complain(why);
        return ExitCode::from(NOTHING_THERE);
    }
    if let Some(user) = user {
        let made = places::make_state_folder(&state).map_err(|cause| cause.to_string());
        if let Err(why) = made.and_then(|()| become_user(&user, &state).map_err(|why| why.to_string())) {
            complain(why);
            return ExitCode::from(NOT_HERE);
        }
    }
    // The end of process 1 is the end of its container, so nobody can follow it there.
    let called_with = (std::process::id() != 1).then(|| with_step("1"));
    let workers = workers.map(usize::from);
    let options = RunOptions { config, state, workers, overlay: None, follows: follow.is_some(), called_with };
    serve(options, "", |_| {})
}

/// Serves until stopped; `ready` is called once it does. Where a port is taken, `way_out` says what else to try.
pub(super) fn serve(options: RunOptions, way_out: &str, ready: impl FnOnce(&app::Running)) -> ExitCode {
    if let Err(cause) = places::make_state_folder(&options.state) {
        complain(format_args!(
            "{}: cannot make the state folder: {cause}; name another with --state",
            options.state.display()
        ));
        return ExitCode::from(NOT_HERE);
    }
    match app::run(options, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(AppError::Faults(faults)) => {
            show_faults(&faults);
            complain("the file is refused; nothing is served");
            ExitCode::FAILURE
        }
        Err(cause @ AppError::Bind { .. }) if !way_out.is_empty() => {
            complain(cause);
            complain(way_out);
            ExitCode::from(NOT_HERE)
        }
        Err(cause) => {
            complain(cause);
            ExitCode::from(NOT_HERE)
        }
    }
}
