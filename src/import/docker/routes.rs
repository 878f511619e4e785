//! Names of containers as routes: where each leads, who may enter, and what the reader should know of it.

use std::collections::BTreeSet;

use super::super::home::{Admission, Destination, Path, PathAction, Remark, Route};
use super::super::snippet::{self, Carried};
use super::super::text::one_line;
use super::certificates::Certificates;
use super::proxy::{Beside, Proxy};
use crate::config::{ActionSpec, AllowEntry, AllowSpec, Balance, RouteSpec, Schemes, TargetSpec, ToSpec};
use crate::model::{HostPattern, PathPattern, Scheme, show_duration};
use crate::provider::docker::{Container, Inventory, Verdict};

/// Words whose note is told in another way here, because something is carried after all.
const CARRIED_HERE: [&str; 8] = [
    "CERT_NAME is",
    "LETSENCRYPT_HOST has",
    "ACME_HOST has",
    "LETSENCRYPT_EMAIL has",
    "ACME_EMAIL has",
    "NETWORK_ACCESS=internal",
    "DEFAULT_HOST has",
    "com.github.nginx-proxy.nginx-proxy.ssl_verify_client has",
];

/// The label for certificates of clients.
const CLIENT_CERTIFICATES: &str = "com.github.nginx-proxy.nginx-proxy.ssl_verify_client";

/// The routes made so far.
pub(super) struct Routes<'a> {
    inventory: &'a Inventory,
    verdicts: &'a [Verdict],
    proxy: &'a Proxy,
    routes: Vec<Route>,
    left: Vec<Remark>,
    /// Names whose address is from a pool of the engine's.
    passing: Vec<String>,
    /// Containers that were told of.
    told: BTreeSet<String>,
}

