//! One request, put together like a sentence and sent by awaiting it.

use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::{Answer, Client, Connection, Streaming};

/// Any request body.
pub type Body = BoxBody<Bytes, io::Error>;

/// A body without bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A request that has not been sent yet. Await it for the whole answer.
pub struct Ask<'a> {
    on: On<'a>,
    method: Method,
    host: String,
    target: String,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Body,
    /// How long the answer may take; a large body may take longer.
    patience: Duration,
}

enum On<'a> {
    Fresh(Client),
    Kept(&'a mut Connection),
}

impl<'a> Ask<'a> {
    pub(super) fn fresh(client: Client, method: &str, place: &str) -> Ask<'static> {
        let (host, target) = place.split_at(place.find('/').unwrap_or(place.len()));
        let target = if target.is_empty() { "/" } else { target };
        Ask::build(On::Fresh(client), method, host, target)
    }

    pub(super) fn kept(connection: &'a mut Connection, method: &str, target: &str) -> Ask<'a> {
        let host = connection.host().to_owned();
        Ask::build(On::Kept(connection), method, &host, target)
    }

    fn build<'b>(on: On<'b>, method: &str, host: &str, target: &str) -> Ask<'b> {
        Ask {
            on,
            method: method.parse().unwrap(),
            host: host.to_owned(),
            target: target.to_owned(),
            fields: Vec::new(),
            body: empty(),
            patience: super::PATIENCE,
        }
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.parse().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        self
    }

    /// Asks for another name than the connection was opened for.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// A body of known length.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Full::new(body.into()).map_err(|never| match never {}).boxed();
        self
    }

    /// A body of unknown length, in pieces, with trailer fields behind it.
    pub fn pieces(mut self, pieces: &[&str], trailers: &[(&str, &str)]) -> Self {
        let mut frames: Vec<Result<Frame<Bytes>, io::Error>> =
            pieces.iter().map(|p| Ok(Frame::data(Bytes::copy_from_slice(p.as_bytes())))).collect();
        if !trailers.is_empty() {
            let mut map = HeaderMap::new();
            for (name, value) in trailers {
                map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            frames.push(Ok(Frame::trailers(map)));
        }
        self.body = StreamBody::new(futures_util::stream::iter(frames)).boxed();
        self
    }

    /// A body that the test sends piece by piece; it ends when the sender is dropped.
    pub fn streamed(mut self, pieces: mpsc::Receiver<Bytes>) -> Self {
        self.body = super::upstream::streamed(pieces);
        self
    }

    /// A body of this many bytes, made while it is sent; of known length if `declared`.
    pub fn generated(mut self, length: u64, declared: bool) -> Self {
        if declared {
            self = self.header("content-length", &length.to_string());
        }
        self.body = BodyExt::boxed(StreamBody::new(super::generated::body(length)));
        self.patience += Duration::from_secs(length >> 22);
        self
    }

    /// Sends it; the head of the answer, with the body still to come.
    pub async fn start(self) -> Streaming {
        Streaming::new(super::within("the head of an answer", self.send()).await.unwrap_or_else(|e| panic!("{e}")))
    }

    /// Sends it; the whole answer, or what went wrong.
    pub async fn attempt(self) -> Result<Answer, String> {
        let about = format!("{} {}{}", self.method, self.host, self.target);
        let patience = self.patience;
        let collected = async {
            let (head, body) = self.send().await?.into_parts();
            let collected = body.collect().await.map_err(|e| format!("the body of the answer broke off: {e}"))?;
            let trailers = collected.trailers().cloned();
            let (status, version) = (head.status.as_u16(), head.version);
            Ok(Answer { status, version, headers: head.headers, body: collected.to_bytes(), trailers })
        };
        match tokio::time::timeout(patience, collected).await {
            Ok(answer) => answer.map_err(|e: String| format!("{about}: {e}")),
            Err(_) => panic!("waited {patience:?} for the answer to {about}"),
        }
    }

    async fn send(self) -> Result<http::Response<hyper::body::Incoming>, String> {
        match self.on {
            On::Kept(connection) => {
                connection.send(self.method, &self.host, &self.target, self.fields, self.body).await
            }
            On::Fresh(client) => {
                let mut connection = client.try_connect(&self.host).await.map_err(|e| format!("no connection: {e}"))?;
                let answer = connection.send(self.method, &self.host, &self.target, self.fields, self.body).await;
                connection.detach();
                answer
            }
        }
    }
}

impl<'a> IntoFuture for Ask<'a> {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { self.attempt().await.unwrap_or_else(|e| panic!("{e}")) })
    }
}
