//! The listening sockets: one per address, kept through every reload, and the thread that accepts on them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use super::core::{Cores, Plant};
use super::counting::Held;
use crate::config::LimitsSpec;
use crate::model::Client;
use crate::snapshot::Listener;
use crate::telemetry::{CoreMetrics, NoRoom, resident_memory};

/// How long accepting rests when the process is out of descriptors or memory: the open connections go on meanwhile.
const REST: Duration = Duration::from_millis(100);

/// How long accepting rests when no core keeps up.
const BREATH: Duration = Duration::from_millis(1);

/// Descriptors that are held back from clients: when all are used up they are let go for what must still work (a reload, the
/// admin socket, DNS, the log), and nobody is accepted until they are back.
const HELD_BACK: usize = 16;

/// How often the memory of the process is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The same trouble is told once in this time.
const TELL: Duration = Duration::from_secs(60);

/// Connections that the kernel queues for us; it takes its own maximum if that is lower.
const BACKLOG: i32 = 4096;

/// Opens a listening socket. `IP_FREEBIND`: an address that comes up later does not stop the start. The any-address of
/// IPv6 takes IPv4 too; on a machine without IPv6 it is IPv4's.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match open(address) {
        Err(error) if is_without_v6(&error) && address.ip().is_unspecified() => {
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        outcome => outcome,
    }
}

fn is_without_v6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

enum Order {
    Open(SocketAddr, TcpListener),
    Close(SocketAddr),
    Rest(oneshot::Sender<()>),
}

/// The open doors. Accepting has a thread of its own, so that neither a busy core nor a long compile delays it.
#[derive(Clone)]
pub struct Doors {
    orders: mpsc::UnboundedSender<Order>,
}

impl Doors {
    /// Starts the accepting thread, with no door open yet.
    pub fn start(plant: Plant, cores: Cores) -> io::Result<Doors> {
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("doors".to_owned()).spawn(move || {
            let acceptor = Rc::new(Acceptor::new(plant, cores));
            LocalSet::new().block_on(&runtime, async move {
                tokio::task::spawn_local(Rc::clone(&acceptor).watch_memory());
                let mut open: HashMap<SocketAddr, JoinSet<()>> = HashMap::new();
                while let Some(order) = inbox.recv().await {
                    match order {
                        Order::Open(address, listener) => {
                            open.insert(address, keep_accepting(Rc::clone(&acceptor), address, listener));
                        }
                        // Dropped, its tasks are aborted.
                        Order::Close(address) => drop(open.remove(&address)),
                        Order::Rest(done) => {
                            for (_, mut accepting) in open.drain() {
                                accepting.shutdown().await;
                            }
                            let _ = done.send(());
                        }
                    }
                }
            });
        })?;
        Ok(Doors { orders })
    }

    /// Accepts on a bound socket, for the door that the snapshot in force has on this address.
    pub fn open(&self, address: SocketAddr, listener: TcpListener) {
        let _ = self.orders.send(Order::Open(address, listener));
    }

    /// Closes every address. Returns once nothing is accepted any more, and every accepted connection has its core.
    pub async fn rest(&self) {
        let (done, rested) = oneshot::channel();
        let _ = self.orders.send(Order::Rest(done));
        let _ = rested.await;
    }

    /// Closes an address; what was accepted on it goes on.
    pub fn close(&self, address: SocketAddr) {
        let _ = self.orders.send(Order::Close(address));
    }
}

/// Accepts on an address until it is closed. A fault in accepting one connection does not close the door.
fn keep_accepting(acceptor: Rc<Acceptor>, address: SocketAddr, listener: TcpListener) -> JoinSet<()> {
    let mut keeper = JoinSet::new();
    keeper.spawn_local(async move {
        // What is accepted inherits it. One that cannot be set so is slower, no more.
        let _ = SockRef::from(&listener).set_tcp_nodelay(true);
        #[expect(
            deprecated,
            reason = "a TcpListener names the same descriptor all its life, which the successor asks for"
        )]
        let registered = AsyncFd::with_interest(listener, Interest::READABLE);
        let listener = match registered {
            Ok(listener) => Rc::new(listener),
            Err(error) => return tracing::error!(%address, %error, "this address cannot be accepted on"),
        };
        loop {
            let mut accepting = JoinSet::new();
            accepting.spawn_local(Rc::clone(&acceptor).accept(address, Rc::clone(&listener)));
            match accepting.join_next().await {
                Some(Err(error)) if error.is_panic() => {}
                _ => return,
            }
        }
    });
    keeper
}

/// The next connection, as its core takes it on: for this thread's reactor to see it would be two system calls more.
fn accept_one(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok()).ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((stream.into(), peer))
}

/// Trouble that goes on is told now and then, not each time.
#[derive(Default)]
struct Told(Cell<Option<Instant>>);

