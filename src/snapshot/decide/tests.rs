use std::net::Ipv4Addr;
use std::path::Path;

use super::*;
use crate::cert::{CertTable, SystemRoots};
use crate::config::{ActionSpec, Checked, Config, Located, Origin, PathSpec, QuotaSpec, RouteSpec, Span, parse};
use crate::model::{HostPattern, PathPattern};
use crate::snapshot::{Parts, compile};
use crate::telemetry::Metrics;

const FILE: &str = r#"domain = "home.test"
allow = ["anyone"]
[listen.lan]
https = "127.0.0.1:443"
http = "127.0.0.1:80"
[listen.plain]
http = "127.0.0.1:81"
[listen.behind]
http = "127.0.0.1:82"
trust = ["10.0.0.1"]
[routes]
exact = "http://10.0.0.9"
"*.apps.home.test" = "http://10.0.0.9"
"#;

/// The file's routes, and others as containers write them.
fn snapshot(more: impl FnOnce(&RouteSpec) -> Vec<RouteSpec>) -> Snapshot {
    let Checked { mut config, .. } = parse(Path::new("routes.toml"), FILE).unwrap_or_else(|faults| panic!("{faults}"));
    let like = config.routes[0].clone();
    config.routes.extend(more(&like));
    compiled(&config, None)
}

fn compiled(config: &Config, previous: Option<&Snapshot>) -> Snapshot {
    let (metrics, roots) = (Metrics::new(1), SystemRoots::load());
    let certificates = CertTable::default();
    compile(Parts {
        config,
        certificates,
        previous,
        metrics: &metrics,
        roots: &roots,
        generation: 1,
        awaits_containers: false,
    })
}

fn from_container(like: &RouteSpec, host: &str) -> RouteSpec {
    RouteSpec {
        origin: Origin::Container("box".into()),
        name: Located { value: host.into(), ..like.name.clone() },
        host: HostPattern::parse_as_nginx(host).unwrap(),
        ..like.clone()
    }
}

fn ask<'a>(snapshot: &'a Snapshot, port: u16, host: &str, path: &str) -> Decision<'a> {
    let listener = snapshot.listeners.iter().find(|listener| listener.address.port() == port).unwrap();
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    decide(snapshot, &Facts { listener, peer, client: Client::at(peer), host, path, is_covered: true })
}

fn route_of(snapshot: &Snapshot, host: &str) -> String {
    ask(snapshot, 81, host, "/").route.map_or_else(|| "none".to_owned(), |route| route.name.to_string())
}

#[test]
fn names_are_found_in_the_order_of_nginx() {
    let hosts = ["www.shop.*", "www.*", "~^www\\.", "~shop", "*.deep.apps.home.test", "www.shop.exact.test"];
    let made = snapshot(|like| hosts.iter().map(|host| from_container(like, host)).collect());
    for (host, route) in [
        ("exact.home.test", "exact"),
        ("www.shop.exact.test", "www.shop.exact.test"),
        ("a.apps.home.test", "*.apps.home.test"),
        ("a.deep.apps.home.test", "*.deep.apps.home.test"),
        ("www.apps.home.test", "*.apps.home.test"),
        ("www.shop.test", "www.shop.*"),
        ("www.shop.co.uk", "www.shop.*"),
        ("www.blog.test", "www.*"),
        ("my-shop.test", "~shop"),
        ("nothing.test", "none"),
    ] {
        assert_eq!(route_of(&made, host), route, "{host}");
    }
}

#[test]
fn a_route_is_served_over_the_schemes_it_asks_for_and_no_other() {
    let all = [
        (Schemes::AsTheDoor, "https redirect http http"),
        (Schemes::Both, "https http http http"),
        (Schemes::HttpsOnly, "https unknown unknown http"),
        (Schemes::HttpOnly, "unknown http http http"),
    ];
    for (schemes, expected) in all {
        let made = snapshot(|like| vec![RouteSpec { schemes, ..from_container(like, "box.home.test") }]);
        let found: Vec<&str> = [443, 80, 81, 82]
            .into_iter()
            .map(|port| match ask(&made, port, "box.home.test", "/").verdict {
                Verdict::Forward(..) if port == 443 => "https",
                Verdict::Forward(..) => "http",
                Verdict::ToHttps(443) => "redirect",
                Verdict::Refuse(Refusal::NoRoute) => "unknown",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found.join(" "), expected, "{schemes:?}");
        // A name that nobody has says nothing of schemes.
        assert!(matches!(ask(&made, 80, "nobody.test", "/").verdict, Verdict::ToHttps(443)));
    }
}

#[test]
fn a_location_takes_every_path_that_begins_so_and_replaces_that() {
    let nowhere = |pattern: PathPattern| Located { value: pattern, span: Span::default(), line: 0 };
    let path = |location: &str, replace: Option<&str>| PathSpec {
        pattern: nowhere(PathPattern::parse_as_nginx(location).unwrap()),
        allow: None,
        quota: QuotaSpec::default(),
        action: ActionSpec::Forward { to: None, replace: replace.map(Into::into) },
    };
    let paths = vec![path("/app", None), path("/app/v1/", Some("/")), path("= /app/exact", Some("/only"))];
    let made = snapshot(|like| vec![RouteSpec { paths, ..from_container(like, "box.home.test") }]);
    for (asked, rule, sent) in [
        ("/apple", "/app*", "/apple"),
        ("/app/v1/x", "/app/v1/*", "/x"),
        ("/app/exact", "/app/exact", "/only"),
        ("/other", "", "/other"),
    ] {
        let decision = ask(&made, 81, "box.home.test", asked);
        assert_eq!(decision.rule.map(|rule| rule.pattern.to_string()).unwrap_or_default(), rule);
        let Verdict::Forward(_, rewrite) = decision.verdict else { panic!("{decision:?}") };
        let is = rewrite.map_or(asked.to_owned(), |Rewrite { pattern, with }| pattern.replaced(asked, with).unwrap());
        assert_eq!(is, sent, "{asked}");
    }
}

#[test]
fn what_stays_in_a_list_keeps_its_lanes_and_members() {
    let list = |addresses: &str| {
        let text = FILE.replace("\"http://10.0.0.9\"\n\"*", &format!("[{addresses}]\n\"*"));
        parse(Path::new("routes.toml"), &text).unwrap_or_else(|faults| panic!("{faults}")).config
    };
    let target = |snapshot: &Snapshot| {
        Arc::clone(snapshot.routes.find("exact.home.test", false).unwrap().route.target.as_ref().unwrap())
    };
    let first = compiled(&list("\"http://10.0.0.1\", \"http://10.0.0.2\""), None);
    let second = compiled(&list("\"http://10.0.0.2\", \"http://10.0.0.3\""), Some(&first));
    let (before, after) = (target(&first), target(&second));
    assert!(Arc::ptr_eq(&before.lanes[1], &after.lanes[0]), "with its connections");
    assert!(Arc::ptr_eq(&before.lanes[1].member, &after.lanes[0].member), "and what is known of it");
    assert_ne!(before.lanes[0].id, after.lanes[1].id);
    let third = compiled(&list("\"http://10.0.0.2\", \"http://10.0.0.3\""), Some(&second));
    assert!(Arc::ptr_eq(&after, &target(&third)));
    assert_eq!(third.lanes.len(), 3, "two of the list, one of the wildcard route");
}
