mod brute;

use std::net::Ipv4Addr;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::cert::{CertTable, SystemRoots};
use crate::config::{Checked, parse};
use crate::snapshot::{Parts, compile};
use crate::telemetry::Metrics;

/// The broken promises of a file, as (what happens, rule, line, how it was asked).
fn broken(text: &str) -> Vec<(String, String, u32, String)> {
    with(text, |snapshot, config| {
        let broken = broken_promises(snapshot, &config.expects);
        broken.into_iter().map(|b| (b.found, b.rule, b.line, b.asked)).collect()
    })
}

fn with<T>(text: &str, look: impl FnOnce(&Snapshot, &crate::config::Config) -> T) -> T {
    let Checked { config, .. } = parse(Path::new("routes.toml"), text).unwrap_or_else(|faults| panic!("{faults}"));
    let metrics = Metrics::new(1);
    let roots = SystemRoots::load();
    let certificates = CertTable::default();
    let snapshot = compile(Parts {
        config: &config,
        certificates,
        previous: None,
        metrics: &metrics,
        roots: &roots,
        generation: 1,
        awaits_containers: false,
    });
    look(&snapshot, &config)
}

const HOME: &str = r#"domain = "home.test"
allow = ["lan"]
networks = { lan = ["10.0.0.0/24"], guest = ["10.0.1.0/24"] }
[listen.lan]
http = ":80"
[listen.back]
http = ":81"
allow = ["lan", "10.0.1.77"]
[listen.tunnel]
http = ":82"
names = "public"
trust = "cloudflared"
allow = ["anyone"]
[routes.app]
to = "http://10.0.0.9"
public = "app.example"
[routes.app.paths]
"/admin/*" = { allow = ["10.0.0.0/25"] }
"/pub/*" = { allow = ["anyone"] }
"#;

fn promise(more: &str) -> Vec<(String, String, u32, String)> {
    broken(&format!("{HOME}[[expect]]\n{more}\n"))
}

#[test]
fn one_address_that_a_door_lets_in_breaks_the_promise_about_its_network() {
    let found = promise("from = \"guest\"\nurl = \"http://app.home.test/\"\nis = \"denied\"");
    assert_eq!(found.len(), 1);
    let (happens, rule, line, asked) = &found[0];
    assert_eq!(happens, "10.0.1.77 (guest) reaches `app`");
    assert_eq!(rule, "let in by `allow` of door `back` (lan, 10.0.1.77/32)");
    assert_eq!((*line, asked.as_str()), (8, "through door `back`"));
    let with_via = "via = \"lan\"\nfrom = \"guest\"\nurl = \"http://app.home.test/\"\nis = \"denied\"";
    assert_eq!(promise(with_via), []);
}

#[test]
fn half_a_network_is_not_the_whole_of_it() {
    let found = promise("from = \"lan\"\nurl = \"http://app.home.test/admin/x\"\nis = \"app\"");
    assert_eq!(found[0].0, "10.0.0.129 (lan) is denied");
    assert_eq!(found[0].2, 18);
}

#[test]
fn a_path_beside_a_closed_one_is_told_by_its_own_rule() {
    assert_eq!(promise("via = \"tunnel\"\nurl = \"http://app.example/admin/users\"\nis = \"denied\""), []);
    let found = promise("via = \"tunnel\"\nurl = \"http://app.example/pub/users\"\nis = \"denied\"");
    assert_eq!(found[0].1, "let in by `allow` of path `/pub/*` of route `app` (anyone)");
}

#[test]
fn what_is_let_in_may_be_refused_in_an_odd_spelling_but_is_never_led_elsewhere() {
    // `/pub` is open, all else is closed: `/%70ub` is refused, since an upstream may read it either way.
    let file = HOME.replace("to = \"http://10.0.0.9\"\n", "to = \"http://10.0.0.9\"\nallow = []\n");
    let file = file.replace("\"/admin/*\" = { allow = [\"10.0.0.0/25\"] }", "\"/*\" = { allow = [\"lan\"] }");
    let kept = "[[expect]]\nurl = \"http://app.home.test/pub/x\"\nis = \"app\"\n";
    assert_eq!(broken(&format!("{file}{kept}")), []);
}

#[test]
fn everybody_is_meant_by_anyone_and_who_is_named_nowhere_by_default() {
    let open = "via = \"tunnel\"\nurl = \"http://app.example/\"\nis = \"app\"";
    assert_eq!(promise(&format!("from = \"anyone\"\n{open}")), []);
    assert_eq!(promise(open), []);
    let closed = "via = \"lan\"\nurl = \"http://app.home.test/\"\nis = \"denied\"";
    assert_eq!(promise(closed), []);
    assert_eq!(promise(&format!("from = \"anyone\"\n{closed}"))[0].0, "10.0.0.1 (lan) reaches `app`");
}

#[test]
fn a_name_that_nobody_has_is_unknown_to_those_who_are_not_admitted_either() {
    assert_eq!(promise("via = \"tunnel\"\nurl = \"http://app.home.test/\"\nis = \"unknown host\""), []);
    assert_eq!(promise("via = \"lan\"\nurl = \"http://nothing.home.test/\"\nis = \"unknown host\""), []);
    let found = promise("from = \"lan\"\nvia = \"lan\"\nurl = \"http://app.home.test/\"\nis = \"unknown host\"");
    assert_eq!(found[0].1, "route `app`");
    assert_eq!(
        promise("url = \"http://nothing.home.test/\"\nis = \"denied\"")[0].0,
        "no door knows `nothing.home.test`"
    );
}

