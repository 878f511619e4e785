//! The body of a request as it arrives, over either HTTP.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::line::{Broken, Line, Reading};
use crate::http1::Framing;

/// A body that the client sends.
pub enum Arriving {
    /// None.
    Nothing,
    /// Read from a whole connection.
    Http1(Reading),
    /// A stream of an HTTP/2 connection.
    Http2(Incoming),
}

impl Arriving {
    /// What follows a head on an HTTP/1.1 connection.
    pub fn over_http1(line: &Rc<RefCell<Line>>, framing: Framing, is_asked_first: bool) -> Arriving {
        Reading::begin(line, framing, is_asked_first).map_or(Arriving::Nothing, Arriving::Http1)
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Arriving::Nothing => Poll::Ready(None),
            Arriving::Http1(body) => body.poll_frame(cx),
            Arriving::Http2(body) => std::pin::Pin::new(body).poll_frame(cx).map_err(Broken::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Arriving::Nothing => true,
            Arriving::Http1(body) => body.is_over(),
            Arriving::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Arriving::Nothing => SizeHint::with_exact(0),
            Arriving::Http1(body) => body.size_hint(),
            Arriving::Http2(body) => body.size_hint(),
        }
    }
}
