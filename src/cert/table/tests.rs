//! Which certificate answers which name.

use rcgen::CertificateParams;
use time::{Duration, OffsetDateTime};

use super::super::fixture::TestCa;
use super::super::{CertificateOrigin, TlsFactory};
use super::*;

struct Maker {
    ca: TestCa,
    factory: TlsFactory,
}

impl Maker {
    fn new() -> Maker {
        Maker { ca: TestCa::new(), factory: TlsFactory::new().unwrap() }
    }

    fn given(&self, id: &str, names: &[&str], days: i64) -> Arc<Certificate> {
        self.make(id, names, days, CertificateOrigin::Acme { id: id.into() })
    }

    fn minted(&self, id: &str, names: &[&str]) -> Arc<Certificate> {
        self.make(id, names, 3650, CertificateOrigin::LocalCa)
    }

    fn make(&self, id: &str, names: &[&str], days: i64, origin: CertificateOrigin) -> Arc<Certificate> {
        let until =
            |params: &mut CertificateParams| params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
        let pair = self.ca.leaf_with(names, until);
        let made = self.factory.certificate_from_pem(id.into(), pair.cert.as_bytes(), pair.key.as_bytes(), origin);
        Arc::new(made.unwrap())
    }
}

fn found<'a>(table: &'a CertTable, name: &str) -> &'a str {
    table.find(Some(name)).unwrap().id()
}

#[test]
fn the_most_specific_name_wins_whatever_its_place() {
    let maker = Maker::new();
    let table = CertTable::build(
        vec![maker.given("wide", &["*.home.test"], 90), maker.given("one", &["nas.home.test"], 10)],
        None,
    );
    assert_eq!(found(&table, "nas.home.test"), "one");
    assert_eq!(found(&table, "tv.home.test"), "wide");
    assert!(table.covering("a.tv.home.test").is_none());
    assert!(table.covering("home.test").is_none());
}

#[test]
fn of_equals_the_longer_valid_wins_then_the_earlier() {
    let maker = Maker::new();
    let names = ["*.home.test"];
    let long = maker.given("long", &names, 90);
    let table = CertTable::build(vec![maker.given("short", &names, 10), long.clone()], None);
    assert_eq!(found(&table, "nas.home.test"), "long");
    let twin = Arc::new(Certificate {
        id: "twin".into(),
        origin: long.origin.clone(),
        names: long.names.clone(),
        issuer: long.issuer.clone(),
        serial: long.serial.clone(),
        server_config: long.server_config.clone(),
        yielding_config: long.yielding_config.clone(),
        ..*long
    });
    let table = CertTable::build(vec![twin, long], None);
    assert_eq!(found(&table, "nas.home.test"), "twin");
}

#[test]
fn the_local_ca_serves_only_what_nothing_else_covers() {
    let maker = Maker::new();
    let table = CertTable::build(
        vec![maker.minted("minted", &["nas.home.test", "nas.other.test"]), maker.given("wide", &["*.home.test"], 1)],
        None,
    );
    assert_eq!(found(&table, "nas.home.test"), "wide");
    assert_eq!(found(&table, "nas.other.test"), "minted");
    assert_eq!(&**table.default_certificate().unwrap().id(), "wide");
}

#[test]
fn a_client_without_a_known_name_gets_the_one_for_the_domain() {
    let maker = Maker::new();
    let domain = HostName::parse("home.test").unwrap();
    let first = maker.given("first", &["other.test"], 90);
    let apex = maker.given("apex", &["home.test"], 90);
    let below = maker.given("below", &["*.home.test"], 90);
    let default = |all: &[&Arc<Certificate>], domain: Option<&HostName>| {
        let table = CertTable::build(all.iter().map(|c| (*c).clone()).collect(), domain);
        assert_eq!(table.find(None).unwrap().id(), table.find(Some("nobody.test")).unwrap().id());
        table.find(None).unwrap().id().to_string()
    };
    assert_eq!(default(&[&first, &below, &apex], Some(&domain)), "apex");
    assert_eq!(default(&[&first, &below], Some(&domain)), "below");
    assert_eq!(default(&[&first], Some(&domain)), "first");
    assert_eq!(default(&[&first, &apex], None), "first");
    let minted = maker.minted("minted", &["x.test"]);
    let minted_domain = maker.minted("minted-domain", &["*.home.test"]);
    assert_eq!(default(&[&minted, &first], Some(&domain)), "first");
    assert_eq!(default(&[&minted, &minted_domain], Some(&domain)), "minted-domain");
    assert_eq!(default(&[&minted, &minted_domain], None), "minted");
}

#[test]
fn names_are_found_in_any_case_and_with_a_trailing_dot() {
    let maker = Maker::new();
    let table = CertTable::build(
        vec![maker.given("other", &["other.test"], 1), maker.given("wide", &["*.home.test"], 1)],
        None,
    );
    assert_eq!(found(&table, "NAS.Home.Test"), "wide");
    assert_eq!(found(&table, "nas.home.test."), "wide");
    assert_eq!(found(&table, &"A".repeat(4000)), "other");
    assert_eq!(found(&table, "É.home.test"), "wide");
}

#[test]
fn without_certificates_nobody_is_found() {
    assert!(CertTable::build(Vec::new(), None).find(Some("a.test")).is_none());
    assert_eq!(CertTable::default().iter().count(), 0);
}

#[test]
fn a_certificate_that_is_asked_for_is_shown_where_it_covers() {
    let maker = Maker::new();
    let all = vec![
        maker.given("exact", &["a.home.test"], 90),
        maker.given("wide", &["*.home.test"], 90),
        maker.given("other", &["*.home.test"], 30),
    ];
    let mut table = CertTable::build(all, None);
    let hosts =
        ["a.home.test", "*.home.test", "b.example.com", "c.home.test"].map(|host| HostPattern::parse(host).unwrap());
    let [a, below, foreign, c] = &hosts;
    assert_eq!((found(&table, "a.home.test"), found(&table, "c.home.test")), ("exact", "wide"));
    let wishes = [(a, "other"), (foreign, "other"), (c, "absent")];
    assert_eq!(table.ask_for(wishes.into_iter()), [foreign, c]);
    assert_eq!((found(&table, "a.home.test"), found(&table, "c.home.test")), ("other", "wide"));
    assert!(table.ask_for([(below, "other")].into_iter()).is_empty());
    assert_eq!((found(&table, "a.home.test"), found(&table, "c.home.test")), ("exact", "other"));
    assert!(table.ask_for(std::iter::empty()).is_empty());
    assert_eq!((found(&table, "a.home.test"), found(&table, "c.home.test")), ("exact", "wide"));
}
