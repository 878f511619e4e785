//! nginx-proxy's words, read as nginx-proxy reads them, and what to write instead where one is not carried.
//! Refuses nothing in silence: a word without effect here is a note that says why.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::address::default_port;
use super::inventory::Container;
use super::multiports;
use super::wishes::{Admitted, Place, Proto, Site, Terms, Wishes};
use crate::config::{Balance, Schemes};
use crate::model::{HostError, HostPattern, PathPattern};

/// What nginx-proxy puts before its labels.
const PREFIX: &str = "com.github.nginx-proxy.nginx-proxy.";

/// What Doorward puts before its own.
pub const OWN_PREFIX: &str = "doorward.";

/// Words that do something here.
const CARRIED: [&str; 10] = [
    "VIRTUAL_HOST",
    "VIRTUAL_PORT",
    "VIRTUAL_PATH",
    "VIRTUAL_DEST",
    "VIRTUAL_PROTO",
    "VIRTUAL_HOST_MULTIPORTS",
    "NETWORK_ACCESS",
    "HTTPS_METHOD",
    "HSTS",
    "CERT_NAME",
];

/// Words that need nothing here, or something else; and what to say about each.
const NOT_CARRIED: [(&str, &str); 21] = [
    ("VIRTUAL_ROOT", "belongs to FastCGI, which is not spoken; put a web server (Caddy, nginx) into the container"),
    ("EXTERNAL_HTTP_PORT", "the ports are the doors': write `[listen.<name>]` with `http = \":PORT\"`"),
    ("EXTERNAL_HTTPS_PORT", "the ports are the doors': write `[listen.<name>]` with `https = \":PORT\"`"),
    ("NON_GET_REDIRECT", "the redirect to https is always 308, which keeps the method"),
    ("SSL_POLICY", "there is one policy, TLS 1.2 and 1.3 as Mozilla's `intermediate`, and nothing to choose"),
    (
        "TRUST_DEFAULT_CERT",
        "there is no default certificate to trust: each name has one that covers it, or the local CA's",
    ),
    ("ENABLE_HTTP_ON_MISSING_CERT", "a name is never served without TLS because a certificate is missing"),
    ("ACME_HTTP_CHALLENGE_LOCATION", "Doorward answers challenges itself, before any route"),
    ("SERVER_TOKENS", "nothing is told about the server"),
    (
        "LETSENCRYPT_HOST",
        "certificates are ordered in the file: `[cert.<id>]` with `names`; a wildcard covers every container",
    ),
    (
        "ACME_HOST",
        "certificates are ordered in the file: `[cert.<id>]` with `names`; a wildcard covers every container",
    ),
    ("LETSENCRYPT_EMAIL", "write `email` into the `[cert.<id>]`"),
    ("ACME_EMAIL", "write `email` into the `[cert.<id>]`"),
    ("com.github.nginx-proxy.nginx-proxy.keepalive", "idle connections are always kept and reused"),
    ("com.github.nginx-proxy.nginx-proxy.http2.enable", "HTTP/2 is always offered to clients"),
    ("com.github.nginx-proxy.nginx-proxy.http3.enable", "HTTP/3 is not spoken to clients yet"),
    (
        "com.github.nginx-proxy.nginx-proxy.ssl_verify_client",
        "client certificates are not asked for; use `allow` and networks",
    ),
    (
        "com.github.nginx-proxy.nginx-proxy.non-get-redirect",
        "the redirect to https is always 308, which keeps the method",
    ),
    (
        "com.github.nginx-proxy.nginx-proxy.trust-default-cert",
        "each name has a certificate that covers it, or the local CA's",
    ),
    (
        "com.github.nginx-proxy.nginx-proxy.debug-endpoint",
        "`doorward docker` and `doorward routes` tell what is in force",
    ),
    ("com.github.nginx-proxy.nginx-proxy.sha1-upstream-name", "an upstream's name is the container's"),
];

/// Words that nginx-proxy reads from its own container, but people also write beside their services.
const PROXY_WIDE: [(&str, &str); 2] = [
    ("DEFAULT_HOST", "it is a setting of the proxy: write `default_host = \"…\"` into `[docker]`"),
    ("DEFAULT_ROOT", "a path that no container has is 404; write a route with `paths` for anything else"),
];

/// The label that chooses among several containers.
const LOADBALANCE: &str = "com.github.nginx-proxy.nginx-proxy.loadbalance";

/// The label for certificates of clients.
const CLIENT_CERTIFICATES: &str = "com.github.nginx-proxy.nginx-proxy.ssl_verify_client";

/// What `VIRTUAL_HOST` may lead to in the worst case: more names than this are a mistake.
const MOST_SITES: usize = 1000;

/// The same for paths, of all names together.
const MOST_PLACES: usize = 2000;

