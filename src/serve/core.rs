//! The data cores: one thread, one runtime, one pool, one log buffer each; and the sweeper, which judges every wait on a
//! core with a single timer.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderValue, Version};
use slab::Slab;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;

use super::body::RequestBody;
use super::client_io::Clock;
use super::connection::{Connection, Registered};
use super::counting::{Counts, Held};
use super::drive;
use super::exchange::Exchange;
use super::looking::Look;
use super::request;
use super::room::{Load, Room, Shortage, give_back_memory};
use crate::snapshot::{Listener, Snapshot, SnapshotCell};
use crate::telemetry::{AccessLog, CoreLog, Ended, Metrics, NO_ROUTE, RouteMetrics};
use crate::upstream::{Pool, turn_by_turn};

/// The sweeper's period, and the resolution of every silence limit.
pub const TICK: Duration = Duration::from_millis(250);

/// How long the end waits for a core.
const LAST: Duration = Duration::from_secs(1);

/// How many idle connections are ended at once when room is needed: at least one, and one in so many of those open, so that a
/// crowd of new ones does not ask for each.
const SHED_ONE_IN: usize = 256;

/// Ticks in a second.
pub const SECOND: u32 = 4;

/// What the cores share.
#[derive(Clone)]
pub struct Plant {
    /// The snapshot in force.
    pub cell: SnapshotCell,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The access log.
    pub access_log: AccessLog,
    /// What clients ask, counted.
    pub counts: Arc<Counts>,
    /// How much is taken on.
    pub room: Room,
    /// Whether memory is short.
    pub shortage: Arc<Shortage>,
    /// Our name in Via: unique to this installation, so that two gateways in a row are no loop.
    pub via: Arc<str>,
}

/// One data core, as everything on it sees it.
pub struct Core {
    /// Its number, from 0.
    pub index: usize,
    /// The snapshot in force.
    pub cell: SnapshotCell,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The counters of requests without a route.
    pub no_route: Arc<RouteMetrics>,
    /// Its part of the access log.
    pub log: CoreLog,
    /// Its idle upstream connections.
    pub pool: Pool<RequestBody>,
    /// Its coarse clock.
    pub clock: Rc<Clock>,
    /// What clients ask, counted by all cores together.
    pub counts: Arc<Counts>,
    /// How much is taken on.
    pub room: Room,
    /// Whether memory is short.
    pub shortage: Arc<Shortage>,
    /// Our name in Via.
    pub via: Via,
    /// How busy each core is.
    loads: Arc<[Load]>,
    /// Rung when a new snapshot is in force: what waits for an upstream may find it elsewhere.
    pub news: Notify,
    now: Cell<Instant>,
    epoch: Instant,
    connections: RefCell<Slab<Rc<Connection>>>,
    exchanges: RefCell<Slab<Weak<Exchange>>>,
    is_draining: Cell<bool>,
    is_retiring: Cell<bool>,
}

/// What we add to Via: the protocol that the request came in and our name (RFC 9110 §7.6.3).
pub struct Via {
    /// The name alone.
    pub name: Arc<str>,
    by_version: [HeaderValue; 3],
}

impl Via {
    pub(super) fn new(name: &Arc<str>) -> Via {
        let line = |version: &str| {
            HeaderValue::try_from(format!("{version} {name}")).unwrap_or(HeaderValue::from_static("1.1 doorward"))
        };
        Via { name: Arc::clone(name), by_version: [line("1.0"), line("1.1"), line("2")] }
    }

    /// The entry for a request of this version.
    pub fn entry(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_09 | Version::HTTP_10 => &self.by_version[0],
            Version::HTTP_2 => &self.by_version[2],
            _ => &self.by_version[1],
        }
    }
}

impl Core {
    fn new(index: usize, plant: &Plant, loads: Arc<[Load]>) -> Core {
        let now = Instant::now();
        Core {
            index,
            cell: plant.cell.clone(),
            metrics: Arc::clone(&plant.metrics),
            no_route: plant.metrics.route(NO_ROUTE),
            log: plant.access_log.for_core(),
            pool: Pool::default(),
            clock: Rc::default(),
            counts: Arc::clone(&plant.counts),
            room: plant.room,
            shortage: Arc::clone(&plant.shortage),
            loads,
            via: Via::new(&plant.via),
            news: Notify::new(),
            now: Cell::new(now),
            epoch: now,
            connections: RefCell::default(),
            exchanges: RefCell::default(),
            is_draining: Cell::new(false),
            is_retiring: Cell::new(false),
        }
    }

