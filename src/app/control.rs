//! The control plane: the one writer. Takes orders from signals, the admin socket and the file watcher, makes snapshots off
//! to the side, publishes them, and ends everything in order.

mod certificates;
mod containers;
mod ending;
mod handover;
mod heartbeat;
mod mail;
mod questions;
mod watching;

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::arrival::Arrival;
use super::load::{Ingredients, Prepared, Workshop};
use super::open::{Bound, bind_all, create_state, open_socket, tell, via_name};
use super::{AppError, RunOptions, Running, limits};
use crate::acme::{CertificateWorker, Stored};
use crate::admin::{AdminHandle, Answer, Command, Order, Signal, Signals, serve_metrics};
use crate::cert::SystemRoots;
use crate::config::{Config, Diagnostic, Source};
use crate::mail::{Event, Mail, Trouble};
use crate::model::AccessFormat;
use crate::provider::{ContentPrint, Watch};
use crate::serve::{Cores, Counts, Doors, Plant, give_back_all_memory};
use crate::service::{Inherited, StateLock, Supervisor};
use crate::snapshot::{Listener, Mode, Publisher, Snapshot, SnapshotCell, changes};
use crate::telemetry::{AccessLog, CertificateMetric, Metrics, Readiness, Sink};
use crate::upstream::follow;
use containers::Containers;

/// Orders that may wait; those who ask wait beyond that.
const QUEUE: usize = 64;

/// How often certificates are looked at unasked.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many warnings an accepted reload is told with; `doorward check` has all.
const TOLD: usize = 10;

/// How often replaced snapshots are looked at.
const RETIRED: Duration = Duration::from_secs(1);

/// How often the end of the last exchange is looked for while draining.
const LOOK: Duration = Duration::from_millis(20);

/// The control plane of a running process.
pub struct Control {
    workshop: Arc<Workshop>,
    publisher: Publisher,
    cell: SnapshotCell,
    cores: Cores,
    doors: Doors,
    metrics: Arc<Metrics>,
    access_log: AccessLog,
    readiness: Readiness,
    config: Arc<Config>,
    source: Source,
    metrics_door: Option<(SocketAddr, oneshot::Sender<()>)>,
    local_ca: Option<PathBuf>,
    admin: Option<AdminHandle>,
    admin_serving: Option<JoinHandle<()>>,
    /// A second handle of every listening socket, for a successor and for the supervisor.
    sockets: HashMap<SocketAddr, TcpListener>,
    lock: Option<StateLock>,
    supervisor: Supervisor,
    is_announced: bool,
    called_with: Option<Vec<OsString>>,
    orders: mpsc::Receiver<Order>,
    signals: Signals,
    watch: Watch,
    files: Vec<PathBuf>,
    retired: Vec<Arc<Snapshot>>,
    began: Instant,
    worker: CertificateWorker,
    mail: Option<Mail>,
    looking: Option<JoinHandle<()>>,
    stored: mpsc::Receiver<Stored>,
    containers: Containers,
    via: Arc<str>,
}

/// What files held when they were last read.
type Seen = HashMap<PathBuf, Option<ContentPrint>>;

fn look_at(files: &[PathBuf]) -> Seen {
    files.iter().map(|file| (file.clone(), ContentPrint::of_file(file))).collect()
}

fn start_certificates(
    workshop: &Workshop,
    state: &Path,
    publisher: &Publisher,
) -> (CertificateWorker, mpsc::Receiver<Stored>) {
    let (announce, stored) = mpsc::channel(certificates::ANNOUNCEMENTS);
    let (factory, roots) = (Arc::clone(&workshop.factory), Arc::clone(&workshop.roots));
    let metrics = Arc::clone(&workshop.metrics);
    (CertificateWorker::start(state, factory, roots, metrics, publisher.board(), announce), stored)
}

fn open_access_log(format: AccessFormat, metrics: &Metrics) -> Result<AccessLog, AppError> {
    let log = AccessLog::start(format, Sink::Stdout).map_err(|error| AppError::Start(std::io::Error::other(error)))?;
    metrics.watch_access_log(&log);
    Ok(log)
}

