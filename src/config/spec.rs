//! The file as written: one struct per table, names not yet resolved, every value with the place where it stands.
//! Nothing here is served; `snapshot` compiles it into what is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::model::AccessFormat;
use crate::model::{Endpoint, HostName, HostPattern, PathPattern, ProxyVersion, QuietHours, Rate};

/// A place in the file: byte offsets into its text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// First byte behind.
    pub end: usize,
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place in the text of the file.
    pub span: Span,
    /// 1-based line of `span.start`, so that an answer can name it without the text at hand.
    pub line: u32,
}

/// A whole valid file.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the file is (as given on the command line); relative paths inside were resolved against its folder.
    pub path: PathBuf,
    /// `domain`: the suffix of short route names.
    pub domain: Option<Located<HostName>>,
    /// `allow` at top level; absent admits nobody (with a warning).
    pub allow: Option<AllowSpec>,
    /// `limit` and `in_flight` at top level.
    pub quota: QuotaSpec,
    /// `[networks]`, in the order of the file.
    pub networks: Vec<NetworkSpec>,
    /// `[listen.*]`.
    pub doors: Vec<DoorSpec>,
    /// `[cert.*]`.
    pub certs: Vec<CertSpec>,
    /// `[upstreams.*]`.
    pub upstreams: Vec<UpstreamSpec>,
    /// `[routes]`, in the order of the file.
    pub routes: Vec<RouteSpec>,
    /// `[[expect]]`.
    pub expects: Vec<ExpectSpec>,
    /// `[metrics]`.
    pub metrics: Option<MetricsSpec>,
    /// `[log]`, with its defaults.
    pub log: LogSpec,
    /// `[drain]`, with its defaults.
    pub drain: DrainSpec,
    /// `[limits]`, with its defaults.
    pub limits: LimitsSpec,
    /// `[docker]`.
    pub docker: Option<DockerSpec>,
    /// `[mail]`.
    pub mail: Option<MailSpec>,
}

impl Config {
    /// Every place where an address to forward to is written: upstreams, routes and paths.
    pub fn targets(&self) -> impl Iterator<Item = &TargetSpec> {
        let in_routes = self.routes.iter().flat_map(|route| {
            let in_paths = route.paths.iter().filter_map(|path| match &path.action {
                ActionSpec::Forward { to, .. } => to.as_ref(),
                ActionSpec::Redirect { .. } | ActionSpec::Answer { .. } => None,
            });
            route.to.iter().chain(in_paths)
        });
        let written = in_routes.filter_map(|to| match to {
            ToSpec::Address(target) => Some(target),
            ToSpec::Upstream(_) => None,
        });
        self.upstreams.iter().map(|upstream| &upstream.target).chain(written)
    }
}

/// One `allow` or `peers`: network names and addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllowSpec {
    /// The entries; none admits nobody.
    pub entries: Vec<Located<AllowEntry>>,
    /// 1-based line of the key.
    pub line: u32,
    /// The list's own place.
    pub span: Span,
}

/// One entry of an `allow`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AllowEntry {
    /// The built-in `anyone`.
    Anyone,
    /// A name from `[networks]`; that it exists was checked.
    Network(Arc<str>),
    /// An address or block written out.
    Net(IpNet),
}

/// `limit` and `in_flight`, which stand in the file, in doors, in routes and at paths. Absent: what is further out counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuotaSpec {
    /// `limit`: how often one client may ask one route. `None` inside: `"off"`.
    pub limit: Option<Located<Option<Rate>>>,
    /// `in_flight`: how many requests of one client to one route may be served at a time. `None` inside: `"off"`.
    pub in_flight: Option<Located<Option<u32>>>,
}

/// One line of `[networks]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkSpec {
    /// The key.
    pub name: Located<Arc<str>>,
    /// Its blocks; a bare address is a block of one.
    pub nets: Vec<IpNet>,
}

/// One `[listen.<name>]`: a door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoorSpec {
    /// The key.
    pub name: Located<Arc<str>>,
    /// `https`: TLS, HTTP/1.1 and HTTP/2. A string or a list; `":443"` is `[::]:443`, which takes IPv4 too.
    pub https: Vec<Located<SocketAddr>>,
    /// `http`: beside `https` it answers 308, alone it serves.
    pub http: Vec<Located<SocketAddr>>,
    /// `names = "public"`: only names written as `public = …` exist on this door.
    pub public_names: bool,
    /// `trust`.
    pub trust: TrustSpec,
    /// `proxy_protocol = true`: connections begin with a PROXY header, and only those in `trust` may come.
    pub proxy_protocol: bool,
    /// `peers`: whose connections are accepted at all, judged on the TCP peer before TLS. Absent: anyone.
    pub peers: Option<AllowSpec>,
    /// `allow`: for routes that say nothing themselves, instead of the file's.
    pub allow: Option<AllowSpec>,
    /// `limit` and `in_flight`: for routes that say nothing themselves, instead of the file's.
    pub quota: QuotaSpec,
}

