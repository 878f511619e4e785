//! HTTP/2 towards upstreams: `h2c://`, and `http2 = true` where TLS agrees on it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use http::Response;
use tokio::sync::{mpsc, oneshot};

use crate::harness::{Gateway, Identity, TestCa, Upstream, eventually, full};

/// A gateway whose `shop` leads to this address.
async fn gateway(to: impl std::fmt::Display) -> Gateway {
    Gateway::serving(format!("[routes]\nshop = \"{to}\"")).await
}

/// The authority that a gateway is told to believe, and its identity for `shop`.
async fn with_tls(keys: &str, upstream: impl AsyncFnOnce(&Identity) -> Upstream) -> (Upstream, Gateway) {
    let ca = TestCa::new("the shop's own");
    let shop = upstream(&ca.issue(&["shop.home.test"])).await;
    let mut edge = Gateway::stopped();
    edge.folder().replace("shop-ca.crt", ca.pem());
    edge.write_routes(format!("[routes]\nshop = {{ to = \"{}\", ca = \"shop-ca.crt\", {keys} }}", shop.url("https")));
    edge.start(&[]).await;
    (shop, edge)
}

#[tokio::test]
async fn both_kinds_of_client_are_served_over_one_connection() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    for client in [edge.client(), edge.client().h2()] {
        for n in 0..5 {
            let answer = client.request("POST", &format!("shop.home.test/{n}?q=%20")).body("hello").await;
            let echo = answer.echo();
            assert_eq!((echo.method(), echo.body()), ("POST", "hello"));
            assert_eq!(echo.target(), format!("http://shop.home.test/{n}?q=%20"), "scheme, authority and path");
        }
    }
    // One for each core.
    assert!(shop.connections() <= 2, "{} connections", shop.connections());
}