    /// How busy it is.
    pub fn load(&self) -> &Load {
        &self.loads[self.index]
    }

    /// Exchanges in flight over all cores.
    pub fn exchanges(&self) -> usize {
        self.loads.iter().map(|load| load.exchanges.load(Ordering::Relaxed)).sum()
    }

    /// The time of the last tick or request: exact enough for limits of seconds, and free.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// The exact time; the coarse clock follows.
    pub fn refresh(&self) -> Instant {
        let now = Instant::now();
        self.now.set(now);
        let ticks = now.saturating_duration_since(self.epoch).as_millis() / TICK.as_millis();
        self.clock.set(u32::try_from(ticks).unwrap_or(u32::MAX));
        now
    }

    /// The coarse clock in ticks.
    pub fn tick(&self) -> u32 {
        self.clock.tick()
    }

    /// Keeps an exchange where the sweeper finds it.
    pub fn enter(&self, exchange: Weak<Exchange>) -> usize {
        self.load().exchanges.fetch_add(1, Ordering::Relaxed);
        self.exchanges.borrow_mut().insert(exchange)
    }

    /// Forgets an exchange.
    pub fn leave(&self, key: usize) {
        self.load().exchanges.fetch_sub(1, Ordering::Relaxed);
        self.exchanges.borrow_mut().try_remove(key);
    }

    /// Keeps a connection where the sweeper finds it. While draining it is asked to close at once.
    pub fn connected(&self, connection: Rc<Connection>) -> usize {
        if self.is_draining.get() {
            connection.close(self.tick());
        } else if self.is_retiring.get() {
            connection.retire(self.tick());
        }
        self.connections.borrow_mut().insert(connection)
    }

    /// Forgets a connection.
    pub fn disconnected(&self, key: usize) {
        self.connections.borrow_mut().try_remove(key);
    }

    fn sweep(&self) {
        self.load().beat.fetch_add(1, Ordering::Relaxed);
        let now = self.refresh();
        let tick = self.tick();
        // Cloned out: what a sweep cuts may leave the lists while they are walked.
        for exchange in self.living_exchanges() {
            exchange.sweep(now);
        }
        for connection in self.open_connections() {
            if let Some(cause) = connection.sweep(tick) {
                self.metrics.core(self.index).ended(cause);
            }
        }
        self.log.flush();
        if tick.is_multiple_of(SECOND) {
            give_back_memory();
        }
        if tick.is_multiple_of(5 * SECOND) {
            let snapshot = self.cell.load();
            self.pool.sweep(now, |lane| snapshot.lanes.binary_search(&lane).is_ok());
        }
    }

    pub(super) fn living_exchanges(&self) -> Vec<Rc<Exchange>> {
        self.exchanges.borrow().iter().filter_map(|(_, exchange)| exchange.upgrade()).collect()
    }

    pub(super) fn open_connections(&self) -> Vec<Rc<Connection>> {
        self.connections.borrow().iter().map(|(_, connection)| Rc::clone(connection)).collect()
    }

    /// A new snapshot is in force: what stood on a route or an admission that is gone is told to end within `[drain] route`;
    /// everything else goes on untouched.
    fn published(&self) {
        let snapshot = self.cell.load();
        let now = self.refresh();
        for exchange in self.living_exchanges() {
            let stands = request::still_stands(&snapshot, &exchange);
            match (stands, exchange.doomed.get()) {
                (false, None) => exchange.doomed.set(Some(now + snapshot.drain.route)),
                (true, Some(_)) => exchange.doomed.set(None),
                _ => {}
            }
        }
        for connection in self.open_connections() {
            if snapshot.listener(connection.listener.address).is_none() {
                connection.close(self.tick());
            }
        }
        self.news.notify_waiters();
    }

    /// Ends what is idle, the longest idle first, so that others have room; how many it ended.
    fn shed(&self) -> usize {
        let tick = self.tick();
        let open = self.open_connections();
        let mut idle: Vec<_> = open.iter().filter_map(|one| one.sheds_at(tick).map(|rank| (rank, one))).collect();
        let count = (open.len() / SHED_ONE_IN + 1).min(idle.len());
        if count < idle.len() {
            idle.select_nth_unstable_by_key(count, |(rank, _)| *rank);
        }
        for (_, connection) in &idle[..count] {
            connection.abort();
            self.metrics.core(self.index).ended(Ended::Shed);
        }
        count
    }

