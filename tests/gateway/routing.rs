//! Which route answers, and who is told that there is none.

use crate::harness::{CERT, Door, FRONT, Gateway, STRANGER, TAIL, Upstream};

#[tokio::test]
async fn a_route_answers_for_its_name() {
    let (shop, blog) = (Upstream::answering("the shop").await, Upstream::answering("the blog").await);
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nblog = \"{blog}\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
    assert_eq!(edge.get("blog.home.test/").await.text(), "the blog");
    assert_eq!(edge.client().h2().get("blog.home.test/").await.text(), "the blog");
    assert_eq!(edge.client().at(Door::Plain).get("shop.home.test/").await.text(), "the shop");
}

#[tokio::test]
async fn case_port_and_trailing_dot_do_not_change_the_name() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for host in ["SHOP.home.Test", "shop.home.test:8081", "shop.home.test.", "Shop.home.TEST.:80", "shop.home.test:"] {
        let said = edge.says(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("the shop"), "{host}: {said}");
    }
}

#[tokio::test]
async fn an_upstream_is_named_once_and_used_by_many_routes() {
    let home = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[upstreams.home]\nto = \"{home}\"\n[routes]\nsonarr = \"home\"\nradarr = \"home\"\n[routes.nextcloud]\nto = \"home\""
    ))
    .await;
    for name in ["sonarr.home.test", "radarr.home.test", "nextcloud.home.test"] {
        assert_eq!(edge.get(name).await.echo().header("host"), name);
    }
}

#[tokio::test]
async fn an_exact_name_wins_over_a_wildcard_and_a_longer_wildcard_over_a_shorter() {
    let [any, wild, deep, exact] = [
        Upstream::answering("any").await,
        Upstream::answering("wild").await,
        Upstream::answering("deep").await,
        Upstream::answering("exact").await,
    ];
    let edge = Gateway::serving(format!(
        "[routes]\n\"*\" = \"{any}\"\n\"*.dev.home.test\" = \"{wild}\"\n\"*.eu.dev.home.test\" = \"{deep}\"\n\"a.dev.home.test\" = \"{exact}\""
    ))
    .await;
    let plain = edge.client().at(Door::Plain);
    for (host, answer) in [
        ("a.dev.home.test", "exact"),
        ("b.dev.home.test", "wild"),
        ("a.b.dev.home.test", "wild"),
        ("a.eu.dev.home.test", "deep"),
        ("eu.dev.home.test", "wild"),
        ("dev.home.test", "any"),
        ("elsewhere.example", "any"),
        ("notdev.home.test", "any"),
    ] {
        assert_eq!(plain.get(host).await.text(), answer, "{host}");
    }
}

#[tokio::test]
async fn a_catch_all_is_never_implied() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let plain = edge.client().at(Door::Plain);
    assert_eq!(plain.get("elsewhere.example").await.refusal(), (404, "no-route"));
    let address = edge.address().to_string();
    assert_eq!(plain.get(&address).await.refusal(), (404, "no-route"));
}

#[tokio::test]
async fn an_unknown_name_under_the_certificate_is_not_found() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    assert_eq!(edge.get("nothere.home.test/").await.refusal(), (404, "no-route"));
    assert_eq!(edge.client().h2().get("nothere.home.test/").await.refusal(), (404, "no-route"));
    assert_eq!(shop.connections(), 0);
}

#[tokio::test]
async fn a_name_that_the_served_certificate_does_not_cover_is_misdirected() {
    let [shop, any] = [Upstream::answering("the shop").await, Upstream::answering("any").await];
    // Not even with a route for every name: 421 does not give way to "*".
    let edge =
        Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n\"other.example\" = \"{shop}\"\n\"*\" = \"{any}\""))
            .await;
    for client in [edge.client(), edge.client().h2()] {
        let mut open = client.connect("shop.home.test").await;
        assert_eq!(open.get("/").await.text(), "the shop");
        assert_eq!(open.get("/").host("other.example").await.refusal(), (421, "misdirected"));
        assert_eq!(open.get("/").host("elsewhere.example").await.refusal(), (421, "misdirected"));
        assert_eq!(open.get("/").await.text(), "the shop", "the connection goes on");
    }
}

#[tokio::test]
async fn the_server_name_of_the_handshake_chooses_no_route() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nblog = \"{blog}\"")).await;
    let named = edge.client().naming("shop.home.test");
    assert_eq!(named.get("blog.home.test/").await.text(), "the blog");
}

#[tokio::test]
async fn the_server_name_of_the_handshake_grants_no_access() {
    let shop = Upstream::answering("the shop").await;
    let edge =
        Gateway::serving(format!("[routes]\nopen = {{ to = \"{shop}\", allow = [\"anyone\"] }}\nclosed = \"{shop}\""))
            .await;
    let stranger = edge.client().from(STRANGER).naming("open.home.test");
    assert_eq!(stranger.get("open.home.test/").await.text(), "the shop");
    assert_eq!(stranger.get("closed.home.test/").await.status, 403);
}

#[tokio::test]
async fn one_http2_connection_serves_every_name_that_its_certificate_covers() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nblog = \"{blog}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    assert_eq!(open.get("/").await.text(), "the shop");
    assert_eq!(open.get("/").host("blog.home.test").await.text(), "the blog");
}

