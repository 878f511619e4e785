//! The steps of an explanation, as programs read them, made from what the request path would use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::HeaderMap;
use http::{Method, Uri};
use serde::Serialize;
use time::OffsetDateTime;

use super::place;
use crate::config::{Balance, CertSource, Config, Origin, VerifySpec};
use crate::model::{Client, HostPattern, normalise, readings, show_duration};
use crate::serve::{Believed, End};
use crate::snapshot::{Action, Decision, Listener, Mode, Route, Snapshot, Trust};
use crate::upstream::Target;

/// Where the request comes in.
#[derive(Debug, Serialize)]
pub struct DoorPart {
    /// `[listen.<name>]`.
    pub name: String,
    /// The address, as written.
    pub address: String,
    /// `https`, `http`, or `http, sent on to https`.
    pub speaks: &'static str,
    /// Why this door was taken.
    pub why: String,
    /// Other doors that know the name.
    pub others: Vec<String>,
}

/// Who asks.
#[derive(Debug, Serialize)]
pub struct ClientPart {
    /// The address believed; null where a trusted peer named nobody.
    pub address: Option<String>,
    /// The networks that hold it.
    pub networks: Vec<String>,
    /// The TCP peer.
    pub peer: String,
    /// Why it is believed.
    pub why: String,
}

/// What is shown in the TLS handshake.
#[derive(Debug, Serialize)]
pub struct CertificatePart {
    /// `[cert.<id>]`, or `local-ca`; null on a cleartext door, or where none is known.
    pub id: Option<String>,
    /// Its names.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: Option<String>,
    /// Its last day, `2026-12-01`.
    pub not_after: Option<String>,
    /// Whole days until then; negative once it is over.
    pub days_left: Option<i64>,
    /// Whether it covers the name; null where there is none.
    pub covers: Option<bool>,
    /// Why it is this one.
    pub why: String,
}

/// Whose name it is.
#[derive(Debug, Serialize)]
pub struct RoutePart {
    /// The key.
    pub name: String,
    /// `routes.toml:31`, or the container that says so.
    pub place: String,
    /// The name that matched, as the route has it.
    pub matched: String,
}

/// The rule for the path.
#[derive(Debug, Serialize)]
pub struct PathPart {
    /// The path as asked for.
    pub path: String,
    /// The form that matching compares, where that is another.
    pub read_as: Option<String>,
    /// The rule; null where none matches.
    pub rule: Option<String>,
    /// Its place.
    pub place: Option<String>,
}

/// Who may enter.
#[derive(Debug, Serialize)]
pub struct AccessPart {
    /// Whether this client is let in.
    pub admitted: bool,
    /// The entries that count, as written.
    pub allow: String,
    /// Whose `allow` it is: `the file`, `door ...`, `route ...`, `path ...`.
    pub of: String,
    /// Its place; null where nothing says who may enter.
    pub place: Option<String>,
}

/// How it ends.
#[derive(Debug, Serialize)]
pub struct OutcomePart {
    /// `forwarded`, `redirected`, `answered`, `refused` or `turned-away`.
    pub kind: &'static str,
    /// The status that we answer; null where the upstream answers, or nobody.
    pub status: Option<u16>,
    /// The cause of a refusal, as in `x-doorward-error`.
    pub cause: Option<&'static str>,
    /// In words.
    pub text: String,
}

/// Where it leads.
#[derive(Debug, Serialize)]
pub struct UpstreamPart {
    /// Its name.
    pub name: String,
    /// Where it is; several addresses are separated by commas.
    pub endpoint: String,
    /// The name sent and checked in TLS; null for cleartext.
    pub tls_name: Option<String>,
    /// How its certificate is judged; null for cleartext.
    pub verify: Option<String>,
    /// How long requests wait for it while it is away.
    pub hold: Option<String>,
    /// Which of its addresses a request goes to; null where there is one.
    pub balance: Option<&'static str>,
    /// Its addresses; null before DNS has answered, or offline.
    pub addresses: Option<Vec<String>>,
    /// Requests that wait for it now.
    pub waiting: Option<usize>,
    /// The last failure since the start.
    pub last_failure: Option<FailurePart>,
    /// What a connection made just now came to: `up`, or why not; where there are several servers, how many of them take
    /// one. Null offline.
    pub state: Option<String>,
    /// Its servers, in the order of the file.
    pub members: Vec<MemberPart>,
}

