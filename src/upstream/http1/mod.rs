//! HTTP/1.1 to an upstream: a connection, and one exchange at a time on it, all of it done by the task whose exchange it is. No
//! task of its own, no channel: an answer is read where it is awaited. Only an upload that goes on behind the beginning of its
//! answer has a task, so that neither holds up the other.
//!
//! A connection serves again only if every byte of the exchange before is accounted for on both sides: the request was written
//! to its end, the answer ended by its own framing, and nothing stands behind it.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::task::AbortHandle;

use super::answer::{AnswerBody, AnswerError, Lost};
use super::connect::Connected;
use super::multiplex::Sendable;
use crate::http1::{
    AnswerHead, BadMessage, Chunks, Fault, Framing, MOST_ANSWER_HEAD, MayPass, Message, Step, Verbatim, has_end,
    read_answer, write_request,
};

/// Bytes of the buffer that an answer is read into at first; it grows as long as reads fill it.
const FIRST_READ: usize = 8 * 1024;

/// Bytes of an answer that are read at once, at most.
const LARGEST_READ: usize = 128 * 1024;

/// Told of every interim answer.
pub type Told = Box<dyn Fn(StatusCode)>;

/// What goes with a request over HTTP/1.1.
#[derive(Default)]
pub struct Terms {
    /// Told of interim answers.
    pub told: Option<Told>,
    /// Which fields of the answer may go on as they came, if any may.
    pub may_pass: Option<MayPass>,
    /// Lines of the head that stand behind its fields.
    pub forwarding: Option<Rc<[u8]>>,
}

/// A connection that speaks HTTP/1.1.
pub struct Http1<B: Sendable>(Rc<RefCell<Line<B>>>);

/// What an exchange, its upload and the pool see of a connection.
struct Line<B> {
    stream: Connected,
    /// Read, and not yet taken.
    read: BytesMut,
    /// Bytes to make room for at the next read.
    next_read: usize,
    /// The request, as long as it is not written to its end.
    upload: Option<Message<B>>,
    /// Why it was not.
    fault: Option<Fault>,
    /// What is still to come of the answer.
    body: Rest,
    /// Whether the server takes another request when this exchange is over.
    is_kept: bool,
    /// Whether no exchange is under way.
    is_idle: bool,
    /// Writes what is left of the request while the answer is read.
    writing: Option<AbortHandle>,
    /// Who reads that answer.
    reader: Option<Waker>,
}

/// What is still to come of an answer's body.
enum Rest {
    Nothing,
    Length(u64),
    Chunks(Box<Chunks>),
    UntilClosed,
}

impl<B: Sendable> Http1<B> {
    /// A connection on which nothing was said yet.
    pub fn new(stream: Connected) -> Http1<B> {
        Http1(Rc::new(RefCell::new(Line {
            stream,
            read: BytesMut::new(),
            next_read: FIRST_READ,
            upload: None,
            fault: None,
            body: Rest::Nothing,
            is_kept: true,
            is_idle: true,
            writing: None,
            reader: None,
        })))
    }

    /// Whether it can take a request: nothing is under way, the server has not closed it, and said nothing unasked.
    pub fn is_ready(&self) -> bool {
        self.0.try_borrow_mut().is_ok_and(|mut line| line.look().is_ok())
    }

    /// Whether another exchange may begin on it, as far as is known here.
    pub fn is_free(&self) -> bool {
        self.0.try_borrow().is_ok_and(|line| line.is_free())
    }

    /// Gives back what a connection need not hold that will not be used soon.
    pub fn rest(&self) {
        if let Ok(mut line) = self.0.try_borrow_mut()
            && line.is_free()
        {
            line.read = BytesMut::new();
            line.stream.rest();
        }
    }

    /// Sends a request, and reads the answer's head.
    pub fn send(&self, request: Box<Request<B>>, terms: Terms) -> Sending<B> {
        let Terms { told, may_pass, forwarding } = terms;
        let is_head = request.method() == Method::HEAD;
        let (spare, ended) = match self.0.borrow_mut().begin(request, forwarding.as_deref().unwrap_or_default()) {
            Ok(spare) => (spare, None),
            Err(lost) => (None, Some(lost)),
        };
        Sending { line: Rc::clone(&self.0), is_head, told, may_pass, spare, ended }
    }

    /// The connection itself once both sides have agreed to speak something else on it, and what was read of that already.
    /// `None` while anything else holds it.
    pub fn into_stream(self) -> Option<(Connected, Bytes)> {
        let line = Rc::try_unwrap(self.0).ok()?.into_inner();
        line.upload.is_none().then(|| (line.stream, line.read.freeze()))
    }
}

/// An exchange up to its answer's head.
pub struct Sending<B: Sendable> {
    line: Rc<RefCell<Line<B>>>,
    is_head: bool,
    told: Option<Told>,
    may_pass: Option<MayPass>,
    /// The request, if it has no body.
    spare: Option<Box<Request<B>>>,
    /// Why it ended before it began.
    ended: Option<Lost<B>>,
}

