//! A new file takes the old one's place; a faulty one changes nothing.

use bytes::Bytes;
use rustix::process::Signal;
use tokio::sync::mpsc;

use crate::harness::{CERT, DOORS, Door, FRONT, Gateway, HOME, TAIL, Upstream, doorward, eventually, streamed};

#[tokio::test]
async fn faulty_file_keeps_routes_and_connections() {
    let shop = Upstream::answering("hello").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    assert_eq!(open.get("/").await.text(), "hello");
    let generation = edge.generation().await;
    edge.write("[routes]\nshop = 7").reload().await.refused("routes.toml:2:8");
    assert_eq!(open.get("/").await.text(), "hello");
    assert_eq!(shop.connections(), 1);
    assert_eq!(edge.get("shop.home.test/").await.text(), "hello");
    assert_eq!(edge.generation().await, generation);
    assert!(edge.metric("doorward_reloads_total{result=\"refused\"}").await >= 1.0);
    edge.logs("routes.toml:2:8").await;
}

#[tokio::test]
async fn a_good_file_is_in_force_when_reload_returns() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    assert_eq!(open.get("/").host("blog.home.test").await.status, 404);
    let generation = edge.generation().await;
    edge.write_routes(format!("[routes]\nshop = \"{blog}\"\nblog = \"{blog}\"")).reload().await.accepted();
    assert_eq!(open.get("/").await.text(), "the blog", "also on connections that were there before");
    assert_eq!(open.get("/").host("blog.home.test").await.text(), "the blog");
    assert!(edge.generation().await > generation);
    assert!(edge.metric("doorward_reloads_total{result=\"accepted\"}").await >= 1.0);
}

#[tokio::test]
async fn nothing_changed_is_nothing_to_do() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    edge.reload().await.accepted();
    edge.logs("nothing to do").await;
    let said = edge.log().matches("nothing to do").count();
    edge.write_routes(format!("# a word of explanation\n\n[routes]\nshop   =   \"{shop}\" # kept"))
        .reload()
        .await
        .accepted();
    eventually("the same said again", async || (edge.log().matches("nothing to do").count() > said).then_some(()))
        .await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
}

#[tokio::test]
async fn hangup_reads_the_file_again() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let generation = edge.generation().await;
    edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nblog = \"{blog}\""));
    edge.signal(Signal::HUP);
    edge.reaches_generation(generation + 1).await;
    assert_eq!(edge.get("blog.home.test/").await.text(), "the blog");
    edge.write("broken");
    edge.signal(Signal::HUP);
    edge.logs("routes.toml:1:").await;
    assert_eq!(edge.get("blog.home.test/").await.text(), "the blog");
    assert!(!edge.has_ended());
}

#[tokio::test]
async fn an_edited_file_is_noticed_in_whatever_way_it_was_saved() {
    let upstream = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfirst = \"{upstream}\"")).await;
    let file = |name: &str| edge.expand(&format!("{FRONT}{DOORS}{CERT}{TAIL}[routes]\n{name} = \"{upstream}\""));
    let serves = async |name: &str| {
        eventually(&format!("{name} to be served"), async || {
            (edge.get(&format!("{name}.home.test/")).await.status == 200).then_some(())
        })
        .await;
    };
    let path = edge.folder().at("routes.toml");
    serves("first").await;
    // Saved beside and renamed over it.
    edge.folder().replace("routes.toml", file("renamed"));
    serves("renamed").await;
    // Written in place.
    std::fs::write(&path, file("inplace")).unwrap();
    serves("inplace").await;
    // Removed and written anew.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, file("anew")).unwrap();
    serves("anew").await;
    // A link takes its place; then the link is turned to another file.
    for name in ["linked", "turned"] {
        edge.folder().replace(&format!("{name}.toml"), file(name));
        let beside = edge.folder().at(".link");
        std::os::unix::fs::symlink(edge.folder().at(&format!("{name}.toml")), &beside).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        serves(name).await;
    }
    // What the link leads to is edited.
    edge.folder().replace("turned.toml", file("through"));
    serves("through").await;
}