/// Whose forwarding headers a door believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrustSpec {
    /// Nobody's: the client is the TCP peer.
    Nobody,
    /// `"cloudflared"`: loopback peers; exactly one valid CF-Connecting-IP; scheme https.
    Cloudflared,
    /// Addresses or network names: X-Forwarded-For and -Proto from these peers.
    Peers(AllowSpec),
}

/// One `[cert.<id>]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertSpec {
    /// The key.
    pub id: Located<Arc<str>>,
    /// Where it comes from.
    pub source: CertSource,
    /// `[[cert.<id>.export]]`.
    pub exports: Vec<ExportSpec>,
}

/// Files that somebody else keeps, or an order to a CA.
#[expect(clippy::large_enum_variant, reason = "a file has a handful of certificates")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertSource {
    /// `cert` and `key`: PEM files, resolved against the folder of the file.
    Files {
        /// Full chain, leaf first.
        cert: Located<PathBuf>,
        /// Private key.
        key: Located<PathBuf>,
    },
    /// Issued by ACME. Parsed and checked for form; acted on by the certificate worker.
    Acme(AcmeSpec),
}

/// `[cert.<id>]` with `names`: what to order and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcmeSpec {
    /// `names`: exact names and wildcards (never `*` alone).
    pub names: Vec<Located<HostPattern>>,
    /// `challenge`: `dns-01` (default when `dns` is there), `http-01`, `tls-alpn-01`.
    pub challenge: ChallengeSpec,
    /// `acme`: which CA. Default Let's Encrypt.
    pub ca: CaSpec,
    /// `email` for the account.
    pub email: Option<Located<String>>,
    /// `renew`: `None` is `"auto"` (ARI, else 2/3 of the lifetime); a number of days before expiry is accepted and warned about.
    pub renew_days: Option<Located<u32>>,
    /// `key_type`: `"p256"` (default), `"p384"`, `"rsa2048"`.
    pub key_type: KeyType,
}

/// How the CA is shown that a name is ours.
#[expect(clippy::large_enum_variant, reason = "a file has a handful of certificates")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChallengeSpec {
    /// A TXT record.
    Dns(DnsSpec),
    /// A token over HTTP on port 80.
    Http,
    /// A certificate for `acme-tls/1` on port 443.
    TlsAlpn,
}

/// `dns = "…"` or a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsSpec {
    /// `provider`: `cloudflare`, `rfc2136`, `exec`, or one of the long tail.
    pub provider: Located<String>,
    /// `token_file` (in the table or beside `dns`).
    pub token_file: Option<Located<PathBuf>>,
    /// `api`: another base address of the provider's API.
    pub api: Option<Located<String>>,
    /// `zone`: never asked of the LAN's resolver.
    pub zone: Option<Located<HostName>>,
    /// `server` (`host:port`) for `rfc2136`.
    pub server: Option<Located<String>>,
    /// `key`: name of the TSIG key.
    pub key: Option<Located<String>>,
    /// `key_file`: BIND key file or bare base64 secret.
    pub key_file: Option<Located<PathBuf>>,
    /// `algorithm`: `hmac-sha256` by default.
    pub algorithm: Option<Located<String>>,
    /// `command` for `exec`: absolute path and arguments, no shell.
    pub command: Vec<Located<String>>,
    /// `propagation`: how long the authoritative servers are watched. Default 30 s.
    pub propagation: Option<Located<Duration>>,
}

/// `acme = "…"` or a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaSpec {
    /// `directory`: the `https://` URL; short names are resolved already, and absent is Let's Encrypt.
    pub directory: Located<String>,
    /// `ca`: PEM of a root that the directory's own certificate chains to.
    pub ca: Option<Located<PathBuf>>,
    /// `eab_kid`.
    pub eab_kid: Option<Located<String>>,
    /// `eab_key_file`.
    pub eab_key_file: Option<Located<PathBuf>>,
    /// `profile`.
    pub profile: Option<Located<String>>,
}

