//! How the server behind is identified before anything is sent to it.

use crate::harness::{Gateway, Identity, TestCa, Upstream};

/// Writes the authority's root into a stopped gateway's folder, then serves these routes.
async fn gateway_with(ca: &TestCa, routes: String) -> Gateway {
    let mut edge = Gateway::stopped();
    edge.folder().replace("inner.pem", ca.pem());
    edge.write_routes(routes);
    edge.start(&[]).await;
    edge
}

#[tokio::test]
async fn a_server_is_verified_against_the_given_authority_under_the_routes_local_name() {
    let ca = TestCa::new("inner");
    let shop = Upstream::echoing_tls(&ca.issue(&["shop.home.test"])).await;
    let edge =
        gateway_with(&ca, format!("[routes.shop]\nto = \"{shop}\"\nca = \"inner.pem\"\npublic = \"www.example.com\""))
            .await;
    for client in [edge.client(), edge.client().h2()] {
        let echo = client.get("shop.home.test/x").await.echo();
        assert_eq!((echo.header("host").as_str(), echo.target()), ("shop.home.test", "/x"));
    }
    // The public name is what the application sees; the local name is what is verified.
    let public = edge.client().at(crate::harness::Door::Tunnel).get("www.example.com/").await;
    assert_eq!(public.echo().header("host"), "www.example.com");
    assert!(shop.names().iter().all(|name| name == "shop.home.test"), "{:?}", shop.names());
}

#[tokio::test]
async fn routes_that_share_an_upstream_each_send_their_own_name() {
    let ca = TestCa::new("inner");
    let home = Upstream::echoing_tls(&ca.issue(&["*.home.test"])).await;
    let edge = gateway_with(
        &ca,
        format!(
            "[upstreams.home]\nto = \"{home}\"\nca = \"inner.pem\"\n[routes]\nsonarr = \"home\"\nradarr = \"home\""
        ),
    )
    .await;
    assert_eq!(edge.get("sonarr.home.test/").await.status, 200);
    assert_eq!(edge.get("radarr.home.test/").await.status, 200);
    let mut names = home.names();
    names.sort();
    names.dedup();
    assert_eq!(names, ["radarr.home.test", "sonarr.home.test"], "a connection for one name is not used for another");
}

#[tokio::test]
async fn another_name_can_be_sent_and_verified() {
    let ca = TestCa::new("inner");
    let shop = Upstream::echoing_tls(&ca.issue(&["inner.example"])).await;
    let edge =
        gateway_with(&ca, format!("[routes.shop]\nto = \"{shop}\"\nca = \"inner.pem\"\ntls_name = \"inner.example\""))
            .await;
    assert_eq!(edge.get("shop.home.test/").await.echo().header("host"), "shop.home.test");
    assert_eq!(shop.names(), ["inner.example"]);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = TestCa::new("inner");
    let shop = Upstream::echoing_tls(&ca.issue(&["other.home.test"])).await;
    let edge = gateway_with(&ca, format!("[routes.shop]\nto = \"{shop}\"\nca = \"inner.pem\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-certificate"));
    assert_eq!(shop.requests(), 0, "nothing was sent");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (ca, other) = (TestCa::new("inner"), TestCa::new("other"));
    let shop = Upstream::echoing_tls(&other.issue(&["shop.home.test"])).await;
    let edge = gateway_with(&ca, format!("[routes.shop]\nto = \"{shop}\"\nca = \"inner.pem\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-certificate"));
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn without_a_word_the_systems_roots_decide() {
    let ca = TestCa::new("inner");
    let shop = Upstream::echoing_tls(&ca.issue(&["shop.home.test"])).await;
    let edge = gateway_with(&ca, format!("[routes]\nshop = \"{shop}\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-certificate"));
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn an_authority_that_cannot_be_read_never_means_any_authority() {
    let ca = TestCa::new("inner");
    let shop = Upstream::echoing_tls(&ca.issue(&["shop.home.test"])).await;
    let [blog, other] = [Upstream::answering("the blog").await, Upstream::answering("other").await];
    let edge = Gateway::serving(format!("[routes]\nblog = \"{blog}\"")).await;
    for broken in ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        edge.folder().replace("inner.pem", broken);
        edge.write_routes(format!(
            "[routes]\nblog = \"{other}\"\n[routes.shop]\nto = \"{shop}\"\nca = \"inner.pem\"\n"
        ));
        edge.reload().await;
        assert_ne!(edge.get("shop.home.test/").await.status, 200, "{broken:?}");
        assert_eq!(edge.get("blog.home.test/").await.status, 200);
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn a_pinned_certificate_needs_no_authority_and_no_name() {
    let identity = Identity::self_signed("unifi");
    let shop = Upstream::echoing_tls(&identity).await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npin = \"{}\"", identity.pin())).await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    assert_eq!(shop.names(), ["shop.home.test"], "the name is sent all the same");
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused() {
    let [pinned, shown] = [Identity::self_signed("unifi"), Identity::self_signed("unifi")];
    let shop = Upstream::echoing_tls(&shown).await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npin = \"{}\"", pinned.pin())).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "tls-pin-mismatch"));
    assert_eq!(shop.requests(), 0);
    let record = edge.record_of("/").await;
    assert_eq!(record["cause"], "tls-pin-mismatch");
}

