//! The certificate that answers a tls-alpn-01 challenge (RFC 8737): for one name, signed by itself, good for nothing else.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::{CertError, crypto};

/// The protocol name that a CA asks for, and nobody else (RFC 8737 §4).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Ready for the CA's handshake: the SHA-256 of the key authorization (RFC 8737 §3) for one DNS name.
pub fn challenge_config(name: &str, digest: &[u8; 32]) -> Result<Arc<ServerConfig>, CertError> {
    let mint = |cause| CertError::Mint { what: "the certificate of a challenge", cause };
    let key = KeyPair::generate().map_err(mint)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ACME challenge");
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().map_err(mint)?)];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(mint)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = crypto().key_provider.load_private_key(key).map_err(CertError::Tls)?;
    // Not `with_single_cert`: that one refuses the very extension that the CA looks for.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(crypto().clone())
        .with_safe_default_protocol_versions()
        .map_err(CertError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    // No ticket: a session of this handshake is nobody's to resume.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
