//! Doorward's own labels: the words of the file, with `doorward.` before them. A label that is faulty or unknown leaves its
//! container without a route, and says which and why; nobody else notices.

use std::sync::Arc;

use ipnet::IpNet;

use super::inventory::Container;
use super::vocabulary::{OWN_PREFIX, cut, is_spoken_by as speaks_nginx_proxy};
use super::wishes::{Admitted, Place, Proto, Site, Terms, Wishes};
use crate::config::Balance;
use crate::model::{Endpoint, HostName, HostPattern, PathPattern, parse_duration, parse_size};

/// Every label, without its prefix; the table in docs/docker.md has the same rows.
pub const LABELS: [&str; 15] = [
    "route",
    "to",
    "path",
    "strip",
    "public",
    "allow",
    "hold",
    "balance",
    "max_body",
    "idle",
    "hsts",
    "log_query",
    "tls_name",
    "verify",
    "pin",
];

/// Words from elsewhere, and what they are called here.
const HINTS: [(&str, &str); 6] =
    [("host", "route"), ("port", "to"), ("enable", "route"), ("name", "route"), ("url", "to"), ("network", "allow")];

/// Whether a container asks for a route in these words.
pub fn is_spoken_by(container: &Container) -> bool {
    container.settings.keys().any(|name| name.starts_with(OWN_PREFIX))
}

/// What a container asks for; short names stand below `domain`.
///
/// # Errors
/// Why it cannot be routed, in words.
pub fn read(container: &Container, domain: Option<&HostName>) -> Result<Wishes, String> {
    check_words(container)?;
    let label = |name: &str| container.setting(&format!("{OWN_PREFIX}{name}"));
    let route =
        label("route").ok_or("it has doorward.* labels, but no doorward.route: write the name that it answers for")?;
    let To { port, proto, elsewhere } = label("to").map(read_to).transpose()?.unwrap_or_default();
    let path = label("path").map(read_path).transpose()?;
    let strip = flag("strip", label("strip"))?;
    if strip && path.is_none() {
        return Err("doorward.strip means nothing without a doorward.path".to_owned());
    }
    let place = Place { path, replace: strip.then(|| Arc::from("")), port, proto, elsewhere };
    let mut sites: Vec<Site> = Vec::new();
    for name in words(route) {
        let host = read_host(name, domain)?;
        if sites.iter().all(|site| site.host != host) {
            sites.push(Site { host, places: vec![place.clone()] });
        }
    }
    let mut notes = Vec::new();
    if speaks_nginx_proxy(container) {
        notes.push("it has doorward.* labels and VIRTUAL_* variables: the labels count".to_owned());
    }
    Ok(Wishes { sites, terms: read_terms(&label)?, notes })
}

fn check_words(container: &Container) -> Result<(), String> {
    for name in container.settings.keys().filter_map(|name| name.strip_prefix(OWN_PREFIX)) {
        if LABELS.contains(&name) {
            continue;
        }
        let near = LABELS.iter().map(|known| (strsim::osa_distance(name, known), *known)).min();
        let guess = HINTS
            .iter()
            .find(|(word, _)| *word == name)
            .map(|(_, known)| *known)
            .or_else(|| near.filter(|(distance, _)| *distance <= 2).map(|(_, known)| known));
        let guess = guess.map_or(String::new(), |known| format!("; did you mean doorward.{known}?"));
        return Err(format!("there is no label doorward.{}{guess}", cut(name)));
    }
    Ok(())
}

/// A port, `scheme://:port` where it is not plain http, or a whole address where it is not the container's own.
fn read_to(text: &str) -> Result<To, String> {
    let wrong = || {
        let words = "write the container's port (`8080`, `https://:8443`, `h2c://:50051`) or a whole address";
        format!("doorward.to is `{}`; {words}", cut(text))
    };
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let proto = match scheme {
        "http" => Proto::Http,
        "https" => Proto::Https,
        "h2c" => Proto::Grpc,
        _ => return Err(wrong()),
    };
    let is_port_alone = rest.starts_with(':') || !text.contains("://");
    if !is_port_alone {
        let elsewhere = Endpoint::parse(text).map_err(|_| wrong())?;
        return Ok(To { port: Some(elsewhere.port), proto, elsewhere: Some(elsewhere) });
    }
    let digits = rest.trim_start_matches(':');
    match digits.parse() {
        Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(To { port: Some(port), proto, elsewhere: None })
        }
        _ => Err(wrong()),
    }
}

