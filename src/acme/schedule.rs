//! When a certificate is renewed, and when a failed try is repeated: a pure function of what is known.
//! Refuses to ask a clock, a CA or a disk: `now` and everything else is passed in.
//!
//! No fixed minimum stands between two issues, so that 90 days and two minutes are the same case. What keeps a CA from being
//! stormed is the back-off: after failures, and after certificates that were due again almost at once.

use std::fmt;

/// First pause after a failure. Seconds; doubles with each further one.
const BACK_OFF_FIRST: i64 = 60;

/// Longest pause after failures. Seconds.
const BACK_OFF_LONGEST: i64 = 6 * 3600;

/// Longest pause that a CA may ask for with Retry-After. Seconds. Weekly limits are the longest that CAs have.
const ASKED_LONGEST: i64 = 8 * 24 * 3600;

/// Seconds in a day.
const DAY: i64 = 24 * 3600;

/// First and last moment of a certificate. Seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    /// notBefore.
    pub from: i64,
    /// notAfter.
    pub until: i64,
}

/// The CA's suggested renewal window (RFC 9773 §4.2). Seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Its first moment.
    pub start: i64,
    /// Its last moment.
    pub end: i64,
}

/// What went wrong since the last success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// How many tries in a row failed; at least one.
    pub failures: u32,
    /// When the last one did. Seconds since 1970.
    pub last: i64,
    /// How long the CA (or the DNS provider) asked to wait from then on. Seconds.
    pub asked: Option<i64>,
}

/// All that the decision depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The certificate that is stored; `None`: there is none.
    pub certificate: Option<Lifetime>,
    /// Why the stored one is not what the file asks for, if it is not.
    pub unfit: Option<Unfit>,
    /// ARI.
    pub window: Option<Window>,
    /// `renew` as a number of days before the end; `None` is `"auto"`.
    pub renew_days: Option<u32>,
    /// Failures.
    pub trouble: Option<Trouble>,
    /// How many certificates in a row were replaced almost as soon as they were issued.
    pub rushes: u32,
    /// When the last certificate was issued. Seconds since 1970.
    pub last_issue: Option<i64>,
    /// Seconds since 1970.
    pub now: i64,
    /// The dice of this installation and certificate: constant, so that the answer is the same until something changes.
    pub seed: u64,
}

/// Why a stored certificate is not the one that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// A name of the file is not in it.
    Names,
    /// Another CA issued it.
    Authority,
    /// Another kind of key.
    KeyType,
    /// Another profile.
    Profile,
    /// It cannot be read, or its key does not fit.
    Damaged,
}

/// When, and why then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Due {
    /// Seconds since 1970; not in the future: now.
    pub at: i64,
    /// What decides.
    pub why: Why,
    /// What moved it to later than that, if anything.
    pub waits: Option<Waits>,
}

/// What decides when a certificate is renewed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// There is none.
    Missing,
    /// There is a wrong one.
    Unfit(Unfit),
    /// The CA's window.
    Window,
    /// Two thirds of the lifetime are over then.
    TwoThirds,
    /// `renew` says so.
    Days(u32),
}

/// Why one waits though a certificate is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// Tries failed.
    Failures(u32),
    /// The CA said how long.
    Asked,
    /// The last ones were due again almost at once.
    Rushes(u32),
}

/// When the next certificate is to be ordered.
pub fn due(facts: &Facts) -> Due {
    let (wish, why) = wish(facts);
    let mut due = Due { at: wish, why, waits: None };
    let mut wait_until = |moment: i64, waits| {
        if moment > due.at {
            due.at = moment;
            due.waits = Some(waits);
        }
    };
    if let Some(Trouble { failures, last, asked }) = facts.trouble {
        // A moment that lies ahead is from before the clock was set back; it must not hold us up for years.
        let last = last.min(facts.now);
        wait_until(last + back_off(failures, facts.seed), Waits::Failures(failures));
        wait_until(last + asked.unwrap_or(0).clamp(0, ASKED_LONGEST), Waits::Asked);
    }
    if let (Some(last), 1.., true) = (facts.last_issue, facts.rushes, why.is_by_itself()) {
        wait_until(last.min(facts.now) + back_off(facts.rushes, facts.seed), Waits::Rushes(facts.rushes));
    }
    due
}

