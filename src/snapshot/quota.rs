//! `limit` and `in_flight` as served: which of them counts for a request, and under which number it is counted. Counts
//! nothing itself.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::Snapshot;
use super::door::{AllowPlace, Listener};
use super::route::{PathRule, Route};
use crate::config::QuotaSpec;
use crate::model::Rate;

/// Both keys of one place. `None`: nothing was written there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// `limit`.
    pub rate: Option<Bound<Rate>>,
    /// `in_flight`.
    pub in_flight: Option<Bound<u32>>,
}

/// One bound, with the place where it was written, so that an answer can name it.
#[derive(Clone, Debug)]
pub struct Bound<T> {
    /// The most there may be; `None` for `"off"`.
    pub most: Option<T>,
    /// In which table it stands.
    pub place: AllowPlace,
    /// 1-based line in the file.
    pub line: u32,
    /// The same number for the same bound in the same place, in every snapshot: what was counted under it goes on counting.
    pub number: u64,
}

impl<T: PartialEq> PartialEq for Bound<T> {
    fn eq(&self, other: &Self) -> bool {
        self.most == other.most
    }
}

impl<T: Eq> Eq for Bound<T> {}

impl Quota {
    /// What a place says.
    pub(super) fn of(spec: &QuotaSpec, place: &AllowPlace) -> Quota {
        let QuotaSpec { limit, in_flight } = spec;
        Quota {
            rate: limit.as_ref().map(|limit| Bound::of(limit.value, place, limit.line)),
            in_flight: in_flight.as_ref().map(|limit| Bound::of(limit.value, place, limit.line)),
        }
    }
}

impl<T: Hash> Bound<T> {
    fn of(most: Option<T>, place: &AllowPlace, line: u32) -> Bound<T> {
        // The standard hasher begins with the same keys each time: the number must not change with the snapshot.
        let mut hasher = DefaultHasher::new();
        (&most, place.to_string()).hash(&mut hasher);
        Bound { most, place: place.clone(), line, number: hasher.finish() }
    }
}

/// The bounds that count for one request: of path, route, door and file the first that says something, each key by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bounds<'a> {
    /// How often its client may ask.
    pub rate: Option<&'a Bound<Rate>>,
    /// How many requests of its client may be served at a time.
    pub in_flight: Option<&'a Bound<u32>>,
}

/// Which bounds count.
pub(super) fn bounds<'a>(
    snapshot: &'a Snapshot,
    listener: &'a Listener,
    route: &'a Arc<Route>,
    rule: Option<&'a PathRule>,
) -> Bounds<'a> {
    let places = [rule.map(|rule| &rule.quota), Some(&route.quota), Some(&listener.door.quota), Some(&snapshot.quota)];
    let places = || places.into_iter().flatten();
    Bounds {
        rate: places().find_map(|quota| quota.rate.as_ref()).filter(|bound| bound.most.is_some()),
        in_flight: places().find_map(|quota| quota.in_flight.as_ref()).filter(|bound| bound.most.is_some()),
    }
}
