//! The handshake of a WebSocket in its two forms: an upgrade of an HTTP/1.1 connection (RFC 6455 §4), and a stream of an HTTP/2
//! connection (RFC 8441). Either side may use either; what is made here is what the other form lacks: the key and its proof.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::body::RequestBody;
use super::examine::Refused;
use super::headers::{asks_for_websocket, lists};
use super::seen::Seen;
use crate::model::Refusal;
use crate::upstream::Protocol as Spoken;

/// What is joined to a key to prove that a server has read it (RFC 6455 §1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only protocol that a client may change to.
const WEBSOCKET: &str = "websocket";

/// A client that asks for a WebSocket.
pub struct Asked {
    /// Its side, once it has our answer, where that is a stream of its HTTP/2 connection.
    pub stream: Option<OnUpgrade>,
    /// Whether it asks for a stream of its HTTP/2 connection.
    is_stream: bool,
    /// Its key; ours, where its form has none.
    key: Option<HeaderValue>,
}

/// Takes the wish for a WebSocket from a request, in whose head this was seen. One for a stream becomes what it means: a GET
/// (RFC 8441 §5).
pub fn ask<B>(request: &mut Request<B>, seen: Seen) -> Option<Asked> {
    let is_stream = request.method() == Method::CONNECT
        && request.version() == Version::HTTP_2
        && request.extensions().get::<Protocol>().is_some_and(|protocol| protocol.as_str() == WEBSOCKET);
    if is_stream {
        *request.method_mut() = Method::GET;
        let key = HeaderValue::try_from(STANDARD.encode(rand::random::<[u8; 16]>())).ok()?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
        request.headers_mut().entry(header::SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    } else if !asks_for_websocket(request.method(), request.version(), request.headers(), seen) {
        return None;
    }
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).cloned();
    let stream = is_stream.then(|| hyper::upgrade::on(request));
    Some(Asked { stream, is_stream, key })
}

impl Asked {
    /// Brings the request into the form that a connection to the upstream speaks; the rest of its head has that form already.
    pub fn take_form(&self, request: &mut Request<RequestBody>, spoken: Spoken) {
        let headers = request.headers_mut();
        match spoken {
            Spoken::Http1 => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
                if let Some(key) = &self.key {
                    headers.insert(header::SEC_WEBSOCKET_KEY, key.clone());
                }
                *request.method_mut() = Method::GET;
            }
            Spoken::Http2 => {
                headers.remove(header::SEC_WEBSOCKET_KEY);
                *request.method_mut() = Method::CONNECT;
                request.extensions_mut().insert(Protocol::from_static(WEBSOCKET));
            }
        }
    }

    /// Whether the upstream agreed. An answer that only looks as if is no answer at all.
    pub fn is_agreed<B>(&self, response: &Response<B>, spoken: Spoken) -> Result<bool, Refused> {
        let wrong = |why: &'static str| Err((Refusal::UpstreamBadResponse, why.into()));
        let (status, headers) = (response.status(), response.headers());
        match spoken {
            Spoken::Http1 if status == StatusCode::SWITCHING_PROTOCOLS => {
                if !headers.get(header::UPGRADE).is_some_and(|upgrade| lists(upgrade, WEBSOCKET)) {
                    return wrong("it switched protocols, which nobody asked for");
                }
                // A client with a key of its own looks itself.
                if self.is_stream && headers.get(header::SEC_WEBSOCKET_ACCEPT) != self.proof().as_ref() {
                    return wrong("it does not prove that it has read the WebSocket's key");
                }
                Ok(true)
            }
            Spoken::Http2 if status == StatusCode::OK => Ok(true),
            Spoken::Http2 if status.is_success() => wrong("it opens a WebSocket with another status than 200"),
            // To whoever asked for a stream any success would be the WebSocket.
            Spoken::Http1 if self.is_stream && status.is_success() => {
                wrong("it answered the WebSocket's handshake as if it were any request")
            }
            _ => Ok(false),
        }
    }

    /// Brings an agreement into the form that the client asked in.
    pub fn agree(&self, status: &mut StatusCode, headers: &mut HeaderMap) {
        headers.remove(header::CONTENT_LENGTH);
        if self.is_stream {
            headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            *status = StatusCode::OK;
            return;
        }
        if !headers.contains_key(header::SEC_WEBSOCKET_ACCEPT)
            && let Some(proof) = self.proof()
        {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
        *status = StatusCode::SWITCHING_PROTOCOLS;
    }

    /// What proves that the key was read (RFC 6455 §4.2.2).
    fn proof(&self) -> Option<HeaderValue> {
        let read = [self.key.as_ref()?.as_bytes(), GUID.as_bytes()].concat();
        HeaderValue::try_from(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &read))).ok()
    }
}
