//! As written -> as served. Pure but for reading the `ca` files of upstreams; what the previous snapshot serves unchanged
//! (upstreams with their state, targets with their pools, counters) is carried over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use rustls::ClientConfig;

use super::Snapshot;
use super::door::{Allow, AllowPlace, Door, Listener, Mode, Trust};
use super::quota::Quota;
use super::route::{Action, Answer, Edits, PathRule, Route};
use super::table::RouteTable;
use crate::cert::{CertTable, SystemRoots, client_config};
use crate::config::{
    ActionSpec, AllowEntry, AllowSpec, Config, DoorSpec, HeaderEdits, PathSpec, RouteSpec, TargetSpec, ToSpec,
    TrustSpec, VerifySpec,
};
use crate::model::{AccessList, HostPattern, NetworkSet, Scheme};
use crate::telemetry::Metrics;
use crate::upstream::{Target, TargetTls, Upstream, UpstreamKey};

/// Silence allowed on either side of an exchange, unless the route says `idle`.
const IDLE: Duration = Duration::from_secs(600);

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
}

/// Makes the snapshot. Cannot fail: the file was checked, and a `ca` that cannot be read makes its upstream refuse.
pub fn compile(parts: Parts<'_>) -> Snapshot {
    let Parts { config, certificates, previous, metrics, roots, generation } = parts;
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
        targets: targets.into_used(),
        networks,
    }
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
        quota,
        max_body,
        idle,
        hsts,
        log_query,
        headers,
        paths,
    } = spec;
    let local = match host {
        HostPattern::Exact(name) => Some(name.as_str()),
        HostPattern::Wildcard(_) | HostPattern::Any => None,
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
        quota: Quota::of(quota, &AllowPlace::Route(Arc::clone(&name.value))),
        number: number_of(&name.value),
        guards_paths: paths.iter().any(|rule| rule.allow.is_some()),
        paths,
        max_body: *max_body,
        idle: idle.unwrap_or(IDLE),
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
            ActionSpec::Forward { to, strip } => {
                Action::Forward { target: to.as_ref().map(|to| targets.find(to, route, local)), strip: *strip }
            }
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

/// Makes targets, one per (upstream, TLS name), the same ones as before where nothing changed.
struct Targets<'a> {
    written: HashMap<&'a str, &'a TargetSpec>,
    metrics: &'a Metrics,
    roots: &'a SystemRoots,
    upstreams: HashMap<UpstreamKey, Arc<Upstream>>,
    before: HashMap<TargetKey, Arc<Target>>,
    used: HashMap<TargetKey, Arc<Target>>,
    configs: HashMap<ConfigKey, Result<Arc<ClientConfig>, String>>,
}

/// The bytes of a `ca` file: a new file under the old name makes a new target.
type Trusted = Arc<[u8]>;

/// How certificates are judged, whether HTTP/2 is offered, what is trusted.
type ConfigKey = (VerifySpec, bool, Option<Trusted>);

type TargetKey = (UpstreamKey, Option<Arc<str>>, Option<Trusted>);

impl<'a> Targets<'a> {
    fn new(config: &'a Config, previous: Option<&Snapshot>, metrics: &'a Metrics, roots: &'a SystemRoots) -> Self {
        let mut targets = Targets {
            written: config.upstreams.iter().map(|spec| (&*spec.name.value, &spec.target)).collect(),
            metrics,
            roots,
            upstreams: HashMap::new(),
            before: HashMap::new(),
            used: HashMap::new(),
            configs: HashMap::new(),
        };
        for target in previous.iter().flat_map(|snapshot| &snapshot.targets) {
            let key = target.upstream.key.clone();
            targets.upstreams.insert(key.clone(), Arc::clone(&target.upstream));
            if let Some(tls) = &target.tls {
                let trusted = tls.trusted.clone();
                if tls.config.is_ok() {
                    targets.configs.insert((key.verify.clone(), key.http2, trusted.clone()), tls.config.clone());
                    targets.before.insert((key, Some(tls.name.to_str().into()), trusted), Arc::clone(target));
                }
            } else {
                targets.before.insert((key, None, None), Arc::clone(target));
            }
        }
        targets
    }

