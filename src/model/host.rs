//! Host names and patterns: parsed once, never wrong afterwards.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::HostRegex;

/// A DNS name: lower case, without trailing dot, at most 253 bytes of `a-z 0-9 - _` labels.
/// Underscores are not for host names (RFC 952) but exist in homes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Arc<str>);

/// Why a text is not a host name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Longer than DNS allows.
    #[error("it is longer than 253 bytes")]
    TooLong,
    /// A label is empty, too long, or begins or ends with `-`.
    #[error("each part between dots has 1 to 63 letters and does not begin or end with `-`")]
    Label,
    /// A byte that no name has.
    #[error("only letters, digits, `-`, `_` and dots are allowed")]
    Character,
    /// A regular expression that we do not run.
    #[error("it is no regular expression of the kind that runs here: no look-around, no back-references, not huge")]
    Regex,
    /// The port is no port.
    #[error("the port is not a number from 1 to 65535")]
    Port,
}

impl HostName {
    /// Reads a name; upper case becomes lower case, one trailing dot is dropped.
    pub fn parse(text: &str) -> Result<HostName, HostError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        check_name(text)?;
        Ok(HostName(text.to_ascii_lowercase().into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

/// In one pass over the bytes: each request asks.
fn check_name(text: &str) -> Result<(), HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if text.len() > 253 {
        return Err(HostError::TooLong);
    }
    let mut label = 0;
    let mut before = b'.';
    // The end of the name ends a label as a dot does.
    for byte in text.bytes().chain([b'.']) {
        match byte {
            b'.' if !(1..=63).contains(&label) || before == b'-' => return Err(HostError::Label),
            b'.' => label = 0,
            b'-' if label == 0 => return Err(HostError::Label),
            b'-' | b'_' => label += 1,
            byte if byte.is_ascii_alphanumeric() => label += 1,
            _ => return Err(HostError::Character),
        }
        before = byte;
    }
    Ok(())
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Which names a route answers for. Order of preference, which is nginx's: exact, then the longest wildcard, then the
/// longest trailing wildcard, then the first regular expression, then any.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// This name only.
    Exact(HostName),
    /// Every name below this one, at any depth (`*.dev.home` matches `a.dev.home` and `a.b.dev.home`).
    Wildcard(HostName),
    /// Every name that goes on behind this one (`www.shop.*` matches `www.shop.example` and `www.shop.co.uk`). Only
    /// containers write it.
    Trailing(HostName),
    /// Every name that a regular expression finds itself in. Only containers write it.
    Regex(HostRegex),
    /// Every name that nothing else claims: the route named `"*"`.
    Any,
}

impl HostPattern {
    /// Reads a name as containers write it (`VIRTUAL_HOST`, which nginx-proxy hands to nginx's `server_name`): `name`,
    /// `*.name`, `name.*` or `~regex`.
    pub fn parse_as_nginx(text: &str) -> Result<HostPattern, HostError> {
        if let Some(regex) = text.strip_prefix('~') {
            return HostRegex::parse(regex).map(HostPattern::Regex);
        }
        if let Some(head) = text.strip_suffix(".*") {
            return HostName::parse(head).map(HostPattern::Trailing);
        }
        match HostPattern::parse(text)? {
            HostPattern::Any => Err(HostError::Character),
            pattern => Ok(pattern),
        }
    }

    /// Reads `name`, `*.name` or `*`, as the file has them.
    pub fn parse(text: &str) -> Result<HostPattern, HostError> {
        match text.strip_prefix("*.") {
            _ if text == "*" => Ok(HostPattern::Any),
            Some(rest) => HostName::parse(rest).map(HostPattern::Wildcard),
            None => HostName::parse(text).map(HostPattern::Exact),
        }
    }

    /// Whether this pattern answers for a (lower-case) name.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            HostPattern::Exact(name) => name.as_str() == host,
            HostPattern::Wildcard(suffix) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
            }
            HostPattern::Trailing(head) => {
                host.strip_prefix(head.as_str()).is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
            }
            HostPattern::Regex(regex) => regex.matches(host),
            HostPattern::Any => true,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => name.fmt(f),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Trailing(head) => write!(f, "{head}.*"),
            HostPattern::Regex(regex) => write!(f, "~{regex}"),
            HostPattern::Any => f.write_str("*"),
        }
    }
}

/// `host[:port]` as it stands in a Host header or `:authority` (RFC 9110 §7.2, RFC 3986 §3.2), without user information.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// Lower case, no trailing dot; an IPv6 address keeps its brackets. Borrowed where the client wrote it so.
    pub host: Cow<'a, str>,
    /// The port, if written.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Reads an authority. An IP address is a valid host: nobody's route, but no fault either.
    pub fn parse(text: &'a str) -> Result<Authority<'a>, HostError> {
        let (host, port) = match text.bytes().rposition(|byte| byte == b':') {
            Some(at) if !text[at..].contains(']') => (&text[..at], Some(&text[at + 1..])),
            _ => (text, None),
        };
        let port = match port {
            None => None,
            // RFC 3986 §3.2.3 allows an empty port.
            Some("") => None,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse::<u16>().ok().filter(|&p| p > 0).ok_or(HostError::Port)?)
            }
            Some(_) => return Err(HostError::Port),
        };
        if let Some(inside) = host.strip_prefix('[') {
            let address = inside.strip_suffix(']').and_then(|a| a.parse::<Ipv6Addr>().ok());
            let address = address.ok_or(HostError::Character)?;
            return Ok(Authority { host: Cow::Owned(format!("[{address}]")), port });
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        check_name(host)?;
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        Ok(Authority { host, port })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_labels_of_letters_between_dots(
            text in "([a-zA-Z0-9_-]{0,4}[-.$é]?){0,6}|[ab.-]{55,70}|([a-z]{60,63}\\.?){3,6}"
        ) {
            let is_label = |label: &str| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            };
            let is_name = text.len() <= 253 && text.split('.').all(is_label);
            prop_assert_eq!(check_name(&text).is_ok(), is_name, "{}", text);
        }
    }
}
