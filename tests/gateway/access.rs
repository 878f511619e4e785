//! Who may enter.

use std::net::{Ipv4Addr, TcpListener};

use crate::harness::{CERT, Door, FRONT, GUEST, Gateway, HOME, STRANGER, TAIL, Upstream};

#[tokio::test]
async fn who_is_not_named_stays_outside() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2(), edge.client().at(Door::Plain)] {
        assert_eq!(client.get("shop.home.test/").await.text(), "the shop");
        assert_eq!(client.clone().from(GUEST).get("shop.home.test/").await.refusal(), (403, "access-denied"));
        assert_eq!(client.clone().from(STRANGER).get("shop.home.test/").await.refusal(), (403, "denied"));
    }
}

#[tokio::test]
async fn the_narrowest_place_decides_path_before_route_before_door_before_file() {
    let shop = Upstream::answering("in").await;
    let [by_file, by_door, by_route, by_path] = [
        Ipv4Addr::new(127, 0, 0, 1),
        Ipv4Addr::new(127, 0, 0, 2),
        Ipv4Addr::new(127, 0, 0, 3),
        Ipv4Addr::new(127, 0, 0, 4),
    ];
    let tail = TAIL.replace("[log]", "allow = [\"anyone\"]\n[log]");
    let edge = Gateway::running(format!(
        "domain = \"home.test\"\nallow = [\"{by_file}\"]\n[listen.plain]\nhttp = \"ADDR:8081\"\n\
         [listen.other]\nhttp = \"ADDR:8082\"\nallow = [\"{by_door}\"]\n{tail}\
         [routes]\nbare = \"{shop}\"\n[routes.shop]\nto = \"{shop}\"\nallow = [\"{by_route}\"]\n\
         [routes.shop.paths]\n\"/p/*\" = {{ allow = [\"{by_path}\"] }}"
    ))
    .await;
    let (plain, other) = (edge.client().at(Door::Plain), edge.client().at(Door::Tunnel));
    for (client, place, admitted) in [
        (&plain, "bare.home.test/", by_file),
        (&other, "bare.home.test/", by_door),
        (&plain, "shop.home.test/", by_route),
        (&other, "shop.home.test/", by_route),
        (&plain, "shop.home.test/p/x", by_path),
        (&other, "shop.home.test/p", by_path),
    ] {
        for source in [by_file, by_door, by_route, by_path] {
            let status = client.clone().from(source).get(place).await.status;
            assert_eq!(status, if source == admitted { 200 } else { 403 }, "{place} from {source}");
        }
    }
}

#[tokio::test]
async fn an_empty_list_admits_nobody() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!(
        "[routes]\nclosed = {{ to = \"{shop}\", allow = [] }}\nopen = {{ to = \"{shop}\", allow = [\"anyone\"] }}"
    ))
    .await;
    assert_eq!(edge.get("closed.home.test/").await.status, 403);
    assert_eq!(edge.get("open.home.test/").await.status, 200);
}

#[tokio::test]
async fn without_any_allow_nobody_is_admitted() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::running(format!(
        "domain = \"home.test\"\n[listen.plain]\nhttp = \"ADDR:8081\"\n[metrics]\nlisten = \"ADDR:9180\"\nallow = [\"anyone\"]\n[log]\naccess = \"json\"\n[routes]\nshop = \"{shop}\""
    ))
    .await;
    assert_eq!(edge.client().at(Door::Plain).get("shop.home.test/").await.status, 403);
    edge.logs("who may enter").await;
}

#[tokio::test]
async fn addresses_and_blocks_are_named_like_networks() {
    let shop = Upstream::answering("in").await;
    let edge = Gateway::serving(format!(
        "[routes]\nshop = {{ to = \"{shop}\", allow = [\"127.0.9.7\", \"127.0.4.0/30\", \"guest\"] }}"
    ))
    .await;
    for (source, status) in [
        ([127, 0, 9, 7], 200),
        ([127, 0, 9, 8], 403),
        ([127, 0, 4, 3], 200),
        ([127, 0, 4, 4], 403),
        ([127, 0, 1, 200], 200),
        ([127, 0, 0, 7], 403),
    ] {
        assert_eq!(edge.client().from(source.into()).get("shop.home.test/").await.status, status, "{source:?}");
    }
}