/// One server of an upstream.
#[derive(Debug, Serialize)]
pub struct MemberPart {
    /// `host:port`, as in the log and in the metrics.
    pub address: String,
    /// Whether the last that is known of it is a failure, so that others come first; null offline.
    pub set_aside: Option<bool>,
    /// Requests that are there now; null offline.
    pub in_flight: Option<u64>,
    /// Connections of HTTP/1.1 with nothing on them, ready for a request; null offline.
    pub idle: Option<usize>,
    /// Connections of HTTP/2, which requests share; null offline.
    pub shared: Option<usize>,
    /// What a connection made just now came to: `up`, or why not; null offline.
    pub state: Option<String>,
}

/// A failure of an upstream.
#[derive(Debug, Serialize)]
pub struct FailurePart {
    /// Seconds since then.
    pub seconds_ago: u64,
    /// As in `x-doorward-error`.
    pub cause: &'static str,
    /// More about it.
    pub detail: String,
}

/// What the upstream would be sent.
#[derive(Debug, Serialize)]
pub struct SentPart {
    /// `GET /path HTTP/1.1`.
    pub request_line: String,
    /// Name and value of every field, in order.
    pub headers: Vec<(String, String)>,
}

pub(super) const fn mode_words(mode: Mode) -> &'static str {
    match mode {
        Mode::Tls => "https",
        Mode::Plain => "http",
        Mode::Redirect(_) => "http, sent on to https",
    }
}

pub(super) fn client(snapshot: &Snapshot, listener: &Listener, peer: IpAddr, believed: &Believed) -> ClientPart {
    let is_believed = listener.door.trust.believes(peer);
    let why = match (&listener.door.trust, believed.client) {
        (Trust::Nobody, _) => "the TCP peer; this door believes no header".to_owned(),
        (_, Client::Unknown) => "a trusted peer named nobody, or not exactly one".to_owned(),
        (Trust::Cloudflared, _) => format!("from CF-Connecting-IP, which {peer} may say, being this machine"),
        (Trust::Peers(_), _) if is_believed => format!("from X-Forwarded-For, which {peer} may say"),
        (Trust::Peers(_), _) => "the TCP peer; this door does not believe it, so its headers do not count".to_owned(),
    };
    ClientPart {
        address: believed.client.address().map(|address| address.to_string()),
        networks: snapshot.networks.names_of(believed.client).map(str::to_owned).collect(),
        peer: peer.to_string(),
        why,
    }
}

pub(super) fn certificate(
    snapshot: &Snapshot,
    config: &Config,
    listener: &Listener,
    host: &str,
    is_live: bool,
) -> CertificatePart {
    let none = |why: &str| CertificatePart {
        id: None,
        names: Vec::new(),
        issuer: None,
        not_after: None,
        days_left: None,
        covers: None,
        why: why.to_owned(),
    };
    if listener.mode != Mode::Tls {
        return none(match listener.door.trust {
            Trust::Cloudflared => "none, this door is cleartext; TLS ends at Cloudflare",
            _ => "none, this door is cleartext",
        });
    }
    let covers = snapshot.certificates.covering(host).is_some();
    if !covers && !is_live {
        return none(&not_known_offline(config, host));
    }
    let Some(certificate) = snapshot.certificates.find(Some(host)) else { return none("there is none at all") };
    let names: Vec<String> = certificate.names().iter().map(ToString::to_string).collect();
    let why = match names.iter().find(|name| *name == host) {
        _ if certificate.is_local() && covers => "no other certificate covers the name, so the local CA made one",
        _ if !covers => "no certificate covers the name: the default one is shown",
        Some(_) => "it has the name",
        None => "its wildcard covers the name",
    };
    let not_after = certificate.not_after();
    CertificatePart {
        id: Some(certificate.id().to_string()),
        names,
        issuer: Some(certificate.issuer().to_owned()),
        not_after: Some(not_after.date().to_string()),
        days_left: Some((not_after - OffsetDateTime::now_utc()).whole_days()),
        covers: Some(covers),
        why: why.to_owned(),
    }
}