/// Kind of private key to order a certificate for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// ECDSA P-256.
    P256,
    /// ECDSA P-384.
    P384,
    /// RSA, 2048 bits.
    Rsa2048,
}

/// One `[[cert.<id>.export]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportSpec {
    /// `dir`: a real folder.
    pub dir: Located<PathBuf>,
    /// `cert`: file name of the full chain.
    pub cert: Located<String>,
    /// `key`: file name of the private key.
    pub key: Located<String>,
    /// `mode`, octal. Default 0600.
    pub mode: u32,
    /// `owner`: user name or number.
    pub owner: Option<Located<String>>,
    /// `group`: group name or number.
    pub group: Option<Located<String>>,
    /// `in_place = true`: written into the existing files (single-file mounts).
    pub in_place: bool,
    /// `command`: absolute path and arguments, no shell.
    pub command: Vec<Located<String>>,
    /// `probe`: `host:port` that should serve it.
    pub probe: Option<Located<String>>,
}

/// The keys that say where requests go: `[upstreams.<name>]`, or a route whose `to` is an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetSpec {
    /// `to`: one address, or several of one scheme; never none in the file. None at all is a container that is stopped:
    /// its requests wait (`hold`) or are told 503.
    pub to: Vec<Located<Endpoint>>,
    /// `balance`: which of several addresses a request goes to. Default round robin.
    pub balance: Balance,
    /// `tls_name`: name sent and verified. Default: the route's local name.
    pub tls_name: Option<Located<HostName>>,
    /// `verify = false`, `ca`, `pin`.
    pub verify: VerifySpec,
    /// `hold`: how long requests wait for an upstream that is away. Default: not at all.
    pub hold: Option<Located<Duration>>,
    /// `http2 = true`: HTTP/2 where an `https://` upstream offers it. `h2c://` is HTTP/2 without a word.
    pub http2: bool,
    /// `proxy_protocol`: the client is announced in a PROXY header of this version, each on a connection of its own.
    pub proxy_protocol: Option<ProxyVersion>,
    /// `via = false`: no Via header to this upstream.
    pub via: bool,
}

/// Which of an upstream's addresses a request goes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Balance {
    /// `"round-robin"`: one after the other.
    #[default]
    RoundRobin,
    /// `"least-requests"`: the one with the fewest requests in flight.
    LeastRequests,
    /// `"sticky"`: always the same for one client, by consistent hash of its believed address.
    Sticky,
}

/// Over which schemes a route is served. The file has no key for it: there, doors say so. Containers do (`HTTPS_METHOD`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Schemes {
    /// What the door does: https, with 308 from http.
    #[default]
    AsTheDoor,
    /// `noredirect`: http is served as well, without a redirect.
    Both,
    /// `nohttp`: the name does not exist on http.
    HttpsOnly,
    /// `nohttps`: the name does not exist on https; http is served.
    HttpOnly,
}

impl Schemes {
    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Schemes::AsTheDoor => "as the door says",
            Schemes::Both => "over http and https, without a redirect",
            Schemes::HttpsOnly => "over https alone",
            Schemes::HttpOnly => "over http alone",
        }
    }
}

/// How an https upstream's certificate is judged.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum VerifySpec {
    /// Against the system's roots.
    System,
    /// `ca`: against this PEM file.
    Ca(PathBuf),
    /// `pin`: SHA-256 of the certificate (DER).
    Pin([u8; 32]),
    /// `verify = false`.
    Off,
}

/// One `[upstreams.<name>]`, or `<name> = "<address>"` in `[upstreams]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamSpec {
    /// The key.
    pub name: Located<Arc<str>>,
    /// The rest.
    pub target: TargetSpec,
}

/// Who wrote a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// routes.toml.
    File,
    /// A container, by name.
    Container(Arc<str>),
}

