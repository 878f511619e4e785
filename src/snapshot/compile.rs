//! As written -> as served. Pure but for reading the `ca` files of upstreams; what the previous snapshot serves unchanged
//! (upstreams with their state, targets with their pools, counters) is carried over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::Snapshot;
use super::door::{Allow, AllowPlace, Door, Listener, Mode, Trust};
use super::quota::Quota;
use super::route::{Action, Answer, Edits, PathRule, Route};
use super::table::RouteTable;
use super::targets::Targets;
use crate::cert::{CertTable, SystemRoots};
use crate::config::{ActionSpec, AllowEntry, AllowSpec, Config, DoorSpec, HeaderEdits, PathSpec, RouteSpec, TrustSpec};
use crate::model::{AccessList, HostPattern, NetworkSet};
use crate::telemetry::Metrics;
use crate::upstream::Target;

/// Silence allowed on either side of an exchange, unless the route says `idle`.
const IDLE: Duration = Duration::from_secs(600);

/// How long a client may take nothing of its answer, unless the route says `idle`. A paused film asks again for the rest.
const IDLE_READER: Duration = Duration::from_secs(60);

/// Silence allowed in a WebSocket, unless the route says `idle`.
const IDLE_TUNNEL: Duration = Duration::from_secs(3600);

/// What a snapshot is made of.
pub struct Parts<'a> {
    /// The checked file.
    pub config: &'a Config,
    /// The certificates of the file, and the local CA's for what they do not cover.
    pub certificates: CertTable,
    /// What is in force now.
    pub previous: Option<&'a Snapshot>,
    /// Counters, which outlive snapshots.
    pub metrics: &'a Metrics,
    /// The system's roots, for upstreams.
    pub roots: &'a SystemRoots,
    /// The number of the new snapshot.
    pub generation: u64,
    /// Whether containers may have names that are not known yet.
    pub awaits_containers: bool,
}

/// Makes the snapshot. Cannot fail: the file was checked, and a `ca` that cannot be read makes its upstream refuse.
pub fn compile(parts: Parts<'_>) -> Snapshot {
    let Parts { config, certificates, previous, metrics, roots, generation, awaits_containers } = parts;
    let networks =
        NetworkSet::new(config.networks.iter().map(|n| (Arc::clone(&n.name.value), n.nets.clone())).collect());
    let mut targets = Targets::new(config, previous, metrics, roots);
    let routes = config.routes.iter().map(|spec| Arc::new(route(spec, &networks, &mut targets, metrics))).collect();
    let allow_file = match &config.allow {
        Some(spec) => allow(spec, AllowPlace::File, &networks),
        None => Allow { list: AccessList::nobody(), place: AllowPlace::File, line: 0, words: "".into() },
    };
    let metrics_door = config.metrics.as_ref().map(|spec| {
        let readers =
            spec.allow.as_ref().map_or_else(|| allow_file.clone(), |a| allow(a, AllowPlace::Metrics, &networks));
        (spec.listen.value, readers)
    });
    let targets = targets.into_used();
    Snapshot {
        generation,
        listeners: config.doors.iter().flat_map(|spec| listeners(spec, &networks)).collect(),
        routes: RouteTable::new(routes),
        certificates,
        allow: allow_file,
        quota: Quota::of(&config.quota, &AllowPlace::File),
        metrics: metrics_door,
        access_log: config.log.access,
        drain: config.drain,
        limits: config.limits,
        lanes: lane_ids(&targets),
        targets,
        networks,
        awaits_containers,
    }
}

