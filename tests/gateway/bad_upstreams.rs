//! Answers that no server should give. Whatever comes, the client gets one of three things: the answer whole and clean, a
//! refusal of ours, or a connection that visibly breaks off. Never half an answer that looks whole, never another's answer.

use crate::harness::{Client, Gateway, Upstream};

/// What a client may be left with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// 200 with exactly this body.
    Whole(&'static str),
    /// A refusal with this cause.
    Refused(&'static str),
    /// Whatever is visibly not a whole 200: a refusal, or a body that breaks off.
    NotWhole,
    /// A whole answer with this body, or not a whole one.
    Either(&'static str),
}

use Outcome::{Either, NotWhole, Refused, Whole};

/// The answer, whether the server hangs up behind it, and what may come of it.
const ANSWERS: &[(&str, bool, Outcome)] = &[
    // Ends that are ends.
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", false, Whole("body")),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, Whole("")),
    ("HTTP/1.1 200 OK\r\n\r\nbody", true, Whole("body")),
    ("HTTP/1.0 200 OK\r\n\r\nbody", true, Whole("body")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", false, Whole("body")),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\n\r\n", false, Whole("body")),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0004\r\nbody\r\n000\r\nX-T: 1\r\n\r\n",
        false,
        Whole("body"),
    ),
    ("HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nbody", false, Whole("body")),
    ("HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\nbody", false, Whole("body")),
    ("HTTP/1.1 200 \u{fc}ber\r\nContent-Length: 4\r\n\r\nbody", false, Either("body")),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody", false, Either("body")),
    // Interim answers.
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", false, Whole("body")),
    (
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        false,
        Whole("body"),
    ),
    ("HTTP/1.1 103 Early Hints\r\n\r\n", true, Refused("upstream-closed")),
    ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 101 Switching Protocols\r\n\r\n", true, NotWhole),
    // Cut.
    ("", true, Refused("upstream-closed")),
    ("HTTP/1.1 20", true, Refused("upstream-closed")),
    ("HTTP/1.1 200 OK\r\nContent-Le", true, Refused("upstream-closed")),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n", true, Refused("upstream-closed")),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbo", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-T: 1\r\n", true, NotWhole),
    // Lengths that lie or contradict.
    ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nContent-Length: 4, 5\r\n\r\nbody!", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nContent-Length: +4\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0x4\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nbody", true, NotWhole),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        true,
        Either("body"),
    ),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n4\r\nbody\r\n0\r\n\r\n", true, NotWhole),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", true, Either("body")),
    // Chunks that are none.
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbody\r\n0\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nbody\r\n0\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nbody\r\n0\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n4\r\nbody\r\n0\r\n\r\n", true, NotWhole),
    // Heads that are none.
    ("garbage\r\n\r\n", true, Refused("upstream-bad-response")),
    ("\0\0\0\0\r\n\r\n", true, Refused("upstream-bad-response")),
    ("HTTP/2.0 200 OK\r\n\r\n", true, Refused("upstream-bad-response")),
    ("HTTP/1.1 2000 OK\r\n\r\n", true, Refused("upstream-bad-response")),
    ("HTTP/1.1 99 OK\r\n\r\n", true, Refused("upstream-bad-response")),
    ("HTTP/1.1 abc OK\r\n\r\n", true, Refused("upstream-bad-response")),
    ("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", true, Refused("upstream-bad-response")),
    ("HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 4\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\n: z\r\nContent-Length: 4\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 4\r\n\r\nbody", true, NotWhole),
    ("HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 4\r\n\r\nbody", true, NotWhole),
];

#[tokio::test]
async fn no_answer_is_worth_more_than_what_came() {
    for (nth, (answer, hangs_up, outcome)) in ANSWERS.iter().enumerate() {
        let shop = Upstream::acting(move |mut peer| async move {
            while peer.request().await.is_some() {
                // Latin-1, as the cases are written.
                peer.send(answer.chars().map(|c| c as u8).collect::<Vec<u8>>()).await;
                if *hangs_up {
                    return;
                }
            }
        })
        .await;
        let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
        for client in [edge.client(), edge.client().h2()] {
            judge(&client, nth, answer, *outcome).await;
        }
    }
}

async fn judge(client: &Client, nth: usize, answer: &str, outcome: Outcome) {
    let got = client.get("shop.home.test/").attempt().await;
    let whole = got.as_ref().ok().filter(|a| a.status == 200).map(|a| a.text());
    let is_as_expected = match outcome {
        Whole(body) => whole == Some(body),
        Refused(cause) => got.as_ref().is_ok_and(|a| a.cause() == cause),
        NotWhole => whole.is_none(),
        Either(body) => whole.is_none_or(|whole| whole == body),
    };
    assert!(is_as_expected, "case {nth}: {answer:?} should be {outcome:?}: {got:?}");
}

#[tokio::test]
async fn an_answer_in_pieces_is_an_answer() {
    let shop = Upstream::acting(|mut peer| async move {
        while peer.request().await.is_some() {
            let answer =
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n4\r\nbody\r\n0\r\nX-T: 1\r\n\r\n";
            for byte in answer.as_bytes() {
                peer.send([*byte]).await;
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mut open = edge.client().connect("shop.home.test").await;
    for _ in 0..3 {
        let answer = open.get("/slow").await;
        assert_eq!((answer.text(), answer.header("x-a")), ("body", "b"));
    }
    assert_eq!(shop.connections(), 1);
    for record in edge.records_of("/slow").await {
        assert!(record["aborted"].is_null(), "{record}");
    }
}

#[tokio::test]
async fn large_heads_of_upstreams_pass_and_endless_ones_do_not() {
    let shop = Upstream::acting(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let wanted: usize = request.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
            let mut answer = "HTTP/1.1 200 OK\r\n".to_owned();
            for nth in 0..wanted / 1000 {
                answer.push_str(&format!("X-{nth}: {}\r\n", "a".repeat(990)));
            }
            peer.send(answer + "Content-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    assert_eq!(edge.get("shop.home.test/20000").await.text(), "ok");
    assert_eq!(edge.get("shop.home.test/100000").await.text(), "ok", "as a book server sends");
    let endless = edge.get("shop.home.test/3000000").await;
    assert_eq!(endless.status, 502, "{endless}");
}