#[tokio::test]
async fn an_all_zero_pin_never_matches() {
    let shop = Upstream::echoing_tls(&Identity::self_signed("unifi")).await;
    let zero = "0".repeat(64);
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npin = \"sha256:{zero}\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "tls-pin-mismatch"));
}

#[tokio::test]
async fn who_has_copied_the_certificate_but_not_its_key_is_refused() {
    let [real, thief] = [Identity::self_signed("unifi"), Identity::self_signed("unifi")];
    let shop = Upstream::echoing_tls(&real.with_key_of(&thief)).await;
    let edge = Gateway::serving(format!(
        "[routes.pinned]\nto = \"{shop}\"\npin = \"{}\"\n[routes.blind]\nto = \"{shop}\"\nverify = false",
        real.pin()
    ))
    .await;
    for name in ["pinned.home.test/", "blind.home.test/"] {
        let answer = edge.get(name).await;
        assert_eq!(answer.status, 502, "{name}: {answer}");
        assert!(["upstream-tls", "upstream-certificate"].contains(&answer.cause()), "{answer}");
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn verification_can_be_switched_off_and_nags() {
    let shop = Upstream::echoing_tls(&Identity::self_signed("anybody")).await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\nverify = false")).await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    edge.logs("verify = false").await;
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_refused() {
    let shop = Upstream::answering("cleartext").await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{}\"\nverify = false", shop.url("https"))).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-tls"));
}

#[tokio::test]
async fn cleartext_before_the_handshake_is_not_taken_for_an_answer() {
    let identity = Identity::self_signed("unifi");
    let shop = Upstream::acting(|mut peer| async move {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged").await;
        peer.until_closed().await;
    })
    .await;
    let edge =
        Gateway::serving(format!("[routes.shop]\nto = \"{}\"\npin = \"{}\"", shop.url("https"), identity.pin())).await;
    assert_eq!(edge.get("shop.home.test/").await.status, 502);
}

#[tokio::test]
async fn connections_to_a_tls_server_are_kept() {
    let ca = TestCa::new("inner");
    let shop = Upstream::echoing_tls(&ca.issue(&["shop.home.test"])).await;
    let edge = gateway_with(&ca, format!("[routes.shop]\nto = \"{shop}\"\nca = \"inner.pem\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..5 {
        assert_eq!(open.get("/").await.status, 200);
    }
    assert_eq!(shop.connections(), 1);
}

#[tokio::test]
async fn a_changed_pin_does_not_inherit_connections_of_the_old_one() {
    let identity = Identity::self_signed("unifi");
    let shop = Upstream::echoing_tls(&identity).await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npin = \"{}\"", identity.pin())).await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    let other = Identity::self_signed("unifi").pin();
    edge.write_routes(format!("[routes.shop]\nto = \"{shop}\"\npin = \"{other}\"")).reload().await.accepted();
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "tls-pin-mismatch"));
}

#[tokio::test]
async fn large_bodies_pass_through_tls_on_both_sides() {
    let identity = Identity::self_signed("nas");
    let shop = Upstream::echoing_tls(&identity).await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npin = \"{}\"", identity.pin())).await;
    for client in [edge.client(), edge.client().h2()] {
        let echo = client.request("PUT", "shop.home.test/film").generated(20_000_000, true).await.echo();
        assert!(echo.length() == 20_000_000 && echo.is_generated());
    }
}
