//! Upstreams that fail in every way, beside one that does not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use super::{Bystanders, back_to, beside};
use crate::harness::{Client, Upstream, eventually};

const WHOLE: &str = "a whole answer of a known length";

/// One request to the ill route, judged: rule 2.
async fn ask(client: &Client, target: &str) -> bool {
    match client.get(&format!("ill.home.test{target}")).attempt().await {
        Ok(answer) if answer.status == 200 => {
            assert_eq!(answer.text(), WHOLE, "never half an answer that looks whole");
            true
        }
        Ok(answer) => {
            assert!(!answer.cause().is_empty(), "a refusal names its cause: {answer}");
            false
        }
        // Visibly broken off.
        Err(_) => false,
    }
}

/// Many clients at once; how many were answered whole, and how many were not.
async fn load(clients: &[Client], each: usize) -> (usize, usize) {
    let mut tasks = JoinSet::new();
    for client in clients.iter().cycle().take(8) {
        let client = client.clone();
        tasks.spawn(async move {
            let mut whole = 0;
            for n in 0..each {
                whole += usize::from(ask(&client, &format!("/{n}")).await);
            }
            whole
        });
    }
    let whole: usize = tasks.join_all().await.into_iter().sum();
    (whole, 8 * each - whole)
}

#[tokio::test]
async fn an_upstream_is_killed_and_restarted_again_and_again() {
    let ill = Upstream::answering(WHOLE).await;
    let (edge, _well) = beside(&ill, ", hold = \"20s\"").await;
    let bystanders = Bystanders::of(&edge);
    let clients = [edge.client(), edge.client().h2()];
    let done = Arc::new(AtomicUsize::new(0));
    let kills = async {
        let mut kills = 0;
        while done.load(Ordering::Relaxed) == 0 {
            ill.stop().await;
            ill.start().await;
            kills += 1;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        kills
    };
    let asks = async {
        let counts = load(&clients, 60).await;
        done.store(1, Ordering::Relaxed);
        counts
    };
    let (kills, (whole, not)): (usize, _) = tokio::join!(kills, asks);
    assert!(kills > 3 && whole > not, "{kills} kills, {whole} whole, {not} not");
    assert!(ask(&edge.client(), "/after").await, "it is back, so it is served");
    let served = bystanders.noticed_nothing().await;
    println!("{kills} kills: {whole} answered whole, {not} refused or cut; {served} requests beside");
}

/// What an ill upstream does with one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Illness {
    /// Resets in the middle of the body.
    Reset,
    /// Bytes that are no HTTP.
    Garbage,
    /// Answers when it has seen the head, while the body is still coming, and hangs up.
    Early,
    /// Takes the request and is silent: a machine without power, as far as anybody can tell.
    Silent,
    /// A head without end.
    EndlessHead,
    /// Accepts and closes.
    Closes,
}

#[tokio::test]
#[ignore = "slow: silence must really last"]
async fn upstreams_that_reset_lie_and_fall_silent_hurt_nobody_else() {
    const ALL: [Illness; 6] =
        [Illness::Reset, Illness::Garbage, Illness::Early, Illness::Silent, Illness::EndlessHead, Illness::Closes];
    let now = Arc::new(Mutex::new(Illness::Reset));
    let told = now.clone();
    let ill = Upstream::acting(move |mut peer| {
        let illness = *told.lock().unwrap();
        async move {
            match illness {
                Illness::Closes => {}
                Illness::Silent => peer.until_closed().await,
                Illness::Garbage => {
                    peer.head().await;
                    peer.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 SSH-2.0-x\r\n\r\n").await;
                }
                Illness::EndlessHead => {
                    peer.head().await;
                    peer.send("HTTP/1.1 200 OK\r\n").await;
                    for n in 0..400 {
                        peer.send(format!("X-{n}: {}\r\n", "and so on ".repeat(100))).await;
                    }
                }
                Illness::Reset => {
                    peer.head().await;
                    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", WHOLE.len(), &WHOLE[..9]))
                        .await;
                }
                Illness::Early => {
                    peer.head().await;
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{WHOLE}", WHOLE.len());
                    peer.send(answer).await;
                }
            }
        }
    })
    .await;
    let (edge, _well) = beside(&ill, ", idle = \"1s\"").await;
    let clients = [edge.client(), edge.client().h2()];
    let before = edge.descriptors();
    let bystanders = Bystanders::of(&edge);
    for illness in ALL {
        *now.lock().unwrap() = illness;
        let each = if illness == Illness::Silent { 3 } else { 20 };
        let (whole, not) = load(&clients, each).await;
        assert_eq!(whole > 0, illness == Illness::Early, "{illness:?}: {whole} whole, {not} not");
        let upload = edge.client().request("POST", "ill.home.test/up").generated(2_000_000, true).attempt().await;
        assert!(upload.is_err() || upload.is_ok_and(|a| a.status != 200 || a.text() == WHOLE), "{illness:?}");
    }
    bystanders.noticed_nothing().await;
    back_to(&edge, before).await;
    eventually("every connection to the upstream to end", async || (ill.open() == 0).then_some(())).await;
}
