//! nginx-proxy's words, one after the other.

use super::super::fixture::{changed, running};
use super::*;

fn read_with(settings: &[(&str, &str)]) -> Result<Wishes, String> {
    read(&running("x", &[], settings))
}

fn hosts(virtual_host: &str) -> Vec<String> {
    let wishes = read_with(&[("VIRTUAL_HOST", virtual_host)]).unwrap();
    wishes.sites.iter().map(|site| site.host.to_string()).collect()
}

#[test]
fn a_list_of_names_is_trimmed_and_empty_entries_are_ignored() {
    assert_eq!(hosts("a.test, B.test ,,a.test"), ["a.test", "b.test"]);
    assert_eq!(hosts("*.a.test"), ["*.a.test"]);
    assert_eq!(hosts(".a.test"), ["a.test", "*.a.test"]);
    assert_eq!(hosts("www.*"), ["www.*"]);
    assert_eq!(hosts(r"~^foo\.bar\..*$"), [r"~^foo\.bar\..*$"]);
    assert!(read_with(&[("VIRTUAL_HOST", " , ")]).unwrap_err().contains("no name"));
    assert!(read_with(&[("VIRTUAL_HOST", "a b.test")]).unwrap_err().contains("is no name"));
}

#[test]
fn port_path_destination_and_protocol_are_those_of_every_name() {
    let wishes = read_with(&[
        ("VIRTUAL_HOST", "a.test,b.test"),
        ("VIRTUAL_PORT", "8080"),
        ("VIRTUAL_PATH", "/app/"),
        ("VIRTUAL_DEST", "/"),
        ("VIRTUAL_PROTO", "https"),
    ])
    .unwrap();
    assert_eq!(wishes.sites.len(), 2);
    for site in &wishes.sites {
        let [place] = site.places.as_slice() else { panic!("one place") };
        assert_eq!(place.path.as_ref().unwrap().to_string(), "/app/*");
        assert_eq!((place.port, place.proto, place.replace.as_deref()), (Some(8080), Proto::Https, Some("/")));
    }
}

#[test]
fn what_cannot_be_carried_out_leaves_the_container_without_a_route() {
    for (word, value, why) in [
        ("VIRTUAL_PORT", "http", "no port"),
        ("VIRTUAL_PORT", "70000", "no port"),
        ("VIRTUAL_PROTO", "fastcgi", "put a web server"),
        ("VIRTUAL_PROTO", "ftp", "there are http"),
        ("VIRTUAL_PATH", "~ ^/x", "regular expressions"),
        ("VIRTUAL_DEST", "http://x/", "destination"),
        ("VIRTUAL_DEST", "/a/../b", "destination"),
    ] {
        let refused = read_with(&[("VIRTUAL_HOST", "a.test"), (word, value)]).unwrap_err();
        assert!(refused.contains(why), "{word}={value}: {refused}");
    }
}

#[test]
fn every_word_without_effect_is_a_note_that_says_what_to_write() {
    for (word, _) in NOT_CARRIED.iter().chain(&PROXY_WIDE) {
        let notes = read_with(&[("VIRTUAL_HOST", "a.test"), (word, "1")]).unwrap().notes;
        assert_eq!(notes.len(), 1, "{word}");
        assert!(notes[0].starts_with(&format!("{word} has no effect: ")), "{notes:?}");
    }
}

#[test]
fn words_of_the_proxy_that_do_something_are_carried() {
    let terms = |word: &str, value: &str| {
        let wishes = read_with(&[("VIRTUAL_HOST", "a.test"), (word, value)]).unwrap();
        (wishes.terms, wishes.notes)
    };
    for (value, schemes) in [
        ("redirect", Schemes::AsTheDoor),
        ("noredirect", Schemes::Both),
        ("nohttp", Schemes::HttpsOnly),
        ("nohttps", Schemes::HttpOnly),
    ] {
        assert_eq!(terms("HTTPS_METHOD", value), (Terms { schemes, ..Terms::default() }, vec![]), "{value}");
    }
    for (value, balance) in [
        ("least_conn;", Balance::LeastRequests),
        ("ip_hash;", Balance::Sticky),
        ("hash $remote_addr consistent;", Balance::Sticky),
        ("round_robin", Balance::RoundRobin),
    ] {
        let label = "com.github.nginx-proxy.nginx-proxy.loadbalance";
        assert_eq!(terms(label, value), (Terms { balance, ..Terms::default() }, vec![]), "{value}");
    }
    assert_eq!(terms("com.github.nginx-proxy.nginx-proxy.loadbalance", "random two;").1.len(), 1);
    assert_eq!(terms("HTTPS_METHOD", "both").1.len(), 1);
}

