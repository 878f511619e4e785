//! NPM's hosts: proxy hosts with their custom locations, redirections, and names that answer 404.

use super::database::Row;
use super::{Body, Found};
use crate::import::home::{Admission, Destination, Path, PathAction, Remark};
use crate::import::snippet::{self, Carried, Meaning};
use crate::import::text::one_line;
use crate::model::{Endpoint, HostName, PathPattern, Scheme};

/// Two years, as NPM sends it.
const HSTS: &str = "730d";

/// Columns of forks that ask who somebody is.
const ASKING: [&str; 5] = ["auth", "openid", "oidc", "clientca", "drop_unauthorized"];

/// A proxy host.
pub(super) fn proxy(found: &mut Found, row: &Row) -> Result<Body, Remark> {
    found.counts.exploits += usize::from(row.is("block_exploits"));
    found.counts.cached += usize::from(row.is("caching_enabled"));
    found.counts.forwarded_proto += usize::from(row.is("trust_forwarded_proto"));
    let mut body = Body {
        to: None,
        admission: Admission::Anyone,
        hsts: has_hsts(row).then(|| HSTS.into()),
        paths: Vec::new(),
        notes: Vec::new(),
    };
    match found.lists.admission(row.number("access_list_id").unwrap_or_default()) {
        Ok(admission) => body.admission = admission,
        Err(why) => close(&mut body, &why, ""),
    }
    if let Some(column) = row.filled().find(|column| ASKING.iter().any(|word| column.contains(word))) {
        close(&mut body, &format!("`{}` is set, which this program does not know", one_line(column, 60)), "");
    }
    let own = text_of(row, &["forward_host", "forward_ip"]);
    let scheme = if row.text("forward_scheme").is_empty() { "http".to_owned() } else { row.text("forward_scheme") };
    let own = destination(&scheme, &own, &row.text("forward_port"));
    found.counts.apart.extend(locations(row, &mut body));
    snippets(&row.text("advanced_config"), &mut body);
    if row.is("hsts_subdomains") && body.hsts.is_some() {
        body.notes
            .push(Remark::new("NPM sent HSTS with includeSubDomains and preload; here it is for this name alone."));
    }
    // A custom location `/` stands in place of the host's own target.
    if let Some(at) = body.paths.iter().position(|path| matches!(path.pattern.base(), "") && is_forward(path)) {
        let path = body.paths.remove(at);
        body.notes.extend(path.notes);
        if let PathAction::Forward { to, .. } = path.action {
            body.to = Some(to);
            return Ok(body);
        }
    }
    body.to = Some(own.map_err(|why| left_out(&why, row))?);
    Ok(body)
}

fn is_forward(path: &Path) -> bool {
    matches!(path.action, PathAction::Forward { replace: None, .. })
}

/// A redirection.
pub(super) fn redirection(_: &mut Found, row: &Row) -> Result<Body, Remark> {
    let mut notes = Vec::new();
    let target = row.text("forward_domain_name");
    let host = target.split(['/', '?', '#']).next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let is_plain = target.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'$');
    if HostName::parse(name).is_err() || !is_plain {
        return Err(left_out(&format!("it redirects to \"{}\", which is no name", one_line(&target, 100)), row));
    }
    let scheme = match row.text("forward_scheme").as_str() {
        "http" => "http",
        // `$scheme` or `auto`: requests arrive by https here.
        _ => "https",
    };
    let status = match row.number("forward_http_code") {
        None => 301,
        Some(status @ (301 | 302 | 303 | 307 | 308)) => u16::try_from(status).unwrap_or(302),
        Some(other) => {
            notes.push(Remark::new(format!("NPM answered with status {other}.")));
            302
        }
    };
    let place = if target.contains('/') { target.clone() } else { format!("{target}/") };
    if row.is("preserve_path") {
        notes.push(Remark::new("NPM kept the path when it redirected; here everybody is sent to the beginning."));
    }
    let mut body = Body {
        to: None,
        admission: Admission::Anyone,
        hsts: has_hsts(row).then(|| HSTS.into()),
        paths: Vec::new(),
        notes,
    };
    snippets(&row.text("advanced_config"), &mut body);
    let action = PathAction::Redirect { location: format!("{scheme}://{place}"), status };
    body.paths.extend(everything().map(|pattern| Path { pattern, action, notes: Vec::new() }));
    Ok(body)
}

