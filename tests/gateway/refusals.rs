//! Answers that the gateway makes itself: one table, few words for strangers, an id that is also in the log.

use std::collections::HashSet;

use http::Response;

use crate::harness::{Answer, Door, Gateway, STRANGER, Upstream, full};

/// A gateway with one route for every way in which an upstream can fail.
async fn failing() -> (Gateway, Vec<Upstream>) {
    let absent = Upstream::absent().await;
    let closing = Upstream::acting(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let garbling = Upstream::recording("this is not HTTP\r\n\r\n").await;
    let silent = Upstream::acting(|mut peer| async move { peer.until_closed().await }).await;
    let fine = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes]\nrefused = \"{absent}\"\nclosed = \"{closing}\"\ngarbled = \"{garbling}\"\n\
         unresolved = \"http://nowhere.invalid\"\nsilent = {{ to = \"{silent}\", idle = \"1s\" }}\n\
         tls = {{ to = \"{}\", verify = false }}\nsmall = {{ to = \"{fine}\", max_body = \"10\" }}\nfine = \"{fine}\"\n\
         [routes.open]\nto = \"{absent}\"\nallow = [\"anyone\"]\n",
        fine.url("https")
    ))
    .await;
    (edge, vec![absent, closing, garbling, silent, fine])
}

#[tokio::test]
async fn every_failure_has_its_status_and_its_cause() {
    let (edge, _upstreams) = failing().await;
    for client in [edge.client(), edge.client().h2()] {
        for (place, status, cause) in [
            ("refused.home.test/", 502, "upstream-refused"),
            ("closed.home.test/", 502, "upstream-closed"),
            ("garbled.home.test/", 502, "upstream-bad-response"),
            ("unresolved.home.test/", 502, "upstream-unresolved"),
            ("silent.home.test/", 504, "upstream-timeout"),
            ("tls.home.test/", 502, "upstream-tls"),
            ("nothere.home.test/", 404, "no-route"),
        ] {
            let answer = client.get(place).await;
            assert_eq!(answer.refusal(), (status, cause), "{place}");
        }
        let big = client.request("POST", "small.home.test/").body("eleven bytes").await;
        assert_eq!(big.refusal(), (413, "body-limit"));
        assert_eq!(client.request("TRACE", "fine.home.test/").await.refusal(), (405, "method-not-allowed"));
    }
    let said = edge.says("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await;
    assert!(said.contains("x-doorward-error: bad-request"), "{said}");
}

#[tokio::test]
async fn a_machine_that_does_not_accept_is_given_up_after_five_seconds() {
    // A full queue that nobody empties: the kernel drops further attempts, as a machine that is off does.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from((crate::harness::own_address(&[]), 0)).into()).unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(300)) {
        queued.push(stream);
    }
    let edge = Gateway::serving(format!("[routes]\nshop = \"http://{address}\"")).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (504, "upstream-connect-timeout"));
}

#[tokio::test]
async fn the_id_on_the_page_is_the_id_in_the_log() {
    let (edge, _upstreams) = failing().await;
    for (n, host) in
        ["refused.home.test", "closed.home.test", "nothere.home.test", "garbled.home.test"].iter().enumerate()
    {
        let answer = edge.get(&format!("{host}/{n}")).await;
        let record = edge.record_of(&format!("/{n}")).await;
        let id = record["id"].as_str().expect("an id");
        assert!(answer.text().contains(id), "{id} on {answer}");
        assert_eq!(record["cause"], answer.cause());
        assert_eq!(record["status"], answer.status);
    }
}

#[tokio::test]
async fn a_stranger_is_told_one_of_four_words_and_an_id() {
    let (edge, upstreams) = failing().await;
    let stranger = edge.client().from(STRANGER);
    for client in [stranger.clone(), stranger.clone().h2(), stranger.at(Door::Plain)] {
        let denied = client.get("refused.home.test/secret").await;
        assert_eq!(denied.refusal(), (403, "denied"));
        let away = client.get("open.home.test/secret").await;
        assert_eq!(away.refusal(), (502, "unavailable"));
        for answer in [denied, away] {
            tells_nothing(&answer, &upstreams);
        }
    }
}

fn tells_nothing(answer: &Answer, upstreams: &[Upstream]) {
    let said = answer.to_string().to_ascii_lowercase();
    let port = upstreams[0].address().port().to_string();
    for secret in ["127.", &port, "upstream", "refused", "connection", "route", "secret", "os error"] {
        assert!(!said.contains(secret), "`{secret}` in {said}");
    }
}

