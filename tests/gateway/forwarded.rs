//! Who the client is, as the upstream is told.

use crate::harness::{CERT, Door, Echo, FRONT, Gateway, HOME, STRANGER, TAIL, Upstream};

/// Everything by which somebody may claim to be somebody else.
const CLAIMS: [&str; 14] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-forwarded-ssl",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x_forwarded_for",
    "x_real_ip",
];

#[tokio::test]
async fn the_upstream_learns_the_client_the_scheme_and_the_host() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for (client, scheme) in
        [(edge.client(), "https"), (edge.client().h2(), "https"), (edge.client().at(Door::Plain), "http")]
    {
        let echo = client.from([127, 0, 0, 44].into()).get("shop.home.test/").await.echo();
        assert_eq!(echo.header("x-forwarded-for"), "127.0.0.44");
        assert_eq!(echo.header("x-real-ip"), "127.0.0.44");
        assert_eq!(echo.header("x-forwarded-proto"), scheme);
        assert_eq!(echo.header("x-forwarded-host"), "shop.home.test");
        assert_eq!(echo.header("host"), "shop.home.test");
    }
}

#[tokio::test]
async fn the_host_is_forwarded_with_its_port() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let echo = edge.client().at(Door::Plain).get("shop.home.test:8081/").await.echo();
    assert_eq!(echo.header("host"), "shop.home.test:8081");
    assert_eq!(echo.header("x-forwarded-host"), "shop.home.test:8081");
}

#[tokio::test]
async fn nobodys_claims_are_believed_by_default() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2(), edge.client().at(Door::Plain)] {
        let mut ask = client.get("shop.home.test/");
        for name in CLAIMS {
            ask = ask.header(name, "203.0.113.9");
        }
        no_claim_got_through(&ask.await.echo());
    }
}

#[tokio::test]
async fn other_spellings_of_a_claim_are_dropped_too() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for name in [
        "X_Forwarded_For",
        "X-Forwarded_For",
        "x_forwarded-for",
        "X_Real_IP",
        "X_Client_IP",
        "True_Client_IP",
        "CF_Connecting_IP",
        "cf_connecting-ip",
        "X_Forwarded_Proto",
        "X_Forwarded_Anything",
        "FORWARDED",
        "X-FORWARDED-FOR",
    ] {
        edge.says(format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\n{name}: 203.0.113.9\r\n\r\n")).await;
    }
    assert_eq!(shop.recorded().len(), 12);
    for request in shop.recorded() {
        assert!(!request.contains("203.0.113.9"), "{request}");
    }
}

fn no_claim_got_through(echo: &Echo) {
    for name in echo.names() {
        let values = echo.all(&name);
        assert!(!values.iter().any(|v| v.contains("203.0.113.9")), "{name}: {values:?}");
    }
    assert_eq!(echo.header("x-forwarded-for"), HOME.to_string());
}

#[tokio::test]
async fn cloudflared_names_the_client() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"")).await;
    let tunnel = edge.client().at(Door::Tunnel);
    for address in ["203.0.113.9", "2001:db8::9"] {
        let ask = tunnel.get("shop.example.com/").header("cf-connecting-ip", address);
        let echo = ask.header("x-forwarded-for", "198.51.100.1").header("x-forwarded-proto", "http").await.echo();
        assert_eq!(echo.header("x-forwarded-for"), address);
        assert_eq!(echo.header("x-real-ip"), address);
        assert_eq!(echo.header("x-forwarded-proto"), "https", "cloudflared is reached over https only");
        assert_eq!(echo.header("x-forwarded-host"), "shop.example.com");
    }
}

#[tokio::test]
async fn without_exactly_one_valid_address_cloudflareds_client_is_unknown() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"\n[routes.shop.paths]\n\"/home/*\" = {{ allow = [\"home\", \"127.0.0.0/8\", \"0.0.0.0/0\", \"::/0\"] }}"
    ))
    .await;
    let tunnel = edge.client().at(Door::Tunnel);
    let claims: [&[&str]; 7] = [
        &[],
        &["203.0.113.9", "203.0.113.10"],
        &["203.0.113.9", "203.0.113.9"],
        &["203.0.113.9, 203.0.113.10"],
        &["not an address"],
        &[""],
        &["203.0.113.9:443"],
    ];
    for claim in claims {
        let with = |place: &str| {
            let asked = tunnel.get(place);
            claim.iter().fold(asked, |ask, address| ask.header("cf-connecting-ip", address))
        };
        let echo = with("shop.example.com/").await.echo();
        for name in ["x-forwarded-for", "x-real-ip"] {
            let told = echo.header(name);
            assert!(told.parse::<std::net::IpAddr>().is_err(), "{claim:?}: {name}: {told}");
        }
        // In no network but `anyone`, not even in one that holds every address.
        assert_eq!(with("shop.example.com/home/x").await.status, 403, "{claim:?}");
    }
}