/// A name that answers 404. Written out, so that no wildcard takes it.
pub(super) fn dead(row: &Row) -> Result<Body, Remark> {
    let mut notes = Vec::new();
    let snippet = row.text("advanced_config");
    if !snippet.is_empty() {
        notes.push(Remark::quoting("NPM had a snippet here:", &snippet));
    }
    let paths = everything().map(|pattern| Path { pattern, action: PathAction::Missing, notes: Vec::new() });
    Ok(Body { to: None, admission: Admission::Anyone, hsts: None, paths: paths.into_iter().collect(), notes })
}

/// A path as another name of the same host has it.
pub(super) fn without_notes(path: &Path) -> Path {
    let action = match &path.action {
        PathAction::Forward { to, replace } => PathAction::Forward { to: to.clone(), replace: replace.clone() },
        PathAction::Redirect { location, status } => {
            PathAction::Redirect { location: location.clone(), status: *status }
        }
        PathAction::Missing => PathAction::Missing,
        PathAction::Closed => PathAction::Closed,
    };
    Path { pattern: path.pattern.clone(), action, notes: Vec::new() }
}

fn everything() -> Option<PathPattern> {
    PathPattern::parse("/*")
}

/// The custom locations of a host. Which of them were for more than whole segments.
fn locations(row: &Row, body: &mut Body) -> Vec<String> {
    let mut apart = Vec::new();
    let list = row.json("locations");
    if row.is("locations") && !list.is_array() {
        close(
            body,
            "its custom locations cannot be read, and one may have protected something",
            &row.text("locations"),
        );
    }
    for location in list.as_array().into_iter().flatten() {
        if !location.is_object() {
            close(body, "one of its custom locations cannot be read", &location.to_string());
            continue;
        }
        let text = |name: &str| match location.get(name) {
            Some(serde_json::Value::String(text)) => text.trim().to_owned(),
            None | Some(serde_json::Value::Null) => String::new(),
            // Whatever that is, it is no snippet that is known to be harmless.
            Some(other) => other.to_string(),
        };
        let written = text("path");
        let words: Vec<String> = written.split_whitespace().map(str::to_owned).collect();
        let shown = one_line(&written, 80);
        let snippet = text("advanced_config");
        let protection = match snippet::meaning(&snippet) {
            Meaning::Protects(what) => Some(what),
            // A location inside a location: nothing that is known to be harmless.
            Meaning::Harmless(carried) if !carried.is_empty() => Some("location".to_owned()),
            Meaning::Harmless(_) => None,
        };
        let Some(pattern) = snippet::pattern(&words) else {
            let had = protection.map(|what| format!(" and had a snippet with `{what}`")).unwrap_or_default();
            let why = format!(
                "the location `{shown}` led to {}{had}, and is no path here; without it those paths lead where the host does",
                place(&text)
            );
            close(body, &why, &snippet);
            continue;
        };
        if let Some(what) = protection {
            protected_path(body, pattern, &written, &what, &snippet);
            continue;
        }
        let mut notes = Vec::new();
        if !snippet.is_empty() {
            notes.push(Remark::quoting("NPM had a snippet here, not carried over:", &snippet));
        }
        match forward(&text("forward_scheme"), &text("forward_host"), &text("forward_port"), &written) {
            Ok((to, strip)) => {
                if matches!(pattern, PathPattern::Below(_)) && !written.ends_with('/') {
                    apart.push(one_line(words.last().map_or("", String::as_str), 60));
                }
                let replace = strip.then(|| "".into());
                push(body, Path { pattern, action: PathAction::Forward { to, replace }, notes });
            }
            Err(why) => {
                notes.push(Remark::new(format!("CLOSED: in NPM this path led to {}; {why}.", place(&text))));
                push(body, Path { pattern, action: PathAction::Closed, notes });
            }
        }
    }
    apart
}

fn place(text: &impl Fn(&str) -> String) -> String {
    if text("forward_host").is_empty() {
        return "no server".to_owned();
    }
    one_line(&format!("{}://{}:{}", text("forward_scheme"), text("forward_host"), text("forward_port")), 120)
}

