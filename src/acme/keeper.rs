//! The task of one certificate: looks what is due, does it, remembers how it went, sleeps.
//! Refuses to give up: whatever fails is tried again by the schedule, and the pair in force stays until there is a better one.

mod after;
mod obtain;
mod window;

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

use super::export::{self, export_key};
use super::order::{Failure, clear_records};
use super::report::moment;
use super::schedule::{self, Due, back_off};
use super::state::{CertFolder, CertState, Fault, StoredPair};
use super::wanted::{Source, Wanted, facts, names_of};
use super::worker::{Bench, TaskOrder};
use crate::config::{AcmeSpec, ChallengeSpec, DnsSpec};
use crate::telemetry::CertificateWork;
use obtain::STOPPED;

/// Longest sleep: the clock may have been set meanwhile, which no timer notices.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// One certificate and what is known of it.
pub struct Keeper {
    bench: Arc<Bench>,
    wanted: Wanted,
    folder: CertFolder,
    state: CertState,
    /// What was last read or written there: what differs was written by somebody else.
    on_disk: CertState,
    /// The pair in force; `Err`: there is one that cannot be used.
    pair: Option<Result<StoredPair, ()>>,
    /// Issued, but the disk did not take it, or our clock says it cannot be used yet.
    unsaved: Option<StoredPair>,
    work: Arc<CertificateWork>,
    orders: mpsc::UnboundedReceiver<TaskOrder>,
    stopping: watch::Receiver<()>,
    clear_failures: u32,
    clear_at: i64,
    doors_at: i64,
    was_served: Option<bool>,
    are_rights_checked: bool,
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

impl Keeper {
    /// A keeper that has read what is stored. It ends when `stopping`'s sender is gone.
    ///
    /// `is_changed`: a person changed what the file says of it, so the pause after failures is over. One that the other side
    /// asked for is not.
    pub fn new(
        bench: Arc<Bench>,
        wanted: Wanted,
        is_changed: bool,
        orders: mpsc::UnboundedReceiver<TaskOrder>,
        stopping: watch::Receiver<()>,
    ) -> Keeper {
        let folder = CertFolder::new(&bench.state, &wanted.id);
        let mut keeper = Keeper {
            work: bench.metrics.certificate_work(&wanted.id),
            bench,
            wanted,
            folder,
            state: CertState::default(),
            on_disk: CertState::default(),
            pair: None,
            unsaved: None,
            orders,
            stopping,
            clear_failures: 0,
            clear_at: 0,
            doors_at: 0,
            was_served: None,
            are_rights_checked: false,
        };
        keeper.read();
        if is_changed && keeper.state.asked.is_none() {
            keeper.state.failures = 0;
        }
        keeper
    }

