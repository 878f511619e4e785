//! From a home as found to routes.toml as a person would have written it. Everything that is not ours to decide stands in it
//! as a comment beside the thing it is about.

use std::fmt::Write as _;

use super::home::{Admission, Cert, CertSource, Destination, Door, Home, Path, PathAction, Remark, Route};
use super::naming::Naming;
use super::text::{WIDTH, comment, key, list, quote, quoted};
use crate::config::Balance;
use crate::model::HostPattern;

/// The whole file.
pub(super) fn write(home: &Home) -> String {
    let naming = Naming::of(home);
    let writer = Writer { naming: &naming, is_tls: !home.certs.is_empty() };
    let mut out = String::new();
    for paragraph in &home.head {
        match paragraph.strip_prefix("  ") {
            // A command line keeps its shape.
            Some(command) => out.push_str(&format!("#   {command}\n")),
            None => comment(&mut out, paragraph),
        }
    }
    out.push('\n');
    writer.top(&mut out);
    writer.door(&mut out, home.door.as_ref());
    for (cert, id) in home.certs.iter().zip(&naming.certs) {
        certificate(&mut out, cert, id);
    }
    writer.upstreams(&mut out);
    writer.routes(&mut out, &home.routes);
    writer.promises(&mut out, &home.routes);
    if !home.left.is_empty() {
        heading(&mut out, "Not carried over");
        remarks(&mut out, &home.left);
    }
    out
}

struct Writer<'a> {
    naming: &'a Naming,
    is_tls: bool,
}

impl Writer<'_> {
    fn top(&self, out: &mut String) {
        if let Some(domain) = &self.naming.domain {
            line(out, &format!("domain = {}", quoted(domain.as_str())), "a short route name is a name below it");
        }
        let why = match self.naming.admission {
            Admission::Anyone => "as before: whoever gets here may enter; name your networks to narrow it",
            _ => "who may enter where nothing else is said",
        };
        line(out, &format!("allow = {}", self.allow(&self.naming.admission)), why);
        if !self.naming.networks.is_empty() {
            out.push_str("\n[networks]\n");
            for (name, nets) in &self.naming.networks {
                let nets: Vec<String> = nets.iter().map(net_word).collect();
                let _ = writeln!(out, "{} = {}", key(name), list(&nets));
            }
        }
    }

    fn door(&self, out: &mut String, door: Option<&Door>) {
        out.push_str("\n[listen.main]\n");
        if let Some(Door { https, http, why }) = door {
            if self.is_tls {
                line(out, &format!("https = {}", quoted(https)), why);
                line(out, &format!("http  = {}", quoted(http)), "beside `https` it only sends people there");
            } else {
                line(out, &format!("http = {}", quoted(http)), why);
            }
        } else if self.is_tls {
            line(out, "https = \":443\"", "every address of this machine");
            line(out, "http  = \":80\"", "beside `https` it only sends people there");
        } else {
            line(out, "http = \":80\"", "every address of this machine; there was no certificate to carry over");
        }
    }

    fn upstreams(&self, out: &mut String) {
        if self.naming.upstreams.is_empty() {
            return;
        }
        heading(out, "Machines that several routes lead to; call them what you like");
        for (name, to) in &self.naming.upstreams {
            let _ = writeln!(out, "\n[upstreams.{}]", key(name));
            destination(out, to, name);
        }
    }

    fn routes(&self, out: &mut String, routes: &[Route]) {
        if routes.is_empty() {
            return;
        }
        heading(out, "Routes: a name, and where it leads");
        let (lines, tables): (Vec<&Route>, Vec<&Route>) = routes.iter().partition(|route| self.is_line(route));
        out.push_str("\n[routes]\n");
        let width = lines.iter().map(|route| self.key(route).chars().count()).filter(|&w| w <= 32).max().unwrap_or(0);
        for route in lines {
            remarks_close(out, &route.notes);
            let Some(to) = &route.to else { continue };
            let _ = writeln!(out, "{:width$} = {}", self.key(route), self.target(to));
        }
        for route in tables {
            self.table(out, route);
        }
    }

    fn key(&self, route: &Route) -> String {
        key(&self.naming.route(&route.host))
    }

    /// Whether a route fits on one line.
    fn is_line(&self, route: &Route) -> bool {
        let fits = route.to.as_ref().is_some_and(|to| !to.has_options() || self.naming.upstream(to).is_some());
        fits && route.paths.is_empty() && route.hsts.is_none() && route.admission == self.naming.admission
    }

    fn table(&self, out: &mut String, route: &Route) {
        out.push('\n');
        remarks_close(out, &route.notes);
        let name = self.key(route);
        let _ = writeln!(out, "[routes.{name}]");
        match &route.to {
            Some(to) if self.naming.upstream(to).is_none() => destination(out, to, &self.naming.route(&route.host)),
            Some(to) => {
                let _ = writeln!(out, "to = {}", self.target(to));
            }
            None => {}
        }
        if route.admission != self.naming.admission {
            let _ = writeln!(out, "allow = {}", self.allow(&route.admission));
        }
        if let Some(hsts) = &route.hsts {
            let _ = writeln!(out, "hsts = {}", quoted(hsts));
        }
        if !route.paths.is_empty() {
            let _ = writeln!(out, "[routes.{name}.paths]");
            route.paths.iter().for_each(|path| self.path(out, path));
        }
    }

    fn path(&self, out: &mut String, path: &Path) {
        remarks_close(out, &path.notes);
        let does = match &path.action {
            PathAction::Forward { to, replace } => match replace.as_deref() {
                None => self.target(to),
                Some("") => format!("{{ to = {}, strip = true }}", self.target(to)),
                Some(with) => format!("{{ to = {}, replace = {} }}", self.target(to), quoted(with)),
            },
            PathAction::Redirect { location, status } => {
                format!("{{ redirect = {}, status = {status} }}", quoted(location))
            }
            PathAction::Missing => "{ text = \"There is nothing here.\\n\", status = 404 }".to_owned(),
            PathAction::Closed => "{ allow = [] }".to_owned(),
        };
        let _ = writeln!(out, "{} = {does}", quoted(&path.pattern.to_string()));
    }

    /// What stands in a `to`.
    fn target(&self, to: &Destination) -> String {
        match self.naming.upstream(to) {
            Some(name) => quoted(name),
            None => addresses(to),
        }
    }

    fn allow(&self, admission: &Admission) -> String {
        match admission {
            Admission::Anyone => list(&["anyone"]),
            Admission::Nets { nets, .. } => list(self.naming.network(nets).as_slice()),
            Admission::Nobody => "[]".to_owned(),
        }
    }

    /// Each closed route stays closed and each list keeps strangers out: said once more where a later edit would break it.
    fn promises(&self, out: &mut String, routes: &[Route]) {
        let mut promises = String::new();
        let mut seen = Vec::new();
        for route in routes {
            let HostPattern::Exact(host) = &route.host else { continue };
            let answers_itself = |path: &Path| matches!(path.pattern.base(), "" | "/");
            if route.to.is_none() || route.paths.iter().any(answers_itself) {
                continue;
            }
            let scheme = if self.is_tls { "https" } else { "http" };
            let url = quoted(&format!("{scheme}://{host}/"));
            let from = match &route.admission {
                Admission::Nobody => "from = \"anyone\"\n",
                Admission::Nets { nets, .. } if !seen.contains(&nets) => {
                    seen.push(nets);
                    ""
                }
                Admission::Anyone | Admission::Nets { .. } => continue,
            };
            let all = quoted(&format!("{scheme}://{host}/*"));
            let _ = writeln!(promises, "\n[[expect]]\n{from}url  = {all}\nis   = \"denied\"");
            if let (Admission::Nets { nets, .. }, Some(to)) = (&route.admission, &route.to) {
                let name = self.naming.route(&route.host);
                let is = self.naming.upstream(to).unwrap_or(&name);
                let from = quoted(self.naming.network(nets).unwrap_or_default());
                let _ = writeln!(promises, "\n[[expect]]\nfrom = {from}\nurl  = {url}\nis   = {}", quoted(is));
            }
        }
        if !promises.is_empty() {
            heading(out, "Promises: `doorward check` and every reload ask whether they still hold");
            out.push_str(&promises);
        }
    }
}