/// Private addresses: whom `NETWORK_ACCESS=internal` means.
const INTERNAL: [&str; 6] = ["127.0.0.0/8", "10.0.0.0/8", "192.168.0.0/16", "172.16.0.0/12", "::1/128", "fc00::/7"];

/// Whether a variable or label means anything to us; everything else of a container's environment is never kept.
pub fn knows(name: &str) -> bool {
    name.starts_with(OWN_PREFIX)
        || name.starts_with(PREFIX)
        || name.starts_with("VIRTUAL_")
        || CARRIED.contains(&name)
        || NOT_CARRIED.iter().chain(&PROXY_WIDE).any(|(word, _)| *word == name)
}

/// Whether a container says anything in this vocabulary that asks for a route.
pub fn is_spoken_by(container: &Container) -> bool {
    ["VIRTUAL_HOST", "VIRTUAL_HOST_MULTIPORTS"].iter().any(|word| container.setting(word).is_some())
}

/// What a container asks for.
///
/// # Errors
/// Why it cannot be routed at all, in words.
pub fn read(container: &Container) -> Result<Wishes, String> {
    let mut notes: Vec<String> = Vec::new();
    for (word, instead) in NOT_CARRIED.iter().chain(&PROXY_WIDE) {
        if container.setting(word).is_some() && !asks_for_client_certificates(container, word) {
            notes.push(format!("{word} has no effect: {instead}"));
        }
    }
    notes.extend(container.settings.keys().filter_map(|name| unknown(name)));
    let terms = terms(container, &mut notes);
    let sites = match container.setting("VIRTUAL_HOST_MULTIPORTS") {
        Some(text) => multiports::read(text, &mut notes)?,
        None => plain_sites(container, &mut notes)?,
    };
    if sites.is_empty() {
        return Err("VIRTUAL_HOST has no name in it".to_owned());
    }
    if sites.len() > MOST_SITES {
        return Err(format!("it asks for {} names; {MOST_SITES} are the most for one container", sites.len()));
    }
    let places: usize = sites.iter().map(|site| site.places.len()).sum();
    if places > MOST_PLACES {
        return Err(format!("it asks for {places} paths; {MOST_PLACES} are the most for one container"));
    }
    notes.extend(port_by_default(container, &sites));
    Ok(Wishes { sites, terms, notes })
}

/// Where no port is written, and the one that is taken is a guess.
fn port_by_default(container: &Container, sites: &[Site]) -> Option<String> {
    let places = || sites.iter().flat_map(|site| &site.places).filter(|place| place.port.is_none());
    let taken = default_port(container);
    let is_secure = |place: &Place| matches!(place.proto, Proto::Https | Proto::Grpcs);
    if taken == 80 && places().any(is_secure) {
        return Some("no port is written, and TLS goes to port 80: write VIRTUAL_PORT".to_owned());
    }
    let is_guess = container.exposed.len() > 1 && !container.exposed.contains(&taken);
    let exposed = || container.exposed.iter().take(5).map(u16::to_string).collect::<Vec<_>>().join(", ");
    (is_guess && places().next().is_some()).then(|| {
        format!(
            "no port is written, and it exposes several ({}), not {taken}, which is taken: write VIRTUAL_PORT",
            exposed()
        )
    })
}

/// Notes on a container that asks for nothing, but looks as if somebody had meant it to: a misspelt or an empty name.
pub fn stray(container: &Container) -> Vec<String> {
    let settings = || container.settings.keys().map(String::as_str);
    let mut notes: Vec<String> = settings().filter_map(unknown).collect();
    if settings().any(|name| name == "VIRTUAL_HOST") {
        notes.push("VIRTUAL_HOST is empty: no name leads here".to_owned());
    }
    let about_a_name = ["VIRTUAL_PORT", "VIRTUAL_PATH", "VIRTUAL_PROTO", "VIRTUAL_DEST"];
    let mut lonely = about_a_name.into_iter().filter(|word| container.setting(word).is_some());
    if notes.is_empty()
        && let Some(word) = lonely.next()
    {
        notes.push(format!("{word} has no effect: there is no VIRTUAL_HOST, the name that leads here"));
    }
    notes
}

/// A note on a word that looks like one of nginx-proxy's and is none: a misspelt one, or one of a newer version.
fn unknown(name: &str) -> Option<String> {
    let is_known = CARRIED.contains(&name)
        || name == LOADBALANCE
        || NOT_CARRIED.iter().chain(&PROXY_WIDE).any(|(word, _)| *word == name)
        || !(name.starts_with(PREFIX) || name.starts_with("VIRTUAL_"));
    if is_known {
        return None;
    }
    let words = CARRIED.iter().chain([&LOADBALANCE]).map(|word| (strsim::osa_distance(name, word), *word));
    let near = words.min().filter(|(distance, _)| *distance <= 3);
    let guess = near.map_or(String::new(), |(_, word)| format!("; did you mean {word}?"));
    Some(format!("{} has no effect: it is no word of nginx-proxy's that is known here{guess}", cut(name)))
}

