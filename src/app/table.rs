//! The table in force, for people and for scripts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::check;
use crate::config::Faults;
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
    /// Who may enter, as written.
    pub allow: String,
    /// 1-based line in the file.
    pub line: u32,
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
        None => leads_to(route.target.as_ref()),
        Some(Action::Forward { target, strip }) => {
            let to = leads_to(target.as_ref().or(route.target.as_ref()));
            if *strip { format!("{to} (strip)") } else { to }
        }
        Some(Action::Redirect { location, status }) => {
            format!("{} {}", status.as_u16(), String::from_utf8_lossy(location.as_bytes()))
        }
        Some(Action::Answer(answer)) => {
            format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(answer.content_type.as_bytes()))
        }
    };
    RouteRow {
        name: route.name.to_string(),
        host: route.host.to_string(),
        public: route.public.iter().map(ToString::to_string).collect(),
        path: rule.map(|rule| rule.pattern.to_string()),
        to,
        allow: if allow.words.is_empty() { "nobody".to_owned() } else { allow.words.to_string() },
        line: rule.map_or(route.line, |rule| rule.line),
    }
}

fn leads_to(target: Option<&Arc<Target>>) -> String {
    target.map_or_else(
        || "nowhere".to_owned(),
        |target| {
            let key = &target.upstream.key;
            format!("{} ({})", key.name, key.endpoint)
        },
    )
}

impl fmt::Display for RouteRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |pick: fn(&RouteRow) -> usize| self.routes.iter().map(pick).max().unwrap_or(0);
        let names = width(|row| row.host.len() + row.path.as_ref().map_or(0, String::len)).max(4);
        let tos = width(|row| row.to.len()).max(4);
        writeln!(f, "{:names$}  {:tos$}  MAY ENTER", "NAME", "LEADS TO")?;
        for row in &self.routes {
            let name = format!("{}{}", row.host, row.path.as_deref().unwrap_or_default());
            writeln!(f, "{name:names$}  {:tos$}  {}", row.to, row.allow)?;
            if row.path.is_none() {
                for public in &row.public {
                    writeln!(f, "{:names$}  {:tos$}  (public name)", public, "same")?;
                }
            }
        }
        Ok(())
    }
}
