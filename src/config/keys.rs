//! Every table of the file and every key it knows, each once: the reader, its "did you mean", and whatever is generated
//! for editors and readers all take them from here.
//! Says nothing about how a value is read; that is the business of the section's own file.

/// One key of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// As written.
    pub name: &'static str,
    /// What it takes, in words that fit behind "takes".
    pub takes: &'static str,
    /// A value as it stands in a file.
    pub example: &'static str,
    /// One line for people.
    pub doc: &'static str,
}

/// One table of the file with keys of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table {
    /// How it is headed; `<…>` stands for a name of the user's.
    pub title: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Words people bring from elsewhere, and what to write here instead.
    pub hints: &'static [(&'static str, &'static str)],
}

const fn key(name: &'static str, takes: &'static str, example: &'static str, doc: &'static str) -> Key {
    Key { name, takes, example, doc }
}

const ALLOW_TAKES: &str = "a list of network names and addresses";
const LIMIT: Key = key("limit", "a rate, or \"off\"", "\"20/s\"", "requests of one client to one route; default off");
const IN_FLIGHT: Key = key("in_flight", "a whole number, or \"off\"", "20", "requests of one client to one route at a time; default off");
const LIMIT_HINTS: [(&str, &str); 3] = [
    ("rate_limit", "write `limit = \"20/s\"` on the route"),
    ("rate", "write `limit = \"20/s\"` on the route"),
    ("burst", "the window of `limit` is the burst: `limit = \"600/min\"` may come all at once"),
];
const SECRET: &str = "a secret is never in the file: put it into a file of its own and write `token_file = \"…\"`";

/// The file itself.
pub const FILE: Table = Table {
    title: "the file",
    keys: &[
        key("domain", "a domain name", "\"home.example\"", "what follows a short route name"),
        key("allow", ALLOW_TAKES, "[\"lan\"]", "who may enter where neither path, route nor door says so; absent: nobody"),
        LIMIT,
        IN_FLIGHT,
        key("networks", "a table of networks", "{ lan = [\"192.168.1.0/24\"] }", "names for blocks of addresses"),
        key("listen", "a table of doors", "{ lan = { https = \":443\" } }", "where connections are accepted"),
        key("cert", "a table of certificates", "{ home = { cert = \"a.crt\", key = \"a.key\" } }", "what is shown over TLS"),
        key("upstreams", "a table of upstreams", "{ nas = { to = \"http://10.0.0.2\" } }", "machines that routes share"),
        key("routes", "a table of routes", "{ photos = \"http://10.0.0.2:2342\" }", "names and where each leads"),
        key("expect", "tables headed `[[expect]]`", "[{ url = \"https://a.home.example/\", is = \"denied\" }]", "promises that every reload tests"),
        key("metrics", "a table", "{ listen = \":9180\" }", "where Prometheus asks"),
        key("log", "a table", "{ access = \"json\" }", "what is written about requests"),
        key("drain", "a table", "{ stop = \"30s\" }", "how long what goes away may finish"),
        key("limits", "a table", "{ connections_per_client = 512 }", "how much the process, a client, a connection may take"),
        key("docker", "a table", "{ socket = \"/var/run/docker.sock\" }", "containers that name their own routes"),
        key("mail", "a table", "{ relay = \"10.0.0.3:25\", from = \"a@home.example\", to = [\"b@home.example\"] }", "who is told when something is wrong"),
    ],
    hints: &[
        ("route", "it is called `[routes]`"),
        ("upstream", "it is called `[upstreams]`"),
        ("http", "doors are written `[listen.<name>]` with `http = …`"),
        ("https", "doors are written `[listen.<name>]` with `https = …`"),
        LIMIT_HINTS[0],
        LIMIT_HINTS[1],
        LIMIT_HINTS[2],
        ("admin", "there is nothing to configure: the admin socket lies in the state folder"),
    ],
};

/// One line of `[networks]`.
pub const NETWORK: Key = key("<name>", "a list of addresses and blocks", "[\"192.168.1.0/24\"]", "one network");

