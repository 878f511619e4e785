//! What comes from an HTTP/1.1 client: request heads, the bodies behind them, and what is read for nobody. Says nothing to it but
//! that a body may come.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::client_io::ClientIo;
use super::connection::Connection;
use crate::config::LimitsSpec;
use crate::http1::{BadMessage, BadRequest, Bounds, Chunks, Framing, RequestHead, Step, has_end, read_request};

/// Bytes of the buffer that a head is read into; for a body it grows as long as reads fill it.
const FIRST_READ: usize = 8 * 1024;

/// Bytes of a body that are read at once, and that are read for nobody so that the connection can go on: what a client that
/// sends ahead costs us.
const MOST_BUFFER: usize = 64 * 1024;

/// What a client is told that waits to be asked for its body (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Its connection ended.
    #[error("closed before the body was whole")]
    Closed,
    /// Its connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not sent as chunks are.
    #[error("{0}")]
    NotChunks(BadMessage),
    /// Of HTTP/2.
    #[error("{0}")]
    Http2(#[from] hyper::Error),
}

/// What comes next on a connection.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum Next {
    /// A request.
    Request(RequestHead),
    /// Something that is none.
    Bad(BadRequest),
    /// Nothing.
    Over,
    /// Nothing: it broke.
    Broken,
}

/// The reading side of a connection, and its socket.
pub struct Line {
    /// Gone once another has it.
    io: Option<ClientIo>,
    bounds: Bounds,
    /// Read, and not yet taken.
    read: BytesMut,
    /// Bytes of it in which a head does not end.
    looked_at: usize,
    /// Bytes to make room for at the next read.
    next_read: usize,
    /// Whether there is no buffer until there is something to read.
    is_resting: bool,
    /// Whether the client has closed its side.
    is_ended: bool,
    /// What is still to come of the body of the request at hand.
    body: Rest,
    /// Whether somebody reads that body.
    is_read: bool,
    /// Whoever that is, while nothing comes.
    reader: Option<Waker>,
    /// Whoever waits for the end of that body.
    waiter: Option<Waker>,
    /// What the client is to be told before its body is read, as much as was not yet written of it.
    asking: &'static [u8],
}

/// What is still to come of a body.
enum Rest {
    Nothing,
    Length(u64),
    Chunks(Box<Chunks>),
    /// Nobody knows: these were no chunks.
    Unknown(BadMessage),
}

impl Line {
    /// A connection on which nothing was read yet.
    pub fn new(io: ClientIo, limits: &LimitsSpec) -> Rc<RefCell<Line>> {
        Rc::new(RefCell::new(Line {
            io: Some(io),
            bounds: Bounds { bytes: limits.head as usize, fields: limits.fields as usize },
            read: BytesMut::new(),
            looked_at: 0,
            next_read: FIRST_READ,
            is_resting: false,
            is_ended: false,
            body: Rest::Nothing,
            is_read: false,
            reader: None,
            waiter: None,
            asking: &[],
        }))
    }

    /// The socket, if it is still here.
    pub fn io(&mut self) -> Option<&mut ClientIo> {
        self.io.as_mut()
    }

    /// The socket, for something else than HTTP, and what was read of that already.
    pub fn take(&mut self) -> Option<(ClientIo, Bytes)> {
        self.io.take().map(|io| (io, std::mem::take(&mut self.read).freeze()))
    }

