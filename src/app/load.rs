//! From the file on disk to a snapshot ready to be published: read, check, certificates, compile, promises. Changes nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::Overlay;
use super::containers::first_look;
use crate::acme::CertFolder;
use crate::cert::{CertTable, Certificate, LocalCa, SystemRoots, TlsFactory};
use crate::config::{self, CertSource, ChallengeSpec, Checked, Config, Diagnostic, Faults, Origin, Source, VerifySpec};
use crate::model::HostPattern;
use crate::provider::docker::{Inventory, Translation, translate};
use crate::snapshot::{Broken, Parts, Snapshot, broken_promises, compile};
use crate::telemetry::Metrics;

/// What outlives snapshots and is needed to make one.
pub struct Workshop {
    /// routes.toml.
    pub path: PathBuf,
    /// The state folder; `None` when nothing may be written (`check`).
    pub state: Option<PathBuf>,
    /// See [`Overlay`].
    pub overlay: Option<Overlay>,
    /// TLS configurations share one ticketer.
    pub factory: Arc<TlsFactory>,
    /// The system's roots.
    pub roots: Arc<SystemRoots>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The number of the first snapshot: 1, or the one behind a predecessor's.
    pub first_generation: u64,
}

/// A snapshot that keeps every promise, and what it was made from.
pub struct Prepared {
    /// Ready to be published.
    pub snapshot: Snapshot,
    /// The checked file, without the routes of containers.
    pub config: Arc<Config>,
    /// Its text, for later messages.
    pub source: Source,
    /// What to tell, though it is no fault.
    pub warnings: Vec<Diagnostic>,
    /// Faults of the surroundings rather than of the file: certificate files that cannot be read, and the like.
    pub notices: Vec<String>,
    /// The local CA's certificate, if it serves any name.
    pub local_ca: Option<PathBuf>,
    /// Every file that this snapshot depends on.
    pub files: Vec<PathBuf>,
    /// What the containers came to.
    pub containers: Translation,
}

/// What a snapshot is assembled of.
pub struct Ingredients {
    /// The checked file.
    pub config: Arc<Config>,
    /// Its text.
    pub source: Source,
    /// What was worth telling when it was checked.
    pub warnings: Vec<Diagnostic>,
    /// The engine's containers; `None` while they are not known.
    pub containers: Option<Arc<Inventory>>,
}

/// The file with the routes of containers among its own.
fn with_containers<'a>(config: &'a Config, containers: Option<&Inventory>) -> (Cow<'a, Config>, Translation) {
    let Some(inventory) = containers else { return (Cow::Borrowed(config), Translation::default()) };
    let translation = translate(config, inventory);
    if translation.routes.is_empty() {
        return (Cow::Borrowed(config), translation);
    }
    let mut whole = config.clone();
    whole.routes.extend(translation.routes.iter().cloned());
    (Cow::Owned(whole), translation)
}

/// Whether a promise was broken for a name of the file itself.
fn is_of_file(config: &Config, broken: &Broken<'_>) -> bool {
    let host = broken.host.as_str();
    config
        .routes
        .iter()
        .any(|route| route.host.matches(host) || route.public.iter().any(|public| public.value.as_str() == host))
}

/// Whether a promise was broken for a name that a container has, or that nobody has and a container might.
fn is_of_containers(snapshot: &Snapshot, config: &Config, broken: &Broken<'_>) -> bool {
    let found = [false, true].map(|public| snapshot.routes.find(&broken.host, public));
    let is_containers = found.iter().flatten().any(|found| matches!(found.route.origin, Origin::Container(_)));
    is_containers || (config.docker.is_some() && !is_of_file(config, broken))
}

/// A promise about a name that only a container can have, before any container is known.
fn not_tested_yet(broken: &Broken<'_>, source: &Source) -> Diagnostic {
    source.warning(
        broken.expect.url.span,
        "this promise is not tested: the name is no route of the file, and containers are not known yet",
        "",
        "`doorward docker` shows what the containers come to",
    )
}

impl Workshop {
    /// The first snapshot, with the containers that the engine has, if it says so in time.
    pub fn begin(&self) -> Result<(Prepared, Option<Arc<Inventory>>), Faults> {
        let known = if self.overlay.is_some() { None } else { first_look(&self.path) };
        Ok((self.prepare(None, known.clone())?, known))
    }

