//! Writes the counters in Prometheus text format 0.0.4: one HELP and one TYPE per family, label values escaped.
//! Names are a contract. Routes and upstreams that had nothing to do have no series.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use crate::model::Refusal;

use super::endings::{Ended, NoRoom};
use super::metrics::{BUCKETS, CLASSES, Cell, HandshakeFailure, Metrics, RouteCell, RouteMetrics};
use super::process::ProcessFigures;

/// The whole page.
pub(super) fn render(metrics: &Metrics) -> String {
    let mut page = Page(String::with_capacity(16 * 1024));
    let routes: Vec<RouteSums> = metrics.routes().iter().map(|route| RouteSums::of(route)).collect();
    requests(&mut page, &routes);
    limited(&mut page, &routes);
    connections(&mut page, metrics, &routes);
    upstreams(&mut page, metrics);
    members(&mut page, metrics);
    state(&mut page, metrics);
    certificates(&mut page, metrics);
    containers(&mut page, metrics);
    process(&mut page, metrics);
    page.0
}

/// The text so far. Writing into a `String` cannot fail, so results of `write!` are dropped here and nowhere else.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for letter in text.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one series.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// One route, all cores added up.
struct RouteSums {
    name: String,
    classes: [u64; CLASSES],
    buckets: [u64; BUCKETS.len() + 1],
    micros: u64,
    bytes_in: u64,
    bytes_out: u64,
    limited: u64,
    tunnels_opened: u64,
    tunnels_closed: u64,
}

impl RouteSums {
    fn of(route: &RouteMetrics) -> RouteSums {
        let cells: Vec<&RouteCell> = route.cells().collect();
        let sum = |pick: fn(&RouteCell) -> &Cell| cells.iter().map(|cell| pick(cell).read()).sum::<u64>();
        RouteSums {
            name: route.name().to_owned(),
            classes: std::array::from_fn(|class| cells.iter().map(|cell| cell.classes[class].read()).sum()),
            buckets: std::array::from_fn(|bucket| cells.iter().map(|cell| cell.buckets[bucket].read()).sum()),
            micros: sum(|cell| &cell.micros),
            bytes_in: sum(|cell| &cell.bytes_in),
            bytes_out: sum(|cell| &cell.bytes_out),
            limited: sum(|cell| &cell.limited),
            // Closed is read first, so that a tunnel which closes meanwhile does not make a negative gauge.
            tunnels_closed: sum(|cell| &cell.tunnels_closed),
            tunnels_opened: sum(|cell| &cell.tunnels_opened),
        }
    }

