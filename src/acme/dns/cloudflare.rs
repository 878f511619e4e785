//! Cloudflare's API, version 4. Needs a token with Zone:Zone:Read and Zone:DNS:Edit on the zone, nothing more.
//! Refuses global API keys: they can do everything, and a token cannot.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::api::{Api, Reply};
use super::{BoxFuture, DnsError, DnsProvider, DnsStep, LABEL, Rights, ZoneServers, candidates};
use crate::acme::read_secret;
use crate::config::DnsSpec;

/// Where the API is, unless `api` says otherwise.
const HOME: &str = "https://api.cloudflare.com/client/v4";

/// The path below a bare `api = "https://host"` where the API usually is.
const USUAL_PREFIX: &str = "/client/v4";

/// Time to live of a proof, in seconds: the shortest that every plan allows.
const TTL: u32 = 60;

/// How long a short `Retry-After` may be for the call to be made once more here; a longer one is left to the caller.
const PATIENCE: Duration = Duration::from_secs(5);

/// Error numbers: the record exists already (two generations of the same answer), and the record is gone.
const EXISTS: [i64; 2] = [81057, 81058];
const GONE: i64 = 81044;

/// A zone as the API knows it.
#[derive(Clone, Debug)]
struct Zone {
    id: String,
    name: String,
    servers: Vec<String>,
    is_editable: bool,
}

/// A Cloudflare account, as far as the token sees it.
pub(super) struct Cloudflare {
    api: Api,
    token_file: PathBuf,
    zone: Option<String>,
    /// Set once a bare `api` has turned out to have the usual path.
    is_prefixed: AtomicBool,
    /// Zones found, by the name they were looked for.
    found: Mutex<HashMap<String, Zone>>,
}

impl Cloudflare {
    /// From the file; fails if `token_file` is missing or `api` is no URL.
    pub(super) fn new(spec: &DnsSpec) -> Result<Cloudflare, DnsError> {
        let fault = |said: String| DnsError::new(DnsStep::Setup, "cloudflare", said);
        let token_file = spec.token_file.as_ref().ok_or_else(|| fault("it needs `token_file`".to_owned()))?;
        let url = spec.api.as_ref().map_or(HOME, |api| &api.value);
        Ok(Cloudflare {
            api: Api::new(url).map_err(|wrong| fault(wrong.to_string()))?,
            token_file: token_file.value.clone(),
            zone: spec.zone.as_ref().map(|zone| zone.value.to_string()),
            is_prefixed: AtomicBool::new(false),
            found: Mutex::default(),
        })
    }

    /// One call, made a second time if the fault looks like one of the moment. Every call that is made here may be
    /// repeated: what it added is there, what it removed is gone.
    async fn call(&self, about: About<'_>, method: Method, path: &str, body: Option<&Value>) -> Outcome {
        let first = self.call_once(about, &method, path, body).await;
        match &first {
            Outcome::Failed { fault, .. } if fault.is_passing => {
                let wait = fault.retry_after.unwrap_or(Duration::from_millis(500));
                if wait > PATIENCE {
                    return first;
                }
                tokio::time::sleep(wait).await;
                self.call_once(about, &method, path, body).await
            }
            _ => first,
        }
    }

    async fn call_once(&self, about: About<'_>, method: &Method, path: &str, body: Option<&Value>) -> Outcome {
        let token = match read_secret(&self.token_file) {
            Ok(token) => token,
            Err(fault) => return Outcome::failed(fault.into()),
        };
        let mut prefix = if self.is_prefixed.load(Ordering::Relaxed) { USUAL_PREFIX } else { "" };
        loop {
            let reply = match self.api.call(method.clone(), &format!("{prefix}{path}"), &token, body).await {
                Ok(reply) => reply,
                Err(said) => return Outcome::failed(DnsError::passing(about.step, about.subject, said)),
            };
            // Not the API's way to say "not found": the address named its server only.
            if reply.status == StatusCode::NOT_FOUND && reply.json.get("success").is_none() {
                if prefix.is_empty() && self.api.is_bare() {
                    prefix = USUAL_PREFIX;
                    continue;
                }
            } else if !prefix.is_empty() {
                self.is_prefixed.store(true, Ordering::Relaxed);
            }
            return about.read(reply);
        }
    }