impl Told {
    fn is_due(&self) -> bool {
        let is_due = self.0.get().is_none_or(|last| last.elapsed() >= TELL);
        if is_due {
            self.0.set(Some(Instant::now()));
        }
        is_due
    }
}

struct Acceptor {
    plant: Plant,
    cores: Cores,
    held_back: RefCell<Vec<File>>,
    full: Told,
    failing: Told,
}

impl Acceptor {
    fn new(plant: Plant, cores: Cores) -> Acceptor {
        let (full, failing) = (Told::default(), Told::default());
        let acceptor = Acceptor { plant, cores, held_back: RefCell::default(), full, failing };
        acceptor.hold_back();
        acceptor
    }

    /// Takes back what was let go; whether all of it is there.
    fn hold_back(&self) -> bool {
        let mut held = self.held_back.borrow_mut();
        while held.len() < HELD_BACK {
            let Ok(file) = File::open("/dev/null") else {
                held.clear();
                return false;
            };
            held.push(file);
        }
        true
    }

    async fn accept(self: Rc<Self>, address: SocketAddr, listener: Rc<AsyncFd<TcpListener>>) {
        loop {
            self.wait_for_descriptors().await;
            self.wait_for_cores().await;
            match listener.async_io(Interest::READABLE, accept_one).await {
                Ok((stream, peer)) => self.admit(address, stream, peer),
                // The client was gone before we looked.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.counters().accept_failed();
                    if self.failing.is_due() {
                        tracing::error!(%address, %error, "connections cannot be accepted; the open ones go on");
                    }
                    self.held_back.borrow_mut().clear();
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    /// Rests until there are descriptors again; idle connections have some to give.
    async fn wait_for_descriptors(&self) {
        while !self.hold_back() {
            self.cores.shed().await;
            tokio::time::sleep(REST).await;
        }
    }

    /// Rests while no core keeps up with what is accepted.
    async fn wait_for_cores(&self) {
        while self.cores.are_behind() {
            tokio::time::sleep(BREATH).await;
        }
    }

    /// The set of counters behind those of the cores is for this thread.
    fn counters(&self) -> &CoreMetrics {
        self.plant.metrics.core(self.cores.count())
    }

    /// Never waits: accepting may be ended between two connections, and none that was accepted may be lost by it.
    fn admit(self: &Rc<Self>, address: SocketAddr, stream: TcpStream, peer: SocketAddr) {
        let (listener, limits) = {
            let snapshot = self.plant.cell.load();
            let Some(listener) = snapshot.listener(address) else { return };
            (listener.clone(), snapshot.limits)
        };
        let is_welcome = listener.door.peers.as_ref().is_none_or(|peers| peers.admits(Client::at(peer.ip())));
        if !is_welcome {
            return self.counters().peer_refused();
        }
        let place = match self.place(&listener, peer, &limits) {
            Ok(place) => place,
            Err(why) => return self.counters().no_room(why),
        };
        if self.plant.shortage.is_on() {
            return self.refuse(peer, NoRoom::Memory);
        }
        if self.cores.in_flight().1 < self.plant.room.connections(&limits) {
            return self.cores.serve(stream, peer, listener, place);
        }
        let acceptor = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // As many are open as may be: an idle one is ended for it.
            match acceptor.cores.shed().await {
                0 => acceptor.refuse(peer, NoRoom::Connections),
                _ => acceptor.cores.serve(stream, peer, listener, place),
            }
        });
    }

    fn refuse(&self, peer: SocketAddr, why: NoRoom) {
        self.counters().no_room(why);
        if self.full.is_due() {
            let (requests, connections) = self.cores.in_flight();
            let cause = why.cause();
            tracing::warn!(%peer, cause, connections, requests, "a connection was refused: see [limits]");
        }
    }

    /// A place among the connections of its address. Loopback and trusted peers have as many as they like: what they bring
    /// is many clients', and is counted by request.
    fn place(&self, listener: &Listener, peer: SocketAddr, limits: &LimitsSpec) -> Result<Option<Held>, NoRoom> {
        let address = peer.ip().to_canonical();
        if address.is_loopback() || listener.door.trust.believes(address) {
            return Ok(None);
        }
        let place = self.plant.counts.connect(limits.connections_per_client, address);
        place.map(Some).ok_or(NoRoom::Client)
    }

    /// Looks how much memory is resident. While it is too much, nothing more is taken on and idle connections are ended.
    async fn watch_memory(self: Rc<Self>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let most = self.plant.room.memory(&self.plant.cell.load().limits);
            let Some(resident) = resident_memory() else { return };
            let (is_short, is_news) = self.plant.shortage.judge(resident, most);
            if is_short && is_news {
                tracing::warn!(resident, most, "memory is short: nothing more is taken on, idle connections are ended");
            }
            if is_short {
                self.cores.shed().await;
            }
        }
    }
}
