//! Every counter in the house. On the request path a core writes cells that are its own (a load and a store, no lock, no shared
//! cache line); who reads adds them up. Counters live as long as the process: a reload keeps them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::model::Refusal;

use super::access_log::{AccessLog, Losses};
use super::certificates::CertificateWork;
use super::endings::{Ended, NoRoom};
use super::members::MemberMetrics;

/// The `route` label of requests that no route has the name for.
pub const NO_ROUTE: &str = "(none)";

/// Upper bounds of `doorward_request_seconds`, in microseconds; above the last there is `+Inf`.
pub(super) const BUCKETS: [u64; 12] =
    [5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000];

/// Status classes, `1xx` to `5xx`.
pub(super) const CLASSES: usize = 5;

/// Names by which a caller finds the same counters again, sorted as they are rendered.
type Named<T> = BTreeMap<Box<str>, Arc<T>>;

/// By upstream and address; what nobody holds any more has no series.
type Members = BTreeMap<(Box<str>, Box<str>), Weak<MemberMetrics>>;

/// All counters of the process.
pub struct Metrics {
    pub(super) started: SystemTime,
    pub(super) cores: Box<[CoreMetrics]>,
    routes: Mutex<Named<RouteMetrics>>,
    upstreams: Mutex<Named<UpstreamMetrics>>,
    members: Mutex<Members>,
    certificates: Mutex<Vec<CertificateMetric>>,
    works: Mutex<Named<CertificateWork>>,
    containers: Mutex<Option<ContainerCounts>>,
    pub(super) generation: AtomicU64,
    pub(super) reloads_accepted: AtomicU64,
    pub(super) reloads_refused: AtomicU64,
    access_log: OnceLock<Arc<Losses>>,
}

/// When one certificate ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateMetric {
    /// `[cert.<name>]`, or what else it is called.
    pub name: String,
    /// Its notAfter. Seconds since 1970.
    pub not_after_unix: i64,
}

/// The containers of the engine that is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContainerCounts {
    /// Whether the engine can be asked.
    pub is_connected: bool,
    /// How many have each verdict.
    pub by_verdict: BTreeMap<&'static str, u64>,
}

impl Metrics {
    /// Counters for `cores` data cores (at least one), numbered from 0. The moment counts as the start of the process.
    pub fn new(cores: usize) -> Arc<Metrics> {
        Arc::new(Metrics {
            started: SystemTime::now(),
            cores: (0..cores.max(1)).map(|_| CoreMetrics::default()).collect(),
            routes: Mutex::default(),
            upstreams: Mutex::default(),
            members: Mutex::default(),
            certificates: Mutex::default(),
            works: Mutex::default(),
            containers: Mutex::default(),
            generation: AtomicU64::new(0),
            reloads_accepted: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            access_log: OnceLock::new(),
        })
    }