#[test]
fn a_star_stands_for_every_name_and_every_path() {
    let guest = "from = \"guest\"\nvia = \"lan\"\nis = \"denied\"\n";
    assert_eq!(promise(&format!("{guest}url = \"http://*.home.test/admin/*\"")), []);
    let found = promise(&format!("{guest}url = \"http://*.home.test/*\""));
    assert_eq!(found[0].0, "10.0.1.1 (guest) reaches `app`");
    assert_eq!(found[0].1, "let in by `allow` of path `/pub/*` of route `app` (anyone)");
    assert_eq!(found[0].3, "asking for `app.home.test/pub`, through door `lan`");

    // A name that is added later is meant as well, and so is one that only a wildcard knows.
    let more = |route: &str| {
        let closed = HOME.replace("\"/pub/*\" = { allow = [\"anyone\"] }", "");
        let promise = "[[expect]]\nfrom = \"guest\"\nvia = \"lan\"\nurl = \"http://*.home.test/*\"\nis = \"denied\"\n";
        broken(&format!("{closed}{route}\n{promise}"))
    };
    assert_eq!(more(""), []);
    assert_eq!(more("[routes.wiki]\nto = \"http://10.0.0.9\""), []);
    let found = more("[routes.wiki]\nto = \"http://10.0.0.9\"\nallow = [\"guest\"]");
    assert_eq!(found[0].3, "asking for `wiki.home.test/`, through door `lan`");
    let found = more("[routes.\"*.dev.home.test\"]\nto = \"http://10.0.0.9\"\nallow = [\"guest\"]");
    assert_eq!(found[0].3, "asking for `any.dev.home.test/`, through door `lan`");
    let found = more("[routes.wiki]\nto = \"http://10.0.0.9\"\npaths = { \"/any\" = { allow = [\"guest\"] } }");
    assert_eq!(found[0].3, "asking for `wiki.home.test/any`, through door `lan`");
}

#[test]
fn the_names_that_a_door_must_not_know_are_those_of_the_others() {
    let tunnel = "from = \"anyone\"\nvia = \"tunnel\"\nis = \"unknown host\"\n";
    assert_eq!(promise(&format!("{tunnel}url = \"http://*.home.test/*\"")), []);
    assert_eq!(promise(&format!("{tunnel}url = \"http://*/*\""))[0].0, "203.0.113.77 (in no network) reaches `app`");
}

#[test]
fn a_promise_about_nobody_at_all_is_not_kept() {
    let file = HOME.replace("guest = [\"10.0.1.0/24\"]", "guest = []");
    let guest = "[[expect]]\nfrom = \"guest\"\nurl = \"http://app.home.test/\"\nis = \"denied\"\n";
    assert_eq!(broken(&format!("{file}{guest}"))[0].0, "network `guest` has no address, so it is about nobody");
}

#[test]
fn a_promise_about_no_name_at_all_is_not_kept() {
    let found = promise("url = \"http://*.hoem.test/*\"\nis = \"denied\"");
    assert_eq!(found[0].0, "no door knows a name that fits `*.hoem.test`");
}

#[test]
fn a_door_that_takes_no_connection_keeps_a_promise_to_deny() {
    let file = HOME.replace("[listen.back]\n", "[listen.back]\npeers = [\"lan\"]\n");
    let guest = "[[expect]]\nfrom = \"guest\"\nurl = \"http://app.home.test/\"\nis = \"denied\"\n";
    assert_eq!(broken(&format!("{file}{guest}")), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_kept_promise_holds_for_every_single_address(
        open in proptest::collection::vec((any::<u8>(), 24u8..=32), 0..4),
        asked in (any::<u8>(), 24u8..=32),
        closed_path in any::<bool>(),
    ) {
        let block = |(low, length): (u8, u8)| {
            ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, 0, low), length).unwrap().trunc().to_string()
        };
        let allow: Vec<String> = open.into_iter().map(|net| format!("\"{}\"", block(net))).collect();
        let place = if closed_path { "paths = { \"/x/*\" = { allow = ALLOW } }" } else { "allow = ALLOW" };
        let text = format!(
            "domain = \"home.test\"\nallow = [\"10.0.0.9\"]\nnetworks = {{ asked = [\"{}\"] }}\nlisten.a = {{ http = \":80\" }}\n\
             [routes.app]\nto = \"http://10.0.0.9\"\n{}\n\
             [[expect]]\nfrom = \"asked\"\nurl = \"http://app.home.test/x/y\"\nis = \"denied\"\n",
            block(asked),
            place.replace("ALLOW", &format!("[{}]", allow.join(", "))),
        );
        let (is_kept, is_true) = with(&text, |snapshot, config| {
            let denied = |low: u8| {
                let facts = Facts {
                    listener: &snapshot.listeners[0],
                    peer: Ipv4Addr::new(10, 0, 0, low).into(),
                    client: Client::at(Ipv4Addr::new(10, 0, 0, low).into()),
                    host: "app.home.test",
                    path: "/x/y",
                    is_covered: true,
                };
                matches!(decide(snapshot, &facts).verdict, Verdict::Refuse(Refusal::AccessDenied))
            };
            let asked = &snapshot.networks.find("asked").unwrap()[0];
            let mut inside = (0..=255u8).filter(|&low| asked.contains(&IpAddr::from(Ipv4Addr::new(10, 0, 0, low))));
            (broken_promises(snapshot, &config.expects).is_empty(), inside.all(denied))
        });
        prop_assert_eq!(is_kept, is_true, "{}", text);
    }
}