impl<'a> Routes<'a> {
    pub(super) fn new(inventory: &'a Inventory, verdicts: &'a [Verdict], proxy: &'a Proxy) -> Routes<'a> {
        let (routes, left, passing, told) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        Routes { inventory, verdicts, proxy, routes, left, passing, told }
    }

    /// One name.
    pub(super) fn add(&mut self, spec: &RouteSpec, certificates: &mut Certificates<'_>) {
        let host = spec.host.to_string();
        let claimers = self.claimers(&host);
        let stem = certificates.uses(&spec.host, &claimers);
        let mut notes = self.notes(&host, &claimers);
        if matches!(spec.host, HostPattern::Trailing(_) | HostPattern::Regex(_)) {
            let text = format!(
                "`{}` has no counterpart: a name is exact, or `*.name`. Write the names out.",
                one_line(&host, 120)
            );
            return self.leave(text, notes);
        }
        let to = match destination(spec.to.as_ref()) {
            Ok(to) => to,
            Err(()) => return self.leave(away(&host, &claimers), notes),
        };
        let mut paths: Vec<Path> = Vec::new();
        for path in &spec.paths {
            let ActionSpec::Forward { to: Some(target), replace } = &path.action else { continue };
            let Some(pattern) = carried_pattern(&path.pattern.value) else { continue };
            // Where all goes to nothing, `/` is nothing too.
            let replace = replace.as_ref().map(|with| if **with == *"/" { "".into() } else { with.clone() });
            match destination(Some(target)) {
                Ok(Some(to)) => {
                    paths.push(Path { pattern, action: PathAction::Forward { to, replace }, notes: Vec::new() })
                }
                _ => notes.push(Remark::new(format!(
                    "`{}` is not carried over: {}",
                    path.pattern.value,
                    away(&host, &claimers)
                ))),
            }
        }
        if to.is_none() && paths.is_empty() {
            return self.leave(away(&host, &claimers), notes);
        }
        self.remember_passing(&host, to.iter().chain(paths.iter().filter_map(forwarded)));
        notes.extend(schemes(spec.schemes));
        let mut admission = self.admission(narrowest(spec, &mut notes), &claimers, &mut notes);
        let beside = self.proxy.beside(&host, stem.as_deref());
        protect(beside, &mut admission, &mut paths, &mut notes);
        for one in &claimers {
            if one.setting(CLIENT_CERTIFICATES).is_some_and(|word| !matches!(word, "off" | "false")) {
                admission = Admission::Nobody;
                notes.push(Remark::new(format!(
                    "CLOSED: {} asked for certificates of clients (ssl_verify_client).",
                    one.name
                )));
            }
        }
        let hsts = spec.hsts.map(|age| show_duration(age).into());
        self.routes.push(Route { host: spec.host.clone(), to, admission, hsts, paths, notes });
    }

    /// Names that nobody has, where the proxy led them somewhere.
    pub(super) fn add_default(&mut self) {
        let Some(default) = self.proxy.variable("DEFAULT_HOST") else { return };
        let known = self.routes.iter().find(|route| route.host.to_string() == default);
        let Some(Route { to, admission, paths, .. }) = known else {
            let text = format!("DEFAULT_HOST was {}, which is none of these names.", one_line(default, 100));
            return self.left.push(Remark::new(text));
        };
        if self.routes.iter().any(|route| route.host == HostPattern::Any) {
            return;
        }
        let paths = paths.iter().filter_map(|path| {
            let PathAction::Forward { to, replace } = &path.action else { return None };
            let action = PathAction::Forward { to: to.clone(), replace: replace.clone() };
            Some(Path { pattern: path.pattern.clone(), action, notes: Vec::new() })
        });
        let mut notes = vec![Remark::new("DEFAULT_HOST: every name that no other route has.")];
        if *admission == Admission::Nobody {
            notes.push(Remark::new("CLOSED for the same reason."));
        }
        let (to, admission, paths) = (to.clone(), admission.clone(), paths.collect());
        self.routes.push(Route { host: HostPattern::Any, to, admission, hsts: None, paths, notes });
    }

    /// The routes, and what belongs to none.
    pub(super) fn finish(mut self) -> (Vec<Route>, Vec<Remark>) {
        if !self.passing.is_empty() {
            self.left.push(Remark::new(format!(
                "These lead to addresses that the engine gives out anew whenever a container is made anew; publish a port \
                 (`ports:`), give the container an `ipv4_address`, or follow them with `[docker]`: {}.",
                one_line(&self.passing.join(", "), 2000)
            )));
        }
        (self.routes, self.left)
    }

    fn leave(&mut self, text: String, notes: Vec<Remark>) {
        self.left.push(Remark::new(text));
        self.left.extend(notes);
    }

    /// Containers that name a host, whatever became of them.
    fn claimers(&self, host: &str) -> Vec<&'a Container> {
        let names = |one: &&'a Container| {
            let said = ["VIRTUAL_HOST", "VIRTUAL_HOST_MULTIPORTS"].iter().filter_map(|word| one.setting(word));
            said.into_iter().any(|text| text.to_ascii_lowercase().contains(host.trim_start_matches("*.")))
        };
        self.inventory.containers.iter().map(|one| &**one).filter(names).collect()
    }

    /// What was said of the containers of a host, each once.
    fn notes(&mut self, host: &str, claimers: &[&Container]) -> Vec<Remark> {
        let mut notes = Vec::new();
        let serving = self.verdicts.iter().filter(|verdict| {
            let leads =
                |name: &str| name.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            verdict.leads.iter().any(|lead| leads(&lead.name))
                && claimers.iter().any(|one| *one.name == *verdict.container)
        });
        for verdict in serving {
            if !self.told.insert(verdict.container.clone()) {
                continue;
            }
            let kept = verdict.notes.iter().filter(|note| !CARRIED_HERE.iter().any(|word| note.starts_with(word)));
            notes.extend(kept.map(|note| {
                Remark::new(format!(
                    "{}: {}.",
                    one_line(&verdict.container, 80),
                    one_line(note.trim_end_matches('?'), 300)
                ))
            }));
        }
        notes
    }

    fn admission(&self, allow: Option<&AllowSpec>, claimers: &[&Container], notes: &mut Vec<Remark>) -> Admission {
        let Some(allow) = allow else { return Admission::Anyone };
        let mut nets = BTreeSet::new();
        for entry in &allow.entries {
            if let AllowEntry::Net(net) = &entry.value {
                nets.insert(*net);
            }
        }
        if nets.is_empty() {
            if claimers.iter().any(|one| one.setting("NETWORK_ACCESS").is_some()) {
                notes.push(Remark::new("CLOSED: NETWORK_ACCESS was neither `internal` nor `external`."));
            }
            return Admission::Nobody;
        }
        match self.proxy.internal() {
            None => {}
            Some(Ok(own)) if own.is_empty() => return Admission::Nobody,
            Some(Ok(own)) => nets = own.into_iter().collect(),
            Some(Err((why, text))) => {
                notes.push(Remark::quoting(format!("CLOSED: {why}."), &text));
                return Admission::Nobody;
            }
        }
        if !self.told_of_guests(notes) {
            notes.push(Remark::new(
                "NETWORK_ACCESS was `internal`: every private address, a guest network too. Name your networks and narrow it.",
            ));
        }
        Admission::Nets { title: "internal".to_owned(), nets }
    }

    /// Once is enough.
    fn told_of_guests(&self, notes: &[Remark]) -> bool {
        let tells = |remark: &Remark| remark.text.starts_with("NETWORK_ACCESS was `internal`");
        notes.iter().any(tells) || self.routes.iter().any(|route| route.notes.iter().any(tells))
    }

    fn remember_passing<'d>(&mut self, host: &str, to: impl Iterator<Item = &'d Destination>) {
        let passes = |endpoint: &crate::model::Endpoint| match &endpoint.host {
            crate::model::EndpointHost::Ip(address) => self.inventory.is_given_out(*address),
            crate::model::EndpointHost::Name(_) => false,
        };
        let mut all = to.flat_map(|to| [&to.endpoint].into_iter().chain(&to.others));
        if all.any(passes) {
            self.passing.push(host.to_owned());
        }
    }
}

