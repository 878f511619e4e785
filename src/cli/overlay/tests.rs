//! What the demo makes of a file.

use super::*;
use crate::config;
use crate::model::HostPattern;

fn changed(stage: &Stage, text: &str) -> Config {
    let mut config = config::parse("routes.toml".as_ref(), text).map_err(|faults| faults.to_string()).unwrap().config;
    stage.change(&mut config);
    config
}

fn stage() -> Stage {
    Stage::new(Ports::from_base(None), Origin::start().unwrap(), true)
}

const HOME: &str = r#"
domain = "home.test"
allow = ["lan"]
[networks]
lan = ["192.0.2.0/24"]
monitoring = ["192.0.2.9"]
[listen.lan]
https = "192.0.2.1:443"
http = "192.0.2.1:80"
peers = ["monitoring"]
[listen.tunnel]
http = "127.0.0.1:8080"
names = "public"
trust = "cloudflared"
allow = ["anyone"]
[listen.more]
https = ["192.0.2.1:4443", "198.51.100.1:443"]
[cert.own]
cert = "a.crt"
key = "a.key"
[upstreams.nas]
to = "https://192.0.2.80"
verify = false
[routes]
films = "nas"
[routes.books]
to = "https://192.0.2.81"
paths = { "/api/*" = "http://192.0.2.82:81", "/closed" = { allow = ["monitoring"] } }
[metrics]
listen = "192.0.2.1:9180"
allow = ["monitoring"]
[log]
access = "json"
[mail]
relay = "192.0.2.89:25"
from = "a@home.test"
to = ["b@home.test"]
on = ["certificate"]
"#;

#[test]
fn every_door_moves_to_loopback_on_the_promised_port() {
    let config = changed(&stage(), HOME);
    let door = |name: &str| config.doors.iter().find(|door| &*door.name.value == name).unwrap();
    let shown = |list: &[Located<SocketAddr>]| list.iter().map(|a| a.value.to_string()).collect::<Vec<_>>();
    assert_eq!(shown(&door("lan").https), ["127.0.0.1:8443"]);
    assert_eq!(shown(&door("lan").http), ["127.0.0.1:8080"]);
    assert_eq!(shown(&door("tunnel").http), ["127.0.0.1:8081"]);
    assert_eq!(config.metrics.unwrap().listen.value.to_string(), "127.0.0.1:9180");
    let others: HashSet<u16> = door("more").https.iter().map(|address| address.value.port()).collect();
    assert_eq!(others.len(), 2);
    assert!(others.iter().all(|port| ![8443, 8080, 8081, 9180].contains(port)), "{others:?}");
    assert!(door("more").https.iter().all(|address| address.value.ip().is_loopback()));
}

#[test]
fn a_port_base_moves_all_doors() {
    let stage = Stage::new(Ports::from_base(Some(21_000)), Origin::start().unwrap(), false);
    let config = changed(&stage, HOME);
    assert_eq!(config.doors[0].https[0].value.port(), 21_000);
    assert_eq!(config.doors[0].http[0].value.port(), 21_001);
    assert_eq!(config.doors[1].http[0].value.port(), 21_002);
    assert_eq!(config.metrics.unwrap().listen.value.port(), 21_003);
    assert_eq!(config.log.access, AccessFormat::Json);
}

#[test]
fn an_edit_does_not_move_a_door() {
    let stage = stage();
    let before = changed(&stage, HOME);
    let after =
        changed(&stage, &HOME.replace("[listen.more]", "[listen.another]\nhttp = \"192.0.2.1:4080\"\n[listen.more]"));
    assert_eq!(
        before.doors[2].https,
        after.doors[3]
            .https
            .iter()
            .zip(&before.doors[2].https)
            .map(|(new, old)| Located { value: new.value, ..*old })
            .collect::<Vec<_>>()
    );
}

#[test]
fn no_upstream_is_left_that_is_not_a_stand_in() {
    let config = changed(&stage(), HOME);
    let mut targets: Vec<&TargetSpec> = config.upstreams.iter().map(|upstream| &upstream.target).collect();
    for route in &config.routes {
        if let Some(ToSpec::Address(target)) = &route.to {
            targets.push(target);
        }
        for path in &route.paths {
            if let ActionSpec::Forward { to: Some(ToSpec::Address(target)), .. } = &path.action {
                targets.push(target);
            }
        }
    }
    assert_eq!(targets.len(), 3);
    let places: HashSet<String> = targets.iter().flat_map(|target| &target.to).map(|to| to.value.to_string()).collect();
    assert_eq!(places.len(), 3, "each has its own: {places:?}");
    assert!(places.iter().all(|place| place.starts_with("http://127.0.0.1:")), "{places:?}");
    assert!(targets.iter().all(|target| target.verify == VerifySpec::System));
}

#[test]
fn loopback_is_in_lan_and_nothing_leaves_the_machine() {
    let config = changed(&stage(), HOME);
    let lan = config.networks.iter().find(|network| &*network.name.value == "lan").unwrap();
    for address in ["127.0.0.1", "127.9.9.9", "::1"] {
        assert!(lan.nets.iter().any(|net| net.contains(&address.parse::<IpAddr>().unwrap())), "{address}");
    }
    let names_lan = |allow: &AllowSpec| allow.entries.iter().any(|e| e.value == AllowEntry::Network("lan".into()));
    assert!(names_lan(config.doors[0].peers.as_ref().unwrap()));
    assert!(names_lan(config.metrics.as_ref().unwrap().allow.as_ref().unwrap()));
    assert!(config.certs.is_empty() && config.mail.is_none() && config.docker.is_none());
    assert_eq!(config.log.access, AccessFormat::Text);
}

#[test]
fn a_file_without_lan_gets_it() {
    let text = "allow = [\"home\"]\n[networks]\nhome = [\"192.0.2.0/24\"]\n[listen.a]\nhttps = \":443\"\n[routes]\n\"a.test\" = \"http://192.0.2.80\"\n";
    let config = changed(&stage(), text);
    assert!(config.networks.iter().any(|network| &*network.name.value == "lan"));
    let allow = config.allow.unwrap();
    assert!(allow.entries.iter().any(|entry| entry.value == AllowEntry::Network("lan".into())));
    assert!(matches!(&config.routes[0].host, HostPattern::Exact(name) if name.as_str() == "a.test"));
}
