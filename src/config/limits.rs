//! `[limits]`: what the process as a whole, one client and one connection may take of it. Each key has a default that a
//! home never meets. What one client may ask of one route is `limit` and `in_flight`, in `quotas`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::LimitsSpec;
use super::keys::LIMITS;
use super::reading::{Item, Reading};
use super::section::Section;
use crate::model::{show_duration, show_size};

impl LimitsSpec {
    /// What counts where the file says nothing.
    pub const DEFAULT: LimitsSpec = LimitsSpec {
        connections: None,
        connections_per_client: 512,
        requests: None,
        memory: None,
        head: 64 << 10,
        fields: 200,
        head_time: Duration::from_secs(30),
        idle: Duration::from_secs(60),
        streams: 128,
    };
}

/// Reads `[limits]`; without it, the defaults.
pub(super) fn limits<'t>(reading: &Reading<'t>, item: Option<&Item<'t>>) -> LimitsSpec {
    let default = LimitsSpec::DEFAULT;
    let Some(section) = item.and_then(|item| Section::open(reading, item, &LIMITS, "[limits]".to_owned())) else {
        return default;
    };
    LimitsSpec {
        connections: count(&section, "connections", 16..=1_000_000),
        connections_per_client: count(&section, "connections_per_client", 1..=100_000)
            .unwrap_or(default.connections_per_client),
        requests: count(&section, "requests", 16..=1_000_000),
        memory: size(&section, "memory", 64 << 20..=1 << 40),
        head: size(&section, "head", 8 << 10..=1 << 20).map_or(default.head, |size| size as u32),
        fields: count(&section, "fields", 32..=2_000).unwrap_or(default.fields),
        head_time: time(&section, "head_time", 1..=600).unwrap_or(default.head_time),
        idle: time(&section, "idle", 1..=3600).unwrap_or(default.idle),
        streams: count(&section, "streams", 1..=1_000).unwrap_or(default.streams),
    }
}

fn count(section: &Section<'_, '_>, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
    let item = section.item(name)?;
    let number = section.reading.integer(&item)?;
    let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
    if fits.is_none() {
        out_of_range(section, &item, &number.to_string(), &range.start().to_string(), &range.end().to_string());
    }
    fits
}

fn size(section: &Section<'_, '_>, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
    let size = section.size(name)?.value;
    if !range.contains(&size) {
        let shown = |size: u64| format!("\"{}\"", show_size(size));
        out_of_range(section, &section.item(name)?, &shown(size), &shown(*range.start()), &shown(*range.end()));
        return None;
    }
    Some(size)
}

/// A time of so many seconds.
fn time(section: &Section<'_, '_>, name: &'static str, range: RangeInclusive<u64>) -> Option<Duration> {
    let time = section.duration(name)?.value;
    let (least, most) = (Duration::from_secs(*range.start()), Duration::from_secs(*range.end()));
    if time < least || time > most {
        let shown = |time| format!("\"{}\"", show_duration(time));
        out_of_range(section, &section.item(name)?, &shown(time), &shown(least), &shown(most));
        return None;
    }
    Some(time)
}

fn out_of_range(section: &Section<'_, '_>, item: &Item<'_>, written: &str, least: &str, most: &str) {
    let key = item.key;
    let help = format!("write `{key}` from {least} to {most}, or leave it out for the default (docs/defaults.md)");
    section.reading.fault(item.span, format!("{written} is out of the range of `{key}`"), "", help);
}