    async fn cut_all(&self) {
        for exchange in self.living_exchanges() {
            exchange.cut();
        }
        for connection in self.open_connections() {
            connection.abort();
        }
        // Cut tasks are dropped when they are next run; their records are written then.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    }

    fn drain(&self) {
        self.is_draining.set(true);
        for connection in self.open_connections() {
            connection.close(self.tick());
        }
    }

    fn retire(&self) {
        self.is_retiring.set(true);
        for connection in self.open_connections() {
            connection.retire(self.tick());
        }
    }
}

enum Order {
    Serve(StdTcpStream, SocketAddr, Listener, Option<Held>),
    Shed(oneshot::Sender<usize>),
    Published,
    Look(Look),
    Drain,
    Retire,
    End(std::sync::mpsc::Sender<()>),
}

/// All data cores, from outside.
#[derive(Clone)]
pub struct Cores {
    cores: Arc<[mpsc::UnboundedSender<Order>]>,
    loads: Arc<[Load]>,
}

impl Cores {
    /// Starts `count` cores, each a thread with a runtime of its own.
    pub fn start(count: usize, plant: &Plant) -> std::io::Result<Cores> {
        let loads: Arc<[Load]> = (0..count.max(1)).map(|_| Load::default()).collect();
        let cores = (0..loads.len()).map(|index| start_one(index, plant, Arc::clone(&loads)));
        Ok(Cores { cores: cores.collect::<std::io::Result<Vec<_>>>()?.into(), loads })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.cores.len()
    }

    /// Whether every core has as many connections to take up as it may: none is to be accepted now.
    pub fn are_behind(&self) -> bool {
        self.loads.iter().all(Load::is_behind)
    }

    /// Gives an accepted connection to the least busy core: one that keeps up, fewest requests in flight, then fewest
    /// connections. A household has few, heavy connections, and two downloads must not share a core while the other sleeps.
    pub fn serve(&self, stream: StdTcpStream, peer: SocketAddr, listener: Listener, place: Option<Held>) {
        let busy = |(_, load): &(_, &Load)| {
            let exchanges = load.exchanges.load(Ordering::Relaxed);
            (load.is_behind(), exchanges, load.connections.load(Ordering::Relaxed))
        };
        if let Some((core, load)) = self.cores.iter().zip(self.loads.iter()).min_by_key(busy) {
            load.connections.fetch_add(1, Ordering::Relaxed);
            load.untaken.fetch_add(1, Ordering::Relaxed);
            let _ = core.send(Order::Serve(stream, peer, listener, place));
        }
    }

    /// Ends idle connections so that there is room for others, on the core that has most; how many it ended.
    pub async fn shed(&self) -> usize {
        let mut fullest: Vec<usize> = (0..self.cores.len()).collect();
        fullest.sort_by_key(|&core| std::cmp::Reverse(self.loads[core].connections.load(Ordering::Relaxed)));
        for core in fullest {
            let (answer, ended) = oneshot::channel();
            let _ = self.cores[core].send(Order::Shed(answer));
            match ended.await {
                Ok(count) if count > 0 => return count,
                _ => {}
            }
        }
        0
    }

    /// Tells every core that a new snapshot is in force.
    pub fn published(&self) {
        self.tell(|| Order::Published);
    }

    /// Asks every connection to end.
    pub fn drain(&self) {
        self.tell(|| Order::Drain);
    }

    /// Asks every connection to end with its next answer: nobody's request may be lost between two processes.
    pub fn retire(&self) {
        self.tell(|| Order::Retire);
    }

    /// How often each core's sweeper has turned.
    pub fn beats(&self) -> Vec<usize> {
        self.loads.iter().map(|load| load.beat.load(Ordering::Relaxed)).collect()
    }

    /// Cuts what is left and waits until every core has written its last record; for a moment at most.
    pub fn end(&self) {
        let (done, ended) = std::sync::mpsc::channel();
        self.tell(|| Order::End(done.clone()));
        drop(done);
        for _ in 0..self.count() {
            let _ = ended.recv_timeout(LAST);
        }
    }