/// One entry of `[listen]`.
pub const DOOR_ENTRY: Key = key("<name>", "a table", "{ https = \":443\" }", "one door");
/// `[listen.<name>]`.
pub const DOOR: Table = Table {
    title: "[listen.<name>]",
    keys: &[
        key("https", "an address or a list of them", "\":443\"", "TLS, with HTTP/1.1 and HTTP/2"),
        key("http", "an address or a list of them", "\":80\"", "beside `https` it answers 308; alone it serves"),
        key("names", "the word \"public\"", "\"public\"", "only names written as `public = …` exist on this door"),
        key("trust", "\"cloudflared\" or a list of addresses and network names", "\"cloudflared\"", "whose word about the client is believed"),
        key("proxy_protocol", "true or false", "true", "true: those in `trust` say in a PROXY header whose connection it is"),
        key("peers", ALLOW_TAKES, "[\"lan\"]", "whose connections are accepted at all; absent: anyone's"),
        key("allow", ALLOW_TAKES, "[\"lan\"]", "who may enter here, for routes that say nothing themselves"),
        LIMIT,
        IN_FLIGHT,
    ],
    hints: &[
        ("listen", "write `https = \":443\"` or `http = \":80\"`"),
        ("port", "write the port into the address: `https = \":443\"`"),
        ("address", "write `https = \":443\"` or `http = \":80\"`"),
        ("cert", "certificates stand in `[cert.<id>]` and are chosen by the names they cover"),
        LIMIT_HINTS[0],
        LIMIT_HINTS[1],
        LIMIT_HINTS[2],
        ("tls", "write `https = \":443\"`; certificates stand in `[cert.<id>]`"),
    ],
};

/// One entry of `[cert]`.
pub const CERT_ENTRY: Key = key("<id>", "a table", "{ cert = \"home.crt\", key = \"home.key\" }", "one certificate");
/// `[cert.<id>]`.
pub const CERT: Table = Table {
    title: "[cert.<id>]",
    keys: &[
        key("cert", "a path", "\"home.crt\"", "PEM file with the full chain, leaf first"),
        key("key", "a path", "\"home.key\"", "PEM file with the private key"),
        key("names", "a list of names", "[\"home.example\", \"*.home.example\"]", "what to order a certificate for"),
        key("challenge", "\"dns-01\", \"http-01\" or \"tls-alpn-01\"", "\"dns-01\"", "how the CA is shown that the names are yours"),
        key("dns", "a provider's name or a table", "\"cloudflare\"", "who keeps the zone"),
        key("token_file", "a path", "\"/run/credentials/doorward.service/dns-token\"", "file with the DNS provider's token"),
        key("acme", "a CA's name or a table", "\"letsencrypt\"", "which CA issues"),
        key("email", "an e-mail address", "\"admin@home.example\"", "for the account at the CA"),
        key("renew", "\"auto\" or a number of days", "\"auto\"", "when to renew; auto asks the CA"),
        key("key_type", "\"p256\", \"p384\" or \"rsa2048\"", "\"p256\"", "kind of private key to order for"),
        key("export", "tables headed `[[cert.<id>.export]]`", "[{ dir = \"/srv/certs\", cert = \"a.crt\", key = \"a.key\" }]", "copies for other machines"),
    ],
    hints: &[
        ("token", SECRET),
        ("api_token", SECRET),
        ("domains", "it is called `names`"),
        ("ca", "the CA's own root belongs into `acme = { directory = \"…\", ca = \"…\" }`"),
        ("eab_kid", "it belongs into `acme = { directory = \"…\", eab_kid = \"…\", eab_key_file = \"…\" }`"),
        ("provider", "write `dns = \"…\"` or `dns = { provider = \"…\" }`"),
        ("propagation", "it belongs into `dns = { provider = \"…\", propagation = \"…\" }`"),
    ],
};

