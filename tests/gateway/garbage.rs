//! Bytes that are no HTTP: answered in our own words, recorded, and the end of that connection only.

use crate::harness::{Client, Door, Gateway, HOME, STRANGER, Upstream, eventually};

/// Sends bytes, and gives what came back until the end.
async fn told(client: Client, bytes: impl AsRef<[u8]>) -> String {
    let mut raw = client.raw("shop.home.test").await;
    let _ = raw.try_send(bytes).await;
    raw.rest().await
}

fn id_of(said: &str) -> &str {
    said.rsplit("id ").next().unwrap().trim()
}

/// Waits for the record of this id, and looks at its cause.
async fn recorded(edge: &Gateway, id: &str, cause: &str) {
    let what = format!("a record of {id}");
    let record = eventually(&what, async || edge.access_log().into_iter().find(|record| record["id"] == id)).await;
    assert_eq!(record["cause"], cause);
}

#[tokio::test]
async fn what_is_no_http_is_told_so_and_recorded_under_the_same_id() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let large = format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\nX: {}\r\n\r\n", "a".repeat(100_000));
    let many: String = (0..300).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: shop.home.test\r\n{many}\r\n");
    let long = format!("GET /{} HTTP/1.1\r\nHost: shop.home.test\r\n\r\n", "a".repeat(100_000));
    let endless = format!("GET /{}", "a".repeat(300_000));
    let cases = [
        (&*long, 414, "target-limit", "limit"),
        (&endless, 414, "target-limit", "limit"),
        ("this is no HTTP at all\r\n\r\n", 400, "bad-request", "denied"),
        ("\0\x01\x02\x03\r\n\r\n", 400, "bad-request", "denied"),
        ("GET / HTTP/1.1\r\nHost shop\r\n\r\n", 400, "bad-request", "denied"),
        (&large, 431, "head-limit", "limit"),
        (&many, 431, "head-limit", "limit"),
    ];
    for (bytes, status, cause, word) in cases {
        for client in [edge.client().at(Door::Plain), edge.client()] {
            let said = told(client.clone().from(HOME), bytes).await;
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.40}: {said}");
            assert!(said.contains(&format!("x-doorward-error: {cause}\r\n")), "{said}");
            assert!(said.contains("connection: close\r\n"), "{said}");
            let id = id_of(&said).to_owned();
            recorded(&edge, &id, cause).await;
            let said = told(client.from(STRANGER), bytes).await;
            assert!(said.contains(&format!("x-doorward-error: {word}\r\n")), "{said}");
            assert!(said.contains(&format!("\r\n\r\n{status} {word}\nid ")), "{said}");
        }
    }
    assert_eq!(shop.requests(), 0);
    assert_eq!(edge.metric("doorward_connections_ended_total{cause=\"not-http\"}").await, 28.0);
}

#[tokio::test]
async fn a_body_that_is_not_sent_as_chunks_are_is_refused_with_the_reason() {
    let (shop, modern) = (Upstream::echoing().await, Upstream::echoing_http2().await);
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"\nmodern = \"{}\"", modern.url("h2c"))).await;
    let zeros = "0".repeat(2000) + "5\r\nhello\r\n0\r\n\r\n";
    let cases = [
        ("5;a\0b\r\nhello\r\n0\r\n\r\n", "control characters"),
        (&*zeros, "1024 bytes"),
        ("5\r\nhelloXX", "longer than it says"),
        ("x\r\n", "no number"),
    ];
    for (nth, (bad, why)) in cases.into_iter().enumerate() {
        for name in ["shop", "modern"] {
            let path = format!("/{name}/{nth}");
            let head = format!("POST {path} HTTP/1.1\r\nHost: {name}.home.test\r\nTransfer-Encoding: chunked\r\n\r\n");
            let said = told(edge.client().at(Door::Plain), head + bad).await;
            assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("bad-request"), "{bad:.20}: {said}");
            let record = edge.record_of(&path).await;
            let detail = record["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("not sent as chunks are") && detail.contains(why), "{record}");
        }
    }
}

#[tokio::test]
async fn garbage_behind_good_requests_spoils_none_of_their_answers() {
    let shop = Upstream::generating().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let good = "GET /100000 HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    for client in [edge.client().at(Door::Plain), edge.client()] {
        for count in [1, 3] {
            let said = told(client.clone(), format!("{}rubbish\r\n\r\n", good.repeat(count))).await;
            assert_eq!(said.matches("HTTP/1.1 200 OK\r\n").count(), count, "{said:.300}");
            assert!(said.len() > 100_000 * count, "{} bytes", said.len());
            let last = said.rfind("HTTP/1.1 400 Bad Request\r\n").expect("an answer to the rubbish");
            assert!(said[last..].contains("x-doorward-error: bad-request\r\n"), "{}", &said[last..]);
        }
    }
}

#[tokio::test]
async fn an_upstream_that_answers_like_hyper_is_passed_on_as_it_is() {
    let bare = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let shop = Upstream::recording(bare).await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let mut connection = client.connect("shop.home.test").await;
        for _ in 0..3 {
            let answer = connection.get("/").await;
            assert_eq!(answer.status, 400);
            assert!(!answer.headers.contains_key("x-doorward-error"), "{answer}");
        }
    }
}

#[tokio::test]
async fn plain_http_at_a_door_of_tls_is_told_what_door_it_is() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let client = edge.client().port(Door::Https.port(), false);
    let said = told(client.clone(), "GET /typed HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
    assert!(said.contains("write `https://` before the name"), "{said}");
    let id = id_of(&said).to_owned();
    recorded(&edge, &id, "bad-request").await;
    assert_eq!(edge.metric("doorward_tls_handshakes_failed_total{cause=\"not-tls\"}").await, 1.0);
    let stranger = told(client.from(STRANGER), "GET / HTTP/1.1\r\n\r\n").await;
    assert!(stranger.contains("400 denied"), "{stranger}");
}

#[tokio::test]
async fn tls_at_a_plain_door_is_recorded_as_what_it_is() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let handshake = edge.client().port(Door::Plain.port(), true).try_connect("shop.home.test").await;
    assert!(handshake.is_err());
    let records = edge.records_of("").await;
    assert_eq!(records[0]["detail"], "TLS at a door that speaks plain http", "{records:?}");
}
