//! How often something may happen, as people write it: `"20/s"`, `"100/min"`, `"5000/h"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The most that one window may count: what a count-min sketch of machine words holds without a thought of overflow.
const MOST: u32 = 1_000_000;

/// So many requests within any window of this length. The window is the burst too: `600/min` may come all at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// Requests, from 1 to 1,000,000.
    pub most: u32,
    /// The window.
    pub per: Per,
}

/// The windows that a rate may have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Per {
    /// `s`.
    Second,
    /// `min`.
    Minute,
    /// `h`.
    Hour,
}

/// A text that is no rate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a rate; write a whole number from 1 to 1000000 and a window, as `20/s`, `100/min` or `5000/h`")]
pub struct RateError(String);

impl Per {
    /// All of them, in the order of their numbers.
    pub const ALL: [Per; 3] = [Per::Second, Per::Minute, Per::Hour];

    /// How long it is.
    pub const fn length(self) -> Duration {
        match self {
            Per::Second => Duration::from_secs(1),
            Per::Minute => Duration::from_secs(60),
            Per::Hour => Duration::from_secs(3600),
        }
    }

    const fn written(self) -> &'static str {
        match self {
            Per::Second => "s",
            Per::Minute => "min",
            Per::Hour => "h",
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Rate, RateError> {
        let wrong = || RateError(text.to_owned());
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let per = Per::ALL.into_iter().find(|per| per.written() == unit.trim()).ok_or_else(wrong)?;
        let is_plain = number.trim().bytes().all(|byte| byte.is_ascii_digit());
        let most = number.trim().parse().ok().filter(|most| is_plain && (1..=MOST).contains(most)).ok_or_else(wrong)?;
        Ok(Rate { most, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.most, self.per.written())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_as_it_was_written() {
        for text in ["20/s", "100/min", "5000/h", "1/s", "1000000/h"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("20 / s".parse(), Ok(Rate { most: 20, per: Per::Second }));
    }

    #[test]
    fn what_has_no_window_or_no_number_is_no_rate() {
        for text in ["", "20", "/s", "0/s", "-1/s", "+1/s", "1.5/s", "20/m", "20/sec", "20/day", "1000001/s", "20/s/s"]
        {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
    }
}
