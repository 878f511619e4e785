//! Whether a proof is seen where the CA will look, and that the order goes on where it is not.

use std::time::Duration;

use doorward::acme::propagation::{Propagation, wait};

use crate::harness::Folder;
use crate::rigs::{Bind, Challtestsrv, FakeCloudflare, Fault, Step, Zone};
use crate::written::{made, secret, spec};

const NAME: &str = "_acme-challenge.home.test";
const TOKEN: &str = "cf-token-0123456789-abcdefghij";

fn values() -> Vec<String> {
    ["LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ", "q7uC9vAxZJfYiA6dOsFbJYMKo7vN5LSKVWzwdvd-qPI"]
        .map(str::to_owned)
        .into()
}

#[tokio::test]
async fn values_that_the_server_of_the_file_shows_are_seen() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let (spec, provider) = (spec(&folder, &bind.dns()), made(&folder, &bind.dns()));
    for value in values() {
        provider.set_txt(NAME, &value).await.unwrap();
    }
    let outcome = wait(&spec, &*provider, NAME, &values()).await;
    assert!(matches!(outcome, Propagation::Seen { .. }), "{outcome:?}");
}

#[tokio::test]
async fn values_that_come_late_are_waited_for() {
    let dns = Challtestsrv::start().await;
    let api = FakeCloudflare::published(vec![Zone::new("home.test", TOKEN)], &dns).await;
    let folder = Folder::new();
    let token = secret(&folder, "token", TOKEN);
    let (spec, provider) = (spec(&folder, &api.dns(&token)), made(&folder, &api.dns(&token)));
    provider.set_txt(NAME, &values()[0]).await.unwrap();
    let later = async {
        // Only one of two is there; the second comes once the first round was surely asked.
        tokio::time::sleep(Duration::from_millis(300)).await;
        provider.set_txt(NAME, &values()[1]).await.unwrap();
    };
    let expected = values();
    let (outcome, ()) = tokio::join!(wait(&spec, &*provider, NAME, &expected), later);
    assert!(matches!(outcome, Propagation::Seen { took } if took >= Duration::from_millis(300)), "{outcome:?}");
}

#[tokio::test]
async fn values_that_never_come_are_told_after_the_time_of_the_file() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let dns = bind.dns().replace(" }", ", propagation = \"1s\" }");
    let (spec, provider) = (spec(&folder, &dns), made(&folder, &dns));
    provider.set_txt(NAME, &values()[0]).await.unwrap();
    match wait(&spec, &*provider, NAME, &values()).await {
        Propagation::Unseen { why, .. } => assert!(why.contains("does not show 1 of 2 values"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_stops_nothing() {
    let mut bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let folder = Folder::new();
    let dns = bind.dns().replace(" }", ", zone = \"home.test\" }");
    let (spec, provider) = (spec(&folder, &dns), made(&folder, &dns));
    bind.stop();
    let begun = tokio::time::Instant::now();
    let outcome = wait(&spec, &*provider, NAME, &values()).await;
    assert!(matches!(outcome, Propagation::Unchecked { .. }), "{outcome:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "it went on before the time was up");
}

#[tokio::test]
async fn an_api_that_names_no_servers_or_fails_stops_nothing() {
    let api = FakeCloudflare::start(vec![Zone::new("home.test", TOKEN)]).await;
    let folder = Folder::new();
    let token = secret(&folder, "token", TOKEN);
    let (spec, provider) = (spec(&folder, &api.dns(&token)), made(&folder, &api.dns(&token)));
    api.fail(Step::Zones, Fault::Status(500), 99);
    let outcome = wait(&spec, &*provider, NAME, &values()).await;
    assert!(matches!(&outcome, Propagation::Unchecked { why } if why.contains("HTTP 500")), "{outcome:?}");
}
