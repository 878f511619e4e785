//! Paths are forwarded byte for byte; what is here only serves matching, on a copy.
//!
//! Two spellings that any server behind us might take for one are equal for matching: percent-encoding is decoded
//! once (`%2F` and `%5C` count as `/`), `\` is `/`, runs of `/` are one, `.` and `..` segments are resolved,
//! `;parameters` of a segment are ignored. Case is kept.

use std::borrow::Cow;

/// A path rule's key: `"/x"` matches exactly, `"/x/*"` matches `/x` and all below it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum PathPattern {
    /// This path only.
    Exact(Box<str>),
    /// This path (kept without its trailing slash; the root is the empty text) and everything below it.
    Below(Box<str>),
    /// Every path that begins with these letters, as nginx's `location /app` does: `/app` and `/apple` alike. Only
    /// containers write it.
    Starts(Box<str>),
}

/// The longest location that a container may write. Bytes.
const LONGEST: usize = 1024;

/// How specific a match was; greater wins: more bytes, then exact before below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PathMatch {
    length: usize,
    exact: bool,
}

impl PathPattern {
    /// Reads a key; `None` if it does not begin with `/`, holds `?` or `#`, a `*` anywhere but at its end, or is not
    /// written in the normal form that matching compares with.
    pub fn parse(text: &str) -> Option<PathPattern> {
        let (body, below) = match text.strip_suffix("/*") {
            Some(body) => (body, true),
            None => (text, false),
        };
        if !text.starts_with('/') || body.contains(['*', '?', '#']) || (!body.is_empty() && normalise(body) != body) {
            return None;
        }
        Some(if below { PathPattern::Below(body.into()) } else { PathPattern::Exact(body.into()) })
    }

    /// Reads a location as containers write it (`VIRTUAL_PATH`): `/app` is every path that begins so, `= /app` that path
    /// alone. `None` for what `parse` does not take either, and for regular expressions.
    pub fn parse_as_nginx(text: &str) -> Option<PathPattern> {
        let (text, is_exact) = match text.strip_prefix('=') {
            Some(rest) => (rest.trim_start(), true),
            None => (text, false),
        };
        let is_odd = |c: char| matches!(c, '*' | '?' | '#') || c.is_whitespace() || c.is_control();
        if !text.starts_with('/') || text.contains(is_odd) || text.len() > LONGEST || normalise(text) != text {
            return None;
        }
        Some(if is_exact { PathPattern::Exact(text.into()) } else { PathPattern::Starts(text.into()) })
    }

    /// Whether a path matches, and how specifically.
    pub fn matches(&self, path: &str) -> Option<PathMatch> {
        match self {
            PathPattern::Exact(whole) => (**whole == *path).then_some(PathMatch { length: whole.len(), exact: true }),
            PathPattern::Below(base) => {
                let rest = path.strip_prefix(&**base)?;
                (rest.is_empty() || rest.starts_with('/')).then_some(PathMatch { length: base.len(), exact: false })
            }
            PathPattern::Starts(base) => {
                path.starts_with(&**base).then_some(PathMatch { length: base.len(), exact: false })
            }
        }
    }

    /// The literal part: what `strip` takes away and `replace` replaces.
    pub fn base(&self) -> &str {
        match self {
            PathPattern::Exact(text) | PathPattern::Below(text) | PathPattern::Starts(text) => text,
        }
    }

    /// A path (with or without a query) with the literal part replaced; every other byte stays as it is. Where two
    /// slashes would meet, one is left. `None` if the path does not spell the literal part as the pattern does, and if
    /// what follows it directly would become a `..` segment that was none before (`/app../x` for `/app`).
    pub fn replaced(&self, path: &str, with: &str) -> Option<String> {
        let base = self.base();
        let rest = path.strip_prefix(base)?;
        let first = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if !first.is_empty() && !base.ends_with('/') {
            let is_below = !matches!(self, PathPattern::Starts(_));
            if is_below || climbs(first) {
                return None;
            }
        }
        let with = if rest.starts_with('/') { with.strip_suffix('/').unwrap_or(with) } else { with };
        let root = if with.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        Some(format!("{root}{with}{rest}"))
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathPattern::Exact(text) => f.write_str(text),
            PathPattern::Below(base) => write!(f, "{base}/*"),
            PathPattern::Starts(base) => write!(f, "{base}*"),
        }
    }
}

