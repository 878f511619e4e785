//! What the connections of a data core write in one turn of its loop leaves when the turn is over, one connection after the
//! other. Whoever is written to wakes up with the first write and is still awake for the others; written in between, each of
//! them would wake it anew, and that costs the writer: a seventh of a small request in the clear, an eighth over TLS. What a
//! connection writes twice in a turn leaves in one piece.
//!
//! Holds little of each connection, and nothing beyond the turn but what the kernel would not take.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;
use tokio::net::tcp::OwnedWriteHalf;

/// Bytes of one connection that wait for the end of a turn, at most: a TLS record, and what stands around it. What is longer is
/// written at once; to wake somebody costs little beside it.
pub(super) const SMALL: usize = 17 * 1024;

/// A buffer that is larger is not kept for others.
const SPARE: usize = 4 * 1024;

/// So many buffers are kept, at most.
const SPARES: usize = 32;

thread_local! {
    static OUTBOX: Outbox = const {
        Outbox { is_open: Cell::new(false), waiting: RefCell::new(Vec::new()), spare: RefCell::new(Vec::new()) }
    };
}

/// The outbox of a thread.
struct Outbox {
    /// Whether a turn is under way, at whose end it is emptied. Elsewhere everything is written at once.
    is_open: Cell<bool>,
    waiting: RefCell<Vec<Rc<Outgoing>>>,
    spare: RefCell<Vec<Vec<u8>>>,
}

/// Runs all the tasks of a data core: what they write in one poll leaves at its end.
pub async fn turn_by_turn<F: Future>(tasks: F) -> F::Output {
    let mut tasks = pin!(tasks);
    poll_fn(|cx| {
        let _open = Open::begin();
        tasks.as_mut().poll(cx)
    })
    .await
}

/// The outbox open, for a turn; the end of it, also by a panic, empties the outbox.
struct Open;

impl Open {
    fn begin() -> Open {
        OUTBOX.with(|outbox| outbox.is_open.set(true));
        Open
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OUTBOX.with(|outbox| outbox.is_open.set(false));
        empty();
    }
}

/// Sends all that waits.
fn empty() {
    OUTBOX.with(|outbox| {
        // Nobody is served from in here: to wake a task is to put it in line.
        let mut waiting = outbox.waiting.take();
        for outgoing in waiting.drain(..) {
            outgoing.state.borrow_mut().send();
        }
        outbox.waiting.replace(waiting);
    });
}

/// The writing side of one socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    /// There until the end.
    socket: Option<OwnedWriteHalf>,
    /// Taken, and not sent yet.
    pending: Vec<u8>,
    /// Whether it stands in the outbox.
    is_waiting: bool,
    /// Whether the kernel took no more: what is pending is sent by whoever polls the connection next.
    is_stuck: bool,
    /// Why it could not be sent, until somebody was told.
    fault: Option<io::Error>,
    /// Whoever wrote last: is to poll again where it is stuck.
    writer: Option<Waker>,
}

impl Outgoing {
    /// Of a socket on which nothing was written yet.
    pub(super) fn new(socket: OwnedWriteHalf) -> Rc<Outgoing> {
        let socket = Some(socket);
        let state =
            State { socket, pending: Vec::new(), is_waiting: false, is_stuck: false, fault: None, writer: None };
        Rc::new(Outgoing { state: RefCell::new(state) })
    }

    /// Takes what is short until the end of the turn; writes what is long, behind all that waits.
    pub(super) fn poll_write(self: &Rc<Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if length > SMALL {
            // Nobody's short answer waits for a long one.
            empty();
        }
        let mut state = self.state.borrow_mut();
        ready!(state.poll_unstick(cx))?;
        if state.pending.len() + length <= SMALL && OUTBOX.with(|outbox| outbox.is_open.get()) {
            state.take(cx, bufs);
            if !mem::replace(&mut state.is_waiting, true) {
                OUTBOX.with(|outbox| outbox.waiting.borrow_mut().push(Rc::clone(self)));
            }
            return Poll::Ready(Ok(length));
        }
        ready!(state.poll_send(cx))?;
        let socket = Pin::new(state.socket()?);
        match bufs {
            // The kernel does more for a `writev`.
            [one] => socket.poll_write(cx, one),
            many => socket.poll_write_vectored(cx, many),
        }
    }

