//! An upstream's answer, over either HTTP: its body, and why there is none or not all of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http1::Reading;
use super::multiplex::Sendable;
use crate::http1::{BadMessage, Verbatim};

/// Why a request got no answer, or the answer no end.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The connection ended before the answer did.
    #[error("closed before its answer was whole")]
    Closed,
    /// The connection broke.
    #[error("{0}")]
    Io(io::Error),
    /// What came is no HTTP/1.1, or can be read in two ways.
    #[error("{0}")]
    NotHttp(#[from] BadMessage),
    /// The body of the request broke off.
    #[error("{0}")]
    Upload(Box<dyn std::error::Error + Send + Sync>),
    /// Of HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl AnswerError {
    /// The fault that HTTP/2 itself knows for it.
    fn http2_fault(&self) -> Option<&h2::Error> {
        match self {
            AnswerError::Http2(error) => std::error::Error::source(error)?.downcast_ref(),
            _ => None,
        }
    }

    /// Whether what the upstream said is not what it was to speak.
    pub fn is_nonsense(&self) -> bool {
        match self {
            AnswerError::NotHttp(_) => true,
            AnswerError::Http2(error) => error.is_parse() || self.is_http2_nonsense(),
            _ => false,
        }
    }

    /// Whether what was to be HTTP/2 is not.
    pub fn is_http2_nonsense(&self) -> bool {
        self.http2_fault().is_some_and(h2::Error::is_library)
    }

    /// Whether the request's own body ended it: neither the upstream nor the library did.
    pub fn is_own_end(&self) -> bool {
        match self {
            AnswerError::Upload(_) => true,
            AnswerError::Http2(error) => {
                let fault = self.http2_fault();
                error.is_user()
                    || fault.is_some_and(|fault| fault.is_reset() && !fault.is_remote() && !fault.is_library())
            }
            _ => false,
        }
    }

    /// Whether the upstream itself says that it did nothing with the request (RFC 9113 §8.7): then it may go elsewhere,
    /// whatever its method.
    pub fn was_never_looked_at(&self) -> bool {
        // Streams that a GOAWAY leaves in peace are told nothing of it.
        self.http2_fault().is_some_and(|fault| {
            fault.is_remote() && (fault.is_go_away() || fault.reason() == Some(h2::Reason::REFUSED_STREAM))
        })
    }

    /// Whether the connection broke, rather than that somebody said something wrong.
    pub fn is_broken(&self) -> bool {
        match self {
            AnswerError::Closed | AnswerError::Io(_) => true,
            AnswerError::NotHttp(_) | AnswerError::Upload(_) => false,
            AnswerError::Http2(error) => {
                error.is_closed() || error.is_canceled() || self.http2_fault().is_some_and(h2::Error::is_io)
            }
        }
    }
}

/// A request that got no answer.
pub struct Lost<B> {
    /// Why.
    pub error: AnswerError,
    /// The request as it was, where nothing of its body was taken.
    pub request: Option<Box<Request<B>>>,
    /// Whether no byte of it was written.
    pub is_unsent: bool,
}

/// The body of an answer.
pub enum AnswerBody<B: Sendable> {
    /// Read from a whole connection.
    Http1(Reading<B>),
    /// A stream of a shared one.
    Http2(Incoming),
}

impl<B: Sendable> AnswerBody<B> {
    /// The fields of its head that go on as they came, where that was agreed.
    pub fn take_verbatim(&mut self) -> Option<Verbatim> {
        match self {
            AnswerBody::Http1(body) => body.take_verbatim(),
            AnswerBody::Http2(_) => None,
        }
    }
}

impl<B: Sendable> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            AnswerBody::Http1(body) => body.poll_frame(cx),
            AnswerBody::Http2(body) => Pin::new(body).poll_frame(cx).map_err(AnswerError::Http2),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Http1(body) => body.is_over(),
            AnswerBody::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Http1(body) => body.size_hint(),
            AnswerBody::Http2(body) => body.size_hint(),
        }
    }
}
