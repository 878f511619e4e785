//! Two looks at the counters, and what happened between them. Times come from a histogram, so p50 and p99 are the bounds that
//! half and 99 of 100 requests stayed below.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::telemetry::{RouteFigures, duration_bounds};

/// One look.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sample {
    at_ms: u64,
    generation: u64,
    connections: usize,
    in_flight: usize,
    routes: Vec<SampledRoute>,
}

#[derive(Clone, Debug, Deserialize)]
struct SampledRoute {
    name: String,
    figures: Option<RouteFigures>,
    in_flight: usize,
    upstream: Option<String>,
}

impl Sample {
    pub(super) fn read(json: Value) -> serde_json::Result<Sample> {
        serde_json::from_value(json)
    }
}

/// By what routes are sorted, the greatest first; by name otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(in crate::cli) enum Sort {
    /// Requests per second
    #[default]
    Requests,
    /// Answers of 5xx per second
    Errors,
    /// Bytes per second
    Bytes,
    /// Open WebSockets
    Websockets,
    /// Requests in flight
    Flight,
    /// The time that 99 of 100 stay below
    P99,
    /// Name
    Name,
}

impl Sort {
    pub(super) fn of_key(key: char) -> Option<Sort> {
        Some(match key {
            'r' => Sort::Requests,
            'e' => Sort::Errors,
            'b' => Sort::Bytes,
            'w' => Sort::Websockets,
            'f' => Sort::Flight,
            'p' => Sort::P99,
            'n' => Sort::Name,
            _ => return None,
        })
    }
}

/// What happened between two looks.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Table {
    /// The generation in force.
    pub generation: u64,
    /// Seconds between the looks.
    pub seconds: f64,
    /// Connections of clients that are open.
    pub connections: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// What is shown, in order.
    pub routes: Vec<Row>,
    #[serde(skip)]
    all: Vec<Row>,
}

/// One route.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Row {
    /// Its name; `(none)` for requests that no route has the name for.
    pub name: String,
    /// Requests that ended, per second.
    pub requests_per_second: f64,
    /// Answers of 5xx per second.
    pub errors_per_second: f64,
    /// Bytes of bodies of requests that ended, per second.
    pub bytes_per_second: f64,
    /// WebSockets that are open.
    pub websockets: u64,
    /// Requests in flight.
    pub in_flight: usize,
    /// Half of the requests took at most this, in seconds; null where there was none, or it is beyond the last bound.
    pub p50_seconds: Option<f64>,
    /// 99 of 100 took at most this.
    pub p99_seconds: Option<f64>,
    /// Requests between the looks.
    pub requests: u64,
    /// `ok`, or what is wrong with its upstream; null for requests without a route.
    pub upstream: Option<String>,
}

impl Table {
    pub(super) fn between(before: &Sample, now: &Sample, sort: Sort, filter: &str) -> Table {
        let seconds = now.at_ms.saturating_sub(before.at_ms).max(1) as f64 / 1_000.0;
        let all = now.routes.iter().map(|route| row(before, route, seconds)).collect();
        let mut table = Table {
            generation: now.generation,
            seconds,
            connections: now.connections,
            in_flight: now.in_flight,
            routes: Vec::new(),
            all,
        };
        table.arrange(sort, filter);
        table
    }

    /// Sorts and filters anew.
    pub(super) fn arrange(&mut self, sort: Sort, filter: &str) {
        let filter = filter.to_lowercase();
        self.routes = self.all.iter().filter(|row| row.name.to_lowercase().contains(&filter)).cloned().collect();
        let weight = |row: &Row| match sort {
            Sort::Requests => row.requests_per_second,
            Sort::Errors => row.errors_per_second,
            Sort::Bytes => row.bytes_per_second,
            Sort::Websockets => row.websockets as f64,
            Sort::Flight => row.in_flight as f64,
            Sort::P99 if row.requests > 0 => row.p99_seconds.unwrap_or(f64::MAX),
            Sort::P99 | Sort::Name => 0.0,
        };
        self.routes.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| a.name.cmp(&b.name)));
    }

    /// The table within 80 columns.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.summary(), HEADINGS.to_owned()];
        lines.extend(self.routes.iter().map(Row::line));
        lines
    }

    pub(super) fn summary(&self) -> String {
        format!(
            "generation {}: {} connections, {} requests in flight, over {:.1} s",
            self.generation, self.connections, self.in_flight, self.seconds
        )
    }
}