    /// Reads the file and makes a snapshot of it.
    pub fn prepare(&self, previous: Option<&Snapshot>, containers: Option<Arc<Inventory>>) -> Result<Prepared, Faults> {
        let Checked { mut config, warnings, source } = config::load(&self.path)?;
        if let Some(overlay) = &self.overlay {
            overlay(&mut config);
        }
        self.assemble(Ingredients { config: Arc::new(config), source, warnings, containers }, previous)
    }

    /// Makes a snapshot of a file that was checked before: certificates are read anew.
    pub fn assemble(&self, of: Ingredients, previous: Option<&Snapshot>) -> Result<Prepared, Faults> {
        let Ingredients { config, source, mut warnings, containers } = of;
        let (whole, mut translation) = with_containers(&config, containers.as_deref());
        let mut notices = Vec::new();
        let (served, is_all_read) = self.certificates(&config, previous, &mut notices);
        let covering = CertTable::build(served.clone(), config.domain.as_ref().map(|domain| &domain.value));
        let uncovered = uncovered_names(&whole, &covering);
        // What an overlay changes is no fault of the file: the demo serves everything from the local CA.
        if is_all_read && self.overlay.is_none() {
            warnings.extend(uncovered_warnings(&config, &source, &uncovered));
        }
        let (mut certificates, local_ca) = self.with_local_ca(&whole, served, covering, &uncovered, &mut notices);
        show_as_asked(&mut certificates, &whole, &mut translation);
        let snapshot = self.compiled(&whole, certificates, previous, containers.is_some());
        let mut broken = Vec::new();
        for promise in broken_promises(&snapshot, &config.expects) {
            let is_kept_now =
                |before: &Snapshot| broken_promises(before, std::slice::from_ref(promise.expect)).is_empty();
            match is_of_containers(&snapshot, &config, &promise) {
                true if snapshot.awaits_containers => warnings.push(not_tested_yet(&promise, &source)),
                // What containers broke, or made it impossible to keep, is no reason to refuse the file.
                true if !previous.is_some_and(is_kept_now) => notices.push(told_broken(&promise, &source).to_string()),
                _ => broken.push(told_broken(&promise, &source)),
            }
        }
        if !broken.is_empty() {
            return Err(Faults { faults: broken, warnings });
        }
        let files = files_of(&self.path, &config);
        Ok(Prepared { snapshot, config, source, warnings, notices, local_ca, files, containers: translation })
    }

    /// Makes a snapshot of the file in force with other containers. Nothing of the file is judged again: a promise that
    /// containers break is told, and no reason to keep other containers away.
    pub fn assemble_containers(
        &self,
        of: Ingredients,
        previous: &Snapshot,
        local_ca: Option<PathBuf>,
    ) -> Result<Prepared, Faults> {
        let Ingredients { config, source, warnings, containers } = of;
        let (whole, mut translation) = with_containers(&config, containers.as_deref());
        let is_known = containers.is_some();
        if !uncovered_names(&whole, &previous.certificates).is_empty() {
            // A name without a certificate: as after a change of files.
            let fresh = Config { expects: Vec::new(), ..(*config).clone() };
            let of = Ingredients { config: Arc::new(fresh), source, warnings, containers };
            let prepared = self.assemble(of, Some(previous))?;
            return Ok(Prepared { config, ..prepared });
        }
        let mut certificates = previous.certificates.clone();
        show_as_asked(&mut certificates, &whole, &mut translation);
        let snapshot = self.compiled(&whole, certificates, Some(previous), is_known);
        let broken = broken_promises(&snapshot, &config.expects);
        let notices = broken.iter().map(|broken| told_broken(broken, &source).to_string()).collect();
        let files = files_of(&self.path, &config);
        Ok(Prepared { snapshot, config, source, warnings, notices, local_ca, files, containers: translation })
    }

    fn compiled(
        &self,
        config: &Config,
        certificates: CertTable,
        previous: Option<&Snapshot>,
        are_containers_known: bool,
    ) -> Snapshot {
        let generation = previous.map_or(self.first_generation, |before| before.generation + 1);
        let awaits_containers = config.docker.is_some() && !are_containers_known;
        let parts = Parts {
            config,
            certificates,
            previous,
            metrics: &self.metrics,
            roots: &self.roots,
            generation,
            awaits_containers,
        };
        compile(parts)
    }