/// One route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteSpec {
    /// Who wrote it.
    pub origin: Origin,
    /// The key: metric label and log label.
    pub name: Located<Arc<str>>,
    /// The name it answers for on doors without `names = "public"`.
    pub host: HostPattern,
    /// `public`: names on doors with `names = "public"`.
    pub public: Vec<Located<HostName>>,
    /// `to`; absent only where `paths` answer everything (then a path that none matches is 404).
    pub to: Option<ToSpec>,
    /// `allow`.
    pub allow: Option<AllowSpec>,
    /// Whether the door (else the file) must admit a client as well. The file has no key for it: there, a route's `allow`
    /// counts alone. A container may only narrow.
    pub is_within_door: bool,
    /// `limit` and `in_flight`.
    pub quota: QuotaSpec,
    /// `max_body` in bytes; absent: unlimited.
    pub max_body: Option<u64>,
    /// `idle`: silence allowed on either side. Default 10 min (WebSockets 1 h).
    pub idle: Option<Duration>,
    /// `hsts`: max-age. Absent: no header.
    pub hsts: Option<Duration>,
    /// `log_query = true`: query strings in the access log.
    pub log_query: bool,
    /// `headers`.
    pub headers: HeadersSpec,
    /// `paths`, in the order of the file.
    pub paths: Vec<PathSpec>,
    /// Over which schemes it is served.
    pub schemes: Schemes,
    /// The `[cert.<id>]` that is shown for it, of those that cover its name. The file has no key for it: there, the names
    /// of a certificate say so. A container may ask (`CERT_NAME`).
    pub cert: Option<Arc<str>>,
}

/// Where a route or path leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToSpec {
    /// A name from `[upstreams]`; that it exists was checked.
    Upstream(Located<Arc<str>>),
    /// An address written out, with the keys beside it.
    Address(TargetSpec),
}

/// `headers = { request = { set, remove }, response = { set, remove } }`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeadersSpec {
    /// Towards the upstream.
    pub request: HeaderEdits,
    /// Towards the client.
    pub response: HeaderEdits,
}

/// Edits of one direction: removed first, then set. Names and values are valid; framing, Host and Connection are refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeaderEdits {
    /// `set`.
    pub set: Vec<(http::HeaderName, http::HeaderValue)>,
    /// `remove`.
    pub remove: Vec<http::HeaderName>,
}

/// One line of `paths`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathSpec {
    /// The key.
    pub pattern: Located<PathPattern>,
    /// `allow`.
    pub allow: Option<AllowSpec>,
    /// `limit` and `in_flight`.
    pub quota: QuotaSpec,
    /// What happens there.
    pub action: ActionSpec,
}

/// What a path does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ActionSpec {
    /// Forward; `to` absent means the route's own.
    Forward {
        /// `to`.
        to: Option<ToSpec>,
        /// `replace`: what stands in place of the matched part towards the upstream; `strip = true` is the empty text.
        replace: Option<Arc<str>>,
    },
    /// `redirect` + `status` (301, 302, 303, 307, 308; default 302).
    Redirect {
        /// Location: a path or a URL.
        location: http::HeaderValue,
        /// Status.
        status: u16,
    },
    /// `json` or `text` (+ `status`, default 200; `cors`).
    Answer {
        /// Whether `json` (checked to be valid JSON) or `text`.
        json: bool,
        /// The body.
        body: Arc<str>,
        /// Status.
        status: u16,
        /// `cors = true`: readable from any web page.
        cors: bool,
    },
}

/// One `[[expect]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpectSpec {
    /// 1-based line of the table.
    pub line: u32,
    /// The table's place.
    pub span: Span,
    /// `from`: a network name or an address; absent: an address in no network.
    pub from: Option<Located<FromSpec>>,
    /// `via`: a door; absent: every door that knows the name.
    pub via: Option<Located<Arc<str>>>,
    /// `url`: scheme, host and path.
    pub url: Located<UrlSpec>,
    /// `method`. Default GET.
    pub method: http::Method,
    /// `is`.
    pub is: Located<ExpectedSpec>,
}

/// Who asks in an expectation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromSpec {
    /// A network of the file (or `anyone`: an address in no network).
    Network(Arc<str>),
    /// One address.
    Address(std::net::IpAddr),
}

/// What an expectation asks for: an absolute URL in its parts, in which a `*` stands for all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UrlSpec {
    /// Whether `https`.
    pub https: bool,
    /// Host. `*.name` and `*`: every name of the file that fits, and one that it does not have.
    pub host: HostPattern,
    /// Path, with query if written; at least `/`. What stands before the `/*` if `below`; may be empty then.
    pub path: String,
    /// Whether every path below is asked for too.
    pub below: bool,
}

impl std::fmt::Display for UrlSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UrlSpec { https, host, path, below } = self;
        let (scheme, star) = (if *https { "https" } else { "http" }, if *below { "/*" } else { "" });
        write!(f, "{scheme}://{host}{path}{star}")
    }
}

