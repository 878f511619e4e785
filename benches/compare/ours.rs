//! Questions to ourselves alone: what clients feel of a reload, and whether two heavy connections use two cores. The figure
//! is a ratio between two things measured in the same sample, so it needs no peer.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, gettid, sched_setaffinity};

use crate::measure::{Bench, Origin, Sample};
use crate::peers::{Ground, Serving};
use crate::process::{find, pinned};
use crate::report::middle;
use crate::rows::Count;
use crate::{Failure, tools};

/// Lines for a file of so many routes; `change` makes one of them another.
pub fn routes(count: usize, change: usize) -> String {
    let mut text =
        format!("\n[routes.\"changing.bench.test\"]\nto = \"http://127.0.0.1:{}\"\n", 1024 + change % 60_000);
    for number in 1..count {
        let _ = writeln!(text, "[routes.\"service{number}.bench.test\"]\nto = \"http://127.0.0.1:1\"");
    }
    text
}

/// Times that the loads take turns: a pause of the machine is in one of them.
const TURNS: usize = 7;

/// What goes on beside a load, once in each second.
#[derive(Clone, Copy)]
enum Beside {
    /// One route of the file is changed, and the command that asks for a reload waits for the answer.
    Reload,
    /// Another program reads and checks the same file, and the gateway has nothing to do with it: what a neighbour on the
    /// load's core costs by itself.
    Check,
}

/// The 99th percentile of the time in the gateway with reloads by the one without. The data core has a core of its own; the control plane takes what
/// the load leaves of the other, as it would take a free one where there are more than two.
pub fn reloads(
    bench: &mut Bench,
    connections: usize,
    rate: f64,
    count: usize,
    serving: &Serving,
) -> Result<Sample, Failure> {
    place_threads(bench, serving)?;
    let order = bench.paced(connections, rate, serving);
    let Bench { ground, load_core, origin, .. } = bench;
    let load = |origin: &mut Origin| -> Result<Vec<f64>, Failure> {
        let outcome = origin.load(&order)?;
        Ok(outcome.in_proxy.ok_or("no request of the window was answered")?.p99_of_seconds)
    };
    let with = |beside: Beside, origin: &mut Origin| -> Result<(Vec<f64>, Vec<f64>), Failure> {
        let is_over = AtomicBool::new(false);
        let (outcome, took) = thread::scope(|scope| {
            let aside = scope.spawn(|| each_second(beside, ground, *load_core, count, serving, &is_over));
            let outcome = load(origin);
            is_over.store(true, Ordering::Relaxed);
            (outcome, aside.join().unwrap_or_else(|_| Err("what was to go on beside the load has panicked".into())))
        });
        Ok((outcome?, took?))
    };
    let [mut alone, mut reloading, mut checking, mut took, mut took_to_check] = [const { Vec::new() }; 5];
    for _ in 0..TURNS {
        alone.extend(load(origin)?);
        let (p99, times) = with(Beside::Reload, origin)?;
        reloading.extend(p99);
        took.extend(times);
        let (p99, times) = with(Beside::Check, origin)?;
        checking.extend(p99);
        took_to_check.extend(times);
    }
    let (reloads, seconds) = (took.len(), reloading.len());
    let [alone, reloading, checking, took, took_to_check] =
        [alone, reloading, checking, took, took_to_check].map(|values| middle(values).unwrap_or(f64::NAN));
    Ok(Sample {
        value: reloading / alone,
        user: None,
        system: None,
        rate: None,
        busy: None,
        note: Some(format!(
            "p99 {alone:.0} µs without, {reloading:.0} µs with {reloads} reloads of {took:.0} ms each, {checking:.0} µs with \
             another program that checks the file in {took_to_check:.0} ms instead; medians of {seconds} seconds each"
        )),
    })
}