    /// The certificates that the file names. One that cannot be read, or whose key does not fit, is served in its last
    /// good version; without one, its names fall to the local CA.
    fn certificates(
        &self,
        config: &Config,
        previous: Option<&Snapshot>,
        notices: &mut Vec<String>,
    ) -> (Vec<Arc<Certificate>>, bool) {
        let mut served = Vec::new();
        let mut is_all_read = true;
        for spec in &config.certs {
            let id = &spec.id.value;
            let loaded = match &spec.source {
                CertSource::Files { cert, key } => {
                    notices.extend(crate::cert::key_exposure(&key.value).map(|exposed| exposed.to_string()));
                    self.factory.load_pair(Arc::clone(id), &cert.value, &key.value)
                }
                CertSource::Acme(_) => {
                    let Some(state) = &self.state else { continue };
                    let folder = CertFolder::new(state, id);
                    if !folder.is_filled() {
                        let meanwhile = "not issued yet; the local CA serves its names meanwhile (see `doorward cert`)";
                        notices.push(format!("[cert.{id}]: {meanwhile}"));
                        continue;
                    }
                    folder.load(&self.factory).map(|pair| pair.certificate)
                }
            };
            match loaded {
                Ok(certificate) => served.push(Arc::new(certificate)),
                Err(error) => {
                    is_all_read = false;
                    let last = previous.and_then(|before| before.certificates.iter().find(|c| c.id() == id));
                    let meanwhile = match last {
                        Some(_) => "the last good pair stays in force",
                        None => "the local CA serves its names meanwhile",
                    };
                    notices.push(format!("[cert.{id}]: {error}; {meanwhile}"));
                    served.extend(last.map(Arc::clone));
                }
            }
        }
        (served, is_all_read)
    }

    fn with_local_ca(
        &self,
        config: &Config,
        mut served: Vec<Arc<Certificate>>,
        covering: CertTable,
        uncovered: &[HostPattern],
        notices: &mut Vec<String>,
    ) -> (CertTable, Option<PathBuf>) {
        let Some(state) = &self.state else { return (covering, None) };
        if uncovered.is_empty() {
            return (covering, None);
        }
        // With the domain's wildcard among the names, the root stays the same when a route is added.
        let domain = config.domain.as_ref().map(|domain| HostPattern::Wildcard(domain.value.clone()));
        let permitted: Vec<HostPattern> = uncovered.iter().cloned().chain(domain).collect();
        let minted = LocalCa::open(state, &permitted, OffsetDateTime::now_utc())
            .and_then(|ca| Ok((ca.issue(&self.factory, uncovered)?, ca.root_path())));
        match minted {
            Ok((certificates, root)) => {
                served.extend(certificates.into_iter().map(Arc::new));
                (CertTable::build(served, config.domain.as_ref().map(|domain| &domain.value)), Some(root))
            }
            Err(error) => {
                notices.push(format!("the local CA cannot serve {} names: {error}", uncovered.len()));
                (covering, None)
            }
        }
    }
}

/// Certificates that containers ask for by name are shown where they cover; where one does not, its containers are told.
fn show_as_asked(certificates: &mut CertTable, whole: &Config, translation: &mut Translation) {
    let asked = || whole.routes.iter().filter_map(|route| Some((&route.host, route.cert.as_deref()?)));
    for host in certificates.ask_for(asked()) {
        let Some((_, id)) = asked().find(|(asking, _)| *asking == host) else { continue };
        let host = host.to_string();
        for verdict in translation.verdicts.iter_mut().filter(|one| one.leads.iter().any(|lead| lead.name == host)) {
            verdict.notes.push(format!("CERT_NAME has no effect: [cert.{id}] does not cover {host}"));
        }
    }
}

/// A broken promise as a fault of the file: what happens instead, to whom, and which rule makes the difference.
fn told_broken(broken: &Broken<'_>, source: &Source) -> Diagnostic {
    let Broken { expect, found, rule, line, asked, .. } = broken;
    let place = format!("{}:{line}", source.path().display());
    let why = match (rule.as_str(), *line) {
        ("", _) => String::new(),
        (rule, 0) => rule.to_owned(),
        (rule, _) => format!("{rule} at {place}"),
    };
    let label: Vec<&str> = [&*why, asked].into_iter().filter(|part| !part.is_empty()).collect();
    let help = match *line {
        0 => "change the rules so that it holds, or change the promise if it is no longer meant".to_owned(),
        _ => format!("change the rule at {place} so that it holds, or the promise if it is no longer meant"),
    };
    source.fault(expect.is.span, format!("this promise is broken: {found}"), label.join(", "), help)
}

