//! Certificates as the control plane sees them: what the worker is to keep, what it announces, what people ask about it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Control;
use crate::acme::{Stored, Wanted, report};
use crate::admin::Answer;
use crate::config::{CertSource, Config};
use crate::snapshot::{Mode, Snapshot};

/// Announcements that may wait; a worker waits beyond that.
pub(super) const ANNOUNCEMENTS: usize = 16;

impl Control {
    /// Tells the worker what the file in force wants.
    pub(super) fn keep_certificates(&mut self) {
        let snapshot = self.cell.load();
        self.worker.want(wanted(&self.config), tls_doors(&snapshot));
    }

    /// A pair was stored: the same file, compiled with it. No reload, and open connections stay.
    pub(super) async fn put_stored_in_force(&mut self, stored: Stored) {
        let Stored { id, in_force } = stored;
        tracing::debug!(cert = %id, "a stored certificate is put in force");
        // The worker may have been told to end meanwhile.
        let _ = in_force.send(self.refresh_files().await);
    }

    /// Every certificate of the file in force.
    pub(super) async fn certificates(&self) -> Answer {
        let (workshop, config) = (Arc::clone(&self.workshop), Arc::clone(&self.config));
        let looked = tokio::task::spawn_blocking(move || {
            workshop.state.as_ref().map(|state| report(&config, state, &workshop.factory))
        });
        match looked.await {
            Ok(Some(reports)) => Answer::done(reports.to_string(), serde_json::json!(reports)),
            _ => Answer::refused("the state folder could not be looked at"),
        }
    }

    /// Asks the worker for a renewal, and answers when it is done: that may take minutes, and this must not wait.
    pub(super) fn renew(&self, name: &str, force: bool, answer: oneshot::Sender<Answer>) {
        let Some(renewed) = self.worker.renew(name, force) else {
            let known: Vec<&str> = self.worker.ids().map(|id| &**id).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let _ = answer.send(Answer::refused(format!("no [cert.{name}] is kept; there is: {known}\n")));
            return;
        };
        let name = name.to_owned();
        tokio::spawn(async move {
            let answered = match renewed.await {
                Ok(Ok(said)) => Answer::done(format!("[cert.{name}]: {said}\n"), serde_json::Value::Null),
                Ok(Err(said)) => Answer::refused(format!("[cert.{name}]: {said}\n")),
                Err(_) => Answer::refused(format!("[cert.{name}]: the file changed meanwhile; ask again\n")),
            };
            // Who asked may be gone.
            let _ = answer.send(answered);
        });
    }
}

/// Files that somebody else keeps are the worker's only where they are handed on.
fn wanted(config: &Config) -> Vec<Wanted> {
    let specs = config.certs.iter();
    specs
        .filter(|spec| matches!(spec.source, CertSource::Acme(_)) || !spec.exports.is_empty())
        .map(Wanted::of)
        .collect()
}

fn tls_doors(snapshot: &Snapshot) -> Vec<SocketAddr> {
    snapshot.listeners.iter().filter(|listener| listener.mode == Mode::Tls).map(|listener| listener.address).collect()
}
