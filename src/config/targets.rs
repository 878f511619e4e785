//! Where requests go: `[upstreams.*]`, and `to` with the keys beside it in a route.
//! Connects to nothing and reads no certificate.

use std::sync::Arc;

use toml::de::DeValue;

use crate::model::{Endpoint, EndpointError, EndpointHost, HostName, ProxyVersion, Scheme};

use super::keys::{FILE, UPSTREAM, UPSTREAM_ENTRY};
use super::reading::{Item, Reading, one_of, shown};
use super::section::Section;
use super::{Balance, Located, TargetSpec, ToSpec, UpstreamSpec, VerifySpec, access, forms};

/// Keys of a target besides `to`.
pub(super) const BESIDE: [&str; 9] =
    ["balance", "tls_name", "verify", "ca", "pin", "hold", "http2", "proxy_protocol", "via"];
/// Those of them that only mean something over TLS.
const OVER_TLS: [&str; 4] = ["tls_name", "verify", "ca", "pin"];
/// Those that each say how a certificate is judged.
const JUDGES: [&str; 3] = ["verify", "ca", "pin"];

/// Reads `[upstreams]`.
pub(super) fn upstreams<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Vec<UpstreamSpec> {
    let entries = reading.entries(item, &UPSTREAM_ENTRY).unwrap_or_default();
    entries.iter().filter_map(|entry| upstream(reading, entry)).collect()
}

fn upstream<'t>(reading: &Reading<'t>, entry: &Item<'t>) -> Option<UpstreamSpec> {
    access::check_name(reading, entry, "an upstream");
    if let "denied" | "redirect" | "answer" = entry.key {
        let help = "`is` of `[[expect]]` has a meaning of its own for this word; choose another name";
        reading.fault(entry.key_span, format!("`{}` cannot be the name of an upstream", entry.key), "", help);
    }
    let name = reading.located(entry.key_span, Arc::from(entry.key));
    if is_short(entry) {
        return Some(UpstreamSpec { name, target: plain(endpoints(reading, entry)?) });
    }
    let section = Section::open(reading, entry, &UPSTREAM, format!("[upstreams.{}]", entry.key))?;
    let to = section.required("to").and_then(|to| endpoints(reading, &to));
    let target = target(&section, to, entry.key)?;
    Some(UpstreamSpec { name, target })
}

/// `to` of a route or path, before anything beside it is read.
pub(super) enum Destination {
    Upstream(Located<Arc<str>>),
    Addresses(Vec<Located<Endpoint>>),
}

impl Destination {
    /// With nothing said beside it.
    pub(super) fn alone(self) -> ToSpec {
        match self {
            Destination::Upstream(name) => ToSpec::Upstream(name),
            Destination::Addresses(to) => ToSpec::Address(plain(to)),
        }
    }
}

/// Whether an entry says where it leads and nothing else, so that it needs no table.
pub(super) fn is_short(entry: &Item<'_>) -> bool {
    let is_address = |item: &DeValue<'_>| item.as_str().is_some_and(|text| text.contains("://"));
    match entry.value {
        DeValue::String(_) => true,
        // A key of the file itself that slipped below a header, unless its list says otherwise.
        DeValue::Array(list) => FILE.find(entry.key).is_none() || list.iter().any(|item| is_address(item.get_ref())),
        _ => false,
    }
}

/// Reads a `to`: with `://` an address, without it a name from `[upstreams]`; a list has addresses only.
pub(super) fn destination<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Option<Destination> {
    if item.value.as_array().is_some() {
        return endpoints(reading, item).map(Destination::Addresses);
    }
    let text = &reading.text(item)?;
    if text.value.contains("://") {
        return endpoint(reading, text).map(|to| Destination::Addresses(vec![to]));
    }
    if reading.names.upstreams.contains_key(text.value) {
        return Some(Destination::Upstream(reading.located(text.span, Arc::from(text.value))));
    }
    if reading.is_full() {
        return None;
    }
    let with_scheme = format!("http://{}", text.value);
    if text.value.contains(['.', ':']) && Endpoint::parse(&with_scheme).is_ok() {
        let help = format!("an address begins with `http://` or `https://`: write `\"{with_scheme}\"`");
        reading.missing(text.span, format!("no upstream {}", shown(text.value)), "", help);
        return None;
    }
    let known = || reading.names.upstreams.keys().copied();
    let message = format!("no upstream {}{}", shown(text.value), reading.guess(text.value, known()));
    let help = match reading.names.upstreams.is_empty() {
        true => "write an address (`\"http://192.168.8.86:3000\"`), or describe the upstream in `[upstreams.<name>]`"
            .to_owned(),
        false => format!("`[upstreams]` has {}; an address begins with `http://` or `https://`", one_of(known())),
    };
    reading.missing(text.span, message, "", help);
    None
}

