//! The load that Debian's tools cannot make: handshakes, uploads, WebSocket messages, a fixed rate of requests, idle
//! connections. Runs as a process of its own on the load core, and ends with one line of JSON on standard output.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::exchange::{self, Answer};
use crate::stamped::Stamped;
use crate::{Failure, HOST, paced, uploads};

/// What to do; the words of `--kind`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, Serialize, Deserialize)]
pub enum Kind {
    /// Ask for everything once over each protocol and look at every byte.
    Check,
    /// A connection, a full handshake, one request; again.
    Handshake,
    /// The same with a ticket of an earlier connection.
    Resume,
    /// One upload after the other over HTTP/1.1.
    UploadH1,
    /// The same over HTTP/2.
    UploadH2,
    /// One WebSocket message in flight on each connection.
    WebSocket,
    /// Requests at a fixed rate, however slow the answers; latency counts from the moment each was due.
    Paced,
    /// Connections that made one request and now do nothing, until standard input ends.
    Idle,
}

/// The rest of the order.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    #[arg(long)]
    pub kind: Kind,
    /// TLS address of the proxy.
    #[arg(long)]
    pub tls: SocketAddr,
    /// Cleartext address of the proxy.
    #[arg(long)]
    pub clear: SocketAddr,
    /// PEM of the proxy's certificate, the only one trusted.
    #[arg(long)]
    pub cert: PathBuf,
    /// How long to go on.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// How many connections at once.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Requests a second.
    #[arg(long, default_value_t = 1000.0)]
    pub rate: f64,
    /// Bytes of one upload.
    #[arg(long, default_value_t = 1 << 30)]
    pub bytes: u64,
}

/// What came of it.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Units done (requests, messages, handshakes, uploads).
    pub done: u64,
    /// Units that went wrong.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// Handshakes that were resumed.
    pub resumed: u64,
    /// How long clients waited for answers, from the moment each request was due.
    pub waited: Option<Percentiles>,
    /// How long of that request and answer were in the proxy.
    pub in_proxy: Option<Percentiles>,
    /// 99th percentile of how late the generator itself was, in microseconds.
    pub generator_late_us: Option<f64>,
}

/// How long something took, in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    /// 50, 90, 99 and 99.9 of the whole run.
    pub of_all: [f64; 4],
    /// The middle one of the 99th percentiles of tenths of a second.
    pub middle_p99: f64,
    /// The 99th percentile of each second.
    pub p99_of_seconds: Vec<f64>,
}

/// Everything that the connections of one run share.
pub struct Run {
    /// The order.
    pub order: Order,
    /// When to stop.
    pub until: Instant,
    /// Counted so far.
    pub done: Cell<u64>,
    outcome: RefCell<Outcome>,
}

impl Run {
    /// Whether time is up.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
    /// One more unit done.
    pub fn count(&self) {
        self.done.set(self.done.get() + 1);
    }
    /// One unit failed.
    pub fn fail(&self, error: &Failure) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.errors += 1;
        outcome.first_error.get_or_insert_with(|| error.to_string());
    }
    /// Writes into the outcome.
    pub fn note(&self, write: impl FnOnce(&mut Outcome)) {
        write(&mut self.outcome.borrow_mut());
    }
}

/// Carries out the order and prints the outcome.
pub fn run(order: Order) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = LocalSet::new().block_on(&runtime, carry_out(order))?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Carries out the order on this thread, beside whatever else it does.
pub async fn carry_out(order: Order) -> Result<Outcome, Failure> {
    let until = Instant::now() + Duration::from_secs_f64(order.seconds);
    let run = Rc::new(Run { order, until, done: Cell::default(), outcome: RefCell::default() });
    drive(&run).await?;
    let mut outcome = run.outcome.take();
    outcome.done = run.done.get();
    Ok(outcome)
}

async fn drive(run: &Rc<Run>) -> Result<(), Failure> {
    let kind = run.order.kind;
    match kind {
        Kind::Check => exchange::check_everything(run).await,
        Kind::Paced => paced::drive(run).await,
        Kind::Idle => idle(run).await,
        Kind::UploadH1 | Kind::UploadH2 | Kind::Handshake | Kind::Resume | Kind::WebSocket => {
            let mut tasks = Vec::new();
            for _ in 0..run.order.connections {
                // Tickets are used once and few are kept for a name, so each connection keeps its own.
                let config = client_config(&run.order, kind == Kind::Resume, b"http/1.1")?;
                let (run, connector) = (run.clone(), TlsConnector::from(config));
                tasks.push(tokio::task::spawn_local(async move {
                    while !run.is_over() {
                        let result = match kind {
                            Kind::UploadH1 => uploads::over_h1(&run, &connector).await,
                            Kind::UploadH2 => uploads::over_h2(&run).await,
                            Kind::WebSocket => exchange::talk(&run, &connector).await,
                            _ => handshake(&run, &connector).await,
                        };
                        if let Err(error) = result {
                            run.fail(&error);
                            // Nothing that fails at once may spin.
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }));
            }
            for task in tasks {
                task.await?;
            }
            Ok(())
        }
    }
}

/// TLS 1.3 with X25519 only: OpenSSL 3.0 knows no post-quantum exchange, and every peer shall do the same work.
pub fn client_config(order: &Order, resume: bool, alpn: &[u8]) -> Result<Arc<ClientConfig>, Failure> {
    let provider = CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() };
    let mut roots = RootCertStore::empty();
    let pem = fs::read(&order.cert)?;
    for certificate in rustls_pem(&pem) {
        roots.add(certificate?)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    if !resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn rustls_pem(
    pem: &[u8],
) -> impl Iterator<Item = Result<rustls::pki_types::CertificateDer<'static>, rustls::pki_types::pem::Error>> + '_ {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::pem_slice_iter(pem)
}

/// A new TLS connection to the proxy.
pub async fn connect(order: &Order, connector: &TlsConnector) -> Result<TlsStream<Stamped>, Failure> {
    let stream = TcpStream::connect(order.tls).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from(HOST)?, Stamped::new(stream)).await?)
}

async fn handshake(run: &Run, connector: &TlsConnector) -> Result<(), Failure> {
    let mut stream = connect(&run.order, connector).await?;
    if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
        run.note(|outcome| outcome.resumed += 1);
    }
    Answer::to(&mut stream, "/1k").await?.must_be_small()?;
    run.count();
    Ok(())
}

async fn idle(run: &Rc<Run>) -> Result<(), Failure> {
    let connector = TlsConnector::from(client_config(&run.order, false, b"http/1.1")?);
    // One after the other, as they come in a house: what a thousand at once would need is another question.
    let mut held = Vec::new();
    for _ in 0..run.order.connections {
        match connect_and_ask(&run.order, &connector).await {
            Ok(stream) => {
                run.count();
                held.push(stream);
            }
            Err(error) => run.fail(&error),
        }
    }
    println!("ready");
    io::stdout().flush()?;
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    drop(held);
    Ok(())
}

async fn connect_and_ask(order: &Order, connector: &TlsConnector) -> Result<TlsStream<Stamped>, Failure> {
    let mut stream = connect(order, connector).await?;
    Answer::to(&mut stream, "/1k").await?.must_be_small()?;
    Ok(stream)
}
