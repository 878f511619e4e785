//! Makes certificates ready for handshakes from PEM, checked so that nothing half-right is ever served.
//! Refuses to judge the date against the clock: an expired certificate is served, and said to be expired.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::names::Names;
use super::{CertError, Certificate, CertificateOrigin, Tickets, crypto, files, hex, sha256};

/// Longest chain that is accepted. Public ones have two or three.
const CHAIN_LIMIT: usize = 16;

/// What survives reloads on the TLS side: one session ticketer for every configuration, so that a client's session is
/// resumed whatever was published since (keys turn every 6 h and are good for 12).
pub struct TlsFactory {
    tickets: Arc<Tickets>,
}

impl TlsFactory {
    /// A factory with fresh ticket keys. One for the life of the process. Fails if there is no randomness.
    pub fn new() -> Result<TlsFactory, CertError> {
        Ok(TlsFactory { tickets: Arc::new(Tickets::new()?) })
    }

    /// A factory with the ticket keys of the process that this one follows.
    pub fn following(tickets: &serde_json::Value) -> Result<TlsFactory, CertError> {
        Ok(TlsFactory { tickets: Arc::new(Tickets::handed_over(tickets)?) })
    }

    /// The ticket keys, for the process that follows this one.
    pub fn hand_over_tickets(&self) -> serde_json::Value {
        self.tickets.hand_over()
    }

    /// Reads a pair of files, each at most 1 MiB.
    pub fn load_pair(&self, id: Arc<str>, cert: &Path, key: &Path) -> Result<Certificate, CertError> {
        let cert_pem = files::read(cert)?;
        let key_pem = files::read(key)?;
        let origin = CertificateOrigin::Files { cert: cert.to_owned(), key: key.to_owned() };
        self.certificate_from_pem(id, &cert_pem, &key_pem, origin)
    }

    /// Checks a chain (PEM, leaf first) and its key (PEM): everything parses, the key fits the leaf, the leaf names
    /// somebody, its dates are in order. Expired is allowed: see [`Certificate::validity`].
    pub fn certificate_from_pem(
        &self,
        id: Arc<str>,
        cert_pem: &[u8],
        key_pem: &[u8],
        origin: CertificateOrigin,
    ) -> Result<Certificate, CertError> {
        let (place, key_place) = match &origin {
            CertificateOrigin::Files { cert, key } => (cert.display().to_string(), key.display().to_string()),
            CertificateOrigin::LocalCa | CertificateOrigin::Acme { .. } => {
                (format!("certificate `{id}`"), format!("key of `{id}`"))
            }
        };
        let chain = read_certificates(&place, cert_pem, CHAIN_LIMIT)?;
        let key = read_key(&key_place, key_pem)?;
        let Some(leaf_der) = chain.first() else { return Err(CertError::NoCertificate { place }) };
        let leaf = parse(&place, 1, leaf_der)?;
        for (at, issuer) in chain.iter().enumerate().skip(1) {
            parse(&place, at + 1, issuer)?;
        }
        check_key_fits(&place, &key_place, &chain, &*key)?;
        let names = read_names(&place, &leaf)?;
        let (not_before, not_after) =
            (leaf.validity().not_before.to_datetime(), leaf.validity().not_after.to_datetime());
        if not_after < not_before {
            return Err(CertError::Dates { place });
        }
        let issuer = printable(&leaf.issuer().to_string());
        let serial = hex(leaf.raw_serial());
        let fingerprint = sha256(leaf_der);
        let server_config = self.server_config(CertifiedKey::new(chain, key))?;
        let mut yielding = ServerConfig::clone(&server_config);
        yielding.ignore_client_order = false;
        Ok(Certificate {
            id,
            origin,
            names,
            not_before,
            not_after,
            issuer,
            serial,
            fingerprint,
            server_config,
            yielding_config: Arc::new(yielding),
        })
    }

    fn server_config(&self, key: CertifiedKey) -> Result<Arc<ServerConfig>, CertError> {
        let mut config = ServerConfig::builder_with_provider(crypto().clone())
            .with_safe_default_protocol_versions()
            .map_err(CertError::Tls)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::<Tickets>::clone(&self.tickets);
        // Tickets carry the session; a server-side store would be a lock in every handshake and forget at each reload.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        config.ignore_client_order = true;
        Ok(Arc::new(config))
    }
}

