//! What the data cores have in flight, for those who ask. Each core looks at its own and answers; nothing waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use super::core::{Core, Cores};
use super::request;
use crate::snapshot::Snapshot;
use crate::telemetry::NO_ROUTE;
use crate::upstream::AtHand;

/// How long a core that is busy is waited for; it is left out then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a core is asked.
pub enum Look {
    /// What it would have to end if this were in force.
    Foresee(Arc<Snapshot>, mpsc::UnboundedSender<Foreseen>),
    /// How many requests are in flight, by route.
    ByRoute(mpsc::UnboundedSender<HashMap<Arc<str>, usize>>),
    /// Which connections it has at hand for these lanes, in their order.
    AtHand(Arc<[u64]>, mpsc::UnboundedSender<Vec<AtHand>>),
}

/// What is open now, and what of it would end under another snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Foreseen {
    /// Connections of clients.
    pub connections: usize,
    /// Those whose door would close: told to end, once nothing is in flight on them.
    pub connections_closing: usize,
    /// Requests in flight, WebSockets among them.
    pub requests: usize,
    /// Those whose route or admission would be gone: they end within `[drain] route`.
    pub requests_ending: usize,
    /// Open WebSockets.
    pub websockets: usize,
    /// Those that would end.
    pub websockets_ending: usize,
}

impl Core {
    /// Looks, and answers.
    pub(super) fn look(&self, look: Look) {
        // Who asked may be gone.
        match look {
            Look::Foresee(snapshot, answer) => {
                let seen = self.foreseen(&snapshot);
                // Let go of first: it is not for a data core to take a large table apart.
                drop(snapshot);
                let _ = answer.send(seen);
            }
            Look::ByRoute(answer) => drop(answer.send(self.by_route())),
            Look::AtHand(lanes, answer) => {
                drop(answer.send(lanes.iter().map(|&lane| self.pool.at_hand(lane)).collect()));
            }
        }
    }

    /// What this core would have to end if a snapshot were in force.
    fn foreseen(&self, snapshot: &Snapshot) -> Foreseen {
        let mut seen = Foreseen::default();
        for exchange in self.living_exchanges() {
            let ends = usize::from(!request::still_stands(snapshot, &exchange));
            let is_websocket = usize::from(exchange.is_tunnel.get());
            seen.requests += 1;
            seen.requests_ending += ends;
            seen.websockets += is_websocket;
            seen.websockets_ending += ends * is_websocket;
        }
        for connection in self.open_connections() {
            seen.connections += 1;
            seen.connections_closing += usize::from(snapshot.listener(connection.listener.address).is_none());
        }
        seen
    }

    /// What is in flight, by route.
    fn by_route(&self) -> HashMap<Arc<str>, usize> {
        let mut counted = HashMap::new();
        for exchange in self.living_exchanges() {
            let name = exchange.route.get().map_or_else(|| Arc::from(NO_ROUTE), |route| Arc::clone(&route.name));
            *counted.entry(name).or_insert(0) += 1;
        }
        counted
    }
}

impl Cores {
    /// What would have to end if a snapshot were in force. A core that is too busy to say within a second is left out.
    pub async fn foresee(&self, snapshot: &Arc<Snapshot>) -> Foreseen {
        let (answer, mut answers) = mpsc::unbounded_channel();
        self.look(|| Look::Foresee(Arc::clone(snapshot), answer.clone()));
        drop(answer);
        let mut all = Foreseen::default();
        while let Ok(Some(seen)) = tokio::time::timeout(PATIENCE, answers.recv()).await {
            all.connections += seen.connections;
            all.connections_closing += seen.connections_closing;
            all.requests += seen.requests;
            all.requests_ending += seen.requests_ending;
            all.websockets += seen.websockets;
            all.websockets_ending += seen.websockets_ending;
        }
        all
    }

    /// Which connections all cores together have at hand for these lanes, in their order. A core that is too busy to say
    /// within a second is left out.
    pub async fn at_hand(&self, lanes: Arc<[u64]>) -> Vec<AtHand> {
        let (answer, mut answers) = mpsc::unbounded_channel();
        self.look(|| Look::AtHand(Arc::clone(&lanes), answer.clone()));
        drop(answer);
        let mut all = vec![AtHand::default(); lanes.len()];
        while let Ok(Some(counted)) = tokio::time::timeout(PATIENCE, answers.recv()).await {
            for (sum, here) in all.iter_mut().zip(counted) {
                sum.idle += here.idle;
                sum.shared += here.shared;
            }
        }
        all
    }

    /// How many requests are in flight, by route. A core that is too busy to say within a second is left out.
    pub async fn in_flight_by_route(&self) -> HashMap<Arc<str>, usize> {
        let (answer, mut answers) = mpsc::unbounded_channel();
        self.look(|| Look::ByRoute(answer.clone()));
        drop(answer);
        let mut all = HashMap::new();
        while let Ok(Some(counted)) = tokio::time::timeout(PATIENCE, answers.recv()).await {
            for (name, count) in counted {
                *all.entry(name).or_insert(0) += count;
            }
        }
        all
    }
}
