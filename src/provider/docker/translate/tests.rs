//! Containers in, routes and verdicts out, as text that can be read.

use std::path::Path;

use serde_json::json;

use super::super::fixture::{changed, inventory, running};
use super::super::verdict::Verdicts;
use super::*;
use crate::config::{ActionSpec, AllowEntry, TargetSpec, ToSpec, parse};

const FILE: &str = r#"domain = "home.test"
allow = ["lan"]
[networks]
lan = ["192.168.8.0/24"]
guest = ["192.168.9.0/24"]
[listen.web]
https = ":443"
[routes]
kept = "http://10.0.0.1"
"#;

fn translated(docker: &str, containers: Vec<Container>) -> Translation {
    let text = format!("{FILE}[docker]\n{docker}\n");
    let config = parse(Path::new("routes.toml"), &text).unwrap_or_else(|faults| panic!("{faults}")).config;
    translate(&config, &inventory(containers))
}

fn to_text(target: &TargetSpec) -> String {
    target.to.iter().map(|to| to.value.to_string()).collect::<Vec<_>>().join(" ")
}

/// One line for each route and path: name, host, where to.
fn routes(translation: &Translation) -> Vec<String> {
    let mut lines = Vec::new();
    for route in &translation.routes {
        if let Some(ToSpec::Address(target)) = &route.to {
            lines.push(format!("{} = {}: {}", route.name.value, route.host, to_text(target)));
        }
        for path in &route.paths {
            let ActionSpec::Forward { to: Some(ToSpec::Address(target)), replace } = &path.action else { continue };
            let replace = replace.as_ref().map_or(String::new(), |with| format!(" as `{with}`"));
            lines.push(format!("{}{} -> {}{replace}", route.host, path.pattern.value, to_text(target)));
        }
    }
    lines
}

fn verdict(translation: &Translation, name: &str) -> String {
    let found = translation.verdicts.iter().find(|verdict| verdict.container == name);
    found.unwrap_or_else(|| panic!("no {name}")).in_one_line()
}

fn notes(translation: &Translation, name: &str) -> Vec<String> {
    let of_name = translation.verdicts.iter().filter(|verdict| verdict.container == name);
    of_name.flat_map(|verdict| verdict.notes.clone()).collect()
}

fn sonarr(settings: &[(&str, &str)]) -> Container {
    running("sonarr", &[("mediarr-net", "172.21.0.7")], settings)
}

#[test]
fn a_container_with_a_name_becomes_a_route() {
    let translation = translated(
        "",
        vec![
            sonarr(&[("VIRTUAL_HOST", "sonarr.home.test,tv.example.com"), ("VIRTUAL_PORT", "8989")]),
            running("gluetun", &[("mediarr-net", "172.21.0.2")], &[]),
        ],
    );
    assert_eq!(
        routes(&translation),
        [
            "sonarr = sonarr.home.test: http://172.21.0.7:8989",
            "tv.example.com = tv.example.com: http://172.21.0.7:8989",
        ]
    );
    assert_eq!(
        verdict(&translation, "sonarr"),
        "routed: sonarr.home.test, tv.example.com -> http://172.21.0.7:8989; on mediarr-net"
    );
    assert_eq!(verdict(&translation, "gluetun"), "unlabelled: ");
    assert!(translation.routes.iter().all(|route| route.origin == crate::config::Origin::Container("sonarr".into())));
}

#[test]
fn several_containers_of_one_name_serve_it_together() {
    let one = |name: &str, address: &str| running(name, &[("home-net", address)], &[("VIRTUAL_HOST", "web.home.test")]);
    let translation = translated("", vec![one("web-2", "172.18.0.6"), one("web-1", "172.18.0.5")]);
    assert_eq!(routes(&translation), ["web = web.home.test: http://172.18.0.5 http://172.18.0.6"]);
    assert!(notes(&translation, "web-1").is_empty() && notes(&translation, "web-2").is_empty());
}

