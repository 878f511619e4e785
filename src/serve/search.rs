//! The search of one request for a server that takes it: which of an upstream's addresses it goes to, what happens when one
//! fails, and the wait where `hold` says so. Reads nothing of the answer; that is `forward`.

use std::sync::Arc;

use tokio::time::Instant;

use super::announce::greeting;
use super::body::RequestBody;
use super::examine::Refused;
use super::exchange::Exchange;
use super::request;
use crate::model::{Client, Refusal};
use crate::upstream::{
    HoldError, Http1, Lane, Multiplexed, Protocol, Seat, Sender, Target, Turn, Upstream, UpstreamError, connect,
};

/// A connection, and whether it was used before.
pub struct Found {
    /// What to send on.
    pub sender: Sender<RequestBody>,
    /// Whether it was: then its end proves nothing.
    pub is_reused: bool,
}

/// What one request has tried so far.
pub struct Search<'a> {
    exchange: &'a Exchange,
    client: Client,
    is_websocket: bool,
    decided: &'a Arc<Target>,
    /// Where a newer snapshot leads instead.
    moved: Option<Arc<Target>>,
    lane: usize,
    tried: Vec<usize>,
    /// Whether some of what was tried is away, rather than wrong.
    is_any_away: bool,
    last: Option<Refused>,
    deadline: Option<Instant>,
}

impl<'a> Search<'a> {
    /// The search for a member of the target that the exchange was decided to go to.
    pub fn new(exchange: &'a Exchange, decided: &'a Arc<Target>, client: Client, is_websocket: bool) -> Search<'a> {
        Search {
            exchange,
            client,
            is_websocket,
            decided,
            moved: None,
            lane: 0,
            tried: Vec::new(),
            is_any_away: false,
            last: None,
            deadline: None,
        }
    }

    fn target(&self) -> &Arc<Target> {
        self.moved.as_ref().unwrap_or(self.decided)
    }

    /// The lane that was found last.
    pub fn lane(&self) -> Option<&Arc<Lane>> {
        self.target().lanes.get(self.lane)
    }

    /// The upstream that is searched.
    pub fn upstream(&self) -> &Upstream {
        &self.target().upstream
    }

    /// Where the request is, for messages.
    pub fn place(&self) -> String {
        self.lane().map_or_else(|| self.upstream().place(), |lane| lane.member.endpoint.to_string())
    }

    /// Whether the request may go to another member when this one fails.
    pub fn has_others(&self) -> bool {
        self.target().lanes.len() > 1
    }

    /// Whether requests wait for this upstream while it is away.
    pub fn may_wait(&self) -> bool {
        self.upstream().key.hold.is_some()
    }

    /// The next connection. `is_fresh`: one that was not used before.
    pub async fn next(&mut self, is_fresh: bool) -> Result<Found, Refused> {
        loop {
            let Some(at) = self.choose() else {
                // The rare case, boxed as below: its future is several times the size of all the rest.
                Box::pin(self.wait()).await?;
                continue;
            };
            self.lane = at;
            let target = self.target();
            self.exchange.ask(target, at);
            let lane = &target.lanes[at];
            let is_pooled = !is_fresh && !self.is_websocket;
            if is_pooled && let Some(sender) = self.exchange.core.pool.take(lane.id) {
                return Ok(Found { sender, is_reused: true });
            }
            let opened = match self.is_websocket {
                false => Box::pin(fresh(self.exchange, target, lane, Protocol::Http2)).await,
                true => Box::pin(fresh_for_websocket(self.exchange, target, lane)).await,
            };
            match opened {
                Ok(sender) => return Ok(Found { sender, is_reused: false }),
                Err(error) => self.failed(&error),
            }
        }
    }

    /// The lane to try. While somebody asks every quarter of a second whether the upstream is back, nobody else need to.
    fn choose(&self) -> Option<usize> {
        if self.upstream().hold.is_away() && !self.target().has_another(&self.tried) {
            return None;
        }
        self.target().choose(self.client, &self.tried)
    }

    /// The member did not take the request: others come first for a while, and this request does not come back to it.
    pub fn failed(&mut self, error: &UpstreamError) {
        self.upstream().metrics.failed(error.refusal);
        if let Some(lane) = self.lane() {
            lane.set_aside(error);
        }
        self.tried.push(self.lane);
        self.is_any_away |= error.is_away;
        self.last = Some((error.refusal, error.detail.clone().into()));
    }

    /// A fresh connection ended before an answer; another member may do better.
    pub fn hung_up(&mut self, detail: String) {
        self.failed(&UpstreamError { refusal: Refusal::UpstreamClosed, detail, is_away: true });
    }

    /// Nothing is left to try: a newer snapshot may know better, or the upstream is waited for.
    async fn wait(&mut self) -> Result<(), Refused> {
        if let Some(newer) = self.newer() {
            self.start_again(newer);
            return Ok(());
        }
        let is_worth_it = self.tried.is_empty() || self.is_any_away;
        let Some(hold) = self.upstream().key.hold.filter(|_| is_worth_it) else {
            let last = self.last.take();
            return Err(last.unwrap_or_else(|| {
                self.upstream().metrics.failed(Refusal::UpstreamAbsent);
                (Refusal::UpstreamAbsent, self.upstream().place().into())
            }));
        };
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + hold);
        let next = self.until_back(deadline).await?;
        self.start_again(next);
        Ok(())
    }

    /// Waits until the upstream is back, or a newer snapshot sends the request somewhere else.
    async fn until_back(&self, deadline: Instant) -> Result<Arc<Target>, Refused> {
        let target = self.target();
        let waited = target.wait_until_back(deadline);
        tokio::pin!(waited);
        loop {
            let news = self.exchange.core.news.notified();
            tokio::pin!(news);
            // Registered before the look, so that nothing is published between the two unseen.
            news.as_mut().enable();
            if let Some(newer) = self.newer() {
                return Ok(newer);
            }
            tokio::select! {
                outcome = &mut waited => {
                    return outcome.map(|()| Arc::clone(target)).map_err(|why| self.given_up(why));
                }
                () = news => {}
            }
        }
    }

    fn given_up(&self, why: HoldError) -> Refused {
        self.upstream().metrics.failed(Refusal::UpstreamHeld);
        let place = self.upstream().place();
        let why = match why {
            HoldError::Expired => format!("{place}: away for longer than `hold`"),
            HoldError::Full => format!("{place}: away, and too many requests wait for it already"),
        };
        (Refusal::UpstreamHeld, why.into())
    }

    /// Where the snapshot in force sends this request, if that is somewhere else by now.
    fn newer(&self) -> Option<Arc<Target>> {
        request::target_now(self.exchange).filter(|now| !Arc::ptr_eq(now, self.target()))
    }

    fn start_again(&mut self, target: Arc<Target>) {
        self.moved = Some(target);
        self.tried.clear();
        self.is_any_away = false;
    }
}

