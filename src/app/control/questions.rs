//! Questions about what is in force. Answered from one snapshot, beside the control loop where they take time; none changes
//! anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::Control;
use crate::admin::{Answer, Question};
use crate::app::explain::{View, explain, explain_incident};
use crate::telemetry::RequestId;
use crate::upstream::{Lane, Protocol, Target, connect};

/// How long an upstream is waited for when somebody asks about it.
const LOOK_AT_UPSTREAM: Duration = Duration::from_secs(3);

impl Control {
    /// Explains a request. The one thing that takes time is a look whether the upstream is there, so it is answered from a
    /// task of its own.
    pub(super) fn explain(&self, question: Question, answer: oneshot::Sender<Answer>) {
        let (snapshot, config, via) = (self.cell.load(), Arc::clone(&self.config), Arc::clone(&self.via));
        tokio::spawn(async move {
            let view = View { snapshot: &snapshot, config: &config, via: &via, is_live: true };
            let explained = match explain(view, &question) {
                Ok((mut explanation, target)) => {
                    if let (Some(part), Some(target)) = (&mut explanation.upstream, target) {
                        part.state = Some(state_of(&target).await);
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

/// What came of one connection to each member.
async fn state_of(target: &Target) -> String {
    match &*target.lanes {
        [] => "absent: it has no address now".to_owned(),
        [one] => state_of_lane(one).await,
        many => {
            let states =
                many.iter().map(async |lane| format!("{} {}", lane.member.authority, state_of_lane(lane).await));
            join_all(states).await.join("; ")
        }
    }
}

/// One connection, as a request would open it, and what came of it.
async fn state_of_lane(lane: &Lane) -> String {
    let began = Instant::now();
    match tokio::time::timeout(LOOK_AT_UPSTREAM, connect(lane, Protocol::Http2)).await {
        Ok(Ok((_, protocol))) => {
            let speaks = if protocol == Protocol::Http2 { ", speaks HTTP/2" } else { "" };
            format!("up: accepted a connection in {} ms{speaks}", began.elapsed().as_millis())
        }
        Ok(Err(error)) => format!("down: {}: {}", error.refusal, error.detail),
        Err(_) => format!("down: no connection within {} s", LOOK_AT_UPSTREAM.as_secs()),
    }
}
