//! Requests that two servers might read in two ways: hundreds of spellings, each judged by the bytes that the upstream got.
//! Whatever comes in, what goes out is RFC 9112 to the letter, says who asked, and is no more requests than were sent.

// Tables read best as tables.
#[rustfmt::skip]
mod spellings;
mod strict;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Gateway, Raw, Upstream};
use spellings::{Case, Expect};
use strict::{Read, read};

/// How long a case may go without an answer: some promise a body that never comes, and nobody answers them.
const SILENCE: Duration = Duration::from_millis(400);

/// What the upstream got since it was last asked.
#[derive(Default)]
struct Got {
    requests: Vec<strict::Request>,
    faults: Vec<String>,
}

/// An upstream that reads strictly, and answers every request that is clean.
async fn strict_upstream(got: Arc<Mutex<Got>>) -> Upstream {
    Upstream::acting(move |mut peer| {
        let got = got.clone();
        async move {
            let mut bytes = Vec::new();
            while let Some(more) = peer.bytes().await {
                bytes.extend(more);
                loop {
                    match read(&bytes) {
                        Read::Whole(request, length) => {
                            bytes.drain(..length);
                            let is_head = request.method == "HEAD";
                            got.lock().unwrap().requests.push(request);
                            let body = if is_head { "" } else { "ok" };
                            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}")).await;
                        }
                        Read::More => break,
                        Read::Dirty(why) => {
                            got.lock().unwrap().faults.push(format!("{why}: {:?}", String::from_utf8_lossy(&bytes)));
                            return;
                        }
                    }
                }
            }
        }
    })
    .await
}

/// Sends the cases one after the other; what is wrong with each that is not as it should be.
async fn judge(cases: Vec<Case>) {
    let got = Arc::new(Mutex::new(Got::default()));
    let upstream = strict_upstream(got.clone()).await;
    let edge = Gateway::serving(format!("[routes]\n\"*\" = \"{upstream}\"\nshop = \"{upstream}\"\n")).await;
    let mut faults = Vec::new();
    assert!(cases.len() > 20);
    for case in &cases {
        let mut raw = edge.raw().await;
        // It may refuse, and close, before it has read everything.
        let _ = raw.try_send(&case.bytes).await;
        let mut said = String::new();
        for _ in 0..case.most {
            said = final_answer(&mut raw).await;
        }
        drop(raw);
        let Got { requests, faults: dirty } = std::mem::take(&mut *got.lock().unwrap());
        let fault = if !dirty.is_empty() {
            Some(format!("dirty bytes: {dirty:?}"))
        } else if requests.len() > case.most {
            Some(format!("{} requests of {}: {requests:?}", requests.len(), case.most))
        } else if let Some(unmarked) = requests.iter().find(|r| r.field("x-forwarded-for") != Some("127.0.0.7")) {
            Some(format!("nobody is named: {unmarked:?}"))
        } else if requests.iter().any(|r| r.target.contains("smuggled") && !case.may_ask_for_it) {
            Some(format!("smuggled: {requests:?}"))
        } else if case.expect == Expect::Refused && (!requests.is_empty() || said.starts_with("HTTP/1.1 2")) {
            Some(format!("not refused: {said:?}, {requests:?}"))
        } else {
            None
        };
        faults.extend(fault.map(|fault| format!("{}: {fault}", case.name)));
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
    assert_eq!(edge.get("shop.home.test/after").await.status, 200);
    assert!(got.lock().unwrap().faults.is_empty());
    println!("{} cases", cases.len());
}

/// The next answer that is no interim one; empty if none comes.
async fn final_answer(raw: &mut Raw) -> String {
    loop {
        let said = tokio::time::timeout(SILENCE, raw.answer()).await.unwrap_or_default();
        if !said.starts_with("HTTP/1.1 1") {
            return said;
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_request_line_reaches_the_upstream_unclean() {
    judge(spellings::request_lines()).await;
}

#[tokio::test]
async fn no_spelling_of_a_host_reaches_the_upstream_unclean() {
    judge(spellings::hosts()).await;
}

#[tokio::test]
async fn no_spelling_of_a_field_reaches_the_upstream_unclean() {
    judge(spellings::fields()).await;
}

#[tokio::test]
async fn no_spelling_of_a_length_reaches_the_upstream_unclean() {
    judge(spellings::lengths()).await;
}

#[tokio::test]
async fn no_spelling_of_a_transfer_coding_reaches_the_upstream_unclean() {
    judge(spellings::codings()).await;
}

#[tokio::test]
async fn no_spelling_of_a_chunk_reaches_the_upstream_unclean() {
    judge(spellings::chunks()).await;
}

#[tokio::test]
async fn no_upgrade_expectation_or_nomination_reaches_the_upstream_unclean() {
    judge(spellings::connections()).await;
}
