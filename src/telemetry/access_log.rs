//! Brings access records to where they are kept, off the request path: each core formats into a buffer of its own, one thread
//! writes. A sink that is slow, full or gone costs records, which are counted, and never a request.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use crate::model::AccessFormat;

use super::access_line::{AccessRecord, Clock, push_json, push_text};
use super::recent::Recent;
use super::request_id::RequestId;
use super::tap::{Taps, Watched, Watching};

/// Size at which a core hands its buffer over by itself, which wakes the writer: with a quarter of it that took a twenty-fifth of
/// the core. Bytes.
const HAND_OVER: usize = 128 * 1024;
/// Size at which a core whose buffer nobody takes drops records instead. Bytes.
const FULL: usize = 256 * 1024;
/// Buffers that wait for the writer at most; with `FULL` the bound on memory: 4 MiB.
const WAITING: usize = 16;
/// How long `close` waits for the sink.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Between two tries of something that is not ready yet.
const PAUSE: Duration = Duration::from_millis(10);

/// Where the lines go.
pub enum Sink {
    /// Standard output, without the line buffering of `std`.
    Stdout,
    /// An open file; open it for appending.
    File(File),
    /// Anything else that takes bytes; it is written to from one thread of its own and may block.
    Writer(Box<dyn Write + Send>),
}

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("the access log cannot be started; the limit on threads or memory may be reached")]
pub struct AccessLogError {
    #[source]
    cause: io::Error,
}

/// What did not reach the sink.
#[derive(Debug, Default)]
pub struct Losses {
    dropped: AtomicU64,
    write_errors: AtomicU64,
}

impl Losses {
    /// Records that were dropped, because the sink was too slow or a write failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes that failed.
    pub fn write_errors(&self) -> u64 {
        self.write_errors.load(Ordering::Relaxed)
    }

    fn drop_records(&self, records: u64) {
        self.dropped.fetch_add(records, Ordering::Relaxed);
    }
}

/// The one access log of the process. Clones are the same log.
#[derive(Clone)]
pub struct AccessLog(Arc<Shared>);

struct Shared {
    format: AtomicU8,
    losses: Arc<Losses>,
    queue: SyncSender<Message>,
    ended: Arc<Ended>,
    recent: Mutex<Vec<Arc<Recent>>>,
    taps: Arc<Taps>,
}

/// Set once the writer thread has left.
#[derive(Default)]
struct Ended {
    flag: Mutex<bool>,
    changed: Condvar,
}

enum Message {
    /// Whole lines and their number.
    Lines(Vec<u8>, u64),
    /// Write what waits, then leave.
    Close,
}

impl AccessLog {
    /// Starts the writing thread. It ends with `close`, or when the log and every `CoreLog` are gone.
    pub fn start(format: AccessFormat, sink: Sink) -> Result<AccessLog, AccessLogError> {
        let sink: Box<dyn Write + Send> = match sink {
            Sink::Stdout => Box::new(File::from(
                io::stdout().as_fd().try_clone_to_owned().map_err(|cause| AccessLogError { cause })?,
            )),
            Sink::File(file) => Box::new(file),
            Sink::Writer(writer) => writer,
        };
        let losses = Arc::new(Losses::default());
        let ended = Arc::new(Ended::default());
        let (queue, waiting) = sync_channel(WAITING);
        let writer = Writer { sink, losses: losses.clone(), torn: false, failing: false };
        let left = Leaving(ended.clone());
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                let _left = left;
                writer.run(waiting);
            })
            .map_err(|cause| AccessLogError { cause })?;
        Ok(AccessLog(Arc::new(Shared {
            format: AtomicU8::new(code(format)),
            losses,
            queue,
            ended,
            recent: Mutex::default(),
            taps: Arc::default(),
        })))
    }

    /// Changes the format of every record from now on.
    pub fn set_format(&self, format: AccessFormat) {
        self.0.format.store(code(format), Ordering::Relaxed);
    }

    /// The part of one data core.
    pub fn for_core(&self) -> CoreLog {
        let recent = Arc::<Recent>::default();
        self.0.recent.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&recent));
        CoreLog { shared: self.0.clone(), pending: RefCell::default(), recent, scratch: RefCell::default() }
    }

    /// The record of a request that was refused or failed, as logged in JSON, if it is among the last 1,000 of its core.
    pub fn find(&self, id: RequestId) -> Option<Box<[u8]>> {
        let cores = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cores.iter().find_map(|recent| recent.find(id))
    }

    /// Opens a stream of records, whatever the log's format is; `None` when 16 are open.
    pub fn watch(&self, wanted: Watched) -> Option<Watching> {
        self.0.taps.open(wanted)
    }

    /// What did not reach the sink, for the metrics.
    pub fn losses(&self) -> Arc<Losses> {
        self.0.losses.clone()
    }

    /// Writes what was handed over, waiting at most 2 s for the sink. The cores flush (or drop) their parts before; what comes
    /// later is counted as dropped.
    pub fn close(self) {
        let deadline = Instant::now() + CLOSE_WAIT;
        while let Err(TrySendError::Full(_)) = self.0.queue.try_send(Message::Close) {
            if Instant::now() >= deadline {
                return;
            }
            thread::sleep(PAUSE);
        }
        let flag = self.0.ended.flag.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        drop(self.0.ended.changed.wait_timeout_while(flag, left, |ended| !*ended));
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("losses", &self.0.losses).finish_non_exhaustive()
    }
}

/// The log as one data core has it: it belongs to that core's thread, and nothing in it waits.
pub struct CoreLog {
    shared: Arc<Shared>,
    pending: RefCell<Pending>,
    recent: Arc<Recent>,
    scratch: RefCell<(Vec<u8>, Clock)>,
}

