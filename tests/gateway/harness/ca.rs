//! A certificate authority of the test's own.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::Folder;

/// An authority whose key lives in this test only.
pub struct TestCa(CertifiedIssuer<'static, KeyPair>);

impl TestCa {
    /// A new one.
    pub fn new(name: &str) -> TestCa {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        TestCa(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for these names (or addresses) and its key.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(names, CertificateParams::new(owned(names)).unwrap())
    }

    /// As `issue`, good from yesterday for so many days: what programs that judge certificates want to see.
    pub fn issue_for_days(&self, names: &[&str], days: i64) -> Identity {
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.not_before = time::OffsetDateTime::now_utc() - time::Duration::DAY;
        params.not_after = params.not_before + time::Duration::days(days);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.sign(names, params)
    }

    fn sign(&self, names: &[&str], mut params: CertificateParams) -> Identity {
        params.distinguished_name.push(DnType::CommonName, names[0].to_owned());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
            protocol: "http/1.1",
        }
    }

    /// The root, as PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Trust in this authority alone.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }
}

/// A certificate and the key that proves it.
#[derive(Clone)]
pub struct Identity {
    cert_pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
    protocol: &'static str,
}

impl Identity {
    /// A certificate that only vouches for itself.
    pub fn self_signed(name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        Identity {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
            protocol: "http/1.1",
        }
    }

    /// This certificate with the key of another: what somebody has who copied a certificate off the wire.
    pub fn with_key_of(&self, other: &Identity) -> Identity {
        Identity { key_pem: other.key_pem.clone(), key_der: other.key_der.clone(), ..self.clone() }
    }

    /// The same, for a server that offers this application protocol alone.
    pub fn speaking(self, protocol: &'static str) -> Identity {
        Identity { protocol, ..self }
    }

    /// The certificate (DER).
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate as PEM.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The key as PEM.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// `sha256:…` as `pin` takes it.
    pub fn pin(&self) -> String {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        let digest = suite.tls13().unwrap().common.hash_provider.hash(&self.der);
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Writes `<name>.crt` and `<name>.key` and gives their paths.
    pub fn write(&self, folder: &Folder, name: &str) -> (PathBuf, PathBuf) {
        folder.replace(&format!("{name}.key"), &self.key_pem);
        folder.replace(&format!("{name}.crt"), &self.cert_pem);
        (folder.at(&format!("{name}.crt")), folder.at(&format!("{name}.key")))
    }

    /// What a TLS server needs to present it, HTTP/1.1 only.
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key_der.clone()));
        let signing = provider.key_provider.load_private_key(key).unwrap();
        // Not checked to fit: a server with the wrong key is one of the cases.
        let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![self.der.clone()], signing));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![self.protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}
