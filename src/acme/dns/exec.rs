//! Any script as a DNS provider: `set` and `clear`, one value at a time, told by variables.
//! Refuses values that are not what a CA's proof looks like, so that no script is handed anything surprising.

use std::path::{Path, PathBuf};

use super::{BoxFuture, DnsError, DnsProvider, DnsStep, Rights, ZoneServers, candidates};
use crate::acme::command::{PROGRAM_LIMIT, run_program};
use crate::config::DnsSpec;

/// A command that changes DNS.
pub(super) struct Exec {
    words: Vec<String>,
    zone: Option<String>,
    folder: PathBuf,
}

impl Exec {
    /// From the file; it runs in `folder`. Fails without `command`.
    pub(super) fn new(spec: &DnsSpec, folder: &Path) -> Result<Exec, DnsError> {
        let words: Vec<String> = spec.command.iter().map(|word| word.value.clone()).collect();
        if words.is_empty() {
            return Err(DnsError::new(DnsStep::Setup, "exec", "it needs `command`"));
        }
        let zone = spec.zone.as_ref().map(|zone| zone.value.to_string());
        Ok(Exec { words, zone, folder: folder.to_owned() })
    }

    async fn run(&self, step: DnsStep, name: &str, value: &str) -> Result<(), DnsError> {
        candidates(name, self.zone.as_deref())?;
        if !is_base64url(value) {
            return Err(DnsError::new(step, name, "the value is not base64url, so no CA made it; nothing was run"));
        }
        let action = if step == DnsStep::Add { "set" } else { "clear" };
        let mut variables = vec![("DOORWARD_ACTION", action), ("DOORWARD_NAME", name), ("DOORWARD_VALUE", value)];
        if let Some(zone) = &self.zone {
            variables.push(("DOORWARD_ZONE", zone));
        }
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let program = words.first().copied().unwrap_or_default();
        let ran = run_program(&words, &variables, &self.folder, PROGRAM_LIMIT).await;
        let ran = ran.map_err(|fault| DnsError::new(step, name, format!("{program} cannot be run: {fault}")))?;
        if ran.ended.is_success() {
            return Ok(());
        }
        let said = match ran.output.as_str() {
            "" => format!("{program} {action}: {}, and it said nothing", ran.ended),
            output => format!("{program} {action}: {}; it said: {output}", ran.ended),
        };
        // What a script runs into may be gone the next time; nobody here can know.
        Err(DnsError::passing(step, name, said))
    }
}

/// RFC 4648 §5 without padding, as `dns-01` values are (RFC 8555 §8.4).
fn is_base64url(value: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !value.is_empty() && value.len() <= 255 && value.bytes().all(fits)
}

impl DnsProvider for Exec {
    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(self.run(DnsStep::Add, name, value))
    }

    fn clear_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(self.run(DnsStep::Remove, name, value))
    }

    fn check_rights<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Rights, DnsError>> {
        Box::pin(async move {
            let refuse =
                |name: &String| candidates(name, self.zone.as_deref()).err().map(|why| (name.clone(), why.said));
            Ok(Rights {
                needed: self.zone.iter().cloned().collect(),
                refused: names.iter().filter_map(refuse).collect(),
                editable: None,
            })
        })
    }

    fn zone_servers<'a>(&'a self, _name: &'a str) -> BoxFuture<'a, Result<Option<ZoneServers>, DnsError>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