#[tokio::test]
async fn a_hundred_at_once_open_one_connection_and_a_second_where_the_first_is_full() {
    let (release, held) = tokio::sync::watch::channel(false);
    let shop = Upstream::serving_http2(move |_| {
        let mut held = held.clone();
        async move {
            let _ = held.wait_for(|go| *go).await;
            Response::new(full("ok"))
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    let open = edge.client().h2().connect("shop.home.test").await;
    let asked: Vec<_> = (0..100)
        .map(|n| {
            let mut beside = open.beside();
            tokio::spawn(async move { beside.get(&format!("/{n}")).await.status })
        })
        .collect();
    eventually("all of them at the upstream", async || (shop.requests() == 100).then_some(())).await;
    assert_eq!(shop.connections(), 2, "64 on each");
    release.send(true).unwrap();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn fields_of_http1_connections_stay_behind_and_the_host_becomes_the_authority() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    let mut raw = edge.raw().await;
    raw.send(
        "POST /a HTTP/1.1\r\nHost: Shop.home.test:8081\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         TE: trailers, gzip\r\nTransfer-Encoding: chunked\r\nCookie: a=1\r\nX-Forwarded-For: 10.9.9.9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let said = raw.answer().await;
    let body = said.split_once("\r\n\r\n").unwrap().1;
    let body = body.split("\r\n").nth(if said.contains("chunked") { 1 } else { 0 }).unwrap();
    let echo: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!((&echo["target"], &echo["body"]), (&"http://Shop.home.test:8081/a".into(), &"hello".into()));
    let fields = echo["headers"].as_array().unwrap();
    let named = |name: &str| fields.iter().filter(|f| f[0] == name).map(|f| f[1].as_str().unwrap()).collect::<Vec<_>>();
    for gone in ["host", "connection", "keep-alive", "x-hop", "transfer-encoding", "content-length", "upgrade"] {
        assert!(named(gone).is_empty(), "{gone} in {echo}");
    }
    assert_eq!(named("te"), ["trailers"]);
    assert_eq!(named("cookie"), ["a=1"]);
    assert_eq!(named("x-forwarded-host"), ["Shop.home.test:8081"]);
    assert_ne!(named("x-forwarded-for"), ["10.9.9.9"]);
    assert!(named("via")[0].starts_with("1.1 "));
}

#[tokio::test]
async fn cookie_crumbs_arrive_as_one() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    let ask = edge.client().h2().get("shop.home.test/").header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(ask.await.echo().header("cookie"), "a=1; b=2");
    let answer =
        edge.get("shop.home.test/").header("x-answer-set-cookie", "a=1").header("x-answer-set-cookie", "b=2").await;
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2, "answers keep theirs apart");
}

#[tokio::test]
async fn large_bodies_and_heads_pass_in_both_directions() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    let book = "b".repeat(120_000);
    for client in [edge.client(), edge.client().h2()] {
        let echo = client.request("PUT", "shop.home.test/up").generated(9_000_000, true).await.echo();
        assert!(echo.length() == 9_000_000 && echo.is_generated());
        assert_eq!(echo.header("content-length"), "9000000");
        let echo = client.request("PUT", "shop.home.test/up").generated(3_000_000, false).await.echo();
        assert!(echo.length() == 3_000_000 && echo.is_generated());
    }
    let made = Upstream::serving_http2(move |_| {
        let book = book.clone();
        async move { Response::builder().header("x-book", book).body(full("ok")).unwrap() }
    })
    .await;
    let edge = gateway(made.url("h2c")).await;
    assert_eq!(edge.get("shop.home.test/").await.header("x-book").len(), 120_000);
}

#[tokio::test]
async fn trailers_pass_between_all_versions() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    for client in [edge.client(), edge.client().h2()] {
        let ask = client.request("POST", "shop.home.test/").header("trailer", "x-sum, x-forwarded-for, content-length");
        let sent = [("x-sum", "abc"), ("x-forwarded-for", "10.1.1.1"), ("content-length", "7")];
        let echo = ask.pieces(&["body"], &sent).await.echo();
        assert_eq!((echo.body(), echo.trailer("x-sum")), ("body", "abc"));
        assert_eq!((echo.trailer("x-forwarded-for"), echo.trailer("content-length")), ("", ""), "have no place there");
    }
    let (shop, served) = acting(|mut server| async move {
        while let Some(Ok((_, mut respond))) = server.accept().await {
            let head = Response::builder().header("trailer", "x-sum").body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(Bytes::from_static(b"body"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", "def".parse().unwrap());
            trailers.insert("set-cookie", "a=b".parse().unwrap());
            body.send_trailers(trailers).unwrap();
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    for client in [edge.client(), edge.client().h2()] {
        let answer = client.get("shop.home.test/").header("te", "trailers").await;
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(
            (answer.body.as_ref(), &trailers["x-sum"], trailers.len()),
            (&b"body"[..], &"def".parse().unwrap(), 1)
        );
    }
    assert!(served.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn tls_agrees_on_http2_where_it_is_wanted_and_offered() {
    let (shop, edge) = with_tls("http2 = true", async |identity| Upstream::echoing_http2_tls(identity).await).await;
    for _ in 0..4 {
        let echo = edge.get("shop.home.test/x").await.echo();
        assert_eq!(echo.target(), "https://shop.home.test/x");
    }
    assert!(shop.connections() <= 2);
    // Offered, not wanted: then it has to be HTTP/1.1, which this server does not speak.
    let (_shop, edge) = with_tls("http2 = false", async |identity| Upstream::echoing_http2_tls(identity).await).await;
    assert_eq!(edge.get("shop.home.test/").await.refusal(), (502, "upstream-tls"));
}

#[tokio::test]
async fn where_the_server_offers_http1_alone_it_is_http1() {
    let (shop, edge) = with_tls("http2 = true", async |identity| Upstream::echoing_tls(identity).await).await;
    for client in [edge.client(), edge.client().h2()] {
        for n in 0..3 {
            let target = format!("/{n}");
            let echo = client.request("POST", &format!("shop.home.test{target}")).pieces(&["a", "b"], &[]).await.echo();
            assert_eq!((echo.target(), echo.body(), &*echo.header("host")), (&*target, "ab", "shop.home.test"));
        }
    }
    assert!(shop.connections() <= 2, "they are kept");
}

#[tokio::test]
async fn a_server_without_http2_is_told_apart_from_one_that_is_away() {
    for said in ["HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n"] {
        let shop = Upstream::acting(move |mut peer| async move {
            peer.send(said).await;
            peer.until_closed().await;
        })
        .await;
        let answer = gateway(shop.url("h2c")).await.get("shop.home.test/").await;
        assert_eq!(answer.refusal(), (502, "upstream-bad-response"), "{answer}");
        assert!(answer.text().contains("not HTTP/2"), "{answer}");
    }
    // One that hangs up on the first bytes says nothing of why.
    let shop = Upstream::echoing().await;
    assert_eq!(gateway(shop.url("h2c")).await.get("shop.home.test/").await.refusal(), (502, "upstream-closed"));
    assert_eq!(gateway("h2c://127.0.0.1:1").await.get("shop.home.test/").await.refusal(), (502, "upstream-refused"));
}

/// Plays an HTTP/2 server, connection by connection.
async fn acting<F, R>(act: F) -> (Upstream, Arc<AtomicUsize>)
where
    F: Fn(h2::server::Connection<crate::harness::Wire, Bytes>) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    acting_with(h2::server::Builder::new(), act).await
}

async fn acting_with<F, R>(builder: h2::server::Builder, act: F) -> (Upstream, Arc<AtomicUsize>)
where
    F: Fn(h2::server::Connection<crate::harness::Wire, Bytes>) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let act = Arc::new(act);
    let served = Arc::new(AtomicUsize::new(0));
    let counted = served.clone();
    let upstream = Upstream::acting(move |peer| {
        let (act, counted, builder) = (act.clone(), counted.clone(), builder.clone());
        async move {
            if let Ok(server) = builder.handshake(peer.into_wire()).await {
                counted.fetch_add(1, Ordering::SeqCst);
                act(server).await;
            }
        }
    })
    .await;
    (upstream, served)
}

fn answer(respond: &mut h2::server::SendResponse<Bytes>, text: &'static str) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data(Bytes::from_static(text.as_bytes()), true).unwrap();
}

#[tokio::test]
async fn what_an_upstream_refuses_to_look_at_is_sent_again_whatever_it_is() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = refused.clone();
    let (shop, _) = acting(move |mut server| {
        let counted = counted.clone();
        async move {
            while let Some(Ok((request, mut respond))) = server.accept().await {
                // The first of all after it has read the body.
                if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                    let mut body = request.into_body();
                    tokio::spawn(async move {
                        while let Some(Ok(data)) = body.data().await {
                            let _ = body.flow_control().release_capacity(data.len());
                        }
                        respond.send_reset(Reason::REFUSED_STREAM);
                    });
                    continue;
                }
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let mut length = 0;
                    while let Some(Ok(data)) = body.data().await {
                        length += data.len();
                    }
                    answer(&mut respond, if length == 5000 { "whole" } else { "torn" });
                });
            }
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    let got = edge.request("POST", "shop.home.test/pay").body(vec![b'x'; 5000]).await;
    assert_eq!((got.status, got.text()), (200, "whole"), "{got}");
    assert_eq!(refused.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_reset_that_says_nothing_of_that_kind_is_not_tried_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let (shop, _) = acting(move |mut server| {
        let counted = counted.clone();
        async move {
            while let Some(Ok((_, mut respond))) = server.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                respond.send_reset(Reason::INTERNAL_ERROR);
            }
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    for (nth, method) in [(1, "POST"), (2, "GET")] {
        let got = edge.request(method, "shop.home.test/pay").body("x").await;
        assert_eq!(got.refusal(), (502, "upstream-closed"), "{got}");
        assert_eq!(asked.load(Ordering::SeqCst), nth);
    }
}

#[tokio::test]
async fn an_upstream_that_goes_away_finishes_what_it_has_and_gets_nothing_new() {
    let (go, gone) = oneshot::channel::<()>();
    let gone = std::sync::Mutex::new(Some(gone));
    let (shop, _) = acting(move |mut server| {
        let gone = gone.lock().unwrap().take();
        async move {
            let Some(gone) = gone else {
                // The one that comes after.
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    answer(&mut respond, "new");
                }
                return;
            };
            let Some(Ok((_, mut slow))) = server.accept().await else { return };
            let mut gone = std::pin::pin!(gone);
            loop {
                tokio::select! {
                    next = server.accept() => match next {
                        Some(Ok((_, mut respond))) => answer(&mut respond, "old"),
                        _ => return,
                    },
                    _ = &mut gone => break,
                }
            }
            server.graceful_shutdown();
            let mut body = slow.send_response(Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"finished"), true).unwrap();
            let _ = poll_fn(|cx| server.poll_closed(cx)).await;
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    let open = edge.client().h2().connect("shop.home.test").await;
    let mut beside = open.beside();
    let slow = tokio::spawn(async move { beside.get("/slow").await.text().to_owned() });
    eventually("the slow one to be there", async || (shop.open() == 1).then_some(())).await;
    let mut open = open;
    assert_eq!(open.get("/quick").await.text(), "old");
    go.send(()).unwrap();
    assert_eq!(slow.await.unwrap(), "finished");
    for _ in 0..3 {
        assert_eq!(open.request("POST", "/after").body("x").await.text(), "new");
    }
}

#[tokio::test]
async fn a_lower_limit_of_the_upstream_is_kept() {
    let (most, now) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (highest, current) = (most.clone(), now.clone());
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(3);
    let (shop, connections) = acting_with(builder, move |mut server| {
        let (highest, current) = (highest.clone(), current.clone());
        async move {
            let open = Arc::new(AtomicUsize::new(0));
            while let Some(Ok((_, mut respond))) = server.accept().await {
                let (highest, current, open) = (highest.clone(), current.clone(), open.clone());
                highest.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                current.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    // All of them are there before one is answered.
                    while current.load(Ordering::SeqCst) < 9 {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                    answer(&mut respond, "ok");
                });
            }
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    let open = edge.client().h2().connect("shop.home.test").await;
    // Its limit is known from the first answer on.
    now.store(100, Ordering::SeqCst);
    let mut first = open.beside();
    assert_eq!(first.get("/first").await.text(), "ok");
    now.store(0, Ordering::SeqCst);
    let asked: Vec<_> = (0..9)
        .map(|_| {
            let mut beside = open.beside();
            tokio::spawn(async move { beside.get("/").await.status })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), 200);
    }
    assert_eq!((most.load(Ordering::SeqCst), connections.load(Ordering::SeqCst)), (3, 3));
}

#[tokio::test]
async fn a_connection_that_breaks_between_requests_is_replaced() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    for _ in 0..3 {
        assert_eq!(open.get("/").await.status, 200);
        shop.stop().await;
        shop.start().await;
    }
    assert_eq!(open.request("POST", "/").body("x").await.echo().body(), "x");
}

#[tokio::test]
async fn requests_wait_for_a_restart_here_too() {
    let shop = Upstream::echoing_http2().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{}\", hold = \"20s\" }}", shop.url("h2c"))).await;
    shop.stop().await;
    let asked: Vec<_> = (0..8).map(|n| tokio::spawn(edge.get(&format!("shop.home.test/{n}")).into_future())).collect();
    eventually("all to wait", async || {
        (edge.metric("doorward_held_requests{upstream=\"shop\"}").await == 8.0).then_some(())
    })
    .await;
    shop.start().await;
    for answer in asked {
        assert_eq!(answer.await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_reload_keeps_the_connection() {
    let shop = Upstream::echoing_http2().await;
    let edge = gateway(shop.url("h2c")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    assert_eq!(open.get("/").await.status, 200);
    edge.write_routes(format!("[routes]\nshop = \"{}\"\nmore = \"http://127.0.0.1:1\"", shop.url("h2c")));
    edge.reload().await.accepted();
    assert_eq!(open.get("/").await.status, 200);
    assert_eq!(shop.connections(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_else() {
    let shop = Upstream::serving_http2(|request| async move {
        match request.uri().path() {
            "/large" => crate::harness::generated(50_000_000),
            _ => Response::new(full("ok")),
        }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    let mut stalled = Vec::new();
    for _ in 0..30 {
        let mut answer = edge.client().get("shop.home.test/large").start().await;
        answer.piece().await.unwrap();
        stalled.push(answer);
    }
    for _ in 0..5 {
        assert_eq!(open.get("/").await.text(), "ok");
    }
}

#[tokio::test]
async fn whoever_hangs_up_ends_the_work_behind_it() {
    let (pieces, body) = mpsc::channel::<Bytes>(4);
    let body = std::sync::Mutex::new(Some(body));
    let shop = Upstream::serving_http2(move |_| {
        let body = body.lock().unwrap().take();
        async move { Response::new(body.map_or_else(|| full("again"), crate::harness::streamed)) }
    })
    .await;
    let edge = gateway(shop.url("h2c")).await;
    let mut open = edge.client().h2().connect("shop.home.test").await;
    pieces.send(Bytes::from_static(b"first")).await.unwrap();
    let mut answer = open.get("/film").start().await;
    assert_eq!(answer.piece().await.unwrap(), "first");
    drop(answer);
    eventually("the upstream to notice", async || {
        let _ = pieces.try_send(Bytes::from_static(b"more"));
        pieces.is_closed().then_some(())
    })
    .await;
    assert_eq!(open.get("/").await.text(), "again", "the connections go on");
    assert_eq!(shop.connections(), 1);
}

#[tokio::test]
async fn an_upstream_that_stays_silent_is_given_up_after_idle() {
    let (shop, connections) = acting(|mut server| async move {
        let mut kept = Vec::new();
        while let Some(Ok(next)) = server.accept().await {
            kept.push(next);
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{}\", idle = \"1s\" }}", shop.url("h2c"))).await;
    for nth in 1..3 {
        assert_eq!(edge.client().h2().get("shop.home.test/").await.refusal(), (504, "upstream-timeout"));
        assert_eq!(connections.load(Ordering::SeqCst), nth, "the next one gets a new connection");
    }
}