/// Certificates in the state folder are not looked at offline, but who would have the name is known.
fn not_known_offline(config: &Config, host: &str) -> String {
    let has = |name: &HostPattern| match name {
        HostPattern::Exact(name) => name.as_str() == host,
        HostPattern::Wildcard(base) => host.split_once('.').is_some_and(|(_, parent)| parent == base.as_str()),
        HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => false,
    };
    let order = config.certs.iter().find(|cert| match &cert.source {
        CertSource::Acme(order) => order.names.iter().any(|name| has(&name.value)),
        CertSource::Files { .. } => false,
    });
    match order {
        Some(cert) => {
            format!("that of [cert.{}], once it is issued; what is stored is not looked at here", cert.id.value)
        }
        None => "no [cert.*] covers the name: one of the local CA".to_owned(),
    }
}

pub(super) fn route(route: &Route, listener: &Listener, host: &str, file: &str) -> RoutePart {
    let at = match &route.origin {
        Origin::File => place(file, route.line).unwrap_or_default(),
        Origin::Container(name) => format!("container {name}"),
    };
    let matched = if listener.door.public_names { host.to_owned() } else { route.host.to_string() };
    RoutePart { name: route.name.to_string(), place: at, matched }
}

pub(super) fn path(decision: Option<&Decision<'_>>, path: &str, file: &str) -> PathPart {
    let rule = decision.and_then(|decision| decision.rule);
    let normal = normalise(path);
    PathPart {
        path: path.to_owned(),
        read_as: (normal != path).then(|| normal.into_owned()),
        rule: rule.map(|rule| rule.pattern.to_string()),
        place: rule.and_then(|rule| place(file, rule.line)),
    }
}

/// That a path was refused where servers read it in several ways.
pub(super) fn other_readings(decision: &Decision<'_>, path: &str) -> Option<String> {
    let is_denied = matches!(decision.verdict, crate::snapshot::Verdict::Refuse(crate::model::Refusal::AccessDenied));
    let guards = decision.route.is_some_and(|route| route.guards_paths);
    let all = readings(path);
    (is_denied && guards && all.len() > 1).then(|| {
        let others: Vec<String> = all.iter().take(4).map(|read| format!("`{read}`")).collect();
        format!(
            "servers read this path in {} ways ({}{}), and on a route where a path has an `allow`, who asks must be admitted in \
             each of them",
            all.len(),
            others.join(", "),
            if all.len() > others.len() { ", …" } else { "" }
        )
    })
}

pub(super) fn access(decision: &Decision<'_>, file: &str) -> AccessPart {
    let allow = decision.allow;
    let denied = crate::model::Refusal::AccessDenied;
    AccessPart {
        admitted: !matches!(decision.verdict, crate::snapshot::Verdict::Refuse(refusal) if refusal == denied),
        allow: if allow.words.is_empty() { "nobody".to_owned() } else { allow.words.to_string() },
        of: allow.place.to_string(),
        place: place(file, allow.line),
    }
}

pub(super) fn limits(decision: &Decision<'_>, file: &str) -> Vec<String> {
    let at = |line| place(file, line).map(|at| format!(", at {at}")).unwrap_or_default();
    let rate = decision
        .bounds
        .rate
        .and_then(|bound| Some(format!("{} (`limit` of {}{})", bound.most?, bound.place, at(bound.line))));
    let in_flight = decision.bounds.in_flight.and_then(|bound| {
        Some(format!("{} at a time (`in_flight` of {}{})", bound.most?, bound.place, at(bound.line)))
    });
    rate.into_iter().chain(in_flight).collect()
}

