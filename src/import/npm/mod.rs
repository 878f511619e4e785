//! Nginx Proxy Manager's database, any version since 2.0, as a home in our words.
//! Where its tables came from is public (its migrations); columns that a version does not have count as switched off.

mod access;
mod certificates;
mod custom;
mod database;
mod hosts;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use database::{Database, Row};

use super::home::{Admission, Home, Remark, Route};
use super::text::one_line;
use super::{ImportError, Imported, write};
use access::AccessLists;
use certificates::Certificates;
use custom::CustomFiles;

/// Makes a routes.toml of a database, or of the folder that it is in. The database is only read.
///
/// # Errors
/// The file cannot be read, or is something else.
pub fn import_npm(path: &Path) -> Result<Imported, ImportError> {
    let database = Database::open(path)?;
    let lists = AccessLists::read(&database)?;
    let certificates = Certificates::read(&database)?;
    let mut found = Found::new(lists, certificates);
    found.custom = CustomFiles::read(database.folder());
    for row in database.rows("proxy_host")? {
        found.host(&row, "proxy host", hosts::proxy);
    }
    for row in database.rows("redirection_host")? {
        found.host(&row, "redirection", hosts::redirection);
    }
    for row in database.rows("dead_host")? {
        found.host(&row, "404 host", |_, row| hosts::dead(row));
    }
    found.streams(&database.rows("stream")?);
    found.settings(&database.rows("setting")?);
    Ok(found.finish())
}

/// What has been read so far.
struct Found {
    lists: AccessLists,
    certificates: Certificates,
    /// What stands in files of its own beside the database.
    custom: CustomFiles,
    /// Names that a route has claimed.
    claimed: HashSet<String>,
    /// Those of them that another host claims as well.
    disputed: BTreeSet<String>,
    home: Home,
    counts: Counts,
}

/// What the head of the file says.
#[derive(Default)]
struct Counts {
    hosts: usize,
    exploits: usize,
    cached: usize,
    forwarded_proto: usize,
    listed: usize,
    uncertified: usize,
    apart: BTreeSet<String>,
}

/// A host of NPM without its names: each of them becomes a route.
struct Body {
    to: Option<super::home::Destination>,
    admission: Admission,
    hsts: Option<std::sync::Arc<str>>,
    paths: Vec<super::home::Path>,
    notes: Vec<Remark>,
}

impl Found {
    fn new(lists: AccessLists, certificates: Certificates) -> Found {
        let (claimed, disputed, home, counts) = Default::default();
        Found { lists, certificates, custom: CustomFiles::default(), claimed, disputed, home, counts }
    }

    /// One row of hosts: skipped where NPM does not serve it, else one route for each of its names.
    fn host(&mut self, row: &Row, kind: &str, read: impl Fn(&mut Found, &Row) -> Result<Body, Remark>) {
        if row.is("is_deleted") {
            return;
        }
        let names = names(row);
        let title = one_line(&names.join(", "), 200);
        if row.is_not("enabled") {
            self.home.left.push(Remark::new(format!("The {kind} {title} was switched off in NPM: left out.")));
            return;
        }
        self.counts.hosts += 1;
        if names.is_empty() {
            let number = row.number("id").unwrap_or_default();
            self.home
                .left
                .push(Remark::new(format!("The {kind} number {number} has no name that can be read: left out.")));
            return;
        }
        let mut patterns = Vec::new();
        for name in &names {
            match crate::model::HostPattern::parse(name) {
                Ok(pattern) if self.claimed.insert(pattern.to_string()) => patterns.push(pattern),
                Ok(pattern) if patterns.contains(&pattern) => {}
                Ok(pattern) => {
                    let text =
                        format!("The {kind} {title}: `{pattern}` belongs to an earlier host already: left out here.");
                    self.home.left.push(Remark::new(text));
                    self.disputed.insert(pattern.to_string());
                }
                Err(wrong) => {
                    let text =
                        format!("The {kind} {title}: \"{}\" cannot be a name here ({wrong}).", one_line(name, 80));
                    self.home.left.push(Remark::new(text));
                }
            }
        }
        // A certificate stays in use even where only a remark is left of its host.
        self.certificates.uses(row, &patterns);
        match read(self, row) {
            Err(remark) => {
                let text = format!("The {kind} {title}: {}", remark.text);
                self.home.left.push(Remark { text, ..remark });
            }
            Ok(mut body) => {
                self.custom.protect(kind, &mut body);
                if row.json("meta").get("nginx_online") == Some(&serde_json::Value::Bool(false)) {
                    body.notes
                        .push(Remark::new("NPM itself could not serve this host: nginx refused what it wrote for it."));
                }
                self.counts.listed += usize::from(matches!(body.admission, Admission::Nets { .. }));
                self.counts.uncertified += usize::from(!row.is("certificate_id"));
                self.routes(patterns, body);
            }
        }
    }

    fn routes(&mut self, patterns: Vec<crate::model::HostPattern>, body: Body) {
        let mut patterns = patterns.into_iter();
        let Some(first) = patterns.next() else { return };
        let others: Vec<_> = patterns.collect();
        for host in &others {
            let mut notes = vec![Remark::new(format!("Another name of {first}."))];
            if body.admission == Admission::Nobody {
                notes.push(Remark::new("CLOSED for the same reason."));
            }
            let paths = body.paths.iter().map(hosts::without_notes).collect();
            let (to, admission, hsts) = (body.to.clone(), body.admission.clone(), body.hsts.clone());
            self.home.routes.push(Route { host: host.clone(), to, admission, hsts, paths, notes });
        }
        let Body { to, admission, hsts, paths, notes } = body;
        // The first name goes before the others.
        let at = self.home.routes.len() - others.len();
        self.home.routes.insert(at, Route { host: first, to, admission, hsts, paths, notes });
    }

