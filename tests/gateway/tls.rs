//! What is negotiated before the first request, and which certificate is shown.

use rustls::ProtocolVersion;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::harness::{CERT, DOORS, Door, FRONT, Gateway, Identity, TAIL, TestCa, Upstream, eventually};

#[tokio::test]
async fn both_tls_versions_and_both_http_versions_are_spoken() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for (client, version) in [
        (edge.client().tls12(), ProtocolVersion::TLSv1_2),
        (edge.client().tls13(), ProtocolVersion::TLSv1_3),
        (edge.client(), ProtocolVersion::TLSv1_3),
    ] {
        for (client, http) in [(client.clone(), http::Version::HTTP_11), (client.h2(), http::Version::HTTP_2)] {
            let mut open = client.connect("shop.home.test").await;
            let answer = open.get("/").await;
            assert_eq!((answer.text(), answer.version), ("the shop", http));
            assert_eq!(open.facts().version, Some(version));
        }
    }
}

#[tokio::test]
async fn http2_is_chosen_where_both_are_offered() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().offering(&["http/1.1", "h2"]).connect("shop.home.test").await;
    assert_eq!(open.facts().protocol.as_deref(), Some("h2"));
    assert_eq!(open.get("/").await.version, http::Version::HTTP_2);
}

#[tokio::test]
async fn without_a_protocol_offer_it_is_http1() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().offering(&[]).connect("shop.home.test").await;
    assert_eq!(open.facts().protocol, None);
    assert_eq!(open.get("/").await.text(), "the shop");
}

#[tokio::test]
async fn an_offer_of_unknown_protocols_ends_the_handshake() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    assert!(edge.client().offering(&["spdy/3"]).handshake("shop.home.test").await.is_err());
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop", "others are served");
}

#[tokio::test]
async fn cleartext_on_a_tls_door_is_not_answered_with_a_page() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut raw = edge.client().port(Door::Https.port(), false).raw("unnamed").await;
    raw.send("GET / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    let said = raw.rest().await;
    assert!(!said.contains("the shop"), "{said}");
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn the_certificate_with_the_most_specific_name_is_shown() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::stopped();
    let [special, other] = [edge.ca().issue(&["shop.home.test"]), edge.ca().issue(&["*.example.com"])];
    special.write(edge.folder(), "special");
    other.write(edge.folder(), "other");
    let certs = "[cert.special]\ncert = \"special.crt\"\nkey = \"special.key\"\n[cert.other]\ncert = \"other.crt\"\nkey = \"other.key\"\n";
    edge.write(format!(
        "{FRONT}{DOORS}{CERT}{certs}{TAIL}[routes]\nshop = \"{shop}\"\nblog = \"{shop}\"\n\"www.example.com\" = \"{shop}\""
    ));
    edge.start(&[]).await;
    for (host, identity) in [
        ("shop.home.test", &special),
        ("blog.home.test", edge.identity()),
        ("www.example.com", &other),
        ("home.test", edge.identity()),
    ] {
        let facts = edge.client().handshake(host).await.unwrap();
        assert_eq!(&facts.certificates[0], identity.der(), "{host}");
    }
}

#[tokio::test]
async fn a_name_that_no_certificate_covers_is_served_by_the_local_ca() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n\"www.example.com\" = \"{shop}\"")).await;
    let roots = local_ca(&edge);
    let client = edge.client().trusting(roots);
    assert_eq!(client.get("www.example.com/").await.text(), "the shop");
    assert_eq!(client.clone().tls12().h2().get("www.example.com/").await.text(), "the shop");
    assert!(client.handshake("shop.home.test").await.is_err(), "a name with a certificate keeps it");
}

#[tokio::test]
async fn the_local_ca_outlives_a_restart() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::serving(format!("[routes]\n\"www.example.com\" = \"{shop}\"")).await;
    let client = edge.client().trusting(local_ca(&edge));
    let before = client.handshake("www.example.com").await.unwrap();
    edge.signal(rustix::process::Signal::TERM);
    assert_eq!(edge.exit_code().await, 0);
    edge.start(&[]).await;
    let after = client.handshake("www.example.com").await.unwrap();
    assert_eq!(before.certificates[0], after.certificates[0]);
}

