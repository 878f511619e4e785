//! Replaced while it serves: another process takes over, and nobody outside can tell when.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Door, Gateway, Upstream, doorward, eventually, signal_process};

/// Whether a process is there and no zombie. One that is killed is neither for a moment, while its threads end.
fn is_alive(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| !rest.starts_with(" Z") && !rest.starts_with(" X"))
    })
}

async fn is_gone(process: u32) {
    eventually("the process to end", async || (!is_alive(process)).then_some(())).await;
}

#[tokio::test]
async fn what_is_open_outlives_the_hand_over_and_what_is_new_finds_the_new_process() {
    let [shop, chat, film] = [Upstream::echoing().await, Upstream::websocket().await, Upstream::generating().await];
    let routes = format!("[routes]\nshop = \"{shop}\"\nchat = \"{chat}\"\nfilm = \"{film}\"");
    let mut edge = Gateway::serving(routes).await;
    let old = edge.pid();
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("before").await;
    let mut download = edge.get("film.home.test/30000000").start().await;
    let began = download.piece().await.unwrap().len() as u64;
    let (pieces, body) = mpsc::channel(1);
    pieces.send(Bytes::from_static(b"first ")).await.unwrap();
    let upload = tokio::spawn(edge.request("POST", "shop.home.test/up").streamed(body).attempt());
    let mut idle = edge.client().connect("shop.home.test").await;
    idle.get("/").await;
    let mut streams = edge.client().h2().connect("shop.home.test").await;
    streams.get("/").await;
    let seen = shop.requests();

    let new = edge.upgrade().await;
    assert_ne!(old, new);
    assert!(is_alive(old), "it finishes what it has");
    assert_eq!(edge.generation().await, 2, "the generations go on");

    socket.echoes("after").await;
    assert_eq!(download.generated_rest(began).await + began, 30_000_000);
    eventually("the upload to have begun", async || (shop.requests() >= seen.min(3)).then_some(())).await;
    pieces.send(Bytes::from_static(b"second")).await.unwrap();
    drop(pieces);
    assert_eq!(upload.await.unwrap().unwrap().echo().body(), "first second");
    // The connection that nothing was in flight on takes one more request, and says that it was the last.
    let last = idle.get("/last").await;
    assert_eq!((last.echo().target(), last.header("connection")), ("/last", "close"));
    idle.closed().await;
    streams.closed().await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    assert_eq!(edge.client().h2().get("shop.home.test/").await.status, 200);

    socket.close().await;
    is_gone(old).await;
    assert_eq!(edge.exit_code().await, 0, "of the old one");
    assert!(is_alive(new));
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    edge.reload().await.accepted();
    assert_eq!(edge.generation().await, 3);
}

#[tokio::test]
async fn a_file_that_the_new_one_refuses_stops_the_upgrade() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut kept = edge.client().connect("shop.home.test").await;
    kept.get("/").await;
    edge.write_routes("[routes]\nshop = 7");
    let said = doorward(edge.folder().path(), &["upgrade", "--state", "state"]).await;
    assert_eq!(said.code, 1, "{}", said.said());
    assert!(said.out.contains("routes.toml:") && said.out.contains("goes on"), "{}", said.said());
    assert_eq!(kept.get("/").await.status, 200, "nothing has happened");
    assert_eq!(edge.generation().await, 1);
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.upgrade().await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
}