/// What an expectation says must happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExpectedSpec {
    /// `denied`.
    Denied,
    /// `unknown host`.
    UnknownHost,
    /// `redirect`.
    Redirect,
    /// `answer`: json or text from the file.
    Answer,
    /// Forwarded to this upstream: a name from `[upstreams]`, or a route whose `to` is an address.
    Upstream(Arc<str>),
}

/// `[metrics]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetricsSpec {
    /// `listen`.
    pub listen: Located<SocketAddr>,
    /// `allow`; absent: the file's.
    pub allow: Option<AllowSpec>,
}

/// `[log]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSpec {
    /// `access`: `"json"`, `"text"` (default) or `"off"`.
    pub access: AccessFormat,
}

/// `[drain]`: how long what is going away may finish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainSpec {
    /// `stop`: at shutdown. Default 30 s.
    pub stop: Duration,
    /// `route`: of a vanished route, or a client no longer admitted. Default 10 min.
    pub route: Duration,
    /// `upgrade`: at a hand-over. Default 1 h.
    pub upgrade: Duration,
}

/// `[limits]`: why each default is what it is stands in docs/defaults.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitsSpec {
    /// `connections`: open connections of clients in all, from 16. Absent: by descriptors and memory.
    pub connections: Option<u32>,
    /// `connections_per_client`: of one address (one /64 under IPv6). Loopback and `trust`ed peers are not limited so: behind
    /// them it limits the requests in flight of each believed client.
    pub connections_per_client: u32,
    /// `requests`: in flight in all, from 16. Absent: by descriptors and memory.
    pub requests: Option<u32>,
    /// `memory`: bytes resident from which on nothing more is taken on. Absent: half of the machine's.
    pub memory: Option<u64>,
    /// `head`: bytes of a request's head.
    pub head: u32,
    /// `fields` of a request's head.
    pub fields: u32,
    /// `head_time`: from the first byte of a head to its last.
    pub head_time: Duration,
    /// `idle`: a connection without a request.
    pub idle: Duration,
    /// `streams`: concurrent streams of one HTTP/2 connection.
    pub streams: u32,
}

/// `[docker]`: containers that name their own routes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DockerSpec {
    /// `socket`: a path, or `tcp://host:port`. Default `/var/run/docker.sock`.
    pub socket: Located<String>,
    /// `ca`: PEM of the root that the engine's certificate chains to. It, or `cert` and `key`, make TLS of `tcp://`.
    pub ca: Option<Located<PathBuf>>,
    /// `cert`: PEM of the certificate that we show to the engine; never without `key`.
    pub cert: Option<Located<PathBuf>>,
    /// `key`: PEM of its private key.
    pub key: Option<Located<PathBuf>>,
    /// `speak`: `"nginx-proxy"` and/or `"doorward"`; a string or a list. Default both.
    pub speak: Vec<Located<String>>,
    /// `health`: `"wait"` (default) or `"ignore"`.
    pub health_wait: bool,
    /// `networks`: Docker networks to consider. Absent: all.
    pub networks: Vec<Located<String>>,
    /// `hold`: for containers that say nothing themselves. Default: not at all.
    pub hold: Option<Located<Duration>>,
    /// `allow`: the widest that a container may admit.
    pub allow: Option<AllowSpec>,
    /// `public = true`: containers may claim public names.
    pub public: bool,
    /// `default_host`: the name (short or full) whose container answers for every name that nobody has.
    pub default_host: Option<Located<HostName>>,
}

/// `[mail]`: who is told when something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailSpec {
    /// `relay`: `host:port`.
    pub relay: Located<String>,
    /// `from`.
    pub from: Located<String>,
    /// `to`.
    pub to: Vec<Located<String>>,
    /// `on`: `certificate`, `reload refused`, `upstream down <duration>`; empty where not written.
    pub on: Vec<Located<String>>,
    /// `quiet`: when nothing is sent.
    pub quiet: Vec<Located<QuietHours>>,
}

impl MailSpec {
    /// Whether two tables mean the same, wherever they stand.
    pub fn says_the_same(&self, other: &MailSpec) -> bool {
        fn same<T: PartialEq>(a: &[Located<T>], b: &[Located<T>]) -> bool {
            a.iter().map(|one| &one.value).eq(b.iter().map(|one| &one.value))
        }
        let MailSpec { relay, from, to, on, quiet } = self;
        let is_same = relay.value == other.relay.value && from.value == other.from.value;
        is_same && same(to, &other.to) && same(on, &other.on) && same(quiet, &other.quiet)
    }
}
