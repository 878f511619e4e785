//! Containers that ask for the same name become one route: its paths, the addresses behind each, its terms.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::super::inventory::{Inventory, State};
use super::super::wishes::{Admitted, Place, Proto, Site, Terms};
use super::{Asking, Kind, Readiness, Verdict, allow, lead, reach};
use crate::config::{
    ActionSpec, Config, DockerSpec, HeadersSpec, Located, Origin, PathSpec, QuotaSpec, RouteSpec, Span, TargetSpec,
    ToSpec, VerifySpec,
};
use crate::model::{Endpoint, EndpointHost, HostName, HostPattern, Scheme};

/// One container's claim on a name.
struct Claim<'a> {
    asking: &'a Asking<'a>,
    site: &'a Site,
}

/// A place of a route, and the containers that serve it.
struct Shared<'a> {
    place: &'a Place,
    first: &'a Asking<'a>,
    addresses: Vec<Endpoint>,
    /// What each of them says of who may enter, if it does.
    asked: Vec<&'a [Admitted]>,
}

/// The routes of all containers, by name.
pub(super) fn routes(
    config: &Config,
    docker: &DockerSpec,
    inventory: &Inventory,
    asking: &[Asking<'_>],
    verdicts: &mut [Verdict],
) -> Vec<RouteSpec> {
    let mut taken: Vec<HostName> =
        config.routes.iter().flat_map(|route| route.public.iter().map(|name| name.value.clone())).collect();
    let mut routes = Vec::new();
    let of_file: HashMap<&HostPattern, &RouteSpec> = config.routes.iter().map(|route| (&route.host, route)).collect();
    for claims in claims(asking) {
        let Some(host) = claims.first().map(|claim| &claim.site.host) else { continue };
        if let Some(file) = of_file.get(host) {
            let why = format!("`{host}` is the file's: route `{}`, line {}", file.name.value, file.name.line);
            claims.iter().for_each(|claim| refuse(&mut verdicts[claim.asking.index], claim, Kind::NotRouted, &why));
            continue;
        }
        if let Some(route) = route(host, &claims, config, docker, inventory, &mut taken, verdicts) {
            routes.push(route);
        }
    }
    if let Some((host, route)) = for_every_other_name(config, docker, &routes) {
        for verdict in verdicts.iter_mut() {
            let named: Vec<_> = verdict.leads.iter().filter(|lead| lead.name == host).cloned().collect();
            verdict.leads.extend(named.into_iter().map(|named| lead("*".to_owned(), named.to)));
        }
        routes.push(route);
    }
    routes
}

/// Who claims each name, in the order of the names: a container made anew moves nothing. One that was removed has no say
/// where another, that is still there, has the name.
fn claims<'a>(asking: &'a [Asking<'a>]) -> impl Iterator<Item = Vec<Claim<'a>>> {
    let mut by_name: BTreeMap<String, Vec<Claim<'a>>> = BTreeMap::new();
    for one in asking {
        for site in &one.wishes.sites {
            by_name.entry(site.host.to_string()).or_default().push(Claim { asking: one, site });
        }
    }
    let is_there = |claim: &Claim<'_>| claim.asking.container.state != State::Removed;
    by_name.into_values().map(move |mut claims| {
        if claims.iter().any(is_there) {
            claims.retain(is_there);
        }
        claims
    })
}

/// `default_host`: the same route once more, for every name that nobody has. A route `"*"`, of the file or of a container,
/// wins.
fn for_every_other_name(config: &Config, docker: &DockerSpec, routes: &[RouteSpec]) -> Option<(String, RouteSpec)> {
    let default = &docker.default_host.as_ref()?.value;
    if config.routes.iter().chain(routes).any(|route| route.host == HostPattern::Any) {
        return None;
    }
    let domain = config.domain.as_ref().map(|domain| &domain.value);
    let full = domain.map(|domain| format!("{default}.{domain}"));
    let is_meant = |host: &HostName| host == default || full.as_deref() == Some(host.as_str());
    let found = routes.iter().find(|route| matches!(&route.host, HostPattern::Exact(host) if is_meant(host)))?;
    let route = RouteSpec { name: nowhere("*".into()), host: HostPattern::Any, public: Vec::new(), ..found.clone() };
    Some((found.host.to_string(), route))
}

/// A claim that does not count. A container with other claims keeps those.
fn refuse(verdict: &mut Verdict, claim: &Claim<'_>, kind: Kind, why: &str) {
    if claim.asking.wishes.sites.len() > 1 || claim.site.places.len() > 1 {
        verdict.notes.push(why.to_owned());
        return;
    }
    verdict.verdict = kind;
    why.clone_into(&mut verdict.why);
}

fn route(
    host: &HostPattern,
    claims: &[Claim<'_>],
    config: &Config,
    docker: &DockerSpec,
    inventory: &Inventory,
    taken: &mut Vec<HostName>,
    verdicts: &mut [Verdict],
) -> Option<RouteSpec> {
    let first = claims.first()?.asking;
    let terms = &first.wishes.terms;
    let mut shared: Vec<Shared<'_>> = Vec::new();
    for claim in claims {
        disagreements(WHOLE, first, claim.asking, verdicts);
        for place in &claim.site.places {
            join(&mut shared, claim, place, docker, inventory, verdicts);
        }
    }
    // Who may enter is said path by path, as nginx-proxy has it; a path without a container of its own is the whole's.
    let whole = shared.iter().find(|one| one.place.path.is_none());
    let everybody = || shared.iter().flat_map(|one| one.asked.iter().copied()).collect();
    let asked: Vec<&[Admitted]> = whole.map_or_else(everybody, |one| one.asked.clone());
    let limits = allow::limits(&asked, config);
    let mut is_within_door = limits.is_within_door;
    let public = public_names(claims, docker, taken, verdicts);
    let name: Arc<str> = name_of(host, config).into();
    let mut to = None;
    let mut paths = Vec::new();
    for Shared { place, first, addresses, asked } in shared {
        let target = ToSpec::Address(target(place, first, addresses, docker));
        match &place.path {
            None => to = Some(target),
            Some(pattern) => paths.push(PathSpec {
                pattern: nowhere(pattern.clone()),
                allow: allow::of_path(&limits, allow::limits(&asked, config), &mut is_within_door),
                quota: QuotaSpec::default(),
                action: ActionSpec::Forward { to: Some(target), replace: place.replace.clone() },
            }),
        }
    }
    Some(RouteSpec {
        origin: Origin::Container(Arc::clone(&first.container.name)),
        name: nowhere(name),
        host: host.clone(),
        public,
        to,
        allow: limits.allow,
        is_within_door,
        quota: QuotaSpec::default(),
        max_body: terms.max_body,
        idle: terms.idle,
        hsts: terms.hsts,
        log_query: terms.log_query,
        headers: HeadersSpec::default(),
        paths,
        schemes: terms.schemes,
        cert: terms.cert.clone(),
    })
}

/// Adds a container to those that serve a place, unless it would have to be spoken to in another way than the first.
fn join<'a>(
    shared: &mut Vec<Shared<'a>>,
    claim: &Claim<'a>,
    place: &'a Place,
    docker: &DockerSpec,
    inventory: &Inventory,
    verdicts: &mut [Verdict],
) {
    let Claim { asking, site } = claim;
    let name = match &place.path {
        None => site.host.to_string(),
        Some(path) => format!("{}{path}", site.host),
    };
    let known = shared.iter().position(|other| other.place.path == place.path);
    if let Some(at) = known
        && let Some(why) = contradiction(shared[at].place, shared[at].first, place, asking)
    {
        refuse(&mut verdicts[asking.index], claim, Kind::Conflict, &why);
        verdicts[shared[at].first.index].notes.push(why);
        return;
    }
    let endpoint = endpoint(asking, place, docker, inventory, &mut verdicts[asking.index]);
    verdicts[asking.index].leads.push(lead(name, endpoint.as_ref().map(ToString::to_string)));
    let at = known.unwrap_or_else(|| {
        shared.push(Shared { place, first: asking, addresses: Vec::new(), asked: Vec::new() });
        shared.len() - 1
    });
    disagreements(PLACE, shared[at].first, asking, verdicts);
    shared[at].asked.extend(asking.wishes.terms.allow.as_deref());
    if let Some(endpoint) = endpoint.filter(|endpoint| !shared[at].addresses.contains(endpoint)) {
        shared[at].addresses.push(endpoint);
    }
}

/// Where requests for a place go, if the container takes any now.
fn endpoint(
    asking: &Asking<'_>,
    place: &Place,
    docker: &DockerSpec,
    inventory: &Inventory,
    verdict: &mut Verdict,
) -> Option<Endpoint> {
    if asking.readiness != Readiness::Ready {
        return None;
    }
    if let Some(elsewhere) = &place.elsewhere {
        return Some(elsewhere.clone());
    }
    let reached = reach(asking, place, docker, inventory);
    let Some(address) = reached.address else {
        verdict.verdict = Kind::NotRouted;
        verdict.why = reached.why;
        return None;
    };
    if verdict.why.is_empty() {
        verdict.why = reached.why;
    }
    Some(Endpoint { scheme: scheme(place.proto), host: EndpointHost::Ip(address.ip()), port: address.port() })
}

fn scheme(proto: Proto) -> Scheme {
    match proto {
        Proto::Http => Scheme::Http,
        Proto::Https | Proto::Grpcs => Scheme::Https,
        Proto::Grpc => Scheme::H2c,
    }
}

/// Why two containers cannot serve one place together.
fn contradiction(first: &Place, older: &Asking<'_>, place: &Place, younger: &Asking<'_>) -> Option<String> {
    let (a, b) = (&older.container.name, &younger.container.name);
    if first.proto != place.proto {
        return Some(format!("{a} says {}, {b} says {}: using {a}", first.proto.as_str(), place.proto.as_str()));
    }
    if first.replace != place.replace {
        let shown = |place: &Place| place.replace.as_ref().map_or("nothing".to_owned(), |text| format!("`{text}`"));
        return Some(format!("{a} replaces the path by {}, {b} by {}: using {a}", shown(first), shown(place)));
    }
    None
}

/// Whether two containers say something else, and the word for it.
type Differs = (&'static str, fn(&Terms, &Terms) -> bool);

/// Terms of a whole name: those of the first container count.
const WHOLE: &[Differs] = &[
    ("max_body", |a, b| a.max_body != b.max_body),
    ("idle", |a, b| a.idle != b.idle),
    ("HSTS", |a, b| a.hsts != b.hsts),
    ("log_query", |a, b| a.log_query != b.log_query),
    ("HTTPS_METHOD", |a, b| a.schemes != b.schemes),
    ("CERT_NAME", |a, b| a.cert != b.cert),
];

/// Terms of a path: those of the first container that serves it count, except that each may narrow who enters.
const PLACE: &[Differs] = &[
    ("hold", |a, b| a.hold != b.hold),
    ("tls_name", |a, b| a.tls_name != b.tls_name),
    ("verify", |a, b| a.verify != b.verify),
    ("pin", |a, b| a.pin != b.pin),
    ("loadbalance", |a, b| a.balance != b.balance),
    (ALLOW, |a, b| a.allow != b.allow),
];

/// The one that is told in another way.
const ALLOW: &str = "allow";

/// Tells both of two containers where their terms differ.
fn disagreements(on: &[Differs], first: &Asking<'_>, other: &Asking<'_>, verdicts: &mut [Verdict]) {
    if first.index == other.index {
        return;
    }
    let (ours, theirs) = (&first.wishes.terms, &other.wishes.terms);
    let (a, b) = (&first.container.name, &other.container.name);
    let differing: Vec<&str> = on.iter().filter(|(_, differ)| differ(ours, theirs)).map(|(word, _)| *word).collect();
    let settled: Vec<&str> = differing.iter().copied().filter(|word| *word != ALLOW).collect();
    let mut told: Vec<String> = Vec::new();
    if !settled.is_empty() {
        told.push(format!("{a} and {b} disagree on {}: using {a}'s", settled.join(", ")));
    }
    if settled.len() < differing.len() {
        told.push(format!("{a} and {b} disagree on who may enter: only whom both admit"));
    }
    for note in told {
        for index in [first.index, other.index] {
            if !verdicts[index].notes.contains(&note) {
                verdicts[index].notes.push(note.clone());
            }
        }
    }
}

fn target(place: &Place, first: &Asking<'_>, addresses: Vec<Endpoint>, docker: &DockerSpec) -> TargetSpec {
    let terms = &first.wishes.terms;
    let verify = match (terms.pin, terms.verify) {
        (Some(pin), _) => VerifySpec::Pin(pin),
        (None, true) => VerifySpec::System,
        // Containers make their certificates themselves, and stand on this machine.
        (None, false) => VerifySpec::Off,
    };
    let hold: Option<Duration> = terms.hold.or(docker.hold.as_ref().map(|hold| hold.value));
    TargetSpec {
        to: addresses.into_iter().map(nowhere).collect(),
        balance: terms.balance,
        tls_name: terms.tls_name.clone().map(nowhere),
        verify,
        hold: hold.map(nowhere),
        http2: place.proto == Proto::Grpcs,
        proxy_protocol: None,
        via: true,
    }
}

/// Public names, where the file lets containers have any, and nobody has them already.
fn public_names(
    claims: &[Claim<'_>],
    docker: &DockerSpec,
    taken: &mut Vec<HostName>,
    verdicts: &mut [Verdict],
) -> Vec<Located<HostName>> {
    let mut names: Vec<Located<HostName>> = Vec::new();
    for claim in claims {
        let is_first_site = claim.asking.wishes.sites.first().is_some_and(|site| site.host == claim.site.host);
        // Several names of one container are several routes; the first of them has the public ones.
        for name in claim.asking.wishes.terms.public.iter().filter(|_| is_first_site) {
            let notes = &mut verdicts[claim.asking.index].notes;
            if !docker.public {
                notes.push(format!("{name} is not public: [docker] has no `public = true`"));
            } else if names.iter().any(|known| known.value == *name) {
                // Several containers of one site.
            } else if taken.contains(name) {
                notes.push(format!("{name} is not public by this container: another route has the name"));
            } else {
                taken.push(name.clone());
                names.push(nowhere(name.clone()));
            }
        }
    }
    names
}

/// The route's name as the file would have it: short below the domain.
fn name_of(host: &HostPattern, config: &Config) -> String {
    let whole = host.to_string();
    let below = config.domain.as_ref().and_then(|domain| {
        whole.strip_suffix(domain.value.as_str())?.strip_suffix('.').filter(|short| !short.contains(['.', '*', '~']))
    });
    below.map_or_else(|| whole.clone(), str::to_owned)
}

/// What a container says stands nowhere in the file.
fn nowhere<T>(value: T) -> Located<T> {
    Located { value, span: Span::default(), line: 0 }
}
