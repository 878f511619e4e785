//! What is told about requests: the access log, the metrics, the state of health.

use crate::harness::{CERT, DOORS, Door, FRONT, Gateway, STRANGER, TAIL, Upstream, eventually};

#[tokio::test]
async fn every_outcome_is_recorded_once() {
    let (fine, absent, chat) = (Upstream::echoing().await, Upstream::absent().await, Upstream::websocket().await);
    let closing = Upstream::acting(|mut peer| async move {
        peer.request().await;
    })
    .await;
    let cutting = Upstream::acting(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    })
    .await;
    let edge = Gateway::serving(format!(
        "[routes]\nfine = \"{fine}\"\nabsent = \"{absent}\"\nclosing = \"{closing}\"\ncutting = \"{cutting}\"\nchat = \"{chat}\"\n\
         small = {{ to = \"{fine}\", max_body = \"5\" }}\nheld = {{ to = \"{absent}\", hold = \"300ms\" }}\n\
         [routes.said.paths]\n\"/*\" = {{ text = \"said\" }}\n[routes.moved.paths]\n\"/*\" = {{ redirect = \"/x\" }}"
    ))
    .await;
    let stranger = edge.client().from(STRANGER);
    let mut expected = Vec::new();
    for (tag, client, outsider) in
        [("one", edge.client(), stranger.clone()), ("two", edge.client().h2(), stranger.h2())]
    {
        for (name, status, cause) in [
            ("fine", 200, ""),
            ("absent", 502, "upstream-refused"),
            ("closing", 502, "upstream-closed"),
            ("held", 503, "upstream-away"),
            ("said", 200, ""),
            ("moved", 302, ""),
            ("nothere", 404, "no-route"),
        ] {
            let path = format!("/{tag}/{name}");
            assert_eq!(client.get(&format!("{name}.home.test{path}")).await.status, status);
            expected.push((path, status, cause));
        }
        assert!(client.get(&format!("cutting.home.test/{tag}/cutting")).attempt().await.is_err());
        expected.push((format!("/{tag}/cutting"), 200, ""));
        assert_eq!(outsider.get(&format!("fine.home.test/{tag}/denied")).await.status, 403);
        expected.push((format!("/{tag}/denied"), 403, "access-denied"));
        assert_eq!(client.request("POST", &format!("small.home.test/{tag}/small")).body("too much").await.status, 413);
        expected.push((format!("/{tag}/small"), 413, "body-limit"));
        let mut open = client.connect("fine.home.test").await;
        assert_eq!(open.get(&format!("/{tag}/astray")).host("elsewhere.example").await.status, 421);
        expected.push((format!("/{tag}/astray"), 421, "misdirected"));
    }
    edge.client().at(Door::Redirect).get("fine.home.test/redirected").await;
    expected.push(("/redirected".to_owned(), 308, ""));
    let mut socket = edge.client().websocket("chat.home.test/chat").await;
    socket.echoes("hello").await;
    socket.close().await;
    expected.push(("/chat".to_owned(), 101, ""));
    for (path, status, cause) in &expected {
        let record = edge.record_of(path).await;
        assert_eq!(record["status"], *status, "{record}");
        assert_eq!(record["cause"].as_str().unwrap_or_default(), *cause, "{record}");
    }
    assert_eq!(edge.access_log().len(), expected.len(), "nothing else was recorded");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_recorded_too() {
    let fine = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfine = \"{fine}\"")).await;
    assert!(edge.says("GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let records =
        eventually("the record", async || Some(edge.access_log()).filter(|records| !records.is_empty())).await;
    assert_eq!(records.len(), 1);
    assert_eq!((records[0]["status"].as_u64(), records[0]["cause"].as_str()), (Some(400), Some("bad-request")));
}

#[tokio::test]
async fn a_record_says_who_what_where_and_how_long() {
    let fine = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfine = \"{fine}\"")).await;
    let ask = edge.client().h2().request("POST", "fine.home.test/a%20b?token=secret").header("user-agent", "tester/1");
    let answer = ask.body("12345").await;
    let record = edge.record_of("/a%20b").await;
    for (field, value) in [
        ("client", "127.0.0.7"),
        ("peer", "127.0.0.7"),
        ("door", "main"),
        ("route", "fine"),
        ("method", "POST"),
        ("host", "fine.home.test"),
        ("version", "HTTP/2"),
        ("user_agent", "tester/1"),
    ] {
        assert_eq!(record[field], value, "{field} in {record}");
    }
    assert_eq!(record["tls"], true);
    assert_eq!(record["bytes_in"], 5);
    assert_eq!(record["bytes_out"], answer.body.len());
    assert!(record["seconds"].as_f64() >= record["upstream_seconds"].as_f64(), "{record}");
    assert_eq!(record["upstream"], "fine");
    assert!(record["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{record}");
    assert!(!record.to_string().contains("secret"), "queries stay out");
}

