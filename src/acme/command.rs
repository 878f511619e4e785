//! A program of the owner's, run without a shell: environment cleared, time and output bounded, its group killed when late.
//! Refuses to pass on anything of our own environment, and shows nothing of the output that looks like a secret.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a program may run. Seconds.
pub const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

/// How much of the output is kept, in bytes; what comes after it is read and dropped.
const KEPT: usize = 4096;

/// How long the output of a program that has ended may still come: children may hold its end. Seconds.
const REST: Duration = Duration::from_secs(1);

/// Where programs look for others. Ours is not theirs; NixOS keeps its programs at the last place.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin";

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// By itself, with this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// By us, with its whole process group: it took too long.
    Late,
}

impl Ended {
    /// Whether it ended by itself with status 0.
    pub fn is_success(self) -> bool {
        self == Ended::Exit(0)
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exit(code) => write!(f, "exit status {code}"),
            Ended::Signal(signal) => write!(f, "ended by signal {signal}"),
            Ended::Late => f.write_str("took too long and was killed"),
        }
    }
}

/// What became of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// How it ended.
    pub ended: Ended,
    /// The beginning of what it wrote to either output, secrets masked, at most 4 KiB.
    pub output: String,
}

/// Runs a program to its end. `words`: absolute path and arguments. `variables`: all it gets besides `PATH`.
/// Fails if it cannot be started at all.
pub async fn run_program(
    words: &[&str],
    variables: &[(&str, &str)],
    folder: &Path,
    limit: Duration,
) -> io::Result<Ran> {
    let Some((program, arguments)) = words.split_first().filter(|(program, _)| Path::new(program).is_absolute()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a command begins with an absolute path"));
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).envs(variables.iter().copied()).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group(child.id());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reading = tokio::spawn(async { tokio::join!(read(out), read(err)) });
    let ended = match timeout(limit, child.wait()).await {
        Ok(status) => ended(status?),
        Err(_) => {
            group.kill();
            // Reaps it; a killed process is gone at once.
            let _ = reap(&mut child).await;
            Ended::Late
        }
    };
    group.forget();
    let stop = reading.abort_handle();
    let (out, err) = match timeout(REST, reading).await {
        Ok(Ok(both)) => both,
        _ => {
            stop.abort();
            Default::default()
        }
    };
    let text = String::from_utf8_lossy(&[out, err].concat()).into_owned();
    Ok(Ran { ended, output: masked(&text, KEPT) })
}

async fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    timeout(REST, child.wait()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exit(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

/// The process group of a program; killed if we are dropped while it runs.
struct Group(Option<u32>);

impl Group {
    fn kill(&self) {
        let pid = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may be gone already.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// The leader is reaped: its number may be somebody else's by now.
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return kept };
    let mut block = [0; 4096];
    // Read to the end, so that the program never waits for us.
    while let Ok(count @ 1..) = pipe.read(&mut block).await {
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(block.get(..count.min(room)).unwrap_or_default());
    }
    kept
}

/// A text fit for a log: no control characters, nothing that looks like a key or a token, at most `limit` bytes.
pub fn masked(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut in_key = false;
    for line in text.lines() {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
            in_key = true;
            shown.push_str("…\n");
        }
        if !in_key {
            mask_words(line, &mut shown);
            shown.push('\n');
        }
        if line.contains("-----END") {
            in_key = false;
        }
        if shown.len() > limit {
            break;
        }
    }
    let mut end = shown.len().min(limit);
    while !shown.is_char_boundary(end) {
        end -= 1;
    }
    shown.truncate(end);
    shown.truncate(shown.trim_end().len());
    shown
}

/// Words of 20 or more letters of base64 with a digit or both cases among them are taken for secrets. Names of hosts and
/// files have dots and slashes, and stay.
fn mask_words(line: &str, shown: &mut String) {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '=');
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = rest.find(|c: char| !is_letter(c)).unwrap_or(rest.len());
        if length == 0 {
            shown.push(if first.is_control() { ' ' } else { first });
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (run, after) = rest.split_at(length);
        // What follows `key=` is judged alone, so that the name stays readable.
        for (at, word) in run.split('=').enumerate() {
            if at > 0 {
                shown.push('=');
            }
            shown.push_str(if looks_secret(word) { "…" } else { word });
        }
        rest = after;
    }
}

fn looks_secret(word: &str) -> bool {
    let has = |test: fn(&u8) -> bool| word.as_bytes().iter().any(test);
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    word.len() >= 20 && (has(u8::is_ascii_digit) || is_mixed)
}

#[cfg(test)]
mod tests;
