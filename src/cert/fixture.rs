//! What the tests of this room share: folders that vanish, a CA that signs anything, handshakes over loopback.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use super::crypto;

/// A folder that is gone afterwards.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("doorward-cert-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Certificate and key as PEM.
pub(super) struct Pair {
    pub(super) cert: String,
    pub(super) key: String,
}

/// A CA without constraints.
pub(super) struct TestCa {
    params: CertificateParams,
    key: KeyPair,
    pub(super) pem: String,
}

impl TestCa {
    pub(super) fn new() -> TestCa {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        let pem = params.self_signed(&key).unwrap().pem();
        TestCa { params, key, pem }
    }

    pub(super) fn leaf(&self, names: &[&str]) -> Pair {
        self.leaf_with(names, |_| ())
    }

    pub(super) fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        Pair { cert: params.signed_by(&key, &issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// As devices come: signed by itself, a CA by its own word.
pub(super) fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Pair { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A server with this certificate and key, whether they fit or not.
pub(super) fn server(cert_pem: &str, key_pem: &str, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    let key = crypto().key_provider.load_private_key(key).unwrap();
    let mut config = ServerConfig::builder_with_provider(crypto().clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
    config.session_storage = ServerSessionMemoryCache::new(8);
    Arc::new(config)
}

/// An ordinary client that trusts one root.
pub(super) fn client(root_pem: &str, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    client_of(CryptoProvider::clone(crypto()), root_pem, versions)
}

/// The same with other algorithms.
pub(super) fn client_of(
    provider: CryptoProvider,
    root_pem: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// What a client learnt in a handshake.
#[derive(Debug)]
pub(super) struct Met {
    pub(super) version: ProtocolVersion,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) kind: HandshakeKind,
    pub(super) suite: CipherSuite,
    pub(super) sni: Option<String>,
}

/// One connection over loopback; a byte from the server follows the handshake, so that tickets arrive.
pub(super) fn handshake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>, name: &str) -> io::Result<Met> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = server.clone();
    let serving = thread::spawn(move || -> io::Result<Option<String>> {
        let (tcp, _) = listener.accept()?;
        let mut tls = StreamOwned::new(ServerConnection::new(server).map_err(io::Error::other)?, tcp);
        tls.write_all(b"!")?;
        tls.conn.send_close_notify();
        tls.flush()?;
        Ok(tls.conn.server_name().map(str::to_owned))
    });
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut tls = StreamOwned::new(
        ClientConnection::new(client.clone(), name).map_err(io::Error::other)?,
        TcpStream::connect(address)?,
    );
    let mut byte = [0];
    let result = tls.read_exact(&mut byte);
    let met = result.map(|()| {
        (
            tls.conn.protocol_version(),
            tls.conn.alpn_protocol().map(<[u8]>::to_vec),
            tls.conn.handshake_kind(),
            tls.conn.negotiated_cipher_suite(),
        )
    });
    drop(tls);
    let served = serving.join().unwrap();
    let (version, alpn, kind, suite) = met?;
    Ok(Met { version: version.unwrap(), alpn, kind: kind.unwrap(), suite: suite.unwrap().suite(), sni: served? })
}

/// Runs openssl in a folder and returns what it said; fails the test if openssl does.
pub(super) fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").current_dir(folder).args(arguments).output().expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {}: {said}", arguments.join(" "));
    said
}
