//! Requests that wait for an upstream that is away.

use futures_util::future::join_all;

use crate::harness::{Door, Gateway, Identity, Upstream, eventually};

/// Waits until the gateway holds this many requests.
async fn held(edge: &Gateway, count: usize) {
    eventually(&format!("{count} held requests"), async || (holding(edge).await >= count).then_some(())).await;
}

/// Requests held now, over all upstreams.
async fn holding(edge: &Gateway) -> usize {
    let metrics = edge.metrics().await;
    let lines = metrics.lines().filter(|l| l.starts_with("doorward_held_requests{"));
    lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as usize
}

#[tokio::test]
async fn requests_wait_for_a_restart_and_are_then_answered() {
    let shop = Upstream::absent().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", hold = \"60s\" }}")).await;
    let upload = "a body that nobody read while it waited";
    let asked = async {
        tokio::join!(
            edge.get("shop.home.test/one"),
            edge.client().h2().get("shop.home.test/two"),
            edge.request("POST", "shop.home.test/three").body(upload),
            edge.client().h2().request("PUT", "shop.home.test/four").pieces(&[upload], &[]),
        )
    };
    let restart = async {
        held(&edge, 4).await;
        shop.start().await;
    };
    let ((one, two, three, four), ()) = tokio::join!(asked, restart);
    for (answer, target) in [(one, "/one"), (two, "/two")] {
        assert_eq!(answer.echo().target(), target);
    }
    assert_eq!(three.echo().body(), upload);
    assert_eq!(four.echo().body(), upload);
    assert_eq!(edge.record_of("/one").await["status"], 200);
}

#[tokio::test]
async fn a_server_that_goes_away_between_requests_is_waited_for() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", hold = \"60s\" }}")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    assert_eq!(open.get("/before").await.status, 200);
    shop.stop().await;
    let restart = async {
        held(&edge, 1).await;
        shop.start().await;
    };
    let (answer, ()) = tokio::join!(async { open.get("/after").await }, restart);
    assert_eq!(answer.echo().target(), "/after");
}

#[tokio::test]
async fn a_handshake_that_is_cut_off_is_waited_for_too() {
    let identity = Identity::self_signed("nas");
    let front = Upstream::acting(|_| async {}).await;
    let edge = Gateway::serving(format!(
        "[routes]\nshop = {{ to = \"{}\", pin = \"{}\", hold = \"60s\" }}",
        front.url("https"),
        identity.pin()
    ))
    .await;
    let asked = tokio::spawn(edge.get("shop.home.test/").attempt());
    held(&edge, 1).await;
    assert!(!asked.is_finished());
    front.stop().await;
    let real = Upstream::echoing_tls_at(front.address(), &identity).await;
    assert_eq!(asked.await.unwrap().unwrap().echo().target(), "/");
    drop(real);
}

#[tokio::test]
async fn when_the_hold_ends_the_answer_is_503_with_a_time_to_come_back() {
    let shop = Upstream::absent().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", hold = \"500ms\" }}")).await;
    for client in [edge.client(), edge.client().h2()] {
        let answer = client.get("shop.home.test/").await;
        assert_eq!(answer.refusal(), (503, "upstream-away"));
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0), "{answer}");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_waited_for_too() {
    let edge = Gateway::serving("[routes]\nshop = { to = \"http://nowhere.invalid\", hold = \"1s\" }").await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (503, "upstream-away"));
}

#[tokio::test]
async fn without_hold_a_missing_server_is_told_at_once() {
    let shop = Upstream::absent().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let answer = edge.get("shop.home.test/").await;
    assert_eq!(answer.refusal(), (502, "upstream-refused"));
    assert!(answer.has("retry-after"), "{answer}");
}

#[tokio::test]
async fn a_wrong_certificate_is_not_waited_for() {
    let [pinned, shown] = [Identity::self_signed("nas"), Identity::self_signed("nas")];
    let shop = Upstream::echoing_tls(&shown).await;
    let edge =
        Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", pin = \"{}\", hold = \"10m\" }}", pinned.pin()))
            .await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "tls-pin-mismatch"));
}

#[tokio::test]
async fn other_routes_are_served_meanwhile() {
    let (away, blog) = (Upstream::absent().await, Upstream::answering("the blog").await);
    let edge =
        Gateway::serving(format!("[routes]\naway = {{ to = \"{away}\", hold = \"10m\" }}\nblog = \"{blog}\"")).await;
    let mut open = edge.client().h2().connect("blog.home.test").await;
    let mut beside = open.beside();
    let waiting = tokio::spawn(async move { beside.get("/").host("away.home.test").attempt().await });
    held(&edge, 1).await;
    for _ in 0..5 {
        assert_eq!(open.get("/").await.text(), "the blog");
    }
    away.start().await;
    assert_eq!(waiting.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn who_hangs_up_is_no_longer_held() {
    let shop = Upstream::absent().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", hold = \"10m\" }}")).await;
    let mut raw = edge.raw().await;
    raw.send("GET /gone HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    held(&edge, 1).await;
    drop(raw);
    eventually("the request to be let go", async || (holding(&edge).await == 0).then_some(())).await;
    let record = edge.record_of("/gone").await;
    assert_eq!(record["aborted"], true, "{record}");
    shop.start().await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
    assert_eq!(shop.requests(), 1, "the lost request was not sent");
}

#[tokio::test]
async fn at_most_a_thousand_wait_and_the_rest_fail_at_once() {
    let shop = Upstream::absent().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", hold = \"10m\" }}")).await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let open = edge.client().h2().connect("shop.home.test").await;
        for _ in 0..50 {
            let mut beside = open.beside();
            waiting.push(tokio::spawn(async move { beside.get("/").attempt().await }));
        }
        waiting.push(tokio::spawn(async move {
            // Keeps the connection for its streams.
            let mut open = open;
            open.closed().await;
            Err("closed".to_owned())
        }));
    }
    held(&edge, 1000).await;
    let refused = edge.get("shop.home.test/").await;
    assert!(refused.status == 502 || refused.status == 503, "{refused}");
    assert!(refused.has("retry-after"), "{refused}");
    shop.start().await;
    let (keepers, requests): (Vec<_>, Vec<_>) = waiting.into_iter().enumerate().partition(|(n, _)| n % 51 == 50);
    for answer in join_all(requests.into_iter().map(|(_, task)| task)).await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
    keepers.iter().for_each(|(_, task)| task.abort());
}

#[tokio::test]
async fn a_websocket_waits_too() {
    let chat = Upstream::websocket().await;
    chat.stop().await;
    let edge = Gateway::serving(format!("[routes]\nchat = {{ to = \"{chat}\", hold = \"60s\" }}")).await;
    let client = edge.client().at(Door::Plain);
    let restart = async {
        held(&edge, 1).await;
        chat.start().await;
    };
    let (mut socket, ()) = tokio::join!(client.websocket("chat.home.test/ws"), restart);
    socket.echoes("here at last").await;
}