/// Sorted, so that the sweepers of pools find one quickly.
fn lane_ids(targets: &[Arc<Target>]) -> Vec<u64> {
    let mut ids: Vec<u64> = targets.iter().flat_map(|target| &target.lanes).map(|lane| lane.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn allow(spec: &AllowSpec, place: AllowPlace, networks: &NetworkSet) -> Allow {
    let mut anyone = false;
    let mut nets = Vec::new();
    let mut words = Vec::new();
    for entry in &spec.entries {
        match &entry.value {
            AllowEntry::Anyone => {
                anyone = true;
                words.push("anyone".to_owned());
            }
            AllowEntry::Network(name) => {
                nets.extend_from_slice(networks.find(name).unwrap_or_default());
                words.push(name.to_string());
            }
            AllowEntry::Net(net) => {
                nets.push(*net);
                words.push(net.to_string());
            }
        }
    }
    Allow { list: AccessList::of(anyone, nets), place, line: spec.line, words: words.join(", ").into() }
}

fn listeners(spec: &DoorSpec, networks: &NetworkSet) -> Vec<Listener> {
    let DoorSpec { name, https, http, public_names, trust, proxy_protocol, peers, allow: allow_spec, quota } = spec;
    let place = || AllowPlace::Door(Arc::clone(&name.value));
    let door = Arc::new(Door {
        name: Arc::clone(&name.value),
        public_names: *public_names,
        peers: peers.as_ref().map(|spec| allow(spec, place(), networks).list),
        trust: match trust {
            TrustSpec::Nobody => Trust::Nobody,
            TrustSpec::Cloudflared => Trust::Cloudflared,
            TrustSpec::Peers(spec) => Trust::Peers(allow(spec, place(), networks).list),
        },
        proxy_protocol: *proxy_protocol,
        allow: allow_spec.as_ref().map(|spec| allow(spec, place(), networks)),
        quota: Quota::of(quota, &place()),
    });
    let cleartext = |address: SocketAddr| {
        let same_host = https.iter().find(|other| other.value.ip() == address.ip());
        same_host.or(https.first()).map_or(Mode::Plain, |tls| Mode::Redirect(tls.value.port()))
    };
    let tls = https.iter().map(|address| (address.value, Mode::Tls));
    let plain = http.iter().map(|address| (address.value, cleartext(address.value)));
    tls.chain(plain).map(|(address, mode)| Listener { address, mode, door: Arc::clone(&door) }).collect()
}

fn route(spec: &RouteSpec, networks: &NetworkSet, targets: &mut Targets<'_>, metrics: &Metrics) -> Route {
    let RouteSpec {
        origin,
        name,
        host,
        public,
        to,
        allow: allow_spec,
        is_within_door,
        quota,
        max_body,
        idle,
        hsts,
        log_query,
        headers,
        paths,
        schemes,
        // Which certificate is shown is the handshake's business.
        cert: _,
    } = spec;
    let local = match host {
        HostPattern::Exact(name) => Some(name.as_str()),
        HostPattern::Wildcard(_) | HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => None,
    };
    let paths: Vec<PathRule> =
        paths.iter().map(|path| path_rule(path, &name.value, local, networks, targets)).collect();
    Route {
        origin: origin.clone(),
        line: name.line,
        name: Arc::clone(&name.value),
        host: host.clone(),
        public: public.iter().map(|name| name.value.clone()).collect(),
        target: to.as_ref().map(|to| targets.find(to, &name.value, local)),
        allow: allow_spec.as_ref().map(|spec| allow(spec, AllowPlace::Route(Arc::clone(&name.value)), networks)),
        is_within_door: *is_within_door,
        quota: Quota::of(quota, &AllowPlace::Route(Arc::clone(&name.value))),
        number: number_of(&name.value),
        guards_paths: paths.iter().any(|rule| rule.allow.is_some()),
        paths,
        schemes: *schemes,
        max_body: *max_body,
        idle: idle.unwrap_or(IDLE),
        idle_reader: idle.unwrap_or(IDLE_READER),
        idle_tunnel: idle.unwrap_or(IDLE_TUNNEL),
        hsts: hsts.and_then(|age| HeaderValue::try_from(format!("max-age={}", age.as_secs())).ok()),
        log_query: *log_query,
        request_edits: edits(&headers.request),
        response_edits: edits(&headers.response),
        metrics: metrics.route(&name.value),
    }
}

/// The standard hasher begins with the same keys each time.
fn number_of(name: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn edits(spec: &HeaderEdits) -> Edits {
    let HeaderEdits { set, remove } = spec;
    Edits { set: set.clone(), remove: remove.clone() }
}

fn path_rule(
    spec: &PathSpec,
    route: &Arc<str>,
    local: Option<&str>,
    networks: &NetworkSet,
    targets: &mut Targets<'_>,
) -> PathRule {
    let PathSpec { pattern, allow: allow_spec, quota, action } = spec;
    let place = || AllowPlace::Path(Arc::clone(route), pattern.value.to_string().into());
    PathRule {
        pattern: pattern.value.clone(),
        line: pattern.line,
        allow: allow_spec.as_ref().map(|spec| allow(spec, place(), networks)),
        quota: Quota::of(quota, &place()),
        action: match action {
            ActionSpec::Forward { to, replace } => Action::Forward {
                target: to.as_ref().map(|to| targets.find(to, route, local)),
                replace: replace.clone(),
            },
            ActionSpec::Redirect { location, status } => {
                Action::Redirect { location: location.clone(), status: status_code(*status) }
            }
            ActionSpec::Answer { json, body, status, cors } => Action::Answer(Answer {
                status: status_code(*status),
                content_type: HeaderValue::from_static(if *json {
                    "application/json"
                } else {
                    "text/plain; charset=utf-8"
                }),
                body: Bytes::copy_from_slice(body.as_bytes()),
                cors: *cors,
            }),
        },
    }
}

fn status_code(status: u16) -> StatusCode {
    // The check admits 200..=599 only.
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}