/// The names in the first column of the page's table.
fn fields_of_the_page() -> std::collections::BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/log.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells: Vec<&str> = rows.filter_map(|row| row.split(" | ").next()).collect();
    cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_field_of_a_record_is_on_the_page_and_every_one_of_the_page_is_written() {
    let (fine, chat) = (Upstream::echoing().await, Upstream::websocket().await);
    let cutting = Upstream::acting(|mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
    })
    .await;
    let edge = Gateway::serving(format!(
        "[routes]\nfine = {{ to = \"{fine}\", log_query = true }}\nchat = \"{chat}\"\ncutting = \"{cutting}\"\n"
    ))
    .await;
    edge.get("fine.home.test/good?a=b").header("user-agent", "tester/1").await;
    edge.client().from(STRANGER).get("fine.home.test/denied").await;
    assert!(edge.get("cutting.home.test/cut").attempt().await.is_err());
    edge.client().websocket("chat.home.test/ws").await.close().await;
    let mut written = std::collections::BTreeSet::new();
    for path in ["/good", "/denied", "/cut", "/ws"] {
        let record = edge.record_of(path).await;
        written.extend(record.as_object().unwrap().keys().cloned());
    }
    assert_eq!(written, fields_of_the_page());
}

#[tokio::test]
async fn queries_are_recorded_where_a_route_asks_for_it() {
    let fine = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfine = {{ to = \"{fine}\", log_query = true }}")).await;
    edge.get("fine.home.test/x?a=b").await;
    assert_eq!(edge.record_of("/x").await["query"], "a=b");
}

#[tokio::test]
async fn a_client_that_leaves_is_recorded_once_as_having_left() {
    let silent = Upstream::acting(|mut peer| async move { peer.until_closed().await }).await;
    let edge = Gateway::serving(format!("[routes]\nsilent = \"{silent}\"")).await;
    let mut raw = edge.raw().await;
    raw.send("GET /left HTTP/1.1\r\nHost: silent.home.test\r\n\r\n").await;
    eventually("the request to arrive", async || (silent.open() == 1).then_some(())).await;
    drop(raw);
    assert_eq!(edge.record_of("/left").await["aborted"], true);
    eventually("the upstream to be left as well", async || (silent.open() == 0).then_some(())).await;
}

#[tokio::test]
async fn nobody_writes_lines_of_their_own_into_the_log() {
    let fine = Upstream::echoing().await;
    let file = format!("{FRONT}{DOORS}{CERT}{TAIL}[routes]\nfine = \"{fine}\"");
    for format in ["json", "text"] {
        let edge = Gateway::running(file.replace("access = \"json\"", &format!("access = \"{format}\""))).await;
        let hostile = "a\" status=200 \\n{\"x\":1}\u{9}\u{e9}";
        let said =
            edge.says(format!("GET /\"x\" HTTP/1.1\r\nHost: fine.home.test\r\nUser-Agent: {hostile}\r\n\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 "), "{said}");
        let text = eventually("the record", async || {
            Some(std::fs::read_to_string(edge.folder().at("out")).unwrap()).filter(|t| t.ends_with('\n'))
        })
        .await;
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.trim_end().bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");
        if format == "json" {
            edge.access_log();
        }
    }
}

#[tokio::test]
async fn the_access_log_can_be_text_or_off_and_changes_on_reload() {
    let fine = Upstream::echoing().await;
    let file = format!("{FRONT}{DOORS}{CERT}{TAIL}[routes]\nfine = \"{fine}\"");
    let edge = Gateway::running(file.replace("access = \"json\"", "access = \"off\"")).await;
    edge.get("fine.home.test/unseen").await;
    edge.write(file.replace("access = \"json\"", "access = \"text\"")).reload().await.accepted();
    edge.get("fine.home.test/text").await;
    let line = eventually("a line of text", async || {
        let out = std::fs::read_to_string(edge.folder().at("out")).unwrap();
        out.lines().find(|l| l.contains("/text")).map(str::to_owned)
    })
    .await;
    assert!(line.contains(" 200 GET ") && !line.starts_with('{'), "{line}");
    edge.write(&file).reload().await.accepted();
    edge.get("fine.home.test/json").await;
    let out = eventually("a JSON line", async || {
        let out = std::fs::read_to_string(edge.folder().at("out")).unwrap();
        out.lines().any(|l| l.starts_with('{') && l.contains("/json")).then_some(out)
    })
    .await;
    assert!(!out.contains("/unseen"), "{out}");
}

