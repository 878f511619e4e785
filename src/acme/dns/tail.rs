//! The long tail of DNS providers, spoken by a library. Their credentials stand in `token_file`: the token alone where one
//! is enough, else one `entry = value` per line.
//! Refuses entries that a provider does not know, so that a misspelt one is not missed silently.

mod kinds;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use tokio::time::timeout;

use self::kinds::{KINDS, Kind, TOKEN};
use super::{BoxFuture, DnsError, DnsProvider, DnsStep, LABEL, Rights, ZoneServers, candidates};
use crate::acme::{masked, read_secret};
use crate::config::DnsSpec;
use crate::model::Secret;

/// How long one change may take, all its requests together. Seconds.
const CHANGE: Duration = Duration::from_secs(60);

/// Time to live of a proof, in seconds: some providers allow no less.
const TTL: u32 = 300;

/// The most that is shown of what a provider said, in bytes.
const SAID: usize = 400;

/// One of them.
pub(super) struct Tail {
    kind: &'static Kind,
    token_file: PathBuf,
    api: Option<String>,
    zone: Option<String>,
    /// Zones that took a change, by the name that it was for.
    found: Mutex<HashMap<String, String>>,
}

/// What is asked of a provider.
#[derive(Clone, Copy)]
enum Change {
    Add,
    Remove,
    Look,
}

/// A provider, and the texts that must not appear in what it says.
struct Ready {
    updater: DnsUpdater,
    secrets: Vec<Secret>,
}

impl Tail {
    /// From the file; `None` if the provider is not one of these. Fails without `token_file`.
    pub(super) fn new(spec: &DnsSpec) -> Option<Result<Tail, DnsError>> {
        let name = spec.provider.value.as_str();
        let kind = KINDS.iter().find(|kind| kind.name == name)?;
        let Some(token_file) = &spec.token_file else {
            let said = format!("it needs `token_file`, with {}", entries_in_words(kind));
            return Some(Err(DnsError::new(DnsStep::Setup, name, said)));
        };
        let takes_api = kind.entries.iter().any(|entry| entry.trim_end_matches('?') == "api");
        if spec.api.is_some() && !takes_api {
            let said = "the address of its API is fixed; leave `api` out";
            return Some(Err(DnsError::new(DnsStep::Setup, name, said)));
        }
        Some(Ok(Tail {
            kind,
            token_file: token_file.value.clone(),
            api: spec.api.as_ref().map(|api| api.value.clone()),
            zone: spec.zone.as_ref().map(|zone| zone.value.to_string()),
            found: Mutex::default(),
        }))
    }

    fn ready(&self) -> Result<Ready, DnsError> {
        let text = read_secret(&self.token_file)?;
        let fault = |said: String| DnsError::new(DnsStep::Secret, self.token_file.display().to_string(), said);
        let mut given = entries(self.kind, &text).map_err(fault)?;
        if let Some(api) = &self.api {
            given.entry("api".to_owned()).or_insert_with(|| Secret::new(api.clone()));
        }
        if let Some(zone) = &self.zone {
            given.entry("zone".to_owned()).or_insert_with(|| Secret::new(zone.clone()));
        }
        let mut secrets = Vec::new();
        for entry in self.kind.entries {
            let name = entry.trim_start_matches('<').trim_end_matches('?');
            let value = match given.remove(name) {
                Some(path) if entry.starts_with('<') => read_secret(&beside(&self.token_file, path.reveal()))?,
                Some(value) => value,
                None if entry.ends_with('?') => Secret::new(String::new()),
                None if matches!(name, "api" | "zone") => {
                    return Err(DnsError::new(DnsStep::Setup, self.kind.name, format!("it needs `{name} = \"…\"`")));
                }
                None => {
                    return Err(fault(format!(
                        "`{name}` is missing; {} needs {}",
                        self.kind.name,
                        entries_in_words(self.kind)
                    )));
                }
            };
            secrets.push(value);
        }
        let texts: Vec<&str> = secrets.iter().map(Secret::reveal).collect();
        match (self.kind.make)(&texts) {
            Ok(updater) => Ok(Ready { updater, secrets }),
            Err(wrong) => Err(fault(clean(&wrong.to_string(), &secrets))),
        }
    }

    /// Makes a change in the zone of a name. Which zone that is, the provider knows: the longest that takes the change.
    async fn change(&self, change: Change, name: &str, value: &str) -> Result<String, DnsError> {
        let step = match change {
            Change::Add => DnsStep::Add,
            Change::Remove => DnsStep::Remove,
            Change::Look => DnsStep::Rights,
        };
        let known = self.found.lock().ok().and_then(|found| found.get(name).cloned());
        let zones = match &known {
            Some(zone) => vec![zone.as_str()],
            None => candidates(name, self.zone.as_deref())?,
        };
        let fits = |zone: &&str| self.zone.is_some() || (zone.contains('.') && !zone.starts_with(LABEL));
        let ready = self.ready()?;
        let mut done = None;
        let mut fault = None;
        for zone in zones.into_iter().filter(fits) {
            match self.change_in(&ready, change, name, value, zone).await {
                Ok(()) => {
                    done.get_or_insert_with(|| zone.to_owned());
                    // Nothing to take away from a zone that does not exist may count as success: go through them all.
                    if known.is_some() || !matches!(change, Change::Remove) {
                        break;
                    }
                }
                Err(wrong) => {
                    let is_final = matches!(wrong, Failed::Denied(_));
                    // The last one is about the registered domain, which is the zone more often than not.
                    fault = Some(wrong.told(step, name, zone));
                    if is_final {
                        break;
                    }
                }
            }
        }
        match (done, fault) {
            (Some(zone), _) => {
                if let (Change::Add, Ok(mut found)) = (change, self.found.lock()) {
                    found.insert(name.to_owned(), zone.clone());
                }
                Ok(zone)
            }
            (None, Some(fault)) => Err(fault),
            (None, None) => {
                Err(DnsError::new(DnsStep::FindZone, name, "no zone can have this name; write `zone = \"…\"`"))
            }
        }
    }