#[tokio::test]
async fn who_comes_through_cloudflared_is_judged_by_the_address_it_names() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"\n[routes.shop.paths]\n\"/admin/*\" = {{ allow = [\"home\"] }}"
    ))
    .await;
    let tunnel = edge.client().at(Door::Tunnel);
    let visit = |address: &str| tunnel.get("shop.example.com/admin/x").header("cf-connecting-ip", address);
    assert_eq!(visit("203.0.113.9").await.status, 403);
    assert_eq!(visit("127.0.0.9").await.status, 200);
}

const TRUSTING: &str = r#"
[listen.main]
https = "ADDR:8443"
trust = ["127.0.0.7", "inner"]
[listen.plain]
http = "ADDR:8081"
trust = ["127.0.0.7", "inner"]
"#;

/// A gateway that believes 127.0.0.7 and the network `inner`.
async fn trusting(shop: &Upstream) -> Gateway {
    let front = FRONT.replace("[networks]", "[networks]\ninner = [\"10.9.0.0/16\"]\noffice = [\"203.0.113.0/24\"]");
    let paths = "[routes.shop.paths]\n\"/office/*\" = { allow = [\"office\"] }";
    Gateway::running(format!(
        "{front}{TRUSTING}{CERT}{TAIL}[routes.shop]\nto = \"{shop}\"\nallow = [\"anyone\"]\n{paths}"
    ))
    .await
}

#[tokio::test]
async fn of_a_trusted_list_the_rightmost_untrusted_address_is_the_client() {
    let shop = Upstream::echoing().await;
    let edge = trusting(&shop).await;
    for (listed, client) in [
        ("203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("198.51.100.1, 203.0.113.9, 10.9.1.1", "203.0.113.9"),
        ("198.51.100.1,203.0.113.9,10.9.1.1, 127.0.0.7", "203.0.113.9"),
        ("203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("2001:db8::5", "2001:db8::5"),
    ] {
        for door in [edge.client(), edge.client().h2(), edge.client().at(Door::Plain)] {
            let echo = door.get("shop.home.test/").header("x-forwarded-for", listed).await.echo();
            assert_eq!(echo.header("x-forwarded-for"), client, "{listed}");
            assert_eq!(echo.header("x-real-ip"), client, "{listed}");
        }
    }
}

#[tokio::test]
async fn several_lists_are_one_list() {
    let shop = Upstream::echoing().await;
    let edge = trusting(&shop).await;
    let ask =
        edge.get("shop.home.test/").header("x-forwarded-for", "198.51.100.1").header("x-forwarded-for", "203.0.113.9");
    assert_eq!(ask.await.echo().header("x-forwarded-for"), "203.0.113.9");
}

#[tokio::test]
async fn what_is_not_an_address_ends_the_belief() {
    let shop = Upstream::echoing().await;
    let edge = trusting(&shop).await;
    for listed in ["203.0.113.9, unknown", "203.0.113.9, _hidden", "203.0.113.9, ", "203.0.113.9,,10.9.1.1", "garbage"]
    {
        let asked = edge.get("shop.home.test/office/x").header("x-forwarded-for", listed).await;
        assert_eq!(asked.status, 403, "{listed}");
    }
}

#[tokio::test]
async fn a_trusted_gateway_names_the_scheme_and_others_do_not() {
    let shop = Upstream::echoing().await;
    let edge = trusting(&shop).await;
    let plain = edge.client().at(Door::Plain);
    let visit = |client: &crate::harness::Client| {
        client.get("shop.home.test/").header("x-forwarded-for", "203.0.113.9").header("x-forwarded-proto", "https")
    };
    assert_eq!(visit(&plain).await.echo().header("x-forwarded-proto"), "https");
    let somebody = plain.from(STRANGER);
    let echo = visit(&somebody).await.echo();
    assert_eq!(echo.header("x-forwarded-proto"), "http");
    assert_eq!(echo.header("x-forwarded-for"), STRANGER.to_string());
}

#[tokio::test]
async fn allow_is_judged_on_the_client_that_is_believed() {
    let shop = Upstream::echoing().await;
    let edge = trusting(&shop).await;
    let visit = |address: &str| edge.get("shop.home.test/office/x").header("x-forwarded-for", address);
    assert_eq!(visit("203.0.113.9").await.status, 200);
    assert_eq!(visit("198.51.100.1").await.status, 403);
    let somebody = edge.client().from(STRANGER);
    assert_eq!(somebody.get("shop.home.test/office/x").header("x-forwarded-for", "203.0.113.9").await.status, 403);
}

#[tokio::test]
async fn via_is_sent_and_added_to() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let via = edge.get("shop.home.test/").await.echo().all("via").join(", ");
    assert!(via.starts_with("1.1 "), "{via}");
    let two = edge.client().h2().get("shop.home.test/").await.echo().all("via").join(", ");
    assert!(two.starts_with("2 ") || two.starts_with("2.0 "), "{two}");
    let added = edge.get("shop.home.test/").header("via", "1.0 fred").await.echo().all("via").join(", ");
    assert_eq!(added, format!("1.0 fred, {via}"));
}

#[tokio::test]
async fn our_own_name_in_via_is_a_loop() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let via = edge.get("shop.home.test/").await.echo().all("via").join(", ");
    let before = shop.requests();
    for via in [via.clone(), format!("1.0 fred, {via}, 1.1 wilma")] {
        assert_eq!(edge.get("shop.home.test/").header("via", &via).await.refusal(), (508, "loop"), "{via}");
    }
    assert_eq!(shop.requests(), before);
}

