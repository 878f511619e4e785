//! Recorded answers of real engines, and what no engine should send.

use std::net::IpAddr;

use super::super::inventory::{Health, NetworkMode, State};
use super::*;

const DOCKER: &[u8] = include_bytes!("../recorded/docker-20.10.json");
const DOCKER_LIST: &[u8] = include_bytes!("../recorded/docker-20.10-list.json");
const PODMAN: &[u8] = include_bytes!("../recorded/podman-4.3.json");
const PODMAN_LIST: &[u8] = include_bytes!("../recorded/podman-4.3-list.json");

fn named(all: &[Container], name: &str) -> Container {
    all.iter().find(|container| &*container.name == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

#[test]
fn what_docker_answers_is_understood() {
    let all = containers(DOCKER).unwrap();
    let nextcloud = named(&all, "nextcloud");
    assert_eq!(nextcloud.setting("VIRTUAL_HOST"), Some("nextcloud.local.akunito.com,nextcloud.akunito.com"));
    assert_eq!(nextcloud.state, State::Running(Health::Unchecked));
    assert_eq!(nextcloud.exposed, [80]);
    let attached: Vec<String> =
        nextcloud.networks.iter().map(|at| format!("{} {}", at.network, at.v4.unwrap())).collect();
    assert_eq!(attached, ["homelab_home-net 10.204.0.2", "media_mediarr-net 10.204.1.3"]);
    assert!(nextcloud.since.unwrap() > 1_700_000_000);

    let gluetun = named(&all, "gluetun");
    let qbittorrent = named(&all, "qbittorrent");
    assert_eq!(qbittorrent.network_mode, NetworkMode::Container(gluetun.id));
    assert_eq!(named(&all, "hosty").network_mode, NetworkMode::Host);
    assert_eq!(named(&all, "healthy").state, State::Running(Health::Healthy));
    assert_eq!(named(&all, "stopped").state, State::Stopped("exited".into()));
    let published = named(&all, "published");
    assert!(published.published.iter().any(|port| (port.inside, port.outside) == (80, 8099)), "{published:?}");

    let all = networks(DOCKER).unwrap();
    let home = all.iter().find(|network| &*network.name == "homelab_home-net").unwrap();
    assert_eq!((&*home.driver, home.is_internal), ("bridge", false));
    assert_eq!(home.gateways, ["10.204.0.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn secrets_in_the_environment_of_a_container_are_not_kept() {
    let all = containers(DOCKER).unwrap();
    assert!(String::from_utf8_lossy(DOCKER).contains("MYSQL_PASSWORD=secret"));
    assert!(!format!("{all:?}").contains("secret"));
}

#[test]
fn what_podman_answers_is_understood() {
    let all = containers(PODMAN).unwrap();
    let sonarr = named(&all, "sonarr");
    assert_eq!(sonarr.setting("VIRTUAL_HOST"), Some("sonarr.local.akunito.com"));
    assert_eq!(sonarr.state, State::Stopped("created".into()));
    assert_eq!((sonarr.since, sonarr.exposed.as_slice()), (None, [8989].as_slice()));
    assert_eq!(&*sonarr.networks[0].network, "home-net");
    assert!(networks(PODMAN).unwrap().iter().any(|network| &*network.name == "home-net"));
}

#[test]
fn the_list_shows_whether_a_container_has_to_be_looked_at_again() {
    for list in [DOCKER_LIST, PODMAN_LIST] {
        let listed = super::list(list).unwrap();
        assert!(!listed.is_empty());
        let text = String::from_utf8_lossy(list);
        // The time that it is up changes nothing, health does.
        let later: Vec<Listed> = serde_json::from_str(&text.replace("Up 2", "Up 3").replace("ago", "before")).unwrap();
        assert!(listed.iter().zip(&later).all(|(now, later)| now.print() == later.print()));
    }
    let unwell = String::from_utf8_lossy(DOCKER_LIST).replace("(healthy)", "(unhealthy)");
    let (well, unwell): (Vec<Listed>, Vec<Listed>) =
        (serde_json::from_slice(DOCKER_LIST).unwrap(), serde_json::from_str(&unwell).unwrap());
    assert_eq!(well.iter().zip(&unwell).filter(|(a, b)| a.print() != b.print()).count(), 1);
}

#[test]
fn what_is_null_or_missing_is_empty() {
    let nearly_nothing = br#"{"Id":"ab","Name":null,"State":null,"Config":{"Env":null,"Labels":null},"HostConfig":null,
        "NetworkSettings":{"Ports":{"53/udp":null,"0/tcp":null,"x":null},"Networks":{"a":null}}}"#;
    let read = container(nearly_nothing).unwrap();
    assert_eq!((read.state, read.exposed.len(), read.networks.len()), (State::Stopped("stopped".into()), 0, 1));
    for wrong in ["", "[]", "{}", "null", "{\"Id\":1}", "{\"Id\":\"a\",\"Config\":{\"Env\":7}}"] {
        assert!(container(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert!(containers(b"{}").is_err() && networks(b"7").is_err());
}

#[test]
fn a_name_that_compose_moved_aside_is_still_the_containers() {
    assert_eq!(own_name("/0123456789ab_sonarr"), "sonarr");
    assert_eq!(own_name("/media_sonarr"), "media_sonarr");
    assert_eq!(own_name("/0123456789ab_"), "0123456789ab_");
}

#[test]
fn events_name_the_containers_that_they_concern() {
    let concerned = |text: &str| serde_json::from_str::<Event>(text).unwrap().container().map(str::to_owned);
    let die = r#"{"status":"die","Type":"container","Action":"die","Actor":{"ID":"ab","Attributes":{"name":"x"}}}"#;
    assert_eq!(concerned(die).as_deref(), Some("ab"));
    let checked = r#"{"Type":"container","Action":"exec_create: test -f /ok","Actor":{"ID":"ab"}}"#;
    assert_eq!(concerned(checked), None);
    let connect = r#"{"Type":"network","Action":"connect","Actor":{"ID":"n","Attributes":{"container":"cd"}}}"#;
    assert_eq!(concerned(connect).as_deref(), Some("cd"));
    assert_eq!(concerned(r#"{"Type":"image","Action":"pull","Actor":{"ID":"x"}}"#), None);
    assert_eq!(concerned("{}"), None);
}

#[test]
fn one_that_cannot_be_read_is_nobody_elses_loss() {
    let listed = list(br#"[{"Id":"ab","Names":["/a"]},{"Id":7},{"Id":"../x"},{"Id":""},null,{"Id":"cd"}]"#).unwrap();
    assert_eq!(listed.iter().map(Listed::name).collect::<Vec<_>>(), ["a", ""]);
    let all = containers(
        br#"[{"Id":"ab","Name":"/bad","HostConfig":{},"Config":{"Env":7}},{"Id":"cd","Name":"/good","HostConfig":{}}]"#,
    );
    let all = all.unwrap();
    assert!(
        matches!(&all[0].trouble, Some(Trouble::Unusable(why)) if why.contains("invalid type")),
        "{:?}",
        all[0].trouble
    );
    assert_eq!((&*all[0].name, &*all[1].name, all[1].trouble.is_none()), ("bad", "good", true));
    let nets = networks(br#"[{"Driver":"bridge","Name":7},{"Driver":"bridge","Name":"home"}]"#).unwrap();
    assert_eq!(nets.len(), 1);
}

proptest::proptest! {
    #[test]
    fn an_answer_that_was_damaged_is_read_or_refused(
        at in 0..DOCKER.len(), length in 0_usize..40, with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
    ) {
        let mut damaged = DOCKER.to_vec();
        let end = (at + length).min(damaged.len());
        damaged.splice(at..end, with);
        let _ = (containers(&damaged), networks(&damaged), list(&damaged), container(&damaged));
        let _ = (containers(&damaged[..at]), networks(&damaged[..at]));
    }
}
