//! What can go wrong with a DNS provider: at which step, about what, and what it said.

use std::fmt;
use std::time::Duration;

use crate::acme::SecretError;

/// What was being done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DnsStep {
    /// The provider was made ready.
    Setup,
    /// Its secret was read.
    Secret,
    /// The zone of a name was looked for.
    FindZone,
    /// A value was added.
    Add,
    /// A value was taken away.
    Remove,
    /// The rights were checked.
    Rights,
}

impl DnsStep {
    /// A short word for a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            DnsStep::Setup => "dns-setup",
            DnsStep::Secret => "dns-secret",
            DnsStep::FindZone => "dns-find-zone",
            DnsStep::Add => "dns-add",
            DnsStep::Remove => "dns-remove",
            DnsStep::Rights => "dns-rights",
        }
    }
}

impl fmt::Display for DnsStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DnsStep::Setup => "DNS provider",
            DnsStep::Secret => "reading the DNS secret",
            DnsStep::FindZone => "finding the DNS zone",
            DnsStep::Add => "adding the TXT record",
            DnsStep::Remove => "removing the TXT record",
            DnsStep::Rights => "checking the DNS rights",
        })
    }
}

/// A step at a DNS provider that failed. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{step}, {subject}: {said}")]
pub struct DnsError {
    /// What was being done.
    pub step: DnsStep,
    /// The zone, name, file or provider that it was about.
    pub subject: String,
    /// What the other side said, in words.
    pub said: String,
    /// Whether the same call may well succeed a little later, with nothing mended here.
    pub is_passing: bool,
    /// How long the other side asked to wait, if it did.
    pub retry_after: Option<Duration>,
}

impl DnsError {
    /// A fault that stays until somebody mends something.
    pub fn new(step: DnsStep, subject: impl Into<String>, said: impl Into<String>) -> DnsError {
        DnsError { step, subject: subject.into(), said: said.into(), is_passing: false, retry_after: None }
    }

    /// A fault of the moment: no connection, a server's own trouble.
    pub fn passing(step: DnsStep, subject: impl Into<String>, said: impl Into<String>) -> DnsError {
        DnsError { is_passing: true, ..DnsError::new(step, subject, said) }
    }
}

impl From<SecretError> for DnsError {
    fn from(fault: SecretError) -> DnsError {
        let said = fault.to_string();
        let (path, said) = said.split_once(": ").unwrap_or(("the file", &said));
        DnsError::new(DnsStep::Secret, path, said)
    }
}
