//! A client that says exactly what it is told: version, server name, protocol, source address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, ProtocolVersion, RootCertStore, SignatureScheme};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::ask::Body;
use super::{Ask, Door, HOME, Raw, Socket, Wire};

/// How to reach a gateway. Cheap to clone; clones share remembered TLS sessions until one of them is changed.
#[derive(Clone)]
pub struct Client {
    gateway: Ipv4Addr,
    port: u16,
    encrypted: bool,
    source: Ipv4Addr,
    sni: Sni,
    protocols: Vec<&'static str>,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    roots: Arc<RootCertStore>,
    verified: bool,
    greeting: Vec<u8>,
    config: Arc<ClientConfig>,
}

static ONLY_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
static ONLY_13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

#[derive(Clone)]
enum Sni {
    AsHost,
    Name(String),
    Absent,
}

/// What a TLS handshake ended in.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Protocol version.
    pub version: Option<ProtocolVersion>,
    /// Chosen application protocol.
    pub protocol: Option<String>,
    /// The server's certificates, leaf first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Whether a session was resumed.
    pub resumed: bool,
}

impl Client {
    pub(super) fn new(gateway: Ipv4Addr, roots: RootCertStore) -> Client {
        let roots = Arc::new(roots);
        let versions = rustls::ALL_VERSIONS;
        let protocols = vec!["http/1.1"];
        let config = tls_config(&roots, versions, &protocols, true, true);
        Client {
            gateway,
            port: Door::Https.port(),
            encrypted: true,
            source: HOME,
            sni: Sni::AsHost,
            protocols,
            versions,
            roots,
            verified: true,
            greeting: Vec::new(),
            config,
        }
    }

    fn rebuilt(mut self) -> Client {
        let named = !matches!(self.sni, Sni::Absent);
        self.config = tls_config(&self.roots, self.versions, &self.protocols, named, self.verified);
        self
    }

    /// Speaks HTTP/2.
    pub fn h2(self) -> Client {
        self.offering(&["h2"])
    }

    /// Offers these application protocols, and speaks what is chosen.
    pub fn offering(mut self, protocols: &[&'static str]) -> Client {
        self.protocols = protocols.to_vec();
        self.rebuilt()
    }

    /// Knocks at another door of the standard file.
    pub fn at(mut self, door: Door) -> Client {
        self.port = door.port();
        self.encrypted = door.encrypted();
        self
    }

    /// Knocks at a port of the test's own choice.
    pub fn port(mut self, port: u16, encrypted: bool) -> Client {
        self.port = port;
        self.encrypted = encrypted;
        self
    }

    /// Says this before anything else on each connection.
    pub fn greeting(mut self, bytes: impl AsRef<[u8]>) -> Client {
        self.greeting = bytes.as_ref().to_vec();
        self
    }

    /// Comes from this address.
    pub fn from(mut self, source: Ipv4Addr) -> Client {
        self.source = source;
        self
    }

    /// Names this server in the handshake, whatever is asked for afterwards.
    pub fn naming(mut self, name: &str) -> Client {
        self.sni = Sni::Name(name.to_owned());
        self.rebuilt()
    }

    /// Names no server in the handshake.
    pub fn naming_nobody(mut self) -> Client {
        self.sni = Sni::Absent;
        self.rebuilt()
    }

    /// TLS 1.2 only.
    pub fn tls12(mut self) -> Client {
        self.versions = ONLY_12;
        self.rebuilt()
    }

    /// TLS 1.3 only.
    pub fn tls13(mut self) -> Client {
        self.versions = ONLY_13;
        self.rebuilt()
    }

    /// Trusts these roots instead of the test's.
    pub fn trusting(mut self, roots: RootCertStore) -> Client {
        self.roots = Arc::new(roots);
        self.rebuilt()
    }

    /// Takes any certificate: to look at it.
    pub fn trusting_anything(mut self) -> Client {
        self.verified = false;
        self.rebuilt()
    }

    /// GET of `host/path`, on a connection of its own.
    pub fn get(&self, place: &str) -> Ask<'static> {
        self.request("GET", place)
    }