#[tokio::test]
async fn an_old_modification_time_hides_nothing() {
    let upstream = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfirst = \"{upstream}\"")).await;
    let beside = edge.folder().at("store.toml");
    for name in ["one", "two"] {
        let text = edge.expand(&format!("{FRONT}{DOORS}{CERT}{TAIL}[routes]\n{name} = \"{upstream}\""));
        std::fs::write(&beside, text).unwrap();
        let epoch = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        std::fs::File::options().write(true).open(&beside).unwrap().set_times(epoch).unwrap();
        std::fs::rename(&beside, edge.folder().at("routes.toml")).unwrap();
        eventually("the new file", async || {
            (edge.get(&format!("{name}.home.test/")).await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn half_a_file_is_not_read() {
    let upstream = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfirst = \"{upstream}\"\nsecond = \"{upstream}\"")).await;
    let path = edge.folder().at("routes.toml");
    let mut clean_writes = 0;
    for round in 0..20 {
        let generation = edge.generation().await;
        let half = edge.expand(&format!("{FRONT}{DOORS}{CERT}{TAIL}# {round}\n[routes]\nfirst = \"{upstream}\"\n"));
        let whole = format!("{half}second = \"{upstream}\"\nround{round} = \"{upstream}\"\n");
        let began = std::time::Instant::now();
        // Valid TOML as far as it goes: the second route would vanish.
        std::fs::write(&path, &half).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        std::fs::write(&path, &whole).unwrap();
        // On a machine that stood still in between, half a file was all there was for long enough.
        let was_quick = began.elapsed().as_millis() < 150;
        edge.reaches_generation(generation + 1).await;
        let seen = edge.get(&format!("round{round}.home.test/")).await.status == 200;
        if was_quick {
            assert!(seen, "the first thing in force after the change is the whole file");
            clean_writes += 1;
        } else if !seen {
            edge.reaches_generation(generation + 2).await;
        }
        if clean_writes == 3 {
            return;
        }
    }
    panic!("this machine is too slow to write a file in 150 ms");
}

#[tokio::test]
async fn a_refused_edit_is_told_once_and_the_next_good_one_is_taken() {
    let upstream = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfirst = \"{upstream}\"")).await;
    edge.write_routes("[routes]\nfirst = \"nowhere\"");
    edge.logs("no upstream `nowhere`").await;
    assert_eq!(edge.get("first.home.test/").await.status, 200);
    edge.write_routes(format!("[routes]\nsecond = \"{upstream}\""));
    eventually("the good file", async || (edge.get("second.home.test/").await.status == 200).then_some(())).await;
    assert_eq!(edge.log().matches("no upstream `nowhere`").count(), 1, "{}", edge.log());
}

#[tokio::test]
async fn a_promise_of_the_file_that_is_not_kept_refuses_it() {
    let upstream = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{upstream}\"")).await;
    let promise = "\n[[expect]]\nfrom = \"guest\"\nurl = \"https://shop.home.test/\"\nis = \"denied\"\n";
    edge.write_routes(format!("[routes]\nshop = \"{upstream}\"{promise}")).reload().await.accepted();
    edge.write_routes(format!("[routes]\nshop = {{ to = \"{upstream}\", allow = [\"anyone\"] }}{promise}"))
        .reload()
        .await
        .refused("denied");
    let guest = edge.client().from(crate::harness::GUEST);
    assert_eq!(guest.get("shop.home.test/").await.status, 403, "the old file is in force");
}

#[tokio::test]
async fn a_request_in_flight_finishes_on_what_it_started_with() {
    let (pieces, body) = mpsc::channel::<Bytes>(1);
    let body = std::sync::Mutex::new(Some(body));
    let old = Upstream::serving(move |_| {
        let body = body.lock().unwrap().take();
        async move { http::Response::new(body.map_or_else(|| crate::harness::full("old"), streamed)) }
    })
    .await;
    let new = Upstream::answering("new").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{old}\"")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    pieces.send(Bytes::from_static(b"one")).await.unwrap();
    let mut answer = open.get("/long").start().await;
    assert_eq!(answer.piece().await.unwrap(), "one");
    edge.write_routes(format!("[routes]\nshop = \"{new}\"")).reload().await.accepted();
    assert_eq!(open.get("/").await.text(), "new");
    pieces.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(answer.piece().await.unwrap(), "two");
    drop(pieces);
    assert!(answer.piece().await.is_none(), "and it ends whole");
}

