//! Snippets of nginx configuration, as people paste them into other programs: read as far as needed to tell what they do.
//! What is not known to be harmless counts as protection: a snippet is never guessed to be harmless.

use crate::model::{Endpoint, PathPattern};

/// Deeper blocks, or more directives, are not read.
const DEEPEST: usize = 8;
const MOST: usize = 2000;

/// One directive with its words and, where it has one, its block.
#[derive(Debug, PartialEq)]
pub(super) struct Directive {
    /// Its first word.
    pub(super) name: String,
    /// The others, unquoted.
    pub(super) words: Vec<String>,
    /// What stands between its braces.
    pub(super) block: Option<Vec<Directive>>,
}

/// What becomes of a snippet.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing that matters here, or nothing but paths that can be carried.
    Harmless(Vec<(PathPattern, Carried)>),
    /// This directive protects something, or may.
    Protects(String),
}

/// A path that a snippet gives a life of its own.
#[derive(Debug, PartialEq)]
pub(super) enum Carried {
    /// `return 301 …;`
    Redirect {
        /// A path or a URL.
        location: String,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// `proxy_pass …;`
    Forward(Endpoint),
}

/// Directives that admit nobody and turn nobody away. They shape headers, buffers and time limits, and have no counterpart
/// to be carried to, because here they are right by default or belong to the upstream.
const HARMLESS: &[&str] = &[
    "access_log",
    "add_header",
    "brotli",
    "brotli_comp_level",
    "brotli_types",
    "charset",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_body_timeout",
    "client_header_buffer_size",
    "client_header_timeout",
    "client_max_body_size",
    "error_log",
    "expires",
    "fastcgi_buffers",
    "fastcgi_hide_header",
    "gzip",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_min_length",
    "gzip_proxied",
    "gzip_types",
    "gzip_vary",
    "http2_push_preload",
    "keepalive_requests",
    "keepalive_timeout",
    "large_client_header_buffers",
    "log_not_found",
    "more_clear_headers",
    "more_set_headers",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_cache",
    "proxy_cache_bypass",
    "proxy_connect_timeout",
    "proxy_force_ranges",
    "proxy_hide_header",
    "proxy_http_version",
    "proxy_ignore_headers",
    "proxy_max_temp_file_size",
    "proxy_no_cache",
    "proxy_pass_header",
    "proxy_read_timeout",
    "proxy_redirect",
    "proxy_request_buffering",
    "proxy_send_timeout",
    "proxy_set_header",
    "proxy_socket_keepalive",
    "proxy_ssl_name",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "proxy_ssl_verify",
    "proxy_temp_file_write_size",
    "send_timeout",
    "sendfile",
    "server_tokens",
    "tcp_nodelay",
    "tcp_nopush",
    "types_hash_max_size",
    "underscores_in_headers",
];

/// What a snippet means for a route.
pub(super) fn meaning(text: &str) -> Meaning {
    let Some(directives) = read(text) else {
        return Meaning::Protects("a text that is not valid nginx configuration".to_owned());
    };
    let mut carried = Vec::new();
    for directive in &directives {
        if is_harmless(directive) {
            continue;
        }
        match location(directive) {
            Some(path) => carried.push(path),
            None => return Meaning::Protects(shown(directive)),
        }
    }
    Meaning::Harmless(carried)
}

/// Directives that stand outside of servers, define something, and turn nobody away by that.
const DEFINITIONS: [&str; 17] = [
    "geo",
    "limit_conn_zone",
    "limit_req_zone",
    "log_format",
    "map",
    "map_hash_bucket_size",
    "map_hash_max_size",
    "proxy_cache_path",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "real_ip_header",
    "real_ip_recursive",
    "resolver",
    "server",
    "server_names_hash_bucket_size",
    "set_real_ip_from",
    "upstream",
];

/// Fields of a request that a snippet may set and that matter to nobody's rights here: what is sent in them anyway (whoever
/// the client says it is), what describes a body or a wish, and what a program checks against its own name.
const PLAIN_FIELDS: [&str; 24] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "early-data",
    "expect",
    "forwarded",
    "front-end-https",
    "host",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "origin",
    "range",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-nginx-proxy",
    "x-real-ip",
];

/// Of those that begin with `x-forwarded-`, what says where a request came from; the others say who somebody is.
const PLAIN_FORWARDED: [&str; 8] = ["for", "host", "port", "prefix", "proto", "scheme", "server", "ssl"];

/// Whether a directive defines something outside of servers.
pub(super) fn is_definition(directive: &Directive) -> bool {
    DEFINITIONS.contains(&directive.name.as_str())
}