#[test]
fn paths_of_one_name_may_come_from_different_containers() {
    let front = running("front", &[("home-net", "172.18.0.5")], &[("VIRTUAL_HOST", "app.home.test")]);
    let back = running(
        "back",
        &[("home-net", "172.18.0.6")],
        &[("VIRTUAL_HOST", "app.home.test"), ("VIRTUAL_PATH", "/api/"), ("VIRTUAL_DEST", "/v2/")],
    );
    let translation = translated("", vec![front, back]);
    assert_eq!(
        routes(&translation),
        ["app = app.home.test: http://172.18.0.5", "app.home.test/api/* -> http://172.18.0.6 as `/v2/`"]
    );
    assert_eq!(verdict(&translation, "back"), "routed: app.home.test/api/* -> http://172.18.0.6; on home-net");
}

#[test]
fn a_container_with_a_health_check_waits_for_it_if_the_file_says_so() {
    let checked = |status: &str| {
        changed("sonarr", &[("mediarr-net", "172.21.0.7")], &[("VIRTUAL_HOST", "sonarr.home.test")], |answer| {
            answer["State"]["Health"] = json!({ "Status": status });
        })
    };
    let starting = translated("", vec![checked("starting")]);
    assert_eq!(routes(&starting), ["sonarr = sonarr.home.test: "], "the name is known, and leads nowhere yet");
    assert_eq!(verdict(&starting, "sonarr"), "waiting: sonarr.home.test; its health check has not passed yet");
    let unwell = translated("", vec![checked("unhealthy")]);
    assert_eq!(verdict(&unwell, "sonarr"), "waiting: sonarr.home.test; its health check fails");
    for (docker, status) in [("", "healthy"), ("health = \"ignore\"", "starting"), ("health = \"ignore\"", "unhealthy")]
    {
        let routed = translated(docker, vec![checked(status)]);
        assert_eq!(routes(&routed), ["sonarr = sonarr.home.test: http://172.21.0.7"], "{docker} {status}");
    }
}

#[test]
fn the_name_of_a_container_that_stops_stays_known() {
    let stopped = |state: &str| {
        changed("sonarr", &[("mediarr-net", "")], &[("VIRTUAL_HOST", "sonarr.home.test")], |answer| {
            answer["State"] = json!({ "Status": state });
        })
    };
    let translation = translated("hold = \"30s\"", vec![stopped("exited")]);
    assert_eq!(routes(&translation), ["sonarr = sonarr.home.test: "]);
    assert_eq!(verdict(&translation, "sonarr"), "away: sonarr.home.test; not running (exited)");
    let Some(ToSpec::Address(target)) = &translation.routes[0].to else { panic!("an upstream") };
    assert_eq!(target.hold.as_ref().unwrap().value.as_secs(), 30);
    assert_eq!(verdict(&translated("", vec![stopped("paused")]), "sonarr"), "away: sonarr.home.test; paused");
    // One that runs serves alone.
    let mut other = sonarr(&[("VIRTUAL_HOST", "sonarr.home.test")]);
    other.name = "sonarr-2".into();
    let both = translated("", vec![stopped("exited"), other]);
    assert_eq!(routes(&both), ["sonarr = sonarr.home.test: http://172.21.0.7"]);
}

#[test]
fn the_file_wins_over_a_container_and_says_so() {
    let translation = translated("", vec![sonarr(&[("VIRTUAL_HOST", "kept.home.test")])]);
    assert!(translation.routes.is_empty());
    assert_eq!(verdict(&translation, "sonarr"), "not-routed: `kept.home.test` is the file's: route `kept`, line 9");
    let partly = translated("", vec![sonarr(&[("VIRTUAL_HOST", "kept.home.test,sonarr.home.test")])]);
    assert_eq!(routes(&partly).len(), 1);
    assert!(verdict(&partly, "sonarr").starts_with("routed: sonarr.home.test ->"), "{}", verdict(&partly, "sonarr"));
    assert_eq!(notes(&partly, "sonarr").len(), 1);
}