#[test]
fn hsts_is_sent_as_long_as_it_says_and_binds_no_other_name() {
    let hsts = |value: &str| {
        let wishes = read_with(&[("VIRTUAL_HOST", "a.test"), ("HSTS", value)]).unwrap();
        (wishes.terms.hsts.map(|age| age.as_secs()), wishes.notes.len())
    };
    assert_eq!(hsts("max-age=31536000"), (Some(31_536_000), 0));
    assert_eq!(hsts("max-age=600; includeSubDomains; preload"), (Some(600), 2));
    assert_eq!(hsts("off"), (None, 0));
    assert_eq!(hsts("max-age=soon"), (None, 1));
    let both = read_with(&[("VIRTUAL_HOST", "a.test"), ("HSTS", "max-age=6"), ("HTTPS_METHOD", "noredirect")]).unwrap();
    assert_eq!((both.terms.hsts, both.notes.len()), (None, 1));
}

#[test]
fn a_limit_that_is_misspelt_is_still_a_limit() {
    let allow = |value: &str| read_with(&[("VIRTUAL_HOST", "a.test"), ("NETWORK_ACCESS", value)]).unwrap().terms.allow;
    assert_eq!(allow("external"), None);
    assert_eq!(allow("internal").unwrap().len(), INTERNAL.len(), "every block is read");
    assert_eq!(allow("intern"), Some(vec![]));
}

#[test]
fn several_ports_count_before_the_plain_words() {
    let settings = [
        ("VIRTUAL_HOST", "old.test"),
        ("VIRTUAL_PORT", "x"),
        ("VIRTUAL_HOST_MULTIPORTS", "{new.test: {/: {port: 81}}}"),
    ];
    let wishes = read_with(&settings).unwrap();
    assert_eq!(wishes.sites.len(), 1);
    assert_eq!(wishes.sites[0].host.to_string(), "new.test");
}

#[test]
fn a_word_that_nobody_knows_is_told_with_a_guess() {
    for (word, guess) in [
        ("VIRTUAL_PROT", "did you mean VIRTUAL_PORT?"),
        ("VIRTUAL_HOSTS", "did you mean VIRTUAL_HOST?"),
        (
            "com.github.nginx-proxy.nginx-proxy.loadbalanc",
            "did you mean com.github.nginx-proxy.nginx-proxy.loadbalance?",
        ),
        ("com.github.nginx-proxy.nginx-proxy.something-new", "no word of nginx-proxy's that is known here"),
    ] {
        let notes = read_with(&[("VIRTUAL_HOST", "a.test"), (word, "1")]).unwrap().notes;
        assert_eq!(notes.len(), 1, "{word}: {notes:?}");
        assert!(notes[0].starts_with(word) && notes[0].ends_with(guess), "{notes:?}");
    }
}

#[test]
fn what_was_for_clients_with_certificates_is_for_nobody() {
    let label = "com.github.nginx-proxy.nginx-proxy.ssl_verify_client";
    let wishes = read_with(&[("VIRTUAL_HOST", "a.test"), (label, "on")]).unwrap();
    assert_eq!((wishes.terms.allow, wishes.notes.len()), (Some(vec![]), 1));
    assert_eq!(read_with(&[("VIRTUAL_HOST", "a.test"), (label, "optional")]).unwrap().terms.allow, None);
}

