//! The life of a request: examine, believe, decide, act, answer. The order is the program; nothing configures it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::arriving::Arriving;
use super::body::{RequestBody, ResponseBody};
use super::core::listener_of;
use super::examine::{Believed, Examined, Refused, believe, examine};
use super::exchange::Exchange;
use super::forward::{self, Journey};
use super::respond::{self, Audience};
use super::seen::Seen;
use super::websocket;
use crate::model::{Client, Refusal};
use crate::snapshot::{
    Action, Allow, AllowPlace, CHALLENGE_PATH, Decision, Facts, Listener, Mode, Snapshot, Verdict, decide,
};
use crate::upstream::Target;

/// What becomes of a request.
pub enum Handled {
    /// We answered it ourselves.
    Answered(Response<ResponseBody>),
    /// It is on its way to an upstream.
    Forwarded(Journey, Box<Request<RequestBody>>),
}

/// Takes up one request, in whose head this was seen. The whole of it sees one snapshot, and nothing in it waits.
pub fn handle(exchange: &Rc<Exchange>, request: Request<Arriving>, seen: Seen) -> Handled {
    let snapshot = exchange.core.cell.load();
    let listener = listener_of(&snapshot, &exchange.connection);
    let believed = match exchange.connection.source() {
        Some(source) => believe(&listener.door.trust, listener.mode, source.ip(), request.headers()),
        None => Believed { client: Client::Unknown, is_https: listener.mode == Mode::Tls },
    };
    exchange.client.set(believed.client);
    let is_home = snapshot.networks.knows(believed.client);
    let audience = Audience::of(request.method(), request.version(), request.headers(), seen, is_home);
    let handled = decided(exchange, &snapshot, listener, believed, audience, request, seen);
    handled.unwrap_or_else(|(refusal, why)| Handled::Answered(respond::refuse(exchange, &audience, refusal, why)))
}

fn decided(
    exchange: &Rc<Exchange>,
    snapshot: &Snapshot,
    listener: &Listener,
    believed: Believed,
    audience: Audience,
    mut request: Request<Arriving>,
    seen: Seen,
) -> Result<Handled, (Refusal, Option<Cow<'static, str>>)> {
    let told = |(refusal, why): Refused| (refusal, Some(why));
    // An upgrade is taken from the request before it is taken apart.
    let upgrade = websocket::ask(&mut request, seen).map(Box::new);
    let (parts, body) = request.into_parts();
    let Examined { host, host_header } = examine(&parts, seen).map_err(told)?;
    if listener.mode != Mode::Tls
        && let Some(proof) = proof_for(exchange, &parts)
    {
        exchange.host.replace(host);
        return Ok(Handled::Answered(respond::proof(exchange, proof, &parts.method)));
    }
    let facts = Facts {
        listener,
        peer: exchange.source(),
        client: believed.client,
        host: &host,
        path: path_of(&parts.uri),
        is_covered: exchange.connection.certificate().is_none_or(|served| served.covers(&host)),
    };
    let decision = decide(snapshot, &facts);
    exchange.host.replace(host);
    if let Some(route) = decision.route {
        let _ = exchange.route.set(Arc::clone(route));
    }
    within_bounds(exchange, snapshot, listener, &decision).map_err(told)?;
    let answered = match decision.verdict {
        Verdict::Refuse(Refusal::AccessDenied) => {
            let why = denied(&decision, &believed.client.to_string());
            return Err((Refusal::AccessDenied, Some(why.into())));
        }
        Verdict::Refuse(refusal) => return Err((refusal, None)),
        Verdict::ToHttps(port) => {
            let location = https_location(&exchange.host.borrow(), port, &parts.uri);
            let location = location.ok_or((Refusal::BadRequest, Some("no Host to redirect to".into())))?;
            respond::redirect(exchange, StatusCode::PERMANENT_REDIRECT, location)
        }
        Verdict::Redirect(Action::Redirect { location, status }) => {
            respond::redirect(exchange, *status, location.clone())
        }
        Verdict::Redirect(_) => return Err((Refusal::Internal, None)),
        Verdict::Answer(answer) => respond::fixed(exchange, answer, &parts.method),
        Verdict::Forward(target, rewrite) => {
            let (Some(route), Some(host)) = (decision.route, host_header) else { return Err((Refusal::NoRoute, None)) };
            // The journey holds its route, not the snapshot: a long answer must not keep an old one alive.
            let journey = Journey {
                exchange: Rc::clone(exchange),
                route: Arc::clone(route),
                target: Arc::clone(target),
                believed,
                audience,
                upgrade,
                forwarding: OnceCell::new(),
            };
            let request = forward::prepare(&journey, parts, seen, body, host, rewrite).map_err(told)?;
            return Ok(Handled::Forwarded(journey, request));
        }
    };
    Ok(Handled::Answered(answered))
}