/// Whether everybody on this machine may read a key file: a warning that names the remedy. `None` too if the file cannot
/// be looked at; reading it will say why.
pub fn key_exposure(path: &Path) -> Option<CertError> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o004 != 0).then(|| CertError::KeyExposed { path: path.to_owned(), mode })
}

/// Every `CERTIFICATE` block of a PEM text; at least one, at most `limit`.
pub(super) fn read_certificates(
    place: &str,
    pem: &[u8],
    limit: usize,
) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|fault| CertError::Damaged {
            place: place.to_owned(),
            position: chain.len() + 1,
            fault: fault.to_string(),
        })?;
        if chain.len() == limit {
            return Err(CertError::ChainTooLong { place: place.to_owned(), limit });
        }
        chain.push(certificate);
    }
    if chain.is_empty() {
        return Err(CertError::NoCertificate { place: place.to_owned() });
    }
    Ok(chain)
}

fn read_key(place: &str, pem: &[u8]) -> Result<Arc<dyn SigningKey>, CertError> {
    let Ok(key) = PrivateKeyDer::from_pem_slice(pem) else {
        let encrypted = [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"];
        let place = place.to_owned();
        return Err(match encrypted.iter().any(|mark| pem.windows(mark.len()).any(|window| window == *mark)) {
            true => CertError::KeyEncrypted { place },
            false => CertError::NoKey { place },
        });
    };
    if pem.windows(22).any(|window| window == b"Proc-Type: 4,ENCRYPTED") {
        return Err(CertError::KeyEncrypted { place: place.to_owned() });
    }
    let unusable = |cause| CertError::KeyUnusable { place: place.to_owned(), cause };
    crypto().key_provider.load_private_key(key).map_err(unusable)
}

/// One certificate, with nothing behind it.
pub(super) fn parse<'a>(
    place: &str,
    position: usize,
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, CertError> {
    let damaged = |fault: String| CertError::Damaged { place: place.to_owned(), position, fault };
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|fault| damaged(fault.to_string()))?;
    if !rest.is_empty() {
        return Err(damaged("bytes behind its end".to_owned()));
    }
    Ok(certificate)
}

fn check_key_fits(
    place: &str,
    key_place: &str,
    chain: &[CertificateDer<'static>],
    key: &dyn SigningKey,
) -> Result<(), CertError> {
    // A key that cannot say its public half (no kind of ours) is judged by the first handshake.
    let Some(public) = key.public_key() else { return Ok(()) };
    let fits = |der: &CertificateDer<'static>| {
        X509Certificate::from_der(der).is_ok_and(|(_, certificate)| certificate.public_key().raw == &public[..])
    };
    match chain.iter().position(fits) {
        Some(0) => Ok(()),
        Some(at) => Err(CertError::ChainOrder { place: place.to_owned(), position: at + 1 }),
        None => Err(CertError::KeyMismatch { cert: place.to_owned(), key: key_place.to_owned() }),
    }
}

pub(super) fn read_names(place: &str, leaf: &X509Certificate<'_>) -> Result<Names, CertError> {
    let damaged = |fault: String| CertError::Damaged { place: place.to_owned(), position: 1, fault };
    let mut names = Names::default();
    if let Some(listed) = leaf.subject_alternative_name().map_err(|fault| damaged(fault.to_string()))? {
        for name in &listed.value.general_names {
            match name {
                // A name that no host can have covers nothing; the others still do.
                GeneralName::DNSName(text) => drop(names.add_dns(text)),
                GeneralName::IPAddress(bytes) => {
                    let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                    if let Ok(address) = address {
                        names.add_address(address);
                    }
                }
                _ => {}
            }
        }
    }
    if names.listed().is_empty() {
        return Err(CertError::NoNames { place: place.to_owned() });
    }
    Ok(names)
}

/// A name out of a certificate may hold anything; a log line may not.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests;
