//! Requests at a fixed mean rate with random gaps, whatever the answers do: what a slow answer holds up is counted
//! too, because latency runs from the moment a request was due. The clock is a `timerfd`: tokio's own ticks in
//! milliseconds, which is more than an answer takes.
//!
//! What of that was the proxy's is known by stamps: from the client's write to the arrival at the origin, and from the origin's
//! write to the arrival at the client. That neither of those two has a core of its own is not in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::exchange::Answer;
use crate::load::{Percentiles, Run, client_config, connect};
use crate::origin::{STAMPS, header};
use crate::report::middle;
use crate::stamped::{Stamp, Stamped};

/// The generator looks at the clock this often.
const TICK: Duration = Duration::from_micros(100);

/// The figure is the median of the percentiles of so short times: a pause of the machine, which is not the proxy's, is in few
/// of them.
const SLICE: Duration = Duration::from_millis(100);

/// For what happens once in each second, and would be in few shorter slices.
const SECOND: Duration = Duration::from_secs(1);

/// Requests that are due, and those that may take one.
struct Due {
    at: RefCell<VecDeque<Instant>>,
    ready: Semaphore,
}

/// When each request was due, counted from the beginning, and how long something of it took.
type Taken = RefCell<Vec<(Duration, Duration)>>;

/// How long requests took.
#[derive(Default)]
struct Times {
    waited: Taken,
    in_proxy: Taken,
}

/// Drives `connections` connections at `rate` requests a second; the first second warms up and is not counted.
pub async fn drive(run: &Rc<Run>) -> Result<(), Failure> {
    let connector = TlsConnector::from(client_config(&run.order, false, b"http/1.1")?);
    let due = Rc::new(Due { at: RefCell::default(), ready: Semaphore::new(0) });
    let counted_from = Instant::now() + Duration::from_secs(1);
    let times = Rc::new(Times::default());
    let mut tasks = Vec::new();
    for _ in 0..run.order.connections {
        let (run, due, times, connector) = (run.clone(), due.clone(), times.clone(), connector.clone());
        tasks.push(tokio::task::spawn_local(async move {
            if let Err(error) = work(&run, &due, &connector, counted_from, &times).await {
                run.fail(&error);
            }
        }));
    }
    let mut late = dispatch(run, &due).await?;
    due.ready.close();
    for task in tasks {
        task.await?;
    }
    let left = due.at.borrow().len();
    if left * 100 > late.len() {
        run.fail(&format!("{left} of {} requests were still waiting at the end: too much to ask", late.len()).into());
        return Ok(());
    }
    run.note(|outcome| {
        outcome.waited = percentiles(times.waited.take());
        outcome.in_proxy = percentiles(times.in_proxy.take());
        outcome.generator_late_us = Some(percentile(&mut late, 0.99));
    });
    Ok(())
}

async fn work(
    run: &Run,
    due: &Due,
    connector: &TlsConnector,
    counted_from: Instant,
    times: &Times,
) -> Result<(), Failure> {
    let mut stream = connect(&run.order, connector).await?;
    stream.get_mut().0.begin()?;
    while let Ok(permit) = due.ready.acquire().await {
        permit.forget();
        let Some(at) = due.at.borrow_mut().pop_front() else { continue };
        let answer = Answer::to(&mut stream, "/stamped").await?;
        answer.must_be_small()?;
        if at >= counted_from {
            let since = at - counted_from;
            times.waited.borrow_mut().push((since, at.elapsed()));
            times.in_proxy.borrow_mut().extend(in_proxy(stream.get_ref().0, &answer).map(|took| (since, took)));
        }
        run.count();
    }
    Ok(())
}

/// Hands out requests as they fall due; returns how late each was handed out.
async fn dispatch(run: &Run, due: &Due) -> Result<Vec<Duration>, Failure> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos().try_into()? };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: tick, it_value: tick })?;
    #[expect(
        deprecated,
        reason = "an OwnedFd names the same descriptor all its life, which the unsafe successor asks for"
    )]
    let timer = AsyncFd::new(timer)?;
    let mean = 1.0 / run.order.rate;
    // The same gaps for every proxy and round: a small generator of our own with a fixed seed (xorshift64).
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut gap = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let unit = ((state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-unit.ln() * mean)
    };
    let mut late = Vec::new();
    let mut next = Instant::now() + gap();
    while !run.is_over() {
        let mut ready = timer.readable().await?;
        let mut expirations = [0_u8; 8];
        let _ = read(timer.get_ref(), &mut expirations);
        ready.clear_ready();
        let now = Instant::now();
        let mut count = 0;
        while next <= now {
            due.at.borrow_mut().push_back(next);
            late.push(now - next);
            next += gap();
            count += 1;
        }
        due.ready.add_permits(count);
    }
    Ok(late)
}

/// How long a request and its answer were in the proxy. `None` for the first on one of its connections to the origin, which
/// asks for stamps only then.
fn in_proxy(client: &Stamped, answer: &Answer) -> Option<Duration> {
    let mut stamps = header(&answer.head, STAMPS)?.split(' ').map(str::parse::<Stamp>);
    let (asked, answered) = (stamps.next()?.ok()?, stamps.next()?.ok()?);
    let there = asked.checked_sub(client.sent)?;
    let back = client.arrived.checked_sub(answered)?;
    Some(Duration::from_nanos(there + back))
}

fn percentiles(times: Vec<(Duration, Duration)>) -> Option<Percentiles> {
    let middle_p99 = middle(p99_of_each(SLICE, &times))?;
    let p99_of_seconds = p99_of_each(SECOND, &times);
    let mut times: Vec<Duration> = times.into_iter().map(|(_, took)| took).collect();
    let of_all = [0.5, 0.9, 0.99, 0.999].map(|share| percentile(&mut times, share));
    Some(Percentiles { of_all, middle_p99, p99_of_seconds })
}

/// The 99th percentile of each slice of the time, in microseconds.
fn p99_of_each(slice: Duration, latencies: &[(Duration, Duration)]) -> Vec<f64> {
    let mut slices: BTreeMap<u128, Vec<Duration>> = BTreeMap::new();
    for (at, latency) in latencies {
        slices.entry(at.as_micros() / slice.as_micros()).or_default().push(*latency);
    }
    slices.values_mut().map(|slice| percentile(slice, 0.99)).collect()
}

fn percentile(values: &mut [Duration], share: f64) -> f64 {
    values.sort_unstable();
    let at = ((values.len() as f64 - 1.0) * share).round();
    values.get(at as usize).map_or(f64::NAN, |value| value.as_secs_f64() * 1e6)
}
