//! The rigs together, without the program: a library orders, our provider proves. What fails here is a rig or a provider,
//! never the worker.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use doorward::acme::dns::DnsProvider;
use doorward::acme::propagation::{Propagation, wait};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey, Identifier, NewAccount, NewOrder,
    RetryPolicy,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::harness::Folder;
use crate::rigs::{Absence, AcmeFront, Bind, Challtestsrv, Eab, FakeCloudflare, Pebble, PebbleOptions, Zone, txt};
use crate::written::{made, secret, spec};

const TOKEN: &str = "cf-token-0123456789-abcdefghij";
const NAME: &str = "_acme-challenge.home.test";

async fn account(directory: &str, ca: &Path, eab: Option<Eab>) -> Result<Account, Error> {
    let who =
        NewAccount { contact: &["mailto:a@home.test"], terms_of_service_agreed: true, only_return_existing: false };
    let key = eab.map(|eab| {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(eab.key).unwrap();
        ExternalAccountKey::new(eab.kid.to_owned(), &key)
    });
    let builder = Account::builder_with_root(ca).unwrap();
    builder.create(&who, directory.to_owned(), key.as_ref()).await.map(|(account, _)| account)
}

/// Orders `home.test` and `*.home.test`, proves both by DNS, and gives the chain.
async fn wildcard(account: &Account, folder: &Folder, dns: &str) -> String {
    let (spec, provider) = (spec(folder, dns), made(folder, dns));
    let names = ["home.test", "*.home.test"].map(|name| Identifier::Dns(name.to_owned()));
    let mut order = account.new_order(&NewOrder::new(&names)).await.unwrap();
    let values = prove(&mut order, &*provider).await;
    let seen = wait(&spec, &*provider, NAME, &values).await;
    assert!(matches!(seen, Propagation::Seen { .. }), "{seen:?}");
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        if let Some(mut challenge) = authorization.challenge(ChallengeType::Dns01) {
            challenge.set_ready().await.unwrap();
        }
    }
    let patience = RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(20));
    order.poll_ready(&patience).await.unwrap();
    order.finalize().await.unwrap();
    let chain = order.poll_certificate(&patience).await.unwrap();
    for value in &values {
        provider.clear_txt(NAME, value).await.unwrap();
    }
    chain
}

async fn prove(order: &mut instant_acme::Order, provider: &dyn DnsProvider) -> Vec<String> {
    let mut values = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.unwrap();
        assert_eq!(authorization.status, AuthorizationStatus::Pending);
        let challenge = authorization.challenge(ChallengeType::Dns01).unwrap();
        let value = challenge.key_authorization().dns_value();
        provider.set_txt(NAME, &value).await.unwrap();
        values.push(value);
    }
    assert_eq!(values.len(), 2);
    values
}

fn leaf(chain: &str) -> (Vec<String>, i64) {
    let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let mut names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    (names, leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp())
}

#[tokio::test]
async fn pebble_issues_a_wildcard_that_bind_proves() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start_with(PebbleOptions { validity: 518_400, ..PebbleOptions::new(bind.server()) }).await;
    let folder = Folder::new();
    let account = account(&pebble.directory(), &pebble.ca_file(), None).await.unwrap();
    let chain = wildcard(&account, &folder, &bind.dns()).await;
    let (names, seconds) = leaf(&chain);
    assert!(names[0].contains("*.home.test") && names[1].contains("home.test"), "{names:?}");
    assert!((518_398..=518_400).contains(&seconds), "six days: {seconds}");
    assert!(pebble.issuing_root().await.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(txt(bind.server(), NAME).await, Vec::<String>::new());
}

#[tokio::test]
async fn pebble_issues_a_wildcard_that_the_stand_in_of_cloudflare_proves() {
    let dns = Challtestsrv::start().await;
    let api = FakeCloudflare::published(vec![Zone::new("home.test", TOKEN)], &dns).await;
    let pebble = Pebble::start(dns.server()).await;
    let folder = Folder::new();
    let account = account(&pebble.directory(), &pebble.ca_file(), None).await.unwrap();
    wildcard(&account, &folder, &api.dns(&secret(&folder, "token", TOKEN))).await;
    assert_eq!(api.records(), Vec::<String>::new());
    assert_eq!(txt(dns.server(), NAME).await, Vec::<String>::new());
}

#[tokio::test]
async fn pebble_with_external_accounts_takes_the_known_one_only() {
    let dns = Challtestsrv::start().await;
    let pebble = Pebble::start_with(PebbleOptions { eab: true, ..PebbleOptions::new(dns.server()) }).await;
    let (directory, ca) = (pebble.directory(), pebble.ca_file());
    account(&directory, &ca, Some(Eab::KNOWN)).await.unwrap();
    assert!(account(&directory, &ca, None).await.is_err());
    assert!(account(&directory, &ca, Some(Eab { kid: "kid-2", ..Eab::KNOWN })).await.is_err());
}

#[tokio::test]
async fn the_front_has_what_pebble_lacks() {
    let dns = Challtestsrv::start().await;
    let api = FakeCloudflare::published(vec![Zone::new("home.test", TOKEN)], &dns).await;
    let pebble = Pebble::start(dns.server()).await;
    let front = AcmeFront::start(&pebble).await;
    let now = OffsetDateTime::now_utc();
    front.suggest(now, now + Duration::from_secs(60), 77);
    front.offer_profiles(&["shortlived"]);
    let folder = Folder::new();
    let account = account(&front.directory(), &front.ca_file(), None).await.unwrap();
    assert_eq!(account.profiles().map(|profile| profile.name.to_owned()).collect::<Vec<_>>(), ["shortlived"]);
    let chain = wildcard(&account, &folder, &api.dns(&secret(&folder, "token", TOKEN))).await;

    let der = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    let id = instant_acme::CertificateIdentifier::try_from(&der).unwrap();
    let (info, look_again) = account.renewal_info(&id).await.unwrap();
    assert_eq!(look_again.as_secs_f64().round(), 77.0);
    assert_eq!(info.suggested_window.start.unix_timestamp(), now.unix_timestamp());
    assert_eq!(front.asked_about(), [id.to_string()]);

    let name = [Identifier::Dns("a.home.test".to_owned())];
    account.new_order(&NewOrder::new(&name).profile("shortlived").replaces(id)).await.unwrap();
    let last = front.orders().pop().unwrap();
    assert_eq!(
        (last["profile"].as_str(), last["replaces"].as_str()),
        (Some("shortlived"), Some(front.asked_about()[0].as_str()))
    );
    assert!(account.new_order(&NewOrder::new(&name).profile("long")).await.is_err());
}

#[tokio::test]
async fn the_front_limits_and_goes_away_when_told() {
    let dns = Challtestsrv::start().await;
    let pebble = Pebble::start(dns.server()).await;
    let front = AcmeFront::start(&pebble).await;
    let account = Arc::new(account(&front.directory(), &front.ca_file(), None).await.unwrap());
    let name = [Identifier::Dns("a.home.test".to_owned())];
    front.limit_orders(1, 30);
    match account.new_order(&NewOrder::new(&name)).await {
        Err(Error::Api(problem)) => assert!(problem.to_string().contains("too many new orders"), "{problem}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the order was taken"),
    }
    account.new_order(&NewOrder::new(&name)).await.unwrap();
    for absence in [Absence::Cut, Absence::Unavailable, Absence::Maintenance] {
        front.absent(Some(absence));
        assert!(account.new_order(&NewOrder::new(&name)).await.is_err(), "{absence:?}");
    }
    front.absent(None);
    account.new_order(&NewOrder::new(&name)).await.unwrap();
}
