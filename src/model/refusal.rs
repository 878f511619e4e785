//! Every answer that Doorward makes itself: one table from cause to status and words.
//! Nothing else in the house invents a status.

use std::fmt;

/// Why we answer ourselves instead of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// The request breaks HTTP's rules or could be read in two ways.
    BadRequest,
    /// The path could be read in two ways and access depends on it.
    BadPath,
    /// A method that is never forwarded (CONNECT, TRACE).
    MethodNotAllowed,
    /// The request head is larger than we read.
    HeadTooLarge,
    /// The request target alone is larger than we read of a head.
    TargetTooLong,
    /// The client is not in the `allow` that counts.
    AccessDenied,
    /// No route has this name on this door.
    NoRoute,
    /// The certificate served on this connection does not cover the name asked for (RFC 9110 §15.5.20).
    Misdirected,
    /// The body is larger than the route's `max_body`.
    BodyLimit,
    /// The client stopped sending its body, or sends it too slowly.
    BodyTimeout,
    /// Too many requests, from this client or on this route.
    RateLimit,
    /// As many requests are in flight as may be, or memory is short.
    Overload,
    /// The request came through us already (our own name in Via).
    Loop,
    /// The upstream's machine refused the connection.
    UpstreamRefused,
    /// No way to the upstream's machine.
    UpstreamUnreachable,
    /// The upstream did not accept a connection within 5 s.
    UpstreamConnectTimeout,
    /// The upstream's name does not resolve.
    UpstreamUnresolved,
    /// The TLS handshake with the upstream failed.
    UpstreamTls,
    /// The upstream's certificate does not verify.
    UpstreamCertificate,
    /// The upstream's certificate is not the pinned one.
    UpstreamPinMismatch,
    /// The upstream closed before it answered.
    UpstreamClosed,
    /// What the upstream answered is not HTTP.
    UpstreamBadResponse,
    /// The upstream was silent for `idle`.
    UpstreamTimeout,
    /// The upstream is away; its `hold` ended, or too many wait for it already.
    UpstreamHeld,
    /// The upstream has no address now: its container is stopped.
    UpstreamAbsent,
    /// A fault of our own.
    Internal,
}

/// What a stranger is told: one of four words, no names, no addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// You may not, or not like this.
    Denied,
    /// Nothing by that name.
    NotFound,
    /// Too much or too slow.
    Limit,
    /// Not now.
    Unavailable,
}

impl Refusal {
    /// Every refusal, for tables in tests, metrics and docs.
    pub const ALL: [Refusal; 26] = [
        Refusal::BadRequest,
        Refusal::BadPath,
        Refusal::MethodNotAllowed,
        Refusal::HeadTooLarge,
        Refusal::TargetTooLong,
        Refusal::AccessDenied,
        Refusal::NoRoute,
        Refusal::Misdirected,
        Refusal::BodyLimit,
        Refusal::BodyTimeout,
        Refusal::RateLimit,
        Refusal::Overload,
        Refusal::Loop,
        Refusal::UpstreamRefused,
        Refusal::UpstreamUnreachable,
        Refusal::UpstreamConnectTimeout,
        Refusal::UpstreamUnresolved,
        Refusal::UpstreamTls,
        Refusal::UpstreamCertificate,
        Refusal::UpstreamPinMismatch,
        Refusal::UpstreamClosed,
        Refusal::UpstreamBadResponse,
        Refusal::UpstreamTimeout,
        Refusal::UpstreamHeld,
        Refusal::UpstreamAbsent,
        Refusal::Internal,
    ];

