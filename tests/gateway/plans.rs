//! `doorward plan`: the change in terms of names and people, before it is one.

use serde_json::Value;

use crate::harness::{CERT, DOORS, FRONT, Finished, Folder, GUEST, Gateway, TAIL, Upstream, doorward, eventually};

async fn plan(edge: &Gateway, routes: &str, words: &[&str]) -> Finished {
    edge.folder().replace("new.toml", edge.expand(&format!("{FRONT}{DOORS}{CERT}{TAIL}{routes}")));
    let words = [&["plan", "new.toml", "--state", "state"], words].concat();
    doorward(edge.folder().path(), &words).await
}

async fn planned(edge: &Gateway, routes: &str) -> Value {
    let finished = plan(edge, routes, &["--json"]).await;
    serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("{e}: {}", finished.said()))
}

const NOW: &str = "[routes]\nshop = \"http://127.0.0.1:9\"\nblog = { to = \"http://127.0.0.1:9\", public = \"blog.example\" }\n\
                   wiki = \"http://127.0.0.1:9\"\nhall = \"http://127.0.0.1:9\"\n";

#[tokio::test]
async fn routes_people_and_doors_are_named_and_the_rest_is_one_line() {
    let edge = Gateway::serving(NOW).await;
    let new = NOW
        .replace(
            "shop = \"http://127.0.0.1:9\"",
            "shop = { to = \"http://127.0.0.1:8\", allow = [\"home\", \"guest\"] }",
        )
        .replace(
            "wiki = \"http://127.0.0.1:9\"\n",
            "news = { to = \"http://127.0.0.1:7\", allow = [\"127.0.1.0/25\"] }\n",
        );
    let said = plan(&edge, &new, &[]).await;
    assert_eq!(said.code, 0, "{}", said.said());
    let flat = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "against generation 1, which is in force:",
        "+ news news.home.test -> news http://127.0.0.1:7",
        "- wiki wiki.home.test -> wiki http://127.0.0.1:9",
        "~ shop to: shop http://127.0.0.1:9 -> shop http://127.0.0.1:8",
        "allow: as the door or the file says -> home, guest",
        "= 2 as before",
        "+ guest may now enter, through door main: shop.home.test",
        "+ part of guest (127.0.1.0-127.0.1.127) may now enter, through door main: news.home.test",
        "- home may no longer enter, through door main: wiki.home.test",
        "promises the file makes none",
    ] {
        assert!(flat.contains(part), "`{part}` in\n{}", said.out);
    }
    assert!(!said.out.contains("hall") && !said.out.contains("blog"), "{}", said.out);
    assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
}

#[tokio::test]
async fn nothing_to_change_is_said_and_exit_codes_tell_it_apart() {
    let edge = Gateway::serving(NOW).await;
    let same = plan(&edge, &format!("# a comment\n{NOW}"), &["--exit-code"]).await;
    assert_eq!(same.code, 0, "{}", same.said());
    assert!(same.out.contains("nothing would change") && same.out.contains("4 routes as before"), "{}", same.out);
    let more = format!("{NOW}news = \"http://127.0.0.1:9\"\n");
    assert_eq!(plan(&edge, &more, &["--exit-code"]).await.code, 3);
    assert_eq!(plan(&edge, &more, &[]).await.code, 0);
    let faulty = plan(&edge, &format!("{NOW}news = 7\n"), &["--exit-code"]).await;
    assert_eq!(faulty.code, 1);
    assert!(faulty.said().contains("would be refused; nothing has changed"), "{}", faulty.said());
    let nobody = doorward(edge.folder().path(), &["plan", "new.toml", "--state", "elsewhere"]).await;
    assert_eq!(nobody.code, 2, "{}", nobody.said());
}

#[tokio::test]
async fn a_plan_changes_nothing() {
    let edge = Gateway::serving(NOW).await;
    let before = edge.metrics().await.matches("news").count();
    let new = NOW.replace("shop", "news") + "[listen.more]\nhttp = \"ADDR:8083\"\n";
    let planned = planned(&edge, &new).await;
    assert_eq!(planned["changes"], true);
    assert!(planned["doors"][0].as_str().unwrap().starts_with("door more opens"), "{planned}");
    assert_eq!(edge.generation().await, 1);
    assert_eq!(edge.metrics().await.matches("news").count(), before);
    assert_eq!(edge.get("news.home.test/").await.status, 404);
    std::net::TcpListener::bind((edge.address(), 8083)).expect("nobody listens there");
}

