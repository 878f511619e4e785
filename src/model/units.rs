//! Durations and sizes as people write them: `"45s"`, `"10m"`, `"1h"`, `"180d"`; `"50M"`, `"2G"`.

use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnitError {
    /// Not a number with a unit.
    #[error("`{0}` is not a duration; write a whole number and a unit, as `500ms`, `45s`, `10m`, `1h` or `180d`")]
    Duration(String),
    /// Not a number with a unit.
    #[error("`{0}` is not a size; write a whole number and a unit, as `512K`, `50M` or `2G`")]
    Size(String),
}

/// Reads a whole number with `ms`, `s`, `m`, `h` or `d`. At most 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError::Duration(text.to_owned());
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let total = number.checked_mul(millis).filter(|&ms| ms <= 36_500 * 86_400_000).ok_or_else(wrong)?;
    Ok(Duration::from_millis(total))
}

/// Reads a whole number of bytes with an optional `K`, `M`, `G` or `T` (powers of 1024; `KiB`, `MB` … are read the same).
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let wrong = || UnitError::Size(text.to_owned());
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

/// The shortest exact way to write a duration: `90s` stays `90s`, `600s` becomes `10m`.
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= size && ms.is_multiple_of(size) {
            return format!("{}{unit}", ms / size);
        }
    }
    format!("{ms}ms")
}

/// How long something lasted, as people say it: `40 s`, `3 min`, `5 h`, `2 days`.
pub fn show_roughly(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// The shortest exact way to write a size.
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("T", 40), ("G", 30), ("M", 20), ("K", 10)] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
