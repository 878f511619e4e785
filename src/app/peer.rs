//! A TLS handshake or a request as any client would make it, to see what a server really does: for `trust` and `compare`.
//! Every wait ends; nothing that comes back is believed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cert::{ShownCertificate, SystemRoots, client_config, explain_failure};
use crate::config::VerifySpec;

/// How long connecting and the handshake may take, each.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server showed, and the connection it showed it on.
pub(super) struct Peer {
    /// The certificate of the server itself.
    pub(super) certificate: ShownCertificate,
    /// The open connection.
    pub(super) stream: TlsStream<TcpStream>,
}

/// Connects to `host:port`, name lookup included.
pub(super) async fn connect(place: &str) -> Result<TcpStream, String> {
    match timeout(PATIENCE, TcpStream::connect(place)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(cause)) => Err(format!("{place} cannot be reached: {cause}")),
        Err(_) => Err(format!("{place} did not answer within {} s", PATIENCE.as_secs())),
    }
}

/// A handshake that asks for `name` and takes whatever certificate is shown.
pub(super) async fn look(place: &str, name: &str) -> Result<Peer, String> {
    let stream = handshake(place, name, &VerifySpec::Off).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = shown.and_then(ShownCertificate::read);
    let certificate = certificate.ok_or_else(|| format!("{place} shows a certificate that cannot be read"))?;
    Ok(Peer { certificate, stream })
}

/// Whether the certificate shown for `name` is accepted so; the reason where it is not.
pub(super) async fn verify(place: &str, name: &str, verify: &VerifySpec) -> Result<(), String> {
    handshake(place, name, verify).await.map(drop)
}

async fn handshake(place: &str, name: &str, verify: &VerifySpec) -> Result<TlsStream<TcpStream>, String> {
    let tls = client_config(verify, &SystemRoots::load(), &[b"http/1.1"]).map_err(|error| error.to_string())?;
    let name = server_name(name)?;
    let tcp = connect(place).await?;
    // Small requests must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    match timeout(PATIENCE, TlsConnector::from(Arc::clone(&tls)).connect(name, tcp)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if speaks_no_tls(&error) => {
            Err(format!("{place} answers, but not in TLS; is it meant to be asked by `http://`?"))
        }
        Ok(Err(error)) => Err(explain_failure(&error).to_string()),
        Err(_) => Err(format!("{place}: the TLS handshake took more than {} s", PATIENCE.as_secs())),
    }
}

fn speaks_no_tls(error: &std::io::Error) -> bool {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidMessage(_)))
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned()).map_err(|_| format!("`{name}` is no name for TLS"))
}

/// `host:port` for a literal address or a name; a port that is not written is `port`.
pub(super) fn with_port(place: &str, port: u16) -> String {
    let has_port = place.parse::<SocketAddr>().is_ok()
        || place.rsplit_once(':').is_some_and(|(host, digits)| !host.contains(':') && digits.parse::<u16>().is_ok());
    match (has_port, place.parse::<std::net::Ipv6Addr>()) {
        (true, _) => place.to_owned(),
        (false, Ok(v6)) => format!("[{v6}]:{port}"),
        (false, Err(_)) => format!("{place}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_none_is_written() {
        for (written, meant) in [
            ("192.168.8.102", "192.168.8.102:443"),
            ("192.168.8.102:8443", "192.168.8.102:8443"),
            ("proxy.home", "proxy.home:443"),
            ("proxy.home:81", "proxy.home:81"),
            ("::1", "[::1]:443"),
            ("[::1]", "[::1]:443"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(with_port(written, 443), meant);
        }
    }
}