    fn requests(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn requests(page: &mut Page, routes: &[RouteSums]) {
    let name = "doorward_requests_total";
    page.family(name, "counter", "Requests that are over, by route and class of the status.");
    for route in routes {
        for (class, &count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(&route.classes) {
            if count > 0 {
                page.sample(name, &[("route", &route.name), ("class", class)], count);
            }
        }
    }
    page.family("doorward_request_seconds", "histogram", "Time from the head of a request to the end of its answer.");
    for route in routes.iter().filter(|route| route.requests() > 0) {
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().map(|&micros| seconds(micros)).zip(&route.buckets) {
            below += count;
            page.sample("doorward_request_seconds_bucket", &[("route", &route.name), ("le", &bound)], below);
        }
        let all = route.requests();
        page.sample("doorward_request_seconds_bucket", &[("route", &route.name), ("le", "+Inf")], all);
        page.sample("doorward_request_seconds_sum", &[("route", &route.name)], seconds(route.micros));
        page.sample("doorward_request_seconds_count", &[("route", &route.name)], all);
    }
    let name = "doorward_bytes_total";
    page.family(name, "counter", "Bytes of bodies, from clients (in) and to clients (out).");
    for route in routes.iter().filter(|route| route.requests() > 0) {
        page.sample(name, &[("route", &route.name), ("direction", "in")], route.bytes_in);
        page.sample(name, &[("route", &route.name), ("direction", "out")], route.bytes_out);
    }
}

/// What was more than clients may ask.
fn limited(page: &mut Page, routes: &[RouteSums]) {
    let name = "doorward_limited_total";
    page.family(name, "counter", "Requests beyond the limit or in_flight of their route.");
    for route in routes.iter().filter(|route| route.limited > 0) {
        page.sample(name, &[("route", &route.name)], route.limited);
    }
}

fn connections(page: &mut Page, metrics: &Metrics, routes: &[RouteSums]) {
    let cores = &metrics.cores;
    let total = |pick: fn(&super::CoreMetrics) -> u64| cores.iter().map(pick).sum::<u64>();
    let open = total(|core| core.open_connections());
    page.single("doorward_connections", "gauge", "Open connections of clients.", open);
    let help = "Connections of clients that were accepted.";
    page.single("doorward_connections_accepted_total", "counter", help, total(|core| core.opened.read()));
    let help = "Connections closed before a byte was read, because of a door's peers.";
    page.single("doorward_refused_peers_total", "counter", help, total(|core| core.refused_peers.read()));
    let help = "Connections that could not be accepted; descriptors may be used up.";
    page.single("doorward_accept_errors_total", "counter", help, total(|core| core.accept_errors.read()));

    let name = "doorward_websockets";
    page.family(name, "gauge", "Open WebSockets and other upgraded connections.");
    for route in routes.iter().filter(|route| route.tunnels_opened > 0) {
        page.sample(name, &[("route", &route.name)], route.tunnels_opened.saturating_sub(route.tunnels_closed));
    }
    let name = "doorward_tls_handshakes_failed_total";
    page.family(name, "counter", "Connections that failed before the first request: TLS handshakes, PROXY headers.");
    for cause in HandshakeFailure::ALL {
        let count: u64 = cores.iter().map(|core| core.handshakes_failed[cause as usize].read()).sum();
        page.sample(name, &[("cause", cause.cause())], count);
    }
    let name = "doorward_refusals_total";
    page.family(name, "counter", "Requests that Doorward answered itself, by cause.");
    for cause in Refusal::ALL {
        let count: u64 = cores.iter().map(|core| core.refusals[cause as usize].read()).sum();
        if count > 0 {
            page.sample(name, &[("cause", cause.cause())], count);
        }
    }
    let name = "doorward_connections_refused_total";
    page.family(name, "counter", "Connections closed before a byte was read, by the key of [limits].");
    for cause in NoRoom::ALL {
        page.sample(name, &[("cause", cause.cause())], total_of(cores, |core| core.no_room[cause as usize].read()));
    }
    let name = "doorward_connections_ended_total";
    page.family(name, "counter", "Open connections that Doorward ended, by cause.");
    for cause in Ended::ALL {
        page.sample(name, &[("cause", cause.cause())], total_of(cores, |core| core.ended[cause as usize].read()));
    }
    let help = "Faults of Doorward itself that were contained.";
    page.single("doorward_panics_total", "counter", help, total(|core| core.panics.read()));
}

fn total_of(cores: &[super::CoreMetrics], pick: impl Fn(&super::CoreMetrics) -> u64) -> u64 {
    cores.iter().map(pick).sum()
}

fn upstreams(page: &mut Page, metrics: &Metrics) {
    let upstreams = metrics.upstreams();
    let name = "doorward_upstream_errors_total";
    page.family(name, "counter", "Exchanges with an upstream that failed, by cause.");
    for upstream in &upstreams {
        for cause in Refusal::ALL {
            let count = upstream.failures[cause as usize].load(Ordering::Relaxed);
            if count > 0 {
                page.sample(name, &[("upstream", upstream.name()), ("cause", cause.cause())], count);
            }
        }
    }
    let used = || upstreams.iter().filter(|upstream| upstream.opened.load(Ordering::Relaxed) > 0);
    let name = "doorward_upstream_connections";
    page.family(name, "gauge", "Open connections to an upstream, idle ones too.");
    for upstream in used() {
        page.sample(name, &[("upstream", upstream.name())], upstream.open_connections());
    }
    let name = "doorward_upstream_connections_opened_total";
    page.family(name, "counter", "Connections made to an upstream.");
    for upstream in used() {
        page.sample(name, &[("upstream", upstream.name())], upstream.opened.load(Ordering::Relaxed));
    }
    let name = "doorward_held_requests";
    page.family(name, "gauge", "Requests that wait for an upstream to come back.");
    for upstream in upstreams.iter().filter(|upstream| upstream.held() > 0) {
        page.sample(name, &[("upstream", upstream.name())], upstream.held());
    }
}

fn members(page: &mut Page, metrics: &Metrics) {
    let members = metrics.members();
    let known: Vec<_> = members.iter().filter(|member| member.requests() > 0 || !member.is_up()).collect();
    let name = "doorward_upstream_address_up";
    page.family(name, "gauge", "Whether connections to an address of an upstream can be made.");
    for member in &known {
        page.sample(name, &[("upstream", member.upstream()), ("address", member.address())], u8::from(member.is_up()));
    }
    let name = "doorward_upstream_address_requests_total";
    page.family(name, "counter", "Requests that went to an address of an upstream.");
    for member in &known {
        page.sample(name, &[("upstream", member.upstream()), ("address", member.address())], member.requests());
    }
}

fn state(page: &mut Page, metrics: &Metrics) {
    let name = "doorward_reloads_total";
    page.family(name, "counter", "Readings of the file that changed something, or were refused.");
    page.sample(name, &[("result", "accepted")], metrics.reloads_accepted.load(Ordering::Relaxed));
    page.sample(name, &[("result", "refused")], metrics.reloads_refused.load(Ordering::Relaxed));
    let generation = metrics.generation.load(Ordering::Relaxed);
    page.single("doorward_generation", "gauge", "Number of the snapshot in force.", generation);
    let name = "doorward_certificate_not_after_seconds";
    page.family(name, "gauge", "When a certificate ends, in seconds since 1970.");
    for certificate in metrics.certificates() {
        page.sample(name, &[("name", &certificate.name)], certificate.not_after_unix);
    }
    if let Some(losses) = metrics.access_log() {
        let help = "Access records that were not written.";
        page.single("doorward_access_log_dropped_total", "counter", help, losses.dropped());
        let help = "Writes of the access log that failed.";
        page.single("doorward_access_log_write_errors_total", "counter", help, losses.write_errors());
    }
    let name = "doorward_build_info";
    page.family(name, "gauge", "Always 1; the labels say which program this is.");
    page.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// Nothing where no engine is followed.
fn containers(page: &mut Page, metrics: &Metrics) {
    let Some(counts) = metrics.containers() else { return };
    let help = "Whether the engine that has the containers can be asked.";
    page.single("doorward_docker_connected", "gauge", help, u64::from(counts.is_connected));
    let name = "doorward_containers";
    page.family(name, "gauge", "Containers, by what became of them.");
    for (verdict, count) in &counts.by_verdict {
        page.sample(name, &[("verdict", verdict)], count);
    }
}

fn certificates(page: &mut Page, metrics: &Metrics) {
    let works = metrics.works();
    let moments = [
        ("doorward_certificate_last_attempt_seconds", "When a certificate was last ordered, in seconds since 1970."),
        ("doorward_certificate_last_success_seconds", "When a certificate was last issued, in seconds since 1970."),
        ("doorward_certificate_next_renewal_seconds", "When a certificate is to be renewed, in seconds since 1970."),
    ];
    for (at, (name, help)) in moments.into_iter().enumerate() {
        page.family(name, "gauge", help);
        for work in &works {
            let moment = work.moments()[at];
            if moment > 0 {
                page.sample(name, &[("name", work.name())], moment);
            }
        }
    }
    let name = "doorward_certificate_failures_total";
    page.family(name, "counter", "Steps of orders and exports that failed.");
    for work in &works {
        for (step, count) in work.failures() {
            page.sample(name, &[("name", work.name()), ("step", step)], count);
        }
    }
    let name = "doorward_certificate_exports_pending";
    page.family(name, "gauge", "Exports that are not done, by the step that they wait at.");
    for work in &works {
        for (step, count) in work.pending() {
            page.sample(name, &[("name", work.name()), ("step", step)], count);
        }
    }
    let name = "doorward_certificate_served";
    page.family(name, "gauge", "Whether our own doors serve the stored certificate.");
    for work in &works {
        if let Some(served) = work.served() {
            page.sample(name, &[("name", work.name())], served);
        }
    }
}

fn process(page: &mut Page, metrics: &Metrics) {
    let figures = ProcessFigures::read();
    let started = metrics.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    page.single("process_start_time_seconds", "gauge", "When this process started, in seconds since 1970.", started);
    let help = "Processor time, user and system.";
    page.single("process_cpu_seconds_total", "counter", help, figures.cpu_seconds);
    if let Some(bytes) = figures.resident_bytes {
        page.single("process_resident_memory_bytes", "gauge", "Memory that is in use.", bytes);
    }
    if let Some(count) = figures.open_fds {
        page.single("process_open_fds", "gauge", "File descriptors in use.", count);
    }
    if let Some(count) = figures.max_fds {
        page.single("process_max_fds", "gauge", "File descriptors that may be used.", count);
    }
}

/// Microseconds as seconds, exact and without trailing zeros: `0.005`, `1`, `2.5`.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