#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    records: u64,
    clock: Clock,
}

impl CoreLog {
    /// Formats one record into this core's buffer; nothing when the log is off. Hands the buffer over once it has 128 KiB;
    /// while the writer cannot keep up the buffer grows to 256 KiB, then records are dropped and counted.
    pub fn record(&self, record: &AccessRecord<'_>) {
        if record.is_failure() {
            self.recent.keep(record.id, self.written(record));
        }
        if self.shared.taps.is_open() {
            self.shared.taps.offer(record, || self.written(record));
        }
        let push = match self.shared.format.load(Ordering::Relaxed) {
            JSON => push_json,
            TEXT => push_text,
            _ => return,
        };
        let pending = &mut *self.pending.borrow_mut();
        if pending.bytes.len() >= FULL {
            self.hand_over(pending);
            if pending.bytes.len() >= FULL {
                return self.shared.losses.drop_records(1);
            }
        }
        if pending.bytes.capacity() == 0 {
            pending.bytes.reserve_exact(HAND_OVER + HAND_OVER / 8);
        }
        push(&mut pending.bytes, &mut pending.clock, SystemTime::now(), record);
        pending.records += 1;
        if pending.bytes.len() >= HAND_OVER {
            self.hand_over(pending);
        }
    }

    /// The record as a line of JSON, whatever the log's format is.
    fn written(&self, record: &AccessRecord<'_>) -> Box<[u8]> {
        let (line, clock) = &mut *self.scratch.borrow_mut();
        line.clear();
        push_json(line, clock, SystemTime::now(), record);
        line.as_slice().into()
    }

    /// Hands over what is there. A core calls this a few times a second while `is_empty` is false, so that a quiet home sees
    /// its records at once, and before it ends.
    pub fn flush(&self) {
        self.hand_over(&mut self.pending.borrow_mut());
    }

    /// Whether nothing waits for a `flush`.
    pub fn is_empty(&self) -> bool {
        self.pending.borrow().bytes.is_empty()
    }

    /// Gives the buffer to the writer; keeps it when the writer has too much already.
    fn hand_over(&self, pending: &mut Pending) {
        if pending.bytes.is_empty() {
            return;
        }
        let lines = Message::Lines(mem::take(&mut pending.bytes), mem::take(&mut pending.records));
        match self.shared.queue.try_send(lines) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Lines(bytes, records))) => {
                pending.bytes = bytes;
                pending.records = records;
            }
            Err(TrySendError::Disconnected(Message::Lines(_, records))) => self.shared.losses.drop_records(records),
            Err(TrySendError::Full(Message::Close) | TrySendError::Disconnected(Message::Close)) => {}
        }
    }
}

impl Drop for CoreLog {
    fn drop(&mut self) {
        let pending = self.pending.get_mut();
        let mut last = mem::take(pending);
        self.hand_over(&mut last);
        self.shared.losses.drop_records(last.records);
    }
}

impl fmt::Debug for CoreLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreLog").finish_non_exhaustive()
    }
}

const OFF: u8 = 0;
const TEXT: u8 = 1;
const JSON: u8 = 2;

const fn code(format: AccessFormat) -> u8 {
    match format {
        AccessFormat::Off => OFF,
        AccessFormat::Text => TEXT,
        AccessFormat::Json => JSON,
    }
}

/// Says that the thread has left, even by a panic of the sink.
struct Leaving(Arc<Ended>);

impl Drop for Leaving {
    fn drop(&mut self) {
        *self.0.flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

/// The thread that owns the sink.
struct Writer {
    sink: Box<dyn Write + Send>,
    losses: Arc<Losses>,
    /// Whether the last write ended inside a line.
    torn: bool,
    /// Whether the last write failed: said once, not for every buffer.
    failing: bool,
}

impl Writer {
    /// Takes the queue, so that it is closed, and later records are counted as dropped, before anybody hears of the end.
    fn run(mut self, waiting: Receiver<Message>) {
        while let Ok(Message::Lines(bytes, records)) = waiting.recv() {
            self.write(&bytes, records);
        }
        while let Ok(Message::Lines(bytes, records)) = waiting.try_recv() {
            self.write(&bytes, records);
        }
    }

    fn write(&mut self, bytes: &[u8], records: u64) {
        let mut done = 0;
        match self.write_all(bytes, &mut done) {
            Ok(()) => {
                if mem::take(&mut self.failing) {
                    info!(dropped = self.losses.dropped(), "access log is written again");
                }
            }
            Err(error) => {
                // Only the lines that did not arrive whole are lost; a full disk may have room again for the next ones.
                let whole = bytes[..done].iter().filter(|&&byte| byte == b'\n').count() as u64;
                self.losses.drop_records(records.saturating_sub(whole));
                self.losses.write_errors.fetch_add(1, Ordering::Relaxed);
                if done > 0 {
                    self.torn = bytes[done - 1] != b'\n';
                }
                if !mem::replace(&mut self.failing, true) {
                    warn!(%error, "access log cannot be written; records are dropped and counted");
                }
            }
        }
    }

    /// Writes all of it, ending a torn line first. `done` counts what arrived.
    fn write_all(&mut self, bytes: &[u8], done: &mut usize) -> io::Result<()> {
        while self.torn {
            self.torn = self.write_some(b"\n")? == 0;
        }
        while *done < bytes.len() {
            *done += self.write_some(&bytes[*done..])?;
        }
        self.sink.flush()
    }

    /// One write of at least a byte. A standard output that somebody made non-blocking gets 2 s.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let deadline = Instant::now() + CLOSE_WAIT;
        loop {
            match self.sink.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => return Ok(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
