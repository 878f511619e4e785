//! What the file can ask for beside the common case: kinds of keys, profiles, external account binding, lifetimes.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::rigs::{AcmeFront, Bind, Eab, Pebble, PebbleOptions};
use crate::site::Site;
use crate::written::secret;

#[tokio::test]
async fn the_key_is_of_the_kind_that_is_asked_for_and_new_each_time() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    let (mut serial, mut key) = (site.issued().await, site.stored("privkey.pem"));
    for (kind, bits) in [("p384", 384), ("rsa2048", 2048), ("p256", 256)] {
        site.write(&bind.dns(), &pebble.acme(), &format!("key_type = \"{kind}\""));
        site.gateway.reload().await.accepted();
        serial = site.issued_after(&serial).await;
        let shown = site.gateway.client().trusting_anything().handshake("hello.home.test").await.unwrap();
        let (_, leaf) = X509Certificate::from_der(&shown.certificates[0]).unwrap();
        let is = leaf.public_key().parsed().unwrap().key_size();
        assert_eq!(is, bits, "{kind}");
        let fresh = site.stored("privkey.pem");
        assert_ne!(fresh, key);
        key = fresh;
    }
}

#[tokio::test]
async fn a_profile_is_asked_for_and_another_one_orders_anew() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    front.offer_profiles(&["shortlived", "tlsserver"]);
    let acme = |profile: &str| front.acme().replace(" }", &format!(", profile = \"{profile}\" }}"));
    let site = Site::start(&bind.dns(), &acme("tlsserver"), "").await;
    let serial = site.issued().await;
    site.write(&bind.dns(), &acme("shortlived"), "");
    site.gateway.reload().await.accepted();
    site.issued_after(&serial).await;
    let profiles: Vec<_> = front.orders().iter().map(|order| order["profile"].clone()).collect();
    assert_eq!(profiles, ["tlsserver", "shortlived"]);
}

#[tokio::test]
async fn an_account_is_bound_to_the_one_at_the_ca() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start_with(PebbleOptions { eab: true, ..PebbleOptions::new(bind.server()) }).await;
    let mut site = Site::stopped(&bind.dns(), &pebble.acme(), "").await;
    secret(site.gateway.folder(), "eab.key", Eab::KNOWN.key);
    let bound = format!(", eab_kid = \"{}\", eab_key_file = \"eab.key\" }}", Eab::KNOWN.kid);
    site.write(&bind.dns(), &pebble.acme().replace(" }", &bound), "");
    site.gateway.start(&[]).await;
    site.issued().await;
}

#[tokio::test]
async fn a_six_day_certificate_is_renewed_after_four_days() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start_with(PebbleOptions { validity: 518_400, ..PebbleOptions::new(bind.server()) }).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    site.issued().await;
    let report = site.report().await;
    let (next, from) = (report["next_renewal"].as_i64().unwrap(), report["stored"]["not_before"].as_i64().unwrap());
    assert!(((next - from) - 345_600).abs() < 60, "{report}");
}
