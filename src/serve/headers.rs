//! Header fields between two connections: what concerns one connection only stays behind (RFC 9110 §7.6.1), what says who
//! asked is ours to say.

use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};

use super::seen::{Seen, X_DOORWARD_ERROR, is_forwarding, is_hop_by_hop};
use crate::snapshot::Edits;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What is set on a request on its way to the upstream.
pub struct Outgoing<'a> {
    /// The Host to send: where the client sent one, that.
    pub host: HeaderValue,
    /// Who asked, if anybody is believed.
    pub client: Option<HeaderValue>,
    /// Whether the client spoke https to the outermost door.
    pub is_https: bool,
    /// The Via field to add, if the upstream is sent one.
    pub via: Option<&'a HeaderValue>,
    /// Whether this is a WebSocket handshake: the only upgrade that is passed on.
    pub is_websocket: bool,
    /// Whether the client waits to be asked for its body, by this upstream.
    pub is_expected: bool,
    /// Whether a body follows whose length is not known.
    pub is_chunked: bool,
    /// The client's protocol.
    pub version: Version,
}

/// Turns a client's request fields into those for the upstream, in place. `seen`: in them.
pub fn to_upstream(headers: &mut HeaderMap, seen: Seen, outgoing: Outgoing<'_>, edits: &Edits) {
    clean(headers, seen, &outgoing);
    say(&outgoing, |name, value| set(headers, name.clone(), value.clone()));
    if !seen.has(Seen::HOST) {
        headers.insert(header::HOST, outgoing.host);
    }
    apply(headers, edits);
}

/// What is said of a client, field by field.
fn say(outgoing: &Outgoing<'_>, mut each: impl FnMut(&HeaderName, &HeaderValue)) {
    let Outgoing { host, client, is_https, via, .. } = outgoing;
    if let Some(client) = client {
        each(&X_REAL_IP, client);
        each(&X_FORWARDED_FOR, client);
    }
    each(&X_FORWARDED_PROTO, &HeaderValue::from_static(if *is_https { "https" } else { "http" }));
    each(&X_FORWARDED_HOST, host);
    if let Some(via) = via {
        each(&header::VIA, via);
    }
}

/// Sets one of these. Via, of which there may be one already, is a list.
fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if name == header::VIA {
        headers.append(name, value);
    } else {
        headers.insert(name, value);
    }
}

/// The same, but for what is said of the client: that stands in a text of its own ([`Forwarding`]).
pub fn clean(headers: &mut HeaderMap, seen: Seen, outgoing: &Outgoing<'_>) {
    let wants_trailers = seen.has(Seen::TE) && headers.get(header::TE).is_some_and(|te| lists(te, "trailers"));
    if seen.has(Seen::CONNECTION) {
        remove_nominated(headers);
    }
    if seen.has(Seen::HOP_BY_HOP.or(Seen::EXPECT).or(Seen::FORWARDING)) {
        remove_all(headers, |name| is_hop_by_hop(name) || *name == header::EXPECT || is_forwarding(name.as_str()));
    }
    if outgoing.is_expected {
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    if outgoing.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    if outgoing.is_websocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if outgoing.is_chunked {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// What is said of a client in every request of its connection, written once for all of them.
pub struct Forwarding {
    /// A copy: as the client wrote it, it would keep the whole head of its request.
    host: Box<[u8]>,
    client: Option<HeaderValue>,
    is_https: bool,
    via: Option<HeaderValue>,
    text: Rc<[u8]>,
}

impl Forwarding {
    /// As these fields say it.
    pub fn new(outgoing: &Outgoing<'_>) -> Forwarding {
        let mut text = Vec::with_capacity(192);
        say(outgoing, |name, value| {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                text.extend_from_slice(part);
            }
        });
        let Outgoing { host, client, is_https, via, .. } = outgoing;
        let (host, client, via) = (host.as_bytes().into(), client.clone(), via.cloned());
        Forwarding { host, client, is_https: *is_https, via, text: text.into() }
    }

    /// The text, with the end of each line, if it says that.
    pub fn text_for(&self, outgoing: &Outgoing<'_>) -> Option<Rc<[u8]>> {
        let Forwarding { host, client, is_https, via, text } = self;
        let is_it = **host == *outgoing.host.as_bytes()
            && *client == outgoing.client
            && *is_https == outgoing.is_https
            && via.as_ref() == outgoing.via;
        is_it.then(|| Rc::clone(text))
    }
}

/// Sets the fields of such a text.
pub fn set_forwarding(headers: &mut HeaderMap, text: &[u8]) {
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()))
        {
            set(headers, name, value);
        }
    }
}

