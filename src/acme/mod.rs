//! Certificates ordered from a CA: issued, renewed, kept, handed on. How a name is proven, when to do it again, and what is
//! remembered of the last try.
//! Refuses to serve anything: a new pair is stored and announced, and the one writer of snapshots puts it in force.

mod account;
mod command;
mod delegation;
pub mod dns;
mod export;
mod http;
mod import;
mod keeper;
mod look;
mod order;
mod pair;
mod placeless;
pub mod propagation;
mod report;
mod schedule;
mod secret;
mod state;
mod wanted;
mod wire;
mod worker;

use std::path::Path;

use crate::config::{AcmeSpec, ChallengeSpec};

pub use command::{Ended, PROGRAM_LIMIT, Ran, masked, run_program};
pub use import::{ImportReport, import_acme_sh};
pub use report::{CertReport, CertReports, report};
pub use schedule::{Due, Facts, Lifetime, Trouble, Unfit, Waits, Why, Window, due};
pub use secret::{SecretError, read_secret};
pub use state::CertFolder;
pub use wanted::{Source, Wanted};
pub use worker::{CertificateWorker, Stored};

/// What the DNS credentials of an order may do too much or too little, in words; or why that cannot be found out. `None`: it
/// has none. Asks the provider, changes nothing.
pub async fn check_credentials(order: &AcmeSpec, state: &Path) -> Option<Result<Vec<String>, String>> {
    let ChallengeSpec::Dns(dns) = &order.challenge else { return None };
    let names: Vec<String> =
        wanted::names_of(order).iter().map(|name| name.trim_start_matches("*.").to_owned()).collect();
    let rights = match dns::provider(dns, state) {
        Ok(provider) => provider.check_rights(&names).await,
        Err(error) => Err(error),
    };
    Some(rights.map(|rights| rights.remarks()).map_err(|error| in_words(&error)))
}

/// An error with its causes, in one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        cause = error.source();
    }
    said
}

/// What somebody else said, fit for a log: one line, at most `limit` characters.
fn printable(text: &str, limit: usize) -> String {
    text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