#[tokio::test]
async fn a_stranger_behind_the_tunnel_is_told_no_more() {
    let shop = Upstream::echoing().await;
    let absent = Upstream::absent().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"\nmax_body = \"10\"\n[routes.away]\nto = \"{absent}\"\npublic = \"away.example.com\""
    ))
    .await;
    let tunnel = edge.client().at(Door::Tunnel);
    let visitor = |method: &str, place: &str| tunnel.request(method, place).header("cf-connecting-ip", "203.0.113.9");
    assert_eq!(visitor("GET", "nothere.example.com/").await.refusal(), (404, "not-found"));
    assert_eq!(visitor("GET", "away.example.com/").await.refusal(), (502, "unavailable"));
    assert_eq!(visitor("POST", "shop.example.com/").body("eleven bytes").await.refusal(), (413, "limit"));
}

#[tokio::test]
async fn ids_are_random() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    let mut open = edge.client().connect("shop.home.test").await;
    for n in 0..50 {
        open.get(&format!("/{n}")).await;
    }
    edge.records_of("/49").await;
    let ids: HashSet<String> = edge.access_log().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
    assert!(ids.len() >= 50, "{}", ids.len());
    assert!(ids.iter().all(|id| id.len() == 16), "80 bits");
}

#[tokio::test]
async fn browsers_get_a_page_and_others_get_text() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = edge.get("shop.home.test/").header("accept", browser).await;
    assert!(page.header("content-type").starts_with("text/html"), "{page}");
    assert!(page.text().contains("<html"), "{page}");
    for accept in ["*/*", "application/json"] {
        let text = edge.get("shop.home.test/").header("accept", accept).await;
        assert!(text.header("content-type").starts_with("text/plain"), "{text}");
        assert!(!text.text().contains('<'), "{text}");
    }
    let text = edge.get("shop.home.test/").await;
    assert!(text.header("content-type").starts_with("text/plain"), "{text}");
}

#[tokio::test]
async fn a_page_never_repeats_what_the_client_wrote() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    let ask = edge.get("shop.home.test/<script>alert(1)</script>").attempt().await;
    drop(ask);
    let said = edge
        .says("GET /%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1\r\nHost: shop.home.test\r\nAccept: text/html\r\nUser-Agent: <script>\r\n\r\n")
        .await;
    assert!(!said.contains("script>alert") && !said.contains("%3Cscript"), "{said}");
}

#[tokio::test]
async fn an_upstream_that_is_away_is_worth_another_try() {
    let (edge, _upstreams) = failing().await;
    for place in ["refused.home.test/", "unresolved.home.test/"] {
        let answer = edge.get(place).await;
        let seconds: u32 = answer.header("retry-after").parse().unwrap_or_else(|_| panic!("{place}: {answer}"));
        assert!(seconds > 0);
    }
}

#[tokio::test]
async fn our_header_on_an_upstreams_answer_is_removed() {
    let shop = Upstream::serving(|_| async {
        let mut response = Response::new(full("their error"));
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        response.headers_mut().append("x-doorward-error", "forged".parse().unwrap());
        response.headers_mut().append("x-doorward-error", "twice".parse().unwrap());
        response
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    for client in [edge.client(), edge.client().h2()] {
        let answer = client.get("shop.home.test/").await;
        assert_eq!((answer.status, answer.text()), (502, "their error"));
        assert!(!answer.has("x-doorward-error"), "{answer}");
    }
}

#[tokio::test]
async fn refusals_to_head_have_no_body() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    let mut raw = edge.raw().await;
    raw.send("HEAD /a HTTP/1.1\r\nHost: shop.home.test\r\n\r\n").await;
    assert!(raw.head().await.starts_with("HTTP/1.1 502"));
    raw.send("HEAD /b HTTP/1.1\r\nHost: nothere.home.test\r\n\r\n").await;
    let head = raw.head().await;
    assert!(head.starts_with("HTTP/1.1 404"), "nothing in between: {head}");
}

#[tokio::test]
async fn refusals_are_not_stored_by_caches() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:1\"").await;
    for place in ["shop.home.test/", "nothere.home.test/"] {
        let answer = edge.get(place).await;
        assert!(answer.header("cache-control").contains("no-store"), "{answer}");
    }
}