#[tokio::test]
async fn missing_certificate_files_are_told_loudly_and_the_local_ca_serves_meanwhile() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::stopped();
    std::fs::remove_file(edge.folder().at("edge.crt")).unwrap();
    std::fs::remove_file(edge.folder().at("edge.key")).unwrap();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.start(&[]).await;
    edge.logs("edge.crt").await;
    let roots = local_ca(&edge);
    assert_eq!(edge.client().trusting(roots).get("shop.home.test/").await.text(), "the shop");
    // And the moment they are there, they are used.
    edge.identity().write(edge.folder(), "edge");
    shown_in_the_end(&edge, edge.identity()).await;
}

#[tokio::test]
async fn a_changed_certificate_is_on_the_next_handshake_and_open_connections_stay() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut one = edge.client().connect("shop.home.test").await;
    let mut two = edge.client().h2().connect("shop.home.test").await;
    assert_eq!(one.get("/").await.text(), "the shop");
    let renewed = edge.ca().issue(&["home.test", "*.home.test"]);
    renewed.write(edge.folder(), "edge");
    shown_in_the_end(&edge, &renewed).await;
    assert_eq!(one.get("/").await.text(), "the shop");
    assert_eq!(two.get("/").await.text(), "the shop");
}

#[tokio::test]
async fn a_certificate_and_key_that_do_not_fit_keep_the_old_pair_until_they_do() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let renewed = edge.ca().issue(&["home.test", "*.home.test"]);
    edge.folder().replace("edge.crt", renewed.cert_pem());
    edge.logs("edge.").await;
    let facts = edge.client().handshake("shop.home.test").await.unwrap();
    assert_eq!(&facts.certificates[0], edge.identity().der(), "the old pair serves");
    edge.folder().replace("edge.key", renewed.key_pem());
    shown_in_the_end(&edge, &renewed).await;
}

#[tokio::test]
async fn a_reload_with_an_unfitting_pair_keeps_the_old_pair_and_takes_the_file() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let renewed = edge.ca().issue(&["home.test", "*.home.test"]);
    edge.folder().replace("edge.crt", renewed.cert_pem());
    edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nblog = \"{blog}\"")).reload().await.accepted();
    assert_eq!(edge.get("blog.home.test/").await.text(), "the blog");
    let facts = edge.client().handshake("shop.home.test").await.unwrap();
    assert_eq!(&facts.certificates[0], edge.identity().der());
}

#[tokio::test]
async fn sessions_are_resumed_across_a_reload() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client().tls13(), edge.client().tls12()] {
        assert!(!client.handshake("shop.home.test").await.unwrap().resumed);
        assert!(client.handshake("shop.home.test").await.unwrap().resumed);
        edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nblog = \"{blog}\"")).reload().await.accepted();
        assert!(client.handshake("shop.home.test").await.unwrap().resumed, "after a reload too");
        edge.write_routes(format!("[routes]\nshop = \"{shop}\"")).reload().await.accepted();
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_mixed_up_by_resumption() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::stopped();
    let elsewhere = TestCa::new("another");
    elsewhere.issue(&["www.example.com"]).write(edge.folder(), "other");
    edge.write(format!(
        "{FRONT}{DOORS}{CERT}[cert.other]\ncert = \"other.crt\"\nkey = \"other.key\"\n{TAIL}[routes]\nshop = \"{shop}\"\n\"www.example.com\" = \"{shop}\""
    ));
    edge.start(&[]).await;
    assert!(edge.client().handshake("www.example.com").await.is_err());
    assert!(edge.client().trusting(elsewhere.roots()).handshake("www.example.com").await.is_ok());
}

/// The root of the gateway's own authority, from its state folder.
fn local_ca(edge: &Gateway) -> RootCertStore {
    let pem = edge.folder().read("state/local-ca/ca.crt");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    roots
}

async fn shown_in_the_end(edge: &Gateway, identity: &Identity) {
    eventually("the new certificate in a handshake", async || {
        let facts = edge.client().trusting_anything().handshake("shop.home.test").await.ok()?;
        (&facts.certificates[0] == identity.der()).then_some(())
    })
    .await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop", "and the key fits");
}