/// The form of a path that matching compares. Borrowed, without any work, for the paths that browsers send.
pub fn normalise(path: &str) -> Cow<'_, str> {
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    let decoded = decode_once(path);
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_open = false;
    for segment in decoded.split(|&b| b == b'/') {
        let name = segment.split(|&b| b == b';').next().unwrap_or_default();
        ends_open = matches!(name, b"" | b"." | b"..");
        match name {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let mut out = Vec::with_capacity(decoded.len());
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if ends_open || out.is_empty() {
        out.push(b'/');
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Whether some server might decode this path further than we do, or differently: a `%` that begins no byte, or that
/// stands where decoding once gives an encoded `.`, `/`, `\` or `%` again. On a route whose paths carry an `allow`, such a
/// path is refused rather than guessed at.
pub fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|&b| b == b'%') {
        at += found;
        match hex_pair(bytes, at + 1) {
            None => return true,
            // An encoded `%`: what follows is encoded twice if it reads like a dot, a slash, a backslash or a `%`.
            Some(b'%') => {
                let twice = bytes.get(at + 3..at + 5).map(<[u8]>::to_ascii_lowercase);
                if twice.is_some_and(|t| matches!(t.as_slice(), b"2e" | b"2f" | b"5c" | b"25")) {
                    return true;
                }
            }
            // Overlong UTF-8 forms of `.` and `/`, a NUL: nobody sends these by accident.
            Some(0xc0 | 0xc1 | 0) => return true,
            Some(_) => {}
        }
        at += 1;
    }
    false
}

fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let mut after_slash = false;
    for &b in bytes {
        match b {
            b'%' | b'\\' | b';' => return false,
            b'/' | b'.' if after_slash => return false,
            _ => after_slash = b == b'/',
        }
    }
    bytes.first() == Some(&b'/')
}

fn decode_once(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let (byte, width) = match (bytes[at], hex_pair(bytes, at + 1)) {
            (b'%', Some(byte)) => (byte, 3),
            (byte, _) => (byte, 1),
        };
        out.push(if byte == b'\\' { b'/' } else { byte });
        at += width;
    }
    out
}

/// Whether a segment, decoded, has a `..` of its own.
fn climbs(segment: &str) -> bool {
    decode_once(segment).split(|&b| b == b'/').any(|part| part.split(|&b| b == b';').next() == Some(b".."))
}

/// The byte that two hexadecimal digits are.
pub(super) fn hex_pair(bytes: &[u8], at: usize) -> Option<u8> {
    let pair = bytes.get(at..at + 2)?;
    let high = char::from(pair[0]).to_digit(16)?;
    let low = char::from(pair[1]).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::{PathPattern, normalise};

    fn replaced(pattern: &PathPattern, path: &str, with: &str) -> String {
        pattern.replaced(path, with).unwrap_or_else(|| "refused".to_owned())
    }

    #[test]
    fn a_location_is_every_path_that_begins_so_and_the_longest_wins() {
        let starts = PathPattern::parse_as_nginx("/app").unwrap();
        for (path, is_matched) in
            [("/app", true), ("/app/x", true), ("/apple", true), ("/ap", false), ("/x/app", false)]
        {
            assert_eq!(starts.matches(path).is_some(), is_matched, "{path}");
        }
        let longer = PathPattern::parse_as_nginx("/app/").unwrap();
        assert!(longer.matches("/app/x") > starts.matches("/app/x"));
        let exact = PathPattern::parse_as_nginx("= /app/x").unwrap();
        assert!(exact.matches("/app/x") > longer.matches("/app/x") && exact.matches("/app/xy").is_none());
        for wrong in ["app", "~ ^/app", "/a?b", "/a/../b", "/a//b", "/*", ""] {
            assert_eq!(PathPattern::parse_as_nginx(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_prefix_is_replaced_and_nothing_else() {
        let below = PathPattern::parse("/app/*").unwrap();
        for (path, with, sent) in [
            ("/app/x%2Fy?q=/app/", "", "/x%2Fy?q=/app/"),
            ("/app", "", "/"),
            ("/app?q", "", "/?q"),
            ("/app/x", "/new", "/new/x"),
            ("/app/x", "/new/", "/new/x"),
            ("/app", "/new", "/new"),
            ("/app?q", "/new", "/new?q"),
            ("/%61pp/x", "/new", "refused"),
        ] {
            assert_eq!(replaced(&below, path, with), sent, "{path} {with}");
        }
        let location = PathPattern::parse_as_nginx("/app/").unwrap();
        for (path, with, sent) in [("/app/x", "/", "/x"), ("/app/", "/", "/"), ("/app/x?q", "/api/", "/api/x?q")] {
            assert_eq!(replaced(&location, path, with), sent, "{path} {with}");
        }
        let bare = PathPattern::parse_as_nginx("/app").unwrap();
        for (path, with, sent) in [
            ("/app/x", "/", "/x"),
            ("/app", "/", "/"),
            ("/apple", "/", "/le"),
            ("/app../secret", "/api/", "refused"),
            ("/app%2e%2E/secret", "/api/", "refused"),
            ("/app..;a=b/secret", "/", "refused"),
        ] {
            assert_eq!(replaced(&bare, path, with), sent, "{path} {with}");
        }
        let root = PathPattern::parse_as_nginx("/").unwrap();
        assert_eq!(replaced(&root, "/x/y", "/base/"), "/base/x/y");
    }

    #[test]
    fn what_is_replaced_never_climbs_above_what_replaces_it() {
        for tail in ["..", "../x", "%2e%2e/x", "..%2fx", ".%2e", "..\\x"] {
            let bare = PathPattern::parse_as_nginx("/app").unwrap();
            if let Some(sent) = bare.replaced(&format!("/app{tail}"), "/api/") {
                assert!(normalise(&sent).starts_with("/api"), "{tail} became {sent}");
            }
        }
    }
}
