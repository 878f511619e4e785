//! What one container asks for, whatever vocabulary it used: names, paths, ports, and who may come. Only form is judged
//! here; what becomes of it among the others is `translate`'s to say.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Balance, Schemes};
use crate::model::{Endpoint, HostName, HostPattern, PathPattern};

/// All that one container asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// Its sites, in the order in which they are written.
    pub sites: Vec<Site>,
    /// What holds for all of them.
    pub terms: Terms,
    /// What somebody should know, though the container is routed: settings that are not carried, and what to write instead.
    pub notes: Vec<String>,
}

/// One name with the paths below it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The name.
    pub host: HostPattern,
    /// At least one.
    pub places: Vec<Place>,
}

/// One path of a site, and where it leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// `None` is everything that no other path takes.
    pub path: Option<PathPattern>,
    /// What stands in place of the matched part towards the container; the empty text takes it away.
    pub replace: Option<Arc<str>>,
    /// How the container is spoken to.
    pub proto: Proto,
    /// Its port; `None`: the one it exposes, else 80.
    pub port: Option<u16>,
    /// Another address than the container's own.
    pub elsewhere: Option<Endpoint>,
}

/// How a container is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Proto {
    /// Cleartext HTTP/1.1.
    #[default]
    Http,
    /// TLS.
    Https,
    /// gRPC without TLS: HTTP/2 with prior knowledge.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl Proto {
    /// As `VIRTUAL_PROTO` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Proto::Http => "http",
            Proto::Https => "https",
            Proto::Grpc => "grpc",
            Proto::Grpcs => "grpcs",
        }
    }
}

/// What holds for all sites of a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// Who may enter, of those whom `[docker] allow` (else door, else file) admits. `None`: all of them.
    pub allow: Option<Vec<Admitted>>,
    /// Names on doors with `names = "public"`; only with `[docker] public = true`.
    pub public: Vec<HostName>,
    /// `hold`; absent: `[docker] hold`.
    pub hold: Option<Duration>,
    /// `max_body` in bytes.
    pub max_body: Option<u64>,
    /// `idle`.
    pub idle: Option<Duration>,
    /// `hsts`.
    pub hsts: Option<Duration>,
    /// `log_query`.
    pub log_query: bool,
    /// `tls_name`.
    pub tls_name: Option<HostName>,
    /// Whether the certificate of an https container is judged. Never by default: it is on this machine, and has none.
    pub verify: bool,
    /// `pin`.
    pub pin: Option<[u8; 32]>,
    /// Which of several containers a request goes to.
    pub balance: Balance,
    /// Over which schemes the sites are served.
    pub schemes: Schemes,
    /// The `[cert.<id>]` that is shown for the sites.
    pub cert: Option<Arc<str>>,
}

/// One entry of a container's `allow`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admitted {
    /// A network of the file, by name.
    Named(String),
    /// A block.
    Net(IpNet),
}