#[tokio::test]
async fn a_successor_that_dies_before_it_serves_leaves_the_old_one_as_it_was() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let script = |name: &str, then: &str| {
        let text = format!(
            "#!/usr/bin/python3\nimport json, os, socket\nline = socket.socket(fileno=0)\n\
             word = json.loads(line.recv(200000))\n\
             for _ in range(word['estate']['descriptors']): line.recv(200000)\n{then}\n"
        );
        edge.folder().replace(name, text);
        std::fs::set_permissions(edge.folder().at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        edge.folder().at(name)
    };
    let prepared = "line.send(json.dumps({'prepared': {'process': os.getpid(), 'version': '9'}}).encode())\n";
    let cases = [
        (PathBuf::from("/bin/true"), "ended before it was ready"),
        (PathBuf::from("/etc/passwd"), "cannot be started"),
        (script("silent", ""), "ended before it was ready"),
        (script("liar", &format!("{prepared}line.recv(100)")), "ended before it was ready"),
        (script("babbler", "line.send(b'what?'); line.recv(100)"), "do not understand one another"),
        (script("hasty", "line.send(b'\"serving\"'); line.recv(100)"), "out of turn"),
    ];
    for (program, why) in cases {
        let mut kept = edge.client().connect("shop.home.test").await;
        kept.get("/").await;
        let program = program.to_str().unwrap();
        let said = doorward(edge.folder().path(), &["upgrade", "--state", "state", "--binary", program]).await;
        assert_eq!(said.code, 1, "{program}: {}", said.said());
        assert!(said.out.contains(why) && said.out.contains("goes on"), "{program}: {}", said.said());
        assert_eq!(kept.get("/").await.status, 200, "{program}");
        assert_eq!(edge.get("shop.home.test/").await.status, 200, "{program}");
    }
    let missing = doorward(edge.folder().path(), &["upgrade", "--state", "state", "--binary", "missing"]).await;
    assert_eq!(missing.code, 2, "{}", missing.said());
    edge.reload().await.accepted();
}

#[tokio::test]
async fn a_reload_by_another_program_hands_over_to_it() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let program = edge.folder().at("doorward");
    std::fs::copy(env!("CARGO_BIN_EXE_doorward"), &program).unwrap();
    let reload = |program: PathBuf, folder: PathBuf| async move {
        let mut command = Command::new(program);
        command.args(["reload", "--state", "state", "--json"]).current_dir(folder).env_remove("RUNTIME_DIRECTORY");
        let said = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        serde_json::from_slice::<serde_json::Value>(&said.stdout).unwrap()
    };
    // The same bytes elsewhere are the same program.
    let answer = reload(program.clone(), edge.folder().path().to_owned()).await;
    assert_eq!(answer["generation"], 2);
    // What stands behind the end of a program does not change what it does.
    let mut bytes = std::fs::read(&program).unwrap();
    bytes.push(0);
    std::fs::write(&program, bytes).unwrap();
    let old = edge.pid();
    let answer = reload(program.clone(), edge.folder().path().to_owned()).await;
    let new = edge.is_followed_by(answer);
    assert_eq!(std::fs::read_link(format!("/proc/{new}/exe")).unwrap(), program);
    is_gone(old).await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    assert_eq!(edge.generation().await, 3);
}

#[tokio::test]
async fn what_does_not_finish_within_the_drain_time_is_cut() {
    let chat = Upstream::websocket().await;
    let mut edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"\n[drain]\nupgrade = \"1s\"")).await;
    let old = edge.pid();
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("before").await;
    edge.upgrade().await;
    while let Some(Ok(_)) = socket.next().await {}
    is_gone(old).await;
    edge.client().websocket("chat.home.test/ws").await.echoes("again").await;
    assert!(edge.log().contains("these were cut"));
}

#[tokio::test]
async fn told_to_stop_while_it_leaves_the_old_one_takes_the_shorter_time() {
    let chat = Upstream::websocket().await;
    let mut edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"\n[drain]\nstop = \"1s\"")).await;
    let old = edge.pid();
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("before").await;
    edge.upgrade().await;
    signal_process(old, Signal::HUP);
    socket.echoes("a reload is not for the one that leaves").await;
    signal_process(old, Signal::TERM);
    while let Some(Ok(_)) = socket.next().await {}
    is_gone(old).await;
    edge.client().websocket("chat.home.test/ws").await.echoes("the new one serves").await;
    assert_eq!(edge.generation().await, 2);
}