pub(super) fn outcome(end: &End<'_>, door: &str) -> OutcomePart {
    let part = |kind, status, cause, text| OutcomePart { kind, status, cause, text };
    match end {
        End::TurnedAway => {
            let text = format!("turned away: door `{door}` closes the connection, the peer is not among its `peers`");
            part("turned-away", None, None, text)
        }
        End::Refused(refusal, why) => {
            let text = if why.is_empty() { refusal.sentence().to_owned() } else { why.clone() };
            part("refused", Some(refusal.status()), Some(refusal.cause()), text)
        }
        End::Redirected(status, location) => {
            let text = format!("sent to {}", String::from_utf8_lossy(location.as_bytes()));
            part("redirected", Some(status.as_u16()), None, text)
        }
        End::Answered(answer) => {
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            part("answered", Some(answer.status.as_u16()), None, format!("answered from the file: {body}"))
        }
        End::Sent(target, ..) => part("forwarded", None, None, format!("forwarded to `{}`", target.upstream.name())),
    }
}

/// Where a refused request would have led.
pub(super) fn would_lead_to<'s>(decision: &Decision<'s>) -> Option<&'s Arc<Target>> {
    let route = decision.route?;
    match decision.rule.map(|rule| &rule.action) {
        None => route.target.as_ref(),
        Some(Action::Forward { target, .. }) => target.as_ref().or(route.target.as_ref()),
        Some(Action::Redirect { .. } | Action::Answer(_)) => None,
    }
}

pub(super) fn upstream(target: &Target, is_live: bool) -> UpstreamPart {
    let upstream = &target.upstream;
    let key = &upstream.key;
    let failure = upstream.last_failure().map(|failure| FailurePart {
        seconds_ago: SystemTime::now().duration_since(failure.at).unwrap_or_default().as_secs(),
        cause: failure.refusal.cause(),
        detail: failure.detail.to_string(),
    });
    let verify = match &key.verify {
        VerifySpec::System => "the system's roots".to_owned(),
        VerifySpec::Ca(path) => format!("the CA in {}", path.display()),
        VerifySpec::Pin(_) => "its pinned certificate".to_owned(),
        VerifySpec::Off => "not at all (`verify = false`)".to_owned(),
    };
    let tls = target.lanes.first().and_then(|lane| lane.tls.as_ref());
    let is_named = upstream.members.iter().any(|member| member.is_named());
    let addresses = || {
        let known: Option<Vec<_>> = upstream.members.iter().map(|member| member.addresses()).collect();
        Some(known?.iter().flat_map(|addresses| addresses.iter().map(ToString::to_string)).collect())
    };
    let members = target.lanes.iter().map(|lane| MemberPart {
        address: lane.member.authority.to_string(),
        set_aside: is_live.then(|| lane.is_aside()),
        in_flight: is_live.then(|| lane.member.metrics.in_flight()),
        idle: None,
        shared: None,
        state: None,
    });
    UpstreamPart {
        name: upstream.name().to_owned(),
        balance: (target.lanes.len() > 1).then(|| balance_words(key.balance)),
        endpoint: key.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        tls_name: tls.map(|tls| tls.name.to_str().into_owned()),
        verify: tls.map(|_| verify),
        hold: key.hold.map(show_duration),
        addresses: if is_live || !is_named { addresses() } else { None },
        waiting: is_live.then(|| upstream.hold.waiting()),
        last_failure: failure,
        state: None,
        members: members.collect(),
    }
}

/// As the file has it.
const fn balance_words(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round-robin",
        Balance::LeastRequests => "least-requests",
        Balance::Sticky => "sticky",
    }
}

pub(super) fn sent(method: &Method, uri: &Uri, headers: &HeaderMap) -> SentPart {
    let shown = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    SentPart {
        request_line: format!("{method} {uri} HTTP/1.1"),
        headers: headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect(),
    }
}