/// `dns = { … }` in `[cert.<id>]`.
pub const DNS: Table = Table {
    title: "`dns`",
    keys: &[
        key("provider", "a provider's name", "\"cloudflare\"", "`cloudflare`, `rfc2136`, `exec`, or one of many others"),
        key("token_file", "a path", "\"dns-token\"", "file with the provider's token"),
        key("api", "a URL", "\"https://api.dns.example\"", "another address of the provider's API"),
        key("zone", "a domain name", "\"home.example\"", "the zone, where it is not to be found through the API"),
        key("server", "`host:port`", "\"ns1.home.example:53\"", "the name server that takes updates (rfc2136)"),
        key("key", "the name of a TSIG key", "\"edge-key\"", "whose secret is in `key_file` (rfc2136)"),
        key("key_file", "a path", "\"tsig.key\"", "BIND key file, or the bare base64 secret (rfc2136)"),
        key("algorithm", "a TSIG algorithm", "\"hmac-sha256\"", "default hmac-sha256 (rfc2136)"),
        key("command", "a list: an absolute path and its arguments", "[\"/usr/local/bin/set-txt\"]", "a program of yours (exec)"),
        key("propagation", "a duration", "\"30s\"", "how long the zone's servers are watched for the record"),
    ],
    hints: &[("token", SECRET), ("api_token", SECRET), ("secret", "the secret of a TSIG key is never in the file: write `key_file = \"…\"`")],
};

/// `acme = { … }` in `[cert.<id>]`.
pub const ACME: Table = Table {
    title: "`acme`",
    keys: &[
        key("directory", "a CA's name or a URL", "\"https://localhost:14000/dir\"", "the CA's ACME directory"),
        key("ca", "a path", "\"pebble.crt\"", "PEM file with the root that the directory itself is verified against"),
        key("eab_kid", "a key id", "\"kid-1\"", "external account binding, as the CA gave it"),
        key("eab_key_file", "a path", "\"eab.key\"", "file with the key that belongs to `eab_kid`"),
        key("profile", "a profile's name", "\"shortlived\"", "which kind of certificate the CA should issue"),
    ],
    hints: &[("eab_key", "a secret is never in the file: put it into a file of its own and write `eab_key_file = \"…\"`"), ("url", "it is called `directory`")],
};

/// `[[cert.<id>.export]]`.
pub const EXPORT: Table = Table {
    title: "[[cert.<id>.export]]",
    keys: &[
        key("dir", "a path", "\"/srv/shared-certs\"", "the folder to write into"),
        key("cert", "a file name", "\"home.example.crt\"", "full chain"),
        key("key", "a file name", "\"home.example.key\"", "private key"),
        key("mode", "an octal mode in quotes", "\"0640\"", "rights of both files; default \"0600\""),
        key("owner", "a user", "\"root\"", "name or number"),
        key("group", "a group", "\"certs\"", "name or number"),
        key("in_place", "true or false", "true", "write into the existing files, for mounts of single files"),
        key("command", "a list: an absolute path and its arguments", "[\"/usr/bin/systemctl\", \"reload\", \"nginx\"]", "run after each export, without a shell"),
        key("probe", "`host:port`", "\"192.168.1.5:443\"", "where the new certificate should soon be served"),
    ],
    hints: &[("path", "it is called `dir`"), ("folder", "it is called `dir`"), ("reload", "it is called `command`, and takes a list")],
};

/// One entry of `[upstreams]`.
pub const UPSTREAM_ENTRY: Key = key("<name>", "an address, a list of them, or a table", "{ to = \"https://192.168.1.5\" }", "one upstream");

const BALANCE: Key = key("balance", "\"round-robin\", \"least-requests\" or \"sticky\"", "\"sticky\"", "which of several addresses a request goes to; default round-robin");
const TLS_NAME: Key = key("tls_name", "a name", "\"nas.home.example\"", "sent and verified in TLS; default: the route's local name");
const VERIFY: Key = key("verify", "true or false", "false", "false: any certificate is taken");
const CA: Key = key("ca", "a path", "\"nas-ca.crt\"", "PEM file with the root to verify against");
const PIN: Key = key("pin", "a fingerprint", "\"sha256:<64 hex digits>\"", "the one certificate that is taken");
const HOLD: Key = key("hold", "a duration", "\"45s\"", "how long requests wait while it restarts; default: not at all");
const HTTP2: Key = key("http2", "true or false", "true", "true: HTTP/2 where an `https://` upstream offers it; gRPC needs it");
const PROXY_PROTOCOL: Key = key("proxy_protocol", "\"v1\" or \"v2\"", "\"v2\"", "say in a PROXY header who the client is; default: not said");
const VIA: Key = key("via", "true or false", "false", "false: send no Via header");
const TARGET_HINTS: &[(&str, &str)] = &[
    ("url", "it is called `to`"),
    ("address", "it is called `to`"),
    ("host", "it is called `to`"),
    ("server", "it is called `to`"),
    ("port", "write the port into `to`: `to = \"http://192.168.1.5:3000\"`"),
    ("websocket", "there is nothing to switch on: WebSockets always work"),
    ("websockets", "there is nothing to switch on: WebSockets always work"),
    ("grpc", "write `http2 = true`, or `h2c://` in `to` where the server speaks cleartext"),
    ("h2", "it is called `http2`"),
    ("insecure", "write `pin = \"sha256:…\"`, or `verify = false`"),
    LIMIT_HINTS[0],
    LIMIT_HINTS[1],
    LIMIT_HINTS[2],
    ("limit", "it belongs to the route"),
    ("in_flight", "it belongs to the route"),
    ("timeout", "there is no limit on the whole; `idle` on the route limits silence"),
    ("set", "write `headers = { request = { set = { … } } }` or `response`"),
];

