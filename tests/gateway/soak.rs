//! The soak: traffic of every kind and a reload every second, for as long as is asked. `bash tests/soak` runs it; its date and
//! figures stand in docs/proof.md.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Gateway, Upstream};

/// How long it warms up before memory is looked at: pools, tables and the allocator find their size.
const WARM: Duration = Duration::from_secs(60);

/// How much memory may have grown from then to the end.
const MOST_GROWTH: u64 = 16 << 20;

#[tokio::test]
#[ignore = "slow: as long as DOORWARD_SOAK_SECONDS says, 30 minutes by default"]
async fn memory_and_descriptors_stay_flat_through_reloads_every_second() {
    let seconds = std::env::var("DOORWARD_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1800);
    let length = Duration::from_secs(seconds).max(WARM * 2);
    let [shop, other] = [Upstream::generating().await, Upstream::generating().await];
    let chat = Upstream::websocket().await;
    let kept = format!("[routes]\nshop = \"{shop}\"\nchat = \"{chat}\"\n");
    let edge = Gateway::serving(&kept).await;
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for client in [edge.client(), edge.client().h2()] {
        load.spawn(ask(client.clone(), over.clone(), asked.clone()));
        load.spawn(come_and_go(client.clone(), over.clone(), asked.clone()));
        load.spawn(upload(client, over.clone(), asked.clone()));
    }
    load.spawn(talk(edge.client(), over.clone()));
    let began = Instant::now();
    let (mut reloads, mut warm, mut worst) = (0_usize, None, (0, 0));
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    while began.elapsed() < length {
        ticks.tick().await;
        let more = format!("extra{reloads} = \"{other}\"\n");
        edge.write_routes(format!("{kept}{more}")).reload().await.accepted();
        reloads += 1;
        assert!(load.try_join_next().is_none(), "the load broke off at reload {reloads}");
        let now = (edge.memory(), edge.descriptors());
        if warm.is_none() && began.elapsed() >= WARM {
            warm = Some(now);
        }
        if warm.is_some() {
            worst = (worst.0.max(now.0), worst.1.max(now.1));
        }
        if reloads % 60 == 0 {
            println!("{:>5} s  {:>6} KiB  {:>4} descriptors", began.elapsed().as_secs(), now.0 >> 10, now.1);
        }
    }
    let last = (edge.memory(), edge.descriptors());
    over.store(true, Ordering::Relaxed);
    load.join_all().await;
    let warm = warm.expect("longer than the warm-up");
    let asked = asked.load(Ordering::Relaxed);
    println!(
        "{} s, {reloads} reloads, {asked} requests: memory {} KiB after the warm-up, {} at the end, {} at most; \
         descriptors {}, {}, {}",
        began.elapsed().as_secs(),
        warm.0 >> 10,
        last.0 >> 10,
        worst.0 >> 10,
        warm.1,
        last.1,
        worst.1
    );
    assert!(last.0 < warm.0 + MOST_GROWTH, "memory grows");
    assert!(last.1 < warm.1 + 16, "descriptors leak");
    assert_eq!(chat.connections(), 1, "the WebSocket was never opened again");
}

/// Requests on a kept connection.
async fn ask(client: Client, over: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    let mut open = client.connect("shop.home.test").await;
    while !over.load(Ordering::Relaxed) {
        assert_eq!(open.get("/20000").start().await.generated_rest(0).await, 20_000);
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection for each request.
async fn come_and_go(client: Client, over: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    while !over.load(Ordering::Relaxed) {
        assert_eq!(client.get("shop.home.test/1000").await.body.len(), 1000);
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn upload(client: Client, over: Arc<AtomicBool>, asked: Arc<AtomicUsize>) {
    let mut open = client.connect("shop.home.test").await;
    while !over.load(Ordering::Relaxed) {
        let echo = open.request("POST", "/up").generated(200_000, false).await.echo();
        assert!(echo.length() == 200_000 && echo.is_generated());
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn talk(client: Client, over: Arc<AtomicBool>) {
    let mut socket = client.websocket("chat.home.test/ws").await;
    while !over.load(Ordering::Relaxed) {
        socket.send(Message::text("still here")).await;
        assert_eq!(socket.text().await, "still here");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    socket.close().await;
}
