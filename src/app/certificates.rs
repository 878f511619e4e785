//! `doorward cert` without a running Doorward: what is stored, and what is taken over from acme.sh.

use std::path::Path;

use super::check::factory;
use crate::acme::{self, CertReports, ImportReport};
use crate::config::{self, Faults};

/// What is known of every certificate of a file, from the state folder alone.
pub fn certificates(path: &Path, state: &Path) -> Result<CertReports, Faults> {
    let checked = config::load(path)?;
    Ok(acme::report(&checked.config, state, &factory(path)?))
}

/// Takes certificates and accounts over from acme.sh's folder, for every order of a file.
pub fn import_acme_sh(path: &Path, home: &Path, state: &Path) -> Result<ImportReport, Faults> {
    let checked = config::load(path)?;
    Ok(acme::import_acme_sh(&checked.config, home, state, &factory(path)?))
}
