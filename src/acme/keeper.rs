//! The task of one certificate: looks what is due, does it, remembers how it went, sleeps.
//! Refuses to give up: whatever fails is tried again by the schedule, and the pair in force stays until there is a better one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::export::{self, export_key};
use super::look::look;
use super::order::{Attempt, Failure, Issue, clear_records, explain, key_type_word};
use super::schedule::{self, Due, back_off, is_rush};
use super::state::{CertFolder, CertState, Fault, Issued, KnownWindow, StoredPair};
use super::wanted::{Source, Wanted, facts, missing_name, name_to_ask, names_of};
use super::worker::{Bench, Stored, TaskOrder};
use crate::cert::{CertificateOrigin, hex};
use crate::config::{AcmeSpec, ChallengeSpec, DnsSpec};
use crate::telemetry::CertificateWork;

/// Longest sleep: the clock may have been set meanwhile, which no timer notices.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// One try from the account to the download. The parts have bounds of their own, all of them together are shorter than this.
const WHOLE_ATTEMPT: Duration = Duration::from_secs(20 * 60);

/// How often the CA may be asked for its renewal window. Seconds.
const WINDOW_AGAIN: std::ops::RangeInclusive<i64> = 5..=24 * 3600;

/// How often our own doors are looked at. Seconds.
const DOORS_AGAIN: i64 = 3600;