    /// Done unless the kernel would not take all of it: what waits leaves at the end of the turn by itself.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.state.borrow_mut().poll_unstick(cx)
    }

    /// Sends what waits now, for who will not be there at the end of the turn.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        ready!(state.poll_unstick(cx))?;
        state.poll_send(cx)
    }

    /// Ends the writing side, behind all that waits.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(self.state.borrow_mut().socket()?).poll_shutdown(cx)
    }

    /// For who polls the connection in order to read: sends on where it is stuck.
    pub(super) fn drive(&self, cx: &mut Context<'_>) {
        let mut state = self.state.borrow_mut();
        if state.is_stuck
            && let Poll::Ready(Err(fault)) = state.poll_send(cx)
        {
            state.fault = Some(fault);
        }
    }

    /// Why it could not be sent; told once.
    pub(super) fn fault(&self) -> Option<io::Error> {
        self.state.borrow_mut().fault.take()
    }
}

impl State {
    fn socket(&mut self) -> io::Result<&mut OwnedWriteHalf> {
        self.socket.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn take(&mut self, cx: &Context<'_>, bufs: &[IoSlice<'_>]) {
        if self.pending.capacity() == 0 {
            self.pending = OUTBOX.with(|outbox| outbox.spare.borrow_mut().pop()).unwrap_or_default();
        }
        bufs.iter().for_each(|buf| self.pending.extend_from_slice(buf));
        if !self.writer.as_ref().is_some_and(|writer| writer.will_wake(cx.waker())) {
            self.writer = Some(cx.waker().clone());
        }
    }

    /// Sends what the kernel takes, at the end of a turn.
    fn send(&mut self) {
        self.is_waiting = false;
        let mut sent = 0;
        let fault = loop {
            if sent == self.pending.len() {
                return self.give_back();
            }
            let Some(socket) = &self.socket else { break io::ErrorKind::NotConnected.into() };
            match socket.try_write(&self.pending[sent..]) {
                Ok(0) => break io::ErrorKind::WriteZero.into(),
                Ok(count) => sent += count,
                Err(error) => break error,
            }
        };
        self.pending.drain(..sent);
        if fault.kind() == io::ErrorKind::WouldBlock {
            self.is_stuck = true;
        } else {
            self.fault = Some(fault);
            self.give_back();
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }

    /// Tells of a fault; sends on where it is stuck.
    fn poll_unstick(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.fault.take() {
            Some(fault) => Poll::Ready(Err(fault)),
            None if self.is_stuck => self.poll_send(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let Some(socket) = &mut self.socket else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            let fault = match ready!(Pin::new(socket).poll_write(cx, &self.pending)) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    self.pending.drain(..count);
                    continue;
                }
                Err(fault) => fault,
            };
            self.give_back();
            return Poll::Ready(Err(fault));
        }
        self.give_back();
        Poll::Ready(Ok(()))
    }

    /// Nothing is pending any more. (Where something is, it stands in the outbox or is stuck.)
    fn give_back(&mut self) {
        self.is_stuck = false;
        let mut buffer = mem::take(&mut self.pending);
        buffer.clear();
        OUTBOX.with(|outbox| {
            let mut spare = outbox.spare.borrow_mut();
            if (1..=SPARE).contains(&buffer.capacity()) && spare.len() < SPARES {
                spare.push(buffer);
            }
        });
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Else it would be shut down before it is closed, which is one more system call.
        if let Some(socket) = self.socket.take() {
            socket.forget();
        }
    }
}

#[cfg(test)]
mod tests;
