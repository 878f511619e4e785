//! How much the process takes on in all, and what gives way when that is reached: `[limits]`.

use std::net::Ipv4Addr;

use rustix::process::{Pid, Resource, getrlimit, prlimit};

use crate::harness::{
    CERT, Client, Connection, DOORS, Door, FRONT, Gateway, Network, Raw, TAIL, Upstream, eventually, full,
};

/// Answers at once, but what is asked for under `/held` never.
async fn holding() -> Upstream {
    Upstream::serving(|request| async move {
        if request.uri().path().starts_with("/held") {
            std::future::pending::<()>().await;
        }
        http::Response::new(full("served"))
    })
    .await
}

/// A gateway with a public route, and these lines in `[limits]`.
async fn limited(shop: &Upstream, limits: &str) -> Gateway {
    let routes = format!("[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"\n");
    Gateway::running(format!("{FRONT}{DOORS}{CERT}{TAIL}{routes}\n[limits]\n{limits}\n")).await
}

async fn holds(edge: &Gateway, n: usize) -> Raw {
    let mut raw = edge.raw().await;
    raw.send(format!("GET /held/{n} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n")).await;
    raw
}

async fn idle(client: &Client) -> Connection {
    let mut connection = client.connect("shop.home.test").await;
    assert_eq!(connection.get("/").await.status, 200);
    connection
}

#[tokio::test]
async fn idle_connections_make_room_for_new_ones_and_busy_ones_stay() {
    let shop = holding().await;
    let edge = limited(&shop, "connections = 20").await;
    let mut busy = Vec::new();
    for n in 0..5 {
        busy.push(holds(&edge, n).await);
    }
    eventually("the requests to arrive", async || (shop.requests() == 5).then_some(())).await;
    let mut kept = Vec::new();
    for n in 0..40 {
        let client = if n % 2 == 0 { edge.client() } else { edge.client().h2() };
        kept.push(idle(&client).await);
    }
    let open = edge.metric("doorward_connections").await;
    assert!(open <= 24.0, "{open} are open");
    assert!(edge.metric("doorward_connections_ended_total{cause=\"shed\"}").await >= 20.0);
    assert_eq!(edge.metric("doorward_connections_refused_total{cause=\"connections\"}").await, 0.0);
    let (status, exchanges) = (shop.requests(), edge.access_log().iter().filter(|r| r["aborted"] == true).count());
    assert_eq!((status, exchanges), (45, 0), "nobody's request was cut");
    assert_eq!(kept.last_mut().unwrap().get("/").await.status, 200, "the newest is still there");
}

#[tokio::test]
async fn where_nothing_is_idle_a_new_connection_is_refused_and_the_others_go_on() {
    let shop = holding().await;
    let edge = limited(&shop, "connections = 16").await;
    let mut busy = Vec::new();
    for n in 0..16 {
        busy.push(holds(&edge, n).await);
    }
    eventually("the requests to arrive", async || (shop.requests() == 16).then_some(())).await;
    for _ in 0..3 {
        assert!(edge.get("shop.home.test/").attempt().await.is_err(), "there is no room");
    }
    edge.logs("a connection was refused: see [limits]").await;
    busy.pop();
    eventually("room again", async || edge.get("shop.home.test/").attempt().await.is_ok().then_some(())).await;
    assert!(edge.metric("doorward_connections_refused_total{cause=\"connections\"}").await >= 3.0);
    assert_eq!(edge.log().matches("a connection was refused").count(), 1, "told once a minute");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_with_a_word_and_the_others_go_on() {
    let shop = holding().await;
    let edge = limited(&shop, "requests = 16").await;
    let mut busy = Vec::new();
    for n in 0..16 {
        busy.push(holds(&edge, n).await);
    }
    eventually("the requests to arrive", async || (shop.requests() == 16).then_some(())).await;
    for client in [edge.client(), edge.client().h2()] {
        let refused = client.get("shop.home.test/").await;
        assert_eq!(refused.refusal(), (503, "overload"));
        assert!(refused.headers.contains_key("retry-after"));
    }
    busy.pop();
    eventually("room again", async || (edge.get("shop.home.test/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn behind_a_trusted_peer_the_limit_of_an_address_counts_requests_of_each_client() {
    let shop = holding().await;
    let edge = limited(&shop, "connections_per_client = 3").await;
    let mut held = Vec::new();
    for n in 0..3 {
        let mut raw = edge.client().at(Door::Tunnel).raw("unnamed").await;
        let head = "Host: shop.example.com\r\nCF-Connecting-IP: 203.0.113.7\r\n\r\n";
        raw.send(format!("GET /held/{n} HTTP/1.1\r\n{head}")).await;
        held.push(raw);
    }
    eventually("the requests to arrive", async || (shop.requests() == 3).then_some(())).await;
    let visitor =
        |address: &str| edge.client().at(Door::Tunnel).get("shop.example.com/").header("cf-connecting-ip", address);
    assert_eq!(visitor("203.0.113.7").await.refusal(), (429, "limit"));
    for other in 10..20 {
        assert_eq!(visitor(&format!("203.0.113.{other}")).await.status, 200);
    }
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
}

#[tokio::test]
async fn when_descriptors_are_used_up_what_is_open_goes_on_and_the_rest_recovers() {
    let shop = holding().await;
    let edge = limited(&shop, "connections = 500").await;
    let mut steady = idle(&edge.client()).await;
    let pid = Pid::from_raw(edge.pid() as i32).unwrap();
    let mut few = getrlimit(Resource::Nofile);
    few.current = Some(edge.descriptors() as u64 + 12);
    prlimit(Some(pid), Resource::Nofile, few).unwrap();
    let mut crowd = Vec::new();
    for _ in 0..60 {
        // The kernel connects them; whether they are accepted is another matter.
        crowd.push(edge.raw().await);
        assert_eq!(steady.get("/").attempt().await.map(|answer| answer.status), Ok(200), "what is open goes on");
    }
    edge.logs("connections cannot be accepted").await;
    let told = edge.log().matches("connections cannot be accepted").count();
    assert!(told <= 3, "once a minute for each door, not {told} times");
    edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nnew = \"{shop}\""));
    eventually("a reload to be accepted", async || {
        let said = edge.reload().await.into_finished();
        (said.code == 0).then_some(())
    })
    .await;
    drop(crowd);
    eventually("a new connection", async || edge.get("new.home.test/").attempt().await.is_ok().then_some(())).await;
    assert!(edge.metric("doorward_accept_errors_total").await >= 1.0);
}

#[tokio::test]
#[ignore = "slow: memory has to be filled first"]
async fn when_memory_is_short_nothing_more_is_taken_on_and_idle_connections_go() {
    let shop = holding().await;
    let edge = limited(&shop, "memory = \"64M\"").await;
    let mut steady = idle(&edge.client()).await;
    let mut crowd = Vec::new();
    while edge.metric("doorward_connections_ended_total{cause=\"shed\"}").await == 0.0 {
        assert!(crowd.len() < 20_000, "{} bytes with {} connections", edge.memory(), crowd.len());
        for _ in 0..100 {
            crowd.extend(edge.client().try_connect("shop.home.test").await.ok());
        }
    }
    assert!(edge.log().contains("memory is short"), "{}", edge.log());
    let largest = edge.memory();
    assert!(largest < 80 << 20, "{largest} bytes");
    drop(crowd);
    eventually("service again", async || {
        let answer = edge.get("shop.home.test/").attempt().await;
        answer.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await;
    let _ = steady.get("/").attempt().await;
}

#[tokio::test]
async fn the_heads_of_requests_are_limited_as_the_file_says() {
    let shop = holding().await;
    let edge = limited(&shop, "head = \"16K\"\nfields = 40\nstreams = 2").await;
    for (size, status) in [(8_000, 200), (20_000, 431)] {
        for client in [edge.client(), edge.client().at(Door::Plain)] {
            let answer = client.get("shop.home.test/").header("x-large", &"a".repeat(size)).await;
            assert_eq!(answer.status, status, "{size}");
        }
    }
    let fields = |count: usize| {
        (0..count).fold(edge.client().get("shop.home.test/"), |ask, n| ask.header(&format!("x-{n}"), "a"))
    };
    assert_eq!(fields(20).await.status, 200);
    assert_eq!(fields(60).await.refusal(), (431, "head-limit"));
}

/// Loopback is exempt, so the clients of this test have addresses of their own.
#[tokio::test]
async fn an_address_with_too_many_connections_loses_the_newest_and_nobody_else_feels_it() {
    let Some(network) = Network::of_its_own() else { return };
    let [greedy, good] = [Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(198, 51, 100, 8)];
    network.add(greedy);
    network.add(good);
    let shop = holding().await;
    let front = FRONT.replace("127.0.0.0/24\"", "127.0.0.0/24\", \"198.51.100.0/24\"");
    let limits = "[limits]\nconnections_per_client = 5\n";
    let edge = Gateway::running(format!("{front}{DOORS}{CERT}{TAIL}[routes]\nshop = \"{shop}\"\n{limits}")).await;
    let refused = "doorward_connections_refused_total{cause=\"connections_per_client\"}";
    let mut kept = Vec::new();
    for n in 0..5 {
        let client = edge.client().from(greedy);
        kept.push(idle(&if n % 2 == 0 { client } else { client.h2() }).await);
    }
    let mut steady = idle(&edge.client().from(good)).await;
    for n in 1..=20 {
        assert!(
            edge.client().from(greedy).get("shop.home.test/").attempt().await.is_err(),
            "the {n}th beyond the limit"
        );
        assert_eq!(steady.get("/").await.status, 200, "another address notices nothing");
    }
    assert_eq!(edge.metric(refused).await, 20.0);
    for connection in &mut kept {
        assert_eq!(connection.get("/").await.status, 200, "what it has it keeps");
    }
    assert_eq!(edge.client().from(good).get("shop.home.test/").await.status, 200);
    // The offence cost connections only: with one given back, the address is as welcome as before.
    drop(kept.pop());
    let again = async || edge.client().from(greedy).get("shop.home.test/").attempt().await.is_ok();
    eventually("the address to be served again", async || again().await.then_some(())).await;
    for _ in 0..30 {
        assert!(edge.client().try_connect("shop.home.test").await.is_ok(), "loopback has as many as it likes");
    }
}
