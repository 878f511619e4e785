//! Several addresses behind one name.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use http::Response;
use tokio::sync::mpsc;

use crate::harness::{Door, Gateway, Identity, Upstream, eventually, full, streamed};

/// Servers that say their own number.
async fn numbered(count: usize) -> Vec<Upstream> {
    join_all((0..count).map(|n| async move { Upstream::answering(&n.to_string()).await })).await
}

/// As a list in the file.
fn list(members: &[Upstream]) -> String {
    format!("[{}]", members.iter().map(|m| format!("\"{m}\"")).collect::<Vec<_>>().join(", "))
}

async fn up(edge: &Gateway, member: &Upstream) -> f64 {
    edge.metric(&format!("doorward_upstream_address_up{{upstream=\"shop\",address=\"{}\"}}", member.address())).await
}

#[tokio::test]
async fn requests_go_round_and_everything_says_where_they_went() {
    let members = numbered(3).await;
    let edge = Gateway::serving(format!("[routes]\nshop = {}", list(&members))).await;
    for n in 0..9 {
        let answer = edge.get(&format!("shop.home.test/{n}")).await;
        assert_eq!(answer.text(), (n % 3).to_string());
        let record = edge.record_of(&format!("/{n}")).await;
        assert_eq!(record["upstream"], "shop");
        assert_eq!(record["upstream_address"], members[n % 3].address().to_string());
    }
    for member in &members {
        let series =
            format!("doorward_upstream_address_requests_total{{upstream=\"shop\",address=\"{}\"}}", member.address());
        assert_eq!(edge.metric(&series).await, 3.0);
        assert_eq!(up(&edge, member).await, 1.0);
    }
}

#[tokio::test]
async fn upstreams_and_paths_take_lists_too() {
    let (shop, api) = (numbered(2).await, numbered(2).await);
    let edge = Gateway::serving(format!(
        "[upstreams]\nshop = {}\n[routes.all]\nto = \"shop\"\n[routes.all.paths]\n\"/api/*\" = {}\n",
        list(&shop),
        list(&api)
    ))
    .await;
    for _ in 0..4 {
        edge.get("all.home.test/").await;
        edge.get("all.home.test/api/x").await;
    }
    assert!(shop.iter().chain(&api).all(|member| member.requests() == 2));
}

#[tokio::test]
async fn the_member_with_the_fewest_requests_is_asked() {
    // Holds whatever asks for `/wait` until told.
    let busy = Upstream::serving(|request| async move {
        if request.uri().path() == "/wait" {
            let (pieces, body) = mpsc::channel(1);
            tokio::spawn(async move { pieces.closed().await });
            return Response::new(streamed(body));
        }
        Response::new(full("busy"))
    })
    .await;
    let calm = Upstream::answering("calm").await;
    let edge =
        Gateway::serving(format!("[routes]\nshop = {{ to = [\"{busy}\", \"{calm}\"], balance = \"least-requests\" }}"))
            .await;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut open = edge.client().h2().connect("shop.home.test").await;
        let answer = open.get("/wait").start().await;
        waiting.push((open, answer));
    }
    // One of the two went to the calm one, which answered at once; the other is still there.
    for _ in 0..6 {
        assert_eq!(edge.get("shop.home.test/").await.text(), "calm");
    }
}

#[tokio::test]
async fn a_client_stays_with_its_server_and_moves_only_while_that_one_is_away() {
    let members = numbered(3).await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = {}, balance = \"sticky\" }}", list(&members))).await;
    let who = |n: u8| Ipv4Addr::new(127, 0, 0, n);
    let ask = async |n: u8| edge.client().from(who(n)).get("shop.home.test/").await.text().to_owned();
    let mut first = HashMap::new();
    for n in 1..40 {
        first.insert(n, ask(n).await);
    }
    assert_eq!(first.values().collect::<HashSet<_>>().len(), 3, "all have some");
    for n in 1..40 {
        assert_eq!(ask(n).await, first[&n], "client {n} stays");
    }
    members[1].stop().await;
    for n in 1..40 {
        let now = ask(n).await;
        match first[&n].as_str() {
            "1" => assert_ne!(now, "1"),
            theirs => assert_eq!(now, theirs, "client {n} has nothing to do with it"),
        }
    }
    members[1].start().await;
    eventually("the member to be back", async || (up(&edge, &members[1]).await == 1.0).then_some(())).await;
    for n in 1..40 {
        assert_eq!(ask(n).await, first[&n], "client {n} is back where it was");
    }
}