#[tokio::test]
async fn reload_keeps_idle_upstream_connections() {
    let [shop, blog] = [Upstream::echoing().await, Upstream::echoing().await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    open.get("/").await;
    for n in 0..5 {
        edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nblog{n} = \"{blog}\"")).reload().await.accepted();
        open.get("/").await;
    }
    assert_eq!(shop.connections(), 1);
}

#[tokio::test]
async fn websockets_stay_through_reloads() {
    let (chat, blog) = (Upstream::websocket().await, Upstream::echoing().await);
    let edge = Gateway::serving(format!("[routes]\nchat = \"{chat}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    for n in 0..10 {
        socket.echoes(&format!("before {n}")).await;
        if n % 3 == 0 {
            edge.write("[routes]\nbroken").reload().await.refused("routes.toml:");
        }
        edge.write_routes(format!("[routes]\nchat = \"{chat}\"\nblog{n} = \"{blog}\"")).reload().await.accepted();
        socket.echoes(&format!("after {n}")).await;
    }
    assert_eq!(chat.connections(), 1);
}

#[tokio::test]
async fn websockets_and_answers_of_a_vanished_route_drain() {
    let (chat, film) = (Upstream::websocket().await, Upstream::generating().await);
    let edge = Gateway::serving(format!(
        "[routes]\nchat = \"{chat}\"\nfilm = \"{film}\"\nstays = \"{chat}\"\n[drain]\nroute = \"4s\""
    ))
    .await;
    let mut going = edge.client().websocket("chat.home.test/going").await;
    let mut staying = edge.client().websocket("stays.home.test/staying").await;
    let mut answer = edge.get("film.home.test/3000000000").start().await;
    answer.piece().await.unwrap();
    edge.write_routes(format!("[routes]\nstays = \"{chat}\"\n[drain]\nroute = \"4s\"")).reload().await.accepted();
    assert_eq!(edge.get("chat.home.test/").await.status, 404, "no new ones");
    going.echoes("there is time to finish").await;
    let ended = eventually("the WebSocket of the vanished route to end", async || match going.next().await {
        Some(Ok(message)) if !message.is_close() => None,
        ended => Some(ended),
    });
    ended.await;
    let cut = eventually("the answer of the vanished route to end", async || match answer.try_piece().await {
        Some(Ok(_)) => None,
        Some(Err(_)) => Some(true),
        None => Some(false),
    });
    assert!(cut.await, "cut, not ended as if whole");
    staying.echoes("still here").await;
}

#[tokio::test]
async fn websockets_whose_client_is_no_longer_admitted_drain() {
    let chat = Upstream::websocket().await;
    let file =
        |allow: &str| format!("[routes]\nchat = {{ to = \"{chat}\", allow = [{allow}] }}\n[drain]\nroute = \"1s\"");
    let edge = Gateway::serving(file("\"home\", \"guest\"")).await;
    let mut guest = edge.client().from(crate::harness::GUEST).websocket("chat.home.test/guest").await;
    let mut home = edge.client().websocket("chat.home.test/home").await;
    guest.echoes("for now").await;
    edge.write_routes(file("\"home\"")).reload().await.accepted();
    eventually("the guest to be shown out", async || match guest.next().await {
        Some(Ok(message)) if !message.is_close() => None,
        _ => Some(()),
    })
    .await;
    home.echoes("still here").await;
    assert_eq!(chat.connections(), 2);
}

#[tokio::test]
async fn a_changed_upstream_does_not_end_websockets_to_the_old_one() {
    let [old, new] = [Upstream::websocket().await, Upstream::websocket().await];
    let edge = Gateway::serving(format!("[routes]\nchat = \"{old}\"")).await;
    let mut socket = edge.client().websocket("chat.home.test/ws").await;
    edge.write_routes(format!("[routes]\nchat = \"{new}\"")).reload().await.accepted();
    socket.echoes("to the old one").await;
    let mut fresh = edge.client().websocket("chat.home.test/ws").await;
    fresh.echoes("to the new one").await;
    assert_eq!((old.connections(), new.connections()), (1, 1));
}

#[tokio::test]
async fn access_that_was_taken_away_is_gone_at_once_for_new_requests() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    assert_eq!(open.get("/").await.status, 200);
    edge.write_routes(format!("[routes]\nshop = {{ to = \"{shop}\", allow = [\"guest\"] }}")).reload().await.accepted();
    assert_eq!(open.get("/").await.status, 403, "also on connections that were there before");
}

