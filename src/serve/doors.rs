//! The listening sockets: one per address, kept through every reload, and the thread that accepts on them.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet};

use super::core::Cores;
use crate::model::Client;
use crate::snapshot::SnapshotCell;
use crate::telemetry::{CoreMetrics, Metrics};

/// How long accepting rests when the process is out of descriptors or memory: the open connections go on meanwhile.
const REST: Duration = Duration::from_millis(100);

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
    pub fn start(cell: SnapshotCell, cores: Cores, metrics: Arc<Metrics>) -> io::Result<Doors> {
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("doors".to_owned()).spawn(move || {
            let acceptor = Acceptor { cell, cores, metrics };
            LocalSet::new().block_on(&runtime, async move {
                let mut open: HashMap<SocketAddr, JoinHandle<()>> = HashMap::new();
                while let Some(order) = inbox.recv().await {
                    match order {
                        Order::Open(address, listener) => {
                            open.insert(address, tokio::task::spawn_local(accept(acceptor.clone(), address, listener)));
                        }
                        Order::Close(address) => {
                            if let Some(task) = open.remove(&address) {
                                task.abort();
                            }
                        }
                        Order::Rest(done) => {
                            for (_, task) in open.drain() {
                                task.abort();
                                let _ = task.await;
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

#[derive(Clone)]
struct Acceptor {
    cell: SnapshotCell,
    cores: Cores,
    metrics: Arc<Metrics>,
}

async fn accept(acceptor: Acceptor, address: SocketAddr, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%address, %error, "this address cannot be accepted on"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => acceptor.admit(address, stream, peer),
            // The client was gone before we looked.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                acceptor.counters().accept_failed();
                tracing::error!(%address, %error, "accepting rests for a moment; open connections go on");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Acceptor {
    /// The set of counters behind those of the cores is for this thread.
    fn counters(&self) -> &CoreMetrics {
        self.metrics.core(self.cores.count())
    }

    fn admit(&self, address: SocketAddr, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let snapshot = self.cell.load();
        let Some(listener) = snapshot.listener(address) else { return };
        let is_welcome = listener.door.peers.as_ref().is_none_or(|peers| peers.admits(Client::at(peer.ip())));
        if !is_welcome {
            self.counters().peer_refused();
            return;
        }
        // It leaves this thread's reactor here and enters its core's there.
        if let Ok(stream) = stream.into_std() {
            self.cores.serve(stream, peer, listener.clone());
        }
    }
}
