//! The table in force, for people and for scripts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::{Balance, Faults};
use crate::snapshot::{Action, PathRule, Route, Snapshot};
use crate::upstream::Target;

/// One route, and one row for each of its paths.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteRow {
    /// The key.
    pub name: String,
    /// The name it answers for.
    pub host: String,
    /// Its names on doors with `names = "public"`.
    pub public: Vec<String>,
    /// The path rule; absent for the route itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// Upstream and address, or what is answered.
    pub to: String,
    /// Its addresses, if there are several or one fails.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub addresses: Vec<AddressRow>,
    /// Who may enter, as written.
    pub allow: String,
    /// 1-based line in the file.
    pub line: u32,
}

/// One address of an upstream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddressRow {
    /// As in the file.
    pub address: String,
    /// Whether connections to it fail: then others serve, and it is tried again every now and then.
    pub fails: bool,
    /// Requests that are there now.
    pub requests_in_flight: u64,
    /// Requests that went there since it is in force.
    pub requests: u64,
}

/// All of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteRows {
    /// The snapshot's number; 1 for a file that is not served.
    pub generation: u64,
    /// In the order of the file.
    pub routes: Vec<RouteRow>,
}

/// The table of a file, without serving it.
pub fn table(path: &Path) -> Result<RouteRows, Faults> {
    check::prepare(path).map(|prepared| rows(&prepared.snapshot))
}

/// The table of a snapshot.
pub fn rows(snapshot: &Snapshot) -> RouteRows {
    let mut routes = Vec::new();
    for route in snapshot.routes.iter() {
        if route.target.is_some() || route.paths.is_empty() {
            routes.push(row(snapshot, route, None));
        }
        routes.extend(route.paths.iter().map(|rule| row(snapshot, route, Some(rule))));
    }
    RouteRows { generation: snapshot.generation, routes }
}

fn row(snapshot: &Snapshot, route: &Arc<Route>, rule: Option<&PathRule>) -> RouteRow {
    let door_allow = || snapshot.listeners.iter().find(|l| !l.door.public_names).and_then(|l| l.door.allow.as_ref());
    let allow = rule
        .and_then(|rule| rule.allow.as_ref())
        .or(route.allow.as_ref())
        .or_else(door_allow)
        .unwrap_or(&snapshot.allow);
    let to = match rule.map(|rule| &rule.action) {
        None => leads_to(route, route.target.as_ref()),
        Some(Action::Forward { target, replace }) => {
            let to = leads_to(route, target.as_ref().or(route.target.as_ref()));
            match replace.as_deref() {
                None => to,
                Some("") => format!("{to} (strip)"),
                Some(with) => format!("{to} (as {with})"),
            }
        }
        Some(Action::Redirect { location, status }) => {
            format!("{} {}", status.as_u16(), String::from_utf8_lossy(location.as_bytes()))
        }
        Some(Action::Answer(answer)) => {
            format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(answer.content_type.as_bytes()))
        }
    };
    let own = route.target.as_ref();
    let target = match rule.map(|rule| &rule.action) {
        None => own,
        // What leads where the route does has its addresses in the route's own row.
        Some(Action::Forward { target, .. }) => target.as_ref(),
        Some(Action::Redirect { .. } | Action::Answer(_)) => None,
    };
    RouteRow {
        addresses: address_rows(target),
        name: route.name.to_string(),
        host: route.host.to_string(),
        public: route.public.iter().map(ToString::to_string).collect(),
        path: rule.map(|rule| rule.pattern.to_string()),
        to,
        allow: if allow.words.is_empty() { "nobody".to_owned() } else { allow.words.to_string() },
        line: rule.map_or(route.line, |rule| rule.line),
    }
}

/// The upstream and its first address; an upstream that is the route's own has no name worth repeating. Where there are
/// more, or where one fails, the rows of the addresses follow.
fn leads_to(route: &Route, target: Option<&Arc<Target>>) -> String {
    let Some(target) = target else { return "nowhere".to_owned() };
    let key = &target.upstream.key;
    let place = match &*key.endpoints {
        [] => "no address now".to_owned(),
        [one] => one.to_string(),
        many => format!("{} addresses, {}", many.len(), words(key.balance)),
    };
    if key.name == route.name { place } else { format!("{} {place}", key.name) }
}

fn words(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round-robin",
        Balance::LeastRequests => "least-requests",
        Balance::Sticky => "sticky",
    }
}

/// The addresses of an upstream, where there is more to say of them than that there is one.
fn address_rows(target: Option<&Arc<Target>>) -> Vec<AddressRow> {
    let lanes = target.map(|target| &*target.lanes).unwrap_or_default();
    let fails = lanes.iter().any(|lane| lane.is_aside());
    let rows = lanes.iter().map(|lane| AddressRow {
        address: lane.member.endpoint.to_string(),
        fails: lane.is_aside(),
        requests_in_flight: lane.member.metrics.in_flight(),
        requests: lane.member.metrics.requests(),
    });
    if lanes.len() > 1 || fails { rows.collect() } else { Vec::new() }
}

impl RouteRows {
    /// What all short names stand below: as in the file, a name without a dot is short.
    fn domain(&self) -> Option<&str> {
        self.routes.iter().find_map(RouteRow::domain)
    }
}

impl RouteRow {
    fn domain(&self) -> Option<&str> {
        self.host.strip_prefix(&*self.name)?.strip_prefix('.').filter(|_| !self.name.contains('.'))
    }

    /// As short as the file has it; the row of a path stands below its route's and repeats no name.
    fn shown_name(&self) -> String {
        match &self.path {
            Some(path) => format!("  {path}"),
            None if self.domain().is_some() => self.name.clone(),
            None => self.host.clone(),
        }
    }
}

/// Columns of a line.
const WIDTH: usize = 80;

/// 80 columns for names and addresses of usual length; longer ones push the line, nothing is cut.
impl fmt::Display for RouteRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![["NAME", "LEADS TO", "MAY ENTER"].map(str::to_owned)];
        let mut above = "";
        for row in &self.routes {
            // A route that leads nowhere itself has no row of its own, but its paths need something to stand below.
            if row.path.is_some() && above != row.name {
                lines.push([RouteRow { path: None, ..row.clone() }.shown_name(), String::new(), String::new()]);
            }
            above = &row.name;
            lines.push([row.shown_name(), row.to.clone(), row.allow.clone()]);
            lines.extend(row.addresses.iter().map(|at| {
                let state = if at.fails { " fails" } else { "" };
                [String::new(), format!("  {}{state}", at.address), String::new()]
            }));
            let public = if row.path.is_none() { row.public.as_slice() } else { &[] };
            lines.extend(public.iter().map(|name| [format!("  = {name}"), String::new(), String::new()]));
        }
        let width = |column: usize, most: usize| {
            lines.iter().map(|line| line[column].chars().count()).filter(|&wide| wide <= most).max().unwrap_or(0)
        };
        let (names, allows) = (width(0, 34), width(2, 24));
        let tos = width(1, WIDTH.saturating_sub(names + allows + 4).max(24));
        for [name, to, allow] in &lines {
            let line = format!("{name:names$}  {to:tos$}  {allow}");
            writeln!(f, "{}", line.trim_end())?;
        }
        if let Some(domain) = self.domain() {
            let public = if self.routes.iter().any(|row| !row.public.is_empty()) { "; = is a public name" } else { "" };
            writeln!(f, "A name without a dot stands below {domain}{public}.")?;
        }
        Ok(())
    }
}