#[test]
fn a_name_that_is_none_costs_the_container_that_name_alone_and_says_what_to_write() {
    for (odd, hint) in [
        ("app.test:8080", "the port that the container listens on is VIRTUAL_PORT"),
        ("https://app.test", "write the name alone"),
        ("b\u{fc}cher.test", "as browsers send it (`xn--…`)"),
        ("app.test www.test", "separate names by commas"),
        ("app.test/x", "a path is VIRTUAL_PATH"),
        ("a.*.test", "`*` stands for the first or the last part"),
        ("~(?=x)", "it is no regular expression of the kind"),
        ("~a\u{1b}[2J", "it is no regular expression of the kind"),
        ("-a.test", "does not begin or end with `-`"),
        ("*", "`*` stands for"),
    ] {
        let refused = read_with(&[("VIRTUAL_HOST", odd)]).unwrap_err();
        assert!(refused.contains("is no name") && refused.contains(hint), "{odd}: {refused}");
        let others = read_with(&[("VIRTUAL_HOST", &format!("good.test, {odd}"))]).unwrap();
        let hosts: Vec<String> = others.sites.iter().map(|site| site.host.to_string()).collect();
        assert_eq!((hosts, others.notes), (vec!["good.test".to_owned()], vec![refused]), "{odd}");
    }
    let several = "{good.test: {/: {port: 81}}, 'a b': {}}";
    let wishes = read_with(&[("VIRTUAL_HOST_MULTIPORTS", several)]).unwrap();
    assert_eq!((wishes.sites.len(), wishes.notes.len()), (1, 1));
    // Upper case, a dot at the end, underscores: all of them names.
    assert_eq!(hosts("My_App.Test.,a.test,"), ["my_app.test", "a.test"]);
}

#[test]
fn a_port_that_is_a_guess_is_told() {
    let with_ports = |ports: serde_json::Value, more: &[(&str, &str)]| {
        let settings: Vec<(&str, &str)> =
            [("VIRTUAL_HOST", "a.test")].into_iter().chain(more.iter().copied()).collect();
        let container = changed("x", &[], &settings, |answer| answer["NetworkSettings"]["Ports"] = ports);
        read(&container).unwrap().notes
    };
    let several = || serde_json::json!({ "3000/tcp": null, "9229/tcp": null });
    let told = "no port is written, and it exposes several (3000, 9229), not 80, which is taken: write VIRTUAL_PORT";
    assert_eq!(with_ports(several(), &[]), [told]);
    assert!(with_ports(several(), &[("VIRTUAL_PORT", "3000")]).is_empty());
    assert!(with_ports(serde_json::json!({ "80/tcp": null, "443/tcp": null }), &[]).is_empty());
    assert!(with_ports(serde_json::json!({ "3000/tcp": null }), &[]).is_empty(), "the only one is no guess");
    assert!(with_ports(serde_json::json!({}), &[]).is_empty(), "80, as everywhere");
    assert_eq!(with_ports(serde_json::json!({}), &[("VIRTUAL_PROTO", "https")]).len(), 1, "TLS on port 80");
    assert!(with_ports(serde_json::json!({ "443/tcp": null }), &[("VIRTUAL_PROTO", "https")]).is_empty());
}

#[test]
fn one_container_cannot_ask_for_more_than_a_home_has() {
    let names: Vec<String> = (0..1001).map(|n| format!("n{n}.test")).collect();
    let refused = read_with(&[("VIRTUAL_HOST", &names.join(","))]).unwrap_err();
    assert_eq!(refused, "it asks for 1001 names; 1000 are the most for one container");
    assert_eq!(hosts(&names[..1000].join(",")).len(), 1000);
    let paths: Vec<String> = (0..300).map(|n| format!("/p{n}: {{}}")).collect();
    let shared = format!(
        "{{a.test: &p {{{}}}, b.test: *p, c.test: *p, d.test: *p, e.test: *p, f.test: *p, g.test: *p}}",
        paths.join(", ")
    );
    let refused = read_with(&[("VIRTUAL_HOST_MULTIPORTS", &shared)]).unwrap_err();
    assert_eq!(refused, "it asks for 2100 paths; 2000 are the most for one container");
}

#[test]
fn a_text_that_unfolds_to_much_more_than_it_says_is_no_description() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (this, that) in ('b'..='k').zip('a'..='j') {
        bomb += &format!(
            "{this}: &{this} [*{that}, *{that}, *{that}, *{that}, *{that}, *{that}, *{that}, *{that}, *{that}]\n"
        );
    }
    let deep = format!("a.test: {}", "[".repeat(5000));
    for text in [bomb, deep] {
        let refused = read_with(&[("VIRTUAL_HOST_MULTIPORTS", &text)]).unwrap_err();
        assert!(refused.contains("is no YAML"), "{refused}");
    }
}
