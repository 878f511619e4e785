//! An explanation for people: one paragraph for each step, within 80 columns, whatever strangers put into it.

use std::fmt;

use super::Explanation;
use super::parts::{CertificatePart, UpstreamPart};
use crate::app::paragraph::paragraph_at;

/// Columns of the labels on the left.
const LABEL: usize = 13;

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
        paragraph(f, "  outcome", &format!("{status}{cause}{}", outcome.text))?;
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
    fn write_upstream(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(upstream) = &self.upstream else { return Ok(()) };
        let would = if self.sent.is_some() { "" } else { ", if it were let in" };
        paragraph(f, "upstream", &format!("{}{would}", upstream_words(upstream)))?;
        if let Some(addresses) = upstream.addresses.as_ref().filter(|_| self.live) {
            let known =
                if addresses.is_empty() { "none, DNS does not know it".to_owned() } else { addresses.join(", ") };
            paragraph(f, "  address", &known)?;
        }
        if let Some(state) = &upstream.state {
            let waiting = match upstream.waiting {
                Some(number) if number > 0 => format!("; {number} requests wait for it"),
                _ => String::new(),
            };
            paragraph(f, "  now", &format!("{state}{waiting}"))?;
        }
        if let Some(failure) = &upstream.last_failure {
            let ago = ago(failure.seconds_ago);
            paragraph(f, "  last failure", &format!("{ago} ago, {}: {}", failure.cause, failure.detail))?;
        }
        let Some(sent) = &self.sent else { return Ok(()) };
        paragraph(f, "sent", &sent.request_line)?;
        for (name, value) in &sent.headers {
            paragraph(f, "", &format!("{name}: {value}"))?;
        }
        Ok(())
    }
}

fn upstream_words(upstream: &UpstreamPart) -> String {
    let tls = match (&upstream.tls_name, &upstream.verify) {
        (Some(name), Some(verify)) => format!(", TLS name {name}, judged by {verify}"),
        _ => String::new(),
    };
    let hold = upstream.hold.as_ref().map(|hold| format!(", waited for up to {hold}")).unwrap_or_default();
    format!("{} at {}{tls}{hold}", upstream.name, upstream.endpoint)
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

/// `40 s`, `3 min`, `5 h`, `2 days`.
pub(super) fn ago(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
