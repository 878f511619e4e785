//! `doorward explain`: the way of one request through everything that decides about it, each step with its reason and its
//! place in the file. It asks the functions that serve; it decides nothing itself, and opens no connection but one look
//! whether the upstream is there, and that only where Doorward runs.

mod asked;
mod incident;
mod parts;
mod text;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use incident::explain_incident;
pub use parts::{
    AccessPart, CertificatePart, ClientPart, DoorPart, OutcomePart, PathPart, RoutePart, SentPart, UpstreamPart,
};

use super::check;
use super::load::Prepared;
use crate::admin::Question;
use crate::config::{Config, Faults};
use crate::serve::{End, rehearse};
use crate::snapshot::{Snapshot, Verdict};
use crate::upstream::Target;

/// What is explained from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The rules.
    pub snapshot: &'a Snapshot,
    /// The file that they come from.
    pub config: &'a Config,
    /// Our name in Via.
    pub via: &'a Arc<str>,
    /// Whether these rules are in force here and now: then upstreams have a state.
    pub is_live: bool,
}

/// The whole way. As JSON: these names; what does not apply is null.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The method.
    pub method: String,
    /// The URL asked for.
    pub url: String,
    /// The snapshot's number; 1 for a file that is not served.
    pub generation: u64,
    /// Whether the running one was asked.
    pub live: bool,
    /// How it ends.
    pub outcome: OutcomePart,
    /// Where it comes in.
    pub door: DoorPart,
    /// Who asks.
    pub client: ClientPart,
    /// What is shown in the TLS handshake.
    pub certificate: CertificatePart,
    /// Whose name it is.
    pub route: Option<RoutePart>,
    /// The rule for the path.
    pub path: PathPart,
    /// Who may enter.
    pub access: Option<AccessPart>,
    /// What bounds how often, and how many at a time, this client may ask; with their places.
    pub limits: Vec<String>,
    /// Where it leads, or would lead if it were let in.
    pub upstream: Option<UpstreamPart>,
    /// What the upstream would be sent.
    pub sent: Option<SentPart>,
    /// What else is worth knowing about this explanation.
    pub notes: Vec<String>,
}

/// Explains a request; `Err` says what in the question cannot be understood.
pub fn explain(view: View<'_>, question: &Question) -> Result<(Explanation, Option<Arc<Target>>), String> {
    let View { snapshot, config, via, is_live } = view;
    let url = asked::url(&question.url)?;
    let (listener, door) = asked::door(snapshot, question, &url)?;
    let mut notes = Vec::new();
    let client = asked::client(snapshot, listener, question, &mut notes)?;
    let certificate = parts::certificate(snapshot, config, listener, &url.host, is_live);
    let course = rehearse(
        snapshot,
        &crate::serve::Rehearsed {
            listener,
            peer: client.peer,
            method: client.method.clone(),
            authority: &url.authority,
            target: &url.target,
            headers: client.headers,
            via,
            is_covered: certificate.covers != Some(false),
        },
    );
    let file = config.path.display().to_string();
    let decision = course.decision.as_ref();
    let target = match decision.map(|decision| decision.verdict) {
        Some(Verdict::Forward(target, _)) => Some(target),
        Some(Verdict::Refuse(_)) => decision.and_then(parts::would_lead_to),
        _ => None,
    };
    notes.extend(decision.and_then(|decision| parts::other_readings(decision, &url.path)));
    let sent = match &course.end {
        End::Sent(_, uri, headers) => Some(parts::sent(&client.method, uri, headers)),
        _ => None,
    };
    let explanation = Explanation {
        method: client.method.to_string(),
        url: url.written.clone(),
        generation: snapshot.generation,
        live: is_live,
        outcome: parts::outcome(&course.end, &listener.door.name),
        door,
        client: parts::client(snapshot, listener, client.peer, &course.believed),
        certificate,
        route: decision
            .and_then(|decision| decision.route)
            .map(|route| parts::route(route, listener, &url.host, &file)),
        path: parts::path(decision, &url.path, &file),
        access: decision.map(|decision| parts::access(decision, &file)),
        limits: decision.map(|decision| parts::limits(decision, &file)).unwrap_or_default(),
        upstream: target.map(|target| parts::upstream(target, is_live)),
        sent,
        notes,
    };
    Ok((explanation, target.cloned()))
}

/// Explains a request by a file, without serving it.
///
/// # Errors
/// The faults of the file, or what in the question cannot be understood.
pub fn explain_file(path: &Path, question: &Question) -> Result<Result<Explanation, String>, Faults> {
    let Prepared { snapshot, config, .. } = check::prepare(path)?;
    let via = "doorward".into();
    let view = View { snapshot: &snapshot, config: &config, via: &via, is_live: false };
    Ok(explain(view, question).map(|(explanation, _)| explanation))
}

/// A place in the file, or that there is none: `routes.toml:12`.
fn place(file: &str, line: u32) -> Option<String> {
    (line > 0).then(|| format!("{file}:{line}"))
}