#[test]
fn of_containers_that_disagree_the_older_that_runs_counts_and_both_are_told() {
    let made = |name: &str, address: &str, created: &str, proto: &str, status: &str| {
        let settings = [("VIRTUAL_HOST", "web.home.test"), ("VIRTUAL_PROTO", proto)];
        changed(name, &[("home-net", address)], &settings, |answer| {
            answer["Created"] = json!(created);
            answer["State"]["Status"] = json!(status);
        })
    };
    let (old, new) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    let translation = translated(
        "",
        vec![made("a", "172.18.0.5", new, "https", "running"), made("b", "172.18.0.6", old, "http", "running")],
    );
    assert_eq!(routes(&translation), ["web = web.home.test: http://172.18.0.6"]);
    assert_eq!(verdict(&translation, "a"), "conflict: b says http, a says https: using b");
    assert_eq!(notes(&translation, "b"), ["b says http, a says https: using b"]);
    let translation =
        translated("", vec![made("a", "172.18.0.5", new, "https", "running"), made("b", "", old, "http", "exited")]);
    assert_eq!(routes(&translation), ["web = web.home.test: https://172.18.0.5:80"], "one that is away says nothing");
}

#[test]
fn terms_that_differ_are_told_to_both() {
    let one = |name: &str, method: &str| {
        running(name, &[("home-net", "172.18.0.5")], &[("VIRTUAL_HOST", "web.home.test"), ("HTTPS_METHOD", method)])
    };
    let translation = translated("", vec![one("a", "redirect"), one("b", "nohttp")]);
    assert_eq!(translation.routes[0].schemes, crate::config::Schemes::AsTheDoor);
    for name in ["a", "b"] {
        assert_eq!(notes(&translation, name), ["a and b disagree on HTTPS_METHOD: using a's"]);
    }
}

#[test]
fn a_bad_label_is_the_loss_of_its_container_alone() {
    let translation = translated(
        "",
        vec![
            sonarr(&[("VIRTUAL_HOST", "sonarr.home.test")]),
            running("bad", &[("home-net", "172.18.0.9")], &[("doorward.route", "bad"), ("doorward.hold", "soon")]),
            running("worse", &[("home-net", "172.18.0.8")], &[("VIRTUAL_HOST", "x.test"), ("VIRTUAL_PORT", "no")]),
        ],
    );
    assert_eq!(routes(&translation).len(), 1);
    assert!(verdict(&translation, "bad").starts_with("not-routed: doorward.hold: `soon` is not a duration"));
    assert!(verdict(&translation, "worse").starts_with("not-routed: VIRTUAL_PORT is `no`"));
}

fn allowed(docker: &str, settings: &[(&str, &str)]) -> (Option<Vec<String>>, bool) {
    let mut all = vec![("doorward.route", "sonarr")];
    all.extend(settings);
    let translation = translated(docker, vec![sonarr(&all)]);
    let route = translation.routes.first().unwrap_or_else(|| panic!("{:?}", translation.verdicts));
    let shown = |entry: &AllowEntry| match entry {
        AllowEntry::Anyone => "anyone".to_owned(),
        AllowEntry::Network(name) => name.to_string(),
        AllowEntry::Net(net) => net.to_string(),
    };
    let entries = route.allow.as_ref().map(|allow| allow.entries.iter().map(|entry| shown(&entry.value)).collect());
    (entries, route.is_within_door)
}

#[test]
fn a_container_may_narrow_who_enters_and_never_widen() {
    let list = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    assert_eq!(allowed("", &[]), (None, false), "the door's, else the file's");
    assert_eq!(allowed("allow = [\"lan\"]", &[]), (list(&["lan"]), false));
    assert_eq!(allowed("", &[("doorward.allow", "guest")]), (list(&["guest"]), true), "within what the door admits");
    assert_eq!(allowed("allow = [\"lan\"]", &[("doorward.allow", "guest")]), (list(&[]), false), "nobody is in both");
    assert_eq!(allowed("allow = [\"lan\"]", &[("doorward.allow", "anyone")]), (list(&["lan"]), false));
    assert_eq!(
        allowed("allow = [\"lan\", \"guest\"]", &[("doorward.allow", "192.168.0.0/16")]),
        (list(&["lan", "guest"]), false)
    );
    assert_eq!(
        allowed("allow = [\"192.168.0.0/16\"]", &[("doorward.allow", "guest, 10.0.0.0/8")]),
        (list(&["guest"]), false)
    );
}