/// Counts the request where the file bounds what one client may ask of one route. The client is whom the door believes: the
/// unknown are one, and nobody is the gateway that they came through.
fn within_bounds(
    exchange: &Exchange,
    snapshot: &Snapshot,
    listener: &Listener,
    decision: &Decision<'_>,
) -> Result<(), Refused> {
    let Some(route) = decision.route else { return Ok(()) };
    if matches!(decision.verdict, Verdict::Refuse(_)) {
        return Ok(());
    }
    let client = exchange.client.get();
    let core = &exchange.core;
    if core.shortage.is_on() {
        return Err((Refusal::Overload, "memory is short (`memory` of [limits])".into()));
    }
    let most = core.room.requests(&snapshot.limits);
    if core.exchanges() > most {
        return Err((Refusal::Overload, format!("{most} requests are in flight (`requests` of [limits])").into()));
    }
    let over = |what: String, place: &crate::snapshot::AllowPlace, line: u32, retry_after: u64| {
        exchange.retry_after.set(Some(retry_after));
        route.metrics.limited(core.index);
        Err((Refusal::RateLimit, format!("{client}: {what} of {place} (line {line})").into()))
    };
    // Behind a trusted peer a connection is nobody's in particular: what one address may have elsewhere in connections, one
    // client may have here in requests.
    if listener.door.trust.believes(exchange.connection.peer.ip())
        && client != Client::at(exchange.connection.peer.ip())
    {
        let most = snapshot.limits.connections_per_client;
        match core.counts.enter(most, &(0, 0, client.counted_with())) {
            Some(held) => exchange.held.borrow_mut().push(held),
            None => {
                exchange.retry_after.set(Some(1));
                route.metrics.limited(core.index);
                let why = format!("{client}: more than {most} at a time (`connections_per_client` of [limits])");
                return Err((Refusal::RateLimit, why.into()));
            }
        }
    }
    if let Some(bound) = decision.bounds.in_flight
        && let Some(most) = bound.most
    {
        match core.counts.enter(most, &(bound.number, route.number, client.counted_with())) {
            Some(held) => exchange.held.borrow_mut().push(held),
            None => return over(format!("more than {most} at a time, the `in_flight`"), &bound.place, bound.line, 1),
        }
    }
    if let Some(bound) = decision.bounds.rate
        && let Some(rate) = bound.most
        && let Err(wait) = core.counts.ask(rate, &(bound.number, route.number, client.counted_with()))
    {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        return over(format!("more than {rate}, the `limit`"), &bound.place, bound.line, seconds);
    }
    Ok(())
}

/// What a CA is answered that looks whether a name is ours (RFC 8555 §8.3): before `allow`, since nobody knows from where it
/// asks.
fn proof_for(exchange: &Exchange, parts: &http::request::Parts) -> Option<Bytes> {
    let asks_for_proof =
        parts.uri.path().starts_with(CHALLENGE_PATH) && (parts.method == Method::GET || parts.method == Method::HEAD);
    if !asks_for_proof {
        return None;
    }
    exchange.core.cell.challenges().answer(parts.uri.path()).cloned()
}

pub(super) fn path_of(uri: &http::Uri) -> &str {
    match uri.path() {
        "" => "/",
        path => path,
    }
}

/// Why a client was denied, for the log and for people at home.
pub(super) fn denied(decision: &Decision<'_>, client: &str) -> String {
    let Allow { words, place, line, .. } = decision.allow;
    match (line, place) {
        (0, AllowPlace::File) => format!("{client}: nothing says who may enter"),
        (0, _) => format!("{client} is not in [{words}], which is what its container says of {place}"),
        (line, _) => format!("{client} is not in [{words}], the `allow` of {place} (line {line})"),
    }
}

pub(super) fn https_location(host: &str, port: u16, uri: &http::Uri) -> Option<HeaderValue> {
    if host.is_empty() {
        return None;
    }
    let rest = uri.path_and_query().map_or("/", |pq| pq.as_str());
    let rest = if rest.starts_with('/') { rest } else { "/" };
    let location = if port == 443 { format!("https://{host}{rest}") } else { format!("https://{host}:{port}{rest}") };
    HeaderValue::try_from(location).ok()
}

/// Whether an exchange that began under another snapshot would still be let in, to the same route, under this one.
pub fn still_stands(snapshot: &Snapshot, exchange: &Exchange) -> bool {
    let Some(route) = exchange.route.get() else { return true };
    decided_again(snapshot, exchange, |decision| {
        let is_refused = matches!(decision.verdict, Verdict::Refuse(_));
        !is_refused && decision.route.is_some_and(|now| now.name == route.name)
    })
}

/// Where the snapshot in force forwards an exchange that began under this one or another: to the same route's target, as it
/// is by now.
pub fn target_now(exchange: &Exchange) -> Option<Arc<Target>> {
    let route = exchange.route.get()?;
    let snapshot = exchange.core.cell.load();
    decided_again(&snapshot, exchange, |decision| match decision.verdict {
        Verdict::Forward(target, _) if decision.route.is_some_and(|now| now.name == route.name) => {
            Some(Arc::clone(target))
        }
        _ => None,
    })
}

fn decided_again<T>(snapshot: &Snapshot, exchange: &Exchange, read: impl FnOnce(&Decision<'_>) -> T) -> T {
    let host = exchange.host.borrow();
    let facts = Facts {
        listener: listener_of(snapshot, &exchange.connection),
        peer: exchange.source(),
        client: exchange.client.get(),
        host: &host,
        path: path_of(&exchange.uri),
        // The connection was judged when it was made; a certificate that is renewed takes nothing away.
        is_covered: true,
    };
    read(&decide(snapshot, &facts))
}
