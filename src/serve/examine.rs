//! What a request says of itself, before anything is decided: is it HTTP that can be read in one way only, which name does
//! it ask for, and who asks? Refuses rather than repairs.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

use super::seen::Seen;
use crate::model::{Authority, Client, Refusal};
use crate::snapshot::{Mode, Trust};

/// A refusal with its cause in words, for the log and for people at home.
pub type Refused = (Refusal, Cow<'static, str>);

/// The longest method that is forwarded; the longest registered one has 17 bytes.
const LONGEST_METHOD: usize = 32;

/// What says where a body ends, or concerns a single connection.
const FRAMING: Seen = Seen::LENGTH.or(Seen::CODING).or(Seen::CONNECTION).or(Seen::UPGRADE).or(Seen::KEEP_ALIVE);

/// What a request asks for.
#[derive(Debug)]
pub struct Examined {
    /// The name, lower case, no port; empty where HTTP/1.0 named none.
    pub host: String,
    /// The Host header to send on, as the client wrote it.
    pub host_header: Option<http::HeaderValue>,
}

/// Reads a request's head, in which this was seen.
pub fn examine(parts: &Parts, seen: Seen) -> Result<Examined, Refused> {
    check_method(parts)?;
    if seen.has(FRAMING) {
        check_framing(parts)?;
    }
    let written = authority_of(parts)?;
    let Some(written) = written else {
        return Ok(Examined { host: String::new(), host_header: None });
    };
    let text = written.to_str().map_err(|_| bad("the Host is not ASCII"))?;
    if text.contains('@') {
        return Err(bad("the Host carries user information"));
    }
    let authority = Authority::parse(text).map_err(|error| bad(format!("the Host is no name: {error}")))?;
    Ok(Examined { host: authority.host.into_owned(), host_header: Some(written) })
}

fn bad(why: impl Into<Cow<'static, str>>) -> Refused {
    (Refusal::BadRequest, why.into())
}

fn check_method(parts: &Parts) -> Result<(), Refused> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err((Refusal::MethodNotAllowed, "CONNECT and TRACE are never forwarded".into()));
    }
    if parts.method.as_str().len() > LONGEST_METHOD {
        return Err(bad("the method is longer than any"));
    }
    Ok(())
}

/// hyper leaves exactly one length of the body; what could still be read differently behind us is refused here.
fn check_framing(parts: &Parts) -> Result<(), Refused> {
    let headers = &parts.headers;
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    match codings.as_slice() {
        [] => {}
        _ if parts.version != Version::HTTP_11 => return Err(bad("Transfer-Encoding outside HTTP/1.1")),
        [one] if one.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Err(bad("a Transfer-Encoding that is not exactly `chunked` (RFC 9112 §6.1)")),
    }
    if !codings.is_empty() && headers.contains_key(header::CONTENT_LENGTH) {
        return Err(bad("both Transfer-Encoding and Content-Length (RFC 9112 §6.1)"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(length) = length
        && (lengths.next().is_some() || length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(bad("a Content-Length that is not one number (RFC 9112 §6.3)"));
    }
    // Nobody has so many bytes, and a server that counts with a sign would read a length of another size.
    let is_too_long = |length: &HeaderValue| length.to_str().is_ok_and(|digits| digits.parse::<i64>().is_err());
    if length.is_some_and(is_too_long) {
        return Err(bad("a Content-Length beyond 2^63 (RFC 9110 §8.6)"));
    }
    if parts.version == Version::HTTP_2 {
        let forbidden = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];
        if forbidden.iter().any(|name| headers.contains_key(name)) || headers.contains_key("keep-alive") {
            return Err(bad("connection headers in HTTP/2 (RFC 9113 §8.2.2)"));
        }
    }
    Ok(())
}

/// The authority: Host, and the target's where that has one; they must agree (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
fn authority_of(parts: &Parts) -> Result<Option<http::HeaderValue>, Refused> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("more than one Host (RFC 9112 §3.2)"));
    }
    check_target(parts)?;
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    match (host, target) {
        (Some(host), Some(target)) if !host.as_bytes().eq_ignore_ascii_case(target.as_bytes()) => {
            Err(bad("Host and the target's authority differ"))
        }
        (Some(host), _) => Ok(Some(host.clone())),
        (None, Some(target)) if parts.version != Version::HTTP_11 => {
            http::HeaderValue::from_str(target).map(Some).map_err(|_| bad("the authority is no Host"))
        }
        (None, None) if parts.version == Version::HTTP_10 => Ok(None),
        (None, _) if parts.version == Version::HTTP_11 => Err(bad("no Host (RFC 9112 §3.2)")),
        (None, _) => Err(bad("no `:authority` and no Host (RFC 9113 §8.3.1)")),
    }
}

