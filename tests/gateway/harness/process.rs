//! The program itself, run for its answer.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::within;

/// How a run of the program ended.
pub struct Finished {
    /// Exit status, -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Finished {
    /// Everything it said.
    pub fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Finished {
        Finished {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program with an environment that says nothing about services.
pub fn command(folder: &Path) -> Command {
    command_of(env!("CARGO_BIN_EXE_doorward"), folder)
}

/// Another program in the same surroundings.
pub fn command_of(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    let services = ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "DOORWARD_LOG"];
    for variable in services.into_iter().chain(["LISTEN_PID", "LISTEN_FDS", "WATCHDOG_USEC", "WATCHDOG_PID"]) {
        command.env_remove(variable);
    }
    command
}

/// Runs `doorward` with these arguments in a folder, to its end.
pub async fn doorward<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Finished {
    let mut command = command(folder);
    command.args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output().expect("the program runs"));
    within("doorward to finish", run).await.unwrap().into()
}

/// Sends a signal to a process that this test started.
pub fn signal_process(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id");
    kill_process(pid, signal).expect("the process is there");
}