    /// The target for a `to`. An address written in a route makes an upstream named like the route.
    fn find(&mut self, to: &ToSpec, route: &Arc<str>, local: Option<&str>) -> Arc<Target> {
        match to {
            ToSpec::Address(spec) => self.intern(spec, Arc::clone(route), local),
            ToSpec::Upstream(name) => match self.written.get(&*name.value).copied() {
                Some(spec) => self.intern(spec, Arc::clone(&name.value), local),
                // The check refuses a name that is not there.
                None => unreachable_target(&name.value, self.metrics),
            },
        }
    }

    fn intern(&mut self, spec: &TargetSpec, name: Arc<str>, local: Option<&str>) -> Arc<Target> {
        let TargetSpec { to, tls_name, verify, hold, http2, proxy_protocol, via } = spec;
        let endpoint = to.value.clone();
        let key = UpstreamKey {
            name,
            endpoint: endpoint.clone(),
            verify: verify.clone(),
            hold: hold.as_ref().map(|hold| hold.value),
            http2: *http2,
            proxy_protocol: *proxy_protocol,
            via: *via,
        };
        let tls = (endpoint.scheme == Scheme::Https)
            .then(|| Target::server_name(tls_name.as_ref().map(|name| name.value.as_str()).or(local), &endpoint))
            .flatten();
        let trusted: Option<Trusted> = match (&tls, verify) {
            (Some(_), VerifySpec::Ca(path)) => Some(std::fs::read(path).unwrap_or_default().into()),
            _ => None,
        };
        let target_key: TargetKey = (key.clone(), tls.as_ref().map(|name| name.to_str().into()), trusted.clone());
        if let Some(target) = self.used.get(&target_key) {
            return Arc::clone(target);
        }
        let target = match self.before.remove(&target_key) {
            Some(target) => target,
            None => {
                let upstream = self.upstream(key);
                let tls =
                    tls.map(|name| TargetTls { name, config: self.config(verify, *http2, trusted.clone()), trusted });
                Arc::new(Target::new(upstream, tls))
            }
        };
        self.used.insert(target_key, Arc::clone(&target));
        target
    }

    fn upstream(&mut self, key: UpstreamKey) -> Arc<Upstream> {
        let metrics = self.metrics;
        let made = self
            .upstreams
            .entry(key)
            .or_insert_with_key(|key| Arc::new(Upstream::new(key.clone(), metrics.upstream(&key.name))));
        Arc::clone(made)
    }

    fn config(
        &mut self,
        verify: &VerifySpec,
        http2: bool,
        trusted: Option<Trusted>,
    ) -> Result<Arc<ClientConfig>, String> {
        let roots = self.roots;
        let offered: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        let make = || client_config(verify, roots, offered).map_err(|error| error.to_string());
        self.configs.entry((verify.clone(), http2, trusted)).or_insert_with(make).clone()
    }

    fn into_used(self) -> Vec<Arc<Target>> {
        self.used.into_values().collect()
    }
}

fn unreachable_target(name: &Arc<str>, metrics: &Metrics) -> Arc<Target> {
    let endpoint = crate::model::Endpoint {
        scheme: Scheme::Http,
        host: crate::model::EndpointHost::Ip(std::net::Ipv4Addr::UNSPECIFIED.into()),
        port: 0,
    };
    let key = UpstreamKey {
        name: Arc::clone(name),
        endpoint,
        verify: VerifySpec::System,
        hold: None,
        http2: false,
        proxy_protocol: None,
        via: true,
    };
    Arc::new(Target::new(Arc::new(Upstream::new(key, metrics.upstream(name))), None))
}
