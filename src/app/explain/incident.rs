//! `doorward explain ID`: what became of one request that failed, from the record that was kept of it, and what mends it.
//! Knows only what the access record knows: no header but the user agent, no body, a query only where the route logs it.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::text::paragraph;
use super::{View, explain};
use crate::admin::Question;
use crate::model::Refusal;

/// One request that was refused or failed. As JSON: these names.
#[derive(Debug, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: String,
    /// The access record, with the names that the log has.
    pub record: Value,
    /// What happened, in words.
    pub what: String,
    /// What mends it.
    pub mend: String,
    /// What the same request would come to now.
    pub now: Option<String>,
    /// The command that shows how; null where the request named no host.
    pub ask: Option<String>,
}

/// Explains a record as the access log writes it in JSON.
pub fn explain_incident(view: View<'_>, record: Value) -> Incident {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let scheme = if record["tls"] == true || text("peer") != text("client") { "https" } else { "http" };
    let question = Question {
        url: format!("{scheme}://{}{}", text("host"), text("path")),
        from: Some(text("client")).filter(|client| client != "unknown"),
        via: Some(text("door")),
        method: text("method"),
        headers: Vec::new(),
    };
    let now = explain(view, &question).ok().map(|(explanation, _)| {
        let status = explanation.outcome.status.map(|status| format!("{status}, ")).unwrap_or_default();
        format!("{status}{}", explanation.outcome.text)
    });
    let from = question.from.as_ref().map(|from| format!(" --from {from}")).unwrap_or_default();
    let ask = || format!("doorward explain '{}'{from} --via {}", question.url.replace('\'', "%27"), text("door"));
    let ask = (!text("host").is_empty()).then(ask);
    Incident { id: text("id"), what: what(&record), mend: mend(&record), now, ask, record }
}

fn refusal_of(record: &Value) -> Option<Refusal> {
    let cause = record["cause"].as_str()?;
    Refusal::ALL.into_iter().find(|refusal| refusal.cause() == cause)
}

fn what(record: &Value) -> String {
    let status = &record["status"];
    let detail = record["detail"].as_str().map(|detail| format!(" {detail}.")).unwrap_or_default();
    match refusal_of(record) {
        Some(refusal) => format!("{status} {refusal}: {}{detail}", refusal.sentence()),
        None if record["aborted"] == true => {
            let began =
                if *status == 0 { "before it was answered".to_owned() } else { format!("in an answer of {status}") };
            format!("The client or the upstream broke off, {began}.{detail}")
        }
        None => {
            let upstream = record["upstream"].as_str().unwrap_or("the upstream");
            format!("`{upstream}` answered {status} itself; Doorward passed that on as it came.{detail}")
        }
    }
}

