//! Which of the fields that we act on stand in a head: one look at its names, instead of asking its map for each of them. Most
//! stand in few heads, and to hash a name that is not there costs as much as to look at several that are.

use http::header::{self, HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// No header of HTTP, but CGI-like servers make it `HTTP_PROXY`, which programs obey (CVE-2016-5385).
const PROXY: HeaderName = HeaderName::from_static("proxy");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// The header of our own answers; an upstream's is taken away, it would lie about who answered.
pub const X_DOORWARD_ERROR: HeaderName = HeaderName::from_static("x-doorward-error");

/// What was seen in a head. It stays true while fields are taken away; who adds one of these looks again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen(u16);

impl Seen {
    /// Host.
    pub const HOST: Seen = Seen(1);
    /// Content-Length.
    pub const LENGTH: Seen = Seen(1 << 1);
    /// Transfer-Encoding.
    pub const CODING: Seen = Seen(1 << 2);
    /// Connection.
    pub const CONNECTION: Seen = Seen(1 << 3);
    /// Upgrade.
    pub const UPGRADE: Seen = Seen(1 << 4);
    /// TE.
    pub const TE: Seen = Seen(1 << 5);
    /// Via.
    pub const VIA: Seen = Seen(1 << 6);
    /// Expect.
    pub const EXPECT: Seen = Seen(1 << 7);
    /// Accept.
    pub const ACCEPT: Seen = Seen(1 << 8);
    /// User-Agent.
    pub const USER_AGENT: Seen = Seen(1 << 9);
    /// Keep-Alive.
    pub const KEEP_ALIVE: Seen = Seen(1 << 10);
    /// One that concerns a single connection, but for Connection itself.
    pub const HOP_BY_HOP: Seen = Seen(1 << 11);
    /// One that says who asked.
    pub const FORWARDING: Seen = Seen(1 << 12);
    /// The one that says why we answered ourselves.
    pub const OUR_ERROR: Seen = Seen(1 << 13);

    /// Looks at a head.
    pub fn of(headers: &HeaderMap) -> Seen {
        headers.keys().fold(Seen::default(), |seen, name| Seen(seen.0 | Seen::in_name(name).0))
    }

    /// Whether any of these was seen.
    pub fn has(self, any: Seen) -> bool {
        self.0 & any.0 != 0
    }

    /// This or that.
    pub const fn or(self, other: Seen) -> Seen {
        Seen(self.0 | other.0)
    }

    fn in_name(name: &HeaderName) -> Seen {
        const HOP: Seen = Seen::HOP_BY_HOP;
        let text = name.as_str();
        let known = |field: &HeaderName, seen: Seen| if name == field { seen } else { Seen::default() };
        // By length first: most names need no more than that.
        let seen = match text.len() {
            2 => known(&header::TE, Seen::TE.or(HOP)),
            3 => known(&header::VIA, Seen::VIA),
            4 => known(&header::HOST, Seen::HOST),
            5 => known(&PROXY, HOP),
            6 => known(&header::EXPECT, Seen::EXPECT).or(known(&header::ACCEPT, Seen::ACCEPT)),
            7 => known(&header::UPGRADE, Seen::UPGRADE.or(HOP)),
            10 => known(&header::CONNECTION, Seen::CONNECTION)
                .or(known(&header::USER_AGENT, Seen::USER_AGENT))
                .or(known(&KEEP_ALIVE, Seen::KEEP_ALIVE.or(HOP))),
            14 => known(&header::CONTENT_LENGTH, Seen::LENGTH).or(known(&HTTP2_SETTINGS, HOP)),
            16 => known(&PROXY_CONNECTION, HOP).or(known(&X_DOORWARD_ERROR, Seen::OUR_ERROR)),
            17 => known(&header::TRANSFER_ENCODING, Seen::CODING.or(HOP)),
            18 => known(&header::PROXY_AUTHENTICATE, HOP),
            19 => known(&header::PROXY_AUTHORIZATION, HOP),
            _ => Seen::default(),
        };
        if is_forwarding(text) { seen.or(Seen::FORWARDING) } else { seen }
    }
}

/// Whether a field concerns a single connection (RFC 9110 §7.6.1), Connection itself left out: that one says more.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    Seen::in_name(name).has(Seen::HOP_BY_HOP)
}