#[tokio::test]
async fn the_names_of_the_metrics_are_a_contract() {
    let (fine, absent) = (Upstream::echoing().await, Upstream::absent().await);
    let edge =
        Gateway::serving(format!("[upstreams.gone]\nto = \"{absent}\"\n[routes]\nfine = \"{fine}\"\nbad = \"gone\""))
            .await;
    let mut open = edge.client().connect("fine.home.test").await;
    for _ in 0..3 {
        open.get("/").await;
    }
    edge.get("bad.home.test/").await;
    edge.get("nothere.home.test/").await;
    edge.write("[routes]\nshop = 7");
    assert_ne!(edge.reload().await.into_finished().code, 0);
    edge.records_of("/").await;
    let counted = eventually("the counts", async || {
        (edge.metric("doorward_requests_total{route=\"bad\",class=\"5xx\"}").await == 1.0).then_some(())
    });
    counted.await;
    assert_eq!(edge.metric("doorward_requests_total{route=\"fine\",class=\"2xx\"}").await, 3.0);
    assert_eq!(edge.metric("doorward_requests_total{route=\"(none)\",class=\"4xx\"}").await, 1.0);
    assert_eq!(edge.metric("doorward_request_seconds_count{route=\"fine\"}").await, 3.0);
    assert_eq!(edge.metric("doorward_upstream_errors_total{upstream=\"gone\",cause=\"upstream-refused\"}").await, 1.0);
    assert!(edge.metric("doorward_connections").await >= 1.0);
    assert!(edge.metric("doorward_reloads_total{result=\"refused\"}").await >= 1.0);
    assert!(edge.metric("doorward_generation").await >= 1.0);
    let metrics = edge.metrics().await;
    assert!(metrics.contains("doorward_reloads_total{result=\"accepted\"} "), "from the start");
    let expiry =
        metrics.lines().find(|l| l.starts_with("doorward_certificate_not_after_seconds{name=")).expect("expiry");
    assert!(expiry.rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 1.7e9, "{expiry}");
    for family in ["doorward_requests_total", "doorward_request_seconds", "doorward_connections"] {
        assert!(metrics.contains(&format!("# TYPE {family} ")), "{family}");
    }
}

#[tokio::test]
async fn counters_survive_a_reload() {
    let fine = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfine = \"{fine}\"")).await;
    for _ in 0..3 {
        edge.get("fine.home.test/").await;
    }
    edge.write_routes(format!("[routes]\nfine = \"{fine}\"\nmore = \"{fine}\"")).reload().await.accepted();
    edge.get("fine.home.test/").await;
    eventually("four requests", async || {
        (edge.metric("doorward_requests_total{route=\"fine\",class=\"2xx\"}").await == 4.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn health_and_readiness_are_told_to_those_who_may_ask() {
    let fine = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nfine = \"{fine}\"")).await;
    let metrics = edge.client().at(Door::Metrics);
    for path in ["healthz", "readyz", "metrics"] {
        assert_eq!(metrics.get(&format!("edge/{path}")).await.status, 200, "{path}");
        assert_eq!(metrics.clone().from(STRANGER).get(&format!("edge/{path}")).await.status, 403, "{path}");
    }
    assert_eq!(metrics.get("edge/other").await.status, 404);
    assert_eq!(metrics.request("HEAD", "edge/healthz").await.body.len(), 0);
}

#[tokio::test]
async fn the_metrics_door_has_an_allow_of_its_own() {
    let fine = Upstream::echoing().await;
    let tail = TAIL.replace("[log]", "allow = [\"home\", \"guest\"]\n[log]");
    let edge = Gateway::running(format!("{FRONT}{DOORS}{CERT}{tail}[routes]\nfine = \"{fine}\"")).await;
    let guest = edge.client().at(Door::Metrics).from(crate::harness::GUEST);
    assert_eq!(guest.get("edge/metrics").await.status, 200);
}

#[tokio::test]
async fn connections_to_an_upstream_are_counted_while_they_are_open() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    edge.get("shop.home.test/").await;
    let (open, opened) = (
        "doorward_upstream_connections{upstream=\"shop\"}",
        "doorward_upstream_connections_opened_total{upstream=\"shop\"}",
    );
    assert_eq!((edge.metric(open).await, edge.metric(opened).await), (1.0, 1.0));
    shop.stop().await;
    eventually("the connection to be counted as closed", async || (edge.metric(open).await == 0.0).then_some(())).await;
    assert_eq!(edge.metric(opened).await, 1.0);
}
