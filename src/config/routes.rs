//! `[routes]`: names and where each leads.
//! Two routes with one name are found by `check`, which sees them all.

use std::sync::Arc;

use crate::model::{HostName, HostPattern};

use super::keys::{ROUTE, ROUTE_ENTRY};
use super::reading::{Item, Reading, shown};
use super::section::Section;
use super::targets::{self, Destination};
use super::{
    ActionSpec, HeadersSpec, Located, Origin, PathSpec, QuotaSpec, RouteSpec, Schemes, ToSpec, access, forms, headers,
    paths, quotas,
};

/// What short names are joined with.
pub(super) enum Domain<'a> {
    /// The `domain` of the file.
    Given(&'a HostName),
    /// There is one, but it is faulty: short names are not to blame.
    Faulty,
    /// There is none.
    Absent,
}

/// Reads `[routes]`.
pub(super) fn routes<'t>(reading: &Reading<'t>, item: &Item<'t>, domain: &Domain<'_>) -> Vec<RouteSpec> {
    let entries = reading.entries(item, &ROUTE_ENTRY).unwrap_or_default();
    let is_route = |entry: &&Item<'_>| targets::is_short(entry) || entry.value.as_table().is_some();
    let is_short = |entry: &&Item<'_>| !entry.key.contains('.') && entry.key != "*" && is_route(entry);
    if let (Domain::Absent, Some(first)) = (domain, entries.iter().find(is_short)) {
        let message = format!("{} is a short name, but the file has no `domain`", shown(first.key));
        let help = "write `domain = \"home.example\"` at the top of the file, or full names in quotes";
        reading.missing(first.key_span, message, "", help);
    }
    entries.iter().filter_map(|entry| route(reading, entry, domain)).collect()
}

fn route<'t>(reading: &Reading<'t>, entry: &Item<'t>, domain: &Domain<'_>) -> Option<RouteSpec> {
    let host = host(reading, entry, domain);
    let name = reading.located(entry.key_span, Arc::from(entry.key));
    if targets::is_short(entry) {
        let to = targets::destination(reading, entry).map(Destination::alone);
        return Some(bare(name, host?, Some(to?)));
    }
    let section = Section::open(reading, entry, &ROUTE, format!("[routes.{}]", entry.key))?;
    let destination = section.item("to").and_then(|to| targets::destination(reading, &to));
    let to = targets::with_keys_beside(&section, destination, entry.key);
    let paths = section.item("paths").map(|paths| paths::paths(reading, &paths)).unwrap_or_default();
    if !section.has("to") && !section.has_unknown() {
        check_answers_alone(&section, &paths);
    }
    let public = public(&section);
    let allow = access::allow(&section, "allow");
    let quota = quotas::quota(&section);
    let max_body = section.size("max_body").map(|size| size.value);
    let idle = section.duration("idle").map(|idle| idle.value);
    let hsts = section.duration("hsts").map(|hsts| hsts.value);
    let log_query = section.flag("log_query").is_some_and(|flag| flag.value);
    let headers = section.item("headers").map(|item| headers::headers(reading, &item)).unwrap_or_default();
    let bare = bare(name, host?, to);
    Some(RouteSpec { public, allow, quota, max_body, idle, hsts, log_query, headers, paths, ..bare })
}

fn bare(name: Located<Arc<str>>, host: HostPattern, to: Option<ToSpec>) -> RouteSpec {
    RouteSpec {
        origin: Origin::File,
        name,
        host,
        public: Vec::new(),
        to,
        allow: None,
        is_within_door: false,
        quota: QuotaSpec::default(),
        max_body: None,
        idle: None,
        hsts: None,
        log_query: false,
        headers: HeadersSpec::default(),
        paths: Vec::new(),
        schemes: Schemes::default(),
        cert: None,
    }
}

fn host(reading: &Reading<'_>, entry: &Item<'_>, domain: &Domain<'_>) -> Option<HostPattern> {
    let parsed = match (entry.key.contains('.') || entry.key == "*", domain) {
        (true, _) => HostPattern::parse(entry.key),
        // Joined with something: its form is judged even where the domain is not known.
        (false, Domain::Given(domain)) => HostName::parse(entry.key)
            .and_then(|_| HostName::parse(&format!("{}.{domain}", entry.key)))
            .map(HostPattern::Exact),
        (false, Domain::Faulty | Domain::Absent) => HostName::parse(entry.key).map(HostPattern::Exact),
    };
    if let Err(wrong) = &parsed {
        let help = match entry.key.contains("://") || entry.key.contains('/') {
            true => "the key is a name only: `photos`, `\"photos.example.com\"`; paths stand in `paths`",
            false => {
                "write a short name (`photos`), a full one (`\"photos.example.com\"`), `\"*.example.com\"` or `\"*\"`"
            }
        };
        reading.fault(entry.key_span, format!("{} cannot be a route's name: {wrong}", shown(entry.key)), "", help);
    }
    parsed.ok()
}

/// A route without `to` lives off its paths: each must answer by itself.
fn check_answers_alone(section: &Section<'_, '_>, paths: &[PathSpec]) {
    let help = "write `to = \"<upstream or address>\"`";
    for key in targets::BESIDE {
        section.out_of_place(key, "means nothing without a `to`", help);
    }
    if !section.has("paths") {
        section.reading.missing(section.span, format!("{} leads nowhere: it has no `to`", section.title), "", help);
        return;
    }
    for path in paths {
        if let ActionSpec::Forward { to: None, .. } = path.action {
            let message = format!(
                "`{}` forwards to the route's own upstream, but {} has no `to`",
                path.pattern.value, section.title
            );
            section.reading.missing(path.pattern.span, message, "", help);
        }
    }
}

fn public(section: &Section<'_, '_>) -> Vec<Located<HostName>> {
    let Some(item) = section.item("public") else { return Vec::new() };
    let texts = section.reading.text_or_texts(&item).unwrap_or_default();
    texts.iter().filter_map(|text| public_name(section.reading, text)).collect()
}

fn public_name(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<HostName>> {
    if text.value.contains('*') {
        let help = "write each name out; a door to the world answers for names that somebody chose";
        reading.fault(text.span, format!("{} cannot be public: a public name has no `*`", shown(text.value)), "", help);
        return None;
    }
    let name = forms::host_name(reading, text)?;
    if !name.value.as_str().contains('.') {
        let help = format!("write the full name: `public = \"{}.example.com\"`", text.value);
        reading.fault(
            text.span,
            format!("{} is a short name; a public name is a full one", shown(text.value)),
            "",
            help,
        );
        return None;
    }
    Some(name)
}
