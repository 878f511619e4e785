//! What CAs are answered while they look whether a name is ours: tokens over HTTP, certificates over TLS. Empty but for the
//! seconds of an order. Beside the snapshot rather than in it, so that a reload neither loses nor repeats them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rustls::ServerConfig;

/// Where http-01 is asked (RFC 8555 §8.3).
pub const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// All live challenges.
#[derive(Clone, Default)]
pub struct Challenges {
    /// http-01: token to key authorization.
    tokens: HashMap<Box<str>, Bytes>,
    /// tls-alpn-01: name to certificate.
    certificates: HashMap<Box<str>, Arc<ServerConfig>>,
}

/// One proof.
#[derive(Clone)]
pub enum Proof {
    /// http-01.
    Token {
        /// The token of the path.
        token: Box<str>,
        /// What is answered.
        key_authorization: Bytes,
    },
    /// tls-alpn-01.
    Certificate {
        /// The name, lower case.
        name: Box<str>,
        /// What is shown.
        config: Arc<ServerConfig>,
    },
}

impl Challenges {
    /// The answer to a path, if it is that of a live token.
    pub fn answer(&self, path: &str) -> Option<&Bytes> {
        self.tokens.get(path.strip_prefix(CHALLENGE_PATH)?)
    }

    /// The certificate for a name (lower case), if it is being proven.
    pub fn certificate(&self, name: &str) -> Option<&Arc<ServerConfig>> {
        self.certificates.get(name)
    }

    pub(super) fn with(&self, proof: &Proof) -> Challenges {
        let mut more = self.clone();
        match proof.clone() {
            Proof::Token { token, key_authorization } => drop(more.tokens.insert(token, key_authorization)),
            Proof::Certificate { name, config } => drop(more.certificates.insert(name, config)),
        }
        more
    }

    pub(super) fn without(&self, proof: &Proof) -> Challenges {
        let mut fewer = self.clone();
        match proof {
            Proof::Token { token, .. } => drop(fewer.tokens.remove(token)),
            // Only this one: a later order for the same name has its own.
            Proof::Certificate { name, config } => {
                if fewer.certificates.get(name).is_some_and(|shown| Arc::ptr_eq(shown, config)) {
                    fewer.certificates.remove(name);
                }
            }
        }
        fewer
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenges")
            .field("tokens", &self.tokens.len())
            .field("certificates", &self.certificates.keys())
            .finish()
    }
}
