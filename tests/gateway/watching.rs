//! `doorward tail` and `doorward top`: what happens, as it happens.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::harness::{GUEST, Gateway, PATIENCE, Upstream, doorward, eventually, program};

/// A `doorward tail` that runs until it is dropped.
struct Tail {
    child: Child,
    lines: Receiver<String>,
}

impl Tail {
    fn of(edge: &Gateway, words: &[&str]) -> Tail {
        let mut command = program(edge.folder().path());
        command.args(["tail", "--state", "state"]).args(words).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Tail { child, lines }
    }

    /// The next line that holds a text.
    fn line_with(&self, text: &str) -> String {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the tail has it: it may not listen yet when the first request ends.
async fn until_told(edge: &Gateway, tail: &Tail, place: &str, text: &str) -> String {
    eventually(&format!("a line with `{text}`"), async || {
        edge.get(place).await;
        tail.lines.try_iter().find(|line| line.contains(text))
    })
    .await
}

#[tokio::test]
async fn tail_shows_requests_as_they_end_and_why_one_was_refused() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nblog = \"{shop}\"")).await;
    let tail = Tail::of(&edge, &[]);
    let line = until_told(&edge, &tail, "shop.home.test/first", "/first").await;
    assert!(
        line.contains(" 200 GET ") && line.contains("127.0.0.7") && line.contains("shop.home.test/first"),
        "{line}"
    );
    edge.client().from(GUEST).get("shop.home.test/second").await;
    assert!(tail.line_with("/second").contains(" 403 GET "));
    assert!(tail.line_with("access-denied").contains("is not in [home]"));
}

#[tokio::test]
async fn tail_of_a_route_and_of_failures_leaves_the_rest_out() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nblog = \"{shop}\"")).await;
    let of_blog = Tail::of(&edge, &["blog", "--json"]);
    let failures = Tail::of(&edge, &["--errors", "--json"]);
    until_told(&edge, &of_blog, "blog.home.test/begin", "/begin").await;
    until_told(&edge, &failures, "none.home.test/begin", "/begin").await;
    edge.get("shop.home.test/other").await;
    edge.get("blog.home.test/wanted").await;
    let next = |tail: &Tail, end: &str| -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let line = tail.lines.recv_timeout(PATIENCE).expect("another line");
            let record: Value = serde_json::from_str(&line).unwrap();
            let is_last = record["path"] == end;
            all.push(record);
            if is_last {
                return all;
            }
        }
    };
    assert!(next(&of_blog, "/wanted").iter().all(|record| record["route"] == "blog"));
    edge.client().from(GUEST).get("shop.home.test/refused").await;
    assert!(next(&failures, "/refused").iter().all(|record| record["cause"].is_string()));
    let unknown = doorward(edge.folder().path(), &["tail", "shoop", "--state", "state"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.said().contains("no route `shoop`; did you mean `shop`?"), "{}", unknown.said());
}

#[tokio::test]
async fn a_tail_that_is_gone_costs_nothing_and_one_that_reads_nothing_holds_up_nobody() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let silent = {
        let mut command = program(edge.folder().path());
        command.args(["tail", "--json", "--state", "state"]).stdout(Stdio::piped());
        command.spawn().expect("the program starts")
    };
    let gone = Tail::of(&edge, &[]);
    until_told(&edge, &gone, "shop.home.test/", "shop.home.test").await;
    drop(gone);
    let mut connection = edge.client().connect("shop.home.test").await;
    let long = "x".repeat(2_000);
    for _ in 0..600 {
        assert_eq!(connection.get(&format!("/{long}")).await.status, 200);
    }
    let mut silent = silent;
    let _ = silent.kill();
    let _ = silent.wait();
}

#[tokio::test]
async fn top_tells_what_each_route_does() {
    let shop = Upstream::echoing().await;
    let gone = Upstream::absent().await;
    let chat = Upstream::websocket().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\ngone = \"{gone}\"\nchat = \"{chat}\"")).await;
    let _open = edge.client().websocket("chat.home.test/").await;
    edge.get("gone.home.test/").await;
    let words = ["top", "--once", "--json", "--state", "state"];
    let asked = doorward(edge.folder().path(), &words);
    let busy = async {
        loop {
            edge.get("shop.home.test/").await;
            edge.get("gone.home.test/").await;
        }
    };
    let finished = tokio::select! {
        finished = asked => finished,
        () = busy => unreachable!("it never ends"),
    };
    assert_eq!(finished.code, 0, "{}", finished.said());
    let table: Value = serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("{e}: {}", finished.said()));
    let route = |name: &str| {
        let routes = table["routes"].as_array().unwrap();
        routes.iter().find(|route| route["name"] == name).unwrap_or_else(|| panic!("{name} in {table}")).clone()
    };
    assert!(route("shop")["requests_per_second"].as_f64().unwrap() > 0.0, "{table}");
    assert_eq!((&route("shop")["errors_per_second"], &route("shop")["upstream"]), (&0.0.into(), &"ok".into()));
    assert!(route("gone")["errors_per_second"].as_f64().unwrap() > 0.0, "{table}");
    assert_eq!(route("gone")["upstream"], "refused");
    assert_eq!((&route("chat")["websockets"], &route("chat")["in_flight"]), (&1.into(), &1.into()));
    let text = doorward(edge.folder().path(), &["top", "--once", "--filter", "cha", "--state", "state"]).await;
    assert!(text.out.contains("chat") && !text.out.contains("shop"), "{}", text.out);
    assert!(text.out.lines().all(|line| line.chars().count() <= 80), "{}", text.out);
    let blind = doorward(edge.folder().path(), &["top", "--state", "state"]).await;
    assert_eq!(blind.code, 2, "{}", blind.said());
}
