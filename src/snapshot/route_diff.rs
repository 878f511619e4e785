//! In what two routes of one name differ, in words. Says what a person would want to hear of a change; whether there is one
//! is `diff`'s to say.

use std::sync::Arc;

use super::door::Allow;
use super::quota::Quota;
use super::route::{Action, PathRule, Route};
use crate::config::Balance;
use crate::model::{show_duration, show_size};
use crate::upstream::Target;

/// The differences, each in one line: `to: http://a:80 -> http://b:80`. Never empty.
pub fn route_changes(before: &Route, after: &Route) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, before: String, after: String| {
        if before != after {
            found.push(format!("{what}: {before} -> {after}"));
        }
    };
    differ("name", before.host.to_string(), after.host.to_string());
    let public = |route: &Route| shown_list(route.public.iter().map(ToString::to_string).collect());
    differ("public", public(before), public(after));
    differ("to", leads_to(before.target.as_ref()), leads_to(after.target.as_ref()));
    differ("allow", shown_allow(before.allow.as_ref()), shown_allow(after.allow.as_ref()));
    differ("limit", shown_quota(&before.quota), shown_quota(&after.quota));
    let size = |bytes: Option<u64>| bytes.map_or("unlimited".to_owned(), show_size);
    differ("max_body", size(before.max_body), size(after.max_body));
    differ("idle", show_duration(before.idle), show_duration(after.idle));
    let hsts = |route: &Route| route.hsts.as_ref().map_or("none".to_owned(), |value| format!("{value:?}"));
    differ("hsts", hsts(before), hsts(after));
    differ("log_query", before.log_query.to_string(), after.log_query.to_string());
    differ("served", before.schemes.in_words().to_owned(), after.schemes.in_words().to_owned());
    if before.request_edits != after.request_edits {
        found.push("headers sent to the upstream".to_owned());
    }
    if before.response_edits != after.response_edits {
        found.push("headers sent to the client".to_owned());
    }
    for rule in &before.paths {
        let known = after.paths.iter().find(|other| other.pattern == rule.pattern);
        match known.map(|other| (shown_rule(rule), shown_rule(other))) {
            None => found.push(format!("path {} is gone", rule.pattern)),
            Some((was, is)) if was != is => found.push(format!("path {}: {was} -> {is}", rule.pattern)),
            Some(_) => {}
        }
    }
    let is_new = |rule: &&PathRule| !before.paths.iter().any(|other| other.pattern == rule.pattern);
    found.extend(
        after.paths.iter().filter(is_new).map(|rule| format!("path {} is new: {}", rule.pattern, shown_rule(rule))),
    );
    if found.is_empty() {
        found.push("how it is served (TLS towards the upstream, or a setting beside the route)".to_owned());
    }
    found
}

/// Where a route or rule leads: `home https://192.168.8.80:443, hold 45s`.
pub fn leads_to(target: Option<&Arc<Target>>) -> String {
    let Some(target) = target else { return "nowhere".to_owned() };
    let key = &target.upstream.key;
    let hold = key.hold.map(|hold| format!(", hold {}", show_duration(hold))).unwrap_or_default();
    let addresses: Vec<String> = key.endpoints.iter().map(ToString::to_string).collect();
    let balance = match key.balance {
        Balance::RoundRobin => "",
        Balance::LeastRequests => ", least-requests",
        Balance::Sticky => ", sticky",
    };
    match addresses.is_empty() {
        true => format!("{}, no address now{hold}", key.name),
        false => format!("{} {}{balance}{hold}", key.name, addresses.join(", ")),
    }
}

fn shown_rule(rule: &PathRule) -> String {
    let action = match &rule.action {
        Action::Forward { target: None, replace: None } => "as the route".to_owned(),
        Action::Forward { target, replace } => {
            let to = target.as_ref().map_or("as the route".to_owned(), |target| leads_to(Some(target)));
            match replace.as_deref() {
                None => to,
                Some("") => format!("{to}, strip"),
                Some(with) => format!("{to}, as {with}"),
            }
        }
        Action::Redirect { location, status } => {
            format!("{} to {}", status.as_u16(), String::from_utf8_lossy(location.as_bytes()))
        }
        Action::Answer(answer) => {
            let body: String = String::from_utf8_lossy(&answer.body).chars().take(40).collect();
            format!("answers {} {body}", answer.status.as_u16())
        }
    };
    let allow = rule.allow.as_ref().map(|allow| format!(", allow {}", shown_allow(Some(allow)))).unwrap_or_default();
    let quota = match rule.quota == Quota::default() {
        true => String::new(),
        false => format!(", limit {}", shown_quota(&rule.quota)),
    };
    format!("{action}{allow}{quota}")
}

fn shown_quota(quota: &Quota) -> String {
    let Quota { rate, in_flight } = quota;
    let rate = rate.as_ref().map(|bound| bound.most.map_or("off".to_owned(), |most| most.to_string()));
    let in_flight = in_flight
        .as_ref()
        .map(|bound| bound.most.map_or("in flight off".to_owned(), |most| format!("{most} in flight")));
    match rate.into_iter().chain(in_flight).collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "as the door or the file says".to_owned(),
        said => said,
    }
}

/// The entries of an `allow`, as written.
pub fn shown_allow(allow: Option<&Allow>) -> String {
    match allow {
        None => "as the door or the file says".to_owned(),
        Some(allow) if allow.words.is_empty() => "nobody".to_owned(),
        Some(allow) => allow.words.to_string(),
    }
}

fn shown_list(names: Vec<String>) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
