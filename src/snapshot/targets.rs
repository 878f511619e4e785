//! Makes targets, one for each (upstream, TLS name), the same ones as before where nothing changed. Where only the list of
//! addresses changed, the members that stay keep their state, and the ways to them their pools. Opens no connection.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Snapshot;
use crate::cert::{SystemRoots, client_config};
use crate::config::{Balance, Config, TargetSpec, ToSpec, VerifySpec};
use crate::model::{Endpoint, ProxyVersion, Scheme};
use crate::telemetry::Metrics;
use crate::upstream::{Lane, Member, Target, TargetKey, TargetTls, Upstream, UpstreamKey};

/// Targets in the making.
pub struct Targets<'a> {
    written: HashMap<&'a str, &'a TargetSpec>,
    metrics: &'a Metrics,
    roots: &'a SystemRoots,
    members: HashMap<MemberKey, Arc<Member>>,
    lanes: HashMap<LaneKey, Arc<Lane>>,
    upstreams: HashMap<UpstreamKey, Arc<Upstream>>,
    before: HashMap<TargetKey, Arc<Target>>,
    used: HashMap<TargetKey, Arc<Target>>,
    configs: HashMap<ConfigKey, Result<Arc<ClientConfig>, String>>,
}

/// Name of the upstream, and the address.
type MemberKey = (Arc<str>, Endpoint);

/// The member, and what its connections are made with: everything but that may change without them.
type LaneKey = (MemberKey, Option<Arc<str>>, ConfigKey, Option<ProxyVersion>);

/// How certificates are judged, whether HTTP/2 is offered, the bytes of the `ca` file.
type ConfigKey = (VerifySpec, bool, Option<Arc<[u8]>>);

