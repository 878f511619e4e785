//! Whoever keeps a zone: TXT records set there and taken away again, one value at a time.
//! Refuses to replace what others wrote, and to ask this network's own resolver which zone a name belongs to: at home it
//! often answers for the zone itself.

mod api;
mod cloudflare;
mod error;
mod exec;
mod rfc2136;
mod tail;
mod tsig;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

pub use error::{DnsError, DnsStep};

use crate::config::DnsSpec;
use crate::model::HostName;

/// A future that may be sent to another thread, boxed so that providers can stand behind one type.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Somebody who keeps zones and changes them on request.
///
/// Names are without trailing dot. Every call is bounded in time and size; secrets are read at each call.
pub trait DnsProvider: Send + Sync {
    /// Adds one TXT value to a name; other values there stay. A value that is there already is a success.
    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>>;

    /// Takes exactly this TXT value away; other values there stay. A value that is not there is a success.
    fn clear_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>>;

    /// Whether the zones of these names (without `_acme-challenge.`) can be changed, and how much else could be.
    fn check_rights<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Rights, DnsError>>;

    /// Who answers for the zone of a name, as the provider itself says; `None` if it does not say.
    fn zone_servers<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<ZoneServers>, DnsError>>;
}

/// What the given credentials may do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rights {
    /// The zones that the names need, as far as they were found.
    pub needed: Vec<String>,
    /// Names whose zone cannot be changed, with the reason in words.
    pub refused: Vec<(String, String)>,
    /// How many zones the credentials can change in all; `None` if the provider does not tell.
    pub editable: Option<usize>,
}

impl Rights {
    /// What a person should know, one sentence each; nothing if the rights are just right.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> =
            self.refused.iter().map(|(name, why)| format!("cannot edit the zone of {name}: {why}")).collect();
        if let Some(editable) = self.editable.filter(|&editable| editable > self.needed.len().max(1)) {
            let enough = match self.needed.len() {
                0 | 1 => "one".to_owned(),
                count => count.to_string(),
            };
            remarks.push(format!("can edit {editable} zones; {enough} would do"));
        }
        remarks
    }

    /// Whether every name can be proven.
    pub fn suffice(&self) -> bool {
        self.refused.is_empty()
    }
}

/// A zone and the servers that answer for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ZoneServers {
    /// The zone, without trailing dot.
    pub zone: String,
    /// `host` or `host:port`; names are looked up, port 53 unless written.
    pub servers: Vec<String>,
}

/// The provider that a `dns` of the file names. `state`: folder in which commands run.
/// Fails if the provider is not known or lacks a key; secrets are not read yet.
pub fn provider(spec: &DnsSpec, state: &Path) -> Result<Box<dyn DnsProvider>, DnsError> {
    match spec.provider.value.as_str() {
        "cloudflare" => Ok(Box::new(cloudflare::Cloudflare::new(spec)?)),
        "rfc2136" => Ok(Box::new(rfc2136::Rfc2136::new(spec)?)),
        "exec" => Ok(Box::new(exec::Exec::new(spec, state)?)),
        other => match tail::Tail::new(spec) {
            Some(made) => Ok(Box::new(made?)),
            None => Err(DnsError::new(DnsStep::Setup, other, "not known")),
        },
    }
}

/// The label that proofs stand under (RFC 8555 §8.4).
const LABEL: &str = "_acme-challenge.";

/// The zones that a name may belong to, longest first: the given one alone, else the name and everything above it.
/// Never asks anybody.
fn candidates<'a>(name: &'a str, zone: Option<&'a str>) -> Result<Vec<&'a str>, DnsError> {
    let wrong = |said: String| DnsError::new(DnsStep::FindZone, name, said);
    HostName::parse(name).map_err(|fault| wrong(format!("not a name: {fault}")))?;
    if let Some(zone) = zone {
        let inside = name.strip_suffix(zone).is_some_and(|head| head.is_empty() || head.ends_with('.'));
        return if inside { Ok(vec![zone]) } else { Err(wrong(format!("it is not in the zone {zone} of the file"))) };
    }
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    Ok(starts.map(|at| &name[at..]).collect())
}