/// Whether a directive is known to admit nobody and turn nobody away.
pub(super) fn is_harmless(directive: &Directive) -> bool {
    let is_known = directive.block.is_none() && HARMLESS.contains(&directive.name.as_str());
    let first = || directive.words.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    is_known
        && match directive.name.as_str() {
            // Set or emptied, it took the place of what the client sent: without it a client could say who it is.
            "proxy_set_header" => is_plain_field(&first()),
            "proxy_hide_header" => {
                !["auth", "user", "token", "secret", "key", "cookie"].iter().any(|word| first().contains(word))
            }
            "proxy_ssl_verify" => first() == "off",
            _ => true,
        }
}

fn is_plain_field(name: &str) -> bool {
    let of_socket = name.starts_with("sec-websocket-");
    let forwarded = name.strip_prefix("x-forwarded-").is_some_and(|rest| PLAIN_FORWARDED.contains(&rest));
    PLAIN_FIELDS.contains(&name)
        || forwarded
        || of_socket
        || matches!(name, "x-scheme" | "x-url-scheme" | "x-client-ip")
}

/// `location [=|^~] /path { … }` with nothing inside but harmless things and one thing that can be carried.
fn location(directive: &Directive) -> Option<(PathPattern, Carried)> {
    let block = directive.block.as_deref().filter(|_| directive.name == "location")?;
    let pattern = pattern(&directive.words)?;
    let mut does = block.iter().filter(|inner| !is_harmless(inner));
    let only = does.next()?;
    if does.next().is_some() || only.block.is_some() {
        return None;
    }
    let carried = match (only.name.as_str(), only.words.as_slice()) {
        ("return", [status, place]) => {
            let status = status.parse().ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308))?;
            Carried::Redirect { location: place_of(place)?, status }
        }
        // With anything behind the port, nginx would rewrite the path.
        ("proxy_pass", [to]) if !to.ends_with('/') => Carried::Forward(Endpoint::parse(to).ok()?),
        _ => return None,
    };
    Some((pattern, carried))
}

/// The words of `location` as a path of ours; `None` for regular expressions and named locations.
pub(super) fn pattern(words: &[String]) -> Option<PathPattern> {
    match words {
        [exact, path] if exact == "=" => {
            PathPattern::parse(path).filter(|pattern| matches!(pattern, PathPattern::Exact(_)))
        }
        [prefix, path] if prefix == "^~" => below(path),
        [path] => below(path),
        _ => None,
    }
}

/// nginx compares texts: `/api` takes `/apiary` too. Nothing is lost by `/api/*`, which asks for whole segments.
pub(super) fn below(path: &str) -> Option<PathPattern> {
    let base = path.strip_suffix('/').unwrap_or(path);
    if !path.starts_with('/') || base.contains('*') {
        return None;
    }
    PathPattern::parse(&format!("{base}/*"))
}

/// Where a `return` leads, as far as it says so in words that need no nginx.
fn place_of(text: &str) -> Option<String> {
    let own = ["$scheme://$host", "$scheme://$http_host", "https://$host", "https://$http_host"];
    let place = own.iter().find_map(|own| text.strip_prefix(own)).unwrap_or(text);
    let is_place = place.starts_with('/') || place.starts_with("https://") || place.starts_with("http://");
    let is_plain = place.bytes().all(|b| b.is_ascii_graphic() && b != b'$' && b != b'"');
    (is_place && is_plain && !place.is_empty()).then(|| place.to_owned())
}

/// The beginning of a directive, for a sentence.
fn shown(directive: &Directive) -> String {
    let mut text = directive.name.clone();
    for word in directive.words.iter().take(3) {
        text.push(' ');
        text.push_str(word);
    }
    super::text::one_line(&text, 60)
}

/// Reads nginx's syntax: words end at spaces, `;`, `{` and `}`; quotes and `#` comments as everywhere. `None` for a text
/// that nginx would refuse.
pub(super) fn read(text: &str) -> Option<Vec<Directive>> {
    let mut reader = Reader { rest: text, count: 0 };
    let directives = reader.block(0)?;
    reader.rest.is_empty().then_some(directives)
}

struct Reader<'a> {
    rest: &'a str,
    count: usize,
}

