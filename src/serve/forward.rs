//! One exchange with an upstream: a pooled connection or a fresh one, one retry where it is safe, waiting where `hold` says
//! so, and the answer streamed back.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use tokio::sync::oneshot;

use super::arriving::Arriving;
use super::body::{Lease, RequestBody, ResponseBody};
use super::examine::{Believed, Refused};
use super::exchange::{Exchange, On};
use super::expect::{self, Wish};
use super::form::take_form;
use super::grpc;
use super::headers::{self, Outgoing};
use super::repeat::{can_repeat, copy_for, with_body};
use super::respond::{self, Audience};
use super::search::{Found, Search};
use super::seen::{Seen, may_pass};
use super::tunnel::{self, Far, Near};
use super::websocket::Asked;
use crate::http1::MayPass;
use crate::model::Refusal;
use crate::snapshot::{Rewrite, Route};
use crate::upstream::{AnswerBody, AnswerError, Lost, Protocol, Sender, Target, Terms};

/// The body of an upstream's answer.
type Answered = AnswerBody<RequestBody>;

/// How often a request is sent again that the upstream says it never looked at.
const MOST_REPEATS: u32 = 2;

/// What is known of a request on its way to an upstream.
pub struct Journey {
    /// The exchange.
    pub exchange: Rc<Exchange>,
    /// Its route.
    pub route: Arc<Route>,
    /// Where to.
    pub target: Arc<Target>,
    /// Who asks.
    pub believed: Believed,
    /// How a refusal would be shown.
    pub audience: Audience,
    /// The client's side of a WebSocket, if it asks for one.
    pub upgrade: Option<Box<Asked>>,
    /// What is said of the client, where it does not stand among the fields.
    pub forwarding: OnceCell<Rc<[u8]>>,
}

