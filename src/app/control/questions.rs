//! Questions about what is in force. Answered from one snapshot, beside the control loop where they take time; none changes
//! anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::{Control, aside};
use crate::admin::{Answer, Command, Order, Question};
use crate::app::explain::{UpstreamPart, View, explain, explain_incident};
use crate::app::plan::{Before, dry, plan, refused_json};
use crate::app::table;
use crate::serve::Cores;
use crate::telemetry::RequestId;
use crate::upstream::{Lane, Protocol, Target, connect};

/// How long an upstream is waited for when somebody asks about it.
const LOOK_AT_UPSTREAM: Duration = Duration::from_secs(3);

impl Control {
    /// Carries an order out, or has it carried out, and sees that it is answered.
    pub(super) async fn obey(&mut self, order: Order) {
        let Order { command, answer, lines } = order;
        match command {
            Command::Renew { name, force } => self.renew(&name, force, answer),
            Command::Explain { question } => self.explain(question, answer),
            Command::Plan { path, text } => self.plan(path, text, answer),
            Command::Tail { route, errors } => self.tail(route, errors, lines, answer),
            Command::Top => self.top(answer),
            // Who asked may be gone.
            command => drop(answer.send(self.carry_out(command).await)),
        }
    }

    async fn carry_out(&mut self, command: Command) -> Answer {
        match command {
            Command::Reload | Command::ReloadAs { .. } => self.reload("the admin socket").await,
            Command::Routes => {
                let rows = table::rows(&self.cell.load());
                let json = serde_json::to_value(&rows).unwrap_or_default();
                Answer::done(rows.to_string(), json)
            }
            Command::Status => self.status(),
            Command::Metrics => Answer::done(self.metrics.render(), serde_json::Value::Null),
            Command::Certificates => self.certificates().await,
            Command::Containers => self.containers_told(),
            Command::Incident { id } => self.incident(&id),
            Command::Renew { .. }
            | Command::Explain { .. }
            | Command::Plan { .. }
            | Command::Tail { .. }
            | Command::Top
            | Command::Upgrade { .. } => Answer::refused("answered when it is done"),
        }
    }

    fn status(&self) -> Answer {
        let snapshot = self.cell.load();
        let (exchanges, connections) = self.cores.in_flight();
        let json = serde_json::json!({
            "process": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "generation": snapshot.generation,
            "routes": snapshot.routes.len(),
            "workers": self.cores.count(),
            "connections": connections,
            "requests_in_flight": exchanges,
            "uptime_seconds": self.began.elapsed().as_secs(),
            "metrics": snapshot.metrics.as_ref().map(|(address, _)| address.to_string()),
            "listeners": snapshot.listeners.iter().map(|l| format!("{} {}", l.door.name, l.address)).collect::<Vec<_>>(),
        });
        let text = format!(
            "generation {}: {} routes, {connections} connections, {exchanges} requests in flight\n",
            snapshot.generation,
            snapshot.routes.len()
        );
        Answer::done(text, json)
    }

    /// Says what a file would change. Compiling it takes time, so it is answered from a task of its own.
    fn plan(&self, path: PathBuf, text: String, answer: oneshot::Sender<Answer>) {
        let (snapshot, config, cores) = (self.cell.load(), Arc::clone(&self.config), self.cores.clone());
        let (workshop, containers) = (dry(&self.workshop), self.containers.inventory());
        tokio::spawn(async move {
            let shown = path.clone();
            let planned = aside(move || {
                let before = Before { snapshot: &snapshot, config: &config, is_live: true, containers };
                plan(&workshop, before, &shown, &text)
            });
            let answered = match planned.await {
                Ok(Ok((mut plan, after))) => {
                    let after = Arc::new(after);
                    plan.connections = Some(cores.foresee(&after).await);
                    Answer::done(plan.to_string(), serde_json::json!(plan))
                }
                Ok(Err(faults)) => {
                    let text = format!("{faults}\n{}: would be refused; nothing has changed\n", path.display());
                    Answer { ok: false, text, json: refused_json(&path, &faults) }
                }
                Err(_) => Answer::refused("the file could not be looked at: an internal error, see the log"),
            };
            let _ = answer.send(answered);
        });
    }