/// `doorward.to`, read.
#[derive(Default)]
struct To {
    port: Option<u16>,
    proto: Proto,
    elsewhere: Option<Endpoint>,
}

fn read_path(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).ok_or_else(|| {
        format!("doorward.path is `{}`; write `/app/*` for all below it, or `/app` for this alone", cut(text))
    })
}

fn read_host(name: &str, domain: Option<&HostName>) -> Result<HostPattern, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("`{}` in doorward.route is no name: {why}", cut(name));
    if name.contains('.') || name == "*" {
        return HostPattern::parse(name).map_err(|why| wrong(&why));
    }
    let Some(domain) = domain else {
        return Err(wrong(&"it is a short one, and the file has no `domain`; write the full name"));
    };
    let short = HostName::parse(name).map_err(|why| wrong(&why))?;
    HostName::parse(&format!("{short}.{domain}")).map(HostPattern::Exact).map_err(|why| wrong(&why))
}

fn read_terms<'a>(label: &dyn Fn(&str) -> Option<&'a str>) -> Result<Terms, String> {
    let duration = |name: &str| {
        label(name).map(|text| parse_duration(text).map_err(|why| format!("doorward.{name}: {why}"))).transpose()
    };
    let max_body = label("max_body").map(|text| parse_size(text).map_err(|why| format!("doorward.max_body: {why}")));
    let tls_name = label("tls_name").map(|text| {
        HostName::parse(text).map_err(|why| format!("doorward.tls_name is `{}`, which is no name: {why}", cut(text)))
    });
    let pin = label("pin").map(|text| {
        crate::config::parse_pin(text)
            .ok_or_else(|| format!("doorward.pin is `{}`; write `sha256:` and 64 hex digits", cut(text)))
    });
    Ok(Terms {
        allow: label("allow").map(read_allow).transpose()?,
        public: label("public").map(read_public).transpose()?.unwrap_or_default(),
        hold: duration("hold")?,
        max_body: max_body.transpose()?,
        idle: duration("idle")?,
        hsts: duration("hsts")?,
        log_query: flag("log_query", label("log_query"))?,
        tls_name: tls_name.transpose()?,
        verify: flag("verify", label("verify"))?,
        pin: pin.transpose()?,
        balance: label("balance").map_or(Ok(Balance::default()), read_balance)?,
        ..Terms::default()
    })
}

fn read_balance(text: &str) -> Result<Balance, String> {
    match text {
        "round-robin" => Ok(Balance::RoundRobin),
        "least-requests" => Ok(Balance::LeastRequests),
        "sticky" => Ok(Balance::Sticky),
        other => Err(format!("doorward.balance is `{}`; there are round-robin, least-requests and sticky", cut(other))),
    }
}

fn read_allow(text: &str) -> Result<Vec<Admitted>, String> {
    let entry = |word: &str| match (word.parse::<IpNet>(), word.parse::<std::net::IpAddr>()) {
        (Ok(net), _) => Ok(Admitted::Net(net.trunc())),
        (_, Ok(address)) => Ok(Admitted::Net(address.into())),
        // `anyone` admits no more than `[docker] allow` does; whether a name is a network is known where the file is.
        _ if !word.contains('/') => Ok(Admitted::Named(word.to_owned())),
        _ => Err(format!("`{}` in doorward.allow is neither a network nor an address", cut(word))),
    };
    words(text).map(entry).collect()
}

fn read_public(text: &str) -> Result<Vec<HostName>, String> {
    let name = |word: &str| match HostName::parse(word) {
        Ok(name) if name.as_str().contains('.') => Ok(name),
        Ok(_) => Err(format!("`{}` in doorward.public is a short name; a public name is a full one", cut(word))),
        Err(why) => Err(format!("`{}` in doorward.public is no name: {why}", cut(word))),
    };
    words(text).map(name).collect()
}

fn flag(name: &str, text: Option<&str>) -> Result<bool, String> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("doorward.{name} is `{}`; write true or false", cut(other))),
    }
}

/// A list in a label: separated by commas or spaces.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
