//! `limit` and `in_flight`: how much one client may ask of one route, and that nobody else feels it.

use crate::harness::{Door, GUEST, Gateway, STRANGER, Upstream, eventually, full};

#[tokio::test]
async fn who_asks_more_than_the_limit_is_told_so_and_nobody_else_feels_it() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes]\nshop = {{ to = \"{shop}\", limit = \"5/h\", allow = [\"anyone\"] }}\nmusic = \"{shop}\""
    ))
    .await;
    for n in 0..5 {
        let client = if n % 2 == 0 { edge.client() } else { edge.client().h2() };
        assert_eq!(client.get("shop.home.test/").await.status, 200, "{n}");
    }
    for client in [edge.client(), edge.client().h2(), edge.client().at(Door::Plain)] {
        let refused = client.get("shop.home.test/over").await;
        assert_eq!(refused.refusal(), (429, "rate-limit"));
        let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=7200).contains(&seconds), "{seconds} s");
        assert!(refused.text().contains("more than 5/h, the `limit` of route `shop`"), "{refused}");
    }
    assert_eq!(edge.get("music.home.test/").await.status, 200, "another route");
    assert_eq!(shop.requests(), 6);
    for other in [GUEST, STRANGER] {
        for _ in 0..5 {
            assert_eq!(edge.client().from(other).get("shop.home.test/").await.status, 200, "another client");
        }
    }
    let stranger = edge.client().from(STRANGER).get("shop.home.test/").await;
    assert_eq!(stranger.refusal(), (429, "limit"));
    assert!(!stranger.to_string().contains("5/h"), "{stranger}");
    assert_eq!(edge.metric("doorward_limited_total{route=\"shop\"}").await, 4.0);
    assert_eq!(edge.metric("doorward_refusals_total{cause=\"rate-limit\"}").await, 4.0);
    assert_eq!(edge.records_of("/over").await[0]["cause"], "rate-limit");
}

#[tokio::test]
async fn the_innermost_limit_counts_and_off_takes_it_away() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::running(format!(
        "limit = \"2/h\"\n{}{}{}{}[routes]\nplain = \"{shop}\"\nfree = {{ to = \"{shop}\", limit = \"off\" }}\n\
         own = {{ to = \"{shop}\", limit = \"4/h\", paths = {{ \"/login\" = {{ limit = \"1/h\" }}, \"/free\" = {{ limit = \"off\" }} }} }}\n",
        crate::harness::FRONT,
        crate::harness::DOORS,
        crate::harness::CERT,
        crate::harness::TAIL,
    ))
    .await;
    for (place, most) in [("plain.home.test/", 2), ("own.home.test/", 4), ("own.home.test/login", 1)] {
        for n in 0..most + 2 {
            let status = edge.get(place).await.status;
            assert_eq!(status, if n < most { 200 } else { 429 }, "{place}, request {n}");
        }
    }
    for _ in 0..8 {
        assert_eq!(edge.get("free.home.test/").await.status, 200);
        assert_eq!(edge.get("own.home.test/free").await.status, 200);
    }
    assert!(edge.get("plain.home.test/").await.text().contains("the `limit` of the file (line 1)"));
}

#[tokio::test]
async fn behind_a_tunnel_each_visitor_is_counted_and_never_the_tunnel() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"\nlimit = \"3/h\"\nin_flight = 50\n"
    ))
    .await;
    let tunnel = edge.client().at(Door::Tunnel);
    for visitor in 1..=40 {
        let visitor = format!("203.0.113.{visitor}");
        for _ in 0..3 {
            let answer = tunnel.get("shop.example.com/").header("cf-connecting-ip", &visitor).await;
            assert_eq!(answer.status, 200, "{visitor}");
        }
    }
    let over = tunnel.get("shop.example.com/").header("cf-connecting-ip", "203.0.113.1").await;
    assert_eq!(over.refusal(), (429, "limit"));
    // One household has a whole /64.
    for n in 0..5 {
        let address = format!("2001:db8:0:1::{n}");
        let answer = tunnel.get("shop.example.com/").header("cf-connecting-ip", &address).await;
        assert_eq!(answer.status, if n < 3 { 200 } else { 429 }, "{address}");
    }
    // Nobody says who they are: they are one.
    for n in 0..5 {
        assert_eq!(tunnel.get("shop.example.com/").await.status, if n < 3 { 200 } else { 429 });
    }
    assert_eq!(edge.get("shop.home.test/").await.status, 200, "the address that the tunnel comes from");
}

#[tokio::test]
async fn no_more_than_in_flight_are_served_at_a_time() {
    let shop = Upstream::serving(|request| async move {
        if request.uri().path() == "/held" {
            std::future::pending::<()>().await;
        }
        http::Response::new(full("served"))
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", in_flight = 3 }}")).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut raw = edge.raw().await;
        raw.send("GET /held HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
        held.push(raw);
    }
    eventually("three requests to arrive", async || (shop.requests() == 3).then_some(())).await;
    for client in [edge.client(), edge.client().h2()] {
        let refused = client.get("shop.home.test/fourth").await;
        assert_eq!(refused.refusal(), (429, "rate-limit"));
        assert_eq!(refused.headers["retry-after"], "1");
    }
    assert_eq!(shop.requests(), 3);
    held.pop();
    eventually("a place to be free", async || (edge.get("shop.home.test/again").await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_reload_forgets_nothing_unless_the_limit_changes() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", limit = \"3/h\" }}")).await;
    for _ in 0..3 {
        assert_eq!(edge.get("shop.home.test/").await.status, 200);
    }
    edge.write_routes(format!(
        "# a line more\n[routes]\nother = \"{shop}\"\nshop = {{ to = \"{shop}\", limit = \"3/h\", idle = \"1m\" }}"
    ));
    edge.reload().await.accepted();
    assert_eq!(edge.get("shop.home.test/").await.status, 429);
    edge.write_routes(format!("[routes]\nshop = {{ to = \"{shop}\", limit = \"4/h\" }}"));
    edge.reload().await.accepted();
    for n in 0..5 {
        assert_eq!(edge.get("shop.home.test/").await.status, if n < 4 { 200 } else { 429 });
    }
}

#[tokio::test]
async fn what_is_refused_anyway_is_not_counted() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes]\nshop = {{ to = \"{shop}\", limit = \"2/h\", paths = {{ \"/closed\" = {{ allow = [] }} }} }}"
    ))
    .await;
    for _ in 0..6 {
        assert_eq!(edge.get("shop.home.test/closed").await.status, 403);
        assert_eq!(edge.client().from(GUEST).get("shop.home.test/").await.status, 403);
    }
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
}
