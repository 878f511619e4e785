//! nginx-proxy's words, one after the other.

use super::super::fixture::running;
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