impl Control {
    /// Builds everything and opens the doors. Inside the control runtime.
    pub fn start(options: RunOptions, arrival: &mut Arrival) -> Result<Control, AppError> {
        let began = Instant::now();
        let RunOptions { config, state, workers, overlay, follows: _, called_with } = options;
        create_state(&state)?;
        let lock = arrival.lock(&state)?;
        let workers = workers.unwrap_or_else(limits::usable_cores).max(1);
        // One set of counters more than cores: for the threads that accept and control.
        let metrics = Metrics::new(workers + 1);
        limits::count_panics_in(&metrics, workers);
        let workshop = Arc::new(Workshop {
            path: config,
            state: Some(state.clone()),
            overlay,
            factory: Arc::new(arrival.factory()?),
            roots: Arc::new(SystemRoots::load()),
            metrics: Arc::clone(&metrics),
            first_generation: arrival.first_generation(),
        });
        let (prepared, known) = workshop.begin()?;
        let Prepared { snapshot, config, source, warnings, notices, local_ca, files, containers } = prepared;
        tell(&warnings, &notices, &config);
        let bound = bind_all(&snapshot, &[], None, &mut arrival.inherited)?;

        let access_log = open_access_log(snapshot.access_log, &metrics)?;
        let (cell, publisher) = SnapshotCell::new(snapshot);
        let via: Arc<str> = via_name(&state).into();
        let plant = Plant {
            cell: cell.clone(),
            metrics: Arc::clone(&metrics),
            access_log: access_log.clone(),
            counts: Arc::new(Counts::default()),
            room: limits::room(),
            shortage: Arc::default(),
            via: Arc::clone(&via),
        };
        let cores = Cores::start(workers, &plant).map_err(AppError::Start)?;
        let doors = Doors::start(plant, cores.clone()).map_err(AppError::Start)?;
        let signals = Signals::listen().map_err(AppError::Start)?;
        let (inbox, orders) = mpsc::channel(QUEUE);
        arrival.wait_for_turn()?;
        let (admin, admin_serving) = open_socket(&state, inbox, arrival.admin()).unzip();
        let (worker, stored) = start_certificates(&workshop, &state, &publisher);
        let mut control = Control {
            workshop,
            publisher,
            cell,
            cores,
            doors,
            metrics,
            access_log,
            readiness: Readiness::new(),
            config,
            source,
            metrics_door: None,
            local_ca,
            admin,
            admin_serving,
            sockets: HashMap::new(),
            lock,
            supervisor: Supervisor::from_environment(),
            is_announced: false,
            called_with,
            orders,
            signals,
            watch: Watch::start(),
            files,
            retired: Vec::new(),
            began,
            worker,
            mail: None,
            looking: None,
            stored,
            containers: Containers::default(),
            via,
        };
        control.watch.set_files(control.files.clone(), &Seen::new());
        control.put_to_use(bound, &[]);
        control.metrics.set_generation(control.cell.load().generation);
        control.after_publishing();
        control.begin_containers(containers, known);
        tokio::spawn(heartbeat::watch(control.cores.clone(), control.supervisor.clone()));
        Ok(control)
    }

    /// What is serving now.
    pub fn running(&self) -> Running {
        let snapshot = self.cell.load();
        let listeners = snapshot.listeners.iter();
        Running {
            listeners: listeners.map(|l| (Arc::clone(&l.door.name), l.address, l.mode == Mode::Tls)).collect(),
            metrics: snapshot.metrics.as_ref().map(|(address, _)| *address),
            local_ca: self.local_ca.clone(),
            socket: self.admin.as_ref().map(|admin| admin.path().to_owned()),
            workers: self.cores.count(),
        }
    }