fn destination(out: &mut String, to: &Destination, name: &str) {
    let _ = writeln!(out, "to = {}", addresses(to));
    match to.balance {
        Balance::RoundRobin => {}
        Balance::LeastRequests => out.push_str("balance = \"least-requests\"\n"),
        Balance::Sticky => out.push_str("balance = \"sticky\"\n"),
    }
    if to.is_http2 {
        out.push_str("http2 = true\n");
    }
    if to.is_unverified() {
        let why = format!("nor did the old proxy; `doorward trust {name}` pins it");
        line(out, "verify = false", &super::text::one_line(&why, 200));
    }
}

/// One address, or a list of them.
fn addresses(to: &Destination) -> String {
    if to.others.is_empty() {
        return quoted(&to.endpoint.to_string());
    }
    list(&[&to.endpoint].into_iter().chain(&to.others).map(ToString::to_string).collect::<Vec<_>>())
}

fn certificate(out: &mut String, cert: &Cert, id: &str) {
    out.push('\n');
    remarks_close(out, &cert.notes);
    let _ = writeln!(out, "[cert.{}]", key(id));
    let names: Vec<String> = cert.names.iter().map(ToString::to_string).collect();
    let email = match &cert.source {
        CertSource::Files { cert, key } => {
            let _ = writeln!(out, "cert = {}\nkey  = {}", quoted(cert), quoted(key));
            &None
        }
        CertSource::Dns { provider, email } => {
            let _ = writeln!(out, "names = {}\ndns = {}", list(&names), quoted(provider));
            let file = format!("/run/credentials/doorward.service/{provider}-token");
            line(out, &format!("token_file = {}", quoted(&file)), "put the token there; it is never in this file");
            email
        }
        CertSource::Http { email } => {
            let _ = writeln!(out, "names = {}\nchallenge = \"http-01\"", list(&names));
            email
        }
    };
    if let Some(email) = email {
        let _ = writeln!(out, "email = {}", quoted(email));
    }
}

fn net_word(net: &ipnet::IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

/// A setting and why; where both do not fit on a line, why stands above.
fn line(out: &mut String, says: &str, why: &str) {
    let whole = format!("{says:<37} # {why}");
    if whole.chars().count() <= WIDTH {
        let _ = writeln!(out, "{whole}");
    } else {
        comment(out, why);
        let _ = writeln!(out, "{says}");
    }
}

fn heading(out: &mut String, text: &str) {
    let dashes = "─".repeat(74_usize.saturating_sub(text.chars().count()));
    let _ = writeln!(out, "\n# ── {text} {dashes}");
}

/// Remarks with a gap before each.
fn remarks(out: &mut String, remarks: &[Remark]) {
    for remark in remarks {
        out.push('\n');
        remarks_close(out, std::slice::from_ref(remark));
    }
}

/// Remarks right above what they are about.
fn remarks_close(out: &mut String, remarks: &[Remark]) {
    for remark in remarks {
        comment(out, &remark.text);
        quote(out, &remark.quoted);
    }
}