    pub(super) fn look(&self, look: impl Fn() -> Look) {
        self.tell(|| Order::Look(look()));
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for core in self.cores.iter() {
            let _ = core.send(order());
        }
    }

    /// Exchanges in flight, and connections open, over all cores.
    pub fn in_flight(&self) -> (usize, usize) {
        let sum = |pick: fn(&Load) -> &AtomicUsize| {
            self.loads.iter().map(|load| pick(load).load(Ordering::Relaxed)).sum::<usize>()
        };
        (sum(|load| &load.exchanges), sum(|load| &load.connections))
    }
}

fn start_one(index: usize, plant: &Plant, loads: Arc<[Load]>) -> std::io::Result<mpsc::UnboundedSender<Order>> {
    let (orders, mut inbox) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plant = plant.clone();
    thread::Builder::new().name(format!("core-{index}")).spawn(move || {
        let core = Rc::new(Core::new(index, &plant, loads));
        keep_at(&runtime, &LocalSet::new(), async || work(&core, &mut inbox).await);
    })?;
    Ok(orders)
}

/// Works to the end. A fault in the work itself ends none of the tasks beside it: it is taken up again where it was. (The
/// tasks, one for each connection and each HTTP/2 stream, contain their own faults.)
fn keep_at<F>(runtime: &Runtime, tasks: &LocalSet, mut work: F)
where
    F: AsyncFnMut(),
{
    let mut work = || runtime.block_on(turn_by_turn(tasks.run_until(work())));
    while catch_unwind(AssertUnwindSafe(&mut work)).is_err() {}
}

async fn work(core: &Rc<Core>, inbox: &mut mpsc::UnboundedReceiver<Order>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let order = tokio::select! {
            order = inbox.recv() => order,
            _ = ticks.tick() => {
                core.sweep();
                continue;
            }
        };
        match order {
            Some(Order::Serve(stream, peer, listener, place)) => take(core, stream, peer, listener, place),
            Some(Order::Shed(answer)) => {
                let _ = answer.send(core.shed());
            }
            Some(Order::Published) => core.published(),
            Some(Order::Look(look)) => core.look(look),
            Some(Order::Drain) => core.drain(),
            Some(Order::Retire) => core.retire(),
            Some(Order::End(done)) => {
                core.cut_all().await;
                core.log.flush();
                let _ = done.send(());
                return;
            }
            None => return,
        }
    }
}

/// A connection that waits for its first turn: counted until then, or until it is cut.
struct Untaken(Rc<Core>);

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.load().untaken.fetch_sub(1, Ordering::Relaxed);
    }
}

fn take(core: &Rc<Core>, stream: StdTcpStream, peer: SocketAddr, listener: Listener, place: Option<Held>) {
    let untaken = Untaken(Rc::clone(core));
    match TcpStream::from_std(stream) {
        Ok(stream) => {
            core.refresh();
            let own = listener.address;
            let own = if own.ip().is_unspecified() { stream.local_addr().unwrap_or(own) } else { own };
            let ends = (peer, own);
            let connection = Rc::new(Connection::new(&core.cell.load(), listener, ends, place, core.tick()));
            let registered = Registered::new(core, &connection);
            let task = tokio::task::spawn_local(async move {
                drop(untaken);
                drive::serve(registered, stream).await;
            });
            connection.served_by(task.abort_handle());
        }
        Err(error) => {
            core.load().connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%error, "an accepted connection could not be served");
        }
    }
}

/// What a snapshot says about the address that a connection came in on; what the door was then, if it is gone.
pub fn listener_of<'a>(snapshot: &'a Snapshot, connection: &'a Connection) -> &'a Listener {
    snapshot.listener(connection.listener.address).unwrap_or(&connection.listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_its_own_task_and_neither_the_others_nor_the_core() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tasks = LocalSet::new();
        let (told, mut heard) = mpsc::unbounded_channel();
        let mut rounds = 0;
        keep_at(&runtime, &tasks, async || {
            rounds += 1;
            if rounds == 1 {
                tokio::task::spawn_local(async { panic!("a connection's task") });
                let told = told.clone();
                tokio::task::spawn_local(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let _ = told.send("another connection lives");
                });
                tokio::task::yield_now().await;
                panic!("the core's own work");
            }
            assert_eq!(heard.recv().await, Some("another connection lives"));
        });
        assert_eq!(rounds, 2);
    }
}