    /// Carries out orders until one says stop, then drains.
    pub async fn work(&mut self) {
        let mut around = tokio::time::interval(mail::LOOK_AROUND);
        around.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut daily = tokio::time::interval_at(tokio::time::Instant::now() + DAY, DAY);
        tracing::info!(
            routes = self.cell.load().routes.len(),
            workers = self.cores.count(),
            ready_in_ms = self.began.elapsed().as_millis(),
            "serving"
        );
        loop {
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Signal::Stop => return self.stop().await,
                    Signal::Reload => drop(self.reload("SIGHUP").await),
                },
                Some(order) = self.orders.recv() => match order.command {
                    Command::Upgrade { program } => if self.upgrade(&program, order.answer).await { return },
                    Command::ReloadAs { program } if self.is_other_program(&program).await => {
                        if self.upgrade(&program, order.answer).await { return }
                    }
                    _ => self.obey(order).await,
                },
                Some(stored) = self.stored.recv() => self.put_stored_in_force(stored).await,
                () = self.containers.changed() => self.containers_changed().await,
                changed = self.watch.changed() => self.files_changed(&changed).await,
                // The local CA mints anew what comes near its end.
                _ = around.tick() => self.look_around(),
                _ = daily.tick() => drop(self.refresh_files().await),
                () = tokio::time::sleep(RETIRED), if !self.retired.is_empty() => self.free_retired(),
            }
        }
    }

    /// Lets go of snapshots that no request holds any more. Kept until then, so that it is no data core that takes a large
    /// table apart.
    fn free_retired(&mut self) {
        let freed: Vec<_> = self.retired.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1).collect();
        if !freed.is_empty() {
            drop(aside(move || drop(freed)));
        }
    }

    /// Some watched file has new content. A change of certificates alone is no reload: the file in force stays.
    async fn files_changed(&mut self, changed: &[PathBuf]) {
        if changed.contains(&self.workshop.path) {
            drop(self.reload("the file").await);
        } else {
            drop(self.refresh_files().await);
        }
    }

    /// Reads routes.toml again. A faulty file changes nothing.
    async fn reload(&mut self, by: &str) -> Answer {
        let (workshop, before) = (Arc::clone(&self.workshop), self.publisher.current());
        self.supervisor.reloading();
        let began = Instant::now();
        let prepared = aside({
            let (before, files, containers) = (Arc::clone(&before), self.files.clone(), self.containers.inventory());
            move || (look_at(&files), workshop.prepare(Some(&before), containers))
        });
        let mut in_words = None;
        let outcome = match prepared.await {
            Ok((seen, prepared)) => {
                let outcome = match prepared {
                    Ok(prepared) => self.adopt(prepared, &before),
                    Err(faults) => {
                        in_words = Some(faults.in_words());
                        Err(faults.to_string())
                    }
                };
                // What was read just now, accepted or refused, is not to be read again by the watcher.
                self.watch.set_files(self.files.clone(), &seen);
                outcome
            }
            Err(_) => Err("the file could not be read: an internal error, see the log".to_owned()),
        };
        match outcome {
            Ok(what) => {
                self.write_of(Event::Ended(Trouble::Reload));
                self.metrics.reload_accepted(before.generation + 1);
                let took = began.elapsed().as_millis();
                // The warnings behind the first line were logged as such.
                let first = what.lines().next().unwrap_or_default();
                tracing::info!("reload {} by {by}, in {took} ms: {first}", before.generation + 1);
                self.supervisor.ready(&self.in_a_line());
                Answer::done(format!("{what}\n"), serde_json::json!({ "generation": before.generation + 1 }))
            }
            Err(why) => {
                self.metrics.reload_refused();
                self.write_of(Event::Began(Trouble::Reload, in_words.unwrap_or_else(|| why.clone())));
                let text =
                    format!("{why}\nrefused; generation {} stays in force: nothing has changed\n", before.generation);
                tracing::error!("reload by {by} refused\n{text}");
                self.supervisor.ready(&format!("{}; the file as it is now is refused", self.in_a_line()));
                Answer::refused(text)
            }
        }
    }

    /// Certificates (or the `ca` of an upstream) changed on disk: the same file, compiled anew.
    async fn refresh_files(&mut self) -> Result<(), String> {
        let (workshop, before) = (Arc::clone(&self.workshop), self.publisher.current());
        let (config, source) = (Arc::clone(&self.config), self.source.clone());
        let of = Ingredients { config, source, warnings: Vec::new(), containers: self.containers.inventory() };
        let prepared = aside({
            let before = Arc::clone(&before);
            move || workshop.assemble(of, Some(&before))
        });
        let outcome = match prepared.await {
            Ok(Ok(prepared)) => self.adopt(prepared, &before),
            Ok(Err(faults)) => Err(faults.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match &outcome {
            Ok(what) => {
                self.watch.set_files(self.files.clone(), &Seen::new());
                self.metrics.set_generation(before.generation + 1);
                let first = what.lines().next().unwrap_or_default();
                tracing::info!(generation = before.generation + 1, "files read again: {first}");
            }
            Err(why) => tracing::error!("files read again, but: {why}"),
        }
        outcome.map(drop)
    }

    /// Puts a prepared snapshot in force: binds what is new first, so that a port that is taken refuses the whole.
    fn adopt(&mut self, prepared: Prepared, before: &Snapshot) -> Result<String, String> {
        let Prepared { snapshot, config, source, warnings, notices, local_ca, files, containers } = prepared;
        let metrics_at = self.metrics_door.as_ref().map(|(address, _)| *address);
        let bound = bind_all(&snapshot, &before.listeners, metrics_at, &mut Inherited::default())
            .map_err(|error| error.to_string())?;
        tell(&warnings, &notices, &config);
        let what = changes(before, &snapshot);
        // Here too: where reloads follow one another closely, the pause for it never comes.
        self.free_retired();
        self.retired.push(self.publisher.current());
        self.publisher.publish(snapshot);
        self.config = config;
        self.source = source;
        self.local_ca = local_ca;
        self.put_to_use(bound, &before.listeners);
        self.cores.published();
        self.after_publishing();
        self.files = files;
        self.keep_containers(containers);
        let (_, connections) = self.cores.in_flight();
        let told: String = notices
            .iter()
            .map(|notice| format!("\nwarning: {notice}"))
            .chain(warnings.iter().take(TOLD).map(|warning| {
                let Diagnostic { path, line, column, message, .. } = warning;
                format!("\n{path}:{line}:{column}: warning: {message}")
            }))
            .collect();
        Ok(format!("{what}; {connections} connections kept{told}"))
    }

    /// Opens what was bound, closes what the snapshot in force no longer has.
    fn put_to_use(&mut self, bound: Bound, before: &[Listener]) {
        let snapshot = self.cell.load();
        for (address, socket) in bound.doors {
            self.remember(address, &socket);
            self.doors.open(address, socket);
        }
        for listener in before {
            if snapshot.listener(listener.address).is_none() {
                self.doors.close(listener.address);
                self.forget(listener.address);
            }
        }
        let wanted = snapshot.metrics.as_ref().map(|(address, _)| *address);
        if self.metrics_door.as_ref().map(|(address, _)| *address) != wanted {
            // Dropping the sender stops the old one.
            if let Some((address, _)) = self.metrics_door.take() {
                self.forget(address);
            }
        }
        if let (Some(address), Some(socket)) = (wanted, bound.metrics) {
            self.remember(address, &socket);
            self.metrics_door = self.open_metrics(socket).map(|stop| (address, stop));
        }
    }

    fn open_metrics(&self, socket: TcpListener) -> Option<oneshot::Sender<()>> {
        let listener = match tokio::net::TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "metrics cannot be served");
                return None;
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let cell = self.cell.clone();
        let admits = move |client| cell.load().metrics.as_ref().is_some_and(|(_, allow)| allow.list.admits(client));
        let (metrics, readiness) = (Arc::clone(&self.metrics), self.readiness.clone());
        tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve_metrics(listener, metrics, readiness, admits, stopped).await;
        });
        Some(stop)
    }

    /// What follows from a snapshot in force: names to resolve, the log's format, certificates in the metrics.
    fn after_publishing(&mut self) {
        let snapshot = self.cell.load();
        for target in &snapshot.targets {
            for member in target.upstream.members.iter().filter(|member| member.is_named()) {
                if member.claim_follower() {
                    tokio::spawn(follow(Arc::downgrade(member)));
                }
            }
        }
        self.access_log.set_format(snapshot.access_log);
        self.keep_certificates();
        self.keep_mail();
        let certificates = snapshot.certificates.iter();
        self.metrics.set_certificates(
            certificates
                .flat_map(|c| c.names().iter().map(|name| (name.to_string(), c.not_after().unix_timestamp())))
                .map(|(name, not_after_unix)| CertificateMetric { name, not_after_unix })
                .collect(),
        );
    }
}

/// Builds tables or takes them apart beside the control plane's own thread. The memory that it needed for that goes back to
/// the system at once: otherwise the first data core to look for some would give it back, and with 10,000 routes stand still
/// for milliseconds.
fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        let made = work();
        give_back_all_memory();
        made
    })
}
