//! A request body that can be sent again for as long as it is short: an upstream that goes away tells which requests it never
//! looked at (GOAWAY, REFUSED_STREAM), and what it never looked at may go elsewhere, whatever its method.
//! Keeps nothing once the answer has begun.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, ClientBody};
use crate::model::Refusal;

/// Bytes of a body that are kept: a call's message, a form. An upload that is longer is not repeated.
const MOST_KEPT: usize = 64 * 1024;

/// A body as one connection to the upstream reads it. Only the reader made last gets anything.
pub struct KeptBody {
    kept: Rc<Kept>,
    reader: u32,
}

/// What was taken from the client so far.
pub struct Kept {
    body: RefCell<ClientBody>,
    frames: RefCell<Vec<Bytes>>,
    next: Cell<usize>,
    size: Cell<usize>,
    is_whole: Cell<bool>,
    is_ended: Cell<bool>,
    reader: Cell<u32>,
    hint: SizeHint,
}

impl KeptBody {
    /// Keeps what is read of this body.
    pub fn new(body: ClientBody) -> KeptBody {
        let kept = Kept {
            hint: body.size_hint(),
            body: RefCell::new(body),
            frames: RefCell::default(),
            next: Cell::new(0),
            size: Cell::new(0),
            is_whole: Cell::new(true),
            is_ended: Cell::new(false),
            reader: Cell::new(0),
        };
        KeptBody { kept: Rc::new(kept), reader: 0 }
    }

    /// What is kept, to have it sent again.
    pub fn kept(&self) -> Rc<Kept> {
        Rc::clone(&self.kept)
    }
}

impl Kept {
    /// The body from its beginning, if all that was read of it is still here. Who read it before gets nothing more.
    pub fn again(self: &Rc<Self>) -> Option<KeptBody> {
        if !self.is_whole.get() {
            return None;
        }
        self.reader.set(self.reader.get() + 1);
        self.next.set(0);
        Some(KeptBody { kept: Rc::clone(self), reader: self.reader.get() })
    }

    /// It will not be sent again.
    pub fn forget(&self) {
        self.is_whole.set(false);
        self.forget_what_was_read();
    }

    fn forget_what_was_read(&self) {
        let mut frames = self.frames.borrow_mut();
        if !self.is_whole.get() && self.next.get() >= frames.len() {
            *frames = Vec::new();
            self.next.set(0);
        }
    }

    fn repeat(&self) -> Option<Bytes> {
        let frame = self.frames.borrow().get(self.next.get()).cloned()?;
        self.next.set(self.next.get() + 1);
        self.forget_what_was_read();
        Some(frame)
    }

    fn keep(&self, data: &Bytes) {
        if !self.is_whole.get() {
            return;
        }
        self.size.set(self.size.get() + data.len());
        if self.size.get() > MOST_KEPT {
            return self.forget();
        }
        self.frames.borrow_mut().push(data.clone());
        self.next.set(self.next.get() + 1);
    }
}

impl Body for KeptBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let kept = &self.kept;
        if self.reader != kept.reader.get() {
            return Poll::Ready(Some(Err(BodyError::Refused(Refusal::UpstreamClosed))));
        }
        if let Some(data) = kept.repeat() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if kept.is_ended.get() {
            return Poll::Ready(None);
        }
        let polled = kept.body.borrow_mut().poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(None) => kept.is_ended.set(true),
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => kept.keep(data),
                // Trailers are not kept: nobody who sends some waits for a repetition.
                None => kept.forget(),
            },
            Poll::Ready(Some(Err(_))) => kept.forget(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let kept = &self.kept;
        kept.next.get() >= kept.frames.borrow().len() && (kept.is_ended.get() || kept.body.borrow().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.kept.hint
    }
}
