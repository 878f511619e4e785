//! The names in one certificate, and whether they cover a host (RFC 9525 §6.3).
//! Ignores what no client honours: the common name, `*` anywhere but as the whole left-most label.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{HostError, HostName};

/// Names of one certificate. Looking one up takes no allocation and a few comparisons.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Names {
    /// As a person reads them, in the certificate's order, `*.` kept.
    listed: Vec<Arc<str>>,
    /// Sorted names and addresses.
    exact: Vec<Arc<str>>,
    /// Sorted parents of wildcards, without `*.`.
    wildcard: Vec<Arc<str>>,
}

impl Names {
    /// Takes one DNS name as it stands in the certificate.
    pub(super) fn add_dns(&mut self, text: &str) -> Result<(), HostError> {
        match text.strip_prefix("*.") {
            Some(parent) => {
                let parent = HostName::parse(parent)?;
                // `*.8.1` would cover 192.168.8.1 to a reader of text, and no DNS name ends in a number.
                if is_numeric(parent.as_str()) {
                    return Err(HostError::Label);
                }
                self.list(format!("*.{parent}").into());
                insert(&mut self.wildcard, parent.shared());
            }
            None => {
                let name = HostName::parse(text)?;
                if is_numeric(name.as_str()) {
                    return Err(HostError::Label);
                }
                self.list(name.shared());
                insert(&mut self.exact, name.shared());
            }
        }
        Ok(())
    }

    /// Takes one address, written as a Host header has it.
    pub(super) fn add_address(&mut self, address: IpAddr) {
        let text: Arc<str> = match address {
            IpAddr::V4(v4) => v4.to_string().into(),
            IpAddr::V6(v6) => format!("[{v6}]").into(),
        };
        self.list(text.clone());
        insert(&mut self.exact, text);
    }

    pub(super) fn covers(&self, host: &str) -> bool {
        self.covers_exactly(host)
            || parent(host).is_some_and(|parent| self.wildcard.binary_search_by(|n| (**n).cmp(parent)).is_ok())
    }

    pub(super) fn covers_exactly(&self, host: &str) -> bool {
        self.exact.binary_search_by(|name| (**name).cmp(host)).is_ok()
    }

    /// Whether the certificate has this very name, `*.` included.
    pub(super) fn lists(&self, name: &str) -> bool {
        match name.strip_prefix("*.") {
            Some(parent) => self.wildcard.binary_search_by(|n| (**n).cmp(parent)).is_ok(),
            None => self.covers_exactly(name),
        }
    }

    pub(super) fn listed(&self) -> &[Arc<str>] {
        &self.listed
    }

    pub(super) fn exact(&self) -> &[Arc<str>] {
        &self.exact
    }

    pub(super) fn wildcard_parents(&self) -> &[Arc<str>] {
        &self.wildcard
    }

    fn list(&mut self, name: Arc<str>) {
        if !self.lists(&name) {
            self.listed.push(name);
        }
    }
}

/// What stands behind the first label: a wildcard stands for exactly one whole label.
pub(super) fn parent(host: &str) -> Option<&str> {
    host.split_once('.').filter(|(label, parent)| !label.is_empty() && !parent.is_empty()).map(|(_, parent)| parent)
}

/// Whether the last label is a number: then it is an address, or nothing.
pub(super) fn is_numeric(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

fn insert(sorted: &mut Vec<Arc<str>>, name: Arc<str>) {
    if let Err(at) = sorted.binary_search(&name) {
        sorted.insert(at, name);
    }
}

#[cfg(test)]
mod tests;
