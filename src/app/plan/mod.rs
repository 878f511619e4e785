//! `doorward plan`: what a file would change, in terms of names and people. Makes the snapshot that a reload would make, and
//! asks both; writes nothing, binds nothing, orders nothing.

mod access;
mod text;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use access::AccessChange;

use super::check;
use super::load::{Ingredients, Prepared, Workshop};
use crate::config::{self, CertSource, Checked, Config, Diagnostic, Faults};
use crate::model::HostPattern;
use crate::provider::docker::Inventory;
use crate::serve::Foreseen;
use crate::snapshot::{Mode, Route, Snapshot, changes, leads_to, route_changes, shown_allow};
use crate::telemetry::Metrics;

/// What would change. As JSON: these names.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// The new file.
    pub file: String,
    /// What it was compared with: the generation in force; null where that was a file.
    pub generation: Option<u64>,
    /// Whether anything would be served differently.
    pub changes: bool,
    /// New routes.
    pub added: Vec<RouteLine>,
    /// Routes that would go.
    pub removed: Vec<RouteLine>,
    /// Routes that would be served differently.
    pub changed: Vec<RouteChange>,
    /// How many routes stay as they are.
    pub same: usize,
    /// Who gains or loses access to what.
    pub access: Vec<AccessChange>,
    /// Names that no certificate would cover any more, and those that one newly would.
    pub certificates: CertificateChanges,
    /// Doors that open, close or change.
    pub doors: Vec<String>,
    /// What else changes.
    pub settings: Vec<String>,
    /// What becomes of what is open now; null where a file was compared with a file.
    pub connections: Option<Foreseen>,
    /// How many promises the new file makes; all are kept.
    pub promises: usize,
    /// What somebody should look at in the new file.
    pub warnings: Vec<Diagnostic>,
}

/// A route in one line.
#[derive(Debug, Serialize)]
pub struct RouteLine {
    /// The key.
    pub name: String,
    /// The names it answers for.
    pub hosts: Vec<String>,
    /// Where it leads.
    pub to: String,
}

/// A route that changes.
#[derive(Debug, Serialize)]
pub struct RouteChange {
    /// The key.
    pub name: String,
    /// Each difference, in words.
    pub what: Vec<String>,
}

/// Names and the certificates that cover them. The local CA covers everything else, which browsers do not know.
#[derive(Debug, Default, Serialize)]
pub struct CertificateChanges {
    /// Covered before, not after.
    pub lost: Vec<String>,
    /// Covered after, not before.
    pub gained: Vec<String>,
    /// `[cert.<id>]` whose files hold something else than what is served.
    pub renewed: Vec<String>,
}

/// What is compared with.
#[derive(Clone)]
pub struct Before<'a> {
    /// The rules.
    pub snapshot: &'a Snapshot,
    /// The file that they come from.
    pub config: &'a Config,
    /// Whether they are in force here and now.
    pub is_live: bool,
    /// The containers that have routes among them: they stay.
    pub containers: Option<Arc<Inventory>>,
}

/// What would become of the rules by this text, in the place of the file that they come from: relative paths in it start
/// there. Messages call it `shown`. Gives the snapshot that it would make, too.
///
/// # Errors
/// The faults for which the text would be refused.
pub fn plan(workshop: &Workshop, before: Before<'_>, shown: &Path, text: &str) -> Result<(Plan, Snapshot), Faults> {
    let place = before.config.path.with_file_name(shown.file_name().unwrap_or(shown.as_os_str()));
    let (from, to) = (place.display().to_string(), shown.display().to_string());
    let renamed = |diagnostics: &mut Vec<Diagnostic>| diagnostics.iter_mut().for_each(|one| one.rename(&from, &to));
    match plan_in_place(workshop, before, &place, text) {
        Ok((mut plan, snapshot)) => {
            plan.file = to.clone();
            renamed(&mut plan.warnings);
            Ok((plan, snapshot))
        }
        Err(mut refused) => {
            renamed(&mut refused.faults);
            renamed(&mut refused.warnings);
            Err(refused)
        }
    }
}

