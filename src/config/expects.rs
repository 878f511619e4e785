//! `[[expect]]`: promises. Here only their form; whether they hold is asked of the routing itself.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use ipnet::IpNet;

use crate::model::{HostPattern, PathPattern};

use super::keys::EXPECT;
use super::reading::{Item, Reading, one_of, shown};
use super::section::Section;
use super::{ExpectSpec, ExpectedSpec, FromSpec, Located, UrlSpec, access};

/// Reads the list of promises.
pub(super) fn expects<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Vec<ExpectSpec> {
    if item.value.as_table().is_some() {
        let help = "there may be several, so each is headed with two brackets: `[[expect]]`";
        reading.fault(item.key_span, "`expect` takes a list of tables, not a table", "", help);
        return Vec::new();
    }
    let entries = reading.list(item).unwrap_or_default();
    entries.iter().filter_map(|entry| expect(reading, entry)).collect()
}

fn expect<'t>(reading: &Reading<'t>, entry: &Item<'t>) -> Option<ExpectSpec> {
    let entry = Item { key_span: entry.span, ..*entry };
    let section = Section::open(reading, &entry, &EXPECT, "[[expect]]".to_owned())?;
    let from = section.text("from").and_then(|text| from(reading, &text));
    let via = section.text("via").and_then(|text| via(reading, &text));
    let url = section.required("url").and_then(|item| url(reading, &reading.text(&item)?));
    let method = section.text("method").map_or(Some(Method::GET), |text| method(reading, &text));
    let is = section.required("is").and_then(|item| is(reading, &reading.text(&item)?));
    let line = reading.source.line_of(entry.span.start);
    Some(ExpectSpec { line, span: entry.span, from, via, url: url?, method: method?, is: is? })
}

fn from(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<FromSpec>> {
    if text.value == access::ANYONE || reading.names.networks.contains_key(text.value) {
        return Some(reading.located(text.span, FromSpec::Network(Arc::from(text.value))));
    }
    if let Ok(address) = text.value.parse::<IpAddr>() {
        return Some(reading.located(text.span, FromSpec::Address(address.to_canonical())));
    }
    if let Ok(block) = text.value.parse::<IpNet>() {
        let help = format!("write one address of it, such as `{}`, or the name of a network", block.addr());
        reading.fault(text.span, format!("{} is a block; one client asks", shown(text.value)), "", help);
        return None;
    }
    access::unknown_network(reading, text.value, text.span);
    None
}

fn via(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<Arc<str>>> {
    let known = || reading.names.doors.keys().copied();
    if !reading.names.doors.contains_key(text.value) {
        let message = format!("no door {}{}", shown(text.value), reading.guess(text.value, known()));
        reading.missing(text.span, message, "", format!("`[listen]` has {}", one_of(known())));
        return None;
    }
    Some(reading.located(text.span, Arc::from(text.value)))
}

fn url(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<UrlSpec>> {
    let parsed = read_url(text.value);
    if let Err(wrong) = &parsed {
        let help = "write scheme, name and path: `url = \"https://photos.home.example/\"`";
        reading.fault(text.span, format!("{} cannot be asked for: {wrong}", shown(text.value)), "", help);
    }
    Some(reading.located(text.span, parsed.ok()?))
}

fn read_url(text: &str) -> Result<UrlSpec, String> {
    let (scheme, rest) = text.split_once("://").ok_or("it has no `https://` or `http://`")?;
    let https = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err("it begins with neither `https://` nor `http://`".to_owned()),
    };
    if rest.contains('#') {
        return Err("what follows a `#` is never sent".to_owned());
    }
    if !rest.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("blanks and letters beyond ASCII are sent percent-encoded".to_owned());
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A port chooses a door, and `via` does that here; routing looks at the name alone.
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    if port.parse::<u16>().is_err() {
        return Err(format!("`{port}` is not a port"));
    }
    let host = HostPattern::parse(host).map_err(|wrong| format!("`{host}` is not a name: {wrong}"))?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let bare = path.split('?').next().unwrap_or_default();
    let Some(base) = bare.strip_suffix("/*") else { return Ok(UrlSpec { https, host, path, below: false }) };
    if PathPattern::parse(bare).is_none() {
        return Err(format!("before `/*` stands a path without detours, encodings and other stars, not `{base}`"));
    }
    let path = base.to_owned();
    Ok(UrlSpec { https, host, path, below: true })
}

fn method(reading: &Reading<'_>, text: &Located<&str>) -> Option<Method> {
    let method = Method::from_bytes(text.value.as_bytes()).ok();
    // Methods know upper from lower case (RFC 9110 §9.1), so `get` would ask for something nobody serves.
    if method.is_none() || text.value.bytes().any(|b| b.is_ascii_lowercase()) {
        let help = "write it in capitals: `GET`, `POST`, `PROPFIND`";
        reading.fault(text.span, format!("{} is not an HTTP method", shown(text.value)), "", help);
        return None;
    }
    method
}

fn is(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<ExpectedSpec>> {
    const WORDS: [&str; 4] = ["denied", "unknown host", "redirect", "answer"];
    let value = match text.value {
        "denied" => ExpectedSpec::Denied,
        "unknown host" => ExpectedSpec::UnknownHost,
        "redirect" => ExpectedSpec::Redirect,
        "answer" => ExpectedSpec::Answer,
        name if reading.names.upstreams.contains_key(name) => ExpectedSpec::Upstream(Arc::from(name)),
        name => match reading.names.routes.get(name) {
            Some(Some(to)) if !to.contains("://") => {
                let message = format!("{} is a route, and it leads to the upstream `{to}`", shown(name));
                reading.fault(text.span, message, "", format!("write the upstream that answers: `is = \"{to}\"`"));
                return None;
            }
            Some(_) => ExpectedSpec::Upstream(Arc::from(name)),
            None => {
                let known = || reading.names.upstreams.keys().chain(reading.names.routes.keys()).copied().chain(WORDS);
                let message = format!("nothing is {}{}", shown(name), reading.guess(name, known()));
                let help = "write `denied`, `unknown host`, `redirect`, `answer`, an upstream, or a route whose `to` is an address";
                reading.missing(text.span, message, "", help);
                return None;
            }
        },
    };
    Some(reading.located(text.span, value))
}
