//! `doorward run`.

use std::process::ExitCode;

use super::{NOTHING_THERE, RunWords, complain, places, show_faults};
use crate::app::{self, AppError, RunOptions};
use crate::telemetry;

pub(super) fn run(words: RunWords) -> ExitCode {
    let RunWords { config, state, workers } = words;
    telemetry::start_logging();
    let config = places::routes_file(config);
    if let Some(why) = places::missing_file(&config) {
        complain(why);
        return ExitCode::from(NOTHING_THERE);
    }
    let state = places::state_folder(state, &config);
    serve(RunOptions { config, state, workers: workers.map(usize::from), overlay: None }, "", |_| {})
}

/// Serves until stopped; `ready` is called once it does. Where a port is taken, `way_out` says what else to try.
pub(super) fn serve(options: RunOptions, way_out: &str, ready: impl FnOnce(&app::Running)) -> ExitCode {
    if let Err(cause) = places::make_state_folder(&options.state) {
        complain(format_args!(
            "{}: cannot make the state folder: {cause}; name another with --state",
            options.state.display()
        ));
        return ExitCode::FAILURE;
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
            ExitCode::FAILURE
        }
        Err(cause) => {
            complain(cause);
            ExitCode::FAILURE
        }
    }
}