/// `[upstreams.<name>]`.
pub const UPSTREAM: Table = Table {
    title: "[upstreams.<name>]",
    keys: &[
        key("to", "an address or a list of them", "\"https://192.168.1.5\"", "scheme, host and port; nothing behind it"),
        BALANCE,
        TLS_NAME,
        VERIFY,
        CA,
        PIN,
        HOLD,
        HTTP2,
        PROXY_PROTOCOL,
        VIA,
    ],
    hints: TARGET_HINTS,
};

/// One entry of `[routes]`.
pub const ROUTE_ENTRY: Key = key("<name>", "an upstream's name, an address, a list of addresses, or a table", "\"http://192.168.1.5:3000\"", "one route");
/// `[routes.<name>]`.
pub const ROUTE: Table = Table {
    title: "[routes.<name>]",
    keys: &[
        key("to", "an upstream's name, an address, or a list of addresses", "\"http://192.168.1.5:3000\"", "where requests go"),
        key("public", "a full name or a list of them", "\"photos.example.com\"", "its names on doors with `names = \"public\"`"),
        key("allow", ALLOW_TAKES, "[\"lan\"]", "who may enter, whatever door and file say"),
        LIMIT,
        IN_FLIGHT,
        key("max_body", "a size", "\"50M\"", "largest upload; default: no limit"),
        key("idle", "a duration", "\"10m\"", "how long either side may be silent; default 10m, who reads nothing 60s, WebSockets 1h"),
        key("hsts", "a duration", "\"180d\"", "Strict-Transport-Security: max-age; default: not sent"),
        key("log_query", "true or false", "true", "keep query strings in the access log"),
        key("headers", "a table", "{ response = { remove = [\"Server\"] } }", "headers to set and to remove"),
        key("paths", "a table of paths", "{ \"/metrics\" = { allow = [\"monitoring\"] } }", "paths with rules of their own"),
        BALANCE,
        TLS_NAME,
        VERIFY,
        CA,
        PIN,
        HOLD,
        HTTP2,
        PROXY_PROTOCOL,
        VIA,
    ],
    hints: TARGET_HINTS,
};

/// `headers`.
pub const HEADERS: Table = Table {
    title: "`headers`",
    keys: &[
        key("request", "a table", "{ set = { \"X-Home\" = \"1\" } }", "towards the upstream"),
        key("response", "a table", "{ remove = [\"Server\"] }", "towards the client"),
    ],
    hints: &[
        ("set", "say in which direction: `headers = { request = { set = { … } } }` or `response`"),
        ("remove", "say in which direction: `headers = { request = { remove = [ … ] } }` or `response`"),
    ],
};
/// `request` or `response` of `headers`.
pub const HEADER_EDITS: Table = Table {
    title: "`headers`",
    keys: &[
        key("set", "a table of names and values", "{ \"X-Home\" = \"1\" }", "in place of what was there"),
        key("remove", "a list of names", "[\"Server\"]", "taken away before anything is set"),
    ],
    hints: &[("add", "it is called `set`, and replaces what was there")],
};
/// One entry of `set`.
pub const HEADER_VALUE: Key = key("<name>", "a text", "\"1\"", "one header");