/// Addresses with nothing said about them.
fn plain(to: Vec<Located<Endpoint>>) -> TargetSpec {
    TargetSpec {
        to,
        balance: Balance::default(),
        tls_name: None,
        verify: VerifySpec::System,
        hold: None,
        http2: false,
        proxy_protocol: None,
        via: true,
    }
}

/// A destination with the keys beside it. Where it is a name, those keys belong to the upstream.
pub(super) fn with_keys_beside(section: &Section<'_, '_>, to: Option<Destination>, route: &str) -> Option<ToSpec> {
    match to {
        Some(Destination::Upstream(name)) => {
            for key in BESIDE {
                let help = format!(
                    "move it there, or write an address in `to`; `{}` is shared by whoever names it",
                    name.value
                );
                section.out_of_place(key, &format!("belongs to [upstreams.{}]", name.value), &help);
            }
            Some(ToSpec::Upstream(name))
        }
        Some(Destination::Addresses(to)) => target(section, Some(to), route).map(ToSpec::Address),
        // Nobody knows what `to` should have been, so the keys beside it are read for their form only.
        None => target(section, None, route).map(ToSpec::Address),
    }
}

fn target(section: &Section<'_, '_>, to: Option<Vec<Located<Endpoint>>>, name: &str) -> Option<TargetSpec> {
    if section.item("to").is_some_and(|item| item.value.as_str().is_some()) {
        let help = "write `to` as a list of addresses, or leave the key out";
        section.out_of_place("balance", "means nothing with a single address", help);
    }
    check_scheme(section, to.as_ref().and_then(|to| to.first()).map(|to| to.value.scheme));
    let tls_name = section.text("tls_name").and_then(|text| forms::host_name(section.reading, &text));
    let verify = verify(section, name);
    let hold = section.duration("hold");
    let http2 = section.flag("http2").is_some_and(|flag| flag.value);
    let via = section.flag("via").is_none_or(|via| via.value);
    let words =
        [("round-robin", Balance::RoundRobin), ("least-requests", Balance::LeastRequests), ("sticky", Balance::Sticky)];
    let balance = section.choice("balance", &words).map(|balance| balance.value).unwrap_or_default();
    let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    let proxy_protocol = section.choice("proxy_protocol", &versions).map(|version| version.value);
    Some(TargetSpec { to: to?, balance, tls_name, verify, hold, http2, proxy_protocol, via })
}

/// What means nothing to the scheme that is spoken.
fn check_scheme(section: &Section<'_, '_>, scheme: Option<Scheme>) {
    if let Some(cleartext @ (Scheme::Http | Scheme::H2c)) = scheme {
        let message = format!("means nothing to an `{}://` address", cleartext.as_str());
        for key in OVER_TLS {
            section.out_of_place(key, &message, "write `https://` in `to`, or leave the key out");
        }
    }
    match scheme {
        Some(Scheme::Http) => {
            let help = "write `h2c://` in `to` where the server speaks HTTP/2 in cleartext, else leave the key out";
            section.out_of_place("http2", "means nothing to an `http://` address", help);
        }
        Some(Scheme::H2c) => {
            let help = "leave the key out; for HTTP/1.1 write `http://` in `to`";
            section.out_of_place("http2", "has nothing to say beside `h2c://`, which is HTTP/2", help);
        }
        Some(Scheme::Https) | None => {}
    }
}

fn verify(section: &Section<'_, '_>, name: &str) -> VerifySpec {
    let written: Vec<&'static str> = JUDGES.into_iter().filter(|key| section.has(key)).collect();
    if let [first, others @ ..] = written.as_slice() {
        for other in others {
            let help = "keep one: `ca` or `pin` where the certificate is known, `verify = false` where it cannot be";
            section.out_of_place(other, &format!("cannot stand beside `{first}`"), help);
        }
    }
    let ca = section.path("ca");
    let pin = section.text("pin").and_then(|text| pin(section, &text, name));
    let flag = section.flag("verify");
    if let Some(off) = flag.filter(|flag| !flag.value) {
        let help = format!("`doorward trust {name}` pins the certificate it shows today");
        let message = format!(
            "the certificate of `{name}` is not verified; whoever is on the way can read and change everything"
        );
        section.reading.warn(off.span, message, "", help);
        return VerifySpec::Off;
    }
    match (pin, ca) {
        (Some(pin), _) => VerifySpec::Pin(pin),
        (None, Some(ca)) => VerifySpec::Ca(ca.value),
        (None, None) => VerifySpec::System,
    }
}

