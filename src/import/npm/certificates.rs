//! NPM's certificates: what to order again and how, or which files to bring along. Reads no key and repeats no token.

use std::collections::BTreeMap;

use super::database::{Database, Row};
use super::names;
use crate::config::dns_providers;
use crate::import::home::{Cert, CertSource, Remark};
use crate::import::text::one_line;
use crate::import::{ImportError, is_mailbox};
use crate::model::HostPattern;

/// certbot's names for providers that have another one here.
const RENAMED: [(&str, &str); 4] =
    [("aliyun", "alidns"), ("azure", "azuredns"), ("dnspod", "tencentcloud"), ("he", "hurricane")];

/// The certificates, and which of them hosts use.
pub(super) struct Certificates {
    rows: BTreeMap<i64, Row>,
    /// Names of the hosts that use each, where its own names are not known.
    used: BTreeMap<i64, Vec<HostPattern>>,
}

impl Certificates {
    pub(super) fn read(database: &Database) -> Result<Certificates, ImportError> {
        let rows = database.rows("certificate")?.into_iter().filter(|row| !row.is("is_deleted"));
        let rows = rows.filter_map(|row| Some((row.number("id")?, row))).collect();
        Ok(Certificates { rows, used: BTreeMap::new() })
    }

    /// Notes that a host uses one.
    pub(super) fn uses(&mut self, host: &Row, patterns: &[HostPattern]) {
        if let Some(id) = host.number("certificate_id").filter(|&id| id > 0) {
            self.used.entry(id).or_default().extend_from_slice(patterns);
        }
    }

    /// The certificates in use, and remarks on the rest.
    pub(super) fn finish(self) -> (Vec<Cert>, Vec<Remark>) {
        let (mut certs, mut remarks) = (Vec::new(), Vec::new());
        for (id, row) in &self.rows {
            let title = one_line(&row.text("nice_name"), 100);
            if !self.used.contains_key(id) {
                remarks.push(Remark::new(format!("The certificate \"{title}\" is used by no host: left out.")));
                continue;
            }
            match certificate(*id, row) {
                Ok(cert) => certs.push(cert),
                Err(why) => remarks.push(Remark::new(format!(
                    "The certificate \"{title}\": {why}. Until there is another, its names are served by the local CA."
                ))),
            }
        }
        (certs, remarks)
    }
}

fn certificate(id: i64, row: &Row) -> Result<Cert, String> {
    let names: Vec<HostPattern> = names(row).iter().filter_map(|name| HostPattern::parse(name).ok()).collect();
    if row.text("provider") != "letsencrypt" {
        let folder = format!("/etc/doorward/npm-{id}");
        let source =
            CertSource::Files { cert: format!("{folder}/fullchain.pem"), key: format!("{folder}/privkey.pem") };
        let note = format!(
            "\"{}\": copy both files from NPM's data folder, custom_ssl/npm-{id}; they are read again when they change.",
            one_line(&row.text("nice_name"), 80)
        );
        return Ok(Cert { names, source, notes: vec![Remark::new(note)] });
    }
    if names.is_empty() {
        return Err("it has no names".to_owned());
    }
    let meta = row.json("meta");
    let text = |name: &str| meta.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().trim().to_owned();
    let email = Some(text("letsencrypt_email")).filter(|email| is_mailbox(email));
    let is_dns = meta.get("dns_challenge").is_some_and(|flag| flag.as_bool() == Some(true) || flag.as_i64() == Some(1));
    let mut notes = Vec::new();
    if !is_dns {
        if let Some(wildcard) = names.iter().find(|name| matches!(name, HostPattern::Wildcard(_))) {
            return Err(format!("`{wildcard}` needs a DNS challenge, and NPM names no provider for it"));
        }
        notes.push(Remark::new(
            "Proven over port 80, which has to be reachable from the internet for that; see docs/certificates.md.",
        ));
        return Ok(Cert { names, source: CertSource::Http { email }, notes });
    }
    let theirs = text("dns_provider");
    let ours = provider(&theirs).ok_or_else(|| {
        format!("its DNS provider \"{}\" is not known here; see docs/dns-providers.md", one_line(&theirs, 60))
    })?;
    notes.push(Remark::new(format!(
        "NPM keeps the credentials of \"{}\" with the certificate: put the token alone into the file named here.",
        one_line(&theirs, 60)
    )));
    Ok(Cert { names, source: CertSource::Dns { provider: ours, email }, notes })
}

/// A provider that takes a token and nothing else.
fn provider(theirs: &str) -> Option<String> {
    let renamed = RENAMED.iter().find(|(name, _)| *name == theirs).map_or(theirs, |(_, ours)| *ours);
    let known = dns_providers().find(|known| *known == renamed)?;
    (!matches!(known, "rfc2136" | "exec")).then(|| known.to_owned())
}
