//! Each way to a container, and each reason why there is none.

use serde_json::json;

use super::super::fixture::{changed, inventory, running};
use super::*;

fn reached(container: Container, others: Vec<Container>) -> (Option<String>, String) {
    reached_in(container, others, &[], |_| {})
}

fn reached_in(
    container: Container,
    others: Vec<Container>,
    considered: &[&str],
    change: impl FnOnce(&mut Inventory),
) -> (Option<String>, String) {
    let mut inventory = inventory(others.into_iter().chain([container.clone()]));
    change(&mut inventory);
    let Reached { address, why } = choose(&container, default_port(&container), considered, &inventory);
    (address.map(|address| address.to_string()), why)
}

#[test]
fn of_several_networks_the_first_by_name_is_taken_and_the_others_are_named() {
    let both = running("sonarr", &[("mediarr-net", "172.21.0.7"), ("home-net", "172.18.0.7")], &[]);
    let (address, why) = reached(both.clone(), vec![]);
    assert_eq!(address.as_deref(), Some("172.18.0.7:80"));
    assert_eq!(why, "on home-net, the first by name that we are on too (also on mediarr-net)");
    let (address, why) = reached_in(both, vec![], &["mediarr-net"], |_| {});
    assert_eq!((address.as_deref(), why.as_str()), (Some("172.21.0.7:80"), "on mediarr-net"));
}

#[test]
fn the_port_is_the_only_one_exposed_else_80() {
    let exposing = |ports: serde_json::Value| {
        changed("x", &[("home-net", "172.18.0.7")], &[], |answer| answer["Config"]["ExposedPorts"] = ports)
    };
    for (ports, port) in [(json!({"8989/tcp": {}}), 8989), (json!({"1/tcp": {}, "2/tcp": {}}), 80), (json!(null), 80)] {
        assert_eq!(default_port(&exposing(ports)), port);
    }
    assert_eq!(default_port(&exposing(json!({"53/udp": {}, "8080/tcp": {}}))), 8080);
}

#[test]
fn a_container_in_anothers_network_is_reached_at_the_others_address() {
    let gluetun = running("gluetun", &[("mediarr-net", "172.21.0.2")], &[]);
    let within = |id: &str| {
        let mode = format!("container:{id}");
        changed("qbittorrent", &[], &[], |answer| answer["HostConfig"]["NetworkMode"] = json!(mode))
    };
    let (address, why) = reached(within(&gluetun.id), vec![gluetun.clone()]);
    assert_eq!(address.as_deref(), Some("172.21.0.2:80"));
    assert_eq!(why, "on mediarr-net, the network of gluetun");
    let (address, why) = reached(within("0123456789abcdef"), vec![gluetun.clone()]);
    assert_eq!(
        (address, why.as_str()),
        (None, "it uses the network of container 0123456789ab, which is gone; create it anew")
    );
    let stopped = changed("gluetun", &[], &[], |answer| answer["State"]["Status"] = json!("exited"));
    let (address, why) = reached(within(&stopped.id), vec![stopped]);
    assert_eq!((address, why.as_str()), (None, "it uses the network of gluetun, which is not running"));
    let own = "container:".to_owned() + &gluetun.id;
    let circle = changed("gluetun", &[], &[], |answer| answer["HostConfig"]["NetworkMode"] = json!(own));
    assert_eq!(reached(circle.clone(), vec![]).0, None);
}

#[test]
fn a_container_on_the_hosts_network_listens_on_the_host() {
    let hosty = changed("hosty", &[("host", "")], &[], |answer| answer["HostConfig"]["NetworkMode"] = json!("host"));
    let (address, why) = reached(hosty.clone(), vec![]);
    assert_eq!((address.as_deref(), why.as_str()), (Some("127.0.0.1:80"), "on the host's own network"));
    // From a container of our own the host is where the bridge's gateway is.
    let ours = running("doorward", &[("mediarr-net", "172.21.0.9")], &[]);
    let within = |inventory: &mut Inventory| {
        inventory.surroundings.addresses = vec!["172.21.0.9".parse().unwrap()];
        inventory.surroundings.on_link.retain(|(name, _)| &**name == "br-media");
    };
    assert_eq!(reached_in(hosty, vec![ours], &[], within).0.as_deref(), Some("172.21.0.1:80"));
}

#[test]
fn in_a_container_of_our_own_only_shared_networks_count() {
    let ours = running("doorward", &[("mediarr-net", "172.21.0.9")], &[]);
    let within = |inventory: &mut Inventory| {
        inventory.surroundings.addresses = vec!["172.21.0.9".parse().unwrap()];
        inventory.surroundings.on_link.retain(|(name, _)| &**name == "br-media");
    };
    let sonarr = running("sonarr", &[("home-net", "172.18.0.7"), ("mediarr-net", "172.21.0.7")], &[]);
    assert_eq!(reached_in(sonarr, vec![ours.clone()], &[], within).0.as_deref(), Some("172.21.0.7:80"));
    let nextcloud = running("nextcloud", &[("home-net", "172.18.0.9")], &[]);
    let (address, why) = reached_in(nextcloud, vec![ours], &[], within);
    assert_eq!(address, None);
    assert_eq!(
        why,
        "not on a shared network: it is on home-net, we are on mediarr-net; publish its port 80, or share a network"
    );
}

