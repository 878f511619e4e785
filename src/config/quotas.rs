//! `limit` and `in_flight`: how much one client may ask of one route.
//! Counts nothing; that is the data plane's.

use super::reading::{integer_of, shown};
use super::section::Section;
use super::{Located, QuotaSpec};
use crate::model::Rate;

/// No limit here, whatever stands further out.
const OFF: &str = "off";

/// The most that `in_flight` takes.
const MOST: i64 = 100_000;

/// Reads both keys of a section.
pub(super) fn quota(section: &Section<'_, '_>) -> QuotaSpec {
    QuotaSpec { limit: limit(section), in_flight: in_flight(section) }
}

fn limit(section: &Section<'_, '_>) -> Option<Located<Option<Rate>>> {
    let item = section.item("limit")?;
    let reading = section.reading;
    if let Some(number) = integer_of(item.value) {
        let help = format!("say in which time: `limit = \"{number}/s\"`, `\"{number}/min\"` or `\"{number}/h\"`");
        reading.fault(item.span, "`limit` takes a rate, not a whole number", "", help);
        return None;
    }
    let text = reading.text(&item)?;
    if text.value == OFF {
        return Some(reading.located(item.span, None));
    }
    match text.value.parse::<Rate>() {
        Ok(rate) => Some(reading.located(item.span, Some(rate))),
        Err(_) => {
            let help = "write a whole number from 1 to 1000000 and a window: `20/s`, `100/min` or `5000/h`; or `off`";
            reading.fault(item.span, format!("{} is not a rate", shown(text.value)), "", help);
            None
        }
    }
}

fn in_flight(section: &Section<'_, '_>) -> Option<Located<Option<u32>>> {
    let item = section.item("in_flight")?;
    let reading = section.reading;
    if item.value.as_str() == Some(OFF) {
        return Some(reading.located(item.span, None));
    }
    let number = reading.integer(&item)?;
    match u32::try_from(number) {
        Ok(most) if (1..=MOST).contains(&number) => Some(reading.located(item.span, Some(most))),
        _ => {
            let help = "write how many requests of one client may be served at a time, from 1 to 100000; or `\"off\"`";
            reading.fault(item.span, format!("{number} is no number of requests"), "", help);
            None
        }
    }
}
