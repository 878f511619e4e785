//! One upstream address as people write it: `http://192.168.8.86:3000`, `https://nas.home`, `h2c://10.0.0.5:50051`.

use std::fmt;
use std::net::IpAddr;

use super::{HostError, HostName};

/// How an upstream is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// Cleartext HTTP/1.1; port 80 unless written.
    Http,
    /// TLS: HTTP/1.1, or HTTP/2 where the upstream is to be spoken to so; port 443 unless written.
    Https,
    /// Cleartext HTTP/2 with prior knowledge (RFC 9113 §3.3); port 80 unless written.
    H2c,
}

impl Scheme {
    /// The port that the scheme implies.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        }
    }

    /// As written in a URL, without `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::H2c => "h2c",
        }
    }
}

/// Host part of an upstream address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EndpointHost {
    /// A literal address: no DNS involved.
    Ip(IpAddr),
    /// A name, resolved again and again by the control plane.
    Name(HostName),
}

/// Scheme, host and port of one upstream server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// How to speak.
    pub scheme: Scheme,
    /// Where.
    pub host: EndpointHost,
    /// TCP port, 1..=65535.
    pub port: u16,
}

/// Why a text is not an upstream address; says what is wrong, not where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EndpointError {
    /// No `://`.
    #[error("an address begins with `http://` or `https://`")]
    NoScheme,
    /// A scheme we do not speak.
    #[error("`{0}://` is not spoken; write `http://`, `https://` or `h2c://`")]
    Scheme(String),
    /// Something after the port.
    #[error("an address ends after the port; `{0}` is not part of it (paths are chosen with `paths`)")]
    Path(String),
    /// User or password.
    #[error("an address carries no user or password")]
    UserInfo,
    /// The port is no port.
    #[error("`{0}` is not a port (1 to 65535)")]
    Port(String),
    /// The host is no host.
    #[error("`{0}` is not a host: {1}")]
    Host(String, HostError),
}

impl Endpoint {
    /// Reads `scheme://host[:port]`, with nothing behind it but an optional single `/`.
    pub fn parse(text: &str) -> Result<Endpoint, EndpointError> {
        let (scheme, rest) = text.split_once("://").ok_or(EndpointError::NoScheme)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "h2c" => Scheme::H2c,
            other => return Err(EndpointError::Scheme(other.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(EndpointError::Path(rest[at..].to_owned()));
        }
        if rest.contains('@') {
            return Err(EndpointError::UserInfo);
        }
        let (host, port) = split_port(rest);
        let port = match port {
            None => scheme.default_port(),
            Some(text) => match text.parse() {
                Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => port,
                _ => return Err(EndpointError::Port(text.to_owned())),
            },
        };
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let host = match literal.parse::<IpAddr>() {
            Ok(address) => EndpointHost::Ip(address),
            Err(_) => {
                EndpointHost::Name(HostName::parse(host).map_err(|cause| EndpointError::Host(host.to_owned(), cause))?)
            }
        };
        Ok(Endpoint { scheme, host, port })
    }

    /// `host:port`, as a Host header or a log line has it; the port is left out where the scheme implies it.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            EndpointHost::Ip(IpAddr::V6(v6)) => format!("[{v6}]"),
            EndpointHost::Ip(v4) => v4.to_string(),
            EndpointHost::Name(name) => name.to_string(),
        };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    match text[after_bracket..].rfind(':') {
        Some(at) => (&text[..after_bracket + at], Some(&text[after_bracket + at + 1..])),
        None => (text, None),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}
