//! Answers of our own: refusals from the one table, redirects, fixed answers.
//!
//! At home (a client in a named network) a page says what is wrong and who can mend it; a stranger reads one of four words
//! and an id. The whole story is in the log, under that id.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Version};

use super::body::ResponseBody;
use super::exchange::Exchange;
use super::grpc;
use super::headers::lists;
use super::seen::{Seen, X_DOORWARD_ERROR};
use crate::model::{Refusal, Shown};
use crate::snapshot::Answer;
use crate::telemetry::RequestId;

/// Seconds after which a client may try an upstream that is away again.
const RETRY_AFTER: &str = "5";

/// How a refusal is shown.
#[derive(Clone, Copy)]
pub struct Audience {
    /// Whether the client is in a named network: it may know causes.
    pub is_home: bool,
    /// Whether it is a browser: it gets a page.
    pub wants_page: bool,
    /// Whether it is HEAD: no body.
    pub is_head: bool,
    /// Whether it is a gRPC client: it looks at `grpc-status` only.
    pub is_grpc: bool,
}

impl Audience {
    /// Judged by Accept. `seen`: in the fields.
    pub fn of(method: &Method, version: Version, headers: &HeaderMap, seen: Seen, is_home: bool) -> Audience {
        let wants_page =
            seen.has(Seen::ACCEPT) && headers.get_all(header::ACCEPT).iter().any(|accept| lists(accept, "text/html"));
        let is_grpc = grpc::is_call(version, headers);
        Audience { is_home, wants_page, is_head: method == Method::HEAD, is_grpc }
    }
}

/// The answer for a refusal. Notes it in the exchange.
pub fn refuse(
    exchange: &Rc<Exchange>,
    audience: &Audience,
    refusal: Refusal,
    detail: Option<Cow<'_, str>>,
) -> Response<ResponseBody> {
    exchange.refusal.set(Some(refusal));
    let word = if audience.is_home { refusal.cause() } else { refusal.shown().as_str() };
    if audience.is_grpc {
        let told = detail.as_deref().filter(|_| audience.is_home);
        let message = plain_words(exchange, audience, refusal, word, told);
        if let Some(detail) = detail {
            exchange.detail.replace(Some(detail.into_owned()));
        }
        exchange.status.set(refusal.status());
        return grpc::refusal(exchange, refusal, word, &message);
    }
    let (body, content_type) = if audience.wants_page {
        (page(exchange, audience, refusal, word, detail.as_deref()), "text/html; charset=utf-8")
    } else {
        (plain(refusal, exchange.id, audience.is_home, detail.as_deref()), "text/plain; charset=utf-8")
    };
    if let Some(detail) = detail {
        exchange.detail.replace(Some(detail.into_owned()));
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = own(exchange, status, body.into(), audience.is_head);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(word) = HeaderValue::from_str(word) {
        headers.insert(X_DOORWARD_ERROR, word);
    }
    if let Some(seconds) = exchange.retry_after.get() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    } else if refusal.is_upstream() || refusal == Refusal::RateLimit {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
    }
    if refusal == Refusal::MethodNotAllowed {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    let is_over =
        matches!(refusal, Refusal::BadRequest | Refusal::BodyLimit | Refusal::BodyTimeout | Refusal::HeadTooLarge);
    if is_over && exchange.is_http1() {
        // What follows on this connection may be the rest of a body, or worse.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn own(exchange: &Rc<Exchange>, status: StatusCode, body: Bytes, is_head: bool) -> Response<ResponseBody> {
    exchange.status.set(status.as_u16());
    let length = HeaderValue::from(body.len());
    let body = if is_head { Bytes::new() } else { body };
    let mut response = Response::new(ResponseBody::own(body, exchange));
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, length);
    }
    response
}

/// A redirect.
pub fn redirect(exchange: &Rc<Exchange>, status: StatusCode, location: HeaderValue) -> Response<ResponseBody> {
    let mut response = own(exchange, status, Bytes::new(), false);
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The answer to a CA's http-01 challenge.
pub fn proof(exchange: &Rc<Exchange>, key_authorization: Bytes, method: &Method) -> Response<ResponseBody> {
    let mut response = own(exchange, StatusCode::OK, key_authorization, method == Method::HEAD);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

/// A fixed answer from the file.
pub fn fixed(exchange: &Rc<Exchange>, answer: &Answer, method: &Method) -> Response<ResponseBody> {
    let is_preflight = answer.cors && method == Method::OPTIONS;
    let mut response = if is_preflight {
        own(exchange, StatusCode::NO_CONTENT, Bytes::new(), false)
    } else {
        own(exchange, answer.status, answer.body.clone(), method == Method::HEAD)
    };
    let headers = response.headers_mut();
    if answer.cors {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    } else {
        headers.insert(header::CONTENT_TYPE, answer.content_type.clone());
    }
    response
}

/// What a refusal is in one line.
fn plain_words(exchange: &Exchange, audience: &Audience, refusal: Refusal, word: &str, detail: Option<&str>) -> String {
    let sentence = if audience.is_home { refusal.sentence() } else { stranger_sentence(refusal.shown()) };
    let detail = detail.map(|detail| format!(" {detail};")).unwrap_or_default();
    format!("{word}: {sentence}{detail} id {}", exchange.id)
}

/// A refusal as text.
pub fn plain(refusal: Refusal, id: RequestId, is_home: bool, detail: Option<&str>) -> String {
    let status = refusal.status();
    if !is_home {
        return format!("{status} {}\nid {id}\n", refusal.shown().as_str());
    }
    let detail = detail.map(|detail| format!("{detail}\n")).unwrap_or_default();
    format!("{status} {}\n{}\n{detail}id {id}\n", refusal.cause(), refusal.sentence())
}

fn page(exchange: &Exchange, audience: &Audience, refusal: Refusal, word: &str, detail: Option<&str>) -> String {
    let status = refusal.status();
    let id = exchange.id;
    let sentence = if audience.is_home { refusal.sentence() } else { stranger_sentence(refusal.shown()) };
    let mut more = String::new();
    if audience.is_home {
        let host = escape(&exchange.host.borrow());
        if !host.is_empty() {
            more.push_str(&format!("<p>Asked for: <b>{host}</b></p>"));
        }
        if let Some(detail) = detail {
            more.push_str(&format!("<p>{}</p>", escape(detail)));
        }
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{status} {word}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:12vh auto;\
         padding:0 1em;color:#223}}h1{{font-size:1.3em}}small{{color:#667}}@media(prefers-color-scheme:dark)\
         {{body{{background:#181a20;color:#dde}}}}</style><h1>{status} {word}</h1><p>{sentence}</p>{more}\
         <p><small>id {id} · Doorward</small></p></html>\n"
    )
}

fn stranger_sentence(shown: Shown) -> &'static str {
    match shown {
        Shown::Denied => "This is not for you, or not like this.",
        Shown::NotFound => "There is nothing by this name here.",
        Shown::Limit => "This was too much, or too slow.",
        Shown::Unavailable => "This is not available right now; try again in a moment.",
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}
