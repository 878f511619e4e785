//! `cargo bench --bench lookup_during_reload`: one core decides requests without a pause while another compiles and
//! publishes a file of 10,000 routes again and again. Shows what a reload costs the writer, and whether a reader ever
//! waits: first without reloads, then with them.

mod edge;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use doorward::snapshot::SnapshotCell;

use edge::{Edge, Failure, ask, thread_time};

/// Routes of the file.
const ROUTES: usize = 10_000;

/// How long each half lasts.
const LASTS: Duration = Duration::from_secs(4);

fn main() -> Result<(), Failure> {
    if !edge::is_wanted() {
        return Ok(());
    }
    let edge = Edge::with_routes(ROUTES)?;
    let (cell, publisher) = SnapshotCell::new(edge.compile(None));
    println!("{ROUTES} routes; read and checked in {:.2?} of one core\n", edge.loading);
    println!("| | decisions | p50 ns | p99 ns | p99.9 ns | longest µs |");
    println!("|---|---:|---:|---:|---:|---:|");
    show("without reloads", read(&cell, &AtomicBool::new(false)));
    let is_over = AtomicBool::new(false);
    let (latencies, mut reloads) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut took = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let began = thread_time();
                let current = publisher.current();
                publisher.publish(edge.compile(Some(&current)));
                drop(current);
                took.push(thread_time() - began);
                thread::sleep(Duration::from_millis(20));
            }
            took
        });
        let latencies = read(&cell, &is_over);
        (latencies, writer.join().unwrap_or_default())
    });
    show("with reloads", latencies);
    reloads.sort_unstable();
    let middle = reloads.get(reloads.len() / 2).copied().unwrap_or_default();
    println!(
        "\n{} reloads; from the checked file to published and the old one freed: {middle:.2?} of one core (median)",
        reloads.len()
    );
    Ok(())
}

/// Decides without a pause, as a data core does: the snapshot is loaded for each request. Returns sorted latencies.
fn read(cell: &SnapshotCell, is_over: &AtomicBool) -> Vec<Duration> {
    let names: Vec<String> = (0..1000).map(|number| format!("service{}.bench.test", number * 7)).collect();
    let mut latencies = Vec::with_capacity(20_000_000);
    let until = Instant::now() + LASTS;
    for name in names.iter().cycle() {
        let began = Instant::now();
        if began >= until || latencies.len() == latencies.capacity() {
            break;
        }
        let snapshot = cell.load();
        if let Some(listener) = snapshot.listeners.first() {
            std::hint::black_box(ask(&snapshot, listener, name, "/library/items"));
        }
        drop(snapshot);
        latencies.push(began.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    latencies.sort_unstable();
    latencies
}

fn show(what: &str, latencies: Vec<Duration>) {
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "| {what} | {} | {} | {} | {} | {:.1} |",
        latencies.len(),
        at(0.5).as_nanos(),
        at(0.99).as_nanos(),
        at(0.999).as_nanos(),
        latencies.last().copied().unwrap_or_default().as_secs_f64() * 1e6
    );
}
