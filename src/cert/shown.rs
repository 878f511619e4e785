//! A certificate that somebody else shows in a handshake, in words: for people who have to decide whether to trust it.
//! Refuses to judge it; and since a stranger wrote it, nothing in it is shown as it stands.

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::Validity;
use super::factory::{printable, read_names};
use super::{hex, sha256};

/// What a server shows, as far as it can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownCertificate {
    /// SHA-256 of the certificate (DER): what `pin` compares.
    pub fingerprint: [u8; 32],
    /// Whom it names, printable, at most 200 characters.
    pub subject: String,
    /// Who signed it, printable, at most 200 characters.
    pub issuer: String,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// Its DNS names and addresses; may be none.
    pub names: Vec<String>,
    /// First moment of validity.
    pub not_before: OffsetDateTime,
    /// Last moment of validity.
    pub not_after: OffsetDateTime,
    /// Whether it says that it signed itself.
    pub is_self_signed: bool,
    /// The names of [`Self::names`], ready to be compared.
    covering: Option<super::names::Names>,
}

impl ShownCertificate {
    /// Reads a certificate; `None` for bytes that are none.
    pub fn read(der: &CertificateDer<'_>) -> Option<ShownCertificate> {
        let (_, read) = X509Certificate::from_der(der).ok()?;
        let covering = read_names("what it shows", &read).ok();
        let names = covering.iter().flat_map(|names| names.listed()).take(100).map(|name| printable(name)).collect();
        let moment = |time: i64| OffsetDateTime::from_unix_timestamp(time).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Some(ShownCertificate {
            fingerprint: sha256(der),
            subject: printable(&read.subject().to_string()),
            issuer: printable(&read.issuer().to_string()),
            serial: hex(read.raw_serial()).chars().take(80).collect(),
            names,
            not_before: moment(read.validity().not_before.timestamp()),
            not_after: moment(read.validity().not_after.timestamp()),
            is_self_signed: read.subject().as_raw() == read.issuer().as_raw(),
            covering,
        })
    }

    /// Whether a client that asked for `host` finds its name in it (RFC 9525 §6.3).
    pub fn covers(&self, host: &str) -> bool {
        self.covering.as_ref().is_some_and(|names| names.covers(host))
    }

    /// Where a moment lies in its life.
    pub fn validity(&self, now: OffsetDateTime) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// `sha256:<64 hex digits>`, as `pin` takes it.
    pub fn pin(&self) -> String {
        format!("sha256:{}", hex(&self.fingerprint))
    }
}
