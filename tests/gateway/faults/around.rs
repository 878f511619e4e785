//! What the machine may do to us: no descriptors, no disk, another time, no name service.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::Bystanders;
use crate::harness::{Door, Gateway, HOME, Upstream, doorward, eventually};

async fn knock(edge: &Gateway) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((HOME, 0).into()).ok()?;
    let door = SocketAddr::from((edge.address(), Door::Plain.port()));
    tokio::time::timeout(Duration::from_secs(1), socket.connect(door)).await.ok()?.ok()
}

/// Everything is taken: what is in flight goes on, and afterwards all is as before.
#[tokio::test]
async fn descriptors_run_out_and_come_back() {
    let well = Upstream::generating().await;
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nwell = \"{well}\"\n"));
    edge.start_with_descriptors(256).await;
    let mut film = edge.get("well.home.test/300000000").start().await;
    let mut read = film.piece().await.unwrap().len() as u64;
    let mut crowd = Vec::new();
    for _ in 0..400 {
        crowd.extend(knock(&edge).await);
    }
    assert!(crowd.len() > 200, "{}", crowd.len());
    read += film.piece().await.unwrap().len() as u64;
    read += film.generated_rest(read).await;
    assert_eq!(read, 300_000_000, "what is in flight is not touched");
    drop(crowd);
    eventually("service as before", async || {
        let answer = edge.get("well.home.test/10").attempt().await;
        answer.ok().filter(|answer| answer.body.len() == 10)
    })
    .await;
    edge.reload().await.accepted();
}

/// A log that cannot be written is lost; requests are not.
#[tokio::test]
async fn the_disk_of_the_log_is_full() {
    let well = Upstream::generating().await;
    let mut edge = Gateway::stopped();
    std::os::unix::fs::symlink("/dev/full", edge.folder().at("out")).unwrap();
    edge.write_routes(format!("[routes]\nwell = \"{well}\"\n"));
    edge.start(&[]).await;
    let bystanders = Bystanders::of(&edge);
    for n in 0..200 {
        assert_eq!(edge.get(&format!("well.home.test/{n}")).await.body.len(), n);
    }
    bystanders.noticed_nothing().await;
    edge.reload().await.accepted();
}

/// The wall clock jumps a year ahead and back: nothing that waits or lasts goes by it.
#[tokio::test]
async fn the_clock_jumps_a_year_and_back() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !std::path::Path::new(library).exists() {
        return eprintln!("NOT JUDGED: libfaketime is not installed here; `bash tests/run` installs it");
    }
    let (well, chat) = (Upstream::generating().await, Upstream::websocket().await);
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nwell = \"{well}\"\nchat = \"{chat}\"\n"));
    edge.folder().replace("time", "+0");
    let file = edge.folder().at("time").display().to_string();
    let environment = [
        ("LD_PRELOAD", library),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        // A clock that is set moves CLOCK_REALTIME only.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ];
    edge.start_as(&["run", "--config", "routes.toml", "--state", "state", "--workers", "2"], &environment).await;
    let bystanders = Bystanders::of(&edge);
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    for (nth, jump) in ["+1y", "-1y", "+0"].into_iter().enumerate() {
        edge.folder().replace("time", jump);
        let path = format!("/{}", 1000 + nth);
        assert_eq!(edge.get(&format!("well.home.test{path}")).await.body.len(), 1000 + nth);
        socket.echoes(jump).await;
        let told = edge.record_of(&path).await["time"].as_str().unwrap()[..4].parse::<i32>().unwrap();
        let year = time::OffsetDateTime::now_utc().year();
        assert!(if nth == 0 { told > year } else { told <= year }, "the jump happened: {told}");
    }
    edge.reload().await.accepted();
    socket.close().await;
    bystanders.noticed_nothing().await;
}

/// A name that is in no DNS stops neither the start nor other routes; it is found once it is there, and what was known is
/// used when it is gone again.
#[tokio::test]
async fn the_name_of_an_upstream_comes_and_goes() {
    let (well, late) = (Upstream::generating().await, Upstream::answering("late").await);
    let mut edge = Gateway::stopped();
    let routes = format!("[routes]\nwell = \"{well}\"\nlate = \"http://late.invalid:{}\"\n", late.address().port());
    edge.write_routes(routes);
    edge.folder().replace("hosts", "127.0.0.1 localhost\n");
    edge.start_with_hosts("hosts").await;
    let bystanders = Bystanders::of(&edge);
    let refused = edge.get("late.home.test/").await;
    assert_eq!(refused.status, 502, "{refused}");
    let known = format!("127.0.0.1 localhost\n{} late.invalid\n", late.address().ip());
    std::fs::write(edge.folder().at("hosts"), known).unwrap();
    let found = async || edge.get("late.home.test/").await.status == 200;
    eventually("the name to be found", async || found().await.then_some(())).await;
    std::fs::write(edge.folder().at("hosts"), "127.0.0.1 localhost\n").unwrap();
    late.stop().await;
    assert_ne!(edge.get("late.home.test/").await.status, 200);
    late.start().await;
    eventually("the address that was known to be used", async || found().await.then_some(())).await;
    bystanders.noticed_nothing().await;
    let routes = doorward(edge.folder().path(), &["routes", "--state", "state"]).await;
    assert_eq!(routes.code, 0, "{}", routes.err);
}