fn plain_sites(container: &Container, notes: &mut Vec<String>) -> Result<Vec<Site>, String> {
    let port = container.setting("VIRTUAL_PORT").map(|text| read_port("VIRTUAL_PORT", text)).transpose()?;
    let proto = container.setting("VIRTUAL_PROTO").map_or(Ok(Proto::Http), |text| read_proto("VIRTUAL_PROTO", text))?;
    let place = place(container.setting("VIRTUAL_PATH"), container.setting("VIRTUAL_DEST"), port, proto, notes)?;
    let mut sites: Vec<Site> = Vec::new();
    let written = container.setting("VIRTUAL_HOST").unwrap_or_default();
    let mut wrong: Vec<String> = Vec::new();
    let mut taken: HashSet<HostPattern> = HashSet::new();
    for name in written.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match read_hosts("VIRTUAL_HOST", name) {
            Ok(hosts) => {
                let new = hosts.into_iter().filter(|host| taken.insert(host.clone()));
                sites.extend(new.map(|host| Site { host, places: vec![place.clone()] }));
            }
            Err(why) => wrong.push(why),
        }
    }
    left_out(wrong, sites.is_empty(), notes)?;
    Ok(sites)
}

/// Names that are none cost the container those names; where there is no other, they are why it is not routed.
pub(super) fn left_out(wrong: Vec<String>, is_all: bool, notes: &mut Vec<String>) -> Result<(), String> {
    if is_all && let Some(first) = wrong.first() {
        return Err(first.clone());
    }
    notes.extend(wrong);
    Ok(())
}

/// One path as `VIRTUAL_PATH`, `VIRTUAL_DEST` and their like describe it.
pub(super) fn place(
    path: Option<&str>,
    dest: Option<&str>,
    port: Option<u16>,
    proto: Proto,
    notes: &mut Vec<String>,
) -> Result<Place, String> {
    let written = path.unwrap_or("/");
    let pattern = PathPattern::parse_as_nginx(written).ok_or_else(|| {
        let written = cut(written);
        format!("the path `{written}` is not carried: it is `/path` or `= /path`, without regular expressions")
    })?;
    let replace = dest.map(|dest| read_dest(dest, notes)).transpose()?;
    let is_everything = written == "/" && replace.is_none();
    Ok(Place { path: (!is_everything).then_some(pattern), replace, port, proto, elsewhere: None })
}

fn read_dest(dest: &str, notes: &mut Vec<String>) -> Result<Arc<str>, String> {
    let is_sent_as_it_is = dest.bytes().all(|b| b.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&b));
    if !dest.starts_with('/') || !is_sent_as_it_is || crate::model::normalise(dest) != dest {
        let dest = cut(dest);
        return Err(format!("the destination `{dest}` is not carried: it is a path, without query, `.` and `..`"));
    }
    if dest.contains('$') {
        notes.push(format!("`{}` is sent as it is: there are no variables", cut(dest)));
    }
    Ok(dest.into())
}

/// A name as nginx's `server_name` has it; `.name` stands for the name and everything below it.
pub(super) fn read_hosts(word: &str, name: &str) -> Result<Vec<HostPattern>, String> {
    let read = |text: &str| {
        HostPattern::parse_as_nginx(text).map_err(|wrong| {
            let hint = hint(name, wrong);
            format!("`{}` in {word} is no name: {wrong}{hint}", cut(name))
        })
    };
    match name.strip_prefix('.') {
        Some(rest) => Ok(vec![read(rest)?, read(&format!("*.{rest}"))?]),
        None => Ok(vec![read(name)?]),
    }
}

/// What somebody meant who wrote a name that is none.
fn hint(name: &str, wrong: HostError) -> &'static str {
    if wrong != HostError::Character {
        return "";
    }
    match name {
        name if name.contains("://") => "; write the name alone, without `https://`",
        name if !name.is_ascii() => "; write it as browsers send it (`xn--…`)",
        name if name.contains(char::is_whitespace) => "; separate names by commas",
        name if name.contains(':') => "; the port that the container listens on is VIRTUAL_PORT",
        name if name.contains('/') => "; a path is VIRTUAL_PATH",
        name if name.contains('*') => "; `*` stands for the first or the last part: `*.name`, `name.*`",
        _ => "",
    }
}

pub(super) fn read_port(word: &str, text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|&port: &u16| port > 0 && text.bytes().all(|b| b.is_ascii_digit()));
    port.ok_or_else(|| format!("{word} is `{}`, which is no port (1 to 65535)", cut(text)))
}