/// How far a CA's clock may be ahead of ours. Seconds.
const CLOCKS_DIFFER: i64 = 24 * 3600;

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
    pub fn new(
        bench: Arc<Bench>,
        wanted: Wanted,
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
            if self.due(&order).at <= now() {
                // What fails is remembered and told where it happens.
                let _ = self.renew(&order).await;
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
        let stored = self.pair.as_ref().map(|pair| pair.as_ref().map(|pair| &pair.certificate).map_err(|()| ()));
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
            let when = super::report::moment(due.at);
            return Ok(format!("not due before {when} ({}); --force orders one all the same", due.why));
        }
        self.renew(&order).await.map_err(|failure| failure.to_string())?;
        let Some(Ok(pair)) = &self.pair else { return Err("the certificate is gone again".to_owned()) };
        let until = super::report::moment(pair.certificate.not_after().unix_timestamp());
        Ok(format!("issued: serial {}, until {until}", pair.certificate.serial()))
    }

    /// One try, with everything that follows from it.
    async fn renew(&mut self, order: &AcmeSpec) -> Result<(), Failure> {
        let outcome = self.obtain(order).await;
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
                let again = super::report::moment(self.due(order).at);
                let id = &self.wanted.id;
                let meanwhile = if self.pair.is_some() { "the stored one stays" } else { "the local CA serves" };
                tracing::error!(cert = %id, step = failure.step, said = failure.said, again, "no certificate; {meanwhile}");
                Err(failure)
            }
        }
    }

    /// From the CA to the disk.
    async fn obtain(&mut self, order: &AcmeSpec) -> Result<(), Failure> {
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
            (Some(before), Some(issued)) => {
                let life = schedule::Lifetime {
                    from: before.not_before().unix_timestamp(),
                    until: before.not_after().unix_timestamp(),
                };
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
        let (serial, until) = (pair.certificate.serial().to_owned(), super::report::moment(until));
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

    /// Has the new pair served.
    async fn publish(&mut self) {
        let (in_force, answer) = oneshot::channel();
        let stored = Stored { id: Arc::clone(&self.wanted.id), in_force };
        if self.bench.stored.send(stored).await.is_err() {
            return;
        }
        let mut stopping = self.stopping.clone();
        tokio::select! {
            answer = answer => if let Ok(Err(said)) = answer {
                tracing::error!(cert = %self.wanted.id, said, "the new certificate is stored, but not served");
            },
            _ = stopping.changed() => {}
        }
        self.doors_at = 0;
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

    /// Asks the CA when it would like the certificate renewed (RFC 9773).
    async fn ask_window(&mut self, order: &AcmeSpec, at_once: bool) {
        let Some(id) = self.identifier(order) else { return };
        let Some(Ok(pair)) = &self.pair else { return };
        let serial = pair.certificate.serial().to_owned();
        let known = self.state.window.as_ref().filter(|known| known.serial == serial);
        // Asked in the future: the clock was set back.
        if !at_once && known.is_some_and(|known| known.asked_at <= now() && now() < known.again_at) {
            return;
        }
        let (old, failures) = known.map_or((None, 0), |known| (known.window, known.failures));
        let asked_at = now();
        let answer = match self.bench.accounts.open(order).await {
            Err(failure) => Err(failure),
            Ok(open) => match open.account.renewal_info(&id).await {
                Ok(answer) => Ok(Some(answer)),
                Err(instant_acme::Error::Unsupported(_)) => Ok(None),
                Err(error) => Err(explain("window", &error, &open.client)),
            },
        };
        let mut known = KnownWindow { serial, window: None, explanation: None, asked_at, again_at: 0, failures: 0 };
        match answer {
            Ok(None) => known.again_at = asked_at + WINDOW_AGAIN.end(),
            Ok(Some((info, again))) => {
                let (start, end) =
                    (info.suggested_window.start.unix_timestamp(), info.suggested_window.end.unix_timestamp());
                known.window = Some((start, end));
                known.explanation = info.explanation_url;
                let again = i64::try_from(again.as_secs()).unwrap_or(i64::MAX);
                known.again_at = asked_at + again.clamp(*WINDOW_AGAIN.start(), *WINDOW_AGAIN.end());
                if old != known.window {
                    let (from, until) = (super::report::moment(start), super::report::moment(end));
                    let why = known.explanation.as_deref().unwrap_or("");
                    tracing::info!(cert = %self.wanted.id, from, until, why, "the CA suggests a renewal window");
                }
            }
            Err(failure) => {
                tracing::warn!(cert = %self.wanted.id, said = failure.said, "the CA's renewal window is not known");
                known.window = old;
                known.failures = failures.saturating_add(1);
                known.again_at = asked_at + back_off(known.failures, self.state.seed);
            }
        }
        self.state.window = Some(known);
        self.save();
    }

    /// By which the CA knows the stored certificate, if this CA issued it (or whoever it was imported from).
    fn identifier(&self, order: &AcmeSpec) -> Option<CertificateIdentifier<'static>> {
        let Some(Ok(pair)) = &self.pair else { return None };
        let is_its = self.state.issued.as_ref().is_none_or(|issued| issued.directory == order.ca.directory.value);
        let leaf = CertificateDer::from_pem_slice(&pair.cert_pem).ok().filter(|_| is_its)?;
        CertificateIdentifier::try_from(&leaf).ok().map(CertificateIdentifier::into_owned)
    }

    /// Hands the pair on, as far as that is pending. When to try again, if something is.
    async fn export(&mut self) -> Option<i64> {
        let Some(Ok(pair)) = &self.pair else { return None };
        let fingerprint = hex(pair.certificate.fingerprint());
        let (seed, mut next, mut is_changed) = (self.state.seed, None, false);
        let mut waiting: BTreeMap<&'static str, u64> = export::STEPS.iter().map(|step| (*step, 0)).collect();
        for spec in &self.wanted.exports {
            let key = export_key(spec);
            let state = self.state.exports.entry(key.clone()).or_default();
            if export::pending(spec, state, &fingerprint).is_some() && export::next_try(state, now(), seed) <= now() {
                is_changed = true;
                if let Err(failure) = export::advance(spec, &self.wanted.id, pair, state, now()).await {
                    self.work.failed(failure.step);
                    tracing::warn!(cert = %self.wanted.id, export = key, step = failure.step, said = failure.said, "export not done; tried again");
                }
            }
            if let Some(step) = export::pending(spec, state, &fingerprint) {
                *waiting.entry(step).or_default() += 1;
                next = next.into_iter().chain([export::next_try(state, now(), seed)]).min();
            }
        }
        if !self.wanted.exports.is_empty() {
            self.work.set_pending(waiting);
        }
        if is_changed {
            self.save();
        }
        next
    }

    /// Looks whether our own doors show what is stored. A door that does not let us look says nothing.
    async fn check_doors(&mut self) {
        let Some(Ok(pair)) = &self.pair else { return };
        let is_due = self.doors_at <= now() || self.doors_at > now() + DOORS_AGAIN;
        if self.wanted.order().is_none() || !is_due {
            return;
        }
        self.doors_at = now() + DOORS_AGAIN;
        let doors = self.bench.doors.borrow().clone();
        let (name, mut is_served) = (name_to_ask(&pair.certificate), None);
        for door in doors {
            match look(&reachable(door).to_string(), &name).await {
                Ok(seen) if seen.fingerprint == *pair.certificate.fingerprint() => {
                    is_served = is_served.or(Some(true));
                }
                Ok(seen) => {
                    is_served = Some(false);
                    if self.was_served != Some(false) {
                        let stored = pair.certificate.serial();
                        tracing::warn!(cert = %self.wanted.id, %door, name, stored, served = seen.serial, "a door serves another certificate than the stored one");
                    }
                }
                Err(why) => tracing::debug!(cert = %self.wanted.id, %door, why, "a door could not be looked at"),
            }
        }
        if let Some(is_served) = is_served {
            self.work.set_served(is_served);
        }
        self.was_served = is_served;
    }

    fn tell(&self) {
        let next = self.wanted.order().map_or(0, |order| self.due(order).at);
        let moment = |moment: Option<i64>| moment.unwrap_or(0);
        self.work.set_moments(moment(self.state.last_attempt), moment(self.state.last_success), next);
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

/// The step of a try that we ended ourselves.
const STOPPED: &str = "stop";

fn stopped() -> Failure {
    Failure::new(STOPPED, "doorward was told to end, or the file changed")
}

/// A door on every address is asked on loopback.
fn reachable(door: SocketAddr) -> SocketAddr {
    let ip = match door.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, door.port())
}
