//! `compare relay`: passes bytes on and looks at none of them. One connection to the origin for each client's, one thread,
//! two reads and two writes for a request and its answer: what any proxy that asks the kernel for each of them pays before it
//! has read a line of HTTP. Over TLS it decrypts and encrypts as well. What it writes leaves at the end of a turn, as the
//! gateway's does: each for itself would wake others more often. It is no proxy and does none of a proxy's work.

use std::fs;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use doorward::upstream::{Wire, turn_by_turn};

use crate::Failure;

/// Bytes of each of a connection's two buffers.
const BUFFER: usize = 64 * 1024;

/// Where it listens and where it leads.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Port in the clear.
    #[arg(long)]
    clear: u16,
    /// Port over TLS.
    #[arg(long)]
    tls: u16,
    /// Port of the origin.
    #[arg(long)]
    origin: u16,
    /// PEM of the certificate.
    #[arg(long)]
    cert: PathBuf,
    /// PEM of its key.
    #[arg(long)]
    key: PathBuf,
}

/// Serves until it is ended.
pub fn run(place: &Place) -> Result<(), Failure> {
    let certs: Result<Vec<_>, _> =
        CertificateDer::pem_reader_iter(BufReader::new(fs::File::open(&place.cert)?)).collect();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certs?, PrivateKeyDer::from_pem_file(&place.key)?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = Rc::new(TlsAcceptor::from(Arc::new(config)));
    let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, place.origin));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = LocalSet::new();
    runtime.block_on(turn_by_turn(tasks.run_until(async move {
        let clear = TcpListener::bind((Ipv4Addr::LOCALHOST, place.clear)).await?;
        let tls = TcpListener::bind((Ipv4Addr::LOCALHOST, place.tls)).await?;
        loop {
            tokio::select! {
                accepted = clear.accept() => {
                    let (client, _) = accepted?;
                    tokio::task::spawn_local(async move {
                        client.set_nodelay(true)?;
                        pass(Wire::new(client), origin).await
                    });
                }
                accepted = tls.accept() => {
                    let ((client, _), acceptor) = (accepted?, Rc::clone(&acceptor));
                    tokio::task::spawn_local(async move {
                        client.set_nodelay(true)?;
                        pass(acceptor.accept(Wire::new(client).under_tls()).await?, origin).await
                    });
                }
            }
        }
    })))
}

/// Joins a client to a connection of its own to the origin. What goes wrong shows at the client, and there it counts.
async fn pass(mut client: impl AsyncRead + AsyncWrite + Unpin, origin: SocketAddr) -> Result<(), Failure> {
    let upstream = TcpStream::connect(origin).await?;
    upstream.set_nodelay(true)?;
    let mut upstream = Wire::new(upstream);
    copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await?;
    Ok(())
}
