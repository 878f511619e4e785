//! Completions and manual pages, made from the one definition of the command line, so that they cannot say anything else.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Command, ValueEnum};

use super::complain;

/// Shells that completions are made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
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
pub(super) fn man(folder: Option<&Path>, command: Command) -> ExitCode {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        return match clap_mangen::Man::new(command).render(&mut text) {
            Ok(()) => print(&text),
            Err(cause) => failed("the manual", &cause),
        };
    };
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => failed(&folder.display().to_string(), &cause),
    }
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
