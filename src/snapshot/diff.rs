//! What a new snapshot changes, in words: for the log and the answer to `doorward reload`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::Snapshot;
use super::route::{Action, PathRule, Route};
use crate::upstream::Target;

/// The difference between two snapshots. Comments and line numbers are no difference.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Names of routes that are new.
    pub routes_added: Vec<Arc<str>>,
    /// Names of routes that are gone.
    pub routes_removed: Vec<Arc<str>>,
    /// Names of routes that are served differently.
    pub routes_changed: Vec<Arc<str>>,
    /// How many routes are served as before.
    pub routes_same: usize,
    /// Doors that are new, gone or different, with their addresses.
    pub doors: Vec<String>,
    /// What else changed: the file's `allow`, networks, metrics, log, drain.
    pub settings: Vec<&'static str>,
    /// Names of certificates (`[cert.<id>]`) that are served in a new version.
    pub certificates: Vec<Arc<str>>,
}

impl Changes {
    /// Whether nothing is served differently.
    pub fn is_empty(&self) -> bool {
        let Changes { routes_added, routes_removed, routes_changed, routes_same: _, doors, settings, certificates } =
            self;
        routes_added.is_empty()
            && routes_removed.is_empty()
            && routes_changed.is_empty()
            && doors.is_empty()
            && settings.is_empty()
            && certificates.is_empty()
    }
}

/// Compares two snapshots.
pub fn changes(before: &Snapshot, after: &Snapshot) -> Changes {
    let mut found = Changes::default();
    let mut old: HashMap<&str, &Arc<Route>> = before.routes.iter().map(|route| (&*route.name, route)).collect();
    for route in after.routes.iter() {
        match old.remove(&*route.name) {
            None => found.routes_added.push(Arc::clone(&route.name)),
            Some(known) if is_same(known, route) => found.routes_same += 1,
            Some(_) => found.routes_changed.push(Arc::clone(&route.name)),
        }
    }
    found.routes_removed.extend(
        before.routes.iter().filter(|route| old.contains_key(&*route.name)).map(|route| Arc::clone(&route.name)),
    );
    found.doors = door_changes(before, after);
    found.settings = setting_changes(before, after);
    let served: Vec<_> =
        before.certificates.iter().map(|certificate| (certificate.id(), certificate.serial())).collect();
    for certificate in after.certificates.iter() {
        if !served.contains(&(certificate.id(), certificate.serial())) {
            found.certificates.push(Arc::clone(certificate.id()));
        }
    }
    found
}

fn door_changes(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut words = Vec::new();
    for listener in &after.listeners {
        let name = &listener.door.name;
        match before.listener(listener.address) {
            None => words.push(format!("door {name} opens {}", listener.address)),
            Some(known) if known.mode != listener.mode || known.door != listener.door => {
                words.push(format!("door {name} on {} changed", listener.address));
            }
            Some(_) => {}
        }
    }
    for listener in &before.listeners {
        if after.listener(listener.address).is_none() {
            words.push(format!("door {} closes {}", listener.door.name, listener.address));
        }
    }
    words
}

fn setting_changes(before: &Snapshot, after: &Snapshot) -> Vec<&'static str> {
    let mut words = Vec::new();
    if before.allow != after.allow {
        words.push("the file's allow");
    }
    if before.quota != after.quota {
        words.push("the file's limit");
    }
    if !before.networks.iter().eq(after.networks.iter()) {
        words.push("networks");
    }
    if before.metrics != after.metrics {
        words.push("metrics");
    }
    if before.access_log != after.access_log {
        words.push("log");
    }
    if before.drain != after.drain {
        words.push("drain");
    }
    if before.limits != after.limits {
        words.push("limits");
    }
    words
}

fn is_same(a: &Route, b: &Route) -> bool {
    a.host == b.host
        && a.public == b.public
        && is_same_target(a.target.as_ref(), b.target.as_ref())
        && a.allow == b.allow
        && a.is_within_door == b.is_within_door
        && a.quota == b.quota
        && a.paths.len() == b.paths.len()
        && a.paths.iter().zip(&b.paths).all(|(a, b)| is_same_rule(a, b))
        && a.schemes == b.schemes
        && (a.max_body, a.idle, a.idle_reader, a.idle_tunnel, &a.hsts, a.log_query)
            == (b.max_body, b.idle, b.idle_reader, b.idle_tunnel, &b.hsts, b.log_query)
        && a.request_edits == b.request_edits
        && a.response_edits == b.response_edits
}

fn is_same_target(a: Option<&Arc<Target>>, b: Option<&Arc<Target>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn is_same_rule(a: &PathRule, b: &PathRule) -> bool {
    let acts_the_same = match (&a.action, &b.action) {
        (Action::Forward { target: a, replace: x }, Action::Forward { target: b, replace: y }) => {
            x == y && is_same_target(a.as_ref(), b.as_ref())
        }
        (Action::Redirect { location: a, status: x }, Action::Redirect { location: b, status: y }) => a == b && x == y,
        (Action::Answer(a), Action::Answer(b)) => a == b,
        _ => false,
    };
    acts_the_same && a.pattern == b.pattern && a.allow == b.allow && a.quota == b.quota
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "nothing to do, {} routes as before", self.routes_same);
        }
        let mut parts = Vec::new();
        for (sign, names) in [('+', &self.routes_added), ('-', &self.routes_removed), ('~', &self.routes_changed)] {
            if !names.is_empty() {
                parts.push(format!("{sign}{} {}", names.len(), listed(names)));
            }
        }
        parts.push(format!("{} routes as before", self.routes_same));
        parts.extend(self.doors.iter().cloned());
        parts.extend(self.settings.iter().map(|&what| format!("{what} changed")));
        if !self.certificates.is_empty() {
            parts.push(format!("new certificate {}", listed(&self.certificates)));
        }
        f.write_str(&parts.join("; "))
    }
}

/// The first few names, and how many more.
fn listed(names: &[Arc<str>]) -> String {
    const SHOWN: usize = 8;
    let shown = names.iter().take(SHOWN).map(|name| &**name).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("({shown} and {more} more)"),
        _ => format!("({shown})"),
    }
}
