//! The way to the engine: its API over a Unix socket, TCP, or TLS with a client's certificate. Every answer is bounded in
//! time and size. Asks (`GET`) and nothing else, so that a read-only socket proxy is enough.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answers::Event;
use crate::cert::{SystemRoots, client_config, crypto};
use crate::config::{DockerSpec, VerifySpec};

/// One answer, from the first byte asked to the last one read. An engine under load takes seconds for a list.
const WHOLE: Duration = Duration::from_secs(20);

/// After this silence the kernel asks an engine on another machine whether it is still there.
const QUIET: Duration = Duration::from_secs(60);

/// Largest answer. Bytes; a list of a thousand containers has about two MiB.
const LARGEST: usize = 32 << 20;

/// Longest event. Bytes; a container with very many labels has some KiB.
const LONGEST_EVENT: usize = 1 << 20;

/// The newest version of the API that was tried. An older engine is asked in its own; a newer one still speaks this.
const KNOWN_VERSION: (u32, u32) = (1, 51);

/// Events that change what we know; health checks themselves (`exec_…`) come several times in each interval.
/// Podman's filter wants its own words, whatever it then says: `died`, `cleanup`, `remove`.
const EVENTS: &str = "{\"type\":[\"container\",\"network\"],\"event\":[\"create\",\"start\",\"restart\",\"die\",\"stop\",\
                      \"pause\",\"unpause\",\"rename\",\"update\",\"destroy\",\"health_status\",\"connect\",\"disconnect\",\
                      \"died\",\"cleanup\",\"remove\"]}";

/// Why the engine cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// Nobody reached.
    #[error("{place}: {cause}{hint}")]
    Unreachable {
        /// The socket, as the file has it.
        place: String,
        /// What the system said.
        cause: std::io::Error,
        /// What to do, with its separator; may be empty.
        hint: &'static str,
    },
    /// Too slow.
    #[error("{place}: no whole answer in time (the engine is stuck, or under much load)")]
    Timeout {
        /// The socket.
        place: String,
    },
    /// A status that is no success.
    #[error("{place}: {path} was answered {status}{said}")]
    Refused {
        /// The socket.
        place: String,
        /// What was asked.
        path: String,
        /// The status.
        status: StatusCode,
        /// What the engine said to it.
        said: String,
    },
    /// An answer that is none.
    #[error("{place}: the answer to {path} cannot be read: {why}")]
    Unreadable {
        /// The socket.
        place: String,
        /// What was asked.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The files for TLS cannot be used.
    #[error("{place}: TLS cannot be used: {why}")]
    Tls {
        /// The socket.
        place: String,
        /// What is wrong.
        why: String,
    },
}

impl DockerError {
    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, DockerError::Refused { status, .. } if *status == StatusCode::NOT_FOUND)
    }

    /// Whether somebody in between does not let us ask this (a socket proxy).
    pub fn is_forbidden(&self) -> bool {
        matches!(self, DockerError::Refused { status, .. } if matches!(status.as_u16(), 401 | 403 | 404 | 405))
    }

    /// What happened, without where.
    pub fn reason(&self) -> String {
        match self {
            DockerError::Unreachable { cause, .. } => cause.to_string(),
            DockerError::Timeout { .. } => "no whole answer in time".to_owned(),
            DockerError::Refused { status, said, .. } => format!("answered {status}{said}"),
            DockerError::Unreadable { why, .. } => format!("its answer cannot be read: {why}"),
            DockerError::Tls { why, .. } => why.clone(),
        }
    }

    /// Whether the engine answered, or let us wait, but cannot be said to be away: another question may fare better.
    pub fn is_about_one_answer(&self) -> bool {
        matches!(self, DockerError::Timeout { .. } | DockerError::Refused { .. } | DockerError::Unreadable { .. })
    }
}

/// An engine, as the file names it. Nothing is opened before it is asked.
pub struct Engine {
    /// As the file has it: what messages show.
    pub place: String,
    way: Way,
}

enum Way {
    Unix(PathBuf),
    Tcp { authority: String, host: String, tls: Option<Arc<ClientConfig>> },
}

