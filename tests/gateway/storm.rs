//! Reloads under load: the promise that the rest of the house stands on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Gateway, Upstream};

/// What the load keeps asking whether to go on, and what it counts.
#[derive(Default)]
struct Storm {
    over: AtomicBool,
    requests: AtomicUsize,
    messages: AtomicUsize,
}

impl Storm {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn reload_storm() {
    const RELOADS: usize = 200;
    let [shop, chat, film] = [Upstream::echoing().await, Upstream::websocket().await, Upstream::generating().await];
    let other = Upstream::echoing().await;
    let kept = format!("[routes]\nshop = \"{shop}\"\nchat = \"{chat}\"\nfilm = \"{film}\"\n");
    let edge = Gateway::serving(&kept).await;
    let storm = Arc::new(Storm::default());
    let mut load = Vec::new();
    for _ in 0..4 {
        load.push(tokio::spawn(keep_asking(edge.client(), storm.clone())));
        load.push(tokio::spawn(keep_asking(edge.client().h2(), storm.clone())));
        load.push(tokio::spawn(keep_uploading(edge.client().h2(), storm.clone())));
        load.push(tokio::spawn(keep_talking(edge.client(), storm.clone())));
    }
    load.push(tokio::spawn(keep_watching(edge.client(), storm.clone())));
    load.push(tokio::spawn(keep_watching(edge.client().h2(), storm.clone())));

    let (mut accepted, mut refused) = (0, 0);
    for n in 0..RELOADS {
        if n % 4 == 3 {
            let faulty = ["[routes]\nshop = 7", "not a file at all", "", "[routes]\nshop = \"nowhere\""];
            edge.write(faulty[n / 4 % faulty.len()]).reload().await.refused("routes.toml:");
            refused += 1;
        } else {
            let more = "[listen.more]\nhttp = \"ADDR:8085\"\n".repeat(n % 2);
            edge.write_routes(format!("{more}{kept}extra{n} = \"{other}\"\n")).reload().await.accepted();
            accepted += 1;
        }
        assert!(load.iter().all(|task| !task.is_finished()), "the load broke off at reload {n}");
    }
    storm.over.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no failed request and no closed connection");
    }
    assert!(accepted >= 150 && refused >= 50);
    assert_eq!(chat.connections(), 4, "no WebSocket was opened again");
    let (requests, messages) = (storm.requests.load(Ordering::Relaxed), storm.messages.load(Ordering::Relaxed));
    assert!(requests > RELOADS && messages > RELOADS, "{requests} requests, {messages} messages");
    println!("{accepted} accepted, {refused} refused; {requests} requests and {messages} messages meanwhile");
    // The watcher may have read a file before it was asked to: at least what was asked for was counted.
    assert!(edge.metric("doorward_reloads_total{result=\"accepted\"}").await >= f64::from(accepted));
    let failed = edge.access_log().into_iter().filter(|r| r["status"].as_u64() >= Some(400)).count();
    assert_eq!(failed, 0);
}

/// Requests on one kept connection; a new connection would be a failure.
async fn keep_asking(client: Client, storm: Arc<Storm>) {
    let mut open = client.connect("shop.home.test").await;
    let mut n = 0;
    while storm.goes_on() {
        let target = format!("/{n}");
        let echo = open.get(&target).await.echo();
        assert_eq!(echo.target(), target);
        n += 1;
    }
    storm.requests.fetch_add(n, Ordering::Relaxed);
}

/// Uploads on one kept connection, longer than one reload takes.
async fn keep_uploading(client: Client, storm: Arc<Storm>) {
    let mut open = client.connect("shop.home.test").await;
    let mut n = 0;
    while storm.goes_on() {
        let echo = open.request("POST", "/up").generated(300_000, n % 2 == 0).await.echo();
        assert!(echo.length() == 300_000 && echo.is_generated());
        n += 1;
    }
    storm.requests.fetch_add(n, Ordering::Relaxed);
}

/// Messages over one WebSocket.
async fn keep_talking(client: Client, storm: Arc<Storm>) {
    let mut socket = client.websocket("chat.home.test/ws").await;
    let mut n = 0;
    while storm.goes_on() {
        socket.send(Message::text(format!("message {n}"))).await;
        assert_eq!(socket.text().await, format!("message {n}"));
        n += 1;
    }
    socket.close().await;
    storm.messages.fetch_add(n, Ordering::Relaxed);
}

/// One download that lasts as long as the storm: a piece now and then.
async fn keep_watching(client: Client, storm: Arc<Storm>) {
    let mut film = client.get("film.home.test/100000000000").start().await;
    let mut read = 0;
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    while storm.goes_on() {
        let piece = film.piece().await.expect("the film goes on");
        read += piece.len();
        ticks.tick().await;
    }
    assert!(read > 0);
}
