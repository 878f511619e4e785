use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    admitting: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn running() -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (metrics, readiness, admitting) = (Metrics::new(1), Readiness::new(), Arc::new(AtomicBool::new(true)));
    let (stop, stopped) = oneshot::channel::<()>();
    let judge = admitting.clone();
    let admits =
        move |client: Client| client == Client::at(Ipv4Addr::LOCALHOST.into()) && judge.load(Ordering::Relaxed);
    let serving = tokio::spawn(serve_metrics(listener, metrics.clone(), readiness.clone(), admits, async {
        let _ = stopped.await;
    }));
    Running { address, metrics, readiness, admitting, stop, serving }
}

impl Running {
    async fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head} HTTP/1.1\r\nhost: metrics.test\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_reads_them() {
    let door = running().await;
    door.metrics.reload_accepted(5);
    let answer = door.ask("GET /metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("\ndoorward_generation 5\n"), "{answer}");
}

#[tokio::test]
async fn health_is_always_ok_and_readiness_says_what_is_missing() {
    let door = running().await;
    let pending = door.readiness.pending("doors");
    assert!(door.ask("GET /healthz").await.ends_with("\r\n\r\nok\n"));
    let answer = door.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("waiting for doors\n"), "{answer}");
    drop(pending);
    assert!(door.ask("GET /readyz").await.starts_with("HTTP/1.1 200 "));
    door.readiness.drain();
    assert!(door.ask("GET /readyz").await.starts_with("HTTP/1.1 503 "));
    assert!(door.ask("GET /healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn head_has_no_body_and_other_methods_and_paths_are_refused() {
    let door = running().await;
    let answer = door.ask("HEAD /healthz").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n") && answer.contains("content-length: 3")
    );
    let answer = door.ask("POST /metrics").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD"), "{answer}");
    assert!(door.ask("GET /").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn who_is_not_admitted_gets_403_for_everything() {
    let door = running().await;
    door.admitting.store(false, Ordering::Relaxed);
    for path in ["/metrics", "/healthz", "/readyz", "/nothing"] {
        let answer = door.ask(&format!("GET {path}")).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\ndenied\n"), "{answer}");
    }
}

#[tokio::test]
async fn silent_connections_hold_up_nobody_and_the_door_stops() {
    let door = running().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(door.address).await.unwrap());
    }
    assert!(door.ask("GET /healthz").await.starts_with("HTTP/1.1 200 "));
    door.stop.send(()).unwrap();
    door.serving.await.unwrap();
    assert!(TcpStream::connect(door.address).await.is_err());
}

#[tokio::test]
async fn bytes_that_are_no_http_are_survived() {
    let door = running().await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    assert!(door.ask("GET /healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn strangers_do_not_take_the_places_of_those_who_watch() {
    let door = running().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS + STRANGERS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        silent.push(socket.connect(door.address).await.unwrap());
    }
    assert!(door.ask("GET /healthz").await.starts_with("HTTP/1.1 200 "));
    // The first of them still hears that it may not, the last was closed.
    let mut answer = Vec::new();
    silent[0].write_all(b"GET /metrics HTTP/1.1\r\nhost: metrics.test\r\n\r\n").await.unwrap();
    silent[0].read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 403 "));
    let last = silent.last_mut().unwrap();
    assert_eq!(last.read(&mut [0; 1]).await.unwrap_or(0), 0);
}