#[tokio::test]
async fn a_new_door_is_open_when_reload_returns_and_a_removed_one_closes() {
    let shop = Upstream::answering("the shop").await;
    let routes = format!("[routes]\nshop = \"{shop}\"");
    let more = "[listen.more]\nhttp = \"ADDR:8085\"\n";
    let edge = Gateway::serving(&routes).await;
    let door = edge.client().port(8085, false);
    assert!(door.try_connect("shop.home.test").await.is_err());
    edge.write(format!("{FRONT}{DOORS}{more}{CERT}{TAIL}{routes}")).reload().await.accepted();
    assert_eq!(door.get("shop.home.test/").await.text(), "the shop");
    let mut kept = edge.client().connect("shop.home.test").await;
    kept.get("/").await;
    edge.write_routes(&routes).reload().await.accepted();
    eventually("the removed door to close", async || door.try_connect("shop.home.test").await.err()).await;
    assert_eq!(kept.get("/").await.text(), "the shop", "the others do not notice");
}

#[tokio::test]
async fn a_door_that_cannot_be_opened_refuses_the_reload() {
    let [shop, blog] = [Upstream::answering("the shop").await, Upstream::answering("the blog").await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let taken = std::net::TcpListener::bind((edge.address(), 8085)).unwrap();
    let more = "[listen.free]\nhttp = \"ADDR:8086\"\n[listen.more]\nhttp = \"ADDR:8085\"\n";
    edge.write(format!("{FRONT}{DOORS}{more}{CERT}{TAIL}[routes]\nshop = \"{shop}\"\nblog = \"{blog}\""));
    edge.reload().await.refused("8085");
    assert_eq!(edge.get("blog.home.test/").await.status, 404, "nothing of it is in force");
    assert!(edge.client().port(8086, false).try_connect("shop.home.test").await.is_err(), "nor half of its doors");
    drop(taken);
    edge.reload().await.accepted();
    assert_eq!(edge.client().port(8085, false).get("blog.home.test/").await.text(), "the blog");
}

#[tokio::test]
async fn the_same_address_in_another_door_keeps_its_socket() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().at(Door::Plain).connect("shop.home.test").await;
    open.get("/").await;
    let inode = listening_inode(edge.pid(), Door::Plain.port());
    let doors = DOORS.replace("[listen.plain]", "[listen.renamed]\nallow = [\"guest\"]");
    edge.write(format!("{FRONT}{doors}{CERT}{TAIL}[routes]\nshop = \"{shop}\"")).reload().await.accepted();
    assert_eq!(listening_inode(edge.pid(), Door::Plain.port()), inode, "the very same socket");
    assert_eq!(edge.client().at(Door::Plain).get("shop.home.test/").await.status, 403, "under the new door's rules");
    assert_eq!(edge.client().at(Door::Plain).from(crate::harness::GUEST).get("shop.home.test/").await.status, 200);
}

