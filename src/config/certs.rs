//! `[cert.*]`: files that somebody else keeps, or what to order from which CA.
//! Opens none of the files and asks no CA.

use std::collections::HashSet;
use std::sync::Arc;

use toml::de::DeValue;

use crate::model::HostPattern;

use super::keys::{ACME, CERT, CERT_ENTRY};
use super::reading::{Item, Reading, integer_of, shown};
use super::section::Section;
use super::{AcmeSpec, CaSpec, CertSource, CertSpec, ChallengeSpec, KeyType, Located, access, dns, exports, forms};

/// Keys that only mean something where a certificate is ordered.
const ORDER: [&str; 8] = ["names", "challenge", "dns", "token_file", "acme", "email", "renew", "key_type"];

/// Directory URLs of the CAs that have a short name here.
pub const CAS: &[(&str, &str)] = &[
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
    ("google-staging", "https://dv.acme-v02.test-api.pki.goog/directory"),
    ("buypass", "https://api.buypass.com/acme/directory"),
    ("sslcom", "https://acme.ssl.com/sslcom-dv-ecc"),
];

/// Reads `[cert]`.
pub(super) fn certs<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Vec<CertSpec> {
    let entries = reading.entries(item, &CERT_ENTRY).unwrap_or_default();
    entries.iter().filter_map(|entry| cert(reading, entry)).collect()
}

fn cert<'t>(reading: &Reading<'t>, entry: &Item<'t>) -> Option<CertSpec> {
    if entry.value.as_table().is_none() && CERT.find(entry.key).is_some() {
        let message = format!("`{}` stands in `[cert]` itself, which is no certificate", entry.key);
        let help = format!("give the certificate a name: `[cert.home]`, and below it `{} = …`", entry.key);
        reading.fault(entry.key_span, message, "", help);
        return None;
    }
    access::check_name(reading, entry, "a certificate");
    let section = Section::open(reading, entry, &CERT, format!("[cert.{}]", entry.key))?;
    let source = source(&section);
    let exports = section.item("export").map(|item| exports::exports(reading, &item, entry.key)).unwrap_or_default();
    Some(CertSpec { id: reading.located(entry.key_span, Arc::from(entry.key)), source: source?, exports })
}

fn source(section: &Section<'_, '_>) -> Option<CertSource> {
    if section.has("names") {
        for key in ["cert", "key"] {
            let help = "`cert` and `key` are files that somebody else keeps; `names` orders a certificate. Keep one of the two";
            section.out_of_place(key, "cannot stand beside `names`", help);
        }
        return order(section).map(CertSource::Acme);
    }
    if !section.has("cert") && !section.has("key") {
        if section.has_unknown() {
            return None;
        }
        let help = "write `cert` and `key` for files, or `names` for a certificate to be ordered";
        section.reading.missing(
            section.span,
            format!("{} has neither `cert` and `key` nor `names`", section.title),
            "",
            help,
        );
        return None;
    }
    for key in ORDER {
        section.out_of_place(
            key,
            "means nothing beside `cert` and `key`",
            "files are used as they are; write `names` to order a certificate",
        );
    }
    for (have, need) in [("cert", "key"), ("key", "cert")] {
        if let (Some(item), false) = (section.item(have), section.has(need)) {
            let help = format!("write `{need} = \"…\"` too, with the path of its PEM file");
            section.reading.missing(item.key_span, format!("`{have}` without `{need}`"), "", help);
        }
    }
    let (cert, key) = (section.path("cert"), section.path("key"));
    Some(CertSource::Files { cert: cert?, key: key? })
}

fn order(section: &Section<'_, '_>) -> Option<AcmeSpec> {
    let names = names(section);
    let challenge = challenge(section);
    if let Some(ChallengeSpec::Http | ChallengeSpec::TlsAlpn) = challenge {
        for name in names.iter().filter(|name| matches!(name.value, HostPattern::Wildcard(_))) {
            let help = "write `dns = \"<provider>\"`, or name each host instead of `*`";
            let message = format!("`{}` needs the dns-01 challenge; CAs prove wildcards no other way", name.value);
            section.reading.fault(name.span, message, "", help);
        }
    }
    let ca = ca(section);
    let email = section.text("email").and_then(|text| forms::mailbox(section.reading, &text));
    let renew_days = renew(section);
    let kinds = [("p256", KeyType::P256), ("p384", KeyType::P384), ("rsa2048", KeyType::Rsa2048)];
    let key_type = section.choice("key_type", &kinds).map_or(KeyType::P256, |kind| kind.value);
    Some(AcmeSpec { names, challenge: challenge?, ca: ca?, email, renew_days, key_type })
}

