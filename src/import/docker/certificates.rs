//! Which certificate each name had: files in the proxy's folder, or an order of acme-companion.

use super::super::home::{Cert, CertSource, Remark};
use super::super::text::one_line;
use super::proxy::Proxy;
use crate::model::HostPattern;
use crate::provider::docker::Container;

/// What the routes made so far need.
pub(super) struct Certificates<'a> {
    proxy: &'a Proxy,
    certs: Vec<Cert>,
    /// Hosts without any, with containers of their own.
    without: Vec<String>,
    /// Orders that cannot be made this way.
    unordered: Vec<Remark>,
}

impl<'a> Certificates<'a> {
    pub(super) fn new(proxy: &'a Proxy) -> Certificates<'a> {
        Certificates { proxy, certs: Vec::new(), without: Vec::new(), unordered: Vec::new() }
    }

    /// The stem of the files that a host showed, if it had any; takes the certificate along.
    pub(super) fn uses(&mut self, host: &HostPattern, containers: &[&Container]) -> Option<String> {
        let shown = host.to_string();
        let setting =
            |words: [&str; 2]| containers.iter().find_map(|one| words.iter().find_map(|word| one.setting(word)));
        let ordered = setting(["ACME_HOST", "LETSENCRYPT_HOST"]);
        let names: Vec<&str> = ordered.into_iter().flat_map(|list| list.split(',')).map(str::trim).collect();
        if names.contains(&shown.as_str()) {
            let email = setting(["ACME_EMAIL", "LETSENCRYPT_EMAIL"]).or(self.proxy.variable("DEFAULT_EMAIL"));
            self.order(&names, email);
            return Some(shown);
        }
        let named = containers.iter().find_map(|one| one.setting("CERT_NAME"));
        let Some((folder, stem)) = self.proxy.certificate(&shown, named) else {
            if !self.proxy.names.is_empty() {
                self.without.push(shown);
            }
            return None;
        };
        let file = |end: &str| folder.join(format!("{stem}.{end}")).display().to_string();
        let source = CertSource::Files { cert: file("crt"), key: file("key") };
        let is_known = |cert: &Cert| matches!((&cert.source, &source), (CertSource::Files { cert: a, .. }, CertSource::Files { cert: b, .. }) if a == b);
        if !self.certs.iter().any(is_known) {
            let names = HostPattern::parse(&stem).into_iter().filter(|name| *name != HostPattern::Any).collect();
            self.certs.push(Cert { names, source, notes: Vec::new() });
        }
        Some(stem)
    }

    fn order(&mut self, names: &[&str], email: Option<&str>) {
        let mut patterns: Vec<HostPattern> = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            match HostPattern::parse(name) {
                Ok(name @ HostPattern::Exact(_)) => patterns.push(name),
                // Only a DNS challenge proves these.
                _ => {
                    let name = one_line(name, 100);
                    let text =
                        format!("A certificate for `{name}` was ordered by DNS: see docs/certificates.md for `dns`.");
                    self.unordered.push(Remark::new(text));
                }
            }
        }
        if patterns.is_empty() || self.certs.iter().any(|cert| cert.names == patterns) {
            return;
        }
        let email = email.filter(|email| super::super::is_mailbox(email)).map(str::to_owned);
        let notes = vec![Remark::new("acme-companion ordered this; here it is ordered anew, once.")];
        self.certs.push(Cert { names: patterns, source: CertSource::Http { email }, notes });
    }

    pub(super) fn finish(self, left: &mut Vec<Remark>) -> Vec<Cert> {
        left.extend(self.unordered);
        if !self.certs.is_empty() && !self.without.is_empty() {
            left.push(Remark::new(format!(
                "These had no certificate with nginx-proxy and were served over http alone; here they are served over https, \
                 by the local CA until a [cert] covers them: {}.",
                one_line(&self.without.join(", "), 600)
            )));
        }
        self.certs
    }
}
