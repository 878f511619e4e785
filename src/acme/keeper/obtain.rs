//! One try: from the CA, through every check, to the disk.
//! Refuses to let go of a certificate that was issued: what the disk does not take is kept and tried again without the CA.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Keeper, now};
use crate::acme::order::{Attempt, Failure, Issue, key_type_word};
use crate::acme::report::moment;
use crate::acme::schedule::{Lifetime, is_rush};
use crate::acme::state::{Issued, StoredPair};
use crate::acme::wanted::{missing_name, names_of};
use crate::cert::CertificateOrigin;
use crate::config::AcmeSpec;

/// One try from the account to the download. The parts have bounds of their own, all of them together are shorter than this.
const WHOLE_ATTEMPT: Duration = Duration::from_secs(20 * 60);

/// How far a CA's clock may be ahead of ours. Seconds.
const CLOCKS_DIFFER: i64 = 24 * 3600;

/// The step of a try that we ended ourselves.
pub(super) const STOPPED: &str = "stop";

fn stopped() -> Failure {
    Failure::new(STOPPED, "doorward was told to end, or the file changed")
}

impl Keeper {
    /// From the CA to the disk.
    pub(super) async fn obtain(&mut self, order: &AcmeSpec, by_itself: bool) -> Result<(), Failure> {
        let begun = now();
        let pair = match self.unsaved.take() {
            Some(pair) => pair,
            None => {
                let issue = self.attempt(order).await?;
                self.check(order, issue)?
            }
        };
        let (from, until) =
            (pair.certificate.not_before().unix_timestamp(), pair.certificate.not_after().unix_timestamp());
        if from > begun + CLOCKS_DIFFER {
            self.unsaved = Some(pair);
            let said = "the new certificate is not valid yet; is the clock of this machine right?";
            return Err(Failure::new("check", said));
        }
        if until <= begun {
            let said = "the new certificate is over already; is the clock of this machine right?";
            return Err(Failure::new("check", said));
        }
        if let Err(error) = self.folder.store(&pair) {
            // It is good: only the disk is to be tried again, not the CA.
            self.unsaved = Some(pair);
            return Err(Failure::of("store", &error));
        }
        let before = self.pair.as_ref().and_then(|pair| pair.as_ref().ok()).map(|pair| &pair.certificate);
        let rushed = match (before, &self.state.issued) {
            (Some(before), Some(issued)) if by_itself => {
                let life =
                    Lifetime { from: before.not_before().unix_timestamp(), until: before.not_after().unix_timestamp() };
                is_rush(life, issued.at, begun)
            }
            _ => false,
        };
        self.state.rushes = if rushed { self.state.rushes.saturating_add(1) } else { 0 };
        self.state.last_success = Some(now());
        self.state.issued = Some(Issued {
            directory: order.ca.directory.value.clone(),
            profile: order.ca.profile.as_ref().map(|profile| profile.value.clone()),
            key_type: Some(key_type_word(order.key_type).to_owned()),
            at: now(),
        });
        let (serial, until) = (pair.certificate.serial().to_owned(), moment(until));
        self.pair = Some(Ok(pair));
        self.folder.forget_order();
        tracing::info!(cert = %self.wanted.id, serial, until, "certificate issued and stored");
        Ok(())
    }

    /// At the CA: bounded, ended when we are told to end, and cleaned up after in every case.
    async fn attempt(&mut self, order: &AcmeSpec) -> Result<Issue, Failure> {
        let bench = Arc::clone(&self.bench);
        let mut stopping = self.stopping.clone();
        let place = tokio::select! {
            place = bench.places.acquire() => place,
            _ = stopping.changed() => return Err(stopped()),
        };
        self.state.last_attempt = Some(now());
        self.state.cut_off = self.state.cut_off.saturating_add(1);
        self.save();
        tracing::info!(cert = %self.wanted.id, names = names_of(order).join(" "), ca = order.ca.directory.value, "ordering");
        let replaces = self.identifier(order);
        let mut attempt = Attempt {
            spec: order,
            folder: &self.folder,
            state: &mut self.state,
            state_dir: &bench.state,
            accounts: &bench.accounts,
            board: &bench.board,
            replaces,
        };
        let outcome = tokio::select! {
            outcome = timeout(WHOLE_ATTEMPT, attempt.run()) => {
                outcome.unwrap_or_else(|_| Err(Failure::new("order", "the order took more than 20 minutes")))
            }
            _ = stopping.changed() => Err(stopped()),
        };
        self.clear_left_over(true).await;
        drop(place);
        self.state.cut_off = 0;
        outcome
    }

    /// What the CA gave, checked before anything relies on it.
    fn check(&self, order: &AcmeSpec, issue: Issue) -> Result<StoredPair, Failure> {
        let (cert_pem, key_pem) = (issue.cert_pem.into_bytes(), issue.key_pem.into_bytes());
        let id = &self.wanted.id;
        let origin = CertificateOrigin::Acme { id: Arc::clone(id) };
        let certificate = self.bench.factory.certificate_from_pem(Arc::clone(id), &cert_pem, &key_pem, origin);
        let certificate = certificate.map_err(|error| Failure::of("check", &error))?;
        if let Some(name) = missing_name(order, &certificate) {
            return Err(Failure::new("check", format!("the CA left {name} out of the certificate")));
        }
        Ok(StoredPair { cert_pem, key_pem, certificate })
    }
}
