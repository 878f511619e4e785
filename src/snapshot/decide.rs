//! The one pure function from a snapshot and the facts of a request to what happens. The request path, expectations and
//! explanations call this and nothing else.
//!
//! Order: `allow` (path > route > door > file), then 308 to https, then 421 and 404, then what the path says. A client that
//! is not admitted learns nothing from the answer, not even whether the name exists.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::Snapshot;
use super::door::{Allow, Listener, Mode, Trust};
use super::quota::{Bounds, bounds};
use super::route::{Action, Answer, PathRule, Route};
use crate::config::Schemes;
use crate::model::{Client, PathPattern, Refusal, is_ambiguous, normalise, readings};
use crate::upstream::Target;

/// What is known of a request when it is decided: where it came in lives with the snapshot, the rest with the request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a, 'r> {
    /// Where it came in.
    pub listener: &'a Listener,
    /// The TCP peer.
    pub peer: IpAddr,
    /// Who asks, as far as the door believes.
    pub client: Client,
    /// Host without port, lower case, no trailing dot. Empty where HTTP/1.0 named none.
    pub host: &'r str,
    /// The path as the client wrote it, without query.
    pub path: &'r str,
    /// Whether the certificate served on this connection covers the host; true on a cleartext connection.
    pub is_covered: bool,
}

/// What happens, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// The route of the name, if there is one.
    pub route: Option<&'a Arc<Route>>,
    /// The path rule that matched.
    pub rule: Option<&'a PathRule>,
    /// The `allow` that was asked last: the one that refused, or the one that admitted.
    pub allow: &'a Allow,
    /// The bounds that count for this client on this route; none where the request is refused or sent to https.
    pub bounds: Bounds<'a>,
    /// The outcome.
    pub verdict: Verdict<'a>,
}

/// The outcome of a decision.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// We answer ourselves, with this refusal.
    Refuse(Refusal),
    /// 308 to the same address over https, on this port.
    ToHttps(u16),
    /// The path redirects.
    Redirect(&'a Action),
    /// The path has a fixed answer.
    Answer(&'a Answer),
    /// The request is forwarded, with its path rewritten if so.
    Forward(&'a Arc<Target>, Option<Rewrite<'a>>),
}

/// How a path is changed on its way to the upstream.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'a> {
    /// What matched.
    pub pattern: &'a PathPattern,
    /// What stands in place of its literal part; empty: nothing.
    pub with: &'a str,
}

/// Decides one request. Pure: no clock, no counter, no log.
pub fn decide<'a>(snapshot: &'a Snapshot, facts: &Facts<'a, '_>) -> Decision<'a> {
    let door = &facts.listener.door;
    let route = snapshot.routes.find(facts.host, door.public_names).map(|found| found.route);
    let matching = normalise(facts.path);
    let rule = route.and_then(|route| route.rule(&matching));
    let allow = effective_allow(snapshot, facts, route, rule);
    let outcome = |verdict| Decision { route, rule, allow, bounds: Bounds::default(), verdict };

    if !allow.list.admits(facts.client) {
        return outcome(Verdict::Refuse(Refusal::AccessDenied));
    }
    if let Some(closed) = closed_otherwise_read(snapshot, facts, route, &matching) {
        return Decision { allow: closed, ..outcome(Verdict::Refuse(Refusal::AccessDenied)) };
    }
    let limit = door.allow.as_ref().unwrap_or(&snapshot.allow);
    if route.is_some_and(|route| route.is_within_door) && !limit.list.admits(facts.client) {
        return Decision { allow: limit, ..outcome(Verdict::Refuse(Refusal::AccessDenied)) };
    }
    let schemes = route.map(|route| route.schemes).unwrap_or_default();
    if let (Mode::Redirect(port), Schemes::AsTheDoor) = (facts.listener.mode, schemes) {
        return outcome(Verdict::ToHttps(port));
    }
    if !facts.is_covered && !door.trust.believes(facts.peer) {
        return outcome(Verdict::Refuse(Refusal::Misdirected));
    }
    let Some(route) = route.filter(|_| is_served_here(schemes, facts.listener)) else {
        let is_open = route.is_none() && snapshot.awaits_containers;
        let refusal = if is_open { Refusal::UpstreamAbsent } else { Refusal::NoRoute };
        return outcome(Verdict::Refuse(refusal));
    };
    if route.guards_paths && is_ambiguous(facts.path) {
        return outcome(Verdict::Refuse(Refusal::BadPath));
    }
    Decision { bounds: bounds(snapshot, facts.listener, route, rule), ..outcome(act(route, rule)) }
}

/// Whether a route that minds about schemes is served by a listener. One that speaks cleartext behind a gateway that it
/// believes is the gateway's business.
fn is_served_here(schemes: Schemes, listener: &Listener) -> bool {
    match (schemes, listener.mode) {
        (Schemes::AsTheDoor | Schemes::Both, _) | (Schemes::HttpsOnly, Mode::Tls) => true,
        (Schemes::HttpsOnly, Mode::Plain) => listener.door.trust != Trust::Nobody,
        (Schemes::HttpsOnly, Mode::Redirect(_)) => false,
        (Schemes::HttpOnly, mode) => mode != Mode::Tls,
    }
}

fn act<'a>(route: &'a Route, rule: Option<&'a PathRule>) -> Verdict<'a> {
    let (target, rewrite) = match rule {
        None => (route.target.as_ref(), None),
        Some(rule) => match &rule.action {
            Action::Answer(answer) => return Verdict::Answer(answer),
            action @ Action::Redirect { .. } => return Verdict::Redirect(action),
            Action::Forward { target, replace } => {
                let rewrite = replace.as_deref().map(|with| Rewrite { pattern: &rule.pattern, with });
                (target.as_ref().or(route.target.as_ref()), rewrite)
            }
        },
    };
    match target {
        Some(target) => Verdict::Forward(target, rewrite),
        None => Verdict::Refuse(Refusal::NoRoute),
    }
}

/// Path > route > door > file. For a name without a route: door > file, the same as for a route that says nothing.
fn effective_allow<'a>(
    snapshot: &'a Snapshot,
    facts: &Facts<'a, '_>,
    route: Option<&'a Arc<Route>>,
    rule: Option<&'a PathRule>,
) -> &'a Allow {
    rule.and_then(|rule| rule.allow.as_ref())
        .or_else(|| route.and_then(|route| route.allow.as_ref()))
        .or(facts.listener.door.allow.as_ref())
        .unwrap_or(&snapshot.allow)
}

/// The `allow` that turns the client away if the path is read in another way than ours: an upstream may read it either way
/// (one resolves `..`, another takes it for a name), so every reading must be admitted.
#[expect(clippy::ptr_arg, reason = "whether the path was changed at all is what counts here")]
fn closed_otherwise_read<'a>(
    snapshot: &'a Snapshot,
    facts: &Facts<'a, '_>,
    route: Option<&'a Arc<Route>>,
    matching: &Cow<'_, str>,
) -> Option<&'a Allow> {
    let (Cow::Owned(_), Some(route)) = (matching, route.filter(|route| route.guards_paths)) else { return None };
    let allows =
        readings(facts.path).into_iter().map(|read| effective_allow(snapshot, facts, Some(route), route.rule(&read)));
    allows.into_iter().find(|allow| !allow.list.admits(facts.client))
}

#[cfg(test)]
mod tests;
