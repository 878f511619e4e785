//! One request in two forms: as HTTP/1.1 and as HTTP/2 carry it. Which one an upstream gets is known only when the connection
//! is; either form can be made of the other. Changes nothing that means something to the upstream.

use std::borrow::Cow;

use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Uri, Version};
use http_body::Body;

use super::body::RequestBody;
use super::examine::Refused;
use crate::model::Refusal;
use crate::upstream::Protocol;

/// Brings a request into the form that a connection speaks.
pub fn take_form(request: &mut Request<RequestBody>, protocol: Protocol, is_tls: bool) -> Result<(), Refused> {
    match protocol {
        Protocol::Http1 if request.uri().authority().is_some() => to_http1(request),
        Protocol::Http2 if request.uri().authority().is_none() => to_http2(request, is_tls),
        _ => Ok(()),
    }
}

fn wrong(_: impl std::error::Error) -> Refused {
    (Refusal::BadRequest, Cow::from("a target that cannot be sent on"))
}

/// Host becomes `:authority` (RFC 9113 §8.3.1), and what concerns an HTTP/1.1 connection stays behind (§8.2.2).
fn to_http2(request: &mut Request<RequestBody>, is_tls: bool) -> Result<(), Refused> {
    let host = request.headers_mut().remove(header::HOST);
    let host = host.ok_or((Refusal::BadRequest, Cow::from("no Host to send on")))?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(wrong)?);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(wrong)?;
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        request.headers_mut().remove(name);
    }
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

fn to_http1(request: &mut Request<RequestBody>) -> Result<(), Refused> {
    let parts = std::mem::take(request.uri_mut()).into_parts();
    if let Some(authority) = parts.authority {
        let host = HeaderValue::from_str(authority.as_str()).map_err(wrong)?;
        request.headers_mut().insert(header::HOST, host);
    }
    let mut target = http::uri::Parts::default();
    target.path_and_query = parts.path_and_query;
    *request.uri_mut() = Uri::from_parts(target).map_err(wrong)?;
    *request.version_mut() = Version::HTTP_11;
    if request.headers().contains_key(header::TE) {
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if !request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_LENGTH) {
        request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(())
}