impl Reader<'_> {
    fn block(&mut self, depth: usize) -> Option<Vec<Directive>> {
        let mut directives = Vec::new();
        let mut words: Vec<String> = Vec::new();
        loop {
            self.skip_blank();
            let Some(next) = self.rest.chars().next() else {
                return (depth == 0 && words.is_empty()).then_some(directives);
            };
            match next {
                '}' => return (depth > 0 && words.is_empty()).then_some(directives),
                ';' | '{' => {
                    self.rest = &self.rest[1..];
                    self.count += 1;
                    if words.is_empty() || self.count > MOST || depth >= DEEPEST {
                        return None;
                    }
                    let name = words.remove(0);
                    let block = if next == '{' { Some(self.inner(depth)?) } else { None };
                    directives.push(Directive { name, words: std::mem::take(&mut words), block });
                }
                _ => words.push(self.word()?),
            }
        }
    }

    fn inner(&mut self, depth: usize) -> Option<Vec<Directive>> {
        let block = self.block(depth + 1)?;
        self.rest = self.rest.strip_prefix('}')?;
        Some(block)
    }

    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix('#') else { return };
            self.rest = comment.find('\n').map_or("", |end| &comment[end..]);
        }
    }

    fn word(&mut self) -> Option<String> {
        let mut out = String::new();
        let quote = self.rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let mut chars = self.rest.char_indices().skip(usize::from(quote.is_some()));
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    out.push(c);
                    out.push(chars.next()?.1);
                }
                c if Some(c) == quote => {
                    self.rest = &self.rest[at + 1..];
                    return Some(out);
                }
                // `${name}` belongs to the word.
                '{' if quote.is_none() && out.ends_with('$') => out.push(c),
                '}' if quote.is_none() && out.rfind("${").is_some_and(|open| !out[open..].contains('}')) => out.push(c),
                c if quote.is_none() && (c.is_whitespace() || matches!(c, ';' | '{' | '}')) => {
                    self.rest = &self.rest[at..];
                    return Some(out);
                }
                c => out.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protects(text: &str) -> bool {
        matches!(meaning(text), Meaning::Protects(_))
    }

    #[test]
    fn headers_limits_and_comments_are_harmless() {
        let text =
            "# for uploads\nclient_max_body_size 0;\nproxy_set_header X-Real-IP \"a;b{c}\"; proxy_read_timeout 86400s;";
        assert_eq!(meaning(text), Meaning::Harmless(Vec::new()));
        assert_eq!(meaning(""), Meaning::Harmless(Vec::new()));
    }

    #[test]
    fn whatever_might_turn_somebody_away_protects() {
        for text in [
            "deny 10.0.0.0/8;",
            "allow 10.0.0.1; deny all;",
            "auth_basic \"x\"; auth_basic_user_file /data/x;",
            "auth_request /outpost;",
            "satisfy any;",
            "if ($http_x != y) { return 444; }",
            "location /admin { return 403; }",
            "location /admin { deny all; proxy_pass http://10.0.0.1:80; }",
            "location ~ ^/admin { return 301 /; }",
            "include /data/nginx/custom/x.conf;",
            "limit_req zone=a;",
            "return 403;",
            "rewrite ^/admin / last;",
            "ssl_verify_client on;",
            "proxy_set_header Authorization \"Basic x\";",
            "proxy_set_header Remote-Groups \"\";",
            "proxy_set_header X-Forwarded-Email $email;",
            "proxy_set_header X-WebAuth-User \"\";",
            "proxy_pass_request_headers off;",
            "proxy_ssl_verify on;",
            "unknown_thing on;",
            "DENY all;",
        ] {
            assert!(protects(text), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_protects() {
        for text in ["deny all", "location / {", "}", "{", "a \"b;", ";", "a {{{{{{{{{{ }}}}}}}}}}", "x\\"] {
            assert!(protects(text), "{text}");
        }
        assert!(protects(&"a { ".repeat(100_000)));
        assert!(protects(&"gzip on;".repeat(MOST + 1)));
    }

    #[test]
    fn redirects_and_plain_forwards_of_a_path_are_carried() {
        let text = "location = /.well-known/carddav { return 301 $scheme://$host/remote.php/dav; }\n\
                    location /api { proxy_pass http://10.0.0.5:3001; proxy_set_header Host $host; }";
        let Meaning::Harmless(carried) = meaning(text) else { panic!("{text}") };
        let redirect = Carried::Redirect { location: "/remote.php/dav".to_owned(), status: 301 };
        assert_eq!(carried[0], (PathPattern::parse("/.well-known/carddav").unwrap(), redirect));
        let forward = Carried::Forward(Endpoint::parse("http://10.0.0.5:3001").unwrap());
        assert_eq!(carried[1], (PathPattern::parse("/api/*").unwrap(), forward));
    }

    #[test]
    fn what_rewrites_the_path_is_not_carried() {
        assert!(protects("location /api/ { proxy_pass http://10.0.0.5:3001/; }"));
        assert!(protects("location /api { proxy_pass http://10.0.0.5:3001/v2; }"));
        assert!(protects("location = /a { return 301 https://$host$request_uri; }"));
    }

    #[test]
    fn variables_in_braces_are_part_of_a_word() {
        let read = read("set $a ${b}c; x { y; }").unwrap();
        assert_eq!(read[0].words, ["$a", "${b}c"]);
        assert_eq!(read[1].block.as_ref().unwrap()[0].name, "y");
    }
}