    /// Keeps the certificate until told to end.
    pub async fn run(mut self) {
        loop {
            let pause = self.turn().await;
            let mut stopping = self.stopping.clone();
            tokio::select! {
                _ = stopping.changed() => break,
                order = self.orders.recv() => match order {
                    None => break,
                    Some(TaskOrder::Look) => self.read(),
                    Some(TaskOrder::Renew { force, answer }) => {
                        // Who asked may be gone.
                        let _ = answer.send(self.renew_on_demand(force).await);
                    }
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Whatever an order left is taken away now rather than at the next start.
        self.clear_left_over(true).await;
    }

    /// Reads what is on disk: at the start, and when somebody else may have written there.
    fn read(&mut self) {
        let on_disk = self.folder.state();
        if on_disk != self.on_disk {
            self.state.clone_from(&on_disk);
            self.on_disk = on_disk;
        }
        if self.state.seed == 0 {
            self.state.seed = rand::random::<u64>().max(1);
        }
        let is_there = self.wanted.order().is_none() || self.folder.is_filled();
        self.pair = is_there.then(|| {
            let loaded = self.wanted.load(&self.folder, &self.bench.factory);
            loaded.map_err(|error| {
                let said = super::in_words(&error);
                tracing::warn!(cert = %self.wanted.id, said, "the stored certificate cannot be used");
            })
        });
        let exports = self.wanted.exports.iter();
        self.state.exports.retain(|key, _| exports.clone().any(|spec| export_key(spec) == *key));
        if let Some(Ok(pair)) = &self.pair {
            for spec in exports {
                let state = self.state.exports.entry(export_key(spec)).or_default();
                if !export::is_intact(spec, pair) {
                    state.written = None;
                }
            }
        }
    }

    /// Does everything that is due, and says how long there is nothing to do.
    async fn turn(&mut self) -> Duration {
        let mut next = vec![];
        if let Source::Order(order) = &self.wanted.source {
            let order = order.clone();
            self.clear_left_over(false).await;
            self.check_rights(&order).await;
            self.ask_window(&order, false).await;
            let due = self.due(&order);
            if due.at <= now() {
                // What fails is remembered and told where it happens.
                let _ = self.renew(&order, due.why.is_by_itself()).await;
            }
            next.push(self.due(&order).at);
            next.extend(self.state.window.as_ref().map(|window| window.again_at));
        }
        next.extend(self.export().await);
        self.check_doors().await;
        self.tell();
        let pause = next
            .into_iter()
            .min()
            .map_or(LOOK_AGAIN, |moment| Duration::from_secs(u64::try_from(moment.saturating_sub(now())).unwrap_or(0)));
        pause.clamp(Duration::from_secs(1), LOOK_AGAIN)
    }

    fn due(&self, order: &AcmeSpec) -> Due {
        let stored = self.pair.as_ref().map(|pair| pair.as_ref().map(|pair| &pair.certificate).map_err(|&()| ()));
        schedule::due(&facts(order, &self.state, stored, now()))
    }

    async fn renew_on_demand(&mut self, force: bool) -> Result<String, String> {
        let Source::Order(order) = &self.wanted.source else {
            return Err(format!("[cert.{}] is kept by somebody else; nothing is ordered for it", self.wanted.id));
        };
        let order = order.clone();
        for state in self.state.exports.values_mut() {
            state.failures = 0;
        }
        self.ask_window(&order, true).await;
        // Somebody is there and asks: the pause after failures is for when nobody is.
        let (failures, rushes) = (std::mem::take(&mut self.state.failures), std::mem::take(&mut self.state.rushes));
        let due = self.due(&order);
        (self.state.failures, self.state.rushes) = (failures, rushes);
        if !force && due.at > now() {
            let when = moment(due.at);
            return Ok(format!("not due before {when} ({}); --force orders one all the same", due.why));
        }
        self.renew(&order, false).await.map_err(|failure| failure.to_string())?;
        let Some(Ok(pair)) = &self.pair else { return Err("the certificate is gone again".to_owned()) };
        let until = moment(pair.certificate.not_after().unix_timestamp());
        Ok(format!("issued: serial {}, until {until}", pair.certificate.serial()))
    }

    /// One try, with everything that follows from it. `by_itself`: the schedule wanted it, not a person.
    async fn renew(&mut self, order: &AcmeSpec, by_itself: bool) -> Result<(), Failure> {
        let outcome = self.obtain(order, by_itself).await;
        let (bench, state) = (Arc::clone(&self.bench), &mut self.state);
        match outcome {
            Ok(()) => {
                state.failures = 0;
                state.last_error = None;
                state.asked = None;
                self.save();
                self.publish().await;
                Ok(())
            }
            // Nobody's fault: the next start goes on.
            Err(failure) if failure.step == STOPPED => {
                self.save();
                Err(failure)
            }
            Err(failure) => {
                state.failures = state.failures.saturating_add(1);
                state.asked = failure.asked.map(|asked| i64::try_from(asked.as_secs()).unwrap_or(i64::MAX));
                state.last_error = Some(Fault { at: now(), step: failure.step.to_owned(), said: failure.said.clone() });
                bench.metrics.certificate_work(&self.wanted.id).failed(failure.step);
                self.save();
                let again = moment(self.due(order).at);
                let id = &self.wanted.id;
                let meanwhile = if self.pair.is_some() { "the stored one stays" } else { "the local CA serves" };
                tracing::error!(cert = %id, step = failure.step, said = failure.said, again, "no certificate; {meanwhile}");
                Err(failure)
            }
        }
    }

    /// Takes away TXT records of an order that ended, or of a process that was killed.
    async fn clear_left_over(&mut self, at_once: bool) {
        if self.state.records.is_empty() || (!at_once && self.clear_at > now()) {
            return;
        }
        let dns = self.wanted.order().and_then(dns_of).cloned();
        let cleared = clear_records(dns.as_ref(), &self.folder, &mut self.state, &self.bench.state).await;
        match cleared {
            Ok(()) => self.clear_failures = 0,
            Err(failure) => {
                self.clear_failures = self.clear_failures.saturating_add(1);
                self.clear_at = now() + back_off(self.clear_failures, self.state.seed);
                self.work.failed(failure.step);
                tracing::warn!(cert = %self.wanted.id, step = failure.step, said = failure.said, "TXT records are left; tried again later");
            }
        }
    }

    /// Once per start: what the DNS credentials may do, too little and too much.
    async fn check_rights(&mut self, order: &AcmeSpec) {
        let Some(dns) = dns_of(order).filter(|_| !self.are_rights_checked) else { return };
        self.are_rights_checked = true;
        let names: Vec<String> = names_of(order).iter().map(|name| name.trim_start_matches("*.").to_owned()).collect();
        let checked = match super::dns::provider(dns, &self.bench.state) {
            Ok(provider) => provider.check_rights(&names).await,
            Err(error) => Err(error),
        };
        match checked {
            Ok(rights) => {
                for remark in rights.remarks() {
                    tracing::warn!(cert = %self.wanted.id, provider = dns.provider.value, "DNS credentials: {remark}");
                }
            }
            Err(error) => {
                tracing::warn!(cert = %self.wanted.id, said = %error, "the rights of the DNS credentials could not be checked");
            }
        }
    }

    fn tell(&self) {
        let next = self.wanted.order().map_or(0, |order| self.due(order).at);
        let or_never = |moment: Option<i64>| moment.unwrap_or(0);
        self.work.set_moments(or_never(self.state.last_attempt), or_never(self.state.last_success), next);
    }

    fn save(&mut self) {
        if let Err(error) = self.folder.save(&self.state) {
            let said = super::in_words(&error);
            tracing::warn!(cert = %self.wanted.id, said, "how the last try went cannot be written down");
        } else {
            self.on_disk.clone_from(&self.state);
        }
    }
}

fn dns_of(order: &AcmeSpec) -> Option<&DnsSpec> {
    match &order.challenge {
        ChallengeSpec::Dns(dns) => Some(dns),
        ChallengeSpec::Http | ChallengeSpec::TlsAlpn => None,
    }
}
