//! What a path leads to.

use crate::harness::{Door, Gateway, Upstream};

#[tokio::test]
async fn exact_and_prefix_rules_and_the_longest_wins() {
    let [main, api, deep, exact] = [
        Upstream::answering("main").await,
        Upstream::answering("api").await,
        Upstream::answering("deep").await,
        Upstream::answering("exact").await,
    ];
    let edge = Gateway::serving(format!(
        "[upstreams.deep]\nto = \"{deep}\"\n[routes.shop]\nto = \"{main}\"\n[routes.shop.paths]\n\"/api/*\" = \"{api}\"\n\"/api/v2/*\" = \"deep\"\n\"/api/v2/x\" = {{ to = \"{exact}\" }}"
    ))
    .await;
    for (path, answer) in [
        ("/", "main"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/apis", "main"),
        ("/API/x", "main"),
        ("/api/v2", "deep"),
        ("/api/v2/y", "deep"),
        ("/api/v2/x", "exact"),
        ("/api/v2/x/y", "deep"),
        ("/api/v20", "api"),
        ("/api/x?/api/v2/x", "api"),
        ("//api//v2/y", "deep"),
        ("/x/../api/v2/y", "deep"),
        ("/%61pi/x", "api"),
    ] {
        let said = edge.says(format!("GET {path} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
        assert!(said.ends_with(&format!("\r\n\r\n{answer}")), "{path}: {said}");
    }
}

#[tokio::test]
async fn strip_takes_the_matched_part_away_and_nothing_else() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/api/*\" = {{ strip = true }}"
    ))
    .await;
    for (path, forwarded) in [
        ("/api/x", "/x"),
        ("/api/x%2Fy;z//a?b=/api/c", "/x%2Fy;z//a?b=/api/c"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?q", "/?q"),
        ("/other/api/x", "/other/api/x"),
    ] {
        edge.says(format!("GET {path} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
        let line = shop.recorded().pop().unwrap().lines().next().unwrap_or_default().to_owned();
        assert_eq!(line, format!("GET {forwarded} HTTP/1.1"), "{path}");
    }
}

#[tokio::test]
async fn a_stripped_path_never_becomes_another_host() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/api/*\" = {{ strip = true }}"
    ))
    .await;
    for path in ["/api//evil.example/x", "//api/x", "/x/../api/y", "/%61pi/y", "/api%2Fy"] {
        edge.says(format!("GET {path} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
    }
    for request in shop.recorded() {
        assert!(request.starts_with("GET /"), "{request}");
        assert!(
            request.contains("\r\nhost: shop.home.test\r\n") || request.contains("\r\nHost: shop.home.test\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_path_redirects() {
    let shop = Upstream::answering("main").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/.well-known/carddav\" = {{ redirect = \"/remote.php/dav/\", status = 301 }}\n\"/old\" = {{ redirect = \"https://elsewhere.example/new\" }}\n\"/kept\" = {{ redirect = \"/k\", status = 308 }}"
    ))
    .await;
    for client in [edge.client(), edge.client().h2(), edge.client().at(Door::Plain)] {
        for (path, status, location) in [
            ("/.well-known/carddav", 301, "/remote.php/dav/"),
            ("/old", 302, "https://elsewhere.example/new"),
            ("/kept", 308, "/k"),
        ] {
            for method in ["GET", "PROPFIND", "HEAD"] {
                let answer = client.request(method, &format!("shop.home.test{path}")).await;
                assert_eq!((answer.status, answer.header("location")), (status, location), "{method} {path}");
            }
        }
    }
    assert_eq!(shop.connections(), 0);
}

#[tokio::test]
async fn a_path_answers_with_json_or_text() {
    let shop = Upstream::answering("main").await;
    let edge = Gateway::serving(format!(
        "[routes.matrix]\nto = \"{shop}\"\n[routes.matrix.paths]\n\"/.well-known/matrix/server\" = {{ json = '{{\"m.server\":\"matrix.example.com:443\"}}' }}\n\"/.well-known/matrix/client\" = {{ json = '{{\"a\":1}}', cors = true }}\n\"/robots.txt\" = {{ text = \"User-agent: *\\nDisallow: /\\n\" }}\n\"/gone\" = {{ text = \"gone\", status = 410 }}"
    ))
    .await;
    for client in [edge.client(), edge.client().h2()] {
        let server = client.get("matrix.home.test/.well-known/matrix/server").await;
        assert_eq!((server.status, server.text()), (200, "{\"m.server\":\"matrix.example.com:443\"}"));
        assert!(server.header("content-type").starts_with("application/json"), "{server}");
        assert!(!server.has("access-control-allow-origin"));
        let for_pages =
            client.get("matrix.home.test/.well-known/matrix/client").header("origin", "https://x.example").await;
        assert_eq!(for_pages.header("access-control-allow-origin"), "*");
        let robots = client.get("matrix.home.test/robots.txt").await;
        assert_eq!(robots.text(), "User-agent: *\nDisallow: /\n");
        assert!(robots.header("content-type").starts_with("text/plain"), "{robots}");
        let gone = client.get("matrix.home.test/gone?x=y").await;
        assert_eq!((gone.status, gone.text()), (410, "gone"));
        assert!(!gone.has("x-doorward-error"), "an answer of the file is no refusal");
        let head = client.request("HEAD", "matrix.home.test/robots.txt").await;
        assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "26", 0));
    }
    assert_eq!(shop.connections(), 0);
}

#[tokio::test]
async fn a_route_of_paths_alone_knows_no_other_path() {
    let api = Upstream::answering("api").await;
    let edge =
        Gateway::serving(format!("[routes.shop.paths]\n\"/api/*\" = \"{api}\"\n\"/hello\" = {{ text = \"hello\" }}"))
            .await;
    assert_eq!(edge.get("shop.home.test/api/x").await.text(), "api");
    assert_eq!(edge.get("shop.home.test/hello").await.text(), "hello");
    assert_eq!(edge.get("shop.home.test/other").await.status, 404);
}

#[tokio::test]
async fn a_rule_for_the_root_covers_everything() {
    let [main, all] = [Upstream::answering("main").await, Upstream::answering("all").await];
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{main}\"\n[routes.shop.paths]\n\"/*\" = \"{all}\"\n\"/x\" = {{ text = \"x\" }}"
    ))
    .await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "all");
    assert_eq!(edge.get("shop.home.test/y/z").await.text(), "all");
    assert_eq!(edge.get("shop.home.test/x").await.text(), "x");
}

#[tokio::test]
async fn the_path_is_forwarded_byte_for_byte() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/hello\" = {{ text = \"hello\" }}"
    ))
    .await;
    for target in [
        "/a%2Fb",
        "/a%2fb",
        "//a///b",
        "/a;b=c/d;e",
        "/a/./b/../c",
        "/%7Euser/~user",
        "/a+b%20c",
        "/?",
        "/?a=%2F&b=?&c=//",
        "/a|b{c}",
        "/%E2%9C%93",
        "/a:b@c!$&'()*,=",
    ] {
        let said = edge.says(format!("GET {target} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{target}: {said}");
        let line = shop.recorded().pop().unwrap().lines().next().unwrap_or_default().to_owned();
        assert_eq!(line, format!("GET {target} HTTP/1.1"));
    }
}

#[tokio::test]
async fn options_for_the_whole_server_passes() {
    let shop = Upstream::recording("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let said = edge.says("OPTIONS * HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(shop.recorded()[0].starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", shop.recorded()[0]);
}
