//! The engine's answers, as far as they concern us, and what becomes of them. Everything may be missing or null: Podman
//! leaves out what Docker has, and each version has more. What cannot be read is as good as absent; nothing is trusted.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::inventory::{Attachment, Container, Health, Network, NetworkMode, Published, State, Trouble};
use super::vocabulary;

/// One entry of `GET /containers/json`: enough to see whether a container has to be looked at again.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// The id.
    pub id: String,
    #[serde(default, deserialize_with = "or_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    /// `Up 3 minutes (healthy)`.
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: ListedNetworks,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedNetworks {
    #[serde(default, deserialize_with = "or_default")]
    networks: BTreeMap<String, Option<RawAttachment>>,
}

/// Reads `GET /containers/json`. An entry that cannot be read is left out: it is nobody else's loss.
///
/// # Errors
/// The whole is no list.
pub fn list(bytes: &[u8]) -> Result<Vec<Listed>, serde_json::Error> {
    let all: Vec<serde_json::Value> = serde_json::from_slice(bytes)?;
    let is_id = |one: &Listed| (1..=128).contains(&one.id.len()) && one.id.bytes().all(|b| b.is_ascii_hexdigit());
    Ok(all.into_iter().filter_map(|one| serde_json::from_value(one).ok()).filter(is_id).collect())
}

impl Listed {
    /// Its name; empty where the list has none.
    pub fn name(&self) -> String {
        self.names.first().map(|name| fit(own_name(name))).unwrap_or_default()
    }

