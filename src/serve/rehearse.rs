//! What would become of a request, step by step, without one: the very functions of the request path, asked in its order.
//! Opens no connection, counts nothing, and does not see what depends on the moment (limits, loops, challenges of a CA).

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap};
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version};

use super::core::Via;
use super::examine::{Believed, believe, examine};
use super::forward::{check_length, upstream_uri};
use super::headers::{self, Outgoing};
use super::request::{denied, https_location, path_of};
use super::seen::Seen;
use crate::model::{Client, Refusal};
use crate::snapshot::{Action, Answer, Decision, Facts, Listener, Snapshot, Verdict, decide, is_turned_away};
use crate::upstream::Target;

/// A request that nobody sent.
#[derive(Clone, Debug)]
pub struct Rehearsed<'a> {
    /// Where it comes in.
    pub listener: &'a Listener,
    /// The TCP peer.
    pub peer: IpAddr,
    /// The method.
    pub method: Method,
    /// Name, and port if written, as in a Host header.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The fields that the client sends, without Host.
    pub headers: HeaderMap,
    /// Our name in Via.
    pub via: &'a Arc<str>,
    /// Whether the certificate served covers the name; true on a cleartext door.
    pub is_covered: bool,
}

/// What would become of it.
#[derive(Debug)]
pub struct Course<'s> {
    /// Who asks, as the door believes.
    pub believed: Believed,
    /// The decision; none where the request breaks HTTP's rules, or the door takes no connection from the peer.
    pub decision: Option<Decision<'s>>,
    /// How it ends.
    pub end: End<'s>,
}

/// How a rehearsed request ends.
#[derive(Debug)]
pub enum End<'s> {
    /// The door closes the connection before a byte is read.
    TurnedAway,
    /// We refuse it; the text says more.
    Refused(Refusal, String),
    /// We send the client elsewhere.
    Redirected(StatusCode, HeaderValue),
    /// We answer from the file.
    Answered(&'s Answer),
    /// It is sent to an upstream, with this target and these fields.
    Sent(&'s Arc<Target>, Uri, HeaderMap),
}

/// Goes the way of a request.
pub fn rehearse<'s>(snapshot: &'s Snapshot, asked: &Rehearsed<'s>) -> Course<'s> {
    let believed = believe(&asked.listener.door.trust, asked.listener.mode, asked.peer, &asked.headers);
    let peers = asked.listener.door.peers.as_ref();
    let is_closed_to = peers.is_some_and(|peers| !peers.admits(Client::at(asked.peer)));
    if is_closed_to || is_turned_away(asked.listener, believed.client) {
        return Course { believed, decision: None, end: End::TurnedAway };
    }
    let mut decision = None;
    let end = go(snapshot, asked, believed, &mut decision)
        .unwrap_or_else(|(refusal, why)| End::Refused(refusal, why.into_owned()));
    Course { believed, decision, end }
}

fn go<'s>(
    snapshot: &'s Snapshot,
    asked: &Rehearsed<'s>,
    believed: Believed,
    kept: &mut Option<Decision<'s>>,
) -> Result<End<'s>, (Refusal, Cow<'static, str>)> {
    let unreadable = |what: &'static str| (Refusal::BadRequest, Cow::from(what));
    let mut parts = Request::new(()).into_parts().0;
    parts.method = asked.method.clone();
    parts.version = Version::HTTP_11;
    parts.headers = asked.headers.clone();
    parts.headers.insert(
        header::HOST,
        HeaderValue::from_str(asked.authority).map_err(|_| unreadable("the Host cannot be sent"))?,
    );
    parts.uri = asked.target.parse().map_err(|_| unreadable("the target cannot be sent"))?;
    let seen = Seen::of(&parts.headers);
    let examined = examine(&parts, seen)?;
    let facts = Facts {
        listener: asked.listener,
        peer: asked.peer,
        client: believed.client,
        host: &examined.host,
        path: path_of(&parts.uri),
        is_covered: asked.is_covered,
    };
    let decision = *kept.insert(decide(snapshot, &facts));
    Ok(match decision.verdict {
        Verdict::Refuse(Refusal::AccessDenied) => {
            return Err((Refusal::AccessDenied, denied(&decision, &believed.client.to_string()).into()));
        }
        Verdict::Refuse(refusal) => return Err((refusal, "".into())),
        Verdict::ToHttps(port) => {
            let location = https_location(&examined.host, port, &parts.uri);
            End::Redirected(StatusCode::PERMANENT_REDIRECT, location.ok_or_else(|| unreadable("no Host"))?)
        }
        Verdict::Redirect(Action::Redirect { location, status }) => End::Redirected(*status, location.clone()),
        Verdict::Redirect(_) => return Err((Refusal::Internal, "".into())),
        Verdict::Answer(answer) => End::Answered(answer),
        Verdict::Forward(target, rewrite) => {
            let (Some(route), Some(host)) = (decision.route, examined.host_header) else {
                return Err((Refusal::NoRoute, "".into()));
            };
            check_length(route, &parts)?;
            let uri = upstream_uri(&parts.uri, rewrite)?;
            let is_websocket = headers::asks_for_websocket(&parts.method, parts.version, &parts.headers, seen);
            let via = target.upstream.key.via.then(|| Via::new(asked.via));
            let outgoing = Outgoing {
                host,
                client: believed.client.address().and_then(|at| HeaderValue::try_from(at.to_string()).ok()),
                is_https: believed.is_https,
                via: via.as_ref().map(|via| via.entry(parts.version)),
                is_websocket,
                is_expected: false,
                is_chunked: seen.has(Seen::CODING),
                version: parts.version,
            };
            headers::to_upstream(&mut parts.headers, seen, outgoing, &route.request_edits);
            End::Sent(target, uri, parts.headers)
        }
    })
}