/// What a person can do about it. One sentence or two for each cause.
fn mend(record: &Value) -> String {
    let Some(refusal) = refusal_of(record) else {
        return match record["aborted"] == true {
            true => "Nothing, if somebody closed a page or stopped a download. Else look at the upstream's own log at that time.",
            false => "Look into the log of that service, at that time.",
        }
        .to_owned();
    };
    let route = record["route"].as_str().unwrap_or("the route");
    let client = record["client"].as_str().unwrap_or("the client");
    match refusal {
        Refusal::BadRequest => {
            "What arrived is not valid HTTP, or could be read in two ways. Mend the client, or what stands before Doorward.".into()
        }
        Refusal::BadPath => format!(
            "Ask for the path in its plain spelling. `{route}` has paths with an `allow`, so one that an upstream could read \
             differently is refused."
        ),
        Refusal::MethodNotAllowed => "CONNECT and TRACE are never forwarded; use another method.".into(),
        Refusal::HeadTooLarge => "Most often these are cookies: delete those of this site in the browser.".into(),
        Refusal::TargetTooLong => "Shorten the address, or raise `head` of [limits] if a service really needs it.".into(),
        Refusal::AccessDenied => format!(
            "If {client} should enter, add its network to the `allow` named above; `doorward plan` then shows who else that \
             lets in. If it should be another address, the door believes somebody too little, or too much: see `trust`."
        ),
        Refusal::NoRoute => "If the name should exist, give it a route; on a door with `names = \"public\"`, a `public` name. \
                             `doorward routes` shows what there is."
            .into(),
        Refusal::Misdirected => "Nothing: browsers open a new connection by themselves. If it stays, no certificate covers the \
                                 name; `doorward cert` shows which names are covered."
            .into(),
        Refusal::BodyLimit => format!("Raise `max_body` of `{route}`, or leave the key out: then there is no limit."),
        Refusal::BodyTimeout => "The client sent nothing for 30 s, or less than 1 KiB/s. Look at its connection.".into(),
        Refusal::RateLimit => format!("Wait, or raise the limit of `{route}` if it is meant to bear this."),
        Refusal::Overload => "Wait. If it is meant to bear this: docs/defaults.md says what bounds it \
                              (`requests` and `memory` of [limits], LimitNOFILE)."
            .into(),
        Refusal::Loop => format!("`{route}` leads back here. Let its `to` name the service itself, not this gateway."),
        Refusal::UpstreamRefused => {
            "The machine is there, but nothing listens on that port: is the service started, and is the port right? If it is \
             only restarting, `hold = \"45s\"` on the upstream lets requests wait for it."
                .into()
        }
        Refusal::UpstreamUnreachable => {
            "There is no way to that machine: is it on, is the address right, does a firewall stand between?".into()
        }
        Refusal::UpstreamConnectTimeout => {
            "The machine does not answer at all: it is off, or a firewall drops what we send. Try it from this machine.".into()
        }
        Refusal::UpstreamUnresolved => "DNS does not know that name: see `to`, and this machine's /etc/resolv.conf.".into(),
        Refusal::UpstreamTls => "Does that port speak TLS? If not, write `http://` in `to`.".into(),
        Refusal::UpstreamCertificate => {
            "Its certificate is not for the name that we expect, or from nobody we trust: write the `tls_name` it is for, the \
             `ca` it is from, or its `pin` if it is self-signed."
                .into()
        }
        Refusal::UpstreamPinMismatch => {
            "If that service was given a new certificate, write its `pin` anew. If not, somebody else answers in its place."
                .into()
        }
        Refusal::UpstreamClosed => "The service took the connection and dropped it: look into its log at that time.".into(),
        Refusal::UpstreamBadResponse => {
            "What answers there does not speak HTTP as it should: is the port the right one, is it `https://`?".into()
        }
        Refusal::UpstreamTimeout => {
            format!("The service was silent for too long. If it may take that long, raise `idle` of `{route}`.")
        }
        Refusal::UpstreamHeld => "The service stayed away for longer than its `hold`: start it, or raise `hold`.".into(),
        Refusal::UpstreamAbsent => {
            "The container behind the name is stopped: start it. `hold` lets requests wait for that.".into()
        }
        Refusal::Internal => "This is a fault of Doorward. The log has more under this id; please report it.".into(),
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: &str| self.record[name].as_str().unwrap_or("-");
        writeln!(f, "id {}, {}", self.id, text("time"))?;
        writeln!(f)?;
        let scheme = if self.record["tls"] == true { "https" } else { "http" };
        let asked = match text("host") {
            "" => format!("{} {}", text("method"), text("path")),
            host => format!("{} {scheme}://{host}{}", text("method"), text("path")),
        };
        paragraph(f, "asked", &asked)?;
        paragraph(f, "by", &format!("{}, through door {}, route {}", text("client"), text("door"), text("route")))?;
        paragraph(f, "happened", &self.what)?;
        paragraph(f, "mend", &self.mend)?;
        if let Some(now) = &self.now {
            paragraph(f, "now", &format!("the same request would be {now}"))?;
        }
        match &self.ask {
            Some(ask) => paragraph(f, "more", ask),
            None => Ok(()),
        }
    }
}