    /// The same as long as nothing has changed that we look at. The time in `Status` is left out.
    pub fn print(&self) -> String {
        let health = self.status.rsplit_once('(').map_or("", |(_, health)| health);
        // `Exited (0) 3 minutes ago` has its brackets elsewhere.
        let health = health.split(')').next().unwrap_or_default();
        let networks: Vec<String> = self
            .network_settings
            .networks
            .iter()
            .map(|(name, at)| match at {
                Some(at) => format!("{name}={},{}", at.ip_address, at.global_ipv6_address),
                None => name.clone(),
            })
            .collect();
        format!("{} {} {health} {}", self.names.join(","), self.state, networks.join(" "))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainer {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    created: String,
    #[serde(default, deserialize_with = "or_default")]
    state: RawState,
    #[serde(default, deserialize_with = "or_default")]
    config: RawConfig,
    #[serde(default, deserialize_with = "or_default")]
    host_config: RawHostConfig,
    #[serde(default, deserialize_with = "or_default")]
    network_settings: RawNetworkSettings,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawState {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    started_at: String,
    #[serde(default, deserialize_with = "or_default")]
    finished_at: String,
    // Podman calls it Healthcheck in some versions.
    #[serde(default, alias = "Healthcheck", deserialize_with = "or_default")]
    health: RawHealth,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawHealth {
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawConfig {
    #[serde(default, deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: HashMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    exposed_ports: HashMap<String, serde::de::IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawHostConfig {
    #[serde(default, deserialize_with = "or_default")]
    network_mode: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNetworkSettings {
    #[serde(default, deserialize_with = "or_default")]
    ports: HashMap<String, Option<Vec<RawBinding>>>,
    #[serde(default, deserialize_with = "or_default")]
    networks: HashMap<String, Option<RawAttachment>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawBinding {
    #[serde(default, deserialize_with = "or_default")]
    host_ip: String,
    #[serde(default, deserialize_with = "or_default")]
    host_port: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct RawAttachment {
    #[serde(rename = "NetworkID", default, deserialize_with = "or_default")]
    network_id: String,
    #[serde(rename = "IPAddress", default, deserialize_with = "or_default")]
    ip_address: String,
    #[serde(rename = "GlobalIPv6Address", default, deserialize_with = "or_default")]
    global_ipv6_address: String,
    #[serde(rename = "IPAMConfig", default, deserialize_with = "or_default")]
    ipam_config: RawFixed,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
struct RawFixed {
    #[serde(rename = "IPv4Address", default, deserialize_with = "or_default")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address", default, deserialize_with = "or_default")]
    ipv6_address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNetwork {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    driver: String,
    #[serde(default, deserialize_with = "or_default")]
    internal: bool,
    #[serde(rename = "IPAM", default, deserialize_with = "or_default")]
    ipam: RawIpam,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawIpam {
    #[serde(default, deserialize_with = "or_default")]
    config: Vec<RawSubnet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSubnet {
    #[serde(default, deserialize_with = "or_default")]
    gateway: String,
}

/// Engines write `null` where something is empty.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// One event of `GET /events`.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// `container` or `network`.
    #[serde(rename = "Type", default)]
    pub kind: String,
    /// `start`, `die`, `health_status: healthy`, …
    #[serde(rename = "Action", default)]
    pub action: String,
    #[serde(rename = "Actor", default)]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: HashMap<String, String>,
}

impl Event {
    /// The container that it concerns, if it changes anything for us. Health checks themselves come as `exec_…` events,
    /// several in each interval.
    pub fn container(&self) -> Option<&str> {
        let concerns = !self.action.starts_with("exec_") && self.action != "top" && self.action != "attach";
        match self.kind.as_str() {
            "container" if concerns => Some(self.actor.id.as_str()),
            "network" => self.actor.attributes.get("container").map(String::as_str),
            _ => None,
        }
        .filter(|id| !id.is_empty())
    }
}

/// Reads one answer of `GET /containers/<id>/json`.
///
/// # Errors
/// What is wrong with the text.
pub fn container(bytes: &[u8]) -> Result<Container, serde_json::Error> {
    Ok(serde_json::from_slice::<RawContainer>(bytes)?.into())
}

/// Reads what `docker inspect` prints: a list of containers. Anything else in the list (networks, images) is left out.
///
/// # Errors
/// What is wrong with the text.
pub fn containers(bytes: &[u8]) -> Result<Vec<Container>, serde_json::Error> {
    let all: Vec<serde_json::Value> = serde_json::from_slice(bytes)?;
    let is_container = |value: &serde_json::Value| value.get("HostConfig").is_some();
    Ok(all.into_iter().filter(is_container).map(one_of_many).collect())
}

/// One that cannot be read is nobody else's loss.
fn one_of_many(value: serde_json::Value) -> Container {
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (id, name) = (text("Id"), text("Name"));
    match serde_json::from_value::<RawContainer>(value) {
        Ok(raw) => raw.into(),
        Err(error) => Container::untold(&id, &shown_name(&name, &id), &error.to_string()),
    }
}

/// Reads `GET /networks`, or the networks in what `docker inspect` prints.
///
/// # Errors
/// What is wrong with the text.
pub fn networks(bytes: &[u8]) -> Result<Vec<Network>, serde_json::Error> {
    let all: Vec<serde_json::Value> = serde_json::from_slice(bytes)?;
    let is_network = |value: &serde_json::Value| value.get("Driver").is_some() && value.get("HostConfig").is_none();
    let raw = all.into_iter().filter(is_network).filter_map(|one| serde_json::from_value::<RawNetwork>(one).ok());
    let mut networks: Vec<Network> = raw.map(Network::from).collect();
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(networks)
}

impl From<RawNetwork> for Network {
    fn from(raw: RawNetwork) -> Network {
        let RawNetwork { name, id, driver, internal, ipam } = raw;
        // Written with its prefix length by some engines.
        let gateway = |subnet: &RawSubnet| subnet.gateway.split('/').next().and_then(|a| a.parse().ok());
        let gateways = ipam.config.iter().filter_map(gateway).collect();
        Network { name: fit(&name).into(), id: id.into(), driver: driver.into(), is_internal: internal, gateways }
    }
}

impl From<RawContainer> for Container {
    fn from(raw: RawContainer) -> Container {
        let RawContainer { id, name, created, state, config, host_config, network_settings } = raw;
        let RawNetworkSettings { ports, networks } = network_settings;
        let (state, since) = read_state(&state);
        let mut exposed: Vec<u16> = ports.keys().filter_map(|port| tcp(port)).collect();
        if exposed.is_empty() {
            exposed = config.exposed_ports.keys().filter_map(|port| tcp(port)).collect();
        }
        exposed.sort_unstable();
        let mut networks: Vec<Attachment> = networks.into_iter().map(attachment).collect();
        networks.sort_by(|a, b| a.network.cmp(&b.network));
        let Said { settings, remarks, trouble } = said(&config);
        Container {
            name: shown_name(&name, &id).into(),
            id: id.into(),
            created: created.into(),
            state,
            since,
            settings,
            network_mode: network_mode(&host_config.network_mode),
            networks,
            exposed,
            published: published(&ports),
            remarks,
            trouble,
        }
    }
}

/// What a container is called in messages: its name, else the beginning of its id.
fn shown_name(name: &str, id: &str) -> String {
    match own_name(name) {
        "" if id.is_empty() => "?".to_owned(),
        "" => fit(&id.chars().take(12).collect::<String>()),
        name => fit(name),
    }
}

/// The name without slash, and without the id that Compose puts before the name of a container it is about to replace.
fn own_name(name: &str) -> &str {
    let name = name.trim_start_matches('/');
    match name.split_once('_') {
        Some((id, rest)) if id.len() == 12 && !rest.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()) => rest,
        _ => name,
    }
}

fn read_state(raw: &RawState) -> (State, Option<i64>) {
    let moment = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp);
    // The year 1 stands for "never".
    let after_1970 = |text: &str| moment(text).filter(|&seconds| seconds > 0);
    match raw.status.as_str() {
        "running" => {
            let health = match raw.health.status.as_str() {
                "starting" => Health::Starting,
                "healthy" => Health::Healthy,
                "unhealthy" => Health::Unhealthy,
                _ => Health::Unchecked,
            };
            (State::Running(health), after_1970(&raw.started_at))
        }
        "paused" => (State::Paused, None),
        other => {
            let word = if other.is_empty() { "stopped" } else { other };
            (State::Stopped(fit(word).into()), after_1970(&raw.finished_at))
        }
    }
}

/// `80/tcp`, or just `80`.
fn tcp(port: &str) -> Option<u16> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    number.parse().ok().filter(|&port| port > 0 && protocol == "tcp")
}

fn published(ports: &HashMap<String, Option<Vec<RawBinding>>>) -> Vec<Published> {
    let mut published = Vec::new();
    for (port, bindings) in ports {
        let Some(inside) = tcp(port) else { continue };
        for binding in bindings.iter().flatten() {
            let address = match binding.host_ip.as_str() {
                "" => Some(std::net::IpAddr::from([0, 0, 0, 0])),
                text => text.parse().ok(),
            };
            let outside = binding.host_port.parse().ok().filter(|&port: &u16| port > 0);
            if let (Some(address), Some(outside)) = (address, outside) {
                published.push(Published { inside, address, outside });
            }
        }
    }
    published.sort();
    published
}

fn attachment((network, raw): (String, Option<RawAttachment>)) -> Attachment {
    let network = fit(&network).into();
    match raw {
        Some(RawAttachment { network_id, ip_address, global_ipv6_address, ipam_config }) => Attachment {
            network,
            id: network_id.into(),
            v4: ip_address.parse().ok(),
            v6: global_ipv6_address.parse().ok(),
            is_fixed: !ipam_config.ipv4_address.is_empty() || !ipam_config.ipv6_address.is_empty(),
        },
        None => Attachment { network, id: "".into(), v4: None, v6: None, is_fixed: false },
    }
}

fn network_mode(text: &str) -> NetworkMode {
    match text.split_once(':') {
        Some(("container", id)) => NetworkMode::Container(id.into()),
        _ if text == "host" => NetworkMode::Host,
        _ if text == "none" => NetworkMode::Nothing,
        _ => NetworkMode::Own,
    }
}

/// A name of the engine's, fit for one line of a message.
fn fit(name: &str) -> String {
    vocabulary::cut(name)
}

/// What a container says in its variables and labels.
#[derive(Default)]
struct Said {
    settings: BTreeMap<String, String>,
    remarks: Vec<String>,
    trouble: Option<Trouble>,
}

/// Variables and labels that some vocabulary knows; everything else is nobody's business here.
fn said(config: &RawConfig) -> Said {
    let mut said = Said::default();
    let mut too_much = |why: String| said.trouble = Some(Trouble::Unusable(why.into()));
    let labels = config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let variables = config.env.iter().filter_map(|variable| variable.split_once('='));
    // Variables come last: they replace labels of the same name.
    for (name, value) in labels.chain(variables).filter(|(name, _)| vocabulary::knows(name)) {
        if value.len() > LONGEST {
            // What it would have narrowed is not known: nothing of it is used.
            too_much(format!("{} is longer than {} KiB", vocabulary::cut(name), LONGEST / 1024));
            continue;
        }
        let label = said.settings.insert(name.to_owned(), value.to_owned());
        if label.is_some_and(|label| label != value) {
            said.remarks.push(format!(
                "{} is a variable and a label, and they differ: the variable counts",
                vocabulary::cut(name)
            ));
        }
    }
    if said.settings.len() > MOST_SETTINGS {
        too_much(format!(
            "it has {} labels and variables about routes; {MOST_SETTINGS} are the most",
            said.settings.len()
        ));
    }
    said
}

/// The longest setting that is read, in bytes.
const LONGEST: usize = 64 * 1024;

/// How many labels and variables about routes one container may have.
const MOST_SETTINGS: usize = 200;

#[cfg(test)]
mod tests;