/// Names that a TLS door serves and no certificate of the file covers.
fn uncovered_names(config: &Config, covering: &CertTable) -> Vec<HostPattern> {
    let has_tls = |public: bool| config.doors.iter().any(|door| door.public_names == public && !door.https.is_empty());
    let (local, public) = (has_tls(false), has_tls(true));
    let mut names = Vec::new();
    for route in &config.routes {
        if local && route.host != HostPattern::Any {
            names.push(route.host.clone());
        }
        if public {
            names.extend(route.public.iter().map(|name| HostPattern::Exact(name.value.clone())));
        }
    }
    names.retain(|name| match name {
        HostPattern::Exact(name) => covering.covering(name.as_str()).is_none(),
        // A wildcard certificate covers exactly this pattern, or does not.
        HostPattern::Wildcard(base) => covering.covering(&format!("any.{base}")).is_none(),
        // No certificate can carry these.
        HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => false,
    });
    if names.is_empty() && (local || public) && covering.iter().next().is_none() {
        // A TLS door with nothing but a catch-all still needs something to show.
        names.extend(config.domain.as_ref().map(|domain| HostPattern::Exact(domain.value.clone())));
    }
    names
}

/// One warning for each route of the file whose name no certificate covers, nor will once ordered.
fn uncovered_warnings(config: &Config, source: &Source, uncovered: &[HostPattern]) -> Vec<Diagnostic> {
    let ordered: Vec<&HostPattern> = config
        .certs
        .iter()
        .filter_map(|cert| match &cert.source {
            CertSource::Acme(order) => Some(order.names.iter().map(|name| &name.value)),
            CertSource::Files { .. } => None,
        })
        .flatten()
        .collect();
    let is_ordered = |name: &HostPattern| {
        ordered.iter().any(|order| match (order, name) {
            (HostPattern::Wildcard(base), HostPattern::Exact(name)) => {
                name.as_str().split_once('.').is_some_and(|(_, parent)| parent == base.as_str())
            }
            (order, name) => *order == name,
        })
    };
    let uncovered: HashSet<&HostPattern> = uncovered.iter().collect();
    let routes = config.routes.iter().filter(|route| uncovered.contains(&route.host) && !is_ordered(&route.host));
    let number = routes.clone().count();
    // Without any certificate it is one thing to know, not one for each route.
    let (shown, others) = match number {
        2.. if config.certs.is_empty() => (1, format!(" and {} more", number - 1)),
        _ => (number, String::new()),
    };
    routes
        .take(shown)
        .map(|route| {
            source.warning(
                route.name.span,
                format!("no certificate covers `{}`{others}", route.host),
                "the local CA serves it, which browsers do not know",
                "add the name to a [cert.*], or nothing if the local CA is enough",
            )
        })
        .collect()
}

/// Every file whose content counts: a change of any is read anew.
fn files_of(path: &Path, config: &Config) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    for spec in &config.certs {
        if let CertSource::Files { cert, key } = &spec.source {
            files.extend([cert.value.clone(), key.value.clone()]);
        }
    }
    for target in config.targets() {
        if let VerifySpec::Ca(path) = &target.verify {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    files
}

/// Files that the file names but that are not here: no fault, `check` may run on another machine.
pub fn missing_files(config: &Config, source: &Source) -> Vec<Diagnostic> {
    let mut named = Vec::new();
    for spec in &config.certs {
        match &spec.source {
            CertSource::Files { cert, key } => named.extend([cert, key]),
            CertSource::Acme(order) => {
                if let ChallengeSpec::Dns(dns) = &order.challenge {
                    named.extend(dns.token_file.iter().chain(&dns.key_file));
                }
                named.extend(order.ca.ca.iter().chain(&order.ca.eab_key_file));
            }
        }
    }
    let absent = named.into_iter().filter(|path| !path.value.exists());
    absent
        .map(|path| {
            source.warning(
                path.span,
                format!("{} is not on this machine", path.value.display()),
                "missing here",
                "`run` serves the local CA until it is there",
            )
        })
        .collect()
}
