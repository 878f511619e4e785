//! `cargo bench --bench headers`: what it costs to turn a browser's fields into those for the upstream, and an answer's into
//! those for the client. Copying the fields, which only the bench needs, is measured beside and taken off.

use std::hint::black_box;

use doorward::serve::{Outgoing, Seen, to_client, to_upstream};
use doorward::snapshot::Edits;
use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rustix::time::{ClockId, clock_gettime};

/// Rewritings of one round.
const TIMES: u32 = 200_000;

/// Rounds; the fastest counts, because whatever slows one down is not the code.
const ROUNDS: usize = 7;

/// What a browser sends for a picture.
const REQUEST: &[(&str, &str)] = &[
    ("host", "photos.example.org"),
    ("connection", "keep-alive"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("referer", "https://photos.example.org/library/2026"),
    ("cookie", "session=3f2c9a1b7e; theme=dark"),
    ("sec-fetch-dest", "image"),
    ("sec-fetch-mode", "no-cors"),
    ("sec-fetch-site", "same-origin"),
    ("x-forwarded-for", "192.0.2.66"),
    ("priority", "u=5, i"),
];

/// What a service answers.
const ANSWER: &[(&str, &str)] = &[
    ("server", "service/1.0"),
    ("date", "Mon, 23 Nov 2026 08:00:00 GMT"),
    ("content-type", "image/webp"),
    ("content-length", "1024"),
    ("connection", "keep-alive"),
    ("cache-control", "private, max-age=3600"),
    ("etag", "\"9f2b\""),
    ("vary", "accept-encoding"),
];

fn main() {
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    let (request, answer) = (fields(REQUEST), fields(ANSWER));
    let edits = Edits::default();
    let hsts = HeaderValue::from_static("max-age=31536000");
    let copying = [time(|| drop(black_box(request.clone()))), time(|| drop(black_box(answer.clone())))];
    let asking = time(|| {
        let mut headers = request.clone();
        let seen = Seen::of(&headers);
        to_upstream(&mut headers, seen, outgoing(), &edits);
        black_box(&headers);
    });
    let answering = time(|| {
        let mut headers = answer.clone();
        let seen = Seen::of(&headers);
        to_client(&mut headers, seen, Some(&hsts), &edits);
        black_box(&headers);
    });
    println!("| fields | ns | copying them ns |\n|---|---:|---:|");
    println!("| {} of a request, to the upstream | {:.0} | {:.0} |", request.len(), asking - copying[0], copying[0]);
    println!("| {} of an answer, to the client | {:.0} | {:.0} |", answer.len(), answering - copying[1], copying[1]);
}

fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn outgoing() -> Outgoing<'static> {
    Outgoing {
        host: HeaderValue::from_static("photos.example.org"),
        client: Some(HeaderValue::from_static("192.168.8.20")),
        is_https: true,
        via: None,
        is_websocket: false,
        is_expected: false,
        is_chunked: false,
        version: Version::HTTP_11,
    }
}

/// Nanoseconds of one call.
fn time(mut call: impl FnMut()) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        let began = thread_time();
        (0..TIMES).for_each(|_| call());
        (thread_time() - began) / f64::from(TIMES)
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// Nanoseconds of CPU that this thread has used: what counts where others want the core too.
fn thread_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
