//! The last word of an answer that is there before its request has ended, on an HTTP/2 stream: it waits a moment, so that
//! what the client is about to send is still judged by the rules of an open stream, and so that the reset which asks it to
//! stop (RFC 9113 §8.1) does not come on the heels of the answer: there are clients that lose the answer to it.
//! Holds back no byte of an answer, no trailers, and nothing at all once the request has ended.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::body::{BodyError, ResponseBody};

/// How long the end of an answer waits for the end of its request.
const MOMENT: Duration = Duration::from_millis(150);

/// An answer's body as the client's connection takes it.
pub struct LastWord {
    body: ResponseBody,
    has_spoken: bool,
    is_said: bool,
    moment: Option<Pin<Box<Sleep>>>,
}

impl LastWord {
    /// An answer that keeps its last word for a moment where the request goes on.
    pub fn of(answer: Response<ResponseBody>) -> Response<LastWord> {
        answer.map(|body| LastWord { body, has_spoken: false, is_said: false, moment: None })
    }

    /// An answer without a body ends with its head: that is how a gRPC call fails, and nothing may come between.
    fn may_wait(&self) -> bool {
        self.has_spoken && self.body.is_early()
    }
}

impl Body for LastWord {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.is_said {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(frame) => {
                    this.has_spoken = true;
                    return Poll::Ready(Some(frame));
                }
                None => this.is_said = true,
            }
        }
        if this.may_wait() {
            this.body.wake_when_request_ends(cx);
            ready!(this.moment.get_or_insert_with(|| Box::pin(tokio::time::sleep(MOMENT))).as_mut().poll(cx));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.may_wait()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
