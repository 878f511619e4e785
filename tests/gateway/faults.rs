//! Faults, under load. What must hold is the same everywhere and was written first:
//!
//! 1. Who asks for the well route notices nothing: every request of theirs is answered whole.
//! 2. Who asks for the ill one gets the whole answer, a refusal with its cause, or an answer that visibly breaks off: never
//!    half an answer that looks whole, never somebody else's, never silence without end.
//! 3. When the fault is over, so are its effects: requests succeed, and no descriptor is left behind.
//! 4. The process lives, and nothing in it panicked (the harness looks into the log of every test).

mod around;
mod clients;
mod crowd;
mod network;
mod upstreams;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use crate::harness::{Client, Gateway, Upstream, eventually};

/// Clients of the well route, asking without pause until they are told to stop.
struct Bystanders {
    over: Arc<AtomicBool>,
    tasks: JoinSet<usize>,
}

impl Bystanders {
    /// Over HTTP/1.1 and HTTP/2, on kept connections: one that is closed is a failure.
    fn of(edge: &Gateway) -> Bystanders {
        let over = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for client in [edge.client(), edge.client().h2()] {
            for _ in 0..2 {
                tasks.spawn(stand_by(client.clone(), over.clone()));
            }
        }
        Bystanders { over, tasks }
    }

    /// Ends their watch; fails the test if one of them noticed something, or if they did not get to ask.
    async fn noticed_nothing(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        let served: Vec<usize> = self.tasks.join_all().await;
        assert!(served.iter().all(|&count| count > 5), "{served:?}");
        served.iter().sum()
    }
}

async fn stand_by(client: Client, over: Arc<AtomicBool>) -> usize {
    let mut open = client.connect("well.home.test").await;
    let mut served = 0;
    while !over.load(Ordering::Relaxed) {
        assert_eq!(open.get("/20000").start().await.generated_rest(0).await, 20_000);
        served += 1;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    served
}

/// A gateway with a route that is well and one that is ill.
async fn beside(ill: &Upstream, keys: &str) -> (Gateway, Upstream) {
    let well = Upstream::generating().await;
    let routes = format!("[routes]\nwell = \"{well}\"\nill = {{ to = \"{ill}\"{keys} }}\n");
    let edge = Gateway::serving(routes).await;
    assert_eq!(edge.get("well.home.test/10").await.body.len(), 10);
    (edge, well)
}

/// Waits until the gateway holds about as many descriptors as it did.
async fn back_to(edge: &Gateway, descriptors: usize) {
    eventually(&format!("about {descriptors} descriptors"), async || {
        (edge.descriptors() <= descriptors + 12).then_some(())
    })
    .await;
}