/// Whether a field of an upstream's answer, in whatever letters, goes on to the client as it came: it concerns no single
/// connection, and is none of those that we set.
pub fn may_pass(name: &[u8]) -> bool {
    let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
    // By length first, as above.
    match name.len() {
        2 => !is(&header::TE),
        5 => !is(&PROXY),
        7 => !is(&header::UPGRADE),
        10 => !is(&header::CONNECTION) && !is(&KEEP_ALIVE),
        14 => !is(&HTTP2_SETTINGS),
        16 => !is(&PROXY_CONNECTION) && !is(&X_DOORWARD_ERROR),
        17 => !is(&header::TRANSFER_ENCODING),
        18 => !is(&header::PROXY_AUTHENTICATE),
        19 => !is(&header::PROXY_AUTHORIZATION),
        25 => !is(&header::STRICT_TRANSPORT_SECURITY),
        _ => true,
    }
}

/// Forwarding headers say who asked; only what this door believes is said, by us. The spellings with `_` are what servers
/// behind CGI-like interfaces cannot tell apart from the real ones.
pub fn is_forwarding(name: &str) -> bool {
    // By how they begin first: most names need no more than that.
    if !matches!(name.as_bytes(), [b'f', b'o', ..] | [b'x', b'-' | b'_', ..] | [b't', b'r', ..] | [b'c', b'f', ..]) {
        return false;
    }
    let is = |known: &str| name.len() == known.len() && begins(name, known);
    begins(name, "x-forwarded-")
        || is("x-forwarded")
        || is("forwarded")
        || is("x-real-ip")
        || is("x-client-ip")
        || is("true-client-ip")
        || is("cf-connecting-ip")
}

/// Whether a (lower-case) name begins so, `_` counting as `-`.
fn begins(name: &str, known: &str) -> bool {
    name.len() >= known.len() && name.bytes().zip(known.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn every_field_is_seen_and_no_other() {
        let is_seen = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_static("a=b"));
            headers.insert(name, HeaderValue::from_static("x"));
            Seen::of(&headers)
        };
        let hop = Seen::HOP_BY_HOP;
        for (name, seen) in [
            ("host", Seen::HOST),
            ("content-length", Seen::LENGTH),
            ("transfer-encoding", Seen::CODING.or(hop)),
            ("connection", Seen::CONNECTION),
            ("upgrade", Seen::UPGRADE.or(hop)),
            ("te", Seen::TE.or(hop)),
            ("via", Seen::VIA),
            ("expect", Seen::EXPECT),
            ("accept", Seen::ACCEPT),
            ("user-agent", Seen::USER_AGENT),
            ("keep-alive", Seen::KEEP_ALIVE.or(hop)),
            ("proxy", hop),
            ("proxy-connection", hop),
            ("proxy-authorization", hop),
            ("proxy-authenticate", hop),
            ("http2-settings", hop),
            ("x-forwarded-for", Seen::FORWARDING),
            ("x_real_ip", Seen::FORWARDING),
            ("cf-connecting-ip", Seen::FORWARDING),
            ("x-doorward-error", Seen::OUR_ERROR),
            ("ranges", Seen::default()),
            ("etag", Seen::default()),
            ("content-encoding", Seen::default()),
            ("accept-encoding", Seen::default()),
        ] {
            assert_eq!(is_seen(name), seen, "{name}");
        }
        assert_eq!(Seen::of(&HeaderMap::new()), Seen::default());
    }

    #[test]
    fn what_goes_on_as_it_came_is_what_nobody_takes_away_or_sets() {
        for name in ["server", "ETag", "date", "Content-Length", "via", "X-Forwarded-For", "content-security-policy"] {
            assert!(may_pass(name.as_bytes()), "{name}");
        }
        let hop = [
            "te",
            "proxy",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "transfer-encoding",
            "proxy-authenticate",
            "proxy-authorization",
            "http2-settings",
        ];
        for name in hop {
            assert!(is_hop_by_hop(&HeaderName::from_static(name)));
        }
        for name in hop.iter().chain(&["connection", "x-doorward-error", "strict-transport-security"]) {
            for name in [name.to_string(), name.to_ascii_uppercase()] {
                assert!(!may_pass(name.as_bytes()), "{name}");
            }
        }
    }
}