/// Makes the request to send of the request that came, in place: nothing waits here. `seen`: in its head.
pub fn prepare(
    journey: &Journey,
    mut parts: Parts,
    seen: Seen,
    body: Arriving,
    host: HeaderValue,
    rewrite: Option<Rewrite<'_>>,
) -> Result<Box<Request<RequestBody>>, Refused> {
    let Journey { exchange, route, target, believed, audience: _, upgrade, forwarding: _ } = journey;
    exchange.leads_to(target);
    if seen.has(Seen::VIA) {
        check_loop(exchange, &parts)?;
    }
    if seen.has(Seen::LENGTH) {
        check_length(route, &parts)?;
    }
    let uri = upstream_uri(&parts.uri, rewrite)?;
    let may_be_http2 = target.may_speak_http2();
    if may_be_http2 && grpc::is_call(parts.version, &parts.headers) {
        exchange.upload.converses(route.idle);
    }
    // HTTP/2 has its flow control to hold bodies back, and the library tells nothing of interim answers there.
    if seen.has(Seen::EXPECT)
        && !may_be_http2
        && !body.is_end_stream()
        && expect::is_expected(parts.version, &parts.headers)
    {
        let _ = exchange.wish.set(Wish::unknown());
    }
    let body = RequestBody::new(body, exchange, route.max_body, may_be_http2);
    let outgoing = Outgoing {
        host,
        client: believed.client.address().and_then(|address| exchange.connection.address_value(address)),
        is_https: believed.is_https,
        via: target.upstream.key.via.then(|| exchange.core.via.entry(parts.version)),
        is_websocket: upgrade.is_some(),
        is_expected: exchange.wish.get().is_some(),
        is_chunked: !matches!(body, RequestBody::Empty) && !seen.has(Seen::LENGTH),
        version: parts.version,
    };
    // Where only HTTP/1.1 is spoken and nothing edited, what is said of the client needs no place among the fields.
    if !may_be_http2 && seen.has(Seen::HOST) && route.request_edits.is_empty() {
        headers::clean(&mut parts.headers, seen, &outgoing);
        let _ = journey.forwarding.set(exchange.connection.forwarding(&outgoing));
    } else {
        headers::to_upstream(&mut parts.headers, seen, outgoing, &route.request_edits);
    }
    let mut request = Box::new(Request::new(body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = parts.headers;
    Ok(request)
}

/// Sends a request and gives the upstream's answer, or a refusal.
pub async fn forward(mut journey: Journey, request: Box<Request<RequestBody>>) -> Response<ResponseBody> {
    let outcome = match send(&journey, request).await {
        Ok((response, lease)) => answer(&mut journey, response, lease),
        Err(refused) => Err(refused),
    };
    outcome.unwrap_or_else(|(refusal, why)| {
        if refusal.is_upstream() {
            journey.target.upstream.note_failure(refusal, &why);
        }
        respond::refuse(&journey.exchange, &journey.audience, refusal, Some(why))
    })
}

/// A request that came through us before would go round for ever.
fn check_loop(exchange: &Exchange, parts: &Parts) -> Result<(), Refused> {
    let ours = &*exchange.core.via.name;
    let mut hops =
        parts.headers.get_all(header::VIA).iter().filter_map(|via| via.to_str().ok()).flat_map(|via| via.split(','));
    if hops.any(|hop| hop.split_ascii_whitespace().nth(1) == Some(ours)) {
        return Err((Refusal::Loop, "our own name is in Via".into()));
    }
    Ok(())
}

/// A body that says it is too large is refused before a byte of it is asked for.
pub(super) fn check_length(route: &Route, parts: &Parts) -> Result<(), Refused> {
    let Some(limit) = route.max_body else { return Ok(()) };
    let said = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match said {
        Some(length) if length > limit => {
            Err((Refusal::BodyLimit, format!("{length} bytes, `max_body` is {limit}").into()))
        }
        _ => Ok(()),
    }
}

/// The target to send: path and query byte for byte, but for what the rule takes away or replaces.
pub(super) fn upstream_uri(uri: &Uri, rewrite: Option<Rewrite<'_>>) -> Result<Uri, Refused> {
    let wrong = |_| (Refusal::BadRequest, Cow::from("a target that cannot be sent on"));
    let written = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let Some(Rewrite { pattern, with }) = rewrite else {
        return match uri.path_and_query() {
            // `http://host#fragment` has a path of no bytes that is shown as `/`: it must be written as one as well.
            Some(_) if written == "/" => Ok(Uri::from_static("/")),
            Some(path) if written.starts_with(['/', '*']) => {
                let mut parts = http::uri::Parts::default();
                parts.path_and_query = Some(path.clone());
                Uri::from_parts(parts).map_err(|_| (Refusal::BadRequest, "a target that cannot be sent on".into()))
            }
            _ => format!("/{written}").parse().map_err(wrong),
        };
    };
    match pattern.replaced(written, with) {
        Some(path) => path.parse().map_err(wrong),
        None => {
            Err((Refusal::BadPath, "the prefix to replace is spelled in another way than the rule spells it".into()))
        }
    }
}

/// Sends a request, on a pooled connection if there is one; to another member where one fails and that is safe.
async fn send(
    journey: &Journey,
    mut request: Box<Request<RequestBody>>,
) -> Result<(Response<Answered>, Lease), Refused> {
    let Journey { exchange, route, target, .. } = journey;
    let kept = request.body().kept();
    let is_websocket = journey.upgrade.is_some();
    // To a client of HTTP/1 an answer goes as it came, where nothing of it is to be changed.
    let is_unseen = exchange.is_http1() && !is_websocket && route.response_edits.is_empty();
    let may_pass = is_unseen.then_some(may_pass as MayPass);
    let mut search = Search::new(exchange, target, journey.believed.client, is_websocket);
    let (mut is_pool_tried, mut repeats, mut is_lost) = (false, 0, false);
    loop {
        let Found { sender, is_reused } = search.next(is_pool_tried).await?;
        let (lane, is_tls) = search.lane().map_or((0, false), |lane| (lane.id, lane.tls.is_some()));
        take_form(&mut request, sender.protocol(), is_tls)?;
        let mut forwarding = journey.forwarding.get().cloned();
        if let Some(text) = forwarding.take_if(|_| sender.protocol() == Protocol::Http2) {
            // It waited, and its upstream speaks something else by now.
            headers::set_forwarding(request.headers_mut(), &text);
        }
        if let Some(asked) = &journey.upgrade {
            asked.take_form(&mut request, sender.protocol());
        }
        // Where requests wait for an upstream that is away, one that it took with it is sent once more.
        let has_elsewhere = search.has_others() || (search.may_wait() && !is_lost);
        let may_be = is_reused || has_elsewhere;
        let copy = copy_for(&request, &sender);
        let terms = Terms { told: exchange.wish.get().map(Wish::ear), may_pass, forwarding };
        let sent = pin!(sender.try_send(request, terms));
        let Some(outcome) = within_idle(exchange, route.idle, sent).await else {
            sender.retire();
            return Err(silent(route, &search));
        };
        let Lost { error, request: spared, is_unsent } = match outcome {
            Ok(response) => {
                kept.inspect(|kept| kept.forget());
                return Ok((response, Lease { sender, lane }));
            }
            Err(lost) => lost,
        };
        let copy = match spared {
            Some(unsent) if is_unsent && may_be => {
                request = unsent;
                if !is_reused {
                    is_lost = true;
                    search.hung_up(format!("{}: closed before it took a request", search.place()));
                }
                continue;
            }
            spared => copy.or(spared),
        };
        // A connection that sat idle may be closed by the server at this very moment: a fresh one that fails proves the server
        // is down; a reused one proves nothing.
        let again = match copy {
            Some(copy) if exchange.refusal.get().is_none() => match sender.protocol() {
                Protocol::Http2 if error.was_never_looked_at() && repeats < MOST_REPEATS => {
                    sender.retire();
                    repeats += 1;
                    with_body(copy, kept.as_ref())
                }
                _ => (may_be && can_repeat(&copy, kept.as_ref()) && error.is_broken()).then_some(copy),
            },
            _ => None,
        };
        match again {
            Some(copy) => {
                request = copy;
                is_pool_tried = repeats == 0 && is_reused;
                if !is_reused && repeats == 0 {
                    is_lost = true;
                    search.hung_up(format!("{}: {error}", search.place()));
                }
            }
            None => return Err(explain(exchange, &search, &error, sender.spoke_nonsense())),
        }
    }
}

/// Waits for the head of the answer, `idle` at most.
async fn within_idle<F: Future>(exchange: &Exchange, idle: Duration, mut sent: Pin<&mut F>) -> Option<F::Output> {
    let wait = &exchange.download;
    wait.begin(On::Upstream, exchange.core.now(), idle);
    let outcome = std::future::poll_fn(|cx| match sent.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if wait.is_expired() => Poll::Ready(None),
        Poll::Pending => {
            wait.wake(cx);
            Poll::Pending
        }
    });
    let outcome = outcome.await;
    wait.end();
    outcome
}

fn silent(route: &Route, search: &Search<'_>) -> Refused {
    search.upstream().metrics.failed(Refusal::UpstreamTimeout);
    let limit = crate::model::show_duration(route.idle);
    (Refusal::UpstreamTimeout, format!("{}: no answer for {limit}", search.place()).into())
}

/// Why a request that was sent got no answer.
fn explain(exchange: &Exchange, search: &Search<'_>, error: &AnswerError, is_no_http2: bool) -> Refused {
    if let Some(refusal) = exchange.refusal.get() {
        return (refusal, "the upload was ended here".into());
    }
    if error.is_own_end() {
        let fault = exchange.upload.fault.get().cloned();
        return (Refusal::BadRequest, fault.map_or("the client broke off its upload".into(), Cow::from));
    }
    let is_no_http2 = is_no_http2 || error.is_http2_nonsense();
    let is_nonsense = error.is_nonsense() || is_no_http2;
    let refusal = if is_nonsense { Refusal::UpstreamBadResponse } else { Refusal::UpstreamClosed };
    search.upstream().metrics.failed(refusal);
    let cause = match is_no_http2 {
        true => ": what it says is not HTTP/2".to_owned(),
        false => std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default(),
    };
    (refusal, format!("{}: {error}{cause}", search.place()).into())
}

fn unfinished() -> Refused {
    (Refusal::UpstreamBadResponse, "it switched protocols before it had the request".into())
}

/// The upstream's answer, on its way to the client.
fn answer(
    journey: &mut Journey,
    mut response: Response<Answered>,
    lease: Lease,
) -> Result<Response<ResponseBody>, Refused> {
    let upgrade = journey.upgrade.take();
    let Journey { exchange, route, target, believed, .. } = journey;
    exchange.first_byte.set(Some(exchange.started.elapsed()));
    let seen = Seen::of(response.headers());
    if !headers::is_plainly_framed(response.headers(), seen) {
        target.upstream.metrics.failed(Refusal::UpstreamBadResponse);
        return Err((Refusal::UpstreamBadResponse, "its body has a transfer coding that nobody asked for".into()));
    }
    let upgrade = match upgrade {
        None if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            target.upstream.metrics.failed(Refusal::UpstreamBadResponse);
            return Err((Refusal::UpstreamBadResponse, "it switched protocols, which nobody asked for".into()));
        }
        None => None,
        Some(asked) => {
            let agreed = asked.is_agreed(&response, lease.sender.protocol());
            let is_agreed = agreed.inspect_err(|(refusal, _)| target.upstream.metrics.failed(*refusal))?;
            is_agreed.then_some(asked)
        }
    };
    let stream = upgrade.is_some().then(|| hyper::upgrade::on(&mut response));
    let (mut head, body) = response.into_parts();
    let hsts = route.hsts.as_ref().filter(|_| believed.is_https);
    headers::to_client(&mut head.headers, seen, hsts, &route.response_edits);
    exchange.status.set(head.status.as_u16());
    head.version = Version::HTTP_11;
    if let (Some(asked), Some(stream)) = (upgrade, stream) {
        asked.agree(&mut head.status, &mut head.headers);
        exchange.status.set(head.status.as_u16());
        // Over before it begins: what follows on the connection is the tunnel's.
        drop(body);
        let upstream = match lease.sender {
            Sender::Http1(connection) => {
                let (stream, read) = connection.into_stream().ok_or_else(unfinished)?;
                Far::Whole(Box::new(stream), read)
            }
            sender => Far::Stream(stream, sender),
        };
        let client = match asked.stream {
            Some(stream) => Near::Stream(stream),
            None => {
                let (heir, socket) = oneshot::channel();
                exchange.connection.leave_to(heir);
                Near::Whole(socket)
            }
        };
        tunnel::open(exchange, route, client, upstream);
        return Ok(Response::from_parts(head, ResponseBody::own(bytes::Bytes::new(), exchange)));
    }
    if exchange.wish.get().is_some_and(|wish| wish.answer()) {
        // Whether the client sends its body now is its own guess; nobody could tell it from the next request.
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(Response::from_parts(head, ResponseBody::upstream(body, lease, exchange)))
}
