//! BIND as the keeper of a zone, changed by signed updates.

use doorward::acme::dns::DnsStep;

use crate::harness::Folder;
use crate::rigs::{Bind, txt};
use crate::written::{made, secret};

const NAME: &str = "_acme-challenge.home.test";
const ONE: &str = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";
const TWO: &str = "q7uC9vAxZJfYiA6dOsFbJYMKo7vN5LSKVWzwdvd-qPI";

#[tokio::test]
async fn two_values_stand_side_by_side_and_each_goes_alone() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let provider = made(&folder, &bind.dns());
    for value in [ONE, TWO, TWO] {
        provider.set_txt(NAME, value).await.unwrap();
    }
    assert_eq!(txt(bind.server(), NAME).await, [ONE, TWO]);
    provider.clear_txt(NAME, ONE).await.unwrap();
    assert_eq!(txt(bind.server(), NAME).await, [TWO]);
    for _ in 0..2 {
        provider.clear_txt(NAME, TWO).await.unwrap();
    }
    assert_eq!(txt(bind.server(), NAME).await, Vec::<String>::new());
}

#[tokio::test]
async fn every_algorithm_of_the_file_is_spoken() {
    for algorithm in ["hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"] {
        let bind = Bind::start(&["home.test"], algorithm).await;
        let folder = Folder::new();
        let outcome = made(&folder, &bind.dns()).set_txt(NAME, ONE).await;
        outcome.unwrap_or_else(|fault| panic!("{algorithm}: {fault}\n{}", bind.log()));
        assert_eq!(txt(bind.server(), NAME).await, [ONE], "{algorithm}");
    }
}

#[tokio::test]
async fn a_bare_secret_does_as_well_as_the_file_that_tsig_keygen_writes() {
    let bind = Bind::start(&["home.test"], "hmac-sha512").await;
    let folder = Folder::new();
    let written = std::fs::read_to_string(bind.key_file()).unwrap();
    let bare = written.split('"').nth(3).unwrap();
    let key = secret(&folder, "bare.key", bare);
    let dns = format!(
        "{{ provider = \"rfc2136\", server = \"{}\", key = \"edge-key\", key_file = \"{}\", algorithm = \"hmac-sha512\" }}",
        bind.server(),
        key.display()
    );
    made(&folder, &dns).set_txt(NAME, ONE).await.unwrap();
    assert_eq!(txt(bind.server(), NAME).await, [ONE]);
}

#[tokio::test]
async fn the_zone_is_asked_of_the_server_itself() {
    let bind = Bind::start(&["home.test", "sub.home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let provider = made(&folder, &bind.dns());
    let name = "_acme-challenge.a.sub.home.test";
    provider.set_txt(name, ONE).await.unwrap();
    assert_eq!(txt(bind.server(), name).await, [ONE]);
    let found = provider.zone_servers(name).await.unwrap().unwrap();
    assert_eq!((found.zone.as_str(), found.servers), ("sub.home.test", vec![bind.server().to_string()]));
    let fault = provider.set_txt("_acme-challenge.elsewhere.example", ONE).await.unwrap_err();
    assert_eq!((fault.step, fault.is_passing), (DnsStep::FindZone, false), "{fault}");
}

#[tokio::test]
async fn a_key_that_the_server_does_not_know_or_that_differs_is_told_apart() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let written = std::fs::read_to_string(bind.key_file()).unwrap();
    let dns = |name: &str| {
        let path = folder.at(name);
        format!("{{ provider = \"rfc2136\", server = \"{}\", key_file = \"{}\" }}", bind.server(), path.display())
    };
    secret(&folder, "stranger.key", &written.replace("edge-key", "other-key"));
    let fault = made(&folder, &dns("stranger.key")).set_txt(NAME, ONE).await.unwrap_err();
    assert!(fault.said.contains("does not know the key other-key"), "{fault}");
    let wrong = written.replacen("secret \"", "secret \"AAAA", 1);
    secret(&folder, "wrong.key", &wrong);
    let fault = made(&folder, &dns("wrong.key")).set_txt(NAME, ONE).await.unwrap_err();
    assert!(fault.said.contains("the secret is not that of its key"), "{fault}");
    assert!(!fault.is_passing);
    for text in [&written, &wrong] {
        assert!(!fault.to_string().contains(text.split('"').nth(3).unwrap()), "{fault}");
    }
}

#[tokio::test]
async fn a_zone_that_the_key_may_not_change_is_refused_in_words() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    // The policy allows TXT below the zone; the key of another policy is simulated by a zone that is not there.
    let provider = made(&folder, &bind.dns().replace(" }", ", zone = \"test\" }"));
    let fault = provider.set_txt(NAME, ONE).await.unwrap_err();
    assert!(!fault.is_passing && fault.said.contains("zone test"), "{fault}");
}

#[tokio::test]
async fn rights_are_asked_without_leaving_anything_behind() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let names = ["home.test".to_owned(), "a.home.test".to_owned(), "b.other.example".to_owned()];
    let rights = made(&folder, &bind.dns()).check_rights(&names).await.unwrap();
    assert_eq!(rights.needed, ["home.test"]);
    assert_eq!(rights.refused.len(), 1);
    assert!(rights.remarks()[0].starts_with("cannot edit the zone of b.other.example"), "{:?}", rights.remarks());
    assert_eq!(txt(bind.server(), NAME).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_is_away_is_a_fault_of_the_moment() {
    let mut bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let provider = made(&folder, &bind.dns());
    bind.stop();
    let fault = provider.set_txt(NAME, ONE).await.unwrap_err();
    assert!(fault.is_passing, "{fault}");
    bind.start_again(&["home.test"]).await;
    provider.set_txt(NAME, ONE).await.unwrap();
    assert_eq!(txt(bind.server(), NAME).await, [ONE]);
}
