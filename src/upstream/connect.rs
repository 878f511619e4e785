//! A fresh connection to an upstream: TCP, then TLS where the address says so, each within its time. Which HTTP is spoken on
//! it is settled here, by the address or in the handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::member::Member;
use super::target::{Lane, TargetTls};
use super::wire::Wire;
use crate::cert::{UpstreamTlsFailure, explain_failure};
use crate::model::{Refusal, write_own_proxy_header};
use crate::telemetry::UpstreamMetrics;

/// How long a TCP connection may take, over all addresses. Fixed: a LAN answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the TLS handshake may take after that.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long nothing may be heard before the kernel asks whether the other machine is still there.
const QUIET: Duration = Duration::from_secs(60);

/// Time between two such questions.
const ASK_EVERY: Duration = Duration::from_secs(15);

/// Questions without an answer after which the connection is dead.
const ASK_TIMES: u32 = 4;

/// How long it may take nothing of what was sent, nor say that it is there: keep-alive asks only where nothing is under way.
const UNTAKEN: Duration = Duration::from_secs(120);

/// Why an upstream could not be reached: what the client is told, and what the log says.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct UpstreamError {
    /// The cause.
    pub refusal: Refusal,
    /// The fault in words.
    pub detail: String,
    /// Whether the upstream looks away rather than wrong: worth waiting for where `hold` says so.
    pub is_away: bool,
}

/// Which HTTP is spoken on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.1: one exchange at a time.
    Http1,
    /// HTTP/2: many side by side.
    Http2,
}

/// An open connection to an upstream.
pub struct Connected {
    stream: Stream,
    /// Counts it for as long as it is open; none for one of our own, to look.
    _counted: Option<Counted>,
}

enum Stream {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// One open connection in the counters of its upstream.
struct Counted(Arc<UpstreamMetrics>);

impl Connected {
    fn over(stream: Stream) -> Connected {
        Connected { stream, _counted: None }
    }

    /// One that a test has opened itself.
    #[cfg(test)]
    pub fn plain(wire: Wire) -> Connected {
        Connected::over(Stream::Plain(wire))
    }

    /// Gives back what a connection need not hold on which nothing is under way.
    pub fn rest(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.get_mut().0.rest();
        }
    }

    /// Whether nothing has come where nothing was awaited, as far as the kernel has told; unknown under TLS. Whoever asks is woken
    /// when something does.
    pub fn is_silent(&self, cx: &mut Context<'_>) -> bool {
        matches!(&self.stream, Stream::Plain(stream) if stream.poll_readable(cx).is_pending())
    }

    /// The same, counted from now until it is closed.
    pub fn counted_by(self, metrics: &Arc<UpstreamMetrics>) -> Connected {
        metrics.connection_opened();
        Connected { _counted: Some(Counted(Arc::clone(metrics))), ..self }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

/// Opens a connection, and says what is to be spoken on it: at most `most`. `greeting`: what stands before everything, also
/// before TLS; without one it is a connection of our own, to look, and says so where the upstream wants to know.
pub async fn connect(
    lane: &Lane,
    most: Protocol,
    greeting: Option<&[u8]>,
) -> Result<(Connected, Protocol), UpstreamError> {
    let member = &lane.member;
    let own = match greeting {
        Some(_) => None,
        None => lane.proxy_protocol.map(write_own_proxy_header),
    };
    let opened = connect_tcp(member, greeting.or(own.as_deref()).unwrap_or_default()).await;
    if opened.is_err() {
        member.stale.notify_one();
    }
    let stream = opened?;
    match &lane.tls {
        None => {
            let spoken = if lane.may_speak_http2 { most } else { Protocol::Http1 };
            Ok((Connected::over(Stream::Plain(stream)), spoken))
        }
        Some(tls) => {
            let stream = handshake(stream, tls, member, most).await?;
            let spoken = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            Ok((Connected::over(Stream::Tls(Box::new(stream))), spoken))
        }
    }
}

async fn connect_tcp(member: &Member, greeting: &[u8]) -> Result<Wire, UpstreamError> {
    let greeted = async {
        let mut stream = connect_any(member).await?;
        stream
            .write_all(greeting)
            .await
            .map_err(|error| away(Refusal::UpstreamClosed, format!("{}: {error}", member.endpoint)))?;
        Ok(stream)
    };
    match tokio::time::timeout(CONNECT, greeted).await {
        Ok(outcome) => outcome,
        Err(_) => Err(away(Refusal::UpstreamConnectTimeout, format!("{}: no answer within 5 s", member.endpoint))),
    }
}

async fn connect_any(member: &Member) -> Result<Wire, UpstreamError> {
    let addresses = member.resolved().await;
    let mut last = None;
    for address in addresses.iter() {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Small writes (WebSocket frames, chunks of an event stream) must not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                watch(&stream);
                return Ok(Wire::new(stream));
            }
            Err(error) => last = Some((address, error)),
        }
    }
    let Some((address, error)) = last else {
        let detail = format!("{}: the name does not resolve", member.endpoint);
        return Err(away(Refusal::UpstreamUnresolved, detail));
    };
    let refusal = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Refusal::UpstreamRefused,
        io::ErrorKind::TimedOut => Refusal::UpstreamConnectTimeout,
        _ => Refusal::UpstreamUnreachable,
    };
    Err(away(refusal, format!("{address}: {error}")))
}

