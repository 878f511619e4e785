//! The PROXY protocol's header, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who a connection is really from, said before
//! anything else on it. Bytes in, meaning out, and the other way round; believes nobody, that is the door's business.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// First bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// First bytes of version 1.
const WORD: &[u8] = b"PROXY ";

/// The longest header of version 1, line end included (§2.1).
const LONGEST_LINE: usize = 107;

/// Bytes of a version 2 header that are read, extensions included: what TLS terminators add stays far below.
const MOST: usize = 4096;

/// Which form of the header is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Who a connection is from, by its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    /// The gateway itself: a health check (`LOCAL`).
    Itself,
    /// Somebody whom the gateway does not name (`UNKNOWN`, `AF_UNSPEC`, Unix sockets, datagrams).
    Nobody,
    /// This client.
    Client(SocketAddr),
}

/// Why bytes are no PROXY header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// They begin like neither version.
    #[error("the connection does not begin with a PROXY header")]
    Absent,
    /// A version 1 line that does not follow the grammar.
    #[error("a PROXY line that cannot be read")]
    Line,
    /// A version, command or family that does not exist, or addresses shorter than their family.
    #[error("a binary PROXY header that cannot be read")]
    Binary,
    /// Longer than is read.
    #[error("a PROXY header longer than {MOST} bytes")]
    TooLong,
}

/// Reads the header at the beginning of `bytes`: what it says and how long it is; `None` while more bytes are needed. Never
/// needs more than 4,096.
pub fn read_proxy_header(bytes: &[u8]) -> Result<Option<(Announced, usize)>, ProxyHeaderError> {
    if begins(bytes, SIGNATURE) {
        return read_binary(bytes);
    }
    if begins(bytes, WORD) {
        return read_line(bytes);
    }
    Err(ProxyHeaderError::Absent)
}

/// Whether one begins like the other, as far as both go.
fn begins(bytes: &[u8], known: &[u8]) -> bool {
    let both = bytes.len().min(known.len());
    bytes[..both] == known[..both]
}

fn read_line(bytes: &[u8]) -> Result<Option<(Announced, usize)>, ProxyHeaderError> {
    let within = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_LINE { Ok(None) } else { Err(ProxyHeaderError::Line) };
    };
    let line = std::str::from_utf8(&within[WORD.len().min(end)..end]).map_err(|_| ProxyHeaderError::Line)?;
    let length = end + 2;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Some((Announced::Nobody, length)));
    }
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return Err(ProxyHeaderError::Line);
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let port = |text: &str| -> Option<u16> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        is_plain.then(|| text.parse().ok()).flatten()
    };
    match (address(source), address(destination), port(source_port), port(destination_port)) {
        (Some(source), Some(_), Some(port), Some(_)) => {
            Ok(Some((Announced::Client(SocketAddr::new(source, port)), length)))
        }
        _ => Err(ProxyHeaderError::Line),
    }
}

fn read_binary(bytes: &[u8]) -> Result<Option<(Announced, usize)>, ProxyHeaderError> {
    let Some((&[version_and_command, family, high, low], rest)) =
        bytes.get(SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk())
    else {
        return Ok(None);
    };
    let size = usize::from(u16::from_be_bytes([high, low]));
    let length = SIGNATURE.len() + 4 + size;
    if length > MOST {
        return Err(ProxyHeaderError::TooLong);
    }
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(ProxyHeaderError::Binary),
    };
    // Bytes that the family needs for its addresses; extensions may follow.
    let needed = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Err(ProxyHeaderError::Binary),
    };
    if family & 0xf > 2 || (!is_local && size < needed) {
        return Err(ProxyHeaderError::Binary);
    }
    let Some(addresses) = rest.get(..size) else { return Ok(None) };
    if is_local {
        return Ok(Some((Announced::Itself, length)));
    }
    let announced = match family {
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses else { return Err(ProxyHeaderError::Binary) };
            let source = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            Announced::Client(SocketAddr::new(source, u16::from_be_bytes([high, low])))
        }
        0x21 => {
            let (Some(source), Some(&[high, low])) = (addresses.first_chunk::<16>(), addresses.get(32..34)) else {
                return Err(ProxyHeaderError::Binary);
            };
            let source = IpAddr::V6(Ipv6Addr::from(*source));
            Announced::Client(SocketAddr::new(source, u16::from_be_bytes([high, low])))
        }
        _ => Announced::Nobody,
    };
    Ok(Some((announced, length)))
}

/// The header that announces a client to an upstream; `None`: one that nobody here can name. An address of either family is
/// written in the other's notation where the two ends differ.
pub fn write_proxy_header(version: ProxyVersion, source: Option<SocketAddr>, destination: SocketAddr) -> Vec<u8> {
    let ends = source.map(|source| (source.ip().to_canonical(), destination.ip().to_canonical(), source.port()));
    match (version, ends) {
        (ProxyVersion::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyVersion::V1, Some((source, to, port))) => {
            let mut line = String::with_capacity(LONGEST_LINE);
            let _ = match (source, to) {
                (IpAddr::V4(source), IpAddr::V4(to)) => write!(line, "PROXY TCP4 {source} {to}"),
                (source, to) => write!(line, "PROXY TCP6 {} {}", as_v6(source), as_v6(to)),
            };
            let _ = write!(line, " {port} {}\r\n", destination.port());
            line.into_bytes()
        }
        (ProxyVersion::V2, None) => binary(0x21, 0x00, &[]),
        (ProxyVersion::V2, Some((source, to, port))) => {
            let ports = [port.to_be_bytes(), destination.port().to_be_bytes()].concat();
            match (source, to) {
                (IpAddr::V4(source), IpAddr::V4(to)) => {
                    binary(0x21, 0x11, &[&source.octets()[..], &to.octets()[..], &ports].concat())
                }
                (source, to) => {
                    binary(0x21, 0x21, &[&as_v6(source).octets()[..], &as_v6(to).octets()[..], &ports].concat())
                }
            }
        }
    }
}

/// The header of a connection that is our own, for nobody: a look whether the upstream is there.
pub fn write_own_proxy_header(version: ProxyVersion) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        ProxyVersion::V2 => binary(0x20, 0x00, &[]),
    }
}

fn binary(version_and_command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let size = u16::try_from(addresses.len()).unwrap_or(0);
    [&SIGNATURE[..], &[version_and_command, family], &size.to_be_bytes(), addresses].concat()
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests;