#[tokio::test]
async fn a_route_that_leads_back_to_us_ends_in_one_turn() {
    let edge = Gateway::serving("[routes]\nloop = \"http://ADDR:8081\"").await;
    let answer = edge.get("loop.home.test/").await;
    assert_eq!(answer.status, 508, "{answer}");
}

#[tokio::test]
async fn via_can_be_left_out_for_an_upstream() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", via = false }}")).await;
    assert!(edge.get("shop.home.test/").await.echo().all("via").is_empty());
}

#[tokio::test]
async fn a_route_edits_header_fields_in_both_directions() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\nhsts = \"180d\"\nheaders = {{ request = {{ set = {{ \"X-New\" = \"a\", \"Referer\" = \"https://shop\" }}, remove = [\"X-Gone\"] }}, response = {{ set = {{ \"X-Frame-Options\" = \"DENY\" }}, remove = [\"Server\", \"X-Powered-By\"] }} }}"
    ))
    .await;
    for client in [edge.client(), edge.client().h2()] {
        let ask =
            client.get("shop.home.test/").header("x-gone", "1").header("referer", "http://evil").header("x-new", "b");
        let ask = ask.header("x-answer-server", "nginx").header("x-answer-x-powered-by", "php");
        let answer = ask.header("x-answer-x-frame-options", "ALLOWALL").await;
        let echo = answer.echo();
        assert_eq!(echo.header("x-new"), "a");
        assert_eq!(echo.header("referer"), "https://shop");
        assert_eq!(echo.header("x-gone"), "");
        assert_eq!(answer.headers.get_all("x-frame-options").iter().collect::<Vec<_>>(), ["DENY"]);
        assert!(!answer.has("server") && !answer.has("x-powered-by"), "{answer}");
        assert_eq!(answer.header("strict-transport-security"), "max-age=15552000");
    }
    let plain = edge.client().at(Door::Plain).get("shop.home.test/").await;
    assert!(!plain.has("strict-transport-security"), "RFC 6797 §7.2: not over cleartext");
}

#[tokio::test]
async fn a_route_may_set_the_host_that_its_upstream_sees() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\nheaders = {{ request = {{ set = {{ \"Host\" = \"inner.example\" }} }} }}"
    ))
    .await;
    let echo = edge.get("shop.home.test/").await.echo();
    assert_eq!(echo.header("host"), "inner.example");
    assert_eq!(echo.header("x-forwarded-host"), "shop.home.test");
}
