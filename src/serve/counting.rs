//! How much each client asks: rates and requests in flight, in count-min sketches that all cores share without a lock. A
//! sketch never counts too little; it is large enough that thousands of addresses do not count for one another. Decides
//! nothing about who a client is; never looks at a TCP peer.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_limits::estimator::Estimator;
use pingora_limits::inflight::{Guard, Inflight};

use crate::model::{Client, Per, Rate};

/// Rows of a sketch, and counters in each: with 5,000 busy clients in one window, one in 35,000 shares all four counters
/// with others. 2 MiB, twice for each kind of window that the file uses.
const ROWS: usize = 4;
const COUNTERS: usize = 65_536;

/// What is counted: a client, at a bound, on a route.
pub type Subject = (u64, u64, Client);

/// The counts of the process. They outlive snapshots: a reload that does not change a limit does not forget.
#[derive(Default)]
pub struct Counts {
    windows: [OnceLock<Window>; Per::ALL.len()],
    in_flight: OnceLock<Inflight>,
    connections: OnceLock<Inflight>,
}

/// One more in flight, until it is dropped.
pub struct Held(#[expect(dead_code, reason = "it counts by being there")] Guard);

impl Counts {
    /// Counts one more request in the window that ends now. Where that is one too many it is not counted, and the answer is
    /// how long it would have to wait.
    pub fn ask(&self, rate: Rate, subject: &Subject) -> Result<(), Duration> {
        let window = self.windows[rate.per as usize].get_or_init(|| Window::new(rate.per.length()));
        window.ask(window.began.elapsed(), rate.most, subject)
    }

    /// Holds a place among the requests that are served at a time, if there is one.
    pub fn enter(&self, most: u32, subject: &Subject) -> Option<Held> {
        hold(self.in_flight.get_or_init(Inflight::new), most, subject)
    }

    /// Holds a place among the connections of an address, if there is one.
    pub fn connect(&self, most: u32, peer: IpAddr) -> Option<Held> {
        hold(self.connections.get_or_init(Inflight::new), most, &Client::at(peer).counted_with())
    }
}

fn hold(counts: &Inflight, most: u32, subject: &impl std::hash::Hash) -> Option<Held> {
    let (guard, count) = counts.incr(subject, 1);
    let has_room = count <= isize::try_from(most).unwrap_or(isize::MAX);
    has_room.then_some(Held(guard))
}

/// A window that slides: the count of the present turn, and of the one before as far as the window still reaches into it.
struct Window {
    began: Instant,
    /// Milliseconds.
    length: u64,
    turn: AtomicU64,
    turns: [Estimator; 2],
}

impl Window {
    fn new(length: Duration) -> Window {
        Window {
            began: Instant::now(),
            length: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            turn: AtomicU64::new(0),
            turns: [Estimator::new(ROWS, COUNTERS), Estimator::new(ROWS, COUNTERS)],
        }
    }

    fn ask(&self, now: Duration, most: u32, subject: &Subject) -> Result<(), Duration> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let turn = self.begin(now / self.length);
        // A core whose look at the clock is older than the turn stands at its beginning.
        let into = now.saturating_sub(turn * self.length).min(self.length);
        let (present, past) = (&self.turns[(turn % 2) as usize], &self.turns[((turn + 1) % 2) as usize]);
        let before = u64::try_from(past.get(subject)).unwrap_or(0);
        let count = u64::try_from(present.incr(subject, 1)).unwrap_or(0);
        if before * (self.length - into) + count * self.length <= u64::from(most) * self.length {
            return Ok(());
        }
        // What is refused is not counted: who goes on asking gets as much as who waits.
        present.decr(subject, 1);
        Err(Duration::from_millis(self.wait(u64::from(most), before, count.saturating_sub(1), into)))
    }

    /// Makes this turn the present one, if it is not over yet; the present one. Between the turn of the number and the
    /// clearing of its sketch, a moment once in a window, what others count may be forgotten.
    fn begin(&self, turn: u64) -> u64 {
        let present = self.turn.load(Ordering::Acquire);
        if turn <= present {
            return present;
        }
        match self.turn.compare_exchange(present, turn, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.turns[(turn % 2) as usize].reset();
                if turn - present > 1 {
                    self.turns[((turn + 1) % 2) as usize].reset();
                }
                turn
            }
            Err(other) => other,
        }
    }

    /// Milliseconds until one more would be let through, if nobody else asks meanwhile.
    fn wait(&self, most: u64, before: u64, count: u64, into: u64) -> u64 {
        let length = self.length;
        let left = length - into;
        if count < most {
            // The turn before has to move out of the window.
            let room = (most - count - 1) * length;
            return left.saturating_sub(room / before.max(1)).max(1);
        }
        // This turn has to end, and then to move out of the window as far.
        left + length.saturating_sub((most - 1) * length / count.max(1))
    }
}

#[cfg(test)]
mod tests;