fn plan_in_place(
    workshop: &Workshop,
    before: Before<'_>,
    place: &Path,
    text: &str,
) -> Result<(Plan, Snapshot), Faults> {
    let Checked { mut config, warnings, source } = config::parse(place, text)?;
    if let Some(overlay) = &workshop.overlay {
        overlay(&mut config);
    }
    let of = Ingredients { config: Arc::new(config), source, warnings, containers: before.containers.clone() };
    let prepared = workshop.assemble(of, Some(before.snapshot))?;
    let Prepared { snapshot, config, warnings, .. } = prepared;
    Ok((compare(before, &snapshot, &config, warnings), snapshot))
}

/// A workshop that changes nothing: no state folder, and counters that nobody reads.
pub fn dry(like: &Workshop) -> Workshop {
    Workshop {
        path: like.path.clone(),
        state: None,
        overlay: like.overlay.clone(),
        factory: Arc::clone(&like.factory),
        roots: Arc::clone(&like.roots),
        metrics: Metrics::new(1),
        first_generation: 1,
    }
}

/// What programs read of a file that would be refused.
pub fn refused_json(path: &Path, faults: &Faults) -> serde_json::Value {
    serde_json::json!({ "file": path.display().to_string(), "refused": true, "faults": faults.faults, "warnings": faults.warnings })
}

/// Compares a file with another, whose text is given.
///
/// # Errors
/// The faults of either.
pub fn plan_files(current: &Path, new: &Path, text: &str) -> Result<Plan, Faults> {
    let before = check::prepare(current)?;
    let compared = Before { snapshot: &before.snapshot, config: &before.config, is_live: false, containers: None };
    plan(&check::workshop(current)?, compared, new, text).map(|(plan, _)| plan)
}

fn compare(before: Before<'_>, after: &Snapshot, config: &Config, warnings: Vec<Diagnostic>) -> Plan {
    let Before { snapshot: old, config: old_config, is_live, containers: _ } = before;
    let differences = changes(old, after);
    let find = |snapshot: &Snapshot, name: &str| snapshot.routes.iter().find(|route| *route.name == *name).cloned();
    let lines = |snapshot: &Snapshot, names: &[Arc<str>]| -> Vec<RouteLine> {
        names.iter().filter_map(|name| find(snapshot, name)).map(|route| line(&route)).collect()
    };
    let changed: Vec<RouteChange> = differences
        .routes_changed
        .iter()
        .filter_map(|name| {
            let (was, is) = (find(old, name)?, find(after, name)?);
            Some(RouteChange { name: name.to_string(), what: route_changes(&was, &is) })
        })
        .collect();
    let is_everybody_concerned =
        old.allow != after.allow || !old.networks.iter().eq(after.networks.iter()) || !differences.doors.is_empty();
    let touched: std::collections::HashSet<&str> =
        [&differences.routes_added, &differences.routes_removed, &differences.routes_changed]
            .into_iter()
            .flatten()
            .map(|name| &**name)
            .collect();
    let access = access::access_changes(old, after, |name| !is_everybody_concerned && !touched.contains(name));
    let mut certificates = certificate_changes((old, old_config), (after, config));
    certificates.renewed = differences.certificates.iter().map(ToString::to_string).collect();
    let mut settings = setting_changes(old, after, &differences.settings);
    settings.extend(order_changes(old_config, config));
    Plan {
        file: config.path.display().to_string(),
        generation: is_live.then_some(old.generation),
        changes: !differences.is_empty() || !settings.is_empty(),
        added: lines(after, &differences.routes_added),
        removed: lines(old, &differences.routes_removed),
        changed,
        same: differences.routes_same,
        access,
        certificates,
        doors: differences.doors,
        settings,
        connections: None,
        promises: config.expects.len(),
        warnings,
    }
}

fn line(route: &Route) -> RouteLine {
    let hosts = [route.host.to_string()].into_iter().chain(route.public.iter().map(ToString::to_string)).collect();
    RouteLine { name: route.name.to_string(), hosts, to: leads_to(route.target.as_ref()) }
}

