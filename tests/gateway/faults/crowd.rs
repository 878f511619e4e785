//! Too many of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::{Bystanders, back_to};
use crate::harness::{Door, Gateway, Upstream};

/// Raises the soft limit of open files as far as it goes; the gateway inherits it.
fn raise_descriptors() -> u64 {
    let hard = getrlimit(Resource::Nofile).maximum;
    let wanted = hard.map_or(65_536, |hard| hard.min(65_536));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: hard }).expect("the soft limit may be raised");
    wanted
}

async fn connect(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    crate::harness::within("a connection", socket.connect(to)).await.unwrap()
}

/// Ten thousand that are open and say nothing, each having been served once; traffic beside goes on.
#[tokio::test]
#[ignore = "slow: ten thousand connections"]
async fn ten_thousand_idle_connections_beside_traffic() {
    const COUNT: u32 = 10_000;
    assert!(raise_descriptors() > 11_000, "the hard limit of open files is too low for this test");
    let well = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nwell = \"{well}\"\n")).await;
    assert_eq!(edge.get("well.home.test/10").await.body.len(), 10);
    let (descriptors, memory) = (edge.descriptors(), edge.memory());
    let bystanders = Bystanders::of(&edge);
    let door = SocketAddr::from((edge.address(), Door::Plain.port()));
    let mut idle = Vec::new();
    let mut block = [0; 1024];
    for n in 0..COUNT {
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 100)) + n % 100);
        let mut tcp = connect(source, door).await;
        tcp.write_all(b"GET /10 HTTP/1.1\r\nHost: well.home.test\r\n\r\n").await.unwrap();
        crate::harness::within("an answer", tokio::io::AsyncReadExt::read(&mut tcp, &mut block)).await.unwrap();
        assert!(block.starts_with(b"HTTP/1.1 200"), "connection {n}");
        idle.push(tcp);
    }
    let each = edge.memory().saturating_sub(memory) / u64::from(COUNT);
    assert!(edge.descriptors() >= COUNT as usize, "they are open");
    println!("{each} bytes of memory for each of {COUNT} idle connections");
    assert!(each < 12 << 10, "{each} bytes for each");
    bystanders.noticed_nothing().await;
    drop(idle);
    back_to(&edge, descriptors).await;
}

/// One address asks without pause and without reading, on as many connections as it gets; ten others are served meanwhile.
/// What it asks for is answered by the gateway itself: the upstream of a test is no match for a flood.
#[tokio::test]
#[ignore = "slow: a flood of hundreds of thousands of requests"]
async fn one_flooding_client_beside_ten_good_ones() {
    let well = Upstream::generating().await;
    let edge = Gateway::serving(format!(
        "[routes]\nwell = \"{well}\"\n[routes.said.paths]\n\"/\" = {{ text = \"{}\" }}\n",
        "said ".repeat(1000)
    ))
    .await;
    let over = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let door = SocketAddr::from((edge.address(), Door::Plain.port()));
    let mut flood = JoinSet::new();
    for _ in 0..200 {
        let (over, sent) = (over.clone(), sent.clone());
        flood.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let Ok(socket) = TcpSocket::new_v4() else { continue };
                socket.bind((Ipv4Addr::new(127, 0, 0, 66), 0).into()).unwrap();
                let Ok(mut tcp) = socket.connect(door).await else { continue };
                let asks = b"GET / HTTP/1.1\r\nHost: said.home.test\r\n\r\n".repeat(20);
                sent.fetch_add(20, Ordering::Relaxed);
                let _ = tcp.write_all(&asks).await;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
    }
    let mut good = JoinSet::new();
    for n in 0..10 {
        let client = edge.client().from(Ipv4Addr::new(127, 0, 0, 10 + n));
        let client = if n % 2 == 0 { client.h2() } else { client };
        good.spawn(async move {
            let mut open = client.connect("well.home.test").await;
            for _ in 0..40 {
                let mut answer = open.get("/20000").start().await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.generated_rest(0).await, 20_000);
            }
        });
    }
    good.join_all().await;
    over.store(true, Ordering::Relaxed);
    flood.join_all().await;
    let sent = sent.load(Ordering::Relaxed);
    println!("ten clients had 40 answers each beside a flood of {sent} requests");
    assert!(sent > 1000, "{sent}");
}