#[tokio::test]
async fn who_left_holds_nobody_up_when_its_heir_has_crashed() {
    let chat = Upstream::websocket().await;
    // Far more than anybody waits for here.
    let mut edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"\n[drain]\nstop = \"1h\"")).await;
    let old = edge.pid();
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    socket.echoes("before").await;
    let new = edge.upgrade().await;
    signal_process(new, Signal::KILL);
    is_gone(new).await;
    socket.echoes("nobody has told it to go").await;
    // A supervisor starts nobody before the last process of the service is gone.
    signal_process(old, Signal::TERM);
    is_gone(old).await;
    assert!(edge.log().contains("the process that took over is gone"), "{}", edge.log());
}

#[tokio::test]
async fn a_client_resumes_its_tls_session_with_the_new_process() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let session = edge.folder().at(&format!("session{version}"));
        let session = session.to_str().unwrap();
        let first = handshake(&edge, &[version, "-sess_out", session]).await;
        assert!(first.contains("New, TLS"), "{version}: {first}");
        edge.upgrade().await;
        edge.upgrade().await;
        let again = handshake(&edge, &[version, "-sess_in", session]).await;
        assert!(again.contains("Reused, TLS"), "{version}: {again}");
    }
}

/// One request by `openssl s_client`, and what it says about the session.
async fn handshake(edge: &Gateway, more: &[&str]) -> String {
    let mut command = Command::new("sh");
    let place = format!("{}:{}", edge.address(), Door::Https.port());
    let line = "printf 'GET / HTTP/1.1\\r\\nHost: shop.home.test\\r\\nConnection: close\\r\\n\\r\\n' | \
                openssl s_client -connect \"$0\" -servername shop.home.test -ign_eof \"$@\" 2>&1";
    command.arg("-c").arg(line).arg(place).args(more);
    let said = tokio::task::spawn_blocking(move || command.output().expect("openssl runs")).await.unwrap();
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[tokio::test]
async fn one_process_at_a_time_runs_on_a_state_folder() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let first = edge.pid();
    let second = doorward(edge.folder().path(), &["run", "--config", "routes.toml", "--state", "state"]).await;
    assert_eq!(second.code, 3, "{}", second.said());
    assert!(second.err.contains(&format!("(process {first})")), "{}", second.said());
    let new = edge.upgrade().await;
    is_gone(first).await;
    let second = doorward(edge.folder().path(), &["run", "--config", "routes.toml", "--state", "state"]).await;
    assert!(second.err.contains(&format!("(process {new})")), "the lock went over: {}", second.said());
}

/// What the load keeps asking whether to go on, and what it counts.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn three_hand_overs_under_load_lose_nothing() {
    hand_overs_under_load(3).await;
}

#[tokio::test]
#[ignore = "slow: twenty hand-overs under load"]
async fn twenty_hand_overs_under_load_lose_nothing() {
    hand_overs_under_load(20).await;
}