impl<'a> Targets<'a> {
    /// Takes up what the previous snapshot has.
    pub fn new(
        config: &'a Config,
        previous: Option<&Snapshot>,
        metrics: &'a Metrics,
        roots: &'a SystemRoots,
    ) -> Targets<'a> {
        let mut targets = Targets {
            written: config.upstreams.iter().map(|spec| (&*spec.name.value, &spec.target)).collect(),
            metrics,
            roots,
            members: HashMap::new(),
            lanes: HashMap::new(),
            upstreams: HashMap::new(),
            before: HashMap::new(),
            used: HashMap::new(),
            configs: HashMap::new(),
        };
        for target in previous.iter().flat_map(|snapshot| &snapshot.targets) {
            targets.take_up(target);
        }
        targets
    }

    fn take_up(&mut self, target: &Arc<Target>) {
        let key = &target.key;
        let config_key = config_key(key);
        let mut is_usable = true;
        for lane in &target.lanes {
            let member_key = (Arc::clone(&key.upstream.name), lane.member.endpoint.clone());
            self.members.insert(member_key.clone(), Arc::clone(&lane.member));
            match lane.tls.as_ref().map(|tls| &tls.config) {
                // What could not be read may be readable now.
                Some(Err(_)) => {
                    is_usable = false;
                    continue;
                }
                Some(config) => _ = self.configs.insert(config_key.clone(), config.clone()),
                None => {}
            }
            let proxy_protocol = key.upstream.proxy_protocol;
            self.lanes.insert((member_key, key.tls_name.clone(), config_key.clone(), proxy_protocol), Arc::clone(lane));
        }
        self.upstreams.insert(key.upstream.clone(), Arc::clone(&target.upstream));
        if is_usable {
            self.before.insert(key.clone(), Arc::clone(target));
        }
    }

    /// The target for a `to`. An address written in a route makes an upstream named like the route.
    pub fn find(&mut self, to: &ToSpec, route: &Arc<str>, local: Option<&str>) -> Arc<Target> {
        match to {
            ToSpec::Address(spec) => self.of_spec(spec, Arc::clone(route), local),
            ToSpec::Upstream(name) => match self.written.get(&*name.value).copied() {
                Some(spec) => self.of_spec(spec, Arc::clone(&name.value), local),
                // The check refuses a name that is not there.
                None => self.target(TargetKey {
                    upstream: UpstreamKey {
                        name: Arc::clone(&name.value),
                        endpoints: Arc::from([]),
                        balance: Balance::default(),
                        verify: VerifySpec::System,
                        hold: None,
                        http2: false,
                        proxy_protocol: None,
                        via: true,
                    },
                    tls_name: None,
                    trusted: None,
                }),
            },
        }
    }

    /// Every target that was asked for.
    pub fn into_used(self) -> Vec<Arc<Target>> {
        self.used.into_values().collect()
    }

    fn of_spec(&mut self, spec: &TargetSpec, name: Arc<str>, local: Option<&str>) -> Arc<Target> {
        let TargetSpec { to, balance, tls_name, verify, hold, http2, proxy_protocol, via } = spec;
        let is_tls = to.first().is_some_and(|to| to.value.scheme == Scheme::Https);
        let trusted: Option<Arc<[u8]>> = match verify {
            VerifySpec::Ca(path) if is_tls => Some(std::fs::read(path).unwrap_or_default().into()),
            _ => None,
        };
        let tls_name = tls_name.as_ref().map(|name| name.value.shared()).or_else(|| local.map(Arc::from));
        self.target(TargetKey {
            upstream: UpstreamKey {
                name,
                endpoints: to.iter().map(|to| to.value.clone()).collect(),
                balance: *balance,
                verify: verify.clone(),
                hold: hold.as_ref().map(|hold| hold.value),
                http2: *http2,
                proxy_protocol: *proxy_protocol,
                via: *via,
            },
            tls_name: tls_name.filter(|_| is_tls),
            trusted,
        })
    }

    fn target(&mut self, key: TargetKey) -> Arc<Target> {
        if let Some(target) = self.used.get(&key) {
            return Arc::clone(target);
        }
        let target = match self.before.remove(&key) {
            Some(target) => target,
            None => {
                let upstream = self.upstream(&key.upstream);
                let lanes = upstream.members.iter().map(|member| self.lane(&key, member)).collect();
                Arc::new(Target { key: key.clone(), upstream, lanes })
            }
        };
        self.used.insert(key, Arc::clone(&target));
        target
    }

    fn upstream(&mut self, key: &UpstreamKey) -> Arc<Upstream> {
        if let Some(known) = self.upstreams.get(key) {
            return Arc::clone(known);
        }
        let members = key.endpoints.iter().map(|endpoint| self.member(&key.name, endpoint)).collect();
        let made = Arc::new(Upstream::new(key.clone(), members, self.metrics.upstream(&key.name)));
        self.upstreams.insert(key.clone(), Arc::clone(&made));
        made
    }

    fn member(&mut self, upstream: &Arc<str>, endpoint: &Endpoint) -> Arc<Member> {
        let metrics = self.metrics;
        let made = self.members.entry((Arc::clone(upstream), endpoint.clone())).or_insert_with(|| {
            let counted = |authority: &str| metrics.member(upstream, authority);
            Arc::new(Member::new(Arc::clone(upstream), endpoint.clone(), counted))
        });
        Arc::clone(made)
    }

    fn lane(&mut self, key: &TargetKey, member: &Arc<Member>) -> Arc<Lane> {
        let config_key = config_key(key);
        let member_key = (Arc::clone(&key.upstream.name), member.endpoint.clone());
        let proxy_protocol = key.upstream.proxy_protocol;
        let lane_key = (member_key, key.tls_name.clone(), config_key.clone(), proxy_protocol);
        if let Some(lane) = self.lanes.get(&lane_key) {
            return Arc::clone(lane);
        }
        let name = (member.endpoint.scheme == Scheme::Https)
            .then(|| Target::server_name(key.tls_name.as_deref(), &member.endpoint))
            .flatten();
        let tls = name.map(|name| TargetTls { name, config: self.config(config_key) });
        let made = Arc::new(Lane::new(Arc::clone(member), tls, key.upstream.http2, proxy_protocol));
        self.lanes.insert(lane_key, Arc::clone(&made));
        made
    }

    fn config(&mut self, key: ConfigKey) -> Result<Arc<ClientConfig>, String> {
        let roots = self.roots;
        let made = self.configs.entry(key).or_insert_with_key(|(verify, http2, _)| {
            let offered: &[&[u8]] = if *http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
            client_config(verify, roots, offered).map_err(|error| error.to_string())
        });
        made.clone()
    }
}

fn config_key(key: &TargetKey) -> ConfigKey {
    (key.upstream.verify.clone(), key.upstream.http2, key.trusted.clone())
}
