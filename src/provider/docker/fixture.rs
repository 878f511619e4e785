//! Containers for tests, made of the JSON that an engine would answer: what is tested begins where bytes come in.

use serde_json::{Value, json};

use super::answers;
use super::inventory::{Container, Inventory};
use super::surroundings::Surroundings;

/// A container that runs on networks with these IPv4 addresses.
pub fn running(name: &str, networks: &[(&str, &str)], settings: &[(&str, &str)]) -> Container {
    changed(name, networks, settings, |_| {})
}

/// The same, with something else about it.
pub fn changed(
    name: &str,
    networks: &[(&str, &str)],
    settings: &[(&str, &str)],
    change: impl FnOnce(&mut Value),
) -> Container {
    let attached: serde_json::Map<String, Value> = networks
        .iter()
        .map(|(network, address)| {
            ((*network).to_owned(), json!({ "NetworkID": format!("id-{network}"), "IPAddress": address }))
        })
        .collect();
    let (labels, variables): (Vec<_>, Vec<_>) = settings.iter().partition(|(name, _)| name.contains('.'));
    let labels: serde_json::Map<String, Value> =
        labels.into_iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let variables: Vec<String> = variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    // Ids are hexadecimal, and one name has one.
    let id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut answer = json!({
        "Id": format!("{id:0<64}"),
        "Name": format!("/{name}"),
        "Created": "2026-11-21T07:00:00Z",
        "State": { "Status": "running", "StartedAt": "2026-11-21T07:00:01.5Z" },
        "Config": { "Env": variables, "Labels": labels, "ExposedPorts": null },
        "HostConfig": { "NetworkMode": networks.first().map_or("none", |(network, _)| network) },
        "NetworkSettings": { "Networks": attached, "Ports": {} },
    });
    change(&mut answer);
    answers::container(answer.to_string().as_bytes()).expect("an answer that can be read")
}

/// What is known of containers, seen from the engine's host: two bridges of the home, and whatever else is named.
pub fn inventory(containers: impl IntoIterator<Item = Container>) -> Inventory {
    let network = |name: &str, driver: &str, subnet: &str, gateway: &str| {
        json!({ "Name": name, "Id": format!("id-{name}"), "Driver": driver, "Internal": false,
                "IPAM": { "Config": [{ "Subnet": subnet, "Gateway": gateway }] } })
    };
    let networks = json!([
        network("home-net", "bridge", "172.18.0.0/16", "172.18.0.1"),
        network("mediarr-net", "bridge", "172.21.0.0/16", "172.21.0.1"),
        network("unifi_macvlan", "macvlan", "192.168.8.0/24", "192.168.8.1"),
        network("elsewhere", "overlay", "10.99.0.0/24", "10.99.0.1"),
    ]);
    let on_link = [("br-home", "172.18.0.0/16"), ("br-media", "172.21.0.0/16"), ("eth0", "192.168.8.0/24")];
    let mut inventory = Inventory {
        containers: containers.into_iter().map(Into::into).collect(),
        networks: answers::networks(networks.to_string().as_bytes()).expect("networks that can be read"),
        surroundings: Surroundings {
            on_link: on_link.map(|(name, net)| (name.into(), net.parse().expect("a block"))).into(),
            addresses: ["172.18.0.1", "172.21.0.1", "192.168.8.80"].map(|a| a.parse().expect("an address")).into(),
            is_assumed: false,
        },
        remote: None,
        prefers_lasting: false,
    };
    inventory.sort();
    inventory
}
