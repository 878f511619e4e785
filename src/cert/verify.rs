//! How the certificate of an upstream is judged: by the system's roots, by a given CA, by its fingerprint, or not at all.
//! Refuses to skip the handshake's signature: even unjudged, a server proves that it holds its certificate's key.

mod signature;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{CertError, crypto, factory, files, hex, sha256};
use crate::config::VerifySpec;

/// The roots of this machine, read when first needed.
#[derive(Default)]
pub struct SystemRoots {
    store: OnceLock<Arc<RootCertStore>>,
}

impl SystemRoots {
    /// The roots that the system's OpenSSL would use (`SSL_CERT_FILE` and `SSL_CERT_DIR` respected). Nothing is read yet:
    /// a house whose upstreams all have a `ca` or `pin` never needs them. A machine without roots is a warning in the log,
    /// and every certificate judged by them is then refused.
    pub fn load() -> SystemRoots {
        SystemRoots::default()
    }

    fn store(&self) -> Arc<RootCertStore> {
        let read = || {
            let found = rustls_native_certs::load_native_certs();
            for fault in &found.errors {
                tracing::warn!(%fault, "a root certificate of the system cannot be read");
            }
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                tracing::warn!(
                    "this machine has no root certificates; install `ca-certificates`, or give upstreams a `ca`"
                );
            }
            Arc::new(store)
        };
        self.store.get_or_init(read).clone()
    }
}

/// A TLS client that judges as the file says. SNI is sent, sessions are resumed (per configuration, so a changed judgement
/// never inherits a session), TLS 1.2 and 1.3. `alpn`: most preferred first, e.g. `[b"http/1.1"]`.
/// Fails only if the file of `ca` cannot be used.
pub fn client_config(verify: &VerifySpec, roots: &SystemRoots, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, CertError> {
    let judge: Arc<dyn ServerCertVerifier> = match verify {
        VerifySpec::System => {
            // An empty store refuses every certificate; that is an answer for each request, not a fault of the file.
            let builder = client_builder()?.with_root_certificates(roots.store());
            return Ok(finish(builder.with_no_client_auth(), alpn));
        }
        VerifySpec::Ca(path) => Arc::new(Judge::Ca(GivenCa::read(path)?)),
        VerifySpec::Pin(pin) => Arc::new(Judge::Pin(Some(*pin))),
        VerifySpec::Off => Arc::new(Judge::Pin(None)),
    };
    let builder = client_builder()?.dangerous().with_custom_certificate_verifier(judge);
    Ok(finish(builder.with_no_client_auth(), alpn))
}

fn client_builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, CertError> {
    let builder = ClientConfig::builder_with_provider(crypto().clone());
    builder.with_safe_default_protocol_versions().map_err(CertError::Tls)
}

fn finish(mut config: ClientConfig, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_sni = true;
    Arc::new(config)
}

/// A server showed another certificate than the pinned one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the server's certificate is sha256:{}, not the pinned one", hex(found))]
pub struct PinMismatch {
    /// SHA-256 of the certificate it showed.
    pub found: [u8; 32],
}

/// Why a TLS handshake with an upstream failed, for log and refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpstreamTlsFailure {
    /// Another certificate than the pinned one.
    PinMismatch {
        /// SHA-256 of what it showed.
        found: [u8; 32],
    },
    /// A certificate that is not accepted, in words.
    Certificate(String),
    /// Anything else: no TLS at all, no common version, connection closed.
    Other(String),
}

impl fmt::Display for UpstreamTlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamTlsFailure::PinMismatch { found } => PinMismatch { found: *found }.fmt(f),
            UpstreamTlsFailure::Certificate(why) => write!(f, "the server's certificate is refused: {why}"),
            UpstreamTlsFailure::Other(why) => f.write_str(why),
        }
    }
}