#[tokio::test]
async fn ipv4_on_a_dual_stack_door_is_ipv4() {
    let shop = Upstream::echoing().await;
    let port = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let edge =
        Gateway::running(format!("{FRONT}[listen.main]\nhttps = \":{port}\"\n{CERT}{TAIL}[routes]\nshop = \"{shop}\""))
            .await;
    let client = edge.client().port(port, true);
    let echo = client.get("shop.home.test/home").await.echo();
    assert_eq!(echo.header("x-forwarded-for"), HOME.to_string());
    assert_eq!(client.from(STRANGER).get("shop.home.test/").await.status, 403);
    let record = edge.record_of("/home").await;
    assert_eq!((&record["client"], &record["peer"]), (&HOME.to_string().into(), &HOME.to_string().into()));
}

#[tokio::test]
async fn peers_outside_the_list_are_not_even_heard() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::running(format!(
        "{FRONT}[listen.main]\nhttps = \"ADDR:8443\"\npeers = [\"home\"]\nallow = [\"anyone\"]\n\
         [listen.plain]\nhttp = \"ADDR:8081\"\npeers = [\"home\"]\nallow = [\"anyone\"]\n{CERT}{TAIL}[routes]\nshop = \"{shop}\""
    ))
    .await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
    assert!(edge.client().from(STRANGER).handshake("shop.home.test").await.is_err());
    let mut raw = edge.client().at(Door::Plain).from(STRANGER).raw("unnamed").await;
    let _ = raw.try_send("GET / HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert_eq!(raw.rest().await, "");
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
}

/// A gateway whose `shop` is open to everybody, but for `/admin/*` and `/one`.
async fn partly_closed(shop: &Upstream) -> Gateway {
    Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\nallow = [\"anyone\"]\n[routes.shop.paths]\n\"/admin/*\" = {{ allow = [\"home\"] }}\n\"/one\" = {{ allow = [\"home\"] }}"
    ))
    .await
}

