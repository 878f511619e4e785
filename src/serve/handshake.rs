//! TLS with a client: the first look at what comes, the certificate by server name, and why it failed where it did. Knows
//! nothing of HTTP but that its methods begin with a letter.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
use tokio_rustls::server::TlsStream;

use super::core::Core;
use super::sealing::SEALED_OVER;
use crate::cert::{ACME_TLS, Certificate};
use crate::telemetry::HandshakeFailure;
use crate::upstream::{SEALED, Wire};

/// The TLS handshake, from accept to finished. A phone on bad radio needs a few seconds.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// What became of a handshake.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum Shaken {
    /// TLS, with this certificate.
    Hands(TlsStream<Wire>, Arc<Certificate>),
    /// A CA has seen what it came for, and is gone again.
    Proven,
    /// A client that speaks plain HTTP to a door of TLS: nothing was read of it yet.
    PlainHttp(Wire),
    /// Nothing came of it.
    Failed(HandshakeFailure),
}

/// Shakes hands, within [`HANDSHAKE`].
pub async fn handshake(core: &Rc<Core>, stream: Wire) -> Shaken {
    match tokio::time::timeout(HANDSHAKE, attempt(core, stream)).await {
        Ok(Ok(shaken)) => shaken,
        Ok(Err(error)) => Shaken::Failed(failure_of(&error)),
        Err(_) => Shaken::Failed(HandshakeFailure::Timeout),
    }
}

/// The certificate is chosen by SNI from the snapshot of this moment.
async fn attempt(core: &Core, stream: Wire) -> io::Result<Shaken> {
    // A TLS record begins with a byte that no method does (RFC 8446 §5.1). A peek costs one system call of a handshake.
    let mut first = [0];
    if stream.socket().peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        return Ok(Shaken::PlainHttp(stream));
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let name = start.client_hello().server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    if let Some(proof) = name.as_deref().and_then(|name| proof_for(core, &start.client_hello(), name)) {
        // RFC 8737 §3: nothing is said on such a connection but the handshake.
        start.into_stream(proof).await?.shutdown().await?;
        return Ok(Shaken::Proven);
    }
    let certificate = {
        let snapshot = core.cell.load();
        let found = snapshot.certificates.find(name.as_deref());
        Arc::clone(found.ok_or_else(|| io::Error::other("there is no certificate at all"))?)
    };
    let config = Arc::clone(certificate.config_for(start.client_hello().cipher_suites()));
    let mut stream = start.into_stream(config).await?;
    stream.get_mut().1.set_buffer_limit(Some(SEALED + SEALED_OVER));
    Ok(Shaken::Hands(stream, certificate))
}

/// What a CA is shown that asks for `acme-tls/1` and nothing else.
fn proof_for(core: &Core, hello: &ClientHello<'_>, name: &str) -> Option<Arc<ServerConfig>> {
    let mut protocols = hello.alpn()?;
    let asks_for_proof = protocols.next() == Some(ACME_TLS) && protocols.next().is_none();
    if !asks_for_proof {
        return None;
    }
    core.cell.challenges().certificate(name).cloned()
}

fn failure_of(error: &io::Error) -> HandshakeFailure {
    use tokio_rustls::rustls::Error;
    match error.get_ref().and_then(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::AlertReceived(_)) => HandshakeFailure::Alert,
        Some(Error::InvalidMessage(_) | Error::InappropriateMessage { .. }) => HandshakeFailure::NotTls,
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => HandshakeFailure::NoAgreement,
        Some(_) => HandshakeFailure::Other,
        None => HandshakeFailure::Closed,
    }
}