#[tokio::test]
async fn a_promise_that_would_break_is_told_before_anything_happens() {
    let edge = Gateway::serving(NOW).await;
    let promise = "[[expect]]\nfrom = \"guest\"\nurl = \"https://shop.home.test/\"\nis = \"denied\"\n";
    let kept = planned(&edge, &format!("{NOW}{promise}")).await;
    assert_eq!((&kept["promises"], &kept["changes"]), (&Value::from(1), &Value::from(false)));
    let open =
        NOW.replace("shop = \"http://127.0.0.1:9\"", "shop = { to = \"http://127.0.0.1:9\", allow = [\"anyone\"] }");
    let broken = planned(&edge, &format!("{open}{promise}")).await;
    assert_eq!(broken["refused"], true);
    assert!(broken["faults"][0]["message"].as_str().unwrap().contains("(guest) reaches `shop`"), "{broken}");
}

#[tokio::test]
async fn open_websockets_that_would_end_are_counted() {
    let chat = Upstream::websocket().await;
    let now = format!("[routes]\nchat = \"{chat}\"\ntalk = \"{chat}\"\n");
    let edge = Gateway::serving(&now).await;
    let _stays = edge.client().websocket("chat.home.test/").await;
    let _goes = edge.client().websocket("talk.home.test/").await;
    let new = now.replace("talk = ", "other = ");
    eventually("both WebSockets to be open", async || {
        let seen = planned(&edge, &new).await["connections"].clone();
        let count = |name: &str| seen[name].as_u64().unwrap();
        (count("websockets") == 2 && count("websockets_ending") == 1 && count("connections_closing") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_planned_for_people_is_what_they_get() {
    let shop = Upstream::echoing().await;
    let now = format!("[routes.shop]\nto = \"{shop}\"\npaths = {{ \"/a/*\" = {{ allow = [\"guest\"] }} }}\n");
    let edge = Gateway::serving(&now).await;
    let new = now.replace("[\"guest\"]", "[\"home\"]");
    let planned = planned(&edge, &new).await;
    let changes = planned["access"].as_array().unwrap();
    let of = |gains: bool| changes.iter().find(|c| c["gains"] == gains && c["door"] == "main").unwrap();
    assert_eq!((&of(true)["who"][0], &of(true)["to"][0]), (&"home".into(), &"shop.home.test/a/*".into()));
    assert_eq!((&of(false)["who"][0], &of(false)["to"][0]), (&"guest".into(), &"shop.home.test/a/*".into()));
    let guest = edge.client().from(GUEST);
    assert_eq!((guest.get("shop.home.test/a/b").await.status, edge.get("shop.home.test/a/b").await.status), (200, 403));
    edge.write_routes(&new).reload().await.accepted();
    assert_eq!((guest.get("shop.home.test/a/b").await.status, edge.get("shop.home.test/a/b").await.status), (403, 200));
}

#[tokio::test]
async fn a_file_is_compared_with_a_file() {
    let folder = Folder::new();
    let base = "domain = \"home.test\"\nallow = [\"lan\"]\nnetworks = { lan = [\"10.0.0.0/24\"] }\n[listen.a]\nhttps = \":443\"\n\
                [cert.a]\nnames = [\"*.home.test\"]\nchallenge = \"dns-01\"\ndns = \"cloudflare\"\ntoken_file = \"/t\"\n\
                [routes]\nshop = \"http://10.0.0.9\"\n\"blog.example\" = \"http://10.0.0.9\"\n";
    folder.replace("old.toml", base);
    folder.replace("new.toml", base.replace("*.home.test", "blog.example").replace("10.0.0.0/24", "10.0.0.0/25"));
    let words = ["plan", "new.toml", "--config", "old.toml"];
    let said = doorward(folder.path(), &words).await;
    assert_eq!(said.code, 0, "{}", said.said());
    let flat = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "- part of lan (10.0.0.128-10.0.0.255) may no longer enter, through door a: blog.example, shop.home.test",
        "- no longer for shop.home.test",
        "+ newly for blog.example",
        "network lan: 10.0.0.0/24 -> 10.0.0.0/25",
        "[cert.a]: ordered for *.home.test -> ordered for blog.example",
    ] {
        assert!(flat.contains(part), "`{part}` in\n{}", said.out);
    }
    folder.replace("new.toml", "nonsense");
    assert_eq!(doorward(folder.path(), &words).await.code, 1);
}
