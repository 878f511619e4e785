//! Which certificate somebody really serves: a TLS handshake, and nothing after it.
//! Refuses to judge the certificate: it is compared, not trusted.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cert::{SystemRoots, client_config, explain_failure, hex, sha256};
use crate::config::VerifySpec;

/// How long a look may take, name lookup included.
const WHOLE: Duration = Duration::from_secs(10);

/// What was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the leaf.
    pub fingerprint: [u8; 32],
}

/// Looks at `host:port`, asking for `name`. The error says in words why there was nothing to see.
pub async fn look(place: &str, name: &str) -> Result<Seen, String> {
    let looked = timeout(WHOLE, handshake(place, name)).await;
    looked.unwrap_or_else(|_| Err(format!("{place} did not answer within {} s", WHOLE.as_secs())))
}

async fn handshake(place: &str, name: &str) -> Result<Seen, String> {
    let tls = client_config(&VerifySpec::Off, &SystemRoots::default(), &[]).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let tcp = TcpStream::connect(place).await.map_err(|error| format!("{place} cannot be reached: {error}"))?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await;
    let stream = stream.map_err(|error| format!("{place}: {}", explain_failure(&error)))?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let Some(leaf) = shown else { return Err(format!("{place} shows no certificate")) };
    let serial = X509Certificate::from_der(leaf).map(|(_, leaf)| hex(leaf.raw_serial())).unwrap_or_default();
    Ok(Seen { serial, fingerprint: sha256(leaf) })
}