impl<B: Sendable> Future for Sending<B> {
    type Output = Result<Response<AnswerBody<B>>, Lost<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Sending { line, is_head, told, may_pass, spare, ended } = self.get_mut();
        if let Some(lost) = ended.take() {
            return Poll::Ready(Err(lost));
        }
        let polled = line.borrow_mut().poll_head(cx, *is_head, told.as_ref(), *may_pass);
        Poll::Ready(match ready!(polled) {
            Ok(head) => Ok(answer(Rc::clone(line), head)),
            Err(error) => Err(Lost { error, request: spare.take(), is_unsent: false }),
        })
    }
}

/// The answer whose head this is.
fn answer<B: Sendable>(line: Rc<RefCell<Line<B>>>, head: AnswerHead) -> Response<AnswerBody<B>> {
    let AnswerHead { status, reason, headers, verbatim, framing, is_kept } = head;
    let is_over = {
        let mut open = line.borrow_mut();
        open.is_kept = is_kept && status != StatusCode::SWITCHING_PROTOCOLS;
        open.body = match framing {
            Framing::Nothing | Framing::Length(0) => Rest::Nothing,
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunks(Box::default()),
            Framing::UntilClosed => Rest::UntilClosed,
        };
        if matches!(open.body, Rest::Nothing) {
            open.end();
            true
        } else {
            if open.upload.is_some() {
                open.writing = Some(write_on(&line));
            }
            false
        }
    };
    let body = Reading { line: (!is_over).then_some(line), verbatim };
    let mut response = Response::new(AnswerBody::Http1(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = reason.and_then(|reason| hyper::ext::ReasonPhrase::try_from(reason).ok()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// Writes the rest of a request whose answer has begun, beside whoever reads that answer.
fn write_on<B: Sendable>(line: &Rc<RefCell<Line<B>>>) -> AbortHandle {
    let line = Rc::clone(line);
    let writing = std::future::poll_fn(move |cx| {
        let mut line = line.borrow_mut();
        ready!(line.poll_upload(cx));
        // This task is not there to send the rest if the server takes no more.
        if line.fault.is_none() {
            line.fault = ready!(line.stream.poll_send(cx)).err().map(Fault::Io);
        }
        if line.fault.is_some()
            && let Some(reader) = line.reader.take()
        {
            reader.wake();
        }
        Poll::Ready(())
    });
    tokio::task::spawn_local(writing).abort_handle()
}

impl<B: Sendable> Line<B> {
    fn is_free(&self) -> bool {
        self.is_idle && self.is_kept && self.read.is_empty()
    }

    /// Whether nothing is under way and the server neither closed nor said anything. Asks the kernel only if that told of
    /// something to read.
    fn look(&mut self) -> Result<(), AnswerError> {
        if !self.is_free() {
            return Err(AnswerError::Closed);
        }
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let looked = std::future::poll_fn(|cx| {
            Poll::Ready(match self.stream.is_silent(cx) {
                true => Poll::Pending,
                false => Pin::new(&mut self.stream).poll_read(cx, &mut buffer),
            })
        });
        // Not counted against what the task may do in one turn: else a closed connection would pass for a silent one.
        let looked = pin!(tokio::task::unconstrained(looked)).poll(&mut Context::from_waker(Waker::noop()));
        match looked {
            Poll::Ready(Poll::Pending) => Ok(()),
            Poll::Ready(Poll::Ready(Err(error))) => Err(AnswerError::Io(error)),
            // An answer to nothing would be taken for the answer to what is asked next.
            Poll::Ready(Poll::Ready(Ok(()))) if !buffer.filled().is_empty() => {
                Err(BadMessage("it spoke before it was asked").into())
            }
            _ => Err(AnswerError::Closed),
        }
    }

    /// Takes up a request; one without a body is given back, to be sent again where that is safe.
    fn begin(&mut self, request: Box<Request<B>>, forwarding: &[u8]) -> Result<Option<Box<Request<B>>>, Lost<B>> {
        if let Err(error) = self.look() {
            return Err(Lost { error, request: Some(request), is_unsent: true });
        }
        let body = request.body();
        let size = if body.is_end_stream() { Some(0) } else { body.size_hint().exact().filter(|size| *size > 0) };
        let written = write_request(request.method(), request.uri(), request.headers(), forwarding, size);
        let (head, coding) = match written {
            Ok(written) => written,
            Err(wrong) => return Err(Lost { error: wrong.into(), request: None, is_unsent: true }),
        };
        let (body, spare) = if size == Some(0) { (None, Some(request)) } else { (Some(request.into_body()), None) };
        self.upload = Some(Message::new(head, coding, body));
        self.is_idle = false;
        self.is_kept = false;
        Ok(spare)
    }

    /// Writes until all is written, or what is left cannot be.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(upload) = &mut self.upload
            && self.fault.is_none()
        {
            match ready!(upload.poll(cx, &mut self.stream)) {
                Ok(()) => self.upload = None,
                Err(fault) => self.fault = Some(fault),
            }
        }
        Poll::Ready(())
    }

    /// Writes the request and reads until the final answer's head is whole, whichever is first.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        is_head: bool,
        told: Option<&Told>,
        may_pass: Option<MayPass>,
    ) -> Poll<Result<AnswerHead, AnswerError>> {
        if self.poll_upload(cx).is_ready()
            && let Some(Fault::Body(error)) = self.fault.take_if(|fault| matches!(fault, Fault::Body(_)))
        {
            return Poll::Ready(Err(AnswerError::Upload(error)));
        }
        loop {
            let known = self.read.len();
            match ready!(self.poll_read(cx)) {
                // A server that closes while it is written to may have said why before; now it can say nothing more.
                Ok(0) | Err(_) if let Some(Fault::Io(error)) = self.fault.take() => {
                    return Poll::Ready(Err(AnswerError::Io(error)));
                }
                Ok(0) => return Poll::Ready(Err(AnswerError::Closed)),
                Err(error) => return Poll::Ready(Err(AnswerError::Io(error))),
                Ok(_) => {}
            }
            // A head in many pieces is not read from its beginning with every one of them.
            if known > 0 && self.read.len() <= MOST_ANSWER_HEAD && !has_end(&self.read[known.saturating_sub(3)..]) {
                continue;
            }
            while let Some(head) = read_answer(&mut self.read, is_head, may_pass)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                if let Some(told) = told {
                    told(head.status);
                }
                if self.read.is_empty() {
                    break;
                }
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if self.writing.is_some() {
            if let Some(Fault::Body(error)) = self.fault.take_if(|fault| matches!(fault, Fault::Body(_))) {
                return Poll::Ready(Some(Err(AnswerError::Upload(error))));
            }
            self.reader = Some(cx.waker().clone());
        }
        loop {
            match &mut self.body {
                Rest::Nothing => return Poll::Ready(None),
                Rest::Length(left) if !self.read.is_empty() => {
                    let here = usize::try_from(*left).map_or(self.read.len(), |left| left.min(self.read.len()));
                    *left -= here as u64;
                    let is_last = *left == 0;
                    let data = self.read.split_to(here).freeze();
                    if is_last {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Rest::UntilClosed if !self.read.is_empty() => {
                    return Poll::Ready(Some(Ok(Frame::data(self.read.split().freeze()))));
                }
                Rest::Length(_) | Rest::UntilClosed => {}
                Rest::Chunks(chunks) => match chunks.step(&mut self.read)? {
                    Step::More => {}
                    Step::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Step::Trailers(trailers) => {
                        self.end();
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    Step::End => {
                        self.end();
                        return Poll::Ready(None);
                    }
                },
            }
            let ended = match ready!(self.poll_read(cx)) {
                Ok(0) => AnswerError::Closed,
                Ok(_) => continue,
                Err(error) => AnswerError::Io(error),
            };
            if matches!((&self.body, &ended), (Rest::UntilClosed, AnswerError::Closed)) {
                self.end();
                return Poll::Ready(None);
            }
            return Poll::Ready(Some(Err(ended)));
        }
    }

    /// The exchange is over. What is left of an upload is for nobody.
    fn end(&mut self) {
        self.body = Rest::Nothing;
        self.reader = None;
        if let Some(writing) = self.writing.take() {
            writing.abort();
        }
        // The end of a body whose every byte was sent is nothing to send.
        self.upload.take_if(|upload| upload.is_whole());
        self.is_idle = self.upload.is_none();
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.read.capacity() == self.read.len() || self.read.is_empty() {
            self.read.reserve(self.next_read);
        }
        let room = self.read.capacity() - self.read.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.read)).poll(cx))?;
        if count == room && room >= self.next_read {
            self.next_read = (self.next_read * 2).min(LARGEST_READ);
        }
        Poll::Ready(Ok(count))
    }
}

/// The body of an answer as it is read. Holds its connection only as long as something is to come on it: afterwards the
/// connection may be anybody's.
pub struct Reading<B: Sendable> {
    line: Option<Rc<RefCell<Line<B>>>>,
    verbatim: Option<Verbatim>,
}

impl<B: Sendable> Reading<B> {
    /// The fields of its head that go on as they came.
    pub fn take_verbatim(&mut self) -> Option<Verbatim> {
        self.verbatim.take()
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
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let Some(line) = &self.line else { return Poll::Ready(None) };
        let (polled, is_over) = {
            let mut line = line.borrow_mut();
            let polled = line.poll_body(cx);
            (polled, matches!(line.body, Rest::Nothing))
        };
        if is_over {
            self.line = None;
        }
        polled
    }
}

impl<B: Sendable> Drop for Reading<B> {
    fn drop(&mut self) {
        // Nobody reads on: what is still written has no purpose, and the connection is of no use to others.
        if let Some(line) = self.line.take()
            && let Ok(mut line) = line.try_borrow_mut()
        {
            line.is_kept = false;
            line.end();
        }
    }
}
