use std::collections::HashMap;
use std::thread;

use crate::model::AccessFormat;

use super::super::access_log::Sink;
use super::*;

/// The page as a scraper reads it; panics on a line that is none.
fn scrape(metrics: &Metrics) -> HashMap<String, f64> {
    let page = metrics.render();
    assert!(page.ends_with('\n'));
    let mut family = String::new();
    let mut families = Vec::new();
    let mut samples = HashMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty());
            name.clone_into(&mut family);
            assert!(!families.contains(&family), "{family} comes twice");
            families.push(family.clone());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["counter", "gauge", "histogram"].contains(&kind));
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(name == family || base == family, "{name} stands under {family}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            let known = samples.insert(series.to_owned(), value.parse::<f64>().unwrap());
            assert!(known.is_none(), "{series} comes twice");
        }
    }
    samples
}

#[test]
fn the_numbers_of_refusals_and_failures_are_their_places_in_the_tables() {
    for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(refusal as usize, place);
    }
    for (place, failure) in HandshakeFailure::ALL.into_iter().enumerate() {
        assert_eq!(failure as usize, place);
    }
}

#[test]
fn a_fresh_process_shows_reloads_at_zero_and_no_routes() {
    let metrics = Metrics::new(2);
    let _unused = metrics.route("shop");
    let samples = scrape(&metrics);
    assert_eq!(samples[r#"doorward_reloads_total{result="accepted"}"#], 0.0);
    assert_eq!(samples[r#"doorward_reloads_total{result="refused"}"#], 0.0);
    assert_eq!(samples["doorward_generation"], 0.0);
    assert_eq!(samples["doorward_connections"], 0.0);
    assert!(samples.keys().any(|series| series.starts_with("doorward_build_info{version=")));
    assert!(samples["process_open_fds"] > 2.0);
    assert!(samples["process_resident_memory_bytes"] > 100_000.0);
    assert!(samples["process_start_time_seconds"] > 1_700_000_000.0);
    assert!(samples.contains_key("process_cpu_seconds_total"));
    assert!(!samples.keys().any(|series| series.contains("shop")));
}

#[test]
fn requests_of_all_cores_are_added_up() {
    let metrics = Metrics::new(3);
    let shop = metrics.route("shop");
    thread::scope(|scope| {
        for core in 0..3 {
            let shop = &shop;
            scope.spawn(move || {
                for _ in 0..1_000 {
                    shop.record(core, 200, Duration::from_millis(5), 3, 10);
                }
                shop.record(core, 404, Duration::from_micros(5_001), 0, 1);
                shop.record(core, 101, Duration::from_secs(3_600), 0, 0);
            });
        }
    });
    metrics.route(NO_ROUTE).record(0, 999, Duration::ZERO, 0, 0);
    let samples = scrape(&metrics);
    let requests = |route: &str, class: &str| {
        samples.get(&format!(r#"doorward_requests_total{{route="{route}",class="{class}"}}"#)).copied()
    };
    assert_eq!(requests("shop", "2xx"), Some(3_000.0));
    assert_eq!(requests("shop", "4xx"), Some(3.0));
    assert_eq!(requests("shop", "1xx"), Some(3.0));
    assert_eq!(requests("shop", "5xx"), None);
    assert_eq!(requests("(none)", "5xx"), Some(1.0));
    let below = |le: &str| samples[&format!(r#"doorward_request_seconds_bucket{{route="shop",le="{le}"}}"#)];
    for (le, count) in [
        ("0.005", 3_000.0),
        ("0.01", 3_003.0),
        ("0.025", 3_003.0),
        ("0.05", 3_003.0),
        ("0.1", 3_003.0),
        ("0.25", 3_003.0),
        ("0.5", 3_003.0),
        ("1", 3_003.0),
        ("2.5", 3_003.0),
        ("5", 3_003.0),
        ("10", 3_003.0),
        ("30", 3_003.0),
        ("+Inf", 3_006.0),
    ] {
        assert_eq!(below(le), count, "{le}");
    }
    assert_eq!(samples[r#"doorward_request_seconds_count{route="shop"}"#], 3_006.0);
    let sum = samples[r#"doorward_request_seconds_sum{route="shop"}"#];
    assert!((sum - (15.0 + 0.015_003 + 10_800.0)).abs() < 1e-6, "{sum}");
    assert_eq!(samples[r#"doorward_bytes_total{route="shop",direction="in"}"#], 9_000.0);
    assert_eq!(samples[r#"doorward_bytes_total{route="shop",direction="out"}"#], 30_003.0);
}

#[test]
fn counters_of_a_name_survive_a_reload() {
    let metrics = Metrics::new(1);
    // As the snapshot does that is in force.
    let _held = (metrics.route("shop"), metrics.upstream("home"));
    metrics.route("shop").record(0, 200, Duration::ZERO, 0, 0);
    metrics.upstream("home").failed(Refusal::UpstreamRefused);
    assert!(Arc::ptr_eq(&metrics.route("shop"), &metrics.route("shop")));
    assert!(Arc::ptr_eq(&metrics.upstream("home"), &metrics.upstream("home")));
    metrics.reload_accepted(7);
    metrics.reload_accepted(8);
    metrics.reload_refused();
    metrics.route("shop").record(0, 200, Duration::ZERO, 0, 0);
    let samples = scrape(&metrics);
    assert_eq!(samples[r#"doorward_requests_total{route="shop",class="2xx"}"#], 2.0);
    assert_eq!(samples[r#"doorward_upstream_errors_total{upstream="home",cause="upstream-refused"}"#], 1.0);
    assert_eq!(samples["doorward_generation"], 8.0);
    assert_eq!(samples[r#"doorward_reloads_total{result="accepted"}"#], 2.0);
    assert_eq!(samples[r#"doorward_reloads_total{result="refused"}"#], 1.0);
}

#[test]
fn gauges_go_up_and_down() {
    let metrics = Metrics::new(2);
    let (shop, home) = (metrics.route("shop"), metrics.upstream("home"));
    for core in 0..2 {
        metrics.core(core).connection_opened();
        metrics.core(core).connection_opened();
        shop.tunnel_opened(core);
        home.connection_opened();
        home.hold_began();
    }
    metrics.core(1).connection_closed();
    shop.tunnel_closed(0);
    home.connection_closed();
    home.hold_ended();
    let samples = scrape(&metrics);
    assert_eq!(samples["doorward_connections"], 3.0);
    assert_eq!(samples["doorward_connections_accepted_total"], 4.0);
    assert_eq!(samples[r#"doorward_websockets{route="shop"}"#], 1.0);
    assert_eq!(samples[r#"doorward_upstream_connections{upstream="home"}"#], 1.0);
    assert_eq!(samples[r#"doorward_upstream_connections_opened_total{upstream="home"}"#], 2.0);
    assert_eq!(samples[r#"doorward_held_requests{upstream="home"}"#], 1.0);
    shop.tunnel_closed(1);
    assert_eq!(scrape(&metrics)[r#"doorward_websockets{route="shop"}"#], 0.0);
}

#[test]
fn what_went_wrong_is_counted_by_cause() {
    let metrics = Metrics::new(2);
    for core in 0..2 {
        let core = metrics.core(core);
        core.refused(Refusal::AccessDenied);
        core.handshake_failed(HandshakeFailure::NotTls);
        core.panicked();
        core.accept_failed();
        core.peer_refused();
    }
    let samples = scrape(&metrics);
    for series in [
        r#"doorward_refusals_total{cause="access-denied"}"#,
        r#"doorward_tls_handshakes_failed_total{cause="not-tls"}"#,
        "doorward_panics_total",
        "doorward_accept_errors_total",
        "doorward_refused_peers_total",
    ] {
        assert_eq!(samples[series], 2.0, "{series}");
    }
}

#[test]
fn certificates_are_replaced_and_hostile_labels_escaped() {
    let metrics = Metrics::new(1);
    let certificate = |name: &str| CertificateMetric { name: name.to_owned(), not_after_unix: 1_800_000_000 };
    metrics.set_certificates(vec![certificate("old")]);
    metrics.set_certificates(vec![certificate("a\"b\\c\nd")]);
    let samples = scrape(&metrics);
    assert_eq!(samples[r#"doorward_certificate_not_after_seconds{name="a\"b\\c\nd"}"#], 1_800_000_000.0);
    assert!(!samples.keys().any(|series| series.contains("old")));
}

#[test]
fn losses_of_the_access_log_are_shown() {
    let metrics = Metrics::new(1);
    let log = AccessLog::start(AccessFormat::Off, Sink::Writer(Box::new(std::io::sink()))).unwrap();
    assert!(!scrape(&metrics).contains_key("doorward_access_log_dropped_total"));
    metrics.watch_access_log(&log);
    assert_eq!(scrape(&metrics)["doorward_access_log_dropped_total"], 0.0);
    log.close();
}

#[test]
fn names_that_nobody_holds_any_more_leave_nothing_behind() {
    let metrics = Metrics::new(2);
    let stays = metrics.route("shop");
    stays.record(0, 200, Duration::ZERO, 0, 0);
    let home = metrics.upstream("home");
    home.connection_opened();
    for n in 0..1000 {
        let gone = metrics.route(&format!("gone{n}"));
        gone.record(0, 200, Duration::ZERO, 0, 0);
        metrics.upstream(&format!("gone{n}")).connection_opened();
        metrics.set_generation(n);
        assert!(metrics.render().contains(&format!("gone{n}")), "what is in use stays");
        drop(gone);
        metrics.set_generation(n);
    }
    let text = metrics.render();
    assert!(text.contains("shop") && text.contains("home") && !text.contains("gone"), "{text}");
    assert_eq!((metrics.routes().len(), metrics.upstreams().len()), (1, 1));
}