    /// The zone of a name: the one that the file names, else the longest that the token sees.
    async fn zone_of(&self, name: &str) -> Result<Zone, DnsError> {
        if let Some(known) = self.known(name) {
            return Ok(known);
        }
        let about = About { step: DnsStep::FindZone, subject: name };
        // No zone there is a top-level domain, and the label of a proof alone is none.
        let fits = |zone: &&str| self.zone.is_some() || (zone.contains('.') && !zone.starts_with(LABEL));
        for candidate in candidates(name, self.zone.as_deref())?.into_iter().filter(fits) {
            let answer = self.call(about, Method::GET, &format!("/zones?name={candidate}"), None).await.result()?;
            let zones = answer.get("result").and_then(Value::as_array).into_iter().flatten();
            if let Some(zone) = zones.filter_map(zone_from).find(|zone| zone.name.eq_ignore_ascii_case(candidate)) {
                if let Ok(mut found) = self.found.lock() {
                    found.insert(name.to_owned(), zone.clone());
                }
                return Ok(zone);
            }
        }
        let said = match &self.zone {
            Some(zone) => format!("the token sees no zone {zone}; it needs Zone:Zone:Read and Zone:DNS:Edit on it"),
            None => "cannot edit this zone: the token sees none that the name belongs to; it needs Zone:Zone:Read and \
                     Zone:DNS:Edit on it"
                .to_owned(),
        };
        Err(DnsError::new(DnsStep::FindZone, name, said))
    }

    fn known(&self, name: &str) -> Option<Zone> {
        self.found.lock().ok()?.get(name).cloned()
    }

    async fn add(&self, name: &str, value: &str) -> Result<(), DnsError> {
        let zone = self.zone_of(name).await?;
        let record = json!({ "type": "TXT", "name": name, "content": value, "ttl": TTL });
        let about = About { step: DnsStep::Add, subject: name };
        match self.call(about, Method::POST, &format!("/zones/{}/dns_records", zone.id), Some(&record)).await {
            Outcome::Failed { numbers, .. } if numbers.iter().any(|number| EXISTS.contains(number)) => Ok(()),
            other => other.result().map(drop).map_err(|fault| told_zone(fault, &zone)),
        }
    }

    async fn remove(&self, name: &str, value: &str) -> Result<(), DnsError> {
        let zone = self.zone_of(name).await?;
        let about = About { step: DnsStep::Remove, subject: name };
        let path = format!("/zones/{}/dns_records?type=TXT&name={name}&per_page=100", zone.id);
        let answer = self.call(about, Method::GET, &path, None).await.result();
        let answer = answer.map_err(|fault| told_zone(fault, &zone))?;
        for id in record_ids(&answer, name, value) {
            let path = format!("/zones/{}/dns_records/{id}", zone.id);
            match self.call(about, Method::DELETE, &path, None).await {
                Outcome::Failed { numbers, .. } if numbers.contains(&GONE) => {}
                other => other.result().map(drop).map_err(|fault| told_zone(fault, &zone))?,
            }
        }
        Ok(())
    }

    async fn rights(&self, names: &[String]) -> Result<Rights, DnsError> {
        let about = About { step: DnsStep::Rights, subject: "the token" };
        // Tokens that belong to an account, not to a user, are unknown here and work all the same.
        let verified = self.call(about, Method::GET, "/user/tokens/verify", None).await.result();
        let listed = match self.call(about, Method::GET, "/zones?per_page=50", None).await.result() {
            Ok(listed) => listed,
            Err(fault) => return Err(verified.err().filter(|first| !first.is_passing).unwrap_or(fault)),
        };
        let mut rights = Rights { editable: Some(count_editable(&listed)), ..Rights::default() };
        for name in names {
            match self.zone_of(name).await {
                Ok(zone) if !zone.is_editable => {
                    let why = format!("the token may not change {}; it needs Zone:DNS:Edit on it", zone.name);
                    rights.refused.push((name.clone(), why));
                }
                Ok(zone) if !rights.needed.contains(&zone.name) => rights.needed.push(zone.name),
                Ok(_) => {}
                Err(fault) if fault.is_passing => return Err(fault),
                Err(fault) => rights.refused.push((name.clone(), fault.said)),
            }
        }
        Ok(rights)
    }
}

impl DnsProvider for Cloudflare {
    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(self.add(name, value))
    }

    fn clear_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(self.remove(name, value))
    }

    fn check_rights<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Rights, DnsError>> {
        Box::pin(self.rights(names))
    }

    fn zone_servers<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<ZoneServers>, DnsError>> {
        Box::pin(async move {
            let zone = self.zone_of(name).await?;
            Ok((!zone.servers.is_empty()).then_some(ZoneServers { zone: zone.name, servers: zone.servers }))
        })
    }
}

/// What a call is about, for its error.
#[derive(Clone, Copy)]
struct About<'a> {
    step: DnsStep,
    subject: &'a str,
}