    /// Any request for `host/path`, on a connection of its own.
    pub fn request(&self, method: &str, place: &str) -> Ask<'static> {
        Ask::fresh(self.clone(), method, place)
    }

    /// A connection to keep, for this host name.
    pub async fn connect(&self, host: &str) -> Connection {
        self.try_connect(host).await.unwrap_or_else(|e| panic!("no connection for {host}: {e}"))
    }

    /// A connection to keep, or why there is none.
    pub async fn try_connect(&self, host: &str) -> io::Result<Connection> {
        let (wire, facts) = self.open(host).await?;
        let offered = self.protocols.first().copied();
        let spoken = facts.protocol.as_deref().or(offered.filter(|_| !self.encrypted));
        Connection::over(wire, facts.clone(), host, spoken == Some("h2"), self.encrypted).await
    }

    /// A connection for bytes of the test's own making.
    pub async fn raw(&self, host: &str) -> Raw {
        Raw::new(self.open(host).await.unwrap_or_else(|e| panic!("no connection for {host}: {e}")).0)
    }

    /// A WebSocket at `host/path`.
    pub async fn websocket(&self, place: &str) -> Socket {
        self.try_websocket(place).await.unwrap_or_else(|e| panic!("no WebSocket at {place}: {e}"))
    }

    /// A WebSocket at `host/path`, or why there is none.
    pub async fn try_websocket(&self, place: &str) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        let (host, path) = place.split_once('/').expect("host/path");
        let (wire, _) = self.open(host).await?;
        Socket::over(wire, host, path).await
    }

    /// What a handshake for this name ends in.
    pub async fn handshake(&self, host: &str) -> io::Result<Facts> {
        let mut connection = self.try_connect(host).await?;
        // Session tickets come behind the handshake; an answer shows that they were read.
        let _ = connection.get("/").attempt().await;
        Ok(connection.facts().clone())
    }

    /// A TCP connection, and TLS on it where the door has that.
    pub async fn open(&self, host: &str) -> io::Result<(Wire, Facts)> {
        let tcp = super::within("a TCP connection", self.tcp()).await?;
        let nothing = Facts { version: None, protocol: None, certificates: Vec::new(), resumed: false };
        if !self.encrypted {
            return Ok((Box::new(tcp), nothing));
        }
        let name = match &self.sni {
            Sni::Name(name) => name.clone(),
            Sni::AsHost | Sni::Absent => host.split(':').next().unwrap_or_default().to_owned(),
        };
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.config.clone());
        let tls = super::within("a TLS handshake", connector.connect(name, tcp)).await?;
        let session = tls.get_ref().1;
        let facts = Facts {
            version: session.protocol_version(),
            protocol: session.alpn_protocol().map(|p| String::from_utf8_lossy(p).into_owned()),
            certificates: session
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|c| c.clone().into_owned())
                .collect(),
            resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        Ok((Box::new(tls), facts))
    }

    async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.source, 0)))?;
        let mut tcp = socket.connect(SocketAddr::from((self.gateway, self.port))).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(&self.greeting).await?;
        Ok(tcp)
    }
}

/// A kept connection.
pub struct Connection {
    sender: Sender,
    host: String,
    facts: Facts,
    encrypted: bool,
    driver: Option<JoinHandle<Result<(), hyper::Error>>>,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Connection {
    async fn over(wire: Wire, facts: Facts, host: &str, two: bool, encrypted: bool) -> io::Result<Connection> {
        let io = TokioIo::new(wire);
        let (sender, driver) = if two {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(io::Error::other)?;
            (Sender::Two(sender), tokio::spawn(connection))
        } else {
            let (sender, connection) =
                http1::Builder::new().max_headers(4000).handshake(io).await.map_err(io::Error::other)?;
            (Sender::One(sender), tokio::spawn(connection))
        };
        Ok(Connection { sender, host: host.to_owned(), facts, encrypted, driver: Some(driver) })
    }

    /// The name it was opened for.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How the handshake went.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// GET.
    pub fn get(&mut self, target: &str) -> Ask<'_> {
        self.request("GET", target)
    }

    /// Any request.
    pub fn request(&mut self, method: &str, target: &str) -> Ask<'_> {
        Ask::kept(self, method, target)
    }

    /// Another handle on the same HTTP/2 connection, for requests side by side.
    pub fn beside(&self) -> Connection {
        let Sender::Two(sender) = &self.sender else { panic!("HTTP/1.1 has one request at a time") };
        Connection {
            sender: Sender::Two(sender.clone()),
            host: self.host.clone(),
            facts: self.facts.clone(),
            encrypted: self.encrypted,
            driver: None,
        }
    }

    /// Whether another request can be sent.
    pub fn is_open(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => !sender.is_closed(),
            Sender::Two(sender) => !sender.is_closed(),
        }
    }

    /// Waits until the other side has closed it.
    pub async fn closed(&mut self) {
        let driver = self.driver.take().expect("the first handle");
        let _ = super::within("the connection to close", driver).await;
    }

    /// Lets it live on without its owner, for an answer that is still being read.
    pub(super) fn detach(mut self) {
        self.driver.take();
    }

    pub(super) async fn send(
        &mut self,
        method: Method,
        host: &str,
        target: &str,
        fields: Vec<(HeaderName, HeaderValue)>,
        body: Body,
    ) -> Result<Response<Incoming>, String> {
        let two = matches!(self.sender, Sender::Two(_));
        let scheme = if self.encrypted { "https" } else { "http" };
        let uri = if two { format!("{scheme}://{host}{target}") } else { target.to_owned() };
        let mut request = Request::builder().method(method).uri(uri);
        if !two {
            request = request.header("host", host);
        }
        let mut request = request.body(body).map_err(|e| format!("not a request: {e}"))?;
        for (name, value) in fields {
            request.headers_mut().append(name, value);
        }
        // hyper sends the body of a GET only if its length is known, or its coding is named.
        let is_unmeasured = request.body().size_hint().exact().is_none();
        if !two && is_unmeasured && !request.headers().contains_key("content-length") {
            request.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
        }
        let sent = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await.map_err(|e| format!("the connection is closed: {e}"))?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                sender.ready().await.map_err(|e| format!("the connection is closed: {e}"))?;
                sender.send_request(request).await
            }
        };
        sent.map_err(|e| format!("no answer: {e:?}"))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
    }
}

fn tls_config(
    roots: &Arc<RootCertStore>,
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&str],
    named: bool,
    verified: bool,
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let mut config = if verified {
        builder.with_root_certificates(roots.clone()).with_no_client_auth()
    } else {
        let anything = Arc::new(Anything(provider.signature_verification_algorithms.supported_schemes()));
        builder.dangerous().with_custom_certificate_verifier(anything).with_no_client_auth()
    };
    config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.enable_sni = named;
    Arc::new(config)
}

/// Believes every certificate.
#[derive(Debug)]
struct Anything(Vec<SignatureScheme>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