#[tokio::test]
async fn a_client_that_names_nobody_gets_the_default_certificate() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let silent = edge.client().naming_nobody();
    assert_eq!(silent.get("shop.home.test/").await.text(), "the shop");
    let facts = silent.handshake("shop.home.test").await.unwrap();
    assert_eq!(&facts.certificates[0], edge.identity().der());
}

#[tokio::test]
async fn a_trusted_gateway_in_front_may_name_us_by_sni_and_keep_the_clients_host() {
    let cloud = Upstream::echoing().await;
    let doors = "[listen.edge]\nhttps = \"ADDR:8443\"\ntrust = [\"127.0.0.7\"]\nallow = [\"anyone\"]\n";
    let file = format!("{FRONT}{doors}{CERT}{TAIL}[routes]\n\"nextcloud.example.com\" = \"{cloud}\"");
    let edge = Gateway::running(file).await;
    let front = edge.client().naming("nextcloud.home.test");
    let echo = front.get("nextcloud.example.com/").await.echo();
    assert_eq!(echo.header("host"), "nextcloud.example.com");
    let somebody = front.from([127, 0, 0, 8].into());
    assert_eq!(somebody.get("nextcloud.example.com/").await.status, 421);
}

#[tokio::test]
async fn public_names_exist_only_on_doors_that_say_so_and_local_names_only_on_the_others() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"")).await;
    let (tunnel, plain) = (edge.client().at(Door::Tunnel), edge.client().at(Door::Plain));
    assert_eq!(tunnel.get("shop.example.com/").await.text(), "the shop");
    assert_eq!(plain.get("shop.home.test/").await.text(), "the shop");
    assert_eq!(tunnel.get("shop.home.test/").await.status, 404);
    assert_eq!(plain.get("shop.example.com/").await.status, 404);
}

#[tokio::test]
async fn a_route_may_have_several_public_names() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npublic = [\"shop.example.com\", \"www.example.org\"]"
    ))
    .await;
    let tunnel = edge.client().at(Door::Tunnel);
    assert_eq!(tunnel.get("shop.example.com/").await.text(), "the shop");
    assert_eq!(tunnel.get("www.example.org/").await.text(), "the shop");
}

#[tokio::test]
async fn catch_all_and_wildcards_never_answer_on_a_public_door() {
    let any = Upstream::answering("any").await;
    let edge = Gateway::serving(format!("[routes]\n\"*\" = \"{any}\"\n\"*.example.com\" = \"{any}\"")).await;
    let tunnel = edge.client().at(Door::Tunnel);
    for host in ["a.example.com", "elsewhere.example", "shop.home.test"] {
        assert_eq!(tunnel.get(host).await.status, 404, "{host}");
    }
    assert_eq!(any.connections(), 0);
}

#[tokio::test]
async fn who_is_not_admitted_cannot_tell_which_names_exist() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\n\"other.example\" = \"{shop}\"")).await;
    for stranger in [edge.client().from(STRANGER), edge.client().from(STRANGER).h2()] {
        let [known, unknown] = [stranger.get("shop.home.test/x").await, stranger.get("nothere.home.test/x").await];
        assert_eq!(known.refusal(), (403, "denied"));
        assert_eq!(unknown.refusal(), known.refusal());
        let names = |a: &crate::harness::Answer| a.headers.keys().map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&unknown), names(&known), "the same fields");
        assert_eq!(unknown.body.len(), known.body.len(), "the same page");
        // The certificate does not cover this one; who is not admitted does not learn that a route has it.
        let mut open = stranger.connect("shop.home.test").await;
        assert_eq!(open.get("/").host("other.example").await.refusal(), known.refusal());
    }
    let plain = edge.client().at(Door::Plain).from(STRANGER);
    assert_eq!(plain.get("shop.home.test/").await.status, 403);
    assert_eq!(plain.get("nothere.home.test/").await.status, 403);
}

#[tokio::test]
async fn who_is_admitted_by_one_route_only_finds_nothing_else() {
    let shop = Upstream::answering("the shop").await;
    let edge =
        Gateway::serving(format!("[routes]\nopen = {{ to = \"{shop}\", allow = [\"anyone\"] }}\nclosed = \"{shop}\""))
            .await;
    let stranger = edge.client().from(STRANGER);
    assert_eq!(stranger.get("open.home.test/").await.text(), "the shop");
    assert_eq!(stranger.get("closed.home.test/").await.status, 403);
    assert_eq!(stranger.get("nothere.home.test/").await.status, 403);
}

#[tokio::test]
async fn the_redirecting_door_answers_308_to_https_and_nothing_else() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let door = edge.client().at(Door::Redirect);
    for method in ["GET", "POST"] {
        let answer = door.request(method, "shop.home.test/a%2Fb//c;d?e=f&g").await;
        assert_eq!(answer.status, 308, "{answer}");
        let location = answer.header("location");
        assert!(location.starts_with("https://shop.home.test"), "{location}");
        assert!(location.ends_with("/a%2Fb//c;d?e=f&g"), "{location}");
    }
    assert_eq!(
        door.clone().from(STRANGER).get("shop.home.test/").await.status,
        403,
        "who may not enter is told nothing"
    );
    assert_eq!(shop.connections(), 0);
}

#[tokio::test]
async fn the_redirect_leads_to_the_doors_own_port() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let answer = edge.client().at(Door::Redirect).get("shop.home.test:8080/x").await;
    assert_eq!(answer.header("location"), "https://shop.home.test:8443/x");
}
