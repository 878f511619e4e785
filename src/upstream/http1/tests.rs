//! One connection against a server that does as it likes.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::*;
use crate::upstream::{Wire, turn_by_turn};

type Sent = UnsyncBoxBody<Bytes, Infallible>;

fn nothing() -> Sent {
    Empty::new().boxed_unsync()
}

fn text(body: &'static str) -> Sent {
    Full::new(Bytes::from_static(body.as_bytes())).boxed_unsync()
}

/// A body whose pieces come when they are sent.
fn pieces() -> (mpsc::Sender<&'static str>, Sent) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(receiver, |mut receiver: mpsc::Receiver<&'static str>| async {
        let piece = receiver.recv().await?;
        Some((Ok(Frame::data(Bytes::from_static(piece.as_bytes()))), receiver))
    });
    (sender, StreamBody::new(Box::pin(frames)).boxed_unsync())
}

/// A connection, and its other end.
async fn joined() -> (Http1<Sent>, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (Http1::new(Connected::plain(Wire::new(near))), far)
}

fn request(method: Method, body: Sent) -> Box<Request<Sent>> {
    Box::new(Request::builder().method(method).uri("/").header("host", "a").body(body).unwrap())
}

/// Reads until what was read ends so.
async fn read_to(far: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let count = tokio::time::timeout(Duration::from_secs(10), far.read_buf(&mut read)).await.unwrap().unwrap();
        assert!(count > 0, "ended after {:?}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).unwrap()
}

/// One exchange in which the server answers so: the body of the answer, and whether the connection serves again.
async fn exchange(method: Method, answer: &str, hangs_up: bool) -> (Result<Vec<u8>, AnswerError>, bool) {
    let (near, mut far) = joined().await;
    let server = async {
        read_to(&mut far, "\r\n\r\n").await;
        far.write_all(answer.as_bytes()).await.unwrap();
        if hangs_up {
            far.shutdown().await.unwrap();
        }
    };
    let client = async {
        let response = match near.send(request(method, nothing()), Terms::default()).await {
            Ok(response) => response,
            Err(lost) => {
                assert!(lost.request.is_some() && !lost.is_unsent);
                return Err(lost.error);
            }
        };
        Ok(response.into_body().collect().await?.to_bytes().to_vec())
    };
    let (body, ()) = tokio::join!(client, server);
    (body, near.is_free())
}

async fn on_one_core<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}

#[tokio::test]
async fn a_connection_serves_again_only_if_every_byte_is_accounted_for() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", "body", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "body", true),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", "body", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody", "body", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody", "body", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK", "body", false),
        ("HTTP/1.1 204 No Content\r\n\r\nx", "", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", "", false),
    ];
    for (answer, body, is_kept) in cases {
        let (got, serves_again) = on_one_core(exchange(Method::GET, answer, false)).await;
        assert_eq!((got.unwrap(), serves_again), (body.as_bytes().to_vec(), is_kept), "{answer:?}");
    }
    let until_closed = "HTTP/1.1 200 OK\r\n\r\nbody";
    let (got, serves_again) = on_one_core(exchange(Method::GET, until_closed, true)).await;
    assert_eq!((got.unwrap(), serves_again), (b"body".to_vec(), false));
    let to_head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    let (got, serves_again) = on_one_core(exchange(Method::HEAD, to_head, false)).await;
    assert_eq!((got.unwrap(), serves_again), (vec![], true));
    let to_head_with_body = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    let (got, serves_again) = on_one_core(exchange(Method::HEAD, to_head_with_body, false)).await;
    assert_eq!((got.unwrap(), serves_again), (vec![], false));
}

#[tokio::test]
async fn an_answer_that_is_cut_is_no_answer() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    for end in 0..answer.len() {
        let (got, serves_again) = on_one_core(exchange(Method::GET, &answer[..end], true)).await;
        assert!(matches!(got, Err(AnswerError::Closed)) && !serves_again, "{end}: {got:?}");
    }
}

#[tokio::test]
async fn who_closed_or_spoke_unasked_is_asked_nothing() {
    for last_words in ["", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
        let (near, mut far) = joined().await;
        assert!(near.is_ready());
        far.write_all(last_words.as_bytes()).await.unwrap();
        drop(far);
        let heard = async {
            while near.is_ready() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
        let lost = near.send(request(Method::POST, text("body")), Terms::default()).await.err().unwrap();
        assert!(lost.is_unsent);
        let body = lost.request.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "body", "nothing of it was taken");
    }
}

#[tokio::test]
async fn an_upload_and_its_answer_flow_at_once_and_the_connection_serves_again() {
    let test = async {
        let (near, mut far) = joined().await;
        let (sender, body) = pieces();
        let (answered, head) = tokio::join!(near.send(request(Method::POST, body), Terms::default()), async {
            let head = read_to(&mut far, "\r\n\r\n").await;
            far.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await.unwrap();
            head
        });
        assert_eq!(head, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut answer = answered.ok().unwrap().into_body();
        assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        // Nobody reads the answer meanwhile.
        for (piece, written) in [("four", "4\r\nfour\r\n"), ("", ""), ("sixsix", "6\r\nsixsix\r\n")] {
            sender.send(piece).await.unwrap();
            if !written.is_empty() {
                assert_eq!(read_to(&mut far, written).await, written);
            }
        }
        drop(sender);
        assert_eq!(read_to(&mut far, "0\r\n\r\n").await, "0\r\n\r\n");
        far.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "two");
        assert!(near.is_free() && near.is_ready());
    };
    on_one_core(test).await;
}

