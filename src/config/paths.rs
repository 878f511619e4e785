//! `paths` of a route: what single paths do differently.
//! Never looks at a request; matching is the model's.

use std::sync::Arc;

use http::HeaderValue;

use crate::model::{PathPattern, normalise};

use super::keys::{PATH, PATH_ENTRY};
use super::reading::{Item, Reading, shown};
use super::section::Section;
use super::targets::{self, Destination};
use super::{ActionSpec, Located, PathSpec, QuotaSpec, access, quotas};

/// The keys of which a path has at most one.
const ACTIONS: [&str; 4] = ["to", "redirect", "json", "text"];

/// Reads `paths`.
pub(super) fn paths<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Vec<PathSpec> {
    let entries = reading.entries(item, &PATH_ENTRY).unwrap_or_default();
    entries.iter().filter_map(|entry| path(reading, entry)).collect()
}

fn path<'t>(reading: &Reading<'t>, entry: &Item<'t>) -> Option<PathSpec> {
    let pattern = pattern(reading, entry);
    if targets::is_short(entry) {
        let to = targets::destination(reading, entry).map(Destination::alone)?;
        let action = ActionSpec::Forward { to: Some(to), replace: None };
        return Some(PathSpec { pattern: pattern?, allow: None, quota: QuotaSpec::default(), action });
    }
    let section = Section::open(reading, entry, &PATH, format!("path {}", shown(entry.key)))?;
    let allow = access::allow(&section, "allow");
    let quota = quotas::quota(&section);
    let action = action(&section);
    Some(PathSpec { pattern: pattern?, allow, quota, action: action? })
}

fn pattern(reading: &Reading<'_>, entry: &Item<'_>) -> Option<Located<PathPattern>> {
    let key = entry.key;
    if let Some(pattern) = PathPattern::parse(key) {
        return Some(reading.located(entry.key_span, pattern));
    }
    let body = key.strip_suffix("/*").unwrap_or(key);
    let (why, help) = if !key.starts_with('/') {
        ("a path begins with `/`", format!("write `\"/{}\"`", key.trim_start_matches("./")))
    } else if body.contains(['?', '#']) {
        ("a path ends before `?` and `#`", format!("write `\"{}\"`", key.split(['?', '#']).next().unwrap_or_default()))
    } else if body.contains('*') {
        let base = body.split('*').next().unwrap_or_default().trim_end_matches('/');
        ("`*` stands only at the end, behind a `/`", format!("write `\"{base}/*\"` for all that is below `{base}/`"))
    } else {
        let below = if body.len() < key.len() { "/*" } else { "" };
        let normal = normalise(body);
        let normal = if below.is_empty() { &*normal } else { normal.trim_end_matches('/') };
        ("it is not in the form that requests are compared in", format!("write `\"{normal}{below}\"`"))
    };
    reading.fault(entry.key_span, format!("{} cannot be a path: {why}", shown(key)), "", help);
    None
}

fn action(section: &Section<'_, '_>) -> Option<ActionSpec> {
    if section.is_empty() {
        let help = "write `to`, `redirect`, `json` or `text`, or a narrower `allow`";
        section.reading.missing(section.span, format!("{} does nothing", section.title), "", help);
        return None;
    }
    let written: Vec<&'static str> = ACTIONS.into_iter().filter(|key| section.has(key)).collect();
    if let [first, others @ ..] = written.as_slice() {
        for other in others {
            section.out_of_place(
                other,
                &format!("cannot stand beside `{first}`"),
                "a path does one thing; delete one of the two",
            );
        }
    }
    let first = written.first().copied().unwrap_or("to");
    let answers = matches!(first, "json" | "text");
    if first != "to" {
        for key in ["strip", "replace"] {
            let help = "nothing is forwarded here; leave it out";
            section.out_of_place(key, &format!("means nothing beside `{first}`"), help);
        }
    } else {
        section.out_of_place(
            "status",
            "means nothing where requests are forwarded",
            "the upstream chooses the status; leave it out",
        );
    }
    if !answers {
        section.out_of_place(
            "cors",
            "stands only beside `json` or `text`",
            "leave it out; an upstream sets its own headers",
        );
    }
    match first {
        "redirect" => redirect(section),
        "json" | "text" => answer(section, first),
        _ => forward(section),
    }
}

