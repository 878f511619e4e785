//! What a `*` in a promise's URL stands for: every name of the file that fits and one that nobody has, every path rule below
//! and one path that none of them has. Exact for the same reason as classes of addresses are: routing looks at names and at
//! path rules, so one of each kind speaks for the rest. Knows nothing of who asks. Names that only a container's regular
//! expression has are not found: no expression says which they are.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::{Origin, UrlSpec};
use crate::model::{HostPattern, PathPattern};
use crate::snapshot::Snapshot;
use crate::snapshot::route::Route;

/// The names that a host of a promise speaks of: the written one; or those of the file that fit, in its order, those
/// that no line has, and at the end those of containers.
pub fn names_asked(snapshot: &Snapshot, host: &HostPattern) -> Vec<String> {
    if let HostPattern::Exact(name) = host {
        return vec![name.as_str().to_owned()];
    }
    let mut names: Vec<String> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut add = |name: String| {
        if host.matches(&name) && seen.insert(name.clone()) {
            names.push(name);
        }
    };
    let unheard = unheard_label(snapshot);
    let below = |base: &str| format!("{unheard}.{base}");
    // What the file itself breaks is found before what containers break.
    for is_file in [true, false] {
        let routes = || snapshot.routes.iter().filter(|route| (route.origin == Origin::File) == is_file);
        for route in routes() {
            if let HostPattern::Exact(name) = &route.host {
                add(name.as_str().to_owned());
            }
            route.public.iter().for_each(|name| add(name.as_str().to_owned()));
        }
        for route in routes() {
            match (&route.host, host) {
                (HostPattern::Wildcard(base), _) => add(below(base.as_str())),
                (HostPattern::Trailing(head), HostPattern::Wildcard(base)) => add(format!("{head}.{base}")),
                (HostPattern::Trailing(head), _) => add(format!("{head}.{unheard}")),
                (HostPattern::Exact(_) | HostPattern::Regex(_) | HostPattern::Any, _) => {}
            }
        }
        match host {
            HostPattern::Wildcard(base) => add(below(base.as_str())),
            _ => add(unheard.clone()),
        }
    }
    names
}

/// A label that no name of the file has.
fn unheard_label(snapshot: &Snapshot) -> String {
    let is_heard = |label: &str| {
        let has = |name: &str| name.split('.').any(|part| part == label);
        let of =
            |route: &Arc<Route>| has(&route.host.to_string()) || route.public.iter().any(|public| has(public.as_str()));
        snapshot.routes.iter().any(of)
    };
    let mut label = "any".to_owned();
    while is_heard(&label) {
        label.push_str("-other");
    }
    label
}

/// The paths that a promise speaks of, on a route if there is one: the written one without its query; or that and what is
/// below it.
pub fn paths_asked(url: &UrlSpec, route: Option<&Arc<Route>>) -> Vec<String> {
    if !url.below {
        return vec![url.path.split(['?', '#']).next().unwrap_or("/").to_owned()];
    }
    let base = url.path.as_str();
    let is_below = |path: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut paths: Vec<String> = Vec::new();
    let mut add = |path: String| {
        if path.starts_with('/') && is_below(&path) && !paths.contains(&path) {
            paths.push(path);
        }
    };
    add(base.to_owned());
    add(format!("{base}/"));
    add(unruled(route, base, "/"));
    for rule in route.into_iter().flat_map(|route| &route.paths).filter(|rule| is_below(rule.pattern.base())) {
        let own = rule.pattern.base();
        add(own.to_owned());
        match &rule.pattern {
            PathPattern::Exact(_) => {}
            PathPattern::Below(_) => {
                add(format!("{own}/"));
                add(unruled(route, own, "/"));
            }
            PathPattern::Starts(_) => add(unruled(route, own, "")),
        }
    }
    paths
}

/// A path below `base` that no more specific rule of the route matches.
fn unruled(route: Option<&Arc<Route>>, base: &str, between: &str) -> String {
    let rules = || route.into_iter().flat_map(|route| &route.paths);
    let is_free = |path: &str| {
        !rules().any(|rule| rule.pattern.base().len() > base.len() && rule.pattern.matches(path).is_some())
    };
    // Each rule takes one of these at most, or all that begin with one letter.
    let letters = || (b'a'..=b'z').map(char::from);
    let mut candidates = (0..=rules().count()).flat_map(|number| {
        letters().map(move |letter| match number {
            0 => format!("{base}{between}{letter}ny"),
            _ => format!("{base}{between}{letter}ny-{number}"),
        })
    });
    candidates.find(|path| is_free(path)).unwrap_or_else(|| format!("{base}{between}any"))
}