pub(super) fn read_proto(word: &str, text: &str) -> Result<Proto, String> {
    match text {
        "http" => Ok(Proto::Http),
        "https" => Ok(Proto::Https),
        "grpc" => Ok(Proto::Grpc),
        "grpcs" => Ok(Proto::Grpcs),
        "uwsgi" | "fastcgi" => {
            Err(format!("{word} is `{text}`, which is not spoken; put a web server (Caddy, nginx) into the container"))
        }
        other => Err(format!("{word} is `{}`; there are http, https, grpc and grpcs", cut(other))),
    }
}

fn terms(container: &Container, notes: &mut Vec<String>) -> Terms {
    let mut terms = Terms::default();
    match container.setting("NETWORK_ACCESS") {
        None | Some("external") => {}
        Some("internal") => {
            terms.allow = Some(INTERNAL.iter().filter_map(|net| net.parse().ok().map(Admitted::Net)).collect());
            notes.push(
                "NETWORK_ACCESS=internal means every private address, a guest network too; doorward.allow names networks"
                    .to_owned(),
            );
        }
        Some(other) => {
            // Whoever wrote this wanted a limit.
            terms.allow = Some(Vec::new());
            notes.push(format!(
                "NETWORK_ACCESS is `{}`, which is neither internal nor external: nobody enters",
                cut(other)
            ));
        }
    }
    terms.schemes = match container.setting("HTTPS_METHOD") {
        None | Some("redirect") => Schemes::AsTheDoor,
        Some("noredirect") => Schemes::Both,
        Some("nohttp") => Schemes::HttpsOnly,
        Some("nohttps") => Schemes::HttpOnly,
        Some(other) => {
            notes.push(format!("HTTPS_METHOD is `{}`; read as `redirect`", cut(other)));
            Schemes::AsTheDoor
        }
    };
    if let Some(text) = container.setting("HSTS").filter(|text| *text != "off") {
        terms.hsts = hsts(text, notes);
    }
    if terms.hsts.is_some() && terms.schemes == Schemes::Both {
        terms.hsts = None;
        notes.push("HSTS has no effect beside HTTPS_METHOD=noredirect".to_owned());
    }
    if asks_for_client_certificates(container, CLIENT_CERTIFICATES) {
        // It was protected, and would not be.
        terms.allow = Some(Vec::new());
        notes.push("ssl_verify_client is on, and certificates of clients are not asked for: nobody enters".to_owned());
    }
    terms.cert = container.setting("CERT_NAME").map(Arc::from);
    if let Some(directive) = container.setting(LOADBALANCE) {
        terms.balance = balance(directive, notes);
    }
    terms
}

/// Whether a container is for clients with a certificate only.
fn asks_for_client_certificates(container: &Container, word: &str) -> bool {
    word == CLIENT_CERTIFICATES && container.setting(word) == Some("on")
}

/// `max-age` alone: what else stands in the header binds names that are not the container's.
fn hsts(text: &str, notes: &mut Vec<String>) -> Option<Duration> {
    let mut age = None;
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        match part.to_ascii_lowercase().strip_prefix("max-age=").map(|age| age.trim_matches('"').parse::<u32>()) {
            Some(Ok(seconds)) => age = Some(Duration::from_secs(seconds.into())),
            Some(Err(_)) => notes.push(format!("HSTS has `{}`, which is no number of seconds", cut(part))),
            None => notes.push(format!("`{}` of HSTS is not sent: it binds names beyond this container", cut(part))),
        }
    }
    age
}

fn balance(directive: &str, notes: &mut Vec<String>) -> Balance {
    let words: Vec<&str> = directive.trim_end_matches(';').split_ascii_whitespace().collect();
    match words.as_slice() {
        ["round_robin"] => Balance::RoundRobin,
        ["least_conn"] => Balance::LeastRequests,
        ["ip_hash"] => Balance::Sticky,
        ["hash", "$remote_addr" | "$binary_remote_addr", ..] => Balance::Sticky,
        _ => {
            notes.push(format!(
                "loadbalance `{}` is not carried: there are least_conn, ip_hash, and round robin, which is used",
                cut(directive)
            ));
            Balance::RoundRobin
        }
    }
}

/// Somebody else's text, fit for a message: one line, not long.
pub(super) fn cut(text: &str) -> String {
    in_one_line(text, 80)
}

/// The same, with so many characters at most.
pub(super) fn in_one_line(text: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_control() || is_direction(c) { ' ' } else { c };
    let mut out: String = text.chars().take(longest).map(plain).collect();
    if text.chars().nth(longest).is_some() {
        out.push('…');
    }
    out
}

/// Characters that make a terminal show a line in another order than it has, or break it.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
