//! `doorward doctor`: what a person would check by hand on the machine that is to serve, each finding with its mend. It asks
//! the network, with short limits; it changes nothing, and what it cannot find out it says.

mod clock;
mod holder;
mod network;
mod rights;
mod service;
mod unit;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::paragraph::paragraph_at;
use crate::config::{self, Config};

pub use unit::drop_in;

/// How it stands with one thing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// As it should be.
    Good,
    /// Worth knowing.
    Warning,
    /// Something will not work.
    Fault,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// What kind of thing: `file`, `ports`, `rights`, `descriptors`, `time`, `dns`, `upstreams`, `containers`, `mail`, `token`,
    /// `tunnel`.
    pub topic: &'static str,
    /// How it stands.
    pub health: Health,
    /// What was found.
    pub said: String,
    /// What to do; empty where nothing is to be done.
    pub mend: String,
}

/// Everything that was found, in the order of looking.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// One for each thing that is good as a whole, one for each thing that is not.
    pub findings: Vec<Finding>,
}

impl Finding {
    fn good(topic: &'static str, said: impl Into<String>) -> Finding {
        Finding { topic, health: Health::Good, said: said.into(), mend: String::new() }
    }

    fn warning(topic: &'static str, said: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { topic, health: Health::Warning, said: said.into(), mend: mend.into() }
    }

    fn fault(topic: &'static str, said: impl Into<String>, mend: impl Into<String>) -> Finding {
        Finding { topic, health: Health::Fault, said: said.into(), mend: mend.into() }
    }
}

/// Looks at this machine with the eyes of a file. `served`: addresses that a running Doorward has open already.
pub fn examine(path: &Path, state: &Path, served: &[String]) -> Findings {
    let checked = match config::load(path) {
        Ok(checked) => checked,
        Err(faults) => {
            let said = format!("{}: {}", path.display(), counted(faults.faults.len(), "fault"));
            let mend = format!("`doorward check {}` shows each with its place", path.display());
            return Findings { findings: vec![Finding::fault("file", said, mend)] };
        }
    };
    let config = checked.config;
    let (routes, doors) = (counted(config.routes.len(), "route"), counted(config.doors.len(), "door"));
    let said = format!("{}: {routes}, {doors}", path.display());
    let mut findings = vec![Finding::good("file", said)];
    let service = service::of_file(path);
    findings.extend(rights::ports(&config, served));
    findings.extend(rights::files(&config, path, state, service.as_ref()));
    findings.extend(rights::descriptors(service.as_ref()));
    findings.extend(network::examine(&config, state, service.as_ref()));
    findings.extend(tunnel(&config));
    Findings { findings }
}

/// Columns before what was found.
const SAID: usize = 22;

/// Request bodies that Cloudflare takes on its free and pro plans. Bytes.
const CLOUDFLARE_BODY: u64 = 100_000_000;

/// What mends an upload that ends at Cloudflare.
const SMALLER: &str = "upload from home through the local name, or in chunks (Nextcloud: max_chunk_size below 100 MB)";

/// Names behind the tunnel take no larger upload than Cloudflare does, whatever the file says.
fn tunnel(config: &Config) -> Vec<Finding> {
    if !config.doors.iter().any(|door| door.trust == config::TrustSpec::Cloudflared) {
        return Vec::new();
    }
    let names_where = |is_meant: fn(Option<u64>) -> bool| -> Vec<&str> {
        let routes = config.routes.iter().filter(|route| route.to.is_some() && is_meant(route.max_body));
        routes.flat_map(|route| route.public.iter().map(|name| name.value.as_str())).collect()
    };
    let mut findings = Vec::new();
    let larger = names_where(|most| most.is_some_and(|most| most > CLOUDFLARE_BODY));
    if !larger.is_empty() {
        let larger = larger.join(", ");
        let said = format!(
            "Cloudflare ends uploads above 100 MB (free and pro plans), though `max_body` allows more: {larger}"
        );
        findings.push(Finding::warning("tunnel", said, SMALLER));
    }
    let unsaid = names_where(|most| most.is_none());
    if !unsaid.is_empty() {
        let unsaid = unsaid.join(", ");
        let said = format!("uploads above 100 MB end at Cloudflare (free and pro plans): {unsaid}");
        findings.push(Finding { mend: SMALLER.to_owned(), ..Finding::good("tunnel", said) });
    }
    findings
}

impl Findings {
    /// The worst of all.
    pub fn health(&self) -> Health {
        self.findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Good)
    }
}

/// `1 door`, `2 doors`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What was found, and below it the mend, within 80 columns; nothing is cut.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { topic, health, said, mend } in &self.findings {
            let word = match health {
                Health::Good => "good",
                Health::Warning => "warning",
                Health::Fault => "FAULT",
            };
            paragraph_at(f, SAID, &format!("{word:<8} {topic}"), said)?;
            if !mend.is_empty() {
                paragraph_at(f, SAID + "mend: ".len(), &format!("{:SAID$}mend:", ""), mend)?;
            }
        }
        let count = |health| self.findings.iter().filter(|finding| finding.health == health).count();
        let (faults, warnings) = (count(Health::Fault), count(Health::Warning));
        writeln!(f, "{}, {}", counted(faults, "fault"), counted(warnings, "warning"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Config {
        let folder = std::env::temp_dir().join(format!("doorward-doctor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("routes.toml");
        std::fs::write(&path, text).unwrap();
        config::load(&path).unwrap_or_else(|faults| panic!("{faults}")).config
    }

    #[test]
    fn uploads_that_cloudflare_would_end_are_named() {
        let file = "domain = \"home.test\"\nallow = [\"anyone\"]\n[listen.t]\nhttp = \"127.0.0.1:8080\"\nnames = \"public\"\n\
                    trust = \"cloudflared\"\n[routes]\nfiles = { to = \"http://127.0.0.1:1\", public = \"f.example.com\", max_body = \"10G\" }\n\
                    any = { to = \"http://127.0.0.1:1\", public = \"any.example.com\" }\n\
                    small = { to = \"http://127.0.0.1:1\", public = \"s.example.com\", max_body = \"50M\" }\n";
        let found = tunnel(&of(file));
        let said: Vec<_> = found.iter().map(|found| (found.health, found.said.rsplit(": ").next().unwrap())).collect();
        assert_eq!(said, [(Health::Warning, "f.example.com"), (Health::Good, "any.example.com")]);
    }

    #[test]
    fn what_was_found_reads_as_a_list() {
        let findings =
            Findings { findings: vec![Finding::good("time", "good"), Finding::fault("ports", "taken", "free it")] };
        assert_eq!(findings.health(), Health::Fault);
        let text = findings.to_string();
        assert!(
            text.ends_with("FAULT    ports        taken\n                      mend: free it\n1 fault, 0 warnings\n"),
            "{text}"
        );
    }
}
