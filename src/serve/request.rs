//! The life of a request: examine, believe, decide, act, answer. The order is the program; nothing configures it.

use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::body::ResponseBody;
use super::core::listener_of;
use super::examine::{believe, examine};
use super::exchange::Exchange;
use super::forward::{self, Journey};
use super::respond::{self, Audience};
use crate::model::Refusal;
use crate::snapshot::{Action, Facts, Snapshot, Verdict, decide};

/// Answers one request. The whole of it sees one snapshot.
pub async fn handle(exchange: Rc<Exchange>, request: Request<Incoming>) -> Response<ResponseBody> {
    let snapshot = exchange.core.cell.load();
    let listener = listener_of(&snapshot, &exchange.connection);
    let peer = exchange.peer();
    let believed = believe(&listener.door.trust, listener.mode, peer, request.headers());
    exchange.client.set(believed.client);
    let is_home = snapshot.networks.knows(believed.client);
    let audience = Audience::of(request.method(), request.headers(), is_home);

    // An upgrade is taken from the request before it is taken apart.
    let mut request = request;
    let upgrade = super::headers::asks_for_websocket(request.method(), request.version(), request.headers())
        .then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let examined = match examine(&parts) {
        Ok(examined) => examined,
        Err((refusal, why)) => return respond::refuse(&exchange, &audience, refusal, Some(why)),
    };
    exchange.host.borrow_mut().clone_from(&examined.host);

    let facts = Facts {
        listener: &listener,
        peer,
        client: believed.client,
        host: &examined.host,
        path: path_of(&parts.uri),
        is_covered: exchange.connection.certificate.as_ref().is_none_or(|served| served.covers(&examined.host)),
    };
    let decision = decide(&snapshot, &facts);
    if let Some(route) = decision.route {
        let _ = exchange.route.set(Arc::clone(route));
    }
    match decision.verdict {
        Verdict::Refuse(refusal) => {
            let why = (refusal == Refusal::AccessDenied).then(|| denied(&decision, &believed.client.to_string()));
            respond::refuse(&exchange, &audience, refusal, why.map(Into::into))
        }
        Verdict::ToHttps(port) => match https_location(&examined.host, port, &parts.uri) {
            Some(location) => respond::redirect(&exchange, StatusCode::PERMANENT_REDIRECT, location),
            None => respond::refuse(&exchange, &audience, Refusal::BadRequest, Some("no Host to redirect to".into())),
        },
        Verdict::Redirect(Action::Redirect { location, status }) => {
            respond::redirect(&exchange, *status, location.clone())
        }
        Verdict::Redirect(_) => respond::refuse(&exchange, &audience, Refusal::Internal, None),
        Verdict::Answer(answer) => respond::fixed(&exchange, answer, &parts.method),
        Verdict::Forward(target, strip) => {
            let (Some(route), Some(host)) = (decision.route, examined.host_header) else {
                return respond::refuse(&exchange, &audience, Refusal::NoRoute, None);
            };
            let journey = Journey {
                exchange: Rc::clone(&exchange),
                route: Arc::clone(route),
                target: Arc::clone(target),
                believed,
                host,
                strip: strip.cloned(),
                upgrade,
            };
            // From here on nothing needs the snapshot: a long answer must not keep an old one alive.
            drop(listener);
            drop(snapshot);
            match forward::forward(journey, parts, body).await {
                Ok(response) => response,
                Err((refusal, why)) => respond::refuse(&exchange, &audience, refusal, Some(why)),
            }
        }
    }
}

fn path_of(uri: &http::Uri) -> &str {
    match uri.path() {
        "" => "/",
        path => path,
    }
}

/// Why a client was denied, for the log and for people at home.
fn denied(decision: &crate::snapshot::Decision<'_>, client: &str) -> String {
    match decision.allow.line {
        0 => format!("{client}: nothing says who may enter"),
        line => format!(
            "{client} is not in [{}], the `allow` of {} (line {line})",
            decision.allow.words, decision.allow.place
        ),
    }
}

fn https_location(host: &str, port: u16, uri: &http::Uri) -> Option<HeaderValue> {
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
    let listener = listener_of(snapshot, &exchange.connection);
    let host = exchange.host.borrow();
    let facts = Facts {
        listener: &listener,
        peer: exchange.peer(),
        client: exchange.client.get(),
        host: &host,
        path: path_of(&exchange.uri),
        // The connection was judged when it was made; a certificate that is renewed takes nothing away.
        is_covered: true,
    };
    let decision = decide(snapshot, &facts);
    let is_refused = matches!(decision.verdict, Verdict::Refuse(_));
    !is_refused && decision.route.is_some_and(|now| now.name == route.name)
}