fn names(section: &Section<'_, '_>) -> Vec<Located<HostPattern>> {
    let Some(item) = section.item("names") else { return Vec::new() };
    let reading = section.reading;
    let Some(texts) = reading.texts(&item) else { return Vec::new() };
    if item.value.as_array().is_some_and(|list| list.is_empty()) {
        reading.fault(item.span, "`names` is empty", "", format!("write `names = {}`", item.about.example));
    }
    let mut seen = HashSet::new();
    texts
        .iter()
        .filter_map(|text| {
            let pattern = HostPattern::parse(text.value);
            match &pattern {
                Ok(HostPattern::Any) => {
                    let help = "a certificate covers one level: `\"*.home.example\"`";
                    reading.fault(text.span, "no CA issues a certificate for `*`", "", help);
                }
                Ok(pattern) if !seen.insert(pattern.clone()) => {
                    reading.fault(text.span, format!("{} is named twice", shown(text.value)), "", "keep one of them");
                }
                Ok(_) => {}
                Err(wrong) => {
                    let help = "write full names: `\"home.example\"`, `\"*.home.example\"`";
                    reading.fault(text.span, format!("{} is not a name: {wrong}", shown(text.value)), "", help);
                }
            }
            Some(reading.located(text.span, pattern.ok()?))
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Challenge {
    Dns,
    Http,
    TlsAlpn,
}

fn challenge(section: &Section<'_, '_>) -> Option<ChallengeSpec> {
    let words = [("dns-01", Challenge::Dns), ("http-01", Challenge::Http), ("tls-alpn-01", Challenge::TlsAlpn)];
    let chosen = section.choice("challenge", &words);
    let spec = section.item("dns").and_then(|item| dns::dns(section, &item));
    if section.has("token_file") && !section.has("dns") {
        let help = "name the provider that the token is for: `dns = \"cloudflare\"`";
        section.out_of_place("token_file", "means nothing without `dns`", help);
    }
    match (section.has("dns"), chosen.map(|chosen| chosen.value)) {
        (true, None | Some(Challenge::Dns)) => spec.map(ChallengeSpec::Dns),
        (true, Some(_)) => {
            section.out_of_place(
                "dns",
                "is not used by this `challenge`",
                "delete one of the two lines; `dns` alone means dns-01",
            );
            None
        }
        (false, Some(Challenge::Http)) => Some(ChallengeSpec::Http),
        (false, Some(Challenge::TlsAlpn)) => Some(ChallengeSpec::TlsAlpn),
        (false, Some(Challenge::Dns)) => {
            section.reading.missing(
                section.span,
                format!("{} has no `dns`, which dns-01 needs", section.title),
                "",
                "write `dns = \"cloudflare\"`, or another provider",
            );
            None
        }
        (false, None) if section.has("challenge") => None,
        (false, None) => {
            let help =
                "write `dns = \"<provider>\"`, or `challenge = \"http-01\"` where port 80 is reached from the internet";
            section.reading.missing(
                section.span,
                format!("{} does not say how the CA is shown that the names are yours", section.title),
                "",
                help,
            );
            None
        }
    }
}

fn ca(section: &Section<'_, '_>) -> Option<CaSpec> {
    let reading = section.reading;
    let Some(item) = section.item("acme") else {
        let directory = reading.located(section.span, CAS[0].1.to_owned());
        return Some(CaSpec { directory, ca: None, eab_kid: None, eab_key_file: None, profile: None });
    };
    if item.value.as_str().is_some() {
        let directory = directory(reading, &reading.text(&item)?)?;
        return Some(CaSpec { directory, ca: None, eab_kid: None, eab_key_file: None, profile: None });
    }
    let table = Section::open(reading, &item, &ACME, format!("`acme` of {}", section.title))?;
    let directory = match table.has("directory") {
        true => table.text("directory").and_then(|text| directory(reading, &text)),
        // A table that only adds a profile or a binding to the default CA.
        false => Some(reading.located(item.span, CAS[0].1.to_owned())),
    };
    for (have, need) in [("eab_kid", "eab_key_file"), ("eab_key_file", "eab_kid")] {
        if let (Some(item), false) = (table.item(have), table.has(need)) {
            let help = format!("write `{need} = \"…\"` too; the CA gives both together");
            reading.missing(item.key_span, format!("`{have}` without `{need}`"), "", help);
        }
    }
    let (ca, eab_kid) = (table.path("ca"), table.words("eab_kid"));
    let (eab_key_file, profile) = (table.path("eab_key_file"), table.words("profile"));
    Some(CaSpec { directory: directory?, ca, eab_kid, eab_key_file, profile })
}

fn directory(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<String>> {
    if let Some((_, url)) = CAS.iter().find(|(name, _)| *name == text.value) {
        return Some(reading.located(text.span, (*url).to_owned()));
    }
    if forms::is_url(text.value, false) {
        return Some(reading.located(text.span, text.value.to_owned()));
    }
    let names = CAS.iter().map(|(name, _)| *name);
    let guess = reading.guess(text.value, names.clone());
    let known = super::reading::one_of(names);
    let message = format!("no CA {}{guess}", shown(text.value));
    reading.fault(text.span, message, "", format!("write {known}, or the `https://` URL of its ACME directory"));
    None
}

fn renew(section: &Section<'_, '_>) -> Option<Located<u32>> {
    let item = section.item("renew")?;
    let reading = section.reading;
    match item.value {
        DeValue::String(word) if word == "auto" => None,
        DeValue::Integer(_) => {
            let days = integer_of(item.value)
                .and_then(|days| u32::try_from(days).ok())
                .filter(|days| (1..=365).contains(days));
            if days.is_none() {
                let help = "write `renew = \"auto\"`, or a number of days from 1 to 365";
                reading.fault(item.span, "`renew` is not a sensible number of days", "", help);
                return None;
            }
            let help = "write `renew = \"auto\"`: the CA says when, and short-lived certificates stay right";
            reading.warn(item.span, "a fixed number of days does not follow the CA when lifetimes change", "", help);
            Some(reading.located(item.span, days?))
        }
        DeValue::String(_) => {
            let help = "write `renew = \"auto\"`, or a number of days without quotes";
            reading.fault(
                item.span,
                format!("`renew` does not know {}", shown(item.value.as_str().unwrap_or_default())),
                "",
                help,
            );
            None
        }
        _ => {
            reading.wrong_kind(&item);
            None
        }
    }
}