/// Turns an upstream's answer fields into those for the client, in place. `seen`: in them.
pub fn to_client(headers: &mut HeaderMap, seen: Seen, hsts: Option<&HeaderValue>, edits: &Edits) {
    if seen.has(Seen::CODING) {
        // The coding decided how the body was read; a length beside it is a lie that must not go on (RFC 9112 §6.3).
        headers.remove(header::CONTENT_LENGTH);
    }
    if seen.has(Seen::CONNECTION) {
        remove_nominated(headers);
    }
    if seen.has(Seen::HOP_BY_HOP.or(Seen::OUR_ERROR)) {
        remove_all(headers, |name| is_hop_by_hop(name) || *name == X_DOORWARD_ERROR);
    }
    if let Some(hsts) = hsts {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    apply(headers, edits);
}

/// Whether an answer's body is coded in no other way than in chunks: any other transfer coding would reach the client
/// without the name that says how to undo it (RFC 9112 §6.1).
pub fn is_plainly_framed(headers: &HeaderMap, seen: Seen) -> bool {
    if !seen.has(Seen::CODING) {
        return true;
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Removes first, then sets.
pub fn apply(headers: &mut HeaderMap, edits: &Edits) {
    for name in &edits.remove {
        headers.remove(name);
    }
    for (name, value) in &edits.set {
        headers.insert(name, value.clone());
    }
}

/// Whether a request asks to become a WebSocket (RFC 6455 §4.1).
pub fn asks_for_websocket(method: &Method, version: Version, headers: &HeaderMap, seen: Seen) -> bool {
    seen.has(Seen::UPGRADE)
        && method == Method::GET
        && version == Version::HTTP_11
        && headers.get(header::UPGRADE).is_some_and(|upgrade| lists(upgrade, "websocket"))
        && headers.get_all(header::CONNECTION).iter().any(|connection| lists(connection, "upgrade"))
}

/// Whether a comma-separated field lists a token, whatever its case.
pub fn lists(value: &HeaderValue, token: &str) -> bool {
    value.as_bytes().split(|&b| b == b',').any(|part| {
        let part = part.split(|&b| b == b';').next().unwrap_or_default();
        part.trim_ascii().eq_ignore_ascii_case(token.as_bytes())
    })
}

/// Takes from a trailer section what must not stand there: what frames, routes or admits a message, or says how its body is
/// to be read, has its effect before the body or never (RFC 9110 §6.5.1).
pub fn clean_trailers(trailers: &mut HeaderMap) {
    remove_all(trailers, |name| is_hop_by_hop(name) || is_forwarding(name.as_str()) || is_for_heads_only(name));
}

fn is_for_heads_only(name: &HeaderName) -> bool {
    const ONLY: [HeaderName; 28] = [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::TRAILER,
        header::CONNECTION,
        header::HOST,
        header::AUTHORIZATION,
        header::WWW_AUTHENTICATE,
        header::COOKIE,
        header::SET_COOKIE,
        header::CACHE_CONTROL,
        header::EXPECT,
        header::MAX_FORWARDS,
        header::PRAGMA,
        header::RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
        header::AGE,
        header::DATE,
        header::EXPIRES,
        header::LOCATION,
        header::RETRY_AFTER,
        header::VARY,
        header::VIA,
    ];
    ONLY.contains(name) || *name == X_DOORWARD_ERROR
}

/// Removes Connection and what it names.
fn remove_nominated(headers: &mut HeaderMap) {
    if let http::header::Entry::Occupied(entry) = headers.entry(header::CONNECTION) {
        // It may stand in several lines; every one of them nominates.
        let (_, mut nominations) = entry.remove_entry_mult();
        let first = nominations.next();
        let others: Vec<HeaderValue> = nominations.collect();
        first.iter().chain(&others).for_each(|connection| remove_named_by(headers, connection));
    }
}

/// Removes every field that is meant.
fn remove_all(headers: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    let meant: Vec<HeaderName> = headers.keys().filter(|name| is_meant(name)).cloned().collect();
    for name in meant {
        headers.remove(name);
    }
}

/// What Connection names goes too, except what the message cannot do without: naming those would let a client take away
/// what the upstream frames, routes or trusts by.
fn remove_named_by(headers: &mut HeaderMap, connection: &HeaderValue) {
    for token in connection.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        // The usual one, whose field goes without being named.
        if token.eq_ignore_ascii_case(b"keep-alive") {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(token) else { continue };
        let is_kept =
            [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::COOKIE, header::AUTHORIZATION]
                .contains(&name)
                || name == header::CACHE_CONTROL;
        if !is_kept {
            headers.remove(name);
        }
    }
}

/// HTTP/2 may split Cookie into crumbs; HTTP/1.1 has one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_client_in_a_text_is_what_is_said_in_fields() {
        let via = HeaderValue::from_static("1.1 ours");
        let outgoing = |client: Option<&'static str>, is_https, via| Outgoing {
            host: HeaderValue::from_static("shop.test:8443"),
            client: client.map(HeaderValue::from_static),
            is_https,
            via,
            is_websocket: false,
            is_expected: false,
            is_chunked: false,
            version: Version::HTTP_11,
        };
        let came = || {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", "shop.test:8443"), ("via", "1.0 theirs"), ("x-forwarded-for", "192.0.2.6")] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            headers
        };
        let mut known: Option<Forwarding> = None;
        for client in [Some("192.0.2.1"), Some("2001:db8::1"), None] {
            for (is_https, via) in [(true, Some(&via)), (true, None), (false, Some(&via))] {
                let (mut in_fields, mut in_text) = (came(), came());
                let seen = Seen::of(&in_fields);
                to_upstream(&mut in_fields, seen, outgoing(client, is_https, via), &Edits::default());
                let outgoing = outgoing(client, is_https, via);
                clean(&mut in_text, seen, &outgoing);
                assert!(
                    known.as_ref().is_none_or(|known| known.text_for(&outgoing).is_none()),
                    "it says something else"
                );
                let text = known.insert(Forwarding::new(&outgoing)).text_for(&outgoing).unwrap();
                assert!(text.ends_with(b"\r\n"));
                set_forwarding(&mut in_text, &text);
                assert_eq!(in_text, in_fields);
            }
        }
    }
}
