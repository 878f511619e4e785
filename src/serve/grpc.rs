//! What gRPC clients need to be told, and how: they look at `grpc-status` and take everything else for a broken server.
//! Carries no call: to the rest of the house those are requests like any other.

use std::fmt::Write;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, Version};

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::seen::X_DOORWARD_ERROR;
use crate::model::Refusal;

const GRPC: &[u8] = b"application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a gRPC call: `application/grpc`, with or without what its messages are written in. Not gRPC-Web, whose
/// clients are browsers.
pub fn is_call(version: Version, headers: &HeaderMap) -> bool {
    version == Version::HTTP_2
        && headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            let rest = kind.as_bytes().strip_prefix(GRPC);
            rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
        })
}

/// A refusal as a gRPC client understands it: "Trailers-Only" of the gRPC protocol, one head that ends the answer.
pub fn refusal(exchange: &Rc<Exchange>, refusal: Refusal, word: &str, message: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::own(Bytes::new(), exchange));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(code(refusal)));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    if let Ok(word) = HeaderValue::from_str(word) {
        headers.insert(X_DOORWARD_ERROR, word);
    }
    response
}

/// The gRPC status code that says the same as our HTTP status; where gRPC has a table for that
/// (doc/http-grpc-status-mapping.md), the one it has.
fn code(refusal: Refusal) -> u16 {
    const UNKNOWN: u16 = 2;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNIMPLEMENTED: u16 = 12;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match refusal.status() {
        400 | 500 => INTERNAL,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        413 | 431 => RESOURCE_EXHAUSTED,
        421 | 429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// What `grpc-message` may hold: printable ASCII but `%`; the rest as `%XX`.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            other => _ = write!(out, "%{other:02X}"),
        }
        out
    })
}