/// Whether a certificate that was issued at `issued` and is replaced at `now` lived far too short: less than a tenth.
pub fn is_rush(lifetime: Lifetime, issued: i64, now: i64) -> bool {
    let whole = lifetime.until.saturating_sub(lifetime.from);
    (0..whole / 10).contains(&now.saturating_sub(issued))
}

/// The pause after so many failures: 1 min, doubled each time, up to a quarter more by dice, never above 6 h. Seconds.
pub fn back_off(failures: u32, seed: u64) -> i64 {
    let doublings = failures.saturating_sub(1).min(20);
    let plain = BACK_OFF_FIRST << doublings;
    let dice = dice(seed, u64::from(failures), 1000);
    let stretched = plain + plain * dice / 4000;
    if stretched <= BACK_OFF_LONGEST {
        return stretched;
    }
    // At the top the dice shorten, so that a thousand installations still do not come at once.
    BACK_OFF_LONGEST - BACK_OFF_LONGEST * dice / 5000
}

fn wish(facts: &Facts) -> (i64, Why) {
    let Some(life) = facts.certificate else { return (facts.now, facts.unfit.map_or(Why::Missing, Why::Unfit)) };
    if let Some(unfit) = facts.unfit {
        return (facts.now, Why::Unfit(unfit));
    }
    let whole = life.until.saturating_sub(life.from).max(0);
    let two_thirds = (life.from.saturating_add(whole / 3 * 2), Why::TwoThirds);
    let own = match facts.renew_days {
        None => two_thirds,
        Some(days) => {
            let at = life.until.saturating_sub(i64::from(days) * DAY);
            // More days than a third of the life leaves: such a certificate would always be due.
            if at < life.from.saturating_add(whole / 3) { two_thirds } else { (at, Why::Days(days)) }
        }
    };
    match facts.window.and_then(|window| point_in(window, life, facts.seed)) {
        None => own,
        // A window is the CA's word, a number of days is the owner's: the earlier one of both.
        Some(point) if facts.renew_days.is_some() && own.0 < point => own,
        Some(point) => (point, Why::Window),
    }
}

/// A moment within the window, the same one each time (RFC 9773 §4.2: a uniform random one). A window that is none, or that
/// begins when the certificate is over, is as if there were no window.
fn point_in(window: Window, life: Lifetime, seed: u64) -> Option<i64> {
    if window.end <= window.start || window.start >= life.until {
        return None;
    }
    // A tenth of the life is kept for tries that fail.
    let whole = life.until.saturating_sub(life.from).max(0);
    let latest = life.until.saturating_sub(whole / 10);
    let salt = window.start.cast_unsigned() ^ window.end.cast_unsigned().rotate_left(32);
    let inside = window.start.saturating_add(dice(seed, salt, window.end.saturating_sub(window.start)));
    Some(inside.min(latest.max(window.start)))
}

/// A number from 0 to `sides` - 1, always the same for the same seed and salt (SplitMix64).
fn dice(seed: u64, salt: u64, sides: i64) -> i64 {
    let mut mixed = seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    i64::try_from(mixed % sides.max(1).cast_unsigned()).unwrap_or(0)
}

impl Why {
    /// Whether time brings it about, rather than a person who changed the file.
    pub fn is_by_itself(self) -> bool {
        match self {
            Why::Window | Why::TwoThirds | Why::Days(_) => true,
            Why::Missing | Why::Unfit(_) => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Missing => f.write_str("there is none yet"),
            Why::Unfit(Unfit::Names) => f.write_str("the stored one lacks a name"),
            Why::Unfit(Unfit::Authority) => f.write_str("the file names another CA"),
            Why::Unfit(Unfit::KeyType) => f.write_str("the file names another kind of key"),
            Why::Unfit(Unfit::Profile) => f.write_str("the file names another profile"),
            Why::Unfit(Unfit::Damaged) => f.write_str("the stored one is damaged"),
            Why::Window => f.write_str("the CA's renewal window (ARI)"),
            Why::TwoThirds => f.write_str("two thirds of its life are over then"),
            Why::Days(1) => f.write_str("1 day before its end, as the file says"),
            Why::Days(days) => write!(f, "{days} days before its end, as the file says"),
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waits::Failures(1) => f.write_str("the last try failed"),
            Waits::Failures(count) => write!(f, "the last {count} tries failed"),
            Waits::Asked => f.write_str("the other side asked to wait until then"),
            Waits::Rushes(_) => f.write_str("the last certificates were due again almost at once"),
        }
    }
}

#[cfg(test)]
mod tests;