/// How a call ended.
enum Outcome {
    Done(Value),
    Failed { fault: DnsError, numbers: Vec<i64> },
}

impl Outcome {
    fn failed(fault: DnsError) -> Outcome {
        Outcome::Failed { fault, numbers: Vec::new() }
    }

    fn result(self) -> Result<Value, DnsError> {
        match self {
            Outcome::Done(value) => Ok(value),
            Outcome::Failed { fault, .. } => Err(fault),
        }
    }
}

impl About<'_> {
    fn read(self, reply: Reply) -> Outcome {
        let succeeded = reply.json.get("success").and_then(Value::as_bool);
        if reply.status.is_success() && succeeded == Some(true) {
            return Outcome::Done(reply.json);
        }
        let errors = errors_in(&reply.json);
        let is_passing = reply.status == StatusCode::TOO_MANY_REQUESTS || reply.status.is_server_error();
        let mut said = match (errors.is_empty(), succeeded) {
            (true, None) => format!("HTTP {}, and not in the words of Cloudflare's API", reply.status.as_u16()),
            (true, Some(_)) => format!("HTTP {}, without a reason", reply.status.as_u16()),
            (false, _) => {
                let words: Vec<String> =
                    errors.iter().map(|(number, message)| format!("{message} ({number})")).collect();
                format!("HTTP {}: {}", reply.status.as_u16(), words.join("; "))
            }
        };
        if reply.status == StatusCode::UNAUTHORIZED || reply.status == StatusCode::FORBIDDEN {
            said = format!("cannot edit this zone; the token is not accepted for it ({said})");
        }
        let fault = DnsError {
            step: self.step,
            subject: self.subject.to_owned(),
            said,
            is_passing,
            retry_after: reply.retry_after,
        };
        Outcome::Failed { fault, numbers: errors.into_iter().map(|(number, _)| number).collect() }
    }
}

/// Numbers and words of all errors, those in `error_chain` too. What the server says is shown, so it is cut and cleaned.
fn errors_in(answer: &Value) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for error in answer.get("errors").and_then(Value::as_array).into_iter().flatten().take(5) {
        let chain = error.get("error_chain").and_then(Value::as_array).into_iter().flatten().take(5);
        for part in std::iter::once(error).chain(chain) {
            let message = part.get("message").and_then(Value::as_str).unwrap_or("no message");
            let clean = message.chars().filter(|c| !c.is_control()).take(200).collect();
            found.push((part.get("code").and_then(Value::as_i64).unwrap_or_default(), clean));
        }
    }
    found
}

fn zone_from(zone: &Value) -> Option<Zone> {
    let id = zone.get("id")?.as_str()?;
    // It becomes part of a path.
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return None;
    }
    let servers = zone.get("name_servers").and_then(Value::as_array).into_iter().flatten();
    Some(Zone {
        id: id.to_owned(),
        name: zone.get("name")?.as_str()?.to_owned(),
        servers: servers.filter_map(Value::as_str).take(16).map(str::to_owned).collect(),
        is_editable: may_edit(zone),
    })
}

/// Whether the list of permissions has the one that is needed. No list says nothing against it.
fn may_edit(zone: &Value) -> bool {
    match zone.get("permissions").and_then(Value::as_array) {
        Some(permissions) if !permissions.is_empty() => {
            permissions.iter().filter_map(Value::as_str).any(|permission| permission == "#dns_records:edit")
        }
        _ => true,
    }
}

fn count_editable(listed: &Value) -> usize {
    let zones = listed.get("result").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let editable = zones.iter().filter(|zone| may_edit(zone)).count();
    let total = listed.pointer("/result_info/total_count").and_then(Value::as_u64).unwrap_or_default();
    // More than one page: what was not looked at counts as what was.
    if editable == zones.len() { editable.max(usize::try_from(total).unwrap_or(editable)) } else { editable }
}

/// The records at a name whose content is a value, quoted or not: the API has given both back over the years.
fn record_ids(answer: &Value, name: &str, value: &str) -> Vec<String> {
    let records = answer.get("result").and_then(Value::as_array).into_iter().flatten();
    let ours = records.filter(|record| {
        let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
        text("type") == "TXT"
            && text("name").trim_end_matches('.').eq_ignore_ascii_case(name)
            && text("content").trim_matches('"') == value
    });
    let ids = ours.filter_map(|record| record.get("id")?.as_str());
    let fits = |id: &&str| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    ids.filter(fits).map(str::to_owned).collect()
}

fn told_zone(mut fault: DnsError, zone: &Zone) -> DnsError {
    fault.said = format!("{} (zone {})", fault.said, zone.name);
    fault
}