/// Lets the kernel notice a machine that is gone while nothing is said: a long poll or a tunnel would wait for it until
/// `idle` is over. Not HTTP/2's PING: gRPC servers take more than one in five minutes for an attack.
fn watch(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(QUIET).with_interval(ASK_EVERY).with_retries(ASK_TIMES);
    // It is only a precaution: without it `idle` decides.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = SockRef::from(stream).set_tcp_user_timeout(Some(UNTAKEN));
}

async fn handshake(
    stream: Wire,
    tls: &TargetTls,
    member: &Member,
    most: Protocol,
) -> Result<TlsStream<Wire>, UpstreamError> {
    let endpoint = &member.endpoint;
    let config = match &tls.config {
        Ok(config) if most == Protocol::Http1 && config.alpn_protocols.len() > 1 => {
            let mut only = ClientConfig::clone(config);
            only.alpn_protocols = vec![b"http/1.1".to_vec()];
            Arc::new(only)
        }
        Ok(config) => Arc::clone(config),
        Err(why) => return Err(wrong(Refusal::UpstreamCertificate, format!("{endpoint}: {why}"))),
    };
    let connecting = TlsConnector::from(config).connect(tls.name.clone(), stream.under_tls());
    let error = match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => error,
        Err(_) => {
            let detail = format!("{endpoint}: the TLS handshake took more than 5 s");
            return Err(away(Refusal::UpstreamConnectTimeout, detail));
        }
    };
    if matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    ) {
        let detail = format!("{endpoint}: closed during the TLS handshake");
        return Err(away(Refusal::UpstreamClosed, detail));
    }
    Err(match explain_failure(&error) {
        UpstreamTlsFailure::PinMismatch { found } => wrong(
            Refusal::UpstreamPinMismatch,
            format!("{endpoint}: shows the certificate sha256:{}, not the pinned one", hex(&found)),
        ),
        UpstreamTlsFailure::Certificate(why) => {
            wrong(Refusal::UpstreamCertificate, format!("{endpoint}: certificate for `{}`: {why}", name_of(tls)))
        }
        UpstreamTlsFailure::Other(why) => wrong(Refusal::UpstreamTls, format!("{endpoint}: {why}")),
    })
}

fn name_of(tls: &TargetTls) -> std::borrow::Cow<'_, str> {
    tls.name.to_str()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn away(refusal: Refusal, detail: String) -> UpstreamError {
    UpstreamError { refusal, detail, is_away: true }
}

fn wrong(refusal: Refusal, detail: String) -> UpstreamError {
    UpstreamError { refusal, detail, is_away: false }
}

impl Connected {
    /// Sends now what waits for the end of the turn, for who will not poll this again.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.poll_send(cx),
            Stream::Tls(stream) => {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                stream.get_ref().0.poll_send(cx)
            }
        }
    }
}

impl AsyncRead for Connected {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connected {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
