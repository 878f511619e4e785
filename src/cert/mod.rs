//! Certificates: read and checked, chosen by TLS name, minted by a local CA where nothing else covers a name, and how the
//! certificates of upstreams are judged.
//! Refuses to know routes, to order certificates from anybody, and to watch files: others say when to read again.

mod certificate;
mod challenge;
mod error;
mod factory;
mod files;
mod local_ca;
mod names;
mod records;
mod shown;
mod suites;
mod table;
mod tickets;
mod verify;

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use certificate::{Certificate, CertificateOrigin, Validity};
pub use challenge::{ACME_TLS, challenge_config};
pub use error::CertError;
pub use factory::{TlsFactory, key_exposure};
pub use files::{private_folder, read as read_file, write as write_file};
pub use local_ca::LocalCa;
pub use shown::ShownCertificate;
pub use table::CertTable;
pub use tickets::Tickets;
pub use verify::{PinMismatch, SystemRoots, UpstreamTlsFailure, client_config, explain_failure};

/// The one set of algorithms of this program (aws-lc-rs, post-quantum key exchange and AES-128-GCM preferred). Named everywhere instead of
/// rustls' process default, so that no dependency can change what a door offers.
pub fn crypto() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(suites::provider)
}

/// SHA-256, as pins and fingerprints use it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    // The hash of a cipher suite is the one that rustls exports; this suite's is SHA-256 (RFC 8446 §B.4).
    if let Some(suite) = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13() {
        digest.copy_from_slice(suite.common.hash_provider.hash(bytes).as_ref());
    }
    digest
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod fixture;