    /// The counters of a route: the same ones for the same name, however often it is asked. Not for the request path: a
    /// snapshot asks once, when it is compiled.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        named(&self.routes, name, || RouteMetrics {
            name: name.into(),
            cores: (0..self.cores.len()).map(|_| OnceLock::new()).collect(),
        })
    }

    /// The counters of an upstream: the same ones for the same name.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        named(&self.upstreams, name, || UpstreamMetrics {
            name: name.into(),
            failures: [const { AtomicU64::new(0) }; Refusal::ALL.len()],
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            held: AtomicU64::new(0),
        })
    }

    /// The counters of a member of an upstream: the same ones for the same upstream and address, as long as somebody holds
    /// them. A container that comes back with another address every day leaves nothing behind.
    pub fn member(&self, upstream: &str, address: &str) -> Arc<MemberMetrics> {
        let mut all = lock(&self.members);
        let key = (upstream.into(), address.into());
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        // Now and then, so that ten thousand at once do not look at each other.
        if all.len().is_power_of_two() {
            all.retain(|_, member| member.strong_count() > 0);
        }
        let fresh = Arc::new(MemberMetrics::new(upstream, address, self.cores.len()));
        all.insert(key, Arc::downgrade(&fresh));
        fresh
    }

    /// The series of the work for a certificate: the same ones for the same name.
    pub fn certificate_work(&self, name: &str) -> Arc<CertificateWork> {
        named(&self.works, name, || CertificateWork::new(name))
    }

    /// The counters that belong to one data core. A number that no core has gets the last core's, which then counts too little.
    pub fn core(&self, core: usize) -> &CoreMetrics {
        debug_assert!(core < self.cores.len(), "core {core} of {}", self.cores.len());
        &self.cores[core.min(self.cores.len() - 1)]
    }

    /// A file was accepted and is in force as this generation.
    pub fn reload_accepted(&self, generation: u64) {
        self.set_generation(generation);
        self.reloads_accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Routes and upstreams that nobody holds any more have no series: names that come and go leave nothing behind.
    fn forget_unused(&self) {
        lock(&self.routes).retain(|_, route| Arc::strong_count(route) > 1);
        lock(&self.upstreams).retain(|_, upstream| Arc::strong_count(upstream) > 1);
        lock(&self.members).retain(|_, member| member.strong_count() > 0);
    }

    /// A file was refused; nothing changed.
    pub fn reload_refused(&self) {
        self.reloads_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The generation in force, when it came by something else than a reload: the start, a new certificate.
    pub fn set_generation(&self, generation: u64) {
        self.forget_unused();
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Replaces what is known of certificates.
    pub fn set_certificates(&self, certificates: Vec<CertificateMetric>) {
        *lock(&self.certificates) = certificates;
    }

    /// Replaces what is known of containers; `None` where no engine is followed.
    pub fn set_containers(&self, containers: Option<ContainerCounts>) {
        *lock(&self.containers) = containers;
    }

    /// Shows what this access log loses. The first one counts.
    pub fn watch_access_log(&self, log: &AccessLog) {
        // Whoever sets a second log keeps the first one's figures: there is one log in a process.
        let _ = self.access_log.set(log.losses());
    }

    /// All series in Prometheus text format 0.0.4. Reads `/proc`; for the control plane.
    pub fn render(&self) -> String {
        super::exposition::render(self)
    }

    pub(super) fn routes(&self) -> Vec<Arc<RouteMetrics>> {
        lock(&self.routes).values().cloned().collect()
    }

    pub(super) fn upstreams(&self) -> Vec<Arc<UpstreamMetrics>> {
        lock(&self.upstreams).values().cloned().collect()
    }

    pub(super) fn members(&self) -> Vec<Arc<MemberMetrics>> {
        lock(&self.members).values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn certificates(&self) -> Vec<CertificateMetric> {
        lock(&self.certificates).clone()
    }

    pub(super) fn containers(&self) -> Option<ContainerCounts> {
        lock(&self.containers).clone()
    }

    pub(super) fn works(&self) -> Vec<Arc<CertificateWork>> {
        lock(&self.works).values().cloned().collect()
    }

    pub(super) fn access_log(&self) -> Option<&Losses> {
        self.access_log.get().map(|losses| &**losses)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("cores", &self.cores.len()).finish_non_exhaustive()
    }
}

fn named<T>(all: &Mutex<Named<T>>, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut all = lock(all);
    if let Some(known) = all.get(name) {
        return known.clone();
    }
    let fresh = Arc::new(make());
    all.insert(name.into(), fresh.clone());
    fresh
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks leaves half a value behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A counter that only one thread writes; any thread may read it.
#[derive(Default)]
pub(super) struct Cell(AtomicU64);

impl Cell {
    /// A load and a store: with one writer nothing can come between, and the line needs no lock.
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a client and we did not agree on TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeFailure {
    /// Not done in time.
    Timeout,
    /// The client went away.
    Closed,
    /// What came is not TLS.
    NotTls,
    /// No version, cipher or protocol in common.
    NoAgreement,
    /// The client sent an alert: most often it does not trust the certificate.
    Alert,
    /// Anything else.
    Other,
    /// The PROXY header that should come before everything is missing, late or wrong.
    ProxyHeader,
}

impl HandshakeFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [HandshakeFailure; 7] = [
        HandshakeFailure::Timeout,
        HandshakeFailure::Closed,
        HandshakeFailure::NotTls,
        HandshakeFailure::NoAgreement,
        HandshakeFailure::Alert,
        HandshakeFailure::Other,
        HandshakeFailure::ProxyHeader,
    ];

    /// The value of label `cause`.
    pub const fn cause(self) -> &'static str {
        match self {
            HandshakeFailure::Timeout => "timeout",
            HandshakeFailure::Closed => "closed",
            HandshakeFailure::NotTls => "not-tls",
            HandshakeFailure::NoAgreement => "no-agreement",
            HandshakeFailure::Alert => "alert",
            HandshakeFailure::Other => "other",
            HandshakeFailure::ProxyHeader => "proxy-header",
        }
    }
}

/// What one data core counts beside its requests. Each method is called on that core's thread only; 128 bytes apart, because
/// processors fetch cache lines in pairs.
#[derive(Default)]
#[repr(align(128))]
pub struct CoreMetrics {
    pub(super) opened: Cell,
    pub(super) closed: Cell,
    pub(super) handshakes_failed: [Cell; HandshakeFailure::ALL.len()],
    pub(super) refusals: [Cell; Refusal::ALL.len()],
    pub(super) panics: Cell,
    pub(super) accept_errors: Cell,
    pub(super) refused_peers: Cell,
    pub(super) ended: [Cell; Ended::ALL.len()],
    pub(super) no_room: [Cell; NoRoom::ALL.len()],
}

impl CoreMetrics {
    /// This core took over a client's connection.
    pub fn connection_opened(&self) {
        self.opened.add(1);
    }

    /// A connection of this core is gone.
    pub fn connection_closed(&self) {
        self.closed.add(1);
    }

    /// A TLS handshake with a client failed.
    pub fn handshake_failed(&self, cause: HandshakeFailure) {
        self.handshakes_failed[cause as usize].add(1);
    }

    /// We answered a request ourselves, for this cause.
    pub fn refused(&self, cause: Refusal) {
        self.refusals[cause as usize].add(1);
    }

    /// A task panicked and was contained.
    pub fn panicked(&self) {
        self.panics.add(1);
    }

    /// `accept` failed: most often no descriptors left.
    pub fn accept_failed(&self) {
        self.accept_errors.add(1);
    }

    /// A connection was closed before a byte was read, because of the door's `peers`.
    pub fn peer_refused(&self) {
        self.refused_peers.add(1);
    }

    /// An open connection was ended, for this cause.
    pub fn ended(&self, cause: Ended) {
        self.ended[cause as usize].add(1);
    }

    /// A connection was closed before a byte was read: there was no room for it.
    pub fn no_room(&self, cause: NoRoom) {
        self.no_room[cause as usize].add(1);
    }

    /// Connections of this core that are open now.
    pub fn open_connections(&self) -> u64 {
        // The closing of one that opened after the first read must not count below zero.
        self.opened.read().saturating_sub(self.closed.read())
    }
}

/// What is counted of one route.
pub struct RouteMetrics {
    name: Box<str>,
    /// Made at a core's first request: most routes of a large file are asked by nobody.
    cores: Box<[OnceLock<Box<RouteCell>>]>,
}

/// One core's share of a route.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct RouteCell {
    pub(super) classes: [Cell; CLASSES],
    pub(super) buckets: [Cell; BUCKETS.len() + 1],
    pub(super) micros: Cell,
    pub(super) bytes_in: Cell,
    pub(super) bytes_out: Cell,
    pub(super) limited: Cell,
    pub(super) tunnels_opened: Cell,
    pub(super) tunnels_closed: Cell,
}

impl RouteMetrics {
    /// One request is over. Called on the thread of `core` only. A status outside 100..=599 counts as 5xx.
    pub fn record(&self, core: usize, status: u16, took: Duration, bytes_in: u64, bytes_out: u64) {
        let Some(cell) = self.cell(core) else { return };
        let class = usize::from(status / 100).wrapping_sub(1).min(CLASSES - 1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        cell.classes[class].add(1);
        cell.buckets[BUCKETS.partition_point(|&bound| bound < micros)].add(1);
        cell.micros.add(micros);
        cell.bytes_in.add(bytes_in);
        cell.bytes_out.add(bytes_out);
    }

    /// A request was more than its client may ask of this route.
    pub fn limited(&self, core: usize) {
        if let Some(cell) = self.cell(core) {
            cell.limited.add(1);
        }
    }

    /// A WebSocket (or other upgrade) began on `core`.
    pub fn tunnel_opened(&self, core: usize) {
        if let Some(cell) = self.cell(core) {
            cell.tunnels_opened.add(1);
        }
    }

    /// It ended, on the same core.
    pub fn tunnel_closed(&self, core: usize) {
        if let Some(cell) = self.cell(core) {
            cell.tunnels_closed.add(1);
        }
    }

    /// Label `route`.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn cell(&self, core: usize) -> Option<&RouteCell> {
        debug_assert!(core < self.cores.len(), "core {core} of {}", self.cores.len());
        self.cores.get(core).map(|cell| &**cell.get_or_init(Box::default))
    }

    /// The shares of the cores that had requests.
    pub(super) fn cells(&self) -> impl Iterator<Item = &RouteCell> {
        self.cores.iter().filter_map(|cell| cell.get().map(|cell| &**cell))
    }
}

impl fmt::Debug for RouteMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteMetrics").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is counted of one upstream. None of it happens once per request, so cores share these.
pub struct UpstreamMetrics {
    name: Box<str>,
    pub(super) failures: [AtomicU64; Refusal::ALL.len()],
    pub(super) opened: AtomicU64,
    closed: AtomicU64,
    held: AtomicU64,
}

impl UpstreamMetrics {
    /// An exchange with this upstream failed, for this cause.
    pub fn failed(&self, cause: Refusal) {
        self.failures[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to it was made.
    pub fn connection_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection to it is gone.
    pub fn connection_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request waits for the upstream to come back.
    pub fn hold_began(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    /// A waiting request goes on, or gave up.
    pub fn hold_ended(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests that wait now.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn open_connections(&self) -> u64 {
        self.opened.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    /// Label `upstream`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for UpstreamMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamMetrics").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