/// One entry of `paths`.
pub const PATH_ENTRY: Key = key("<path>", "an upstream's name, an address, a list of addresses, or a table", "{ allow = [\"lan\"] }", "one path");
/// The value of one path.
pub const PATH: Table = Table {
    title: "`paths`",
    keys: &[
        key("to", "an upstream's name, an address, or a list of addresses", "\"http://192.168.1.5:3001\"", "default: the route's own"),
        key("strip", "true or false", "true", "take the matched part away before forwarding"),
        key("replace", "a path", "\"/api\"", "put this in place of the matched part before forwarding"),
        key("allow", ALLOW_TAKES, "[\"lan\"]", "who may enter here, whatever the route says"),
        LIMIT,
        IN_FLIGHT,
        key("redirect", "a path or a URL", "\"/remote.php/dav/\"", "answer with a redirect"),
        key("status", "a number", "301", "of a redirect (default 302) or an answer (default 200)"),
        key("json", "JSON in quotes", "'{\"ok\":true}'", "answer with this JSON"),
        key("text", "a text", "\"hello\"", "answer with this text"),
        key("cors", "true or false", "true", "the answer may be read from any web page"),
    ],
    hints: &[
        ("balance", "make an `[upstreams.<name>]` of the addresses and write it there"),
        ("hold", "make an `[upstreams.<name>]` of the address and write it there"),
        ("pin", "make an `[upstreams.<name>]` of the address and write it there"),
        ("verify", "make an `[upstreams.<name>]` of the address and write it there"),
        ("ca", "make an `[upstreams.<name>]` of the address and write it there"),
        ("http2", "make an `[upstreams.<name>]` of the address and write it there"),
        ("proxy_protocol", "make an `[upstreams.<name>]` of the address and write it there"),
        ("tls_name", "make an `[upstreams.<name>]` of the address and write it there"),
        ("via", "make an `[upstreams.<name>]` of the address and write it there"),
        ("max_body", "it belongs to the route as a whole"),
        ("idle", "it belongs to the route as a whole"),
        ("headers", "it belongs to the route as a whole"),
        LIMIT_HINTS[0],
        LIMIT_HINTS[1],
        LIMIT_HINTS[2],
        ("return", "write `text = \"…\"` or `json = '…'`, with `status = …`"),
    ],
};

/// `[[expect]]`.
pub const EXPECT: Table = Table {
    title: "[[expect]]",
    keys: &[
        key("from", "a network's name, an address, or `anyone`", "\"guest\"", "who asks: every address of it; default: whoever no line names"),
        key("via", "a door's name", "\"tunnel\"", "default: every door that knows the name"),
        key("url", "a URL", "\"https://photos.home.example/\"", "what is asked for; `https://*.home.example/*`: every name below, and every path"),
        key("method", "an HTTP method", "\"GET\"", "default GET"),
        key("is", "what must happen", "\"denied\"", "`denied`, `unknown host`, `redirect`, `answer`, or the upstream that answers"),
    ],
    hints: &[("to", "it is called `is`"), ("status", "write what must happen: `is = \"denied\"`"), ("host", "write `url = \"https://…/\"`")],
};

