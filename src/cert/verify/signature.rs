//! Checks a handshake's signature against the public key in a certificate and nothing else of it, so that the odd
//! certificates of devices (version 1, unknown critical extensions) can be pinned. Judges no name, date or chain.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, PeerMisbehaved};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::crypto;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

/// TLS 1.3's CertificateVerify (RFC 8446 §4.4.3).
pub(super) fn verify_tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let key = SubjectPublicKeyInfoDer::from(public_key(certificate)?);
    verify_tls13_signature_with_raw_key(message, &key, signed, &crypto().signature_verification_algorithms).map_err(
        |fault| match fault {
            rustls::Error::InvalidCertificate(CertificateError::BadSignature) => key_not_held(),
            other => other,
        },
    )
}

/// TLS 1.2's ServerKeyExchange (RFC 5246 §7.4.3). The scheme does not settle the curve there, so each algorithm that it
/// may mean is tried if it is one for this kind of key.
pub(super) fn verify_tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let public_key = public_key(certificate)?;
    let (kind, key) = split(public_key).ok_or(CertificateError::BadEncoding)?;
    let mapping = crypto().signature_verification_algorithms.mapping;
    let Some((_, candidates)) = mapping.iter().find(|(scheme, _)| *scheme == signed.scheme) else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let mut fitting = candidates.iter().filter(|algorithm| algorithm.public_key_alg_id().as_ref() == kind);
    if fitting.any(|algorithm| algorithm.verify_signature(key, message, signed.signature()).is_ok()) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(key_not_held())
    }
}

/// A server showed a certificate whose key it does not have.
#[derive(Debug, thiserror::Error)]
#[error("the server does not hold its key")]
struct KeyNotHeld;

fn key_not_held() -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(KeyNotHeld))).into()
}

/// The SubjectPublicKeyInfo of a certificate, DER.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<&'a [u8], rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(parsed.tbs_certificate.subject_pki.raw)
}

/// The parts of a SubjectPublicKeyInfo (RFC 5280 §4.1): what kind of key (content of the AlgorithmIdentifier), and the key.
fn split(public_key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (inside, _) = element(public_key, SEQUENCE)?;
    let (kind, rest) = element(inside, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    // A key has whole bytes: no unused bits at its end.
    Some((kind, bits.strip_prefix(&[0])?))
}

/// One DER element: its content, and what stands behind it. Lengths of up to two bytes: no key is longer.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match input.strip_prefix(&[tag])? {
        [short @ 0..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, long, rest @ ..] => (usize::from(*long), rest),
        [0x82, high, low, rest @ ..] => (usize::from(*high) << 8 | usize::from(*low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}