/// A connection for a WebSocket: a place on a shared one whose upstream takes WebSockets as streams, else a whole one that
/// speaks HTTP/1.1. Always fresh in the latter case: nothing that was said on it before can be in the way.
async fn fresh_for_websocket(
    exchange: &Exchange,
    target: &Target,
    lane: &Lane,
) -> Result<Sender<RequestBody>, UpstreamError> {
    if lane.may_speak_http2 {
        let sender = match exchange.core.pool.take_seat(lane.id) {
            Some(seat) => Sender::Http2(seat),
            None => fresh(exchange, target, lane, Protocol::Http2).await?,
        };
        match &sender {
            Sender::Http2(seat) if !seat.connection().takes_websockets().await => {}
            _ => return Ok(sender),
        }
    }
    fresh(exchange, target, lane, Protocol::Http1).await
}

/// One fresh connection. Where it may be shared, the first who needs one opens it and the others wait for it.
async fn fresh(
    exchange: &Exchange,
    target: &Target,
    lane: &Lane,
    most: Protocol,
) -> Result<Sender<RequestBody>, UpstreamError> {
    let pool = &exchange.core.pool;
    let may_share = most == Protocol::Http2 && lane.may_speak_http2 && !target.is_private();
    let opener = loop {
        if !may_share {
            break None;
        }
        match pool.turn(lane.id) {
            Turn::Ours(ours) => break Some(ours),
            Turn::Others(opening) if opening.ended().await => {
                if let Some(seat) = pool.take_seat(lane.id) {
                    return Ok(Sender::Http2(seat));
                }
            }
            // It failed, or the upstream speaks HTTP/1.1 only: each for himself.
            Turn::Others(_) => break None,
        }
    };
    let broken = |error: hyper::Error| UpstreamError {
        refusal: Refusal::UpstreamClosed,
        detail: format!("{}: {error}", lane.member.endpoint),
        is_away: false,
    };
    let (stream, spoken) = connect(lane, most, Some(&greeting(exchange, target))).await?;
    let stream = stream.counted_by(&target.upstream.metrics);
    lane.put_back();
    match spoken {
        Protocol::Http1 => {
            drop(opener);
            Ok(Sender::Http1(Http1::new(stream)))
        }
        Protocol::Http2 => {
            let connection = Multiplexed::begin(stream).await.map_err(broken)?;
            Ok(Sender::Http2(match opener {
                Some(opener) => opener.share(connection),
                None => {
                    let seat = Seat::on(&connection);
                    if !target.is_private() {
                        pool.share(lane.id, connection);
                    }
                    seat
                }
            }))
        }
    }
}
