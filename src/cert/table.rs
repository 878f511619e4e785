//! Which certificate answers a TLS name. Built once per snapshot, asked in every handshake: no lock, no allocation.
//! Refuses to say no: a client without a name, or with one nobody covers, gets the default certificate.

use std::collections::HashMap;
use std::sync::Arc;

use super::Certificate;
use super::names::parent;
use crate::model::{HostName, HostPattern};

/// All certificates of a snapshot, by name.
#[derive(Clone, Debug, Default)]
pub struct CertTable {
    all: Vec<Arc<Certificate>>,
    given: Index,
    minted: Index,
    /// What somebody asked for by name, before everything else that covers.
    asked: Index,
    default: Option<Arc<Certificate>>,
}

/// Exact names, and parents of wildcards.
#[derive(Clone, Debug, Default)]
struct Index {
    exact: HashMap<Arc<str>, Arc<Certificate>>,
    wildcard: HashMap<Arc<str>, Arc<Certificate>>,
}

impl CertTable {
    /// Orders certificates (as they stand in the file, local ones anywhere) by name: an exact name before a wildcard, then
    /// the one that is valid longer, then the earlier. What the local CA minted serves only where nothing else covers.
    /// The default is the one that covers `domain` or `*.domain`, else the first of the file, else the first minted one.
    pub fn build(certificates: Vec<Arc<Certificate>>, domain: Option<&HostName>) -> CertTable {
        let mut table = CertTable { all: certificates, ..CertTable::default() };
        for certificate in &table.all {
            let index = if certificate.is_local() { &mut table.minted } else { &mut table.given };
            index.add(certificate);
        }
        table.default = domain.and_then(|domain| table.given.covering_domain(domain.as_str()).cloned());
        if table.default.is_none() {
            table.default = table.all.iter().find(|certificate| !certificate.is_local()).cloned();
        }
        if table.default.is_none() {
            table.default = domain.and_then(|domain| table.minted.covering_domain(domain.as_str()).cloned());
        }
        if table.default.is_none() {
            table.default = table.all.first().cloned();
        }
        table
    }

    /// Shows for each of these names the given certificate of that id that was asked for, in place of what was asked before.
    /// Only one that covers its name: which of them do not is the answer.
    pub fn ask_for<'a>(&mut self, wishes: impl Iterator<Item = (&'a HostPattern, &'a str)>) -> Vec<&'a HostPattern> {
        self.asked = Index::default();
        let mut uncovered = Vec::new();
        for (host, id) in wishes {
            let (name, below) = match host {
                HostPattern::Exact(name) => (name.as_str().to_owned(), None),
                HostPattern::Wildcard(base) => (format!("any.{base}"), Some(base)),
                HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => continue,
            };
            let covers = |one: &&Arc<Certificate>| !one.is_local() && *one.id == *id && one.covers(&name);
            match (self.all.iter().find(covers), below) {
                (None, _) => uncovered.push(host),
                (Some(found), None) => drop(self.asked.exact.insert(name.into(), Arc::clone(found))),
                (Some(found), Some(base)) => drop(self.asked.wildcard.insert(base.as_str().into(), Arc::clone(found))),
            }
        }
        uncovered
    }

    /// The certificate for a TLS name (any case, a trailing dot allowed). `None` only if there is no certificate at all.
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Certificate>> {
        let covering = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name);
            if !name.bytes().any(|b| b.is_ascii_uppercase()) {
                return self.covering(name);
            }
            // No DNS name is longer (RFC 1035 §2.3.4), so a longer one is nobody's.
            let mut buffer = [0_u8; 253];
            let lower = buffer.get_mut(..name.len())?;
            lower.copy_from_slice(name.as_bytes());
            lower.make_ascii_lowercase();
            self.covering(std::str::from_utf8(lower).ok()?)
        });
        covering.or(self.default.as_ref())
    }

    /// The certificate that covers a host (lower case, no trailing dot), without falling back to the default.
    pub fn covering(&self, host: &str) -> Option<&Arc<Certificate>> {
        // What is asked for below a name says nothing of a name of its own.
        let exact = self.asked.exact.get(host).or_else(|| self.given.exact.get(host));
        let below = || self.asked.wildcard.get(parent(host)?);
        exact.or_else(below).or_else(|| self.given.covering(host)).or_else(|| self.minted.covering(host))
    }

    /// The certificate for clients that name nobody we know.
    pub fn default_certificate(&self) -> Option<&Arc<Certificate>> {
        self.default.as_ref()
    }

    /// Every certificate, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.all.iter()
    }
}

impl Index {
    fn add(&mut self, certificate: &Arc<Certificate>) {
        for name in certificate.names.exact() {
            prefer(&mut self.exact, name, certificate);
        }
        for parent in certificate.names.wildcard_parents() {
            prefer(&mut self.wildcard, parent, certificate);
        }
    }

    fn covering(&self, host: &str) -> Option<&Arc<Certificate>> {
        self.exact.get(host).or_else(|| self.wildcard.get(parent(host)?))
    }

    fn covering_domain(&self, domain: &str) -> Option<&Arc<Certificate>> {
        self.covering(domain).or_else(|| self.wildcard.get(domain))
    }
}

fn prefer(index: &mut HashMap<Arc<str>, Arc<Certificate>>, name: &Arc<str>, certificate: &Arc<Certificate>) {
    match index.get(name) {
        Some(known) if known.not_after() >= certificate.not_after() => {}
        _ => drop(index.insert(name.clone(), certificate.clone())),
    }
}

#[cfg(test)]
mod tests;