fn check_target(parts: &Parts) -> Result<(), Refused> {
    let is_http = |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if parts.uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Err(bad("a target with a scheme that is not http"));
    }
    match parts.uri.path_and_query().map(|pq| pq.as_str()) {
        Some("*") if parts.method == Method::OPTIONS => Ok(()),
        Some(text) if text.starts_with('/') => Ok(()),
        // `http://host?query`: the path is empty, which is `/` (RFC 9112 §3.2.1).
        Some(text) if parts.version != Version::HTTP_2 && parts.uri.scheme().is_some() && text.starts_with('?') => {
            Ok(())
        }
        _ => Err(bad("a target that is no path (RFC 9112 §3.2)")),
    }
}

/// Who asks and how, as the door believes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Believed {
    /// The client.
    pub client: Client,
    /// Whether the client spoke https to the outermost door.
    pub is_https: bool,
}

/// Applies a door's `trust`.
pub fn believe(trust: &Trust, mode: Mode, peer: IpAddr, headers: &HeaderMap) -> Believed {
    let is_tls = mode == Mode::Tls;
    match trust {
        Trust::Nobody => Believed { client: Client::at(peer), is_https: is_tls },
        Trust::Cloudflared => {
            let client = if trust.believes(peer) { only_address(headers, "cf-connecting-ip") } else { Client::Unknown };
            Believed { client, is_https: true }
        }
        Trust::Peers(_) if trust.believes(peer) => Believed {
            client: forwarded_client(trust, peer, headers),
            is_https: forwarded_https(headers).unwrap_or(is_tls),
        },
        Trust::Peers(_) => Believed { client: Client::at(peer), is_https: is_tls },
    }
}

/// The address of a header that must be there exactly once and be an address.
fn only_address(headers: &HeaderMap, name: &str) -> Client {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            value.to_str().ok().and_then(|text| text.trim().parse().ok()).map_or(Client::Unknown, Client::at)
        }
        _ => Client::Unknown,
    }
}

/// The rightmost X-Forwarded-For entry that is not itself trusted. Without the header the peer speaks for itself; an entry
/// that is no address makes the client unknown, for whoever wrote it hides behind it.
fn forwarded_client(trust: &Trust, peer: IpAddr, headers: &HeaderMap) -> Client {
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    let mut client = Client::at(peer);
    for value in values.iter().rev() {
        let Ok(text) = value.to_str() else { return Client::Unknown };
        for entry in text.rsplit(',').map(str::trim) {
            let Some(address) = address_of(entry) else { return Client::Unknown };
            client = Client::at(address);
            if !trust.believes(address) {
                return client;
            }
        }
    }
    client
}

/// An entry of X-Forwarded-For: an address, in brackets or with a port as some write it.
fn address_of(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse() {
        return Some(address);
    }
    if let Ok(with_port) = entry.parse::<std::net::SocketAddr>() {
        return Some(with_port.ip());
    }
    entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6)
}

fn forwarded_https(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all("x-forwarded-proto").iter();
    match (values.next()?.as_bytes(), values.next()) {
        (b"https" | b"wss", None) => Some(true),
        (b"http" | b"ws", None) => Some(false),
        _ => None,
    }
}
