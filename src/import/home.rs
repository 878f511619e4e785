//! What another proxy serves, in our words, whoever it was: what `write` makes a file of.
//! Every value here has been read; nothing of it is text to be interpreted.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::Balance;
use crate::model::{Endpoint, HostPattern, PathPattern};

/// Everything that goes into the file.
#[derive(Default)]
pub(super) struct Home {
    /// What the file says of itself, paragraph by paragraph.
    pub(super) head: Vec<String>,
    /// Where the old one listened; `None`: on the usual ports of every address.
    pub(super) door: Option<Door>,
    /// What is shown over TLS.
    pub(super) certs: Vec<Cert>,
    /// The routes, in the order of the source.
    pub(super) routes: Vec<Route>,
    /// What could not be carried and belongs to no route.
    pub(super) left: Vec<Remark>,
}

/// A sentence for the reader, and the lines it speaks of.
pub(super) struct Remark {
    /// The sentence.
    pub(super) text: String,
    /// Others' words, repeated as they are.
    pub(super) quoted: String,
}

impl Remark {
    pub(super) fn new(text: impl Into<String>) -> Remark {
        Remark { text: text.into(), quoted: String::new() }
    }

    pub(super) fn quoting(text: impl Into<String>, quoted: &str) -> Remark {
        Remark { text: text.into(), quoted: quoted.to_owned() }
    }
}

/// Where a proxy listens.
pub(super) struct Door {
    /// `https`, as written, if there is any certificate.
    pub(super) https: String,
    /// `http`, as written.
    pub(super) http: String,
    /// Why there, beside each.
    pub(super) why: &'static str,
}

/// One certificate.
pub(super) struct Cert {
    /// Names it is for; may be unknown where it is a file.
    pub(super) names: Vec<HostPattern>,
    /// Where it comes from.
    pub(super) source: CertSource,
    /// What the reader should know.
    pub(super) notes: Vec<Remark>,
}

/// Where a certificate comes from.
pub(super) enum CertSource {
    /// PEM files.
    Files {
        /// Full chain.
        cert: String,
        /// Private key.
        key: String,
    },
    /// Ordered with DNS-01.
    Dns {
        /// As `dns` takes it.
        provider: String,
        /// For the account.
        email: Option<String>,
    },
    /// Ordered with HTTP-01.
    Http {
        /// For the account.
        email: Option<String>,
    },
}

/// One route.
pub(super) struct Route {
    /// The name it answers for.
    pub(super) host: HostPattern,
    /// Where it leads; `None` where its paths answer everything.
    pub(super) to: Option<Destination>,
    /// Who may enter.
    pub(super) admission: Admission,
    /// `hsts`, as written.
    pub(super) hsts: Option<Arc<str>>,
    /// Paths with rules of their own.
    pub(super) paths: Vec<Path>,
    /// What the reader should know.
    pub(super) notes: Vec<Remark>,
}

/// A server, or several that are alike.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    /// Where.
    pub(super) endpoint: Endpoint,
    /// The others.
    pub(super) others: Vec<Endpoint>,
    /// Which of them is asked.
    pub(super) balance: Balance,
    /// Whether HTTP/2 is spoken over TLS.
    pub(super) is_http2: bool,
    /// Whether its certificate is verified; the old proxy did not where this is false.
    pub(super) is_verified: bool,
}

impl Destination {
    /// Whether it needs more than its address.
    pub(super) fn has_options(&self) -> bool {
        self.is_unverified() || self.is_http2 || self.balance != Balance::default()
    }

    /// Whether it has a certificate that nobody looks at.
    pub(super) fn is_unverified(&self) -> bool {
        !self.is_verified && self.endpoint.scheme == crate::model::Scheme::Https
    }

    /// One server, spoken to in the usual way.
    pub(super) fn one(endpoint: Endpoint, is_verified: bool) -> Destination {
        Destination { endpoint, others: Vec::new(), balance: Balance::default(), is_http2: false, is_verified }
    }
}

/// Who may enter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Admission {
    /// Everybody: the old proxy asked nothing.
    Anyone,
    /// These blocks, under the name of the list they come from.
    Nets {
        /// What the list was called.
        title: String,
        /// Its blocks.
        nets: BTreeSet<IpNet>,
    },
    /// Nobody, because something protected it that cannot be carried. The notes say what.
    Nobody,
}

/// One path of a route.
pub(super) struct Path {
    /// Which paths.
    pub(super) pattern: PathPattern,
    /// What happens there.
    pub(super) action: PathAction,
    /// What the reader should know.
    pub(super) notes: Vec<Remark>,
}

/// What a path does.
pub(super) enum PathAction {
    /// Another server.
    Forward {
        /// Which.
        to: Destination,
        /// What stands in place of the matched part; the empty text takes it away.
        replace: Option<Arc<str>>,
    },
    /// Another place.
    Redirect {
        /// A path or a URL.
        location: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// Nothing there.
    Missing,
    /// Nobody may enter.
    Closed,
}
