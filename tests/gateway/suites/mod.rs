//! Suites and tools that others wrote, let loose on the gateway. `bash tests/run --suites` installs and runs them; the scores
//! stand in docs/proof.md. What cannot be had on a machine is said (`NOT JUDGED`), never counted as passed in silence.

mod h2load;
mod h2spec;
mod slow_clients;
mod slowhttptest;
mod tls;
mod websocket;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Where `bash tests/run --suites` puts what is no Debian package.
fn installed(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/suites").join(name);
    path.exists().then_some(path)
}

/// Whether a program is there to be run.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

fn not_judged(suite: &str) {
    eprintln!("NOT JUDGED: {suite} is not installed here; `bash tests/run --suites` installs what can be had");
}

/// Runs a program to its end; what it said on both outputs.
async fn output(mut command: Command, patience: Duration) -> String {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(patience, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} did not end within {patience:?}"));
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