    /// Explains a request. The one thing that takes time is a look whether the upstream is there, so it is answered from a
    /// task of its own.
    pub(super) fn explain(&self, question: Question, answer: oneshot::Sender<Answer>) {
        let (snapshot, config, via) = (self.cell.load(), Arc::clone(&self.config), Arc::clone(&self.via));
        let cores = self.cores.clone();
        tokio::task::spawn_local(async move {
            let view = View { snapshot: &snapshot, config: &config, via: &via, is_live: true };
            let explained = match explain(view, &question) {
                Ok((mut explanation, target)) => {
                    if let (Some(part), Some(target)) = (&mut explanation.upstream, target) {
                        look_at(part, &target, &cores).await;
                    }
                    Answer::done(explanation.to_string(), serde_json::json!(explanation))
                }
                Err(why) => Answer::refused(format!("{why}\n")),
            };
            // Who asked may be gone.
            let _ = answer.send(explained);
        });
    }

    /// Explains a request that failed, by its id.
    pub(super) fn incident(&self, id: &str) -> Answer {
        let id: RequestId = match id.parse() {
            Ok(id) => id,
            Err(wrong) => return Answer::refused(format!("`{id}`: {wrong}\n")),
        };
        let record = self.access_log.find(id).and_then(|line| serde_json::from_slice(&line).ok());
        let Some(record) = record else {
            return Answer::refused(format!(
                "{id} is not among the requests that are remembered: the last\n\
                 1,000 of each core that were refused or failed since the start. The access log\n\
                 has those before, and those that went well: search it for the id.\n"
            ));
        };
        let snapshot = self.cell.load();
        let view = View { snapshot: &snapshot, config: &self.config, via: &self.via, is_live: true };
        let incident = explain_incident(view, record);
        Answer::done(incident.to_string(), serde_json::json!(incident))
    }
}

/// What came of one connection to each member, and which connections are at hand.
async fn look_at(part: &mut UpstreamPart, target: &Target, cores: &Cores) {
    let lanes: Arc<[u64]> = target.lanes.iter().map(|lane| lane.id).collect();
    let states = join_all(target.lanes.iter().map(|lane| state_of_lane(lane)));
    let (at_hand, states) = tokio::join!(cores.at_hand(lanes), states);
    let up = states.iter().filter(|state| state.is_ok()).count();
    let states: Vec<String> = states.into_iter().map(|state| state.unwrap_or_else(|down| down)).collect();
    part.state = Some(match states.as_slice() {
        [] => "absent: it has no address now".to_owned(),
        [one] => one.clone(),
        many => format!("{up} of {} accept connections", many.len()),
    });
    for ((member, at_hand), state) in part.members.iter_mut().zip(at_hand).zip(states) {
        (member.idle, member.shared, member.state) = (Some(at_hand.idle), Some(at_hand.shared), Some(state));
    }
}

/// One connection, as a request would open it, and what came of it.
async fn state_of_lane(lane: &Lane) -> Result<String, String> {
    let began = Instant::now();
    match tokio::time::timeout(LOOK_AT_UPSTREAM, connect(lane, Protocol::Http2, None)).await {
        Ok(Ok((_, protocol))) => {
            let speaks = if protocol == Protocol::Http2 { ", speaks HTTP/2" } else { "" };
            let took = match began.elapsed().as_millis() {
                0 => "less than 1 ms".to_owned(),
                some => format!("{some} ms"),
            };
            Ok(format!("up: accepted a connection in {took}{speaks}"))
        }
        Ok(Err(error)) => Err(format!("down: {}: {}", error.refusal, error.detail)),
        Err(_) => Err(format!("down: no connection within {} s", LOOK_AT_UPSTREAM.as_secs())),
    }
}
