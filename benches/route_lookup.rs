//! `cargo bench --bench route_lookup`: what one decision costs with 10 to 100,000 routes, the names asked for in random
//! order so that caches help no more than in life; and what reading and compiling such a file costs.

mod edge;

use std::hint::black_box;

use doorward::snapshot::{Snapshot, Verdict};
use rand::seq::SliceRandom;

use edge::{Edge, Failure, ask, thread_time};

/// Decisions of one round.
const DECISIONS: usize = 1_000_000;

/// Rounds; the fastest counts, because whatever slows one down is not the code.
const ROUNDS: usize = 5;

fn main() -> Result<(), Failure> {
    if !edge::is_wanted() {
        return Ok(());
    }
    println!(
        "| routes | known name ns | path rule ns | wildcard ns | unknown name ns | read and check ms | compile ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for count in [10, 100, 1_000, 10_000, 100_000] {
        let edge = Edge::with_routes(count)?;
        let snapshot = edge.compile(None);
        let began = thread_time();
        let again = edge.compile(Some(&snapshot));
        let compiling = thread_time() - began;
        drop(again);
        let plain: Vec<usize> = (0..count).filter(|number| number % 10 != 9).collect();
        let ruled: Vec<usize> = (0..count).filter(|number| number % 10 == 9).collect();
        let known = time(&snapshot, &names(&plain, "bench.test"), "/library/items", true);
        let rule = time(&snapshot, &names(&ruled, "bench.test"), "/.well-known/carddav", true);
        let wildcard = time(&snapshot, &names(&plain, "apps.bench.test"), "/", true);
        let unknown = time(&snapshot, &names(&plain, "other.test"), "/", false);
        println!(
            "| {count} | {known:.0} | {rule:.0} | {wildcard:.0} | {unknown:.0} | {:.2} | {:.2} |",
            edge.loading.as_secs_f64() * 1e3,
            compiling.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn names(numbers: &[usize], domain: &str) -> Vec<String> {
    let mut names: Vec<String> = numbers.iter().map(|number| format!("service{number}.{domain}")).collect();
    names.shuffle(&mut rand::rng());
    names
}

/// Nanoseconds of one decision.
fn time(snapshot: &Snapshot, names: &[String], path: &str, is_known: bool) -> f64 {
    let Some(listener) = snapshot.listeners.first() else { return f64::NAN };
    let answers = names.iter().take(10).all(|name| {
        let refused = matches!(ask(snapshot, listener, name, path).verdict, Verdict::Refuse(_));
        refused != is_known
    });
    assert!(answers, "the table answers wrongly");
    let round = || {
        let began = thread_time();
        for name in names.iter().cycle().take(DECISIONS) {
            black_box(ask(snapshot, listener, black_box(name), black_box(path)));
        }
        (thread_time() - began).as_secs_f64() * 1e9 / DECISIONS as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}