/// CPU time of the busier of two workers by that of the other, while each could have one of two downloads.
pub fn two_cores(bench: &mut Bench, serving: &Serving) -> Result<Sample, Failure> {
    let lasts = bench.seconds + 2;
    let both = format!("{},{}", bench.ground.core, bench.load_core);
    let load = tools::wrk(&both, &bench.ground.dir, serving.tls, true, "/10m", 2, lasts)?;
    let load = load_on(load)?;
    thread::sleep(Duration::from_secs(1));
    let workers = || -> Vec<f64> {
        let threads = serving.process.threads().into_iter();
        threads.filter(|(_, name, _)| name.starts_with("core-")).map(|(_, _, cpu)| cpu.total()).collect()
    };
    let (began, before, bytes) = (Instant::now(), workers(), bench.counted(Count::BytesOut)?);
    thread::sleep(Duration::from_secs(bench.seconds));
    let (took, after) = (began.elapsed().as_secs_f64(), workers());
    let bytes = bench.counted(Count::BytesOut)? - bytes;
    tools::finish_wrk(load)?;
    let used: Vec<f64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    let [one, other] = used[..] else { return Err(format!("{} workers instead of two", used.len()).into()) };
    Ok(Sample {
        value: one.max(other) / one.min(other),
        user: None,
        system: None,
        rate: None,
        busy: Some((one + other) / 1e6 / took),
        note: Some(format!(
            "workers busy {:.0} % and {:.0} %, {:.1} Gbit/s",
            one / took / 1e4,
            other / took / 1e4,
            bytes * 8e-9 / took
        )),
    })
}

fn load_on(mut command: Command) -> Result<std::process::Child, Failure> {
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// The thread that serves stays on the proxy's core; all others go to the load's, and step back for it. Looked at until none is new:
/// one that another began meanwhile has that one's place, and not yet its priority.
fn place_threads(bench: &Bench, serving: &Serving) -> Result<(), Failure> {
    let mut placed = HashSet::new();
    loop {
        let new: Vec<_> = serving.process.threads().into_iter().filter(|(id, ..)| placed.insert(*id)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for (id, name, _) in new {
            let is_data = name.starts_with("core-");
            let core = if is_data { bench.ground.core } else { bench.load_core };
            let mut outcome = call("taskset", &["-cp", &core.to_string(), &id.to_string()]);
            if !is_data {
                outcome = outcome.and_then(|()| call("chrt", &["--idle", "-p", "0", &id.to_string()]));
            }
            // One that has ended meanwhile needs no place.
            let is_there = serving.process.threads().iter().any(|(there, ..)| *there == id);
            outcome.or_else(|failure| if is_there { Err(failure) } else { Ok(()) })?;
        }
    }
}

fn call(program: &str, words: &[&str]) -> Result<(), Failure> {
    let file = find(program).ok_or_else(|| format!("{program} is not installed"))?;
    let output = Command::new(file).args(words).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// Does it until the load is over; milliseconds that each took. All that this needs stays away from the core that serves, and
/// steps back for the load.
fn each_second(
    beside: Beside,
    ground: &Ground,
    load_core: usize,
    count: usize,
    serving: &Serving,
    is_over: &AtomicBool,
) -> Result<Vec<f64>, Failure> {
    let mut here = CpuSet::new();
    here.set(load_core);
    sched_setaffinity(None, &here)?;
    call("chrt", &["--idle", "-p", "0", &gettid().to_string()])?;
    let text = fs::read_to_string(&serving.config)?;
    let head = text.split("\n[routes.\"changing").next().unwrap_or_default();
    let state = serving.config.with_file_name("doorward-state").display().to_string();
    let (file, words) = match beside {
        Beside::Reload => (serving.config.clone(), ["reload", "--state", &state].map(str::to_owned).to_vec()),
        Beside::Check => {
            // Not beside the file that is served: the folder is watched.
            let dir = ground.dir.join("checked");
            fs::create_dir_all(&dir)?;
            let file = dir.join("doorward.toml");
            let words = vec!["check".to_owned(), file.display().to_string()];
            (file, words)
        }
    };
    let mut took = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let next = Instant::now() + Duration::from_secs(1);
        let whole = file.with_extension("new");
        fs::write(&whole, format!("{head}{}", routes(count, took.len() + 1)))?;
        fs::rename(&whole, &file)?;
        let began = Instant::now();
        let output = pinned(load_core, &serving.program, &words).output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        took.push(began.elapsed().as_secs_f64() * 1e3);
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(took)
}