    fn streams(&mut self, rows: &[Row]) {
        for row in rows.iter().filter(|row| !row.is("is_deleted")) {
            let kinds = [("tcp_forwarding", "tcp"), ("udp_forwarding", "udp")];
            let kinds: Vec<&str> = kinds.iter().filter(|(column, _)| row.is(column)).map(|(_, word)| *word).collect();
            let host = [row.text("forwarding_host"), row.text("forward_ip")].into_iter().find(|text| !text.is_empty());
            let text = format!(
                "A stream{}: {} port {} to {}:{}{}. Doorward carries HTTP only; keep what forwards it, or let clients \
                 connect there directly.",
                if row.is_not("enabled") { " that was switched off" } else { "" },
                if kinds.is_empty() { "no protocol,".to_owned() } else { kinds.join(" and ") },
                one_line(&row.text("incoming_port"), 40),
                one_line(&host.unwrap_or_default(), 80),
                one_line(&row.text("forwarding_port"), 40),
                if row.is("certificate_id") { ", with TLS" } else { "" },
            );
            self.home.left.push(Remark::new(text));
        }
    }

    fn settings(&mut self, rows: &[Row]) {
        let site = rows.iter().find(|row| row.text("id") == "default-site");
        let (value, meta) = site.map(|row| (row.text("value"), row.json("meta"))).unwrap_or_default();
        let text = match value.as_str() {
            "redirect" => {
                let place = meta.get("redirect").and_then(serde_json::Value::as_str).unwrap_or_default();
                format!("NPM sent unknown names to {}; here they are answered with 404.", one_line(place, 120))
            }
            "html" => "NPM showed a page of its own for unknown names; here they are answered with 404.".to_owned(),
            _ => return,
        };
        self.home.left.push(Remark::new(text));
    }

    /// Whom NPM would have served of two hosts with one name is a matter of file names: nobody is let in by the wrong one.
    fn close_disputed(&mut self) {
        for route in self.home.routes.iter_mut().filter(|route| self.disputed.contains(&route.host.to_string())) {
            route.admission = Admission::Nobody;
            let why =
                "CLOSED: another host of NPM has this name as well (see the end), and may have protected it otherwise.";
            route.notes.push(Remark::new(why));
        }
    }

    fn finish(mut self) -> Imported {
        self.close_disputed();
        self.home.left.extend(self.custom.remarks());
        let (certs, remarks) = self.certificates.finish();
        self.home.certs = certs;
        self.home.left.extend(remarks);
        let closed = self.home.routes.iter().filter(|route| route.admission == Admission::Nobody).count();
        let left = self.home.left.len();
        let has_tls = !self.home.certs.is_empty();
        self.home.head = head(&self.counts, self.home.routes.len(), closed, left, has_tls);
        Imported { file: write::write(&self.home), routes: self.home.routes.len(), closed, left }
    }
}

/// `domain_names`, a list in JSON.
fn names(row: &Row) -> Vec<String> {
    let list = row.json("domain_names");
    let names = list.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
    names.map(|name| name.trim().to_owned()).collect()
}

fn head(counts: &Counts, routes: usize, closed: usize, left: usize, has_tls: bool) -> Vec<String> {
    let mut head = vec![format!(
        "Made by `doorward import npm` of a database of Nginx Proxy Manager: {} became {}.",
        counted(counts.hosts, "host"),
        counted(routes, "route")
    )];
    if closed > 0 {
        head.push(format!(
            "{} nobody for now: something protected what is behind, and it cannot be carried over. Look for CLOSED.",
            if closed == 1 { "1 route admits".to_owned() } else { format!("{closed} routes admit") }
        ));
    }
    if left > 0 {
        head.push(format!(
            "{} not carried over: see the end.",
            if left == 1 { "1 thing was".to_owned() } else { format!("{left} things were") }
        ));
    }
    if counts.exploits > 0 {
        head.push(format!(
            "\"Block Common Exploits\" was on for {}: not carried; it compared a few words.",
            counted(counts.exploits, "host")
        ));
    }
    if counts.cached > 0 {
        head.push(format!("\"Cache Assets\" was on for {}: nothing is cached here.", counted(counts.cached, "host")));
    }
    if counts.forwarded_proto > 0 {
        head.push(
            "NPM believed what a proxy in front of it said of the scheme: write `trust = [\"its address\"]` (or \
             \"cloudflared\") into the door that it comes through."
                .to_owned(),
        );
    }
    if counts.listed > 0 {
        head.push(
            "NPM took the client's address from X-Real-IP where a private address sent it. If a proxy or a tunnel stands in front, \
             write `trust` into the door first: without it, everybody who comes through counts as that proxy."
                .to_owned(),
        );
    }
    if counts.uncertified > 0 && has_tls {
        head.push(format!(
            "{} no certificate in NPM and answered by http; here http sends people to https, and a name that no [cert.*] covers \
             is served by the local CA.",
            if counts.uncertified == 1 { "1 host had".to_owned() } else { format!("{} hosts had", counts.uncertified) }
        ));
    }
    if let Some(path) = counts.apart.first() {
        head.push(format!(
            "NPM's location `{path}` was for every path that begins so, `{path}x` too; here `{path}/*` is for whole segments, and \
             `{path}x` leads where the host does."
        ));
    }
    head.push("WebSockets always work here, and uploads have no limit.".to_owned());
    head.push("  Is it right?              doorward check routes.toml".to_owned());
    head.push("  Does it answer the same?  doorward compare --old OLD:443 --new NEW:443".to_owned());
    head
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
