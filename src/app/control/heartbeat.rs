//! Whether the data cores still turn: judged by their own beats, told to the log by name, and passed on to the supervisor's
//! watchdog only while all of them do. Nothing is ended here; that is the supervisor's to do.

use std::time::{Duration, Instant};

use crate::serve::Cores;
use crate::service::Supervisor;

/// How long a core may stand still before it is named. It beats four times a second.
const STALL: Duration = Duration::from_secs(5);

/// How often beats are looked at, unless the watchdog wants signs of life more often than every three of these.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at the beats for as long as the process lives.
pub(super) async fn watch(cores: Cores, supervisor: Supervisor) {
    let period = supervisor.watchdog().map_or(LOOK, |wanted| LOOK.min(wanted / 3));
    let mut judge = Judge::new(cores.beats(), Instant::now());
    let mut turns = tokio::time::interval(period.max(Duration::from_millis(10)));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let news = judge.look(&cores.beats(), Instant::now());
        for core in news.stalled {
            tracing::error!(core, for_s = STALL.as_secs(), "a core stands still: its connections wait");
            supervisor.status(&format!("core-{core} stands still"));
        }
        for (core, stood) in news.going_on {
            tracing::warn!(core, stood_s = stood.as_secs(), "a core goes on that stood still");
            supervisor.status(&format!("serving; core-{core} stood still for {} s", stood.as_secs()));
        }
        if judge.all_turn() {
            supervisor.feed();
        }
    }
}

/// What is known of each core.
struct Judge(Vec<Beat>);

struct Beat {
    count: usize,
    since: Instant,
    is_stalled: bool,
}

/// What is new since the last look.
#[derive(Debug, Default, PartialEq)]
struct News {
    stalled: Vec<usize>,
    going_on: Vec<(usize, Duration)>,
}

impl Judge {
    fn new(beats: Vec<usize>, now: Instant) -> Judge {
        Judge(beats.into_iter().map(|count| Beat { count, since: now, is_stalled: false }).collect())
    }

    fn look(&mut self, beats: &[usize], now: Instant) -> News {
        let mut news = News::default();
        for (core, (known, &count)) in self.0.iter_mut().zip(beats).enumerate() {
            let stood = now.saturating_duration_since(known.since);
            if known.count != count {
                if std::mem::take(&mut known.is_stalled) {
                    news.going_on.push((core, stood));
                }
                (known.count, known.since) = (count, now);
            } else if stood >= STALL && !known.is_stalled {
                known.is_stalled = true;
                news.stalled.push(core);
            }
        }
        news
    }

    fn all_turn(&self) -> bool {
        self.0.iter().all(|beat| !beat.is_stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_stands_still_is_named_once_and_again_when_it_goes_on() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut judge = Judge::new(vec![0, 0], start);
        assert_eq!(judge.look(&[4, 4], after(1)), News::default());
        assert_eq!(judge.look(&[4, 8], after(3)), News::default());
        assert!(judge.all_turn());
        assert_eq!(judge.look(&[4, 12], after(6)), News { stalled: vec![0], going_on: vec![] });
        assert!(!judge.all_turn());
        assert_eq!(judge.look(&[4, 16], after(7)), News::default(), "once");
        let going_on = vec![(0, Duration::from_secs(8))];
        assert_eq!(judge.look(&[5, 20], after(9)), News { stalled: vec![], going_on });
        assert!(judge.all_turn());
    }
}
