//! What is counted of each route, added up over the cores, for those who look rather than scrape.

use serde::{Deserialize, Serialize};

use super::metrics::{BUCKETS, Cell, Metrics, RouteCell, RouteMetrics};

/// One route since the start of the process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RouteFigures {
    /// The route, or `(none)` for requests that no route has the name for.
    pub name: String,
    /// Requests that are over.
    pub requests: u64,
    /// Those answered with 5xx, by the upstream or by us.
    pub errors: u64,
    /// Bytes of bodies, both ways, of requests that are over.
    pub bytes: u64,
    /// WebSockets that are open.
    pub websockets: u64,
    /// Requests by the time that they took; each counts up to the bound at its place in `duration_bounds`, the last beyond.
    pub durations: Vec<u64>,
}

/// Upper bounds of `durations`, in microseconds.
pub const fn duration_bounds() -> &'static [u64] {
    &BUCKETS
}

impl Metrics {
    /// The figures of every route that was asked for anything.
    pub fn figures(&self) -> Vec<RouteFigures> {
        self.routes().iter().map(|route| figures(route)).filter(|figures| figures.is_used()).collect()
    }
}

impl RouteFigures {
    fn is_used(&self) -> bool {
        self.requests > 0 || self.websockets > 0
    }
}

fn figures(route: &RouteMetrics) -> RouteFigures {
    let cells: Vec<&RouteCell> = route.cells().collect();
    let sum = |pick: fn(&RouteCell) -> &Cell| cells.iter().map(|cell| pick(cell).read()).sum::<u64>();
    let durations: Vec<u64> =
        (0..=BUCKETS.len()).map(|bucket| cells.iter().map(|cell| cell.buckets[bucket].read()).sum()).collect();
    // Closed is read first: one that closes meanwhile must not count below zero.
    let closed = sum(|cell| &cell.tunnels_closed);
    RouteFigures {
        name: route.name().to_owned(),
        requests: durations.iter().sum(),
        errors: sum(|cell| &cell.classes[4]),
        bytes: sum(|cell| &cell.bytes_in) + sum(|cell| &cell.bytes_out),
        websockets: sum(|cell| &cell.tunnels_opened).saturating_sub(closed),
        durations,
    }
}