#[test]
fn containers_of_one_name_each_narrow() {
    let one = |name: &str, allow: &str| {
        running(name, &[("home-net", "172.18.0.5")], &[("doorward.route", "web"), ("doorward.allow", allow)])
    };
    let translation = translated("", vec![one("a", "lan, guest"), one("b", "guest")]);
    let entries = &translation.routes[0].allow.as_ref().unwrap().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].value, AllowEntry::Network("guest".into()));
    assert_eq!(notes(&translation, "a"), ["a and b disagree on who may enter: only whom both admit"]);
}

#[test]
fn a_network_that_the_file_does_not_have_is_a_fault_of_the_container() {
    let settings = [("doorward.route", "sonarr"), ("doorward.allow", "lann")];
    let translation = translated("", vec![sonarr(&settings)]);
    assert!(translation.routes.is_empty());
    assert_eq!(
        verdict(&translation, "sonarr"),
        "not-routed: doorward.allow names `lann`, and [networks] of the file has lan, guest"
    );
}

#[test]
fn public_names_are_the_files_to_give() {
    let settings = [("doorward.route", "sonarr"), ("doorward.public", "tv.example.com")];
    let closed = translated("", vec![sonarr(&settings)]);
    assert!(closed.routes[0].public.is_empty());
    assert_eq!(notes(&closed, "sonarr"), ["tv.example.com is not public: [docker] has no `public = true`"]);
    let mut second = running("other", &[("home-net", "172.18.0.9")], &[("doorward.route", "other"), settings[1]]);
    second.created = "2026-12-01T00:00:00Z".into();
    let open = translated("public = true", vec![sonarr(&settings), second]);
    let public = |name: &str| {
        let route = open.routes.iter().find(|route| &*route.name.value == name).unwrap();
        route.public.iter().map(|name| name.value.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(public("sonarr").len() + public("other").len(), 1, "one name has one route");
}

#[test]
fn only_the_vocabularies_that_the_file_names_are_spoken() {
    let containers = || {
        vec![
            sonarr(&[("VIRTUAL_HOST", "sonarr.home.test")]),
            running("own", &[("home-net", "172.18.0.9")], &[("doorward.route", "own")]),
        ]
    };
    assert_eq!(routes(&translated("", containers())).len(), 2);
    assert_eq!(
        routes(&translated("speak = \"nginx-proxy\"", containers())),
        ["sonarr = sonarr.home.test: http://172.21.0.7"]
    );
    assert_eq!(routes(&translated("speak = \"doorward\"", containers())), ["own = own.home.test: http://172.18.0.9"]);
}

#[test]
fn the_same_containers_make_the_same_routes_in_any_order() {
    let mut all: Vec<Container> = (0..12_u8)
        .map(|n| {
            let host = format!("s{}.home.test", n % 5);
            running(&format!("c{n}"), &[("home-net", &format!("172.18.0.{}", n + 2))], &[("VIRTUAL_HOST", &host)])
        })
        .collect();
    let first = routes(&translated("", all.clone()));
    all.reverse();
    assert_eq!(routes(&translated("", all.clone())), first);
    all.swap(3, 7);
    assert_eq!(routes(&translated("", all)), first);
}

#[test]
fn every_verdict_reads_well_in_80_columns() {
    let long = "NETWORK_ACCESS";
    let translation = translated(
        "",
        vec![
            sonarr(&[("VIRTUAL_HOST", "sonarr.home.test,tv.example.com"), (long, "internal")]),
            running(
                "nextcloud",
                &[("home-net", "172.18.0.9"), ("mediarr-net", "172.21.0.9")],
                &[("VIRTUAL_HOST", "cloud.home.test")],
            ),
            running("unifi", &[("unifi_macvlan", "192.168.8.206")], &[("VIRTUAL_HOST", "unifi.home.test")]),
            running("gluetun", &[("mediarr-net", "172.21.0.2")], &[]),
            changed("healthy", &[("home-net", "172.18.0.4")], &[("VIRTUAL_HOST", "healthy.home.test")], |answer| {
                answer["State"] = json!({ "Status": "running", "StartedAt": "2026-11-21T07:00:48Z", "Health": { "Status": "starting" } });
            }),
        ],
    );
    let at = time::macros::datetime!(2026-11-21 07:01:00 UTC).unix_timestamp();
    let told = Verdicts::new("/var/run/docker.sock".to_owned(), None, translation.verdicts, at).to_string();
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
    let expected = "\
CONTAINER  VERDICT
nextcloud  routed      cloud.home.test
                       -> http://172.18.0.9
                       on home-net, the first by name that we are on too (also
                       on mediarr-net)
sonarr     routed      sonarr.home.test
                       tv.example.com
                       -> http://172.21.0.7
                       on mediarr-net
                       ! NETWORK_ACCESS=internal means every private address, a
                       guest network too; doorward.allow names networks
healthy    waiting     healthy.home.test
                       its health check has not passed yet, 12s
unifi      not-routed  unifi.home.test
                       it is on unifi_macvlan, a network that its own host
                       cannot reach; route it from another machine
gluetun    unlabelled
";
    assert_eq!(told, expected);
}

#[test]
fn one_container_may_answer_for_every_name_that_nobody_has() {
    let named = || sonarr(&[("VIRTUAL_HOST", "sonarr.home.test")]);
    for docker in ["default_host = \"sonarr\"", "default_host = \"sonarr.home.test\""] {
        let translation = translated(docker, vec![named()]);
        let found = routes(&translation);
        assert_eq!(found, ["sonarr = sonarr.home.test: http://172.21.0.7", "* = *: http://172.21.0.7"], "{docker}");
        assert_eq!(verdict(&translation, "sonarr"), "routed: sonarr.home.test, * -> http://172.21.0.7; on mediarr-net");
    }
    assert_eq!(routes(&translated("default_host = \"radarr\"", vec![named()])).len(), 1, "nobody has that name");
    let other = running("all", &[("home-net", "172.18.0.9")], &[("doorward.route", "*")]);
    let translation = translated("default_host = \"sonarr\"", vec![named(), other]);
    let found = routes(&translation);
    assert_eq!(
        found,
        ["* = *: http://172.18.0.9", "sonarr = sonarr.home.test: http://172.21.0.7"],
        "one that says so wins"
    );
}

#[test]
fn a_container_that_was_removed_has_no_say_where_another_has_its_name() {
    let mut gone = running(
        "app-old",
        &[("home-net", "172.18.0.5")],
        &[("VIRTUAL_HOST", "app.home.test"), ("VIRTUAL_PROTO", "https"), ("NETWORK_ACCESS", "internal")],
    );
    gone.state = State::Removed;
    let alone = translated("", vec![gone.clone()]);
    assert_eq!(routes(&alone), ["app = app.home.test: "], "its name is remembered");
    assert_eq!(verdict(&alone, "app-old"), "away: app.home.test; removed");
    let new = running("app-new", &[("home-net", "172.18.0.6")], &[("VIRTUAL_HOST", "app.home.test")]);
    let translation = translated("", vec![gone, new]);
    assert_eq!(routes(&translation), ["app = app.home.test: http://172.18.0.6"]);
    assert!(translation.routes[0].allow.is_none() && notes(&translation, "app-new").is_empty());
    assert_eq!(translation.verdicts.len(), 1, "nothing is left to be said of it");
}

#[test]
fn who_may_enter_is_said_path_by_path() {
    let one = |name: &str, address: &str, path: &str, more: &[(&str, &str)]| {
        let settings = [&[("VIRTUAL_HOST", "app.home.test"), ("VIRTUAL_PATH", path)], more].concat();
        running(name, &[("home-net", address)], &settings)
    };
    let internal = [("NETWORK_ACCESS", "internal")];
    let allowed = |docker: &str, containers: Vec<Container>| {
        let translation = translated(docker, containers);
        let route = &translation.routes[0];
        let count = |allow: &Option<crate::config::AllowSpec>| {
            allow.as_ref().map(|allow| match allow.entries.first().map(|entry| &entry.value) {
                Some(AllowEntry::Anyone) => "anyone".to_owned(),
                _ => allow.entries.len().to_string(),
            })
        };
        let paths: Vec<_> = route.paths.iter().map(|path| count(&path.allow)).collect();
        (count(&route.allow), paths, route.is_within_door)
    };
    let six = || Some("6".to_owned());
    let front = || one("front", "172.18.0.5", "/", &[]);
    assert_eq!(allowed("", vec![front(), one("admin", "172.18.0.6", "/admin/", &internal)]), (None, vec![six()], true));
    // The other way round: the path is the door's to judge, never more.
    let closed = one("front", "172.18.0.5", "/", &internal);
    let open = || one("open", "172.18.0.6", "/hook/", &[]);
    assert_eq!(allowed("", vec![closed.clone(), open()]), (six(), vec![Some("anyone".to_owned())], true));
    let with_ceiling = allowed("allow = [\"lan\", \"guest\"]", vec![closed.clone(), open()]);
    assert_eq!(with_ceiling.1, [Some("2".to_owned())], "what the file admits at most");
    // The same everywhere is said once.
    assert_eq!(allowed("", vec![closed, one("also", "172.18.0.6", "/a/", &internal)]), (six(), vec![None], true));
    assert_eq!(allowed("", vec![front(), open()]), (None, vec![None], false));
}

#[test]
fn terms_of_a_path_are_those_of_the_containers_that_serve_it() {
    let label = "com.github.nginx-proxy.nginx-proxy.loadbalance";
    let one = |name: &str, path: &str, balance: &str| {
        running(
            name,
            &[("home-net", "172.18.0.5")],
            &[("VIRTUAL_HOST", "a.test"), ("VIRTUAL_PATH", path), (label, balance)],
        )
    };
    let apart = translated("", vec![one("a", "/", "least_conn"), one("b", "/api/", "ip_hash")]);
    assert!(notes(&apart, "a").is_empty(), "{:?}", notes(&apart, "a"));
    let together = translated("", vec![one("a", "/", "least_conn"), one("b", "/", "ip_hash")]);
    assert_eq!(notes(&together, "b"), ["a and b disagree on loadbalance: using a's"]);
}

#[test]
fn a_variable_and_a_label_that_differ_are_told() {
    let both = |label: &str| {
        let container = changed("x", &[("home-net", "172.18.0.5")], &[("VIRTUAL_HOST", "env.test")], |answer| {
            answer["Config"]["Labels"] = json!({ "VIRTUAL_HOST": label });
        });
        translated("", vec![container])
    };
    assert_eq!(routes(&both("label.test")), ["env.test = env.test: http://172.18.0.5"]);
    assert_eq!(
        notes(&both("label.test"), "x"),
        ["VIRTUAL_HOST is a variable and a label, and they differ: the variable counts"]
    );
    assert!(notes(&both("env.test"), "x").is_empty());
}

#[test]
fn whatever_a_container_writes_is_shown_in_plain_lines_of_bounded_length() {
    let hostile = format!("\u{1b}[2J\u{7}\nFAKE LINE\r\u{202e}{}", "x".repeat(70_000));
    let words = [
        "VIRTUAL_HOST",
        "VIRTUAL_PORT",
        "VIRTUAL_PATH",
        "VIRTUAL_DEST",
        "VIRTUAL_PROTO",
        "VIRTUAL_HOST_MULTIPORTS",
        "NETWORK_ACCESS",
        "HTTPS_METHOD",
        "HSTS",
        "CERT_NAME",
        "com.github.nginx-proxy.nginx-proxy.loadbalance",
        "VIRTUAL_\u{1b}[2J",
    ];
    let labels = ["route", "to", "path", "allow", "public", "hold", "balance", "pin", "tls_name", "strip", "\u{1b}[2J"];
    let mut containers = Vec::new();
    for (nth, length) in [40, 2_000, 60_000, 70_000].into_iter().enumerate() {
        let value: String = hostile.chars().take(length).collect();
        for word in words {
            let mut settings = vec![("VIRTUAL_HOST", "a.home.test")];
            settings.retain(|(name, _)| *name != word);
            settings.push((word, value.as_str()));
            containers.push(running(
                &format!("{nth}{}", word.replace('\u{1b}', "")),
                &[("home-net", "172.18.0.5")],
                &settings,
            ));
        }
        for label in labels {
            let label = format!("doorward.{label}");
            let mut settings = vec![("doorward.route", "a"), ("doorward.path", "/x")];
            settings.retain(|(name, _)| *name != label);
            settings.push((&label, value.as_str()));
            containers.push(running(&format!("{nth}own{}", label.len()), &[("home-net", "172.18.0.5")], &settings));
        }
    }
    containers.push(changed(
        "\u{1b}[2Jname\n",
        &[("\u{202e}net\n", "10.0.0.9")],
        &[("VIRTUAL_HOST", "b.test")],
        |answer| {
            answer["State"]["Status"] = json!("\u{1b}[2J\n");
        },
    ));
    let count = containers.len();
    let translation = translated("", containers);
    assert_eq!(translation.verdicts.len(), count);
    let is_plain = |text: &str| !text.chars().any(|c| c.is_control() || c == '\u{202e}');
    for one in &translation.verdicts {
        let line = one.in_one_line();
        assert!(
            is_plain(&line) && line.chars().count() < 2_500,
            "{}: {} characters: {line}",
            one.container,
            line.len()
        );
        assert!(one.notes.iter().all(|note| is_plain(note) && note.chars().count() <= 401), "{:?}", one.notes);
        assert!(is_plain(&one.container));
    }
    for route in &translation.routes {
        assert!(is_plain(&route.name.value) && route.name.value.len() < 1_100, "{}", route.name.value);
    }
    let shown = Verdicts::new(String::new(), None, translation.verdicts, 0).to_string();
    assert!(shown.lines().all(is_plain));
}

#[test]
fn a_setting_that_is_too_long_to_be_read_is_never_taken_for_absent() {
    let long = "lan, ".repeat(20_000);
    let translation = translated("", vec![sonarr(&[("doorward.route", "sonarr"), ("doorward.allow", &long)])]);
    assert!(translation.routes.is_empty(), "it may have narrowed");
    assert_eq!(verdict(&translation, "sonarr"), "not-routed: doorward.allow is longer than 64 KiB");
    let many: Vec<(String, &str)> = (0..300).map(|n| (format!("VIRTUAL_X{n}"), "1")).collect();
    let mut settings: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    settings.push(("VIRTUAL_HOST", "sonarr.home.test"));
    let translation = translated("", vec![sonarr(&settings)]);
    assert_eq!(
        verdict(&translation, "sonarr"),
        "not-routed: it has 301 labels and variables about routes; 200 are the most"
    );
    let translation = translated("", vec![sonarr(&settings[250..])]);
    assert_eq!(notes(&translation, "sonarr").len(), 21, "as many notes as somebody reads");
    assert_eq!(notes(&translation, "sonarr")[20], "and 30 more of the kind");
}

#[test]
fn many_names_of_many_containers_are_one_table() {
    let one = |n: usize| {
        let names: Vec<String> = (0..1_000).map(|m| format!("n{m}.c{n}.test")).collect();
        running(&format!("c{n}"), &[("home-net", "172.18.0.5")], &[("VIRTUAL_HOST", &names.join(","))])
    };
    let translation = translated("", (0..20).map(one).collect());
    assert_eq!(translation.routes.len(), 20_000);
    let line = verdict(&translation, "c7");
    assert!(line.contains("n115.c7.test and 980 more -> http://172.18.0.5"), "{line}");
}

#[test]
fn who_seems_to_have_meant_a_route_and_has_none_is_told() {
    let told = |settings: &[(&str, &str)]| {
        let translation = translated("", vec![sonarr(settings)]);
        assert!(verdict(&translation, "sonarr").starts_with("unlabelled"));
        notes(&translation, "sonarr")
    };
    assert_eq!(
        told(&[("VIRTUAL_HOSTS", "a.test")]),
        ["VIRTUAL_HOSTS has no effect: it is no word of nginx-proxy's that is known here; did you mean VIRTUAL_HOST?"]
    );
    assert_eq!(told(&[("VIRTUAL_HOST", " ")]), ["VIRTUAL_HOST is empty: no name leads here"]);
    assert_eq!(
        told(&[("VIRTUAL_PORT", "80")]),
        ["VIRTUAL_PORT has no effect: there is no VIRTUAL_HOST, the name that leads here"]
    );
    // Words that mean something to programs other than nginx-proxy.
    assert!(told(&[("HSTS", "off"), ("DEFAULT_HOST", "a.test"), ("SSL_POLICY", "x")]).is_empty());
}

/// Words and values as somebody might write them who is in a hurry, or means harm.
fn a_setting() -> impl proptest::strategy::Strategy<Value = (String, String)> {
    use proptest::prelude::*;
    let word = prop_oneof![
        Just("VIRTUAL_HOST"),
        Just("VIRTUAL_PORT"),
        Just("VIRTUAL_PATH"),
        Just("VIRTUAL_DEST"),
        Just("VIRTUAL_PROTO"),
        Just("VIRTUAL_HOST_MULTIPORTS"),
        Just("NETWORK_ACCESS"),
        Just("HTTPS_METHOD"),
        Just("HSTS"),
        Just("CERT_NAME"),
        Just("com.github.nginx-proxy.nginx-proxy.loadbalance"),
        Just("doorward.route"),
        Just("doorward.to"),
        Just("doorward.path"),
        Just("doorward.strip"),
        Just("doorward.allow"),
        Just("doorward.public"),
    ];
    let value = prop_oneof![
        any::<String>(),
        "[a-c*~./,: ]{0,20}",
        "(a|b|\\*|~)\\.home\\.test(, (x|kept)\\.home\\.test)?",
        "\\{(a|b)\\.home\\.test: \\{(/|/a|~): \\{(port|dest|proto): (80|/x|https|\\[|null)\\}\\}\\}",
        "(/|= /|~)[a-z/.%]{0,8}",
        "(internal|external|redirect|nohttp|https|grpc|lan|guest|anyone|true|80|443|max-age=[0-9]{1,12})",
    ];
    (word.prop_map(str::to_owned), value)
}

proptest::proptest! {
    #[test]
    fn whatever_containers_say_becomes_routes_within_what_the_file_admits(
        said in proptest::collection::vec(proptest::collection::vec(a_setting(), 0..5), 1..5),
    ) {
        let containers: Vec<Container> = said
            .iter()
            .enumerate()
            .map(|(nth, settings)| {
                let settings: Vec<(&str, &str)> = settings.iter().map(|(word, value)| (word.as_str(), value.as_str())).collect();
                running(&format!("c{nth}"), &[("home-net", &format!("172.18.0.{}", nth + 2))], &settings)
            })
            .collect();
        let translation = translated("allow = [\"lan\"]\n", containers.clone());
        proptest::prop_assert_eq!(translation.verdicts.len(), containers.len());
        let mut hosts: Vec<String> = translation.routes.iter().map(|route| route.host.to_string()).collect();
        proptest::prop_assert!(!hosts.contains(&"kept.home.test".to_owned()), "the file wins");
        let count = hosts.len();
        hosts.sort();
        hosts.dedup();
        proptest::prop_assert_eq!(hosts.len(), count, "a name has one route");
        for route in &translation.routes {
            proptest::prop_assert!(route.public.is_empty());
            let lists = [&route.allow].into_iter().chain(route.paths.iter().map(|path| &path.allow));
            for (nth, allow) in lists.enumerate() {
                let Some(allow) = allow else {
                    proptest::prop_assert!(nth > 0, "a path without a list has its route's");
                    continue;
                };
                for entry in &allow.entries {
                    let is_within = match &entry.value {
                        AllowEntry::Anyone => false,
                        AllowEntry::Network(name) => &**name == "lan",
                        AllowEntry::Net(net) => "192.168.8.0/24".parse::<ipnet::IpNet>().unwrap().contains(net),
                    };
                    proptest::prop_assert!(is_within, "{}: {:?}", route.host, entry.value);
                }
            }
        }
        let mut turned = containers;
        turned.reverse();
        proptest::prop_assert_eq!(translated("allow = [\"lan\"]\n", turned), translation);
    }
}
