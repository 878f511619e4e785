//! Watching what is served: records as they happen, and counters since the start. The data cores do nothing for it but what
//! they do anyway, and a glance at what is in flight when somebody asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use super::Control;
use crate::admin::Answer;
use crate::model::Refusal;
use crate::snapshot::{Action, Route};
use crate::telemetry::Watched;
use crate::upstream::Upstream;

/// How long ago a failure of an upstream still says something about it.
const FRESH: Duration = Duration::from_secs(30);

impl Control {
    /// Streams access records to whoever asked, until that one goes.
    pub(super) fn tail(
        &self,
        route: Option<String>,
        errors: bool,
        lines: Option<mpsc::Sender<Box<[u8]>>>,
        answer: oneshot::Sender<Answer>,
    ) {
        let snapshot = self.cell.load();
        let refused = |why: String| Answer::refused(format!("{why}\n"));
        let known = |name: &String| snapshot.routes.iter().any(|known| *known.name == **name);
        if let Some(name) = route.as_ref().filter(|name| !known(name)) {
            let close = |known: &&str| strsim::damerau_levenshtein(known, name) <= 2;
            let why = match snapshot.routes.iter().map(|route| &*route.name).find(close) {
                Some(guess) => format!("no route `{name}`; did you mean `{guess}`?"),
                None => format!("no route `{name}`; `doorward routes` shows what there is"),
            };
            return drop(answer.send(refused(why)));
        }
        let Some(lines) = lines else { return drop(answer.send(refused("nobody takes the records".to_owned()))) };
        let Some(mut watching) = self.access_log.watch(Watched { route, failures: errors }) else {
            return drop(answer.send(refused("too many watch already".to_owned())));
        };
        if answer.send(Answer::done("", serde_json::Value::Null)).is_err() {
            return;
        }
        tokio::spawn(async move {
            loop {
                let line = tokio::select! {
                    line = watching.next() => line,
                    () = lines.closed() => return,
                };
                let Some(line) = line else { return };
                if lines.send(line).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Counters of every route, what is in flight, and how its upstreams are.
    pub(super) fn top(&self, answer: oneshot::Sender<Answer>) {
        let (snapshot, cores, metrics) = (self.cell.load(), self.cores.clone(), Arc::clone(&self.metrics));
        tokio::spawn(async move {
            let in_flight = cores.in_flight_by_route().await;
            let figures = metrics.figures();
            let names: BTreeSet<&str> =
                figures.iter().map(|route| &*route.name).chain(in_flight.keys().map(|name| &**name)).collect();
            let routes: Vec<serde_json::Value> = names
                .into_iter()
                .map(|name| {
                    let route = snapshot.routes.iter().find(|route| *route.name == *name);
                    serde_json::json!({
                        "name": name,
                        "figures": figures.iter().find(|figures| figures.name == name),
                        "in_flight": in_flight.get(name).copied().unwrap_or(0),
                        "upstream": route.map(|route| state_of(route)),
                    })
                })
                .collect();
            let (requests, connections) = cores.in_flight();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let json = serde_json::json!({
                "at_ms": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
                "generation": snapshot.generation,
                "connections": connections,
                "in_flight": requests,
                "routes": routes,
            });
            // Who asked may be gone.
            let _ = answer.send(Answer::done("", json));
        });
    }
}

/// The worst that is known of a route's upstreams.
fn state_of(route: &Route) -> String {
    let of_rules = route.paths.iter().filter_map(|rule| match &rule.action {
        Action::Forward { target, .. } => target.as_ref(),
        Action::Redirect { .. } | Action::Answer(_) => None,
    });
    let states = route.target.iter().chain(of_rules).map(|target| upstream_state(&target.upstream));
    let worst = states.max_by_key(|(badness, _)| *badness);
    worst.map_or_else(|| "none".to_owned(), |(_, words)| words)
}

fn upstream_state(upstream: &Upstream) -> (u8, String) {
    let waiting = upstream.hold.waiting();
    if upstream.hold.is_away() {
        return (2, format!("away, {waiting} wait"));
    }
    let recent = upstream.last_failure().filter(|failure| failure.at.elapsed().is_ok_and(|ago| ago < FRESH));
    match recent {
        Some(failure) => (1, short(failure.refusal).to_owned()),
        None => (0, "ok".to_owned()),
    }
}

fn short(refusal: Refusal) -> &'static str {
    let cause = refusal.cause();
    cause.strip_prefix("upstream-").unwrap_or(cause)
}
