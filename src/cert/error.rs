//! Everything that can be wrong with a certificate, a key or the folder of the local CA: the thing, the fault, the next step.

use std::io;
use std::path::PathBuf;

/// What went wrong in the room of certificates. `place` is a file where there is one, else the certificate's id.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file is missing, or may not be read.
    #[error("{}: cannot be read; does it exist, and may this program read it?", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A file is no certificate file by its size.
    #[error("{}: larger than {limit} bytes; is this the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// A folder or file of the local CA cannot be written.
    #[error("{}: cannot be written; the state folder must belong to this program's user", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// No PEM block `CERTIFICATE`.
    #[error("{place}: holds no certificate; it should be the full chain as PEM, leaf first")]
    NoCertificate {
        /// Where.
        place: String,
    },
    /// A certificate that does not parse.
    #[error("{place}: certificate {position} is damaged ({fault}); write the file again")]
    Damaged {
        /// Where.
        place: String,
        /// Which of the chain, from 1.
        position: usize,
        /// What does not parse.
        fault: String,
    },
    /// More certificates than a chain has.
    #[error("{place}: holds more than {limit} certificates; it should be one chain, not a collection")]
    ChainTooLong {
        /// Where.
        place: String,
        /// The most that is accepted.
        limit: usize,
    },
    /// The leaf is there, but not first.
    #[error("{place}: the key fits certificate {position}, not the first; put that one first, its issuers after it")]
    ChainOrder {
        /// Where.
        place: String,
        /// Where the leaf stands, from 1.
        position: usize,
    },
    /// The key belongs to another certificate.
    #[error("{cert}: does not fit the key {key}; give the pair that was issued together")]
    KeyMismatch {
        /// The certificate's place.
        cert: String,
        /// The key's place.
        key: String,
    },
    /// No PEM block with a private key.
    #[error("{place}: holds no private key; it should be PEM (PKCS#8, PKCS#1 or SEC1)")]
    NoKey {
        /// Where.
        place: String,
    },
    /// The key has a passphrase.
    #[error(
        "{place}: the key is encrypted and nobody is there to type; decrypt it: `openssl pkey -in KEY -out KEY.plain`"
    )]
    KeyEncrypted {
        /// Where.
        place: String,
    },
    /// A kind of key we do not speak.
    #[error("{place}: the key cannot be used; RSA (2048 bits or more), ECDSA P-256, P-384, P-521 and Ed25519 work")]
    KeyUnusable {
        /// Where.
        place: String,
        /// What the library said.
        #[source]
        cause: rustls::Error,
    },
    /// No usable subject alternative name. A common name alone is ignored by every client (RFC 9525 §6.3).
    #[error(
        "{place}: names no host (no DNS name or address as subject alternative name); issue it again with its names"
    )]
    NoNames {
        /// Where.
        place: String,
    },
    /// The validity ends before it begins.
    #[error("{place}: its validity ends before it begins; issue it again")]
    Dates {
        /// Where.
        place: String,
    },
    /// Everybody on this machine can read the key: a warning.
    #[error("{}: readable by everyone (mode {mode:o}); run `chmod o-rwx {}`", path.display(), path.display())]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate of the local CA could not be made.
    #[error("the local CA cannot make {what}")]
    Mint {
        /// What was to be made.
        what: &'static str,
        /// What the library said.
        #[source]
        cause: rcgen::Error,
    },
    /// The TLS library refused a setting.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl CertError {
    /// Whether the fault is that a file is not on this machine.
    pub fn is_missing(&self) -> bool {
        matches!(self, CertError::Unreadable { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}