impl Engine {
    /// The engine of a file.
    ///
    /// # Errors
    /// The files of `ca`, `cert` and `key` cannot be used.
    pub fn new(spec: &DockerSpec, roots: &SystemRoots) -> Result<Engine, DockerError> {
        let DockerSpec { socket, ca, cert, key, .. } = spec;
        let place = socket.value.clone();
        let Some(authority) = place.strip_prefix("tcp://") else {
            let way = Way::Unix(PathBuf::from(&place));
            return Ok(Engine { place, way });
        };
        let authority = authority.trim_end_matches('/').to_owned();
        let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match (ca, cert, key) {
            (None, None, None) => None,
            (ca, cert, key) => {
                let paths = [ca, cert, key].map(|path| path.as_ref().map(|path| path.value.as_path()));
                let made = tls_config(paths, roots).map_err(|why| DockerError::Tls { place: place.clone(), why })?;
                Some(made)
            }
        };
        Ok(Engine { place: place.clone(), way: Way::Tcp { authority, host, tls } })
    }

    /// Opens a connection and agrees on a version of the API.
    pub async fn open(&self) -> Result<Session<'_>, DockerError> {
        let opened = timeout(WHOLE, async {
            let mut session = self.connect().await?;
            session.agree().await?;
            Ok(session)
        });
        opened.await.unwrap_or_else(|_| Err(self.too_slow()))
    }

    fn too_slow(&self) -> DockerError {
        DockerError::Timeout { place: self.place.clone() }
    }

    async fn connect(&self) -> Result<Session<'_>, DockerError> {
        let (stream, host, peer) = match &self.way {
            Way::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|cause| self.unreachable(cause))?;
                (Stream::Unix(stream), "localhost", None)
            }
            Way::Tcp { authority, host, tls } => {
                let tcp = TcpStream::connect(authority).await.map_err(|cause| self.unreachable(cause))?;
                let peer = tcp.peer_addr().ok().map(|address| address.ip());
                // A stream of events may say nothing for days: the kernel notices a machine that is gone.
                let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(QUIET / 6).with_retries(3);
                let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
                let stream = match tls {
                    None => Stream::Tcp(tcp),
                    Some(config) => {
                        let name = ServerName::try_from(host.clone())
                            .map_err(|wrong| DockerError::Tls { place: self.place.clone(), why: wrong.to_string() })?;
                        let tls = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
                        Stream::Tls(Box::new(tls.map_err(|cause| self.unreachable(cause))?))
                    }
                };
                (stream, authority.as_str(), peer)
            }
        };
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| self.broken("the connection", &error))?;
        // It ends with the session.
        tokio::spawn(connection);
        // Loopback is this machine: a socket proxy, or an engine that listens there.
        let remote = peer.filter(|peer| !peer.is_loopback());
        Ok(Session { engine: self, sender, host: host.to_owned(), prefix: String::new(), remote })
    }

    fn unreachable(&self, cause: std::io::Error) -> DockerError {
        let hint = match cause.kind() {
            std::io::ErrorKind::NotFound => "; is the engine running, and `socket` of [docker] right?",
            std::io::ErrorKind::ConnectionRefused => "; nobody listens there: is the engine running?",
            std::io::ErrorKind::PermissionDenied => {
                "; put doorward's user into the socket's group, or a read-only socket proxy before it"
            }
            _ => "",
        };
        DockerError::Unreachable { place: self.place.clone(), cause, hint }
    }

    fn broken(&self, path: &str, error: &dyn std::fmt::Display) -> DockerError {
        DockerError::Unreadable { place: self.place.clone(), path: path.to_owned(), why: error.to_string() }
    }
}

fn tls_config([ca, cert, key]: [Option<&Path>; 3], roots: &SystemRoots) -> Result<Arc<ClientConfig>, String> {
    let verify = ca.map_or(VerifySpec::System, |path| VerifySpec::Ca(path.to_owned()));
    let config = client_config(&verify, roots, &[]).map_err(|error| error.to_string())?;
    let (Some(cert), Some(key)) = (cert, key) else { return Ok(config) };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{}: {error}", cert.display()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let pair =
        CertifiedKey::from_der(chain, private, crypto()).map_err(|error| format!("{}: {error}", cert.display()))?;
    let mut config = (*config).clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
    Ok(Arc::new(config))
}

/// One connection to the engine, for one question after the other.
pub struct Session<'a> {
    engine: &'a Engine,
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    prefix: String,
    /// The engine's address, where that is another machine.
    pub remote: Option<IpAddr>,
}