async fn hand_overs_under_load(times: usize) {
    let [shop, chat, film] = [Upstream::echoing().await, Upstream::websocket().await, Upstream::generating().await];
    let routes = format!("[routes]\nshop = \"{shop}\"\nchat = \"{chat}\"\nfilm = \"{film}\"\n");
    let mut edge = Gateway::serving(&routes).await;
    let load = Arc::new(Load::default());
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(tokio::spawn(keep_asking(edge.client(), false, load.clone())));
        tasks.push(tokio::spawn(keep_asking(edge.client().h2(), true, load.clone())));
        tasks.push(tokio::spawn(keep_asking(edge.client().at(Door::Plain), false, load.clone())));
        tasks.push(tokio::spawn(keep_uploading(edge.client(), load.clone())));
        tasks.push(tokio::spawn(keep_uploading(edge.client().h2(), load.clone())));
        tasks.push(tokio::spawn(keep_knocking(edge.client(), load.clone())));
        tasks.push(tokio::spawn(keep_talking(edge.client(), load.clone())));
    }
    tasks.push(tokio::spawn(keep_watching(edge.client(), load.clone())));
    tasks.push(tokio::spawn(keep_watching(edge.client().h2(), load.clone())));
    let first = edge.pid();
    for time in 1..=times {
        let (old, before) = (edge.pid(), load.requests.load(Ordering::Relaxed));
        let new = edge.upgrade().await;
        assert_ne!(old, new);
        assert_eq!(edge.generation().await, time as u64 + 1);
        eventually("the load to go on", async || {
            assert!(tasks.iter().all(|task| !task.is_finished()), "the load broke off at hand-over {time}");
            (load.requests.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .await;
    }
    assert!(is_alive(first), "downloads and WebSockets of the beginning are still its own");
    load.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no failed request and no broken connection");
    }
    is_gone(first).await;
    assert_eq!(chat.connections(), 3, "no WebSocket was opened again");
    let (requests, connections) = (load.requests.load(Ordering::Relaxed), load.connections.load(Ordering::Relaxed));
    println!("{times} hand-overs; {requests} requests on {connections} connections meanwhile");
    let failed = edge.access_log().into_iter().filter(|r| r["status"].as_u64() >= Some(400)).count();
    assert_eq!(failed, 0);
}

/// Requests on a kept connection, on a new one where the last answer said so, or a GOAWAY did.
async fn keep_asking(client: Client, two: bool, load: Arc<Load>) {
    let mut open = client.connect("shop.home.test").await;
    let mut n = 0;
    while load.goes_on() {
        if !open.is_open() {
            open = client.connect("shop.home.test").await;
            load.connections.fetch_add(1, Ordering::Relaxed);
        }
        let target = format!("/{n}");
        let answer = match open.get(&target).attempt().await {
            Ok(answer) => answer,
            // Between our look and the request the GOAWAY came: nothing was sent. HTTP/1 has no such moment.
            Err(why) if two && was_not_sent(&why) => continue,
            Err(why) => panic!("{why}"),
        };
        assert_eq!(answer.echo().target(), target);
        if answer.header("connection") == "close" {
            open = client.connect("shop.home.test").await;
            load.connections.fetch_add(1, Ordering::Relaxed);
        }
        n += 1;
        load.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether hyper says that a request never left: the connection was told to take no more.
fn was_not_sent(why: &str) -> bool {
    why.contains("Canceled") || why.contains("GoAway")
}

/// A new connection for each request.
async fn keep_knocking(client: Client, load: Arc<Load>) {
    while load.goes_on() {
        assert_eq!(client.get("shop.home.test/knock").await.status, 200);
        load.requests.fetch_add(1, Ordering::Relaxed);
        load.connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// Uploads, each on a connection of its own.
async fn keep_uploading(client: Client, load: Arc<Load>) {
    while load.goes_on() {
        let echo = client.request("POST", "shop.home.test/up").generated(300_000, true).await.echo();
        assert!(echo.length() == 300_000 && echo.is_generated());
        load.requests.fetch_add(1, Ordering::Relaxed);
        load.connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// Messages over one WebSocket, all the time.
async fn keep_talking(client: Client, load: Arc<Load>) {
    let mut socket = client.websocket("chat.home.test/ws").await;
    let mut n = 0;
    while load.goes_on() {
        socket.send(Message::text(format!("message {n}"))).await;
        assert_eq!(socket.text().await, format!("message {n}"));
        n += 1;
    }
    socket.close().await;
}

/// One download that lasts as long as the load: a piece now and then.
async fn keep_watching(client: Client, load: Arc<Load>) {
    let mut film = client.get("film.home.test/100000000000").start().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while load.goes_on() {
        film.piece().await.expect("the film goes on");
        ticks.tick().await;
    }
}