/// What changed beside routes and doors, with what it was and is where that is short.
fn setting_changes(old: &Snapshot, new: &Snapshot, changed: &[&'static str]) -> Vec<String> {
    let mut words = Vec::new();
    for what in changed {
        match *what {
            "the file's allow" => {
                let [was, is] = [old, new].map(|snapshot| shown_allow(Some(&snapshot.allow)));
                words.push(format!("the file's allow: {was} -> {is}"));
            }
            "networks" => words.extend(network_changes(old, new)),
            other => words.push(format!("{other} changed")),
        }
    }
    words
}

fn network_changes(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let shown = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut words = Vec::new();
    for (name, nets) in new.networks.iter() {
        match old.networks.find(name) {
            None => words.push(format!("network {name} is new: {}", shown(nets))),
            Some(was) if was != nets => words.push(format!("network {name}: {} -> {}", shown(was), shown(nets))),
            Some(_) => {}
        }
    }
    let gone = old.networks.iter().filter(|(name, _)| new.networks.find(name).is_none());
    words.extend(gone.map(|(name, _)| format!("network {name} is gone")));
    if words.is_empty() {
        words.push("networks stand in another order".to_owned());
    }
    words
}

/// Certificates that would be ordered anew or no longer.
fn order_changes(old: &Config, new: &Config) -> Vec<String> {
    let names_of = |config: &Config, id: &str| -> Option<String> {
        config.certs.iter().find(|cert| *cert.id.value == *id).map(|cert| match &cert.source {
            CertSource::Files { cert, key } => format!("from {} and {}", cert.value.display(), key.value.display()),
            CertSource::Acme(order) => {
                let names: Vec<String> = order.names.iter().map(|name| name.value.to_string()).collect();
                format!("ordered for {}", names.join(", "))
            }
        })
    };
    let mut words = Vec::new();
    for cert in &new.certs {
        let id = &cert.id.value;
        match (names_of(old, id), names_of(new, id)) {
            (None, Some(is)) => words.push(format!("[cert.{id}] is new, {is}")),
            (Some(was), Some(is)) if was != is => words.push(format!("[cert.{id}]: {was} -> {is}")),
            _ => {}
        }
    }
    let gone = old.certs.iter().filter(|cert| names_of(new, &cert.id.value).is_none());
    words.extend(gone.map(|cert| format!("[cert.{}] is gone", cert.id.value)));
    words
}

/// Which names are covered by what the files say: read from files, or to be ordered.
fn certificate_changes(
    (old, old_config): (&Snapshot, &Config),
    (new, new_config): (&Snapshot, &Config),
) -> CertificateChanges {
    let is_covered = |snapshot: &Snapshot, config: &Config, name: &HostPattern| {
        let asked = match name {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Wildcard(base) => format!("any-other.{base}"),
            HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => return true,
        };
        let has = |written: &HostPattern| match written {
            HostPattern::Exact(exact) => exact.as_str() == asked,
            HostPattern::Wildcard(base) => asked.split_once('.').is_some_and(|(_, parent)| parent == base.as_str()),
            HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => false,
        };
        let is_read = snapshot.certificates.covering(&asked).is_some_and(|certificate| !certificate.is_local());
        is_read
            || config.certs.iter().any(|cert| match &cert.source {
                CertSource::Acme(order) => order.names.iter().any(|name| has(&name.value)),
                CertSource::Files { .. } => false,
            })
    };
    let (was, is) = (encrypted_names(old), encrypted_names(new));
    let mut found = CertificateChanges::default();
    for name in is.iter().filter(|name| was.contains(name)) {
        match (is_covered(old, old_config, name), is_covered(new, new_config, name)) {
            (true, false) => found.lost.push(name.to_string()),
            (false, true) => found.gained.push(name.to_string()),
            _ => {}
        }
    }
    found
}

/// The names that doors with TLS know.
fn encrypted_names(snapshot: &Snapshot) -> std::collections::HashSet<HostPattern> {
    let has_tls = |public: bool| {
        snapshot.listeners.iter().any(|listener| listener.mode == Mode::Tls && listener.door.public_names == public)
    };
    let (local, public) = (has_tls(false), has_tls(true));
    let mut names = std::collections::HashSet::new();
    for route in snapshot.routes.iter() {
        if local {
            names.insert(route.host.clone());
        }
        if public {
            names.extend(route.public.iter().cloned().map(HostPattern::Exact));
        }
    }
    names
}