impl<'a> Session<'a> {
    /// Agrees on a version of the API, the engine's own or the newest that is known here.
    async fn agree(&mut self) -> Result<(), DockerError> {
        const PING: &str = "/_ping";
        let answer = self.ask_for(PING).await?;
        let said = answer.headers().get("Api-Version").and_then(|version| version.to_str().ok()?.split_once('.'));
        let version = said.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        match self.collect(answer, PING).await {
            // Somebody in between does not let us ask this: whatever the engine speaks is read.
            Err(error) if !error.is_forbidden() => return Err(error),
            _ => {}
        }
        let Some(version): Option<(u32, u32)> = version else { return Ok(()) };
        let (major, minor) = version.min(KNOWN_VERSION);
        self.prefix = format!("/v{major}.{minor}");
        if version > KNOWN_VERSION {
            // An engine of a day when ours is forgotten says so; then its own is read.
            let answer = self.ask_for(PING).await?;
            match self.collect(answer, PING).await {
                Err(DockerError::Refused { status, .. }) if status == StatusCode::BAD_REQUEST => self.prefix.clear(),
                Err(error) if !error.is_forbidden() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Goes on with a connection of its own: an answer that was not read to its end would stand in the way of the next.
    pub async fn renew(&mut self) -> Result<(), DockerError> {
        *self = self.engine.open().await?;
        Ok(())
    }

    /// One question; the whole answer.
    pub async fn ask(&mut self, path: &str) -> Result<Bytes, DockerError> {
        self.ask_within(path, WHOLE).await
    }

    /// The same with a patience of its own.
    pub async fn ask_within(&mut self, path: &str, patience: Duration) -> Result<Bytes, DockerError> {
        let engine: &'a Engine = self.engine;
        let whole = async {
            let answer = self.ask_for(path).await?;
            self.collect(answer, path).await
        };
        timeout(patience, whole).await.unwrap_or_else(|_| Err(engine.too_slow()))
    }

    /// Turns the connection into a stream of events.
    pub async fn events(mut self) -> Result<Events, DockerError> {
        let path = format!("/events?filters={}", percent_encoded(EVENTS));
        let engine: &'a Engine = self.engine;
        let asked = timeout(WHOLE, async {
            let answer = self.ask_for(&path).await?;
            if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer, "/events").await) }
        });
        let answer = asked.await.unwrap_or_else(|_| Err(engine.too_slow()))?;
        Ok(Events { _sender: self.sender, body: answer.into_body(), rest: BytesMut::new() })
    }

    /// The callers bound the time.
    async fn ask_for(&mut self, path: &str) -> Result<http::Response<Incoming>, DockerError> {
        let engine = self.engine;
        self.sender.ready().await.map_err(|error| engine.broken(path, &error))?;
        let request = Request::get(format!("{}{path}", self.prefix))
            .header(HOST, &self.host)
            .header(USER_AGENT, concat!("doorward/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|error| engine.broken(path, &error))?;
        self.sender.send_request(request).await.map_err(|error| engine.broken(path, &error))
    }

    async fn collect(&self, answer: http::Response<Incoming>, path: &str) -> Result<Bytes, DockerError> {
        if !answer.status().is_success() {
            return Err(self.refused(answer, path).await);
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| self.engine.broken(path, &error))
    }

    async fn refused(&self, answer: http::Response<Incoming>, path: &str) -> DockerError {
        /// The engine says `{"message": "…"}`.
        #[derive(serde::Deserialize)]
        struct Said {
            message: String,
        }
        let status = answer.status();
        let body = Limited::new(answer.into_body(), 64 * 1024).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let said = serde_json::from_slice::<Said>(&body).map(|said| said.message).unwrap_or_default();
        let said = super::vocabulary::cut(&said);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let path = path.split('?').next().unwrap_or(path).to_owned();
        DockerError::Refused { place: self.engine.place.clone(), path, status, said }
    }

    /// The error for an answer that is no JSON of the kind expected.
    pub fn unreadable(&self, path: &str, error: &serde_json::Error) -> DockerError {
        self.engine.broken(path, error)
    }
}

/// What happens in the engine, as it tells it: one JSON object in each line.
pub struct Events {
    /// Dropped, it would close the connection.
    _sender: SendRequest<Empty<Bytes>>,
    body: Incoming,
    rest: BytesMut,
}

impl Events {
    /// The next event; `None` when the stream ends, whatever the reason. Silence is no reason. May be dropped while it
    /// waits: what has come is kept.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                // Something that is no event (an empty line, a kind of the future) changes nothing for us.
                if let Ok(event) = serde_json::from_slice(&line) {
                    return Some(event);
                }
            }
            if self.rest.len() > LONGEST_EVENT {
                return None;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}

fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            // Writing into a String cannot fail.
            byte => _ = write!(out, "%{byte:02X}"),
        }
        out
    })
}

/// One of the ways.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
