//! One certificate as served: chain and key, with what people ask about it. Never changes; a renewed one is another value.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{CipherSuite, ServerConfig};
use time::OffsetDateTime;

use super::names::Names;
use super::suites::is_for_chacha;

/// One chain and its key, ready for handshakes.
pub struct Certificate {
    pub(super) id: Arc<str>,
    pub(super) origin: CertificateOrigin,
    pub(super) names: Names,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) issuer: String,
    pub(super) serial: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) server_config: Arc<ServerConfig>,
    /// The same, but that the client's order of cipher suites is kept.
    pub(super) yielding_config: Arc<ServerConfig>,
}

/// Where a certificate came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateOrigin {
    /// Files that somebody else keeps.
    Files {
        /// Full chain.
        cert: PathBuf,
        /// Private key.
        key: PathBuf,
    },
    /// Minted here, trusted by those who trust the local root.
    LocalCa,
    /// Ordered from a CA.
    Acme {
        /// The `[cert.<id>]`.
        id: Arc<str>,
    },
}

/// Where a moment lies in a certificate's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// Clients refuse it until `not_before`.
    NotYet,
    /// In force.
    Valid,
    /// Clients refuse it since `not_after`.
    Expired,
}

impl Certificate {
    /// The `[cert.<id>]`; `local-ca` for what the local CA minted.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Where it came from.
    pub fn origin(&self) -> &CertificateOrigin {
        &self.origin
    }

    /// Its DNS names (wildcards with `*.`) and addresses, lower case, in the certificate's order; at least one.
    pub fn names(&self) -> &[Arc<str>] {
        self.names.listed()
    }

    /// Whether a client that asked for `host` accepts this certificate: the name itself, or a wildcard for exactly its
    /// left-most label (RFC 9525 §6.3). `host`: lower case, no trailing dot; an IPv6 address in brackets.
    pub fn covers(&self, host: &str) -> bool {
        self.names.covers(host)
    }

    /// First moment of validity.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Last moment of validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Whether it is in force at a moment.
    pub fn validity(&self, now: OffsetDateTime) -> Validity {
        if now < self.not_before {
            Validity::NotYet
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// Who signed it, readable: at most 200 characters, none of them a control character.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// SHA-256 of the leaf (DER): what `pin` compares.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Ready for a handshake with this certificate, with a client that offers these cipher suites: TLS 1.2 and 1.3, ALPN `h2`
    /// and `http/1.1`.
    pub fn config_for(&self, offered: &[CipherSuite]) -> &Arc<ServerConfig> {
        if is_for_chacha(offered) { &self.yielding_config } else { &self.server_config }
    }

    /// Ready for a handshake with a client of which nothing is known.
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server_config
    }

    /// Whether the local CA minted it.
    pub fn is_local(&self) -> bool {
        self.origin == CertificateOrigin::LocalCa
    }
}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("id", &self.id)
            .field("names", &self.names.listed())
            .field("not_after", &self.not_after)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}