/// nginx compares texts: protection of `/admin` covered `/administrator` too, which no path of ours says.
fn protected_path(body: &mut Body, pattern: PathPattern, written: &str, what: &str, snippet: &str) {
    let is_whole = written.ends_with('/') || matches!(pattern, PathPattern::Exact(_));
    if is_whole {
        let why = format!("CLOSED: NPM had a snippet with `{what}` here:");
        push(body, Path { pattern, action: PathAction::Closed, notes: vec![Remark::quoting(why, snippet)] });
    } else {
        let why = format!(
            "the location `{0}` had a snippet with `{what}`, which covered every path that begins so (`{0}`, `{0}x`). If \
             only `{pattern}` is meant, write it into `paths` with the `allow` that it needs, and open the route",
            one_line(written, 80)
        );
        close(body, &why, snippet);
    }
}

/// A later path of the same pattern would be two keys of one name.
fn push(body: &mut Body, path: Path) {
    match body.paths.iter_mut().find(|known| known.pattern == path.pattern) {
        Some(known) if matches!(path.action, PathAction::Closed) => *known = path,
        Some(_) => body.notes.push(Remark::new(format!("NPM had `{}` twice; the first is kept.", path.pattern))),
        None => body.paths.push(path),
    }
}

/// The snippet of a whole host.
fn snippets(text: &str, body: &mut Body) {
    if text.is_empty() {
        return;
    }
    match snippet::meaning(text) {
        Meaning::Protects(what) => close(body, &format!("it had a snippet with `{what}`"), text),
        Meaning::Harmless(carried) => {
            let had = carried.len();
            for (pattern, carried) in carried {
                let action = match carried {
                    Carried::Redirect { location, status } => PathAction::Redirect { location, status },
                    Carried::Forward(endpoint) => {
                        PathAction::Forward { to: Destination::one(endpoint, false), replace: None }
                    }
                };
                push(body, Path { pattern, action, notes: Vec::new() });
            }
            let says = match had {
                0 => "NPM had a snippet here, not carried over:",
                _ => "NPM had a snippet here; its locations are below, the rest is not carried over:",
            };
            body.notes.push(Remark::quoting(says, text));
        }
    }
}

/// Closes a route, and says why.
fn close(body: &mut Body, why: &str, snippet: &str) {
    body.admission = Admission::Nobody;
    body.notes.push(Remark::quoting(format!("CLOSED: {why}."), snippet));
}

fn left_out(why: &str, row: &Row) -> Remark {
    Remark::quoting(format!("left out: {why}."), &row.text("advanced_config"))
}

fn text_of(row: &Row, columns: &[&str]) -> String {
    columns.iter().map(|column| row.text(column)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn has_hsts(row: &Row) -> bool {
    row.is("hsts_enabled") && row.is("ssl_forced") && row.is("certificate_id")
}

/// A server as NPM writes it, or why it cannot be one.
fn destination(scheme: &str, host: &str, port: &str) -> Result<Destination, String> {
    if !matches!(scheme, "http" | "https") {
        return Err(format!("it speaks \"{}\" to its server", one_line(scheme, 30)));
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
    let port = if port.is_empty() { String::new() } else { format!(":{port}") };
    match Endpoint::parse(&format!("{scheme}://{host}{port}")) {
        Ok(endpoint) => {
            let is_verified = endpoint.scheme == Scheme::Http;
            Ok(Destination::one(endpoint, is_verified))
        }
        Err(wrong) => {
            Err(format!("its server \"{}\" cannot be one here: {wrong}", one_line(&format!("{host}{port}"), 100)))
        }
    }
}

/// Where a custom location leads, and whether the matched part is taken away. What stands behind a `/` in NPM's host field
/// replaces the matched part.
fn forward(scheme: &str, host: &str, port: &str, path: &str) -> Result<(Destination, bool), String> {
    let (host, rest) = host.split_once('/').map_or((host, None), |(host, rest)| (host, Some(rest)));
    let to = destination(scheme, host, port)?;
    match rest {
        None => Ok((to, false)),
        // Only with a slash at both ends is it the same as taking the matched part away.
        Some("") if path.ends_with('/') => Ok((to, path != "/")),
        Some(rest) => Err(format!("the path was rewritten to \"/{}\", which is not done here", one_line(rest, 80))),
    }
}
