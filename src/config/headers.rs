//! `headers` of a route: what is set and removed on the way.
//! Refuses the headers that frame a message: changing those by hand is how requests are smuggled.

use std::collections::HashSet;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue};

use crate::model::Authority;

use super::keys::{HEADER_EDITS, HEADER_VALUE, HEADERS};
use super::reading::{Item, Reading, shown};
use super::section::Section;
use super::{HeaderEdits, HeadersSpec, Span};

/// Reads `headers`.
pub(super) fn headers<'t>(reading: &Reading<'t>, item: &Item<'t>) -> HeadersSpec {
    let Some(section) = Section::open(reading, item, &HEADERS, "`headers`".to_owned()) else {
        return HeadersSpec::default();
    };
    let request = section.item("request").map(|item| edits(reading, &item, Direction::Request)).unwrap_or_default();
    let response = section.item("response").map(|item| edits(reading, &item, Direction::Response)).unwrap_or_default();
    HeadersSpec { request, response }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Request,
    Response,
}

fn edits<'t>(reading: &Reading<'t>, item: &Item<'t>, direction: Direction) -> HeaderEdits {
    let Some(section) = Section::open(reading, item, &HEADER_EDITS, format!("`headers.{}`", item.key)) else {
        return HeaderEdits::default();
    };
    let mut out = HeaderEdits::default();
    let mut seen = HashSet::new();
    let set = section.item("set").and_then(|set| reading.entries(&set, &HEADER_VALUE)).unwrap_or_default();
    for entry in &set {
        let value = value(reading, entry);
        let Some(name) = name(reading, entry.key, entry.key_span) else { continue };
        if name == HOST && direction == Direction::Request {
            check_host(reading, entry);
        }
        if !seen.insert(name.clone()) {
            let help = "upper and lower case make no difference; keep one";
            reading.fault(entry.key_span, format!("{} is set twice", shown(entry.key)), "", help);
        }
        if let Some(value) = value {
            out.set.push((name, value));
        }
    }
    let remove = section.item("remove").and_then(|remove| reading.texts(&remove)).unwrap_or_default();
    for text in &remove {
        let Some(name) = name(reading, text.value, text.span) else { continue };
        if name == HOST && direction == Direction::Request {
            let help = "set another one: `headers = { request = { set = { Host = \"nas.home.example\" } } }`";
            reading.fault(text.span, "a request cannot go without `Host`", "", help);
            continue;
        }
        out.remove.push(name);
    }
    out
}

fn name(reading: &Reading<'_>, text: &str, span: Span) -> Option<HeaderName> {
    let Ok(name) = HeaderName::try_from(text) else {
        let help = "a header's name has letters, digits and `-`: `\"X-Home\"`";
        reading.fault(span, format!("{} is not a header's name", shown(text)), "", help);
        return None;
    };
    if frames_a_message(&name) {
        let help = "this header belongs to one connection and is written by whoever speaks on it; leave it out";
        reading.fault(span, format!("{} is not for a file to change", shown(text)), "", help);
        return None;
    }
    Some(name)
}

/// The headers of RFC 9110 §7.6.1 and their kin.
fn frames_a_message(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
        || name.as_str() == "keep-alive"
        || name.as_str().starts_with("proxy-")
}

fn value(reading: &Reading<'_>, entry: &Item<'_>) -> Option<HeaderValue> {
    let Some(text) = entry.value.as_str() else {
        reading.wrong_kind(entry);
        return None;
    };
    let value = HeaderValue::from_str(text).ok();
    if value.is_none() {
        let help = "a header's value is one line of printable ASCII";
        reading.fault(entry.span, format!("{} is not a header's value", shown(text)), "", help);
    }
    value
}

fn check_host(reading: &Reading<'_>, entry: &Item<'_>) {
    let Some(text) = entry.value.as_str() else { return };
    if Authority::parse(text).is_err() {
        let help = "write a name, with a port if need be: `\"nas.home.example:8443\"`";
        reading.fault(entry.span, format!("{} is not a host", shown(text)), "", help);
    }
}
