//! Cipher suites: which are spoken, and in whose order one is chosen. AES-128-GCM stands first, as on the servers of Go and of
//! large sites: its hash is SHA-256, which processors have instructions for and SHA-384 they have not, and a record costs
//! fewer rounds. Measured: SHA-384 was 13 % of all processor time of a handshake.

use std::sync::Arc;

use ::aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM};
use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite};

use super::records::straight;

/// The algorithms of this program.
pub(super) fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![
        straight(suite::TLS13_AES_128_GCM_SHA256, &AES_128_GCM),
        straight(suite::TLS13_AES_256_GCM_SHA384, &AES_256_GCM),
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
}

/// Whether a client's own order is to be kept: one that names ChaCha20 before any AES has no instructions for AES, and would
/// pay for it with its battery. All others get ours.
pub(super) fn is_for_chacha(offered: &[CipherSuite]) -> bool {
    let mut names = offered.iter().filter_map(|suite| suite.as_str());
    let first = names.find(|name| name.contains("_AES_") || name.contains("CHACHA20"));
    first.is_some_and(|name| name.contains("CHACHA20"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_names_chacha_first_keeps_its_order() {
        let (aes, large) = (CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384);
        let (chacha, old) = (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA);
        // Chrome begins with a value that means nothing (RFC 8701).
        let grease = CipherSuite::Unknown(0x3a3a);
        assert!(is_for_chacha(&[chacha, aes, large]));
        assert!(is_for_chacha(&[grease, chacha, old]));
        assert!(!is_for_chacha(&[grease, aes, chacha]));
        assert!(!is_for_chacha(&[large, chacha, aes]));
        assert!(!is_for_chacha(&[old, chacha]));
        assert!(!is_for_chacha(&[grease]));
    }

    #[test]
    fn no_suite_of_the_library_is_missing() {
        let ours = provider();
        for known in aws_lc_rs::ALL_CIPHER_SUITES {
            assert!(ours.cipher_suites.contains(known), "{known:?}");
        }
        assert_eq!(ours.cipher_suites.len(), aws_lc_rs::ALL_CIPHER_SUITES.len());
    }
}