    /// The connection is over: whoever reads from it learns so.
    pub fn abandon(&mut self) {
        self.io = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Whether something was read that is not taken yet.
    pub fn has_more(&self) -> bool {
        !self.read.is_empty()
    }

    /// Whether what came begins like a TLS record: a handshake (RFC 8446 §5.1).
    pub fn began_like_tls(&self) -> bool {
        self.read.first() == Some(&0x16)
    }

    /// Waits for the next request, or for the end. Holds nothing once that takes long.
    pub fn poll_next(&mut self, cx: &mut Context<'_>, connection: &Connection) -> Poll<Next> {
        loop {
            if self.may_have_head() {
                match read_request(&mut self.read, self.bounds) {
                    Ok(Some(head)) => {
                        self.looked_at = 0;
                        return Poll::Ready(Next::Request(head));
                    }
                    Ok(None) => self.looked_at = self.read.len(),
                    Err(bad) => return Poll::Ready(Next::Bad(bad)),
                }
            }
            if self.is_ended || (self.read.is_empty() && connection.is_closing()) {
                return Poll::Ready(Next::Over);
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Next::Over),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Broken),
                Poll::Pending => {
                    connection.wake_by(cx.waker());
                    if !self.read.is_empty() {
                        // Also where it came with the request before.
                        if let Some(io) = &mut self.io {
                            io.note_head();
                        }
                    } else if connection.is_to_rest() && !self.is_resting {
                        self.rest();
                        continue;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// A head in many pieces is not read from its beginning with every one of them.
    fn may_have_head(&self) -> bool {
        match self.looked_at {
            0 => !self.read.is_empty(),
            known => self.read.len() > self.bounds.bytes || has_end(&self.read[known.saturating_sub(3)..]),
        }
    }

    fn rest(&mut self) {
        self.read = BytesMut::new();
        self.next_read = FIRST_READ;
        self.is_resting = true;
        if let Some(io) = &mut self.io {
            io.rest();
        }
    }

    /// Begins to answer the request at hand: from here on its client is not asked for its body. What stands before the answer,
    /// where it was told only a part of that; `None` if it waited in vain.
    pub fn begin_answer(&mut self) -> Option<&'static [u8]> {
        let asking = std::mem::take(&mut self.asking);
        (asking.len() < CONTINUE.len()).then_some(asking)
    }

    /// While a request is answered: whether its client is gone. One that has only closed its side is not.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_ended || !self.read.is_empty() || !matches!(self.body, Rest::Nothing) {
            return Poll::Pending;
        }
        // The kernel has mostly nothing to tell: that is known for less than a read.
        ready!(self.io.as_ref().map_or(Poll::Ready(Ok(())), |io| io.poll_readable(cx))).ok();
        match ready!(self.poll_read(cx)) {
            Ok(0) => {
                self.is_ended = true;
                self.io.as_ref().inspect(|io| io.half_closes());
                Poll::Pending
            }
            // Sent ahead; more of it is not read before its turn.
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    }

    /// Behind an answer: waits for whoever still reads the body of its request, and reads what is here of it where nobody does,
    /// if the connection is to go on. Whether what comes next is the next request.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>, is_kept: bool) -> Poll<bool> {
        if self.is_read && !matches!(self.body, Rest::Nothing) {
            self.waiter = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut most = MOST_BUFFER;
        while is_kept && !matches!(self.body, Rest::Nothing) {
            match self.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => most = most.saturating_sub(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(None) => {}
                Poll::Ready(Some(Err(_))) | Poll::Pending => break,
            }
            if most == 0 {
                break;
            }
        }
        if self.next_read > FIRST_READ {
            self.next_read = FIRST_READ;
            if self.read.is_empty() {
                self.read = BytesMut::new();
            }
        }
        Poll::Ready(matches!(self.body, Rest::Nothing))
    }

    /// Whether the client may still be sending what nobody reads: it is taken for a while.
    pub fn begin_lingering(&mut self) -> bool {
        let is_owed = !self.is_ended && (!self.read.is_empty() || !matches!(self.body, Rest::Nothing));
        self.io.as_ref().filter(|_| is_owed).inspect(|io| io.note_lingering());
        is_owed
    }

    /// Reads to the end, however it comes, and forgets.
    pub fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.io {
            Some(io) => io.poll_forget(cx),
            None => Poll::Ready(()),
        }
    }

    /// Tells the client that its body may come, if it waits for that.
    fn poll_ask(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while !self.asking.is_empty() {
            let io = self.io.as_mut().ok_or(Broken::Closed)?;
            let count = ready!(Pin::new(&mut *io).poll_write(cx, self.asking))?;
            self.asking = self.asking.get(count..).unwrap_or_default();
            if self.asking.is_empty() {
                let _ = Pin::new(io).poll_flush(cx)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        ready!(self.poll_ask(cx))?;
        let polled = self.poll_frame(cx);
        if polled.is_pending() {
            self.reader = Some(cx.waker().clone());
        }
        polled
    }

    /// The next of the body at hand.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            match &mut self.body {
                Rest::Nothing => return Poll::Ready(None),
                Rest::Unknown(bad) => return Poll::Ready(Some(Err(Broken::NotChunks(*bad)))),
                Rest::Length(_) if self.read.is_empty() => {}
                Rest::Length(left) => {
                    let here = usize::try_from(*left).map_or(self.read.len(), |left| left.min(self.read.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.body = Rest::Nothing;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(self.read.split_to(here).freeze()))));
                }
                Rest::Chunks(chunks) => match chunks.step(&mut self.read) {
                    Ok(Step::More) => {}
                    Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Ok(Step::Trailers(trailers)) => {
                        self.body = Rest::Nothing;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Ok(Step::End) => self.body = Rest::Nothing,
                    Err(bad) => self.body = Rest::Unknown(bad),
                },
            }
            if !matches!(self.body, Rest::Length(_) | Rest::Chunks(_)) {
                continue;
            }
            if self.is_ended || ready!(self.poll_read(cx))? == 0 {
                self.is_ended = true;
                return Poll::Ready(Some(Err(Broken::Closed)));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        if self.is_resting {
            ready!(io.poll_readable(cx))?;
            self.is_resting = false;
        }
        if self.read.capacity() == self.read.len() || self.read.is_empty() {
            self.read.reserve(self.next_read);
        }
        let room = self.read.capacity() - self.read.len();
        let count = ready!(pin!(io.read_buf(&mut self.read)).poll(cx))?;
        if count == room && room >= self.next_read {
            self.next_read = (self.next_read * 2).min(MOST_BUFFER);
        }
        Poll::Ready(Ok(count))
    }
}

/// The body of a request as it is read. Holds its connection only as long as something is to come on it: afterwards what comes is
/// another's.
pub struct Reading {
    line: Option<Rc<RefCell<Line>>>,
}

impl Reading {
    /// The body that follows on a line; `None` if there is none. `is_asked_first`: the client waits to be asked for it.
    pub fn begin(line: &Rc<RefCell<Line>>, framing: Framing, is_asked_first: bool) -> Option<Reading> {
        let mut open = line.borrow_mut();
        open.body = match framing {
            // No request is framed by the end of its connection.
            Framing::Nothing | Framing::Length(0) | Framing::UntilClosed => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunks(Box::default()),
        };
        open.is_read = !matches!(open.body, Rest::Nothing);
        open.asking = if open.is_read && is_asked_first { CONTINUE } else { &[] };
        open.is_read.then(|| Reading { line: Some(Rc::clone(line)) })
    }

    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        self.line.is_none()
    }

    /// How much will come, if that was said.
    pub fn size_hint(&self) -> SizeHint {
        match self.line.as_ref().map(|line| line.borrow()).as_deref() {
            None => SizeHint::with_exact(0),
            Some(Line { body: Rest::Length(left), .. }) => SizeHint::with_exact(*left),
            Some(_) => SizeHint::default(),
        }
    }

    /// The next of it.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(line) = &self.line else { return Poll::Ready(None) };
        let (polled, is_over) = {
            let mut line = line.borrow_mut();
            let polled = line.poll_body(cx);
            (polled, matches!(line.body, Rest::Nothing))
        };
        if is_over {
            self.let_go();
        }
        polled
    }

    /// Whoever waits for the end of the body goes on.
    fn let_go(&mut self) {
        if let Some(line) = self.line.take()
            && let Ok(mut line) = line.try_borrow_mut()
        {
            line.is_read = false;
            line.reader = None;
            if let Some(waiter) = line.waiter.take() {
                waiter.wake();
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.let_go();
    }
}