/// The inode of the socket that listens on this port, among the process's own descriptors.
fn listening_inode(pid: u32, port: u16) -> String {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let own: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|fd| Some(std::fs::read_link(fd.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    let suffix = format!(":{port:04X}");
    let found = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let inode = (*fields.get(9)?).to_owned();
        (fields[1].ends_with(&suffix) && fields[3] == "0A" && own.contains(&format!("socket:[{inode}]")))
            .then_some(inode)
    });
    found.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_door_may_change_its_kind_on_the_same_address() {
    let shop = Upstream::answering("the shop").await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let doors = DOORS.replace("http = \"ADDR:8081\"", "https = \"ADDR:8081\"");
    edge.write(format!("{FRONT}{doors}{CERT}{TAIL}[routes]\nshop = \"{shop}\"")).reload().await.accepted();
    assert_eq!(edge.client().port(8081, true).get("shop.home.test/").await.text(), "the shop");
}

#[tokio::test]
async fn an_address_that_is_not_there_yet_does_not_stop_anything() {
    let shop = Upstream::answering("the shop").await;
    // TEST-NET-1: on no machine.
    let far = "[listen.far]\nhttps = \"192.0.2.1:8443\"\n";
    let edge = Gateway::running(format!("{FRONT}{DOORS}{far}{CERT}{TAIL}[routes]\nshop = \"{shop}\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
    assert!(!listening_inode(edge.pid(), 8443).is_empty());
}

#[tokio::test]
async fn reloads_leave_nothing_behind() {
    let [shop, blog] = [Upstream::echoing().await, Upstream::echoing().await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let routes: String = (0..600).map(|n| format!("r{n} = \"{blog}\"\n")).collect();
    let turn = async |n: usize| {
        let more = "[listen.more]\nhttp = \"ADDR:8085\"\n".repeat(n % 2);
        edge.write(format!("{FRONT}{DOORS}{more}{CERT}{TAIL}[routes]\nshop{n} = \"{shop}\"\n{routes}"));
        edge.reload().await.accepted();
        assert_eq!(edge.get(&format!("shop{n}.home.test/")).await.status, 200);
    };
    for n in 0..30 {
        turn(n).await;
    }
    let (memory, descriptors) = (edge.memory(), edge.descriptors());
    for n in 30..190 {
        turn(n).await;
    }
    let grown = edge.memory().saturating_sub(memory);
    assert!(grown < 32 << 20, "160 reloads cost {} MiB", grown >> 20);
    eventually("the sockets of what vanished to be closed", async || {
        (edge.descriptors() <= descriptors + 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_log_says_what_changed_and_what_was_kept() {
    let [shop, blog] = [Upstream::echoing().await, Upstream::echoing().await];
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nold = \"{blog}\"")).await;
    edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nfresh = \"{blog}\"")).reload().await.accepted();
    edge.logs("fresh").await;
    let log = edge.log();
    assert!(log.contains("old"), "{log}");
}

#[tokio::test]
async fn reload_tells_where_nobody_is_there() {
    let edge = Gateway::stopped();
    let finished = doorward(edge.folder().path(), &["reload", "--state", "state"]).await;
    assert_eq!(finished.code, 2, "{}", finished.said());
    assert!(!finished.said().is_empty());
}

#[tokio::test]
async fn reload_prints_every_fault_with_its_place() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    edge.write(
        "domain = \"home.test\"\n[listen.plain]\nhttp = \"ADDR:8081\"\n[routes]\nshop = \"nowhere\"\nblog = 7\n",
    );
    let finished = edge.reload().await.into_finished();
    assert_eq!(finished.code, 1);
    for place in ["routes.toml:5:8", "routes.toml:6:8"] {
        assert!(finished.said().contains(place), "{place} in {}", finished.said());
    }
}

#[tokio::test]
async fn many_may_ask_for_a_reload_at_once() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    edge.write_routes(format!("[routes]\nshop = \"{shop}\"\nmore = \"{shop}\""));
    let asked = (0..8).map(|_| edge.reload());
    for verdict in futures_util::future::join_all(asked).await {
        verdict.accepted();
    }
    assert_eq!(edge.get("more.home.test/").await.status, 200);
    assert_eq!(edge.get("more.home.test/").await.echo().header("x-forwarded-for"), HOME.to_string());
}