    async fn change_in(
        &self,
        ready: &Ready,
        change: Change,
        name: &str,
        value: &str,
        zone: &str,
    ) -> Result<(), Failed> {
        let updater = &ready.updater;
        let kind = DnsRecordType::TXT;
        let record = vec![DnsRecord::TXT(value.to_owned())];
        let asked = async {
            match change {
                Change::Add => updater.add_to_rrset(name, kind, TTL, record, zone).await,
                Change::Remove => updater.remove_from_rrset(name, kind, record, zone).await,
                Change::Look => match updater.list_rrset(name, kind, zone).await {
                    // It cannot be asked without a change: then nothing speaks against it.
                    Ok(_) | Err(Error::Unsupported(_)) => Ok(()),
                    Err(wrong) => Err(wrong),
                },
            }
        };
        match timeout(CHANGE, asked).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(wrong)) => Err(Failed::from(&wrong, &ready.secrets)),
            Err(_) => Err(Failed::Passing(format!("no answer within {} s", CHANGE.as_secs()))),
        }
    }

    async fn rights(&self, names: &[String]) -> Result<Rights, DnsError> {
        let mut rights = Rights::default();
        for name in names {
            match self.change(Change::Look, &format!("{LABEL}{name}"), "").await {
                Ok(zone) if !rights.needed.contains(&zone) => rights.needed.push(zone),
                Ok(_) => {}
                Err(fault) if fault.is_passing || matches!(fault.step, DnsStep::Secret | DnsStep::Setup) => {
                    return Err(fault);
                }
                Err(fault) => rights.refused.push((name.clone(), fault.said)),
            }
        }
        Ok(rights)
    }
}

/// How a change failed in one zone.
enum Failed {
    /// The credentials are not accepted: no other zone will do either.
    Denied(String),
    /// Not here; perhaps in another zone.
    Refused(String),
    /// Nobody knows.
    Passing(String),
}

impl Failed {
    fn from(wrong: &Error, secrets: &[Secret]) -> Failed {
        let said = clean(&wrong.to_string(), secrets);
        let is_passing = ["HTTP 5", "HTTP 429", "Failed to send", "timed out"].iter().any(|sign| said.contains(sign));
        match wrong {
            Error::Unauthorized => Failed::Denied("the credentials are not accepted".to_owned()),
            _ if said.contains("HTTP 403") => Failed::Refused(format!("cannot edit this zone: {said}")),
            _ if is_passing => Failed::Passing(said),
            _ => Failed::Refused(said),
        }
    }

    fn told(self, step: DnsStep, name: &str, zone: &str) -> DnsError {
        match self {
            Failed::Denied(said) | Failed::Refused(said) => DnsError::new(step, name, format!("{said} (zone {zone})")),
            Failed::Passing(said) => DnsError::passing(step, name, format!("{said} (zone {zone})")),
        }
    }
}

impl DnsProvider for Tail {
    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(async move { self.change(Change::Add, name, value).await.map(drop) })
    }

    fn clear_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(async move { self.change(Change::Remove, name, value).await.map(drop) })
    }

    fn check_rights<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Rights, DnsError>> {
        Box::pin(self.rights(names))
    }

    fn zone_servers<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Option<ZoneServers>, DnsError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// Reads `entry = value` lines, `#` before a comment; or the bare token of a provider that needs nothing else.
fn entries(kind: &Kind, text: &Secret) -> Result<HashMap<String, Secret>, String> {
    let known =
        |name: &str| kind.entries.iter().any(|entry| entry.trim_start_matches('<').trim_end_matches('?') == name);
    let lines: Vec<&str> =
        text.reveal().lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let split =
        |line: &str| line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
    let bare = |line: &str| split(line).is_none_or(|(name, _)| !known(&name));
    if let (true, &[line]) = (kind.entries == TOKEN, lines.as_slice())
        && bare(line)
    {
        return Ok([("token".to_owned(), Secret::new(line.to_owned()))].into());
    }
    let mut given = HashMap::new();
    for (at, line) in lines.into_iter().enumerate() {
        // The line itself may be a secret, and is never shown.
        let wrong =
            || format!("entry {} is none of those that {} knows: {}", at + 1, kind.name, entries_in_words(kind));
        let (name, value) = split(line).ok_or_else(wrong)?;
        if !known(&name) {
            return Err(wrong());
        }
        given.insert(name, Secret::new(value.trim_matches('"').to_owned()));
    }
    Ok(given)
}

fn entries_in_words(kind: &Kind) -> String {
    let words: Vec<String> = kind
        .entries
        .iter()
        .map(|entry| match entry.strip_suffix('?') {
            Some(name) => format!("`{} = …` (may be absent)", name.trim_start_matches('<')),
            None => format!("`{} = …`", entry.trim_start_matches('<')),
        })
        .collect();
    words.join(", ")
}

/// A path of the credentials, relative to the file that names it.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// What a provider said, without the secrets that it may have been given as part of an address.
fn clean(said: &str, secrets: &[Secret]) -> String {
    let long = secrets.iter().map(Secret::reveal).filter(|secret| secret.len() > 3);
    masked(&long.fold(said.to_owned(), |said, secret| said.replace(secret, "…")), SAID).replace('\n', " ")
}

#[cfg(test)]
mod tests;
