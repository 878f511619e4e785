//! Whether, and from what, a request may be sent again that got no answer. Sends nothing itself.

use std::rc::Rc;

use http::{Method, Request};

use super::body::RequestBody;
use super::replay::Kept;
use crate::upstream::{Protocol, Sender};

/// What a request is sent again from where its connection keeps it: on a shared one the upstream may say of any request that
/// it never looked at it. A whole connection gives back what it did not take.
pub fn copy_for(request: &Request<RequestBody>, sender: &Sender<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    // Boxed: every request's future has room for what few need.
    (sender.protocol() == Protocol::Http2).then(|| Box::new(copy_of(request)))
}

/// The request with the body that was kept; `None` if too much of it is gone.
pub fn with_body(mut request: Box<Request<RequestBody>>, kept: Option<&Rc<Kept>>) -> Option<Box<Request<RequestBody>>> {
    if let Some(kept) = kept {
        *request.body_mut() = RequestBody::Kept(kept.again()?);
    }
    Some(request)
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
