//! What came back.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::generated::Check;
use super::within;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Version it came in.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Trailer fields, if there were any.
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// One header field, or the empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or("(not text)"))
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// `x-doorward-error`, or the empty text.
    pub fn cause(&self) -> &str {
        self.header("x-doorward-error")
    }

    /// Status and cause, as most refusals are compared.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.cause())
    }

    /// What the echoing upstream received.
    pub fn echo(&self) -> Echo {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Echo(value),
            Err(_) => panic!("not from the echoing upstream: {self}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {:?} {:?}", self.version, self.status, self.headers, self.body)
    }
}

/// A request as the echoing upstream received it.
pub struct Echo(Value);

impl Echo {
    /// Method.
    pub fn method(&self) -> &str {
        self.0["method"].as_str().unwrap()
    }

    /// Request target.
    pub fn target(&self) -> &str {
        self.0["target"].as_str().unwrap()
    }

    /// All fields of one name, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        let fields = self.0["headers"].as_array().unwrap();
        let named = fields.iter().filter(|f| f[0].as_str() == Some(name));
        named.map(|f| f[1].as_str().unwrap().to_owned()).collect()
    }

    /// One field, or the empty text; two of them fail the test.
    pub fn header(&self, name: &str) -> String {
        let mut all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times", all.len());
        all.pop().unwrap_or_default()
    }

    /// All field names.
    pub fn names(&self) -> Vec<String> {
        let fields = self.0["headers"].as_array().unwrap();
        fields.iter().map(|f| f[0].as_str().unwrap().to_owned()).collect()
    }

    /// Length of the body.
    pub fn length(&self) -> u64 {
        self.0["length"].as_u64().unwrap()
    }

    /// Whether the body was what `Ask::generated` sends.
    pub fn is_generated(&self) -> bool {
        self.0["generated"].as_bool().unwrap()
    }

    /// The body, if it was short.
    pub fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    /// A trailer field, or the empty text.
    pub fn trailer(&self, name: &str) -> &str {
        self.0["trailers"][name].as_str().unwrap_or_default()
    }
}

/// An answer whose body is still coming.
pub struct Streaming {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    body: Incoming,
}

impl Streaming {
    pub(super) fn new(response: http::Response<Incoming>) -> Streaming {
        let (head, body) = response.into_parts();
        Streaming { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// The next piece of the body, `None` at its end.
    pub async fn piece(&mut self) -> Option<Bytes> {
        self.try_piece().await.map(|piece| piece.expect("the body goes on"))
    }

    /// The next piece, or how the body broke off.
    pub async fn try_piece(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match within("a piece of the body", self.body.frame()).await? {
                Ok(frame) => match frame.into_data() {
                    // HTTP/2 may end a body with a frame of no bytes.
                    Ok(data) if !data.is_empty() => return Some(Ok(data)),
                    _ => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads to the end: how many bytes were left, all of them generated ones if `read` bytes came before.
    pub async fn generated_rest(&mut self, read: u64) -> u64 {
        let mut check = Check::after(read);
        while let Some(piece) = self.piece().await {
            check.more(&piece);
        }
        assert!(check.is_generated(), "the body came in disorder");
        check.length() - read
    }
}