/// As wide as the rows.
pub(super) const HEADINGS: &str = "ROUTE                REQ/S  ERR/S  BYTES/S    WS   NOW    P50    P99  UPSTREAM";

impl Row {
    /// As wide as the headings, but for a long state of the upstream.
    pub(super) fn line(&self) -> String {
        let name: String = match self.name.chars().count() {
            0..=18 => self.name.clone(),
            _ => self.name.chars().take(17).chain(['…']).collect(),
        };
        let duration = |bound: Option<f64>| match (self.requests, bound) {
            (0, _) => "-".to_owned(),
            (_, Some(seconds)) if seconds < 1.0 => format!("{:.0}ms", seconds * 1_000.0),
            (_, Some(seconds)) => format!("{seconds}s"),
            (_, None) => ">30s".to_owned(),
        };
        format!(
            "{name:<18} {:>7} {:>6} {:>8} {:>5} {:>5} {:>6} {:>6}  {}",
            rate(self.requests_per_second),
            rate(self.errors_per_second),
            size(self.bytes_per_second),
            self.websockets,
            self.in_flight,
            duration(self.p50_seconds),
            duration(self.p99_seconds),
            self.upstream.as_deref().unwrap_or("-"),
        )
    }
}

fn row(before: &Sample, route: &SampledRoute, seconds: f64) -> Row {
    let was = before.routes.iter().find(|known| known.name == route.name).and_then(|known| known.figures.as_ref());
    let pick = |what: fn(&RouteFigures) -> u64| {
        let now = route.figures.as_ref().map_or(0, what);
        now.saturating_sub(was.map_or(0, what))
    };
    let durations: Vec<u64> = route.figures.as_ref().map_or_else(Vec::new, |figures| {
        let was = |at: usize| was.and_then(|was| was.durations.get(at)).copied().unwrap_or(0);
        figures.durations.iter().enumerate().map(|(at, now)| now.saturating_sub(was(at))).collect()
    });
    Row {
        name: route.name.clone(),
        requests_per_second: pick(|figures| figures.requests) as f64 / seconds,
        errors_per_second: pick(|figures| figures.errors) as f64 / seconds,
        bytes_per_second: pick(|figures| figures.bytes) as f64 / seconds,
        websockets: route.figures.as_ref().map_or(0, |figures| figures.websockets),
        in_flight: route.in_flight,
        p50_seconds: quantile(&durations, 50),
        p99_seconds: quantile(&durations, 99),
        requests: durations.iter().sum(),
        upstream: route.upstream.clone(),
    }
}

/// The bound below which that many of a hundred stayed, in seconds; none where nothing was counted, or beyond the last.
fn quantile(durations: &[u64], percent: u64) -> Option<f64> {
    let total: u64 = durations.iter().sum();
    let rank = (total * percent).div_ceil(100).max(1);
    let mut so_far = 0;
    let at = durations.iter().position(|count| {
        so_far += count;
        so_far >= rank
    })?;
    duration_bounds().get(at).map(|&micros| micros as f64 / 1_000_000.0)
}

fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        few if few < 1_024.0 => format!("{few:.0}"),
        some if some < 1_048_576.0 => format!("{:.1}K", some / 1_024.0),
        more if more < 1_073_741_824.0 => format!("{:.1}M", more / 1_048_576.0),
        most => format!("{:.1}G", most / 1_073_741_824.0),
    }
}
