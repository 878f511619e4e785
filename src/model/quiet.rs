//! Hours in which nobody is to be disturbed: `Sat 06:50-08:00`, `22:00-06:00`. In UTC, so that no machine's idea of local
//! time moves them twice a year.

use std::fmt;

use time::{OffsetDateTime, UtcOffset, Weekday};

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// A span of minutes on one day of the week, or on every day. One that ends before it begins ends on the next day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuietHours {
    day: Option<Weekday>,
    /// Minutes since midnight.
    from: u16,
    /// The first minute behind.
    to: u16,
}

/// The text is no such span.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("quiet hours are written `Sat 06:50-08:00`, or `22:00-06:00` for every day; in UTC")]
pub struct NoQuietHours;

impl QuietHours {
    /// Reads a span. The day is one of `Mon` to `Sun`, or absent; hours are `00:00` to `23:59`, the end up to `24:00`.
    pub fn parse(text: &str) -> Result<QuietHours, NoQuietHours> {
        let (day, hours) = match text.trim().split_once(' ') {
            None => (None, text.trim()),
            Some((word, hours)) => {
                let day = DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).ok_or(NoQuietHours)?;
                (Some(day.1), hours.trim())
            }
        };
        let (from, to) = hours.split_once('-').ok_or(NoQuietHours)?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        match from < 24 * 60 && from != to {
            true => Ok(QuietHours { day, from, to }),
            false => Err(NoQuietHours),
        }
    }

    /// Whether a moment lies within.
    pub fn contains(&self, moment: OffsetDateTime) -> bool {
        let moment = moment.to_offset(UtcOffset::UTC);
        let minute = u16::from(moment.hour()) * 60 + u16::from(moment.minute());
        let is_on = |day: Weekday| self.day.is_none_or(|own| own == day);
        if self.from < self.to {
            return is_on(moment.weekday()) && (self.from..self.to).contains(&minute);
        }
        (is_on(moment.weekday()) && minute >= self.from) || (is_on(moment.weekday().previous()) && minute < self.to)
    }
}

fn minutes(text: &str) -> Result<u16, NoQuietHours> {
    let (hours, minutes) = text.trim().split_once(':').ok_or(NoQuietHours)?;
    let two = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u16>().map_err(|_| NoQuietHours),
        false => Err(NoQuietHours),
    };
    let total = two(hours)? * 60 + two(minutes).and_then(|m| if m < 60 { Ok(m) } else { Err(NoQuietHours) })?;
    if total <= 24 * 60 { Ok(total) } else { Err(NoQuietHours) }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = self.day.and_then(|day| DAYS.iter().find(|(_, own)| *own == day)) {
            write!(f, "{name} ")?;
        }
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_span_holds_from_its_first_minute_to_the_one_before_its_last() {
        let quiet = QuietHours::parse("Sat 06:50-08:00").unwrap();
        assert_eq!(quiet.to_string(), "Sat 06:50-08:00");
        for (moment, is_quiet) in [
            (datetime!(2026-11-21 06:49:59 UTC), false),
            (datetime!(2026-11-21 06:50 UTC), true),
            (datetime!(2026-11-21 07:59:59 UTC), true),
            (datetime!(2026-11-21 08:00 UTC), false),
            (datetime!(2026-11-22 07:00 UTC), false),
            (datetime!(2026-11-21 08:30 +1), true),
        ] {
            assert_eq!(quiet.contains(moment), is_quiet, "{moment}");
        }
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_it_begins_on() {
        let quiet = QuietHours::parse("fri 22:00-06:00").unwrap();
        assert!(quiet.contains(datetime!(2026-11-20 23:00 UTC)) && quiet.contains(datetime!(2026-11-21 05:59 UTC)));
        assert!(!quiet.contains(datetime!(2026-11-20 05:00 UTC)) && !quiet.contains(datetime!(2026-11-21 22:00 UTC)));
        let nightly = QuietHours::parse("22:00-24:00").unwrap();
        assert!(
            nightly.contains(datetime!(2026-11-19 23:59 UTC)) && !nightly.contains(datetime!(2026-11-19 00:00 UTC))
        );
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in
            ["", "Sat", "Sat 6:50-8:00", "25:00-26:00", "24:00-01:00", "08:00-08:00", "Sam 06:00-07:00", "06:60-07:00"]
        {
            assert_eq!(QuietHours::parse(text), Err(NoQuietHours), "{text}");
        }
    }
}