async fn asks(edge: &Gateway, source: Ipv4Addr, target: &str) -> String {
    let mut raw = edge.client().at(Door::Plain).from(source).raw("unnamed").await;
    raw.send(format!("GET {target} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
    raw.answer().await
}

#[tokio::test]
async fn a_closed_path_is_closed_in_every_spelling() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = partly_closed(&shop).await;
    for target in [
        "/admin",
        "/admin/",
        "/admin/x",
        "//admin/x",
        "/./admin/x",
        "/x/../admin/x",
        "/x/y/../../admin",
        "/%61dmin/x",
        "/%61%64%6d%69%6e",
        "/admin%2fx",
        "/admin%2Fx",
        "/%2Fadmin/x",
        "/\\admin/x",
        "/admin\\x",
        "/admin%5cx",
        "/admin;a=b/x",
        "/admin;/x",
        "/;x/admin",
        "/%2e/admin/x",
        "/x/%2e%2e/admin/x",
        "/x/.%2E/admin/x",
        "/x%2f..%2fadmin/x",
        "/x/..;/admin/x",
        "/admin/../public",
        "/admin/x?y=/public",
        "/one",
        "//one",
        "/o%6ee",
        "/one;v=1",
        "/x/../one",
        // What we take for another path, and a server that resolves, strips or splits otherwise takes for the closed one.
        "/%61dmin/../x",
        "/%61dmin/..;/x",
        "/%61dmin/..;a=b/x",
        "/%61dmin/%2e%2e/x",
        "/%61dmin/x%5c..%5c..%5c",
        "/%61dmin/x\\..\\..\\",
        "//admin/..;/x",
        "/;a/admin/..;/x",
    ] {
        let said = asks(&edge, STRANGER, target).await;
        assert!(said.starts_with("HTTP/1.1 403") || said.starts_with("HTTP/1.1 400"), "{target}: {said}");
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn what_is_not_closed_stays_open_in_every_spelling() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = partly_closed(&shop).await;
    for target in
        ["/", "/administrator", "/ADMIN", "/x/admin", "/one/two", "/x%2Fy", "/a//b", "/a;b", "/%C3%A9", "/x?p=/admin"]
    {
        let said = asks(&edge, STRANGER, target).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{target}: {said}");
        let line = shop.recorded().pop().unwrap().lines().next().unwrap_or_default().to_owned();
        assert_eq!(line, format!("GET {target} HTTP/1.1"), "byte for byte");
    }
}

#[tokio::test]
async fn a_path_that_can_be_decoded_twice_is_refused_where_access_depends_on_it() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = partly_closed(&shop).await;
    for target in ["/%252e%252e/admin", "/x/%252e%252e/admin", "/admin%252fx", "/x%252Fy", "/%zz", "/x%", "/x%2", "/%2"]
    {
        for source in [HOME, STRANGER] {
            let said = asks(&edge, source, target).await;
            assert!(said.starts_with("HTTP/1.1 400"), "{target}: {said}");
        }
        assert!(asks(&edge, HOME, target).await.contains("x-doorward-error: bad-path"), "{target}");
    }
    assert_eq!(shop.requests(), 0);
}

#[tokio::test]
async fn a_route_without_closed_paths_forwards_any_spelling() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for target in ["/%252e%252e/x", "/%zz", "/a/../b", "/a/./b", "//a//b", "/a%2Fb%5C", "/;;", "/%"] {
        let said = asks(&edge, HOME, target).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{target}: {said}");
        let line = shop.recorded().pop().unwrap().lines().next().unwrap_or_default().to_owned();
        assert_eq!(line, format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn an_open_path_does_not_open_what_can_be_reached_through_it() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/open/*\" = {{ allow = [\"anyone\"] }}"
    ))
    .await;
    assert!(asks(&edge, STRANGER, "/open/x").await.starts_with("HTTP/1.1 200"));
    let before = shop.requests();
    for target in [
        "/open/../secret",
        "/open/%2e%2e/secret",
        "/open/..%2fsecret",
        "/open/..;/secret",
        "/open/..\\secret",
        // Whoever does not resolve dots, or not these, reads a secret here.
        "/secret/../open/x",
        "/secret/..;/open/x",
        "/secret/%2e%2e/open/x",
        "/secret/..%2fopen/x",
        "/secret%2f..%2fopen/x",
        "/secret\\..\\open/x",
        "/secret/x/..;/..;/open",
    ] {
        let said = asks(&edge, STRANGER, target).await;
        assert!(said.starts_with("HTTP/1.1 403") || said.starts_with("HTTP/1.1 400"), "{target}: {said}");
    }
    assert_eq!(shop.requests(), before);
}

#[tokio::test]
async fn closed_paths_are_closed_for_every_method_and_over_http2() {
    let shop = Upstream::answering("in").await;
    let edge = partly_closed(&shop).await;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        for client in [edge.client(), edge.client().h2()] {
            assert_eq!(client.from(STRANGER).request(method, "shop.home.test/admin/x").await.status, 403, "{method}");
        }
    }
}

#[tokio::test]
async fn path_answers_are_for_those_who_may_enter() {
    let shop = Upstream::answering("in").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/said\" = {{ text = \"secret\" }}\n\"/moved\" = {{ redirect = \"/elsewhere\" }}\n\"/open\" = {{ text = \"open\", allow = [\"anyone\"] }}"
    ))
    .await;
    let stranger = edge.client().from(STRANGER);
    assert_eq!(stranger.get("shop.home.test/said").await.status, 403);
    assert_eq!(stranger.get("shop.home.test/moved").await.status, 403);
    assert_eq!(stranger.get("shop.home.test/open").await.text(), "open");
}