#[tokio::test]
async fn the_last_of_an_upload_leaves_though_the_kernel_is_full_and_nobody_reads_the_answer() {
    let test = async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let mut beside = near.try_clone().unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let near = Http1::new(Connected::plain(Wire::new(TcpStream::from_std(near).unwrap())));
        let (sender, body) = pieces();
        let (answered, ()) = tokio::join!(near.send(request(Method::POST, body), Terms::default()), async {
            read_to(&mut far, "\r\n\r\n").await;
            far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await.unwrap();
        });
        let unread = answered.ok().unwrap();
        while beside.write(&[b'x'; 4096]).is_ok() {}
        sender.send("end").await.unwrap();
        drop(sender);
        // Its writer has all of it, and has seen that it does not leave.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        let read = read_to(&mut far, "x3\r\nend\r\n0\r\n\r\n").await;
        assert!(read.starts_with('x'));
        drop(unread);
    };
    turn_by_turn(LocalSet::new().run_until(test)).await;
}

#[tokio::test]
async fn an_answer_that_ends_before_its_upload_ends_the_connection() {
    let test = async {
        let (near, mut far) = joined().await;
        let (sender, body) = pieces();
        let (answered, ()) = tokio::join!(near.send(request(Method::POST, body), Terms::default()), async {
            read_to(&mut far, "\r\n\r\n").await;
            far.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        });
        assert_eq!(answered.ok().unwrap().into_body().collect().await.unwrap().to_bytes(), "no");
        assert!(!near.is_free(), "what comes next would be read as the rest of the body");
        drop(near);
        let mut rest = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), far.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert_eq!(rest, b"", "and nothing came");
        assert!(sender.is_closed());
    };
    on_one_core(test).await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_on_ends_the_connection() {
    let test = async {
        let (near, mut far) = joined().await;
        let (answered, ()) = tokio::join!(near.send(request(Method::GET, nothing()), Terms::default()), async {
            read_to(&mut far, "\r\n\r\n").await;
            far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo").await.unwrap();
        });
        drop(answered);
        assert!(!near.is_free());
    };
    on_one_core(test).await;
}

#[tokio::test]
async fn a_body_is_as_long_as_its_head_says_or_the_request_is_given_up() {
    let test = async {
        for (said, body) in [("5", "four"), ("3", "four")] {
            let (near, mut far) = joined().await;
            let (sender, sent) = pieces();
            let mut request = request(Method::PUT, sent);
            request.headers_mut().insert("content-length", http::HeaderValue::from_static(said));
            sender.send(body).await.unwrap();
            drop(sender);
            let lost = near.send(request, Terms::default()).await.err().unwrap();
            assert!(lost.error.is_own_end() && lost.request.is_none(), "{}", lost.error);
            drop(near);
            let mut written = String::new();
            far.read_to_string(&mut written).await.unwrap();
            let written = written.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
            assert!(written.len() < said.parse().unwrap(), "{written:?}");
        }
    };
    on_one_core(test).await;
}

#[tokio::test]
async fn pieces_that_are_there_are_written_at_once() {
    let test = async {
        for (is_sized, expected) in [(true, "onetwothree"), (false, "b\r\nonetwothree\r\n0\r\n\r\n")] {
            let (near, mut far) = joined().await;
            let frames = ["one", "two", "", "three"].map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
            let mut request = request(Method::POST, StreamBody::new(stream::iter(frames)).boxed_unsync());
            if is_sized {
                request.headers_mut().insert("content-length", http::HeaderValue::from_static("11"));
            }
            let sending = tokio::task::spawn_local(near.send(request, Terms::default()));
            let mut read = [0; 200];
            let count = far.read(&mut read).await.unwrap();
            let read = std::str::from_utf8(&read[..count]).unwrap();
            assert_eq!(read.split_once("\r\n\r\n").unwrap().1, expected);
            sending.abort();
        }
    };
    on_one_core(test).await;
}

#[tokio::test]
async fn a_body_of_many_pieces_arrives_whole() {
    let test = async {
        for (count, size) in [(16, 20_000), (17, 20_000), (1000, 20)] {
            let (near, mut far) = joined().await;
            let pieces: Vec<Bytes> = (0..count).map(|piece| Bytes::from(vec![piece as u8; size])).collect();
            let expected = pieces.concat();
            let frames = stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))));
            let mut request = request(Method::POST, StreamBody::new(frames).boxed_unsync());
            request.headers_mut().insert("content-length", http::HeaderValue::from(expected.len()));
            let sending = tokio::task::spawn_local(near.send(request, Terms::default()));
            let mut read = Vec::new();
            let body = loop {
                assert!(far.read_buf(&mut read).await.unwrap() > 0);
                let head = read.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
                if let Some(head) = head.filter(|head| read.len() - head >= expected.len()) {
                    break &read[head..];
                }
            };
            assert!(body == expected, "{count} pieces of {size} bytes");
            sending.abort();
        }
    };
    on_one_core(test).await;
}

#[tokio::test]
async fn a_small_request_and_its_body_are_written_at_once() {
    let test = async {
        let (near, mut far) = joined().await;
        let sending = tokio::task::spawn_local(near.send(request(Method::POST, text("a body")), Terms::default()));
        let mut read = [0; 200];
        let count = far.read(&mut read).await.unwrap();
        assert!(read[..count].ends_with(b"\r\n\r\na body"));
        sending.abort();
    };
    on_one_core(test).await;
}
