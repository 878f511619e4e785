//! `doorward check`: everything that can be known of a file without serving it, all at once.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::load::{Workshop, missing_files};
use crate::cert::{SystemRoots, TlsFactory};
use crate::config::{Diagnostic, Faults, Source, Span};
use crate::telemetry::Metrics;

/// What is wrong with a file, and what it holds if nothing is.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// Every fault; with one, the file is refused.
    pub faults: Vec<Diagnostic>,
    /// Worth knowing, not refused.
    pub warnings: Vec<Diagnostic>,
    /// Routes, doors and expectations of a good file.
    pub summary: Option<Summary>,
}

/// What a good file holds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// `[routes]`.
    pub routes: usize,
    /// `[listen.*]`.
    pub doors: usize,
    /// `[[expect]]`, all kept.
    pub expectations: usize,
}

/// Checks a file: form, references, expectations, certificate coverage. Needs no network, no secret, no root, and writes
/// nothing.
pub fn check(path: &Path) -> CheckReport {
    match prepare(path) {
        Ok(prepared) => {
            let super::load::Prepared { config, source, mut warnings, .. } = prepared;
            warnings.extend(missing_files(&config, &source));
            let summary =
                Summary { routes: config.routes.len(), doors: config.doors.len(), expectations: config.expects.len() };
            CheckReport { faults: Vec::new(), warnings, summary: Some(summary) }
        }
        Err(Faults { faults, warnings }) => CheckReport { faults, warnings, summary: None },
    }
}

/// Makes a snapshot of a file without a state folder.
pub fn prepare(path: &Path) -> Result<super::load::Prepared, Faults> {
    workshop(path)?.prepare(None, None)
}

/// What makes a snapshot of a file and writes nothing.
pub fn workshop(path: &Path) -> Result<Workshop, Faults> {
    Ok(Workshop {
        path: path.to_owned(),
        state: None,
        overlay: None,
        factory: factory(path)?.into(),
        roots: SystemRoots::load().into(),
        metrics: Metrics::new(1),
        first_generation: 1,
    })
}

/// A factory for certificates that are only looked at.
pub fn factory(path: &Path) -> Result<TlsFactory, Faults> {
    TlsFactory::new().map_err(|error| {
        let help = "the cryptography library does not work on this machine";
        let fault = Source::new(path, "").fault(Span::default(), error.to_string(), "", help);
        Faults { faults: vec![fault], warnings: Vec::new() }
    })
}

impl CheckReport {
    /// Whether the file would be accepted.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.warnings.iter().chain(&self.faults) {
            writeln!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}
