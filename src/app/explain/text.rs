//! An explanation for people: one paragraph for each step, within 80 columns, whatever strangers put into it.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::Explanation;
use super::parts::{CertificatePart, MemberPart, UpstreamPart};
use crate::app::paragraph::paragraph_at;
use crate::model::show_roughly;

/// Columns of the labels on the left.
const LABEL: usize = 13;

/// Columns of a server's address, where there are several.
const MEMBER: usize = 25;

/// `a, b and c`; `nothing` for none.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// A step, with its label on the left.
pub(super) fn paragraph(f: &mut fmt::Formatter<'_>, label: &str, text: &str) -> fmt::Result {
    paragraph_at(f, LABEL, label, text)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { door, client, route, path, access, outcome, .. } = self;
        writeln!(f, "{} {}", self.method, self.url)?;
        let status = outcome.status.map(|status| format!("{status} ")).unwrap_or_default();
        let cause = outcome.cause.map(|cause| format!("{cause}: ")).unwrap_or_default();
        let but = if self.is_down() { ", which cannot be reached now (see below)" } else { "" };
        paragraph(f, "  outcome", &format!("{status}{cause}{}{but}", outcome.text))?;
        writeln!(f)?;
        let others = match door.others.as_slice() {
            [] => String::new(),
            [other] => format!("; door {other} knows it too (--via {other})"),
            others => format!("; doors {} know it too (--via)", others.join(", ")),
        };
        paragraph(f, "door", &format!("{} on {} ({}): {}{others}", door.name, door.address, door.speaks, door.why))?;
        let who = client.address.as_deref().unwrap_or("unknown");
        let networks = match client.networks.as_slice() {
            [] => "in no network".to_owned(),
            names => names.join(", "),
        };
        paragraph(f, "client", &format!("{who} ({networks}): {}", client.why))?;
        paragraph(f, "certificate", &certificate_words(&self.certificate))?;
        match route {
            Some(route) => paragraph(f, "route", &format!("{} ({}), at {}", route.name, route.matched, route.place))?,
            None => paragraph(f, "route", "none has this name on this door")?,
        }
        let read_as = path.read_as.as_ref().map(|read| format!("; read as {read}")).unwrap_or_default();
        let rule = match (&path.rule, &path.place) {
            (Some(rule), Some(place)) => format!(" matches {rule}, at {place}"),
            (Some(rule), None) => format!(" matches {rule}"),
            (None, _) if route.is_some() => ": no rule of the route matches".to_owned(),
            (None, _) => ": no route, so no rule".to_owned(),
        };
        paragraph(f, "path", &format!("{}{rule}{read_as}", path.path))?;
        if let Some(access) = access {
            let verb = if access.admitted { "let in" } else { "shut out" };
            let by = match &access.place {
                Some(place) => format!("by `allow` of {} ({}), at {place}", access.of, access.allow),
                None => "because nothing says who may enter".to_owned(),
            };
            paragraph(f, "access", &format!("{verb} {by}"))?;
        }
        if !self.limits.is_empty() {
            paragraph(f, "limits", &self.limits.join("; "))?;
        }
        self.write_upstream(f)?;
        for note in &self.notes {
            paragraph(f, "note", note)?;
        }
        Ok(())
    }
}

impl Explanation {
    /// Whether it is sent to an upstream of which no server takes a connection now.
    fn is_down(&self) -> bool {
        let is_up = |member: &MemberPart| member.state.as_ref().is_none_or(|state| state.starts_with("up"));
        self.sent.is_some() && self.upstream.as_ref().is_some_and(|upstream| !upstream.members.iter().any(is_up))
    }

    fn write_upstream(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let would = if self.sent.is_some() { "" } else { "would be " };
        paragraph(f, "upstream", &format!("{would}{}", upstream_words(upstream)))?;
        let has_several = upstream.members.len() > 1;
        if let Some(addresses) = upstream.addresses.as_ref().filter(|_| self.live && !has_several) {
            let known =
                if addresses.is_empty() { "none, DNS does not know it".to_owned() } else { addresses.join(", ") };
            paragraph(f, "  address", &known)?;
        }
        if let Some(state) = &upstream.state {
            let waiting = match upstream.waiting {
                Some(number) if number > 0 => format!("; {number} requests wait for it"),
                _ => String::new(),
            };
            let connections = match upstream.members.as_slice() {
                [one] => connections(one),
                _ => String::new(),
            };
            paragraph(f, "  now", &format!("{state}{connections}{waiting}"))?;
        }
        for member in upstream.members.iter().filter(|_| has_several) {
            let state = member.state.as_deref().unwrap_or("not asked");
            let aside = if member.set_aside == Some(true) { "set aside, others come first; " } else { "" };
            let text = format!("{aside}{state}{}", connections(member));
            paragraph_at(f, MEMBER, &format!("    {}", member.address), if self.live { &text } else { "" })?;
        }
        if let Some(failure) = &upstream.last_failure {
            let ago = show_roughly(Duration::from_secs(failure.seconds_ago));
            paragraph(f, "  failed", &format!("{ago} ago, {}: {}", failure.cause, failure.detail))?;
        }
        let Some(sent) = &self.sent else { return Ok(()) };
        paragraph(f, "sent", &sent.request_line)?;
        for (name, value) in &sent.headers {
            paragraph(f, "", &format!("{name}: {value}"))?;
        }
        Ok(())
    }
}

/// What is open there; nothing, where nobody has said.
fn connections(member: &MemberPart) -> String {
    let Some(idle) = member.idle else { return String::new() };
    let s = |number: usize| if number == 1 { "" } else { "s" };
    let mut words = match idle {
        0 => "; no idle connection".to_owned(),
        number => format!("; {number} idle connection{}", s(number)),
    };
    if let Some(shared) = member.shared.filter(|&shared| shared > 0) {
        let _ = write!(words, ", {shared} of HTTP/2");
    }
    match member.in_flight {
        Some(1) => words.push_str("; 1 request in flight"),
        Some(number) if number > 1 => {
            let _ = write!(words, "; {number} requests in flight");
        }
        _ => {}
    }
    words
}

fn upstream_words(upstream: &UpstreamPart) -> String {
    let tls = match (&upstream.tls_name, &upstream.verify) {
        (Some(name), Some(verify)) => format!(", TLS name {name}, judged by {verify}"),
        _ => String::new(),
    };
    let hold = upstream.hold.as_ref().map(|hold| format!(", waited for up to {hold}")).unwrap_or_default();
    let balance = upstream.balance.map(|balance| format!(" ({balance})")).unwrap_or_default();
    format!("{} at {}{balance}{tls}{hold}", upstream.name, upstream.endpoint)
}

fn certificate_words(certificate: &CertificatePart) -> String {
    let (Some(id), Some(not_after), Some(days)) = (&certificate.id, &certificate.not_after, certificate.days_left)
    else {
        return certificate.why.clone();
    };
    let left = if days < 0 { format!("{} days ago", -days) } else { format!("in {days} days") };
    format!("[cert.{id}] ({}), ends {not_after}, {left}: {}", certificate.names.join(", "), certificate.why)
        .replace("[cert.local-ca]", "local CA")
}
