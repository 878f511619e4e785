//! The two ways to end: stopped, or followed by another process. Either way what is in flight finishes, within a bound.

use std::time::Duration;

use super::{Control, LOOK};
use crate::admin::{Answer, Signal, Signals};
use crate::model::show_duration;
use crate::service::died_serving;

/// How long whoever asked for a hand-over may take to read the answer.
const ANSWERED: Duration = Duration::from_secs(2);

/// How long a process that has handed over may go on once the supervisor wants it gone because its heir crashed.
const CRASHED: Duration = Duration::from_secs(1);

impl Control {
    /// Stops accepting, lets what is in flight finish within `[drain] stop`, and leaves. A second signal leaves at once.
    pub(super) async fn stop(&mut self) {
        let snapshot = self.cell.load();
        self.readiness.drain();
        self.sockets.clear();
        self.doors.rest().await;
        self.cores.drain();
        let (worker_ended, lock) = (self.worker.end(), self.lock.take());
        let given_back = tokio::spawn(async move {
            worker_ended.await;
            // Whoever is started in our place may begin while connections still finish here.
            if let Some(lock) = lock {
                lock.give_back();
            }
        });
        let (exchanges, connections) = self.cores.in_flight();
        let limit = snapshot.drain.stop;
        let within = show_duration(limit);
        self.supervisor.stopping(&format!("stopping: {connections} connections finish within {within}"));
        tracing::info!(exchanges, connections, within, "stopping: what is in flight finishes");
        tokio::select! {
            () = self.all_finished() => tracing::info!("stopped, nothing was cut"),
            () = tokio::time::sleep(limit) => self.tell_what_is_cut(),
            _ = self.signals.next() => tracing::warn!("stopped at once by a second signal"),
        }
        let _ = given_back.await;
        self.close_rest();
    }

    /// Another process serves: this one finishes what it has, within `[drain] upgrade`, and leaves. Told to stop meanwhile, it
    /// takes `[drain] stop`, or a second where its heir has crashed; told again, it leaves at once.
    pub(super) async fn leave(&mut self) {
        let drain = self.cell.load().drain;
        self.orders.close();
        while let Ok(order) = self.orders.try_recv() {
            let _ = order.answer.send(Answer::refused("another process has taken over; ask again\n"));
        }
        self.doors.rest().await;
        self.cores.retire();
        let (exchanges, connections) = self.cores.in_flight();
        let within = show_duration(drain.upgrade);
        tracing::info!(exchanges, connections, within, "handed over; what is in flight here finishes");
        tokio::select! {
            () = self.all_finished() => tracing::info!("left, nothing was cut"),
            () = tokio::time::sleep(drain.upgrade) => self.tell_what_is_cut(),
            () = told_to_stop(&mut self.signals) => {
                self.cores.drain();
                let limit = if self.has_nobody_after_it() { drain.stop.min(CRASHED) } else { drain.stop };
                let within = show_duration(limit);
                tracing::info!(within, "stopping: what is still in flight here finishes");
                tokio::select! {
                    () = self.all_finished() => tracing::info!("left, nothing was cut"),
                    () = tokio::time::sleep(limit) => self.tell_what_is_cut(),
                    () = told_to_stop(&mut self.signals) => tracing::warn!("left at once by a second signal"),
                }
            }
        }
        if let Some(serving) = self.admin_serving.take() {
            // Who asked for the hand-over is told before this process ends.
            let _ = tokio::time::timeout(ANSWERED, serving).await;
        }
        self.close_rest();
    }

    /// Whether who took over has crashed. The supervisor starts nobody before everybody of the service is gone, and new
    /// connections wait until then: what is left here must not hold them up.
    fn has_nobody_after_it(&self) -> bool {
        let state = self.workshop.state.as_deref();
        let is_so = state.is_some_and(died_serving);
        if is_so {
            tracing::warn!("the process that took over is gone; whoever is started next waits for this one to end");
        }
        is_so
    }

    /// Ends when nothing is in flight any more.
    fn all_finished(&self) -> impl Future<Output = ()> + use<> {
        let cores = self.cores.clone();
        async move {
            while cores.in_flight() != (0, 0) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    fn tell_what_is_cut(&self) {
        let (exchanges, connections) = self.cores.in_flight();
        tracing::warn!(exchanges, connections, "stopped, these were cut");
    }

    fn close_rest(&mut self) {
        self.metrics_door = None;
        self.cores.end();
        self.access_log.clone().close();
    }
}

/// Reloads are for whoever serves now.
async fn told_to_stop(signals: &mut Signals) {
    while signals.next().await != Signal::Stop {}
}