/// Reads the reason out of what the TLS stream returned.
pub fn explain_failure(error: &io::Error) -> UpstreamTlsFailure {
    let Some(fault) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return UpstreamTlsFailure::Other(error.to_string());
    };
    match fault {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            match inner.downcast_ref::<PinMismatch>() {
                Some(mismatch) => UpstreamTlsFailure::PinMismatch { found: mismatch.found },
                None if inner.to_string() == "CaUsedAsEndEntity" => {
                    let why = "it is one of an authority, as certificates that sign themselves often are";
                    UpstreamTlsFailure::Certificate(why.to_owned())
                }
                None => UpstreamTlsFailure::Certificate(inner.to_string()),
            }
        }
        rustls::Error::InvalidCertificate(why) => UpstreamTlsFailure::Certificate(in_words(why)),
        rustls::Error::NoCertificatesPresented => UpstreamTlsFailure::Certificate("it showed none".to_owned()),
        other => UpstreamTlsFailure::Other(other.to_string()),
    }
}

fn in_words(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => "its issuer is not trusted; give the upstream a `ca` or a `pin`".to_owned(),
        CertificateError::BadSignature => {
            "a signature is wrong: its issuer's, or the one that the server made".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let name = expected.to_str();
            // As the library shows them: `DnsName("a.example")`.
            let bare = |shown: &String| shown.split('"').nth(1).unwrap_or(shown).to_owned();
            let mut names: Vec<String> = presented.iter().take(4).map(bare).collect();
            if presented.len() > names.len() {
                names.push(format!("{} more", presented.len() - names.len()));
            }
            format!("it is not for {name} but for {}; `tls_name` says what to ask for", names.join(", "))
        }
        other => other.to_string(),
    }
}

/// The certificates of one file.
#[derive(Debug)]
struct GivenCa {
    roots: Arc<WebPkiServerVerifier>,
    /// Those among them that signed themselves: people put a device's own certificate where its CA belongs.
    own: Vec<CertificateDer<'static>>,
}

impl GivenCa {
    fn read(path: &Path) -> Result<GivenCa, CertError> {
        let place = path.display().to_string();
        let given = factory::read_certificates(&place, &files::read(path)?, usize::MAX)?;
        let mut store = RootCertStore::empty();
        let mut own = Vec::new();
        for (at, certificate) in given.into_iter().enumerate() {
            let parsed = factory::parse(&place, at + 1, &certificate)?;
            let is_own = parsed.issuer().as_raw() == parsed.subject().as_raw();
            let added = store.add(certificate.clone());
            if is_own {
                own.push(certificate);
            } else {
                added.map_err(|fault| CertError::Damaged {
                    place: place.clone(),
                    position: at + 1,
                    fault: fault.to_string(),
                })?;
            }
        }
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(store), crypto().clone()).build();
        let roots = roots.map_err(|_| CertError::NoCertificate { place })?;
        Ok(GivenCa { roots, own })
    }
}

/// How an upstream's certificate is judged where the system's roots do not.
#[derive(Debug)]
enum Judge {
    /// By a pin, or not at all (`verify = false`).
    Pin(Option<[u8; 32]>),
    /// By the certificates of one file.
    Ca(GivenCa),
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self {
            Judge::Pin(pin) => {
                let found = sha256(end_entity);
                if pin.is_some_and(|pin| pin != found) {
                    return Err(CertificateError::Other(OtherError(Arc::new(PinMismatch { found }))).into());
                }
                Ok(ServerCertVerified::assertion())
            }
            // The file names this very certificate: whom it calls itself adds nothing. Its dates still count.
            Judge::Ca(ca) if ca.own.iter().any(|own| own == end_entity) => check_dates(end_entity, now),
            Judge::Ca(ca) => ca.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
        }
    }

    // Whatever is thought of the certificate: the server has to prove that its key is its own.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        signature::verify_tls12(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        signature::verify_tls13(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto().signature_verification_algorithms.supported_schemes()
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<ServerCertVerified, rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests;
