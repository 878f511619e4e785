//! `doorward docker`: every container with its verdict, from the running one, from the engine itself, or from what
//! `docker inspect` printed.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::live::{ask_within, verdict};
use super::screen::Screen;
use super::{DockerWords, NOTHING_THERE, complain, places, show_faults};
use crate::admin::{Answer, Command};
use crate::app::{self, AppError};

/// The running one answers from memory.
const PATIENCE: Duration = Duration::from_secs(20);

/// The largest text of `docker inspect` that is read. Bytes.
const LARGEST: u64 = 256 << 20;

pub(super) fn docker(words: DockerWords, screen: &mut Screen) -> ExitCode {
    let DockerWords { config, inspect, live } = words;
    let as_json = live.json;
    if config.is_none() && inspect.is_none() {
        return match ask_within(live, &Command::Containers, PATIENCE) {
            Err(code) => code,
            Ok(answer) => verdict(&answer, as_json, screen),
        };
    }
    let told = match inspect {
        Some(text) => match read(&text) {
            Ok(text) => app::inspected(file_if_any(config).as_deref(), &text),
            Err(cause) => {
                complain(format_args!("{}: cannot be read: {cause}", text.display()));
                return ExitCode::from(NOTHING_THERE);
            }
        },
        None => app::containers(&places::routes_file(config)),
    };
    match told {
        Ok(told) => verdict(&Answer::done(told.to_string(), json!(told)), as_json, screen),
        Err(AppError::Faults(faults)) => {
            show_faults(&faults);
            ExitCode::FAILURE
        }
        Err(cause) => {
            complain(cause);
            ExitCode::from(NOTHING_THERE)
        }
    }
}

/// The file that was named, else the one that is here. Without any, containers are judged as by a file that has nothing
/// but `[docker]`.
fn file_if_any(config: Option<PathBuf>) -> Option<PathBuf> {
    config.or_else(|| Some(places::routes_file(None)).filter(|path| path.exists()))
}

/// What `docker inspect` printed: a file, or standard input for `-`.
pub(super) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(LARGEST).read_to_end(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
    }
    Ok(text)
}