/// Who may enter all of a name: where its paths differ, whom the narrowest of them admits.
fn narrowest<'s>(spec: &'s RouteSpec, notes: &mut Vec<Remark>) -> Option<&'s AllowSpec> {
    let is_open = |allow: &&AllowSpec| allow.entries.iter().any(|entry| entry.value == AllowEntry::Anyone);
    let said = || [&spec.allow].into_iter().chain(spec.paths.iter().map(|path| &path.allow)).flatten();
    let narrow = said().filter(|allow| !is_open(allow)).min_by_key(|allow| allow.entries.len());
    if narrow.is_some() && spec.paths.iter().any(|path| path.allow.is_some()) {
        notes.push(Remark::new(
            "NETWORK_ACCESS differed from path to path: here the narrowest counts for all of the name.",
        ));
    }
    narrow
}

/// What the proxy's files add: closes, or gives paths.
fn protect(beside: Beside, admission: &mut Admission, paths: &mut Vec<Path>, notes: &mut Vec<Remark>) {
    let Beside { protections, paths: carried, notes: remarks } = beside;
    for (why, text) in protections {
        *admission = Admission::Nobody;
        notes.push(Remark::quoting(format!("CLOSED: {why}."), &text));
    }
    for (pattern, carried) in carried {
        let action = match carried {
            Carried::Redirect { location, status } => PathAction::Redirect { location, status },
            Carried::Forward(endpoint) => PathAction::Forward { to: Destination::one(endpoint, false), replace: None },
        };
        paths.retain(|known| known.pattern != pattern);
        paths.push(Path { pattern, action, notes: Vec::new() });
    }
    notes.extend(remarks);
}

fn schemes(schemes: Schemes) -> Option<Remark> {
    let text = match schemes {
        Schemes::AsTheDoor => return None,
        Schemes::Both => "HTTPS_METHOD was `noredirect`: here http always redirects to https.",
        Schemes::HttpsOnly => "HTTPS_METHOD was `nohttp`: here http redirects to https.",
        Schemes::HttpOnly => "HTTPS_METHOD was `nohttps`: here it is served over https, and http redirects there.",
    };
    Some(Remark::new(text))
}

fn forwarded(path: &Path) -> Option<&Destination> {
    match &path.action {
        PathAction::Forward { to, .. } => Some(to),
        PathAction::Redirect { .. } | PathAction::Missing | PathAction::Closed => None,
    }
}

/// What stands where a container has no address.
fn away(host: &str, claimers: &[&Container]) -> String {
    let names: Vec<&str> = claimers.iter().map(|one| &*one.name).collect();
    format!(
        "{}: {} has no address that can be written down (not running, or on no network that its host reaches); start it and \
         import again.",
        one_line(host, 120),
        one_line(&names.join(", "), 200)
    )
}

/// nginx's prefixes as whole segments: nothing of the host is less protected by that.
fn carried_pattern(pattern: &PathPattern) -> Option<PathPattern> {
    match pattern {
        PathPattern::Starts(base) => snippet::below(base),
        other => Some(other.clone()),
    }
}

/// The servers of a route or path. `Ok(None)`: it has none of its own; `Err`: none is reachable now.
fn destination(to: Option<&ToSpec>) -> Result<Option<Destination>, ()> {
    let Some(ToSpec::Address(TargetSpec { to, balance, http2, .. })) = to else { return Ok(None) };
    let mut endpoints = to.iter().map(|endpoint| endpoint.value.clone());
    let endpoint = endpoints.next().ok_or(())?;
    let is_verified = endpoint.scheme != Scheme::Https;
    let others: Vec<_> = endpoints.collect();
    // One server alone has nothing to share.
    let balance = if others.is_empty() { Balance::default() } else { *balance };
    Ok(Some(Destination { endpoint, others, balance, is_http2: *http2, is_verified }))
}
