//! The HTTPS client for a provider's API: one request, one JSON answer, both bounded.
//! Refuses redirects (a token must not follow one) and remembers nothing between calls.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cert::{CertError, SystemRoots, client_config, explain_failure};
use crate::config::VerifySpec;
use crate::model::Secret;

/// How long one call may take, from the lookup of the name to the last byte. Seconds.
const CALL: Duration = Duration::from_secs(30);

/// How long one address may take to accept a connection, so that a dead one leaves time for the next. Seconds.
const CONNECT: Duration = Duration::from_secs(5);

/// The most that is read of an answer, in bytes.
const ANSWER: usize = 1024 * 1024;

/// The longest wait that a server's `Retry-After` is believed for. Hours.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Where an API is, and how its server is judged.
pub(super) struct Api {
    host: String,
    port: u16,
    /// Before every path: empty, or beginning with `/` and not ending with one.
    prefix: String,
    tls: Option<Arc<ClientConfig>>,
}

/// What came back, whatever the status.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// What the server asked us to wait.
    pub(super) retry_after: Option<Duration>,
    /// The body as JSON; `Null` if it is none.
    pub(super) json: Value,
}

/// Why there is no address for an API.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("{0} is not an `http://` or `https://` URL")]
    Url(String),
    #[error(transparent)]
    Tls(#[from] CertError),
}

impl Api {
    /// Reads `https://host[:port][/path]`.
    pub(super) fn new(url: &str) -> Result<Api, ApiError> {
        let wrong = || ApiError::Url(url.to_owned());
        let uri: http::Uri = url.parse().map_err(|_| wrong())?;
        let encrypted = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let tls = match encrypted {
            true => Some(client_config(&VerifySpec::System, &SystemRoots::load(), &[b"http/1.1"])?),
            false => None,
        };
        Ok(Api {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 }),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            tls,
        })
    }

    /// Whether the address names a server only, no path.
    pub(super) fn is_bare(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Sends one request. `path` begins with `/`. An error is one of the connection, in words; answers of any status are `Ok`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<&Value>,
    ) -> Result<Reply, String> {
        let request = self.request(method, path, token, body)?;
        match tokio::time::timeout(CALL, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(format!("{} did not answer within {} s", self.host, CALL.as_secs())),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
            .map_err(|_| "the token has characters that no token has; is it the right file?".to_owned())?;
        bearer.set_sensitive(true);
        let authority = match self.port {
            443 if self.tls.is_some() => self.host.clone(),
            80 if self.tls.is_none() => self.host.clone(),
            port => format!("{}:{port}", self.host),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.prefix))
            .header(HOST, authority)
            .header(USER_AGENT, concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, bearer);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(Bytes::from(body))).map_err(|fault| fault.to_string())
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        let stream = self.connect().await?;
        let Some(tls) = &self.tls else { return converse(stream, request).await };
        let bare = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| format!("{} is no name for TLS", self.host))?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await;
        let stream = stream.map_err(|fault| format!("TLS with {}: {}", self.host, explain_failure(&fault)))?;
        converse(stream, request).await
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, self.port)).await;
        let mut said = format!("{}: no address found", self.host);
        for address in found.map_err(|fault| format!("{}: {fault}", self.host))? {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(fault)) => said = format!("{} ({address}): {fault}", self.host),
                Err(_) => said = format!("{} ({address}): no connection within {} s", self.host, CONNECT.as_secs()),
            }
        }
        Err(said)
    }
}

async fn converse<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Reply, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |fault: hyper::Error| format!("the connection broke: {fault}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with `sender`, at the end of this function at the latest.
    let driven = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(broken);
    let reply = match answer {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await;
            body.map_err(|fault| format!("its answer cannot be read: {fault}")).map(|body| Reply {
                status: head.status,
                retry_after: retry_after(&head.headers, OffsetDateTime::now_utc()),
                json: serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
            })
        }
        Err(said) => Err(said),
    };
    driven.abort();
    reply
}

/// `Retry-After` (RFC 9110 §10.2.3), in seconds or as a date; a date that has passed is no wait. At most a day.
pub(super) fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let format = format_description!(
                "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
            );
            let date = time::PrimitiveDateTime::parse(text, format).ok()?.assume_utc();
            Duration::try_from(date - now).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, time::macros::datetime!(2026-11-20 08:00:00 UTC))
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_never_believed_beyond_a_day() {
        assert_eq!(wait("17"), Some(Duration::from_secs(17)));
        assert_eq!(wait("Fri, 20 Nov 2026 08:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(wait("Thu, 19 Nov 2026 08:01:30 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999"), Some(LONGEST_WAIT));
        assert_eq!(wait("99999999999999999999999"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(retry_after(&HeaderMap::new(), OffsetDateTime::now_utc()), None);
    }

    #[test]
    fn an_address_is_a_url_without_a_password() {
        let api = Api::new("http://127.0.0.1:9999/client/v4/").unwrap();
        assert_eq!((api.host.as_str(), api.port, api.prefix.as_str()), ("127.0.0.1", 9999, "/client/v4"));
        assert!(Api::new("https://api.example").unwrap().is_bare());
        for wrong in ["ftp://x", "api.example", "https://u:p@api.example", "https://"] {
            assert!(Api::new(wrong).is_err(), "{wrong}");
        }
    }
}
