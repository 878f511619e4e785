//! `doorward import`: what another proxy serves, as a routes.toml on standard output. Writes no file; what a person should
//! know beside it goes to standard error, so that `>` keeps the two apart.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::screen::Screen;
use super::{ImportOrder, ImportWords, NOTHING_THERE, complain, show_faults};
use crate::config;
use crate::import::{self, ImportError, Imported};

pub(super) fn import(words: ImportWords, screen: &mut Screen) -> ExitCode {
    let made = match words.from {
        ImportOrder::Npm { path } => import::import_npm(&path),
        ImportOrder::Docker { paths } => docker(&paths),
        ImportOrder::AcmeSh { path } => return acme_sh(&path, screen),
    };
    match made {
        Ok(imported) => show(&imported, screen),
        Err(error) => nothing(&error),
    }
}

/// What `docker inspect` printed, in one file or several.
fn docker(paths: &[PathBuf]) -> Result<Imported, ImportError> {
    let read = |path: &PathBuf| match super::docker::read(path) {
        Ok(text) => Ok((path.clone(), text)),
        Err(cause) => Err(ImportError::Unreadable { path: path.clone(), cause }),
    };
    let texts = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<(&Path, Vec<u8>)> = texts.iter().map(|(path, text)| (path.as_path(), text.clone())).collect();
    import::import_docker(&texts)
}

fn nothing(error: &ImportError) -> ExitCode {
    complain(error);
    ExitCode::from(NOTHING_THERE)
}

/// Tables to be put into a file: no file by themselves.
fn acme_sh(path: &Path, screen: &mut Screen) -> ExitCode {
    match import::import_acme_sh(path) {
        Ok(imported) => {
            screen.line(imported.file.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => nothing(&error),
    }
}

fn show(imported: &Imported, screen: &mut Screen) -> ExitCode {
    screen.line(imported.file.trim_end());
    let Imported { routes, closed, left, .. } = imported;
    let counted = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    complain(format_args!(
        "{}, {closed} closed because of something that protected them; {} at the end",
        counted(*routes, "route"),
        counted(*left, "remark")
    ));
    // A file that would be refused is a fault of this program, or of a source that no program could have made.
    match config::parse(Path::new("routes.toml"), &imported.file) {
        Ok(_) => ExitCode::SUCCESS,
        Err(faults) => {
            show_faults(&faults);
            complain("the file has faults; it has to be corrected by hand before it can be used");
            ExitCode::FAILURE
        }
    }
}