fn forward(section: &Section<'_, '_>) -> Option<ActionSpec> {
    let strip = section.flag("strip").is_some_and(|strip| strip.value).then(|| Arc::from(""));
    let written = section.text("replace").map(|text| replacement(section, &text));
    if section.has("strip") {
        let help = "`strip = true` takes the matched part away, `replace` puts another in its place; keep one";
        section.out_of_place("replace", "cannot stand beside `strip`", help);
    }
    let replace = match written {
        Some(replacement) => Some(replacement?),
        None => strip,
    };
    let Some(item) = section.item("to") else { return Some(ActionSpec::Forward { to: None, replace }) };
    let to = targets::destination(section.reading, &item).map(Destination::alone)?;
    Some(ActionSpec::Forward { to: Some(to), replace })
}

/// What stands in place of the matched part: a path of its own.
fn replacement(section: &Section<'_, '_>, text: &Located<&str>) -> Option<Arc<str>> {
    let written = text.value;
    let is_sent_as_it_is = written.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b));
    if !written.starts_with('/') || !is_sent_as_it_is || normalise(written) != written {
        let help =
            "write a path without `?`, `#`, `.` or `..`: `replace = \"/api\"`; `strip = true` takes the part away";
        section.reading.fault(text.span, format!("{} cannot replace a path", shown(written)), "", help);
        return None;
    }
    Some(Arc::from(written))
}

fn redirect(section: &Section<'_, '_>) -> Option<ActionSpec> {
    let status =
        status(section, 302, |status| matches!(status, 301 | 302 | 303 | 307 | 308), "301, 302, 303, 307 or 308");
    let text = section.text("redirect")?;
    let is_place =
        text.value.starts_with('/') || text.value.starts_with("https://") || text.value.starts_with("http://");
    let location = HeaderValue::from_str(text.value).ok().filter(|_| is_place && !text.value.contains(' '));
    if location.is_none() {
        let help =
            "write a path (`\"/remote.php/dav/\"`) or a URL (`\"https://photos.example.com/\"`), percent-encoded";
        section.reading.fault(text.span, format!("{} is not a place to redirect to", shown(text.value)), "", help);
    }
    Some(ActionSpec::Redirect { location: location?, status: status? })
}

fn answer(section: &Section<'_, '_>, kind: &'static str) -> Option<ActionSpec> {
    let status = status(section, 200, |status| (200..=599).contains(&status), "a number from 200 to 599");
    let cors = section.flag("cors").is_some_and(|cors| cors.value);
    let text = section.text(kind)?;
    let json = kind == "json";
    if json && let Err(wrong) = serde_json::from_str::<serde::de::IgnoredAny>(text.value) {
        let help = "write JSON in single quotes, so that its own quotes need no backslash: `json = '{\"ok\":true}'`";
        section.reading.fault(text.span, format!("not valid JSON: {wrong}"), "", help);
        return None;
    }
    if matches!(status, Some(204 | 205 | 304)) && !text.value.is_empty() {
        let message = format!("an answer with this status has no body, but `{kind}` has one");
        section.out_of_place(
            "status",
            "and the body exclude each other",
            &format!("{message}; write `text = \"\"` or another status"),
        );
    }
    Some(ActionSpec::Answer { json, body: Arc::from(text.value), status: status?, cors })
}

fn status(section: &Section<'_, '_>, default: u16, fits: fn(u16) -> bool, words: &str) -> Option<u16> {
    let Some(item) = section.item("status") else { return Some(default) };
    let number = section.reading.integer(&item)?;
    let status = u16::try_from(number).ok().filter(|&status| fits(status));
    if status.is_none() {
        let help = format!("write {words}, or leave it out for {default}");
        section.reading.fault(item.span, format!("{number} is not a status for this answer"), "", help);
    }
    status
}