/// `[metrics]`.
pub const METRICS: Table = Table {
    title: "[metrics]",
    keys: &[
        key("listen", "an address", "\":9180\"", "/metrics, /healthz, /readyz"),
        key("allow", ALLOW_TAKES, "[\"monitoring\"]", "default: the file's"),
    ],
    hints: &[("http", "it is called `listen`"), ("port", "write `listen = \":9180\"`")],
};
/// `[log]`.
pub const LOG: Table = Table {
    title: "[log]",
    keys: &[key("access", "\"json\", \"text\" or \"off\"", "\"json\"", "one record per request; default text")],
    hints: &[("level", "it is set while running, not in the file"), ("format", "it is called `access`")],
};
/// `[drain]`.
pub const DRAIN: Table = Table {
    title: "[drain]",
    keys: &[
        key("stop", "a duration", "\"30s\"", "for requests in flight at shutdown; default 30s"),
        key("route", "a duration", "\"10m\"", "for tunnels of a route that vanished; default 10m"),
        key("upgrade", "a duration", "\"1h\"", "for what the old process still serves at a hand-over; default 1h"),
    ],
    hints: &[],
};
/// `[limits]`.
pub const LIMITS: Table = Table {
    title: "[limits]",
    keys: &[
        key("connections", "a whole number", "4000", "open connections in all; default: by descriptors and memory"),
        key("connections_per_client", "a whole number", "512", "of one address; behind a trusted peer, requests of one client"),
        key("requests", "a whole number", "4000", "requests in flight in all; default: by descriptors and memory"),
        key("memory", "a size", "\"512M\"", "from here on nothing more is taken on; default: half of the machine's"),
        key("head", "a size", "\"64K\"", "a request's head; default 64K"),
        key("fields", "a whole number", "200", "header fields of a request; default 200"),
        key("head_time", "a duration", "\"30s\"", "for a request's head to arrive; default 30s"),
        key("idle", "a duration", "\"60s\"", "how long a connection is kept without a request; default 60s"),
        key("streams", "a whole number", "128", "requests at a time on one HTTP/2 connection; default 128"),
    ],
    hints: &[
        ("limit", "it stands in a route, in a door or at the top of the file"),
        ("in_flight", "it stands in a route, in a door or at the top of the file"),
        ("headers", "it is called `fields`"),
        ("keep_alive", "it is called `idle`"),
        ("timeout", "there is no limit on the whole; `idle` on a route limits silence"),
        ("max_body", "it stands in a route"),
    ],
};
/// `[docker]`.
pub const DOCKER: Table = Table {
    title: "[docker]",
    keys: &[
        key("socket", "a path or `tcp://host:port`", "\"/var/run/docker.sock\"", "default /var/run/docker.sock"),
        key("ca", "a path", "\"docker-ca.pem\"", "PEM file with the root to verify a `tcp://` engine against; makes it TLS"),
        key("cert", "a path", "\"docker-cert.pem\"", "PEM file with the certificate to show to the engine"),
        key("key", "a path", "\"docker-key.pem\"", "PEM file with its private key"),
        key("speak", "\"nginx-proxy\", \"doorward\", or a list of both", "\"nginx-proxy\"", "whose labels and variables are understood"),
        key("health", "\"wait\" or \"ignore\"", "\"wait\"", "wait: no traffic before a HEALTHCHECK says so"),
        key("networks", "a list of Docker networks", "[\"home-net\"]", "where containers are reached; default: all"),
        key("hold", "a duration", "\"30s\"", "how long requests wait for a container that is away; default: not at all"),
        key("allow", ALLOW_TAKES, "[\"lan\"]", "the widest that a container may admit"),
        key("public", "true or false", "true", "containers may claim public names"),
        key("default_host", "a name", "\"photos\"", "the container with this name answers for every name that nobody has"),
    ],
    hints: &[("host", "it is called `socket`"), ("network", "it is called `networks`, and takes a list")],
};
/// `[mail]`.
pub const MAIL: Table = Table {
    title: "[mail]",
    keys: &[
        key("relay", "`host:port`", "\"192.168.1.9:25\"", "an SMTP server that takes mail from here"),
        key("from", "an e-mail address", "\"doorward@home.example\"", "who it says it is from"),
        key("to", "a list of e-mail addresses", "[\"admin@home.example\"]", "who is told"),
        key("quiet", "hours or a list of them", "\"Sat 06:50-08:00\"", "when nothing is sent, in UTC; what is over by then is never written of"),
        key("on", "a list of events", "[\"certificate\", \"upstream down 5m\"]", "what about: `certificate`, `reload refused`, `upstream down <duration>`"),
    ],
    hints: &[("password", "a secret is never in the file: use a relay that takes mail from this machine"), ("smtp", "it is called `relay`"), ("host", "it is called `relay`")],
};

impl Table {
    /// The key of this name.
    pub fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Every table with keys of its own, in the order in which they are explained.
pub const TABLES: &[&Table] = &[
    &FILE, &DOOR, &CERT, &DNS, &ACME, &EXPORT, &UPSTREAM, &ROUTE, &HEADERS, &HEADER_EDITS, &PATH, &EXPECT, &METRICS, &LOG,
    &DRAIN, &LIMITS, &DOCKER, &MAIL,
];
