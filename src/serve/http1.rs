//! HTTP/1.1 with a client: one request at a time, from the first byte of its head to the last of its answer, all of it in the
//! task of the connection. No channel, and nothing of a request is there while the connection rests.
//!
//! Another request is read only if every byte of the one before is accounted for: its body was read to its end, by whoever wanted
//! it or for nobody.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Method, Request, StatusCode, Version, header};
use http_body::Body;
use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::arriving::Arriving;
use super::client_io::ClientIo;
use super::connection::Connection;
use super::core::Core;
use super::drive::take_up;
use super::expect::is_expected;
use super::garbage;
use super::headers::lists;
use super::line::{Line, Next};
use super::seen::Seen;
use crate::http1::{BadRequest, Coding, Message, RequestHead, ToClient, write_answer};

/// What follows an exchange.
enum After {
    /// The next one.
    Another,
    /// The end, in order.
    Last,
    /// The end, at once.
    Broken,
    /// Something else than HTTP.
    Switched,
}

/// Serves a connection to its end.
pub async fn serve(core: &Rc<Core>, connection: &Rc<Connection>, io: ClientIo) {
    let line = Open(Line::new(io, &connection.limits));
    loop {
        let after = match poll_fn(|cx| line.borrow_mut().poll_next(cx, connection)).await {
            Next::Request(head) => exchange(core, connection, &line.0, head).await,
            Next::Bad(bad) => refuse(core, connection, &line.0, bad).await,
            Next::Over => After::Last,
            Next::Broken => After::Broken,
        };
        match after {
            // Whoever sends many ahead has one of them served at a turn, as others have.
            After::Another if line.borrow().has_more() => tokio::task::yield_now().await,
            After::Another => {}
            After::Last => return close(&line).await,
            After::Broken => return,
            After::Switched => {
                if let Some((heir, socket)) = connection.heir().zip(line.borrow_mut().take()) {
                    // Who is gone wants no socket.
                    let _ = heir.send(socket);
                }
                return;
            }
        }
    }
}

/// A line whose connection is served. Whoever still reads a body from it when that is over learns that nothing more comes.
struct Open(Rc<RefCell<Line>>);

impl std::ops::Deref for Open {
    type Target = RefCell<Line>;

    fn deref(&self) -> &RefCell<Line> {
        &self.0
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Ok(mut line) = self.0.try_borrow_mut() {
            line.abandon();
        }
    }
}

/// One request and its answer.
async fn exchange(core: &Rc<Core>, connection: &Rc<Connection>, line: &Rc<RefCell<Line>>, head: RequestHead) -> After {
    let RequestHead { method, uri, version, headers, framing, is_kept } = head;
    let seen = Seen::of(&headers);
    let is_asked_first = seen.has(Seen::EXPECT) && is_expected(version, &headers);
    let mut to = ToClient {
        is_http10: version == Version::HTTP_10,
        is_head: method == Method::HEAD,
        takes_trailers: seen.has(Seen::TE) && headers.get(header::TE).is_some_and(|te| lists(te, "trailers")),
        is_kept,
    };
    let mut request = Request::new(Arriving::over_http1(line, framing, is_asked_first));
    (*request.method_mut(), *request.uri_mut(), *request.version_mut()) = (method, uri, version);
    *request.headers_mut() = headers;
    let (_, mut answering) = take_up(core, connection, request, seen);
    let answered = poll_fn(|cx| match answering.poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => line.borrow_mut().poll_gone(cx).map(|()| None),
    });
    let Some(answer) = answered.await else { return After::Broken };
    drop(answering);
    let (parts, mut body) = answer.into_parts();
    let verbatim = body.take_verbatim();
    let before = line.borrow_mut().begin_answer();
    // Whoever was not asked for its body may send it or not; nobody could tell it from the next request.
    to.is_kept &= before.is_some() && !connection.is_closing();
    let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
    let size = if body.is_end_stream() { Some(0) } else { body.size_hint().exact().filter(|size| *size > 0) };
    let written = write_answer(parts.status, reason, verbatim.as_ref(), &parts.headers, size, to);
    let Ok((mut text, coding, is_kept)) = written else { return After::Broken };
    if let Some(before) = before.filter(|before| !before.is_empty()) {
        text.splice(..0, before.iter().copied());
    }
    let body = (coding != Coding::Nothing).then_some(body);
    let mut message = Message::new(text, coding, body);
    let written = poll_fn(|cx| match message.poll(cx, &mut Out(line)) {
        Poll::Ready(written) => Poll::Ready(written.is_ok()),
        Poll::Pending => line.borrow_mut().poll_gone(cx).map(|()| false),
    });
    if !written.await {
        return After::Broken;
    }
    drop(message);
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return After::Switched;
    }
    let is_in_step = poll_fn(|cx| line.borrow_mut().poll_rest(cx, is_kept)).await;
    if is_kept && is_in_step { After::Another } else { After::Last }
}

/// Answers what is no request, and ends the connection.
async fn refuse(core: &Rc<Core>, connection: &Connection, line: &RefCell<Line>, bad: BadRequest) -> After {
    let text = garbage::answer_no_request(core, connection, bad, line.borrow().began_like_tls());
    let is_told = Out(line).write_all(&text).await.is_ok() && Out(line).flush().await.is_ok();
    if is_told { After::Last } else { After::Broken }
}

/// Ends our half. A client that we answered in the middle of what it sends goes on for a moment: closing on it would make its
/// kernel throw the answer away (RFC 9112 §9.6), so what it sends is taken until it ends or the sweeper cuts it.
async fn close(line: &RefCell<Line>) {
    let is_shut = poll_fn(|cx| Pin::new(&mut Out(line)).poll_shutdown(cx)).await.is_ok();
    if is_shut && line.borrow_mut().begin_lingering() {
        poll_fn(|cx| line.borrow_mut().poll_forget(cx)).await;
    }
}

/// The writing side of a line, which is borrowed for each write alone: bodies are read from it in between.
struct Out<'a>(&'a RefCell<Line>);

impl Out<'_> {
    fn with<T>(&self, act: impl FnOnce(Pin<&mut ClientIo>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match self.0.borrow_mut().io() {
            Some(io) => act(Pin::new(io)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Out<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|io| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|io| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|io| io.poll_shutdown(cx))
    }
}