    /// Status code, value of `x-doorward-error`, word for strangers, sentence for people: the table.
    #[expect(clippy::too_many_lines, reason = "a table: one row for each refusal, all in one place")]
    const fn row(self) -> (u16, &'static str, Shown, &'static str) {
        use Shown::{Denied, Limit, NotFound, Unavailable};
        match self {
            Refusal::BadRequest => {
                (400, "bad-request", Denied, "This request is not valid HTTP, or could be read in two ways.")
            }
            Refusal::BadPath => (
                400,
                "bad-path",
                Denied,
                "This path could be read in two ways, and who may see it depends on the reading.",
            ),
            Refusal::MethodNotAllowed => (405, "method-not-allowed", Denied, "This method is not forwarded."),
            Refusal::HeadTooLarge => {
                (431, "head-limit", Limit, "The head of this request is larger than is read here.")
            }
            Refusal::TargetTooLong => {
                (414, "target-limit", Limit, "The address asked for is longer than is read here.")
            }
            Refusal::AccessDenied => {
                (403, "access-denied", Denied, "Your address is not among those that may enter here.")
            }
            Refusal::NoRoute => (404, "no-route", NotFound, "No service has this name here."),
            Refusal::Misdirected => (
                421,
                "misdirected",
                NotFound,
                "The certificate of this connection does not cover this name; open it in a new connection.",
            ),
            Refusal::BodyLimit => (413, "body-limit", Limit, "This upload is larger than this service accepts."),
            Refusal::BodyTimeout => (408, "body-timeout", Limit, "The upload stopped, or was too slow."),
            Refusal::RateLimit => (429, "rate-limit", Limit, "Too many requests; try again in a moment."),
            Refusal::Overload => {
                (503, "overload", Unavailable, "The gateway has as much in hand as it may; try again in a moment.")
            }
            Refusal::Loop => (
                508,
                "loop",
                Unavailable,
                "This request came back to where it started: an upstream points at its own gateway.",
            ),
            Refusal::UpstreamRefused => (
                502,
                "upstream-refused",
                Unavailable,
                "The service behind this name does not accept connections; it may be restarting.",
            ),
            Refusal::UpstreamUnreachable => (
                502,
                "upstream-unreachable",
                Unavailable,
                "There is no way to the machine behind this name; it may be down.",
            ),
            Refusal::UpstreamConnectTimeout => (
                504,
                "upstream-connect-timeout",
                Unavailable,
                "The machine behind this name does not answer; it may be down.",
            ),
            Refusal::UpstreamUnresolved => (
                502,
                "upstream-unresolved",
                Unavailable,
                "The name of the machine behind this service is not known to DNS.",
            ),
            Refusal::UpstreamTls => (
                502,
                "upstream-tls",
                Unavailable,
                "The service behind this name could not agree on an encrypted connection.",
            ),
            Refusal::UpstreamCertificate => (
                502,
                "upstream-certificate",
                Unavailable,
                "The certificate of the service behind this name does not verify.",
            ),
            Refusal::UpstreamPinMismatch => (
                502,
                "tls-pin-mismatch",
                Unavailable,
                "The certificate of the service behind this name is not the pinned one.",
            ),
            Refusal::UpstreamClosed => (
                502,
                "upstream-closed",
                Unavailable,
                "The service behind this name closed the connection before it answered.",
            ),
            Refusal::UpstreamBadResponse => (
                502,
                "upstream-bad-response",
                Unavailable,
                "The service behind this name answered with something that is not HTTP.",
            ),
            Refusal::UpstreamTimeout => {
                (504, "upstream-timeout", Unavailable, "The service behind this name stayed silent for too long.")
            }
            Refusal::UpstreamHeld => (
                503,
                "upstream-away",
                Unavailable,
                "The service behind this name is away, probably restarting; try again in a moment.",
            ),
            Refusal::UpstreamAbsent => (
                503,
                "upstream-absent",
                Unavailable,
                "The service behind this name is not running now; try again in a moment.",
            ),
            Refusal::Internal => {
                (500, "internal", Unavailable, "The gateway made a mistake; the log has more under the id below.")
            }
        }
    }

    /// HTTP status code.
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The cause, as header `x-doorward-error`, log and metrics have it.
    pub const fn cause(self) -> &'static str {
        self.row().1
    }

    /// What a client in no named network is told.
    pub const fn shown(self) -> Shown {
        self.row().2
    }

    /// One sentence for the page.
    pub const fn sentence(self) -> &'static str {
        self.row().3
    }

    /// Whether the upstream, not the client, is at fault: worth a Retry-After.
    pub const fn is_upstream(self) -> bool {
        self.row().0 >= 502 && self.row().0 <= 504
    }
}

impl Shown {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Shown::Denied => "denied",
            Shown::NotFound => "not-found",
            Shown::Limit => "limit",
            Shown::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause())
    }
}
