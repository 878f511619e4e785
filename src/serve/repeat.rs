//! Whether, and from what, a request may be sent again that got no answer. Sends nothing itself.

use std::rc::Rc;

use http::{Method, Request};

use super::body::RequestBody;
use super::replay::Kept;
use crate::upstream::{Protocol, Sender, http2_fault};

/// What a request is sent again from. A connection that sat idle may be closed by the server at this very moment: a fresh one
/// that fails proves the server is down; a reused one proves nothing. On a shared one the upstream may say of any request that
/// it never looked at it.
pub fn copy_for(
    request: &Request<RequestBody>,
    sender: &Sender<RequestBody>,
    is_reused: bool,
) -> Option<Box<Request<RequestBody>>> {
    let is_worth_it = match sender.protocol() {
        Protocol::Http1 => is_reused && can_repeat(request, request.body().kept().as_ref()),
        Protocol::Http2 => true,
    };
    // Boxed: every request's future has room for what few need.
    is_worth_it.then(|| Box::new(copy_of(request)))
}

/// The request with the body that was kept; `None` if too much of it is gone.
pub fn with_body(mut request: Box<Request<RequestBody>>, kept: Option<&Rc<Kept>>) -> Option<Box<Request<RequestBody>>> {
    if let Some(kept) = kept {
        *request.body_mut() = RequestBody::Kept(kept.again()?);
    }
    Some(request)
}

/// Whether the upstream itself says that it did nothing with a request (RFC 9113 §8.7): then it may go elsewhere, whatever its
/// method.
pub fn was_never_looked_at(error: &hyper::Error) -> bool {
    // Streams that a GOAWAY leaves in peace are told nothing of it.
    http2_fault(error).is_some_and(|fault| {
        fault.is_remote() && (fault.is_go_away() || fault.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether the connection broke, rather than that somebody said something wrong.
pub fn is_broken(error: &hyper::Error) -> bool {
    error.is_closed() || error.is_canceled() || http2_fault(error).is_some_and(h2::Error::is_io)
}

/// Whether a request may be sent twice: it changes nothing however often it is done (RFC 9110 §9.2.2), and there is no body
/// that was already taken from the client.
pub fn can_repeat(request: &Request<RequestBody>, kept: Option<&Rc<Kept>>) -> bool {
    let is_idempotent =
        matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE);
    is_idempotent && kept.is_none() && matches!(request.body(), RequestBody::Empty)
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    request.method().clone_into(copy.method_mut());
    request.uri().clone_into(copy.uri_mut());
    request.headers().clone_into(copy.headers_mut());
    *copy.version_mut() = request.version();
    copy
}
