//! Completions and manual pages, made from the one definition of the command line, so that they cannot say anything else.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, ValueEnum};

use super::complain;

/// The day on which the commands last changed.
const CHANGED: &str = "2026-11-23";

/// Shells that completions are made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Shell {
    /// GNU bash
    Bash,
    /// Z shell
    Zsh,
    /// the friendly interactive shell
    Fish,
}

/// Prints the completions of a shell.
pub(super) fn completions(shell: Shell, command: &mut Command) -> ExitCode {
    let mut text = Vec::new();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, command, "doorward", &mut text);
    print(&text)
}

/// Writes a page for the program and one for each command (`doorward-check.1`) into a folder, or the first to standard output.
pub(super) fn man(folder: Option<&Path>, mut command: Command) -> ExitCode {
    command.build();
    let Some(folder) = folder else {
        return match page(&command, "doorward") {
            Ok(text) => print(text.as_bytes()),
            Err(cause) => failed("the manual", &cause),
        };
    };
    let written = fs::create_dir_all(folder).and_then(|()| write_pages(&command, "doorward", folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => failed(&folder.display().to_string(), &cause),
    }
}

fn write_pages(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    fs::write(folder.join(format!("{name}.1")), page(command, name)?)?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write_pages(command, &format!("{name}-{}", command.get_name()), folder))
}

/// One page, as mandoc and man want it: with a date, and without blank lines that stand side by side.
fn page(command: &Command, name: &str) -> io::Result<String> {
    let source = format!("doorward {}", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .date(CHANGED)
        .source(source)
        .manual("Doorward");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH EXTRA\n", "\n.SH NOTES\n");
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        // A blank line between two breaks is a paragraph.
        match lines.as_slice() {
            [.., ".br", ""] if line == ".br" => {
                lines.truncate(lines.len() - 2);
                lines.push(".sp");
            }
            _ => lines.push(line),
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn print(text: &[u8]) -> ExitCode {
    // A reader that left early is not a fault.
    let _ = io::stdout().lock().write_all(text);
    ExitCode::SUCCESS
}

fn failed(what: &str, cause: &io::Error) -> ExitCode {
    complain(format_args!("{what}: cannot be written: {cause}"));
    ExitCode::FAILURE
}