#[tokio::test]
async fn members_fail_and_return_under_load_and_no_request_fails() {
    let members = numbered(3).await;
    let edge = Arc::new(Gateway::serving(format!("[routes]\nshop = {}", list(&members))).await);
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|n| {
            let (over, asked) = (Arc::clone(&over), Arc::clone(&asked));
            let client = if n % 2 == 0 { edge.client() } else { edge.client().h2() };
            tokio::spawn(async move {
                let mut open = client.connect("shop.home.test").await;
                while !over.load(Ordering::Relaxed) {
                    let answer = open.get("/").await;
                    assert_eq!(answer.status, 200, "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let some_more = async |count: usize| {
        let goal = asked.load(Ordering::Relaxed) + count;
        eventually("the load to go on", async || {
            let is_well = load.iter().all(|task| !task.is_finished());
            (!is_well || asked.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
        assert!(load.iter().all(|task| !task.is_finished()), "a request failed");
    };
    for round in 0..3 {
        for member in &members {
            member.stop().await;
            some_more(200).await;
            member.start().await;
            eventually("the member to be back", async || (up(&edge, member).await == 1.0).then_some(())).await;
            let before = member.requests();
            some_more(200).await;
            assert!(member.requests() > before, "round {round}: it serves again");
        }
    }
    over.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no failed request");
    }
    edge.logs("an address fails").await;
    edge.logs("an address works again").await;
}

#[tokio::test]
async fn a_request_that_no_server_took_goes_to_the_next_whatever_its_method() {
    let (gone, away, shop) = (Upstream::absent().await, Upstream::absent().await, Upstream::echoing().await);
    let edge = Gateway::serving(format!("[routes]\nshop = [\"{gone}\", \"{away}\", \"{shop}\"]")).await;
    for n in 0..6 {
        let answer = edge.request("POST", &format!("shop.home.test/{n}")).body("once").await;
        assert_eq!(answer.echo().body(), "once");
        assert_eq!(edge.record_of(&format!("/{n}")).await["upstream_address"], shop.address().to_string());
    }
}

#[tokio::test]
async fn a_request_that_a_server_may_have_acted_on_is_not_sent_to_another() {
    let acting = || Upstream::acting(|mut peer| async move { drop(peer.request().await) });
    let (one, other) = (acting().await, acting().await);
    let edge = Gateway::serving(format!("[routes]\nshop = [\"{one}\", \"{other}\"]")).await;
    assert_eq!(edge.request("POST", "shop.home.test/").body("once").await.refusal(), (502, "upstream-closed"));
    assert_eq!(one.requests() + other.requests(), 1);
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-closed"));
    assert_eq!(one.requests() + other.requests(), 3, "what is safe was tried on both");
}

#[tokio::test]
async fn an_error_of_the_application_is_its_own_answer() {
    let sick = Upstream::serving(|_| async {
        let mut answer = Response::new(full("sick"));
        *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        answer
    })
    .await;
    let well = Upstream::answering("well").await;
    let edge = Gateway::serving(format!("[routes]\nshop = [\"{sick}\", \"{well}\"]")).await;
    let mut texts = Vec::new();
    for _ in 0..6 {
        texts.push(edge.get("shop.home.test/").await.text().to_owned());
    }
    assert_eq!(texts, ["sick", "well", "sick", "well", "sick", "well"]);
}

#[tokio::test]
async fn a_wrong_certificate_sets_its_server_aside_and_the_others_serve() {
    let [right, wrong] = [Identity::self_signed("nas"), Identity::self_signed("nas")];
    let (good, bad) = (Upstream::echoing_tls(&right).await, Upstream::echoing_tls(&wrong).await);
    let edge =
        Gateway::serving(format!("[routes]\nshop = {{ to = [\"{bad}\", \"{good}\"], pin = \"{}\" }}", right.pin()))
            .await;
    for _ in 0..6 {
        assert_eq!(edge.get("shop.home.test/").await.status, 200);
    }
    assert_eq!(bad.requests(), 0);
}

#[tokio::test]
async fn when_all_are_away_each_is_tried_and_the_answer_says_so() {
    let (one, other) = (Upstream::absent().await, Upstream::absent().await);
    let edge = Gateway::serving(format!("[routes]\nshop = [\"{one}\", \"{other}\"]")).await;
    for _ in 0..3 {
        let answer = edge.get("shop.home.test/").await;
        assert_eq!(answer.refusal(), (502, "upstream-refused"));
        assert!(answer.has("retry-after"));
    }
    // Set aside or not: what is there is found at once.
    other.start().await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
}

#[tokio::test]
async fn with_hold_the_first_that_is_back_serves() {
    let (one, other) = (Upstream::absent().await, Upstream::absent().await);
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = [\"{one}\", \"{other}\"], hold = \"60s\" }}")).await;
    let asked = tokio::spawn(edge.request("POST", "shop.home.test/").body("kept").attempt());
    let held = "doorward_held_requests{upstream=\"shop\"}";
    eventually("a held request", async || (edge.metric(held).await == 1.0).then_some(())).await;
    other.start().await;
    assert_eq!(asked.await.unwrap().unwrap().echo().body(), "kept");
}

#[tokio::test]
async fn a_held_request_follows_its_upstream_to_a_new_address() {
    let (old, new) = (Upstream::absent().await, Upstream::echoing().await);
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{old}\", hold = \"60s\" }}")).await;
    let asked = tokio::spawn(edge.get("shop.home.test/moved").attempt());
    let held = "doorward_held_requests{upstream=\"shop\"}";
    eventually("a held request", async || (edge.metric(held).await == 1.0).then_some(())).await;
    edge.write_routes(format!("[routes]\nshop = {{ to = \"{new}\", hold = \"60s\" }}")).reload().await.accepted();
    assert_eq!(asked.await.unwrap().unwrap().echo().target(), "/moved");
    assert_eq!(edge.record_of("/moved").await["upstream_address"], new.address().to_string());
}

#[tokio::test]
async fn members_come_and_go_and_the_others_keep_their_connections_and_requests() {
    let staying = Upstream::echoing().await;
    let others = numbered(3).await;
    let with = |other: &Upstream| format!("[routes]\nshop = [\"{staying}\", \"{other}\"]");
    let edge = Gateway::serving(with(&others[0])).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for n in 0..4 {
        open.get(&format!("/{n}")).await;
    }
    assert_eq!(staying.connections(), 1);
    let (pieces, body) = mpsc::channel(4);
    let mut upload = edge.client().h2().connect("shop.home.test").await;
    let sending = tokio::spawn(async move { upload.request("POST", "/upload").streamed(body).attempt().await });
    pieces.send("first ".into()).await.unwrap();
    eventually("the upload to begin", async || (staying.requests() + others[0].requests() == 5).then_some(())).await;
    let before = staying.connections();
    for other in [&others[1], &others[2], &others[0]] {
        edge.write_routes(with(other)).reload().await.accepted();
        for n in 0..4 {
            assert_eq!(open.get(&format!("/{n}")).await.status, 200);
        }
    }
    assert_eq!(staying.connections(), before, "its idle connection was kept through three changes");
    pieces.send("last".into()).await.unwrap();
    drop(pieces);
    assert_eq!(sending.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn what_is_known_of_a_member_survives_a_reload() {
    let (gone, shop) = (Upstream::absent().await, Upstream::answering("shop").await);
    let file = |more: &str| format!("[routes]\nshop = [\"{gone}\", \"{shop}\"{more}]");
    let edge = Gateway::serving(file("")).await;
    edge.get("shop.home.test/").await;
    edge.get("shop.home.test/").await;
    assert_eq!(up(&edge, &gone).await, 0.0);
    let third = Upstream::answering("third").await;
    edge.write_routes(file(&format!(", \"{third}\""))).reload().await.accepted();
    assert_eq!(up(&edge, &gone).await, 0.0, "nobody has to find out again");
    gone.start().await;
    eventually("it to be tried again", async || (up(&edge, &gone).await == 1.0).then_some(())).await;
}

#[tokio::test]
async fn the_table_shows_each_address_and_whether_it_fails() {
    let (gone, shop) = (Upstream::absent().await, Upstream::answering("shop").await);
    let edge =
        Gateway::serving(format!("[routes]\nshop = {{ to = [\"{gone}\", \"{shop}\"], balance = \"sticky\" }}")).await;
    for n in 1..20 {
        edge.client().from(Ipv4Addr::new(127, 0, 0, n)).get("shop.home.test/").await;
    }
    let table = crate::harness::doorward(edge.folder().path(), &["routes", "--state", "state"]).await;
    let said = table.said();
    assert!(said.contains("2 addresses, sticky"), "{said}");
    assert!(said.contains(&format!("{gone} fails")) && said.contains(&shop.to_string()), "{said}");
}

#[tokio::test]
async fn a_prefix_is_replaced_where_the_path_says_so() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\n[routes.shop.paths]\n\"/app/*\" = {{ replace = \"/v2\" }}\n\"/old\" = {{ replace = \"/new\" }}\n"
    ))
    .await;
    for (asked, sent) in [
        ("/app/x%2Fy?q=/app/", "/v2/x%2Fy?q=/app/"),
        ("/app", "/v2"),
        ("/app?q", "/v2?q"),
        ("/old?a", "/new?a"),
        ("/older", "/older"),
    ] {
        let open = edge.client().at(Door::Https);
        assert_eq!(open.get(&format!("shop.home.test{asked}")).await.echo().target(), sent, "{asked}");
    }
    assert_eq!(edge.get("shop.home.test/%61pp/x").await.refusal(), (400, "bad-path"));
}
