//! The one way to a CA: HTTPS, bounded in time and size, judged by the system's roots or by the `ca` of the file.
//! Refuses cleartext and redirects, and keeps no connection: an order makes some twenty requests in a quarter of a year.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::cert::explain_failure;

/// One TCP connection attempt to one address.
const CONNECT: Duration = Duration::from_secs(5);

/// One request, from looking up the name to the last byte of the answer.
const WHOLE: Duration = Duration::from_secs(30);

/// Largest answer. Bytes; a chain has a few KiB.
const LARGEST: usize = 1024 * 1024;

/// When a CA does not say how soon its renewal window may be asked for again (RFC 9773 §4.3.3).
const WINDOW_AGAIN: &str = "21600";

const AGENT: &str = concat!("doorward/", env!("CARGO_PKG_VERSION"), " (instant-acme)");

/// A client for one CA. What a refusal said of Retry-After is kept, because the ACME library drops it.
#[derive(Clone)]
pub struct CaClient {
    tls: Arc<ClientConfig>,
    asked: Arc<Mutex<Option<SystemTime>>>,
}

/// Why there is no answer, or none that the protocol has.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The address cannot be asked.
    #[error("{url}: not an https address that can be asked")]
    Address {
        /// The address.
        url: String,
    },
    /// Nobody reached.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What failed.
        why: String,
    },
    /// Too slow.
    #[error("{host} did not answer within {} s", WHOLE.as_secs())]
    Timeout {
        /// Host and port.
        host: String,
    },
    /// Broken off, too large, not HTTP.
    #[error("{host} gave no usable answer: {why}")]
    Broken {
        /// Host and port.
        host: String,
        /// What failed.
        why: String,
    },
    /// A status that stands alone, without a problem document.
    #[error("{host} answered {status}{said}")]
    Status {
        /// Host and port.
        host: String,
        /// The status.
        status: StatusCode,
        /// What its body says, if it is short and text.
        said: String,
    },
}

impl CaClient {
    /// A client that trusts as `tls` does.
    pub fn new(tls: Arc<ClientConfig>) -> CaClient {
        CaClient { tls, asked: Arc::default() }
    }

    /// How long the last refusal asked to wait from now on; told once.
    pub fn take_asked(&self) -> Option<Duration> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // In the past: it asked for nothing any more.
        asked.duration_since(SystemTime::now()).ok()
    }

    async fn exchange(&self, request: Request<BodyWrapper<Bytes>>) -> Result<Response<Bytes>, CaError> {
        let (place, host) = place_of(request.uri())?;
        let answer = match timeout(WHOLE, self.send(request, &place, host)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(CaError::Timeout { host: place }),
        };
        self.judge(answer, &place)
    }

    async fn send(
        &self,
        request: Request<BodyWrapper<Bytes>>,
        place: &str,
        host: String,
    ) -> Result<(Method, Response<Bytes>), CaError> {
        let broken = |why: String| CaError::Broken { host: place.to_owned(), why };
        let unreachable = |why: String| CaError::Unreachable { host: place.to_owned(), why };
        let tcp = connect(place).await.map_err(|error| unreachable(error.to_string()))?;
        let name = ServerName::try_from(host).map_err(|error| unreachable(error.to_string()))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        let tls = tls.map_err(|error| unreachable(explain_failure(&error).to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(|error| broken(super::in_words(&error)))?;
        let connection = tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        let method = parts.method.clone();
        let origin_form = parts.uri.path_and_query().map_or("/", |pq| pq.as_str()).parse();
        parts.uri = origin_form.map_err(|_| broken("a strange path".to_owned()))?;
        let authority = place.strip_suffix(":443").unwrap_or(place);
        parts.headers.insert(HOST, HeaderValue::try_from(authority).map_err(|error| broken(error.to_string()))?);
        parts.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let answer = sender.send_request(Request::from_parts(parts, body)).await;
        let answer = async {
            let (parts, body) = answer.map_err(|error| broken(super::in_words(&error)))?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|error| broken(super::in_words(error.as_ref())))?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        }
        .await;
        connection.abort();
        answer.map(|answer| (method, answer))
    }

    /// Remembers what a refusal asked for, and turns what the library would misread into words.
    fn judge(&self, (method, mut answer): (Method, Response<Bytes>), place: &str) -> Result<Response<Bytes>, CaError> {
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            let asked = answer.headers().get(RETRY_AFTER).and_then(moment_of);
            *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
            // The library reads a directory without looking at the status.
            let is_problem = serde_json::from_slice::<instant_acme::Problem>(answer.body()).is_ok();
            if !is_problem || method == Method::GET {
                let said = short_text(answer.body());
                return Err(CaError::Status { host: place.to_owned(), status, said });
            }
        } else if method == Method::GET && !answer.headers().contains_key(RETRY_AFTER) {
            // For the library a renewal window without it is no answer.
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(WINDOW_AGAIN));
        }
        Ok(answer)
    }
}

impl HttpClient for CaClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let answer = client.exchange(request).await.map_err(|error| Error::Other(Box::new(error)))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// `host:port`, and the host alone as TLS names it.
fn place_of(uri: &Uri) -> Result<(String, String), CaError> {
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
    let Some(host) = host else { return Err(CaError::Address { url: uri.to_string() }) };
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((format!("{host}:{}", uri.port_u16().unwrap_or(443)), bare))
}

/// The first address that takes the connection; each has its own time, because one family may be broken.
async fn connect(place: &str) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in tokio::net::lookup_host(place).await? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("{address} does not answer")),
        }
    }
    Err(last)
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn moment_of(value: &HeaderValue) -> Option<SystemTime> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return SystemTime::now().checked_add(Duration::from_secs(seconds));
    }
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    time::PrimitiveDateTime::parse(text, &format).ok().map(|date| date.assume_utc().into())
}

/// What the body of a bare refusal says: the `detail` of a problem document, else its first characters if it is text.
fn short_text(body: &[u8]) -> String {
    const LONGEST: usize = 200;
    let detail = serde_json::from_slice::<instant_acme::Problem>(body).ok().and_then(|problem| problem.detail);
    let text = detail.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let text: String = text.trim().chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_empty() || text.starts_with('<') { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_after_is_read_in_both_forms() {
        let now = SystemTime::now();
        let in_a_minute = moment_of(&HeaderValue::from_static("60")).unwrap();
        assert!(in_a_minute > now + Duration::from_secs(59));
        let date = moment_of(&HeaderValue::from_static("Fri, 31 Dec 1999 23:59:59 GMT")).unwrap();
        assert_eq!(date.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 946_684_799);
        assert_eq!(moment_of(&HeaderValue::from_static("soon")), None);
        assert_eq!(moment_of(&HeaderValue::from_static("18446744073709551615")), None);
    }

    #[test]
    fn only_https_is_asked() {
        assert!(place_of(&"http://ca.test/dir".parse().unwrap()).is_err());
        assert_eq!(place_of(&"https://ca.test/dir".parse().unwrap()).unwrap().0, "ca.test:443");
        assert_eq!(
            place_of(&"https://[::1]:14000/dir".parse().unwrap()).unwrap(),
            ("[::1]:14000".into(), "::1".into())
        );
    }

    #[test]
    fn a_page_of_html_is_not_quoted() {
        assert_eq!(short_text(b"<html>..."), "");
        assert_eq!(short_text(b"{\"detail\": \"too many\\ncertificates\"}"), ": too many certificates");
    }
}