#[test]
fn without_a_shared_network_a_published_port_is_taken() {
    let publishing = |host: &str| {
        changed("x", &[("elsewhere", "10.99.0.7")], &[("VIRTUAL_PORT", "80")], |answer| {
            answer["NetworkSettings"]["Ports"] =
                json!({"80/tcp": [{"HostIp": host, "HostPort": "8099"}], "81/tcp": null});
        })
    };
    let (address, why) = reached(publishing("0.0.0.0"), vec![]);
    assert_eq!(address.as_deref(), Some("127.0.0.1:8099"));
    assert_eq!(why, "its port 80 as published, for we share no network");
    assert_eq!(reached(publishing("192.168.8.80"), vec![]).0.as_deref(), Some("192.168.8.80:8099"));
    let remote = |inventory: &mut Inventory| {
        inventory.remote = Some("192.168.8.90".parse().unwrap());
    };
    assert_eq!(reached_in(publishing(""), vec![], &[], remote).0.as_deref(), Some("192.168.8.90:8099"));
    assert_eq!(reached_in(publishing("127.0.0.1"), vec![], &[], remote).0, None, "loopback of another machine");
}

#[test]
fn the_blocks_of_an_engine_elsewhere_are_not_ours() {
    let remote = |inventory: &mut Inventory| inventory.remote = Some("192.168.8.90".parse().unwrap());
    let (address, why) = reached_in(running("x", &[("home-net", "172.18.0.7")], &[]), vec![], &[], remote);
    assert_eq!(address, None);
    assert!(why.contains("the engine is on another machine"), "{why}");
}

#[test]
fn ipv4_comes_first_and_ipv6_alone_is_enough() {
    let with_v6 = |v4: &str| {
        changed("x", &[("home-net", v4)], &[], |answer| {
            answer["NetworkSettings"]["Networks"]["home-net"]["GlobalIPv6Address"] = json!("fd00:18::7");
        })
    };
    let dual = |inventory: &mut Inventory| {
        inventory.surroundings.on_link.push(("br-home".into(), "fd00:18::/64".parse().unwrap()));
    };
    assert_eq!(reached_in(with_v6("172.18.0.7"), vec![], &[], dual).0.as_deref(), Some("172.18.0.7:80"));
    assert_eq!(reached_in(with_v6(""), vec![], &[], dual).0.as_deref(), Some("[fd00:18::7]:80"));
}

#[test]
fn a_host_cannot_reach_the_children_of_its_own_interface() {
    let unifi = running("unifi", &[("unifi_macvlan", "192.168.8.206")], &[]);
    let (address, why) = reached(unifi, vec![]);
    assert_eq!(address, None);
    assert_eq!(why, "it is on unifi_macvlan, a network that its own host cannot reach; route it from another machine");
}

#[test]
fn who_is_on_no_network_or_not_on_ours_is_told_so() {
    let (_, why) = reached(running("x", &[], &[]), vec![]);
    assert_eq!(why, "it is on no network; connect it to one, or publish its port 80");
    let (_, why) = reached_in(running("x", &[("home-net", "172.18.0.7")], &[]), vec![], &["mediarr-net"], |_| {});
    assert_eq!(why, "it is on home-net, and `networks` of [docker] has mediarr-net");
    let (_, why) = reached(running("x", &[("elsewhere", "10.99.0.7")], &[]), vec![]);
    assert!(why.contains("no interface of ours is on it"), "{why}");
}

#[test]
fn who_writes_an_address_down_gets_one_that_lasts() {
    let both = changed("x", &[("home-net", "172.18.0.7")], &[], |answer| {
        answer["NetworkSettings"]["Ports"] = json!({"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8099"}]});
    });
    let (followed, _) = reached(both.clone(), vec![]);
    assert_eq!(followed.as_deref(), Some("172.18.0.7:80"));
    let (written, _) = reached_in(both, vec![], &[], |inventory| inventory.prefers_lasting = true);
    assert_eq!(written.as_deref(), Some("127.0.0.1:8099"));
}

#[test]
fn what_is_wrong_with_anothers_network_is_said_of_that_network() {
    let gluetun = running("gluetun", &[("elsewhere", "10.99.0.7")], &[]);
    let mode = format!("container:{}", gluetun.id);
    let within = changed("qbittorrent", &[], &[], |answer| answer["HostConfig"]["NetworkMode"] = json!(mode));
    let (address, why) = reached(within, vec![gluetun]);
    assert_eq!(address, None);
    assert!(why.starts_with("it uses the network of gluetun: not on a shared network: it is on elsewhere"), "{why}");
}