fn pin(section: &Section<'_, '_>, text: &Located<&str>, name: &str) -> Option<[u8; 32]> {
    let digits = text.value.strip_prefix("sha256:");
    let Some(pin) = digits.and_then(fingerprint) else {
        let message = format!("{} is not a fingerprint", shown(text.value));
        let help = format!("write `pin = \"sha256:<64 hex digits>\"`; `doorward trust {name}` finds them");
        section.reading.fault(text.span, message, "", help);
        return None;
    };
    if pin == [0; 32] {
        let help = format!("`doorward trust {name}` fills it in; until then nothing is forwarded to `{name}`");
        section.reading.warn(
            text.span,
            format!("the pin of `{name}` is all zeros, which no certificate has"),
            "",
            help,
        );
    }
    Some(pin)
}

/// A `pin` as it is written: `sha256:` and 64 hex digits. `None`: it is not.
pub fn parse_pin(text: &str) -> Option<[u8; 32]> {
    fingerprint(text.strip_prefix("sha256:")?)
}

/// 64 hex digits; colons between them, as openssl prints, are allowed.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    let mut digits = text.chars().filter(|&c| c != ':').map(|c| c.to_digit(16));
    for byte in &mut out {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(out)
}

/// One address, or a list of different ones that are spoken to alike.
fn endpoints<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Option<Vec<Located<Endpoint>>> {
    if item.value.as_array().is_none() {
        return Some(vec![endpoint(reading, &reading.text(item)?)?]);
    }
    let texts = reading.texts(item)?;
    if texts.is_empty() && item.value.as_array().is_some_and(|list| list.is_empty()) {
        let help = format!("write at least one address: `{} = {}`", item.key, item.about.example);
        reading.fault(item.span, format!("{} leads nowhere: its list is empty", shown(item.key)), "", help);
        return None;
    }
    let mut found: Vec<Located<Endpoint>> = Vec::new();
    for text in &texts {
        if !text.value.contains("://") && reading.names.upstreams.contains_key(text.value) {
            let help = format!("write its addresses out, or `\"{}\"` alone without a list", text.value);
            reading.fault(text.span, format!("a list has addresses, and `{}` is an upstream", text.value), "", help);
            continue;
        }
        let Some(one) = endpoint(reading, text) else { continue };
        if let Some(same) = found.iter().find(|known| known.value == one.value) {
            let label = format!("first at {}", reading.source.place(same.span));
            reading.fault(one.span, format!("`{}` is listed twice", one.value), label, "delete one of them");
        } else if let Some(other) = found.first().filter(|first| first.value.scheme != one.value.scheme) {
            let message = format!("`{}` and `{}` are not spoken to alike", other.value, one.value);
            reading.fault(one.span, message, "", "all addresses of a list are `http://`, or all are `https://`");
        }
        found.push(one);
    }
    (found.len() == texts.len()).then_some(found)
}

fn endpoint(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<Endpoint>> {
    match Endpoint::parse(text.value) {
        Ok(endpoint) if is_unspecified(&endpoint) => {
            let help = "write `127.0.0.1` for this machine, or the address of another";
            reading.fault(
                text.span,
                format!("{} is an address to listen on, not one to reach", shown(text.value)),
                "",
                help,
            );
            None
        }
        Ok(endpoint) => Some(reading.located(text.span, endpoint)),
        Err(EndpointError::UserInfo) => {
            reading.keep_secret(text.span);
            let help = "set an `Authorization` header with `headers` if the upstream needs one; better, let it trust this machine";
            reading.fault(text.span, "an upstream's address carries no user or password", "", help);
            None
        }
        Err(wrong) => {
            let help = match &wrong {
                EndpointError::NoScheme if reading.names.upstreams.contains_key(text.value) => {
                    "an upstream is an address itself; only routes name upstreams".to_owned()
                }
                EndpointError::NoScheme
                    if HostName::parse(text.value.split(':').next().unwrap_or_default()).is_ok() =>
                {
                    format!("write `\"http://{0}\"` or `\"https://{0}\"`", text.value)
                }
                EndpointError::Path(_) => {
                    "leave it away; `strip` and `paths` on the route say what happens to paths".to_owned()
                }
                _ => "write scheme, host and port: `\"http://192.168.8.86:3000\"`".to_owned(),
            };
            reading.fault(text.span, format!("{} is not an upstream's address: {wrong}", shown(text.value)), "", help);
            None
        }
    }
}

fn is_unspecified(endpoint: &Endpoint) -> bool {
    matches!(&endpoint.host, EndpointHost::Ip(ip) if ip.is_unspecified())
}
