//! `cargo bench --bench compare`: Doorward beside nginx and HAProxy (and Caddy where it is installed) at the same work,
//! on one core, turn by turn. Prints a table and writes `benches/results/compare.{md,json,svg}`. It installs nothing,
//! talks to loopback only, and ends what it started.

mod exchange;
mod instructions;
mod load;
mod measure;
mod network;
mod origin;
mod ours;
mod paced;
mod peers;
mod plot;
mod process;
mod relay;
mod report;
mod rows;
mod stamped;
mod tools;
mod uploads;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, thread};

use clap::{Parser, Subcommand};

use measure::Bench;
use peers::{PEERS, Peer, Serving, Shape};
use report::{Report, Samples};
use rows::{Measure, ROWS, Row};

/// Anything that ends a run: it is printed and nothing else.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The one name that all proxies serve.
pub const HOST: &str = "www.bench.test";

/// Compare Doorward with other proxies at the same work.
#[derive(Parser, Debug)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only this row (may be repeated); `--list` shows the words.
    #[arg(long)]
    only: Vec<String>,
    /// Only this proxy (may be repeated).
    #[arg(long)]
    peer: Vec<String>,
    /// Show the rows and stop.
    #[arg(long)]
    list: bool,
    /// Core of the proxies.
    #[arg(long, default_value_t = 0)]
    proxy_core: usize,
    /// Core of load and origin.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Another doorward than the one just built.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_doorward"))]
    doorward: PathBuf,
    /// Where the results go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results"))]
    results: PathBuf,
    /// Keep the folder with configurations and logs.
    #[arg(long)]
    keep: bool,
    /// Given by the bench to itself, in a network of its own.
    #[arg(long, hide = true)]
    apart: bool,
    /// Given by cargo; without it nothing is measured.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

/// What the bench starts itself as, on the load core.
#[derive(Subcommand, Debug)]
enum Part {
    /// The server behind the proxies.
    #[command(hide = true)]
    Origin {
        #[arg(long)]
        port: u16,
        #[arg(long)]
        log_port: u16,
    },
    /// What passes bytes on and looks at none.
    #[command(hide = true)]
    Relay(relay::Place),
    /// One of our own loads.
    #[command(hide = true)]
    Load(load::Order),
    /// Instructions of one request, counted by callgrind: the same on every machine, whatever else it does.
    Instructions {
        /// Fail if one is above its bound.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.part {
        Some(Part::Origin { port, log_port }) => origin::run(*port, *log_port),
        Some(Part::Relay(place)) => relay::run(place),
        Some(Part::Load(order)) => load::run(order.clone()),
        Some(Part::Instructions { check }) => instructions::run(&arguments, *check),
        // A test runner asks every target what it holds; nobody wants minutes of load for that.
        None if !arguments.bench && !arguments.list => Ok(()),
        None => compare(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        ROWS.iter().for_each(|row| println!("{:10} {} ({})", row.id, row.title, row.unit));
        return Ok(());
    }
    let chosen = chosen_rows(&arguments.only)?;
    require_tools()?;
    if !arguments.apart {
        network::enter("--apart")?;
    }
    if thread::available_parallelism()?.get() < 2 || arguments.proxy_core == arguments.load_core {
        return Err("two cores are needed: one for the proxies, one for load and origin".into());
    }
    raise_file_limit();
    let wanted = |peer: &Peer| arguments.peer.is_empty() || arguments.peer.iter().any(|name| name == peer.name());
    let found: Vec<(Peer, PathBuf)> =
        PEERS.into_iter().filter(wanted).filter_map(|peer| Some((peer, peer.program(&arguments.doorward)?))).collect();
    let mut bench = measure::open(arguments.proxy_core, arguments.load_core, arguments.seconds)?;
    let versions = found.iter().map(|(peer, program)| (*peer, peer.version(program))).collect();
    let result = measure_all(&mut bench, &found, &chosen, arguments.rounds);
    if arguments.keep {
        println!("configurations and logs: {}", bench.ground.dir.display());
    } else {
        drop(fs::remove_dir_all(&bench.ground.dir));
    }
    let report = Report::new(versions, chosen, result?, arguments.rounds, arguments.seconds);
    println!("\n{}", report.table());
    report.write(&arguments.results)
}

/// Row by row, round by round, proxy by proxy; whoever began a round ends the next one.
fn measure_all(
    bench: &mut Bench,
    found: &[(Peer, PathBuf)],
    chosen: &[Row],
    rounds: usize,
) -> Result<Samples, Failure> {
    let mut serving: HashMap<Peer, Serving> = HashMap::new();
    for (peer, program) in found {
        let started = Serving::start(*peer, program, &bench.ground, &Shape::single(bench.ground.core))?;
        if *peer != Peer::Relay {
            bench.check(&started).map_err(|error| format!("{} answers wrongly: {error}", peer.name()))?;
            println!("{} serves and answers rightly", peer.name());
        }
        serving.insert(*peer, started);
    }
    let mut samples = Samples::new();
    for row in chosen {
        if let (Measure::Latency { .. }, Some(nginx)) = (row.measure, serving.get_mut(&Peer::Nginx)) {
            let capacity = bench.measure_capacity(nginx)?;
            println!("nginx's capacity on this core: {capacity:.0} requests/s");
        }
        for round in 0..rounds {
            for at in 0..found.len() {
                let Some((peer, program)) = found.get((at + round) % found.len()) else { continue };
                if !row.is_for(*peer) {
                    continue;
                }
                let result = if row.measure.is_fresh() {
                    Serving::start(*peer, program, &bench.ground, &bench.shape(row))
                        .and_then(|mut fresh| bench.sample(row, &mut fresh))
                } else {
                    let Some(serving) = serving.get_mut(peer) else { continue };
                    bench.sample(row, serving)
                };
                match &result {
                    Ok(sample) => println!("{:10} {:8} {}", row.id, peer.name(), report::line(sample, row)),
                    Err(error) => println!("{:10} {:8} void: {error}", row.id, peer.name()),
                }
                let result = result.map_err(|error| error.to_string());
                samples.entry((row.id, *peer)).or_default().push(result);
            }
        }
    }
    Ok(samples)
}

fn chosen_rows(only: &[String]) -> Result<Vec<Row>, Failure> {
    if let Some(unknown) = only.iter().find(|word| ROWS.iter().all(|row| row.id != **word)) {
        return Err(format!("no row {unknown:?}; `--list` shows them").into());
    }
    Ok(ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|word| word == row.id)).copied().collect())
}

fn require_tools() -> Result<(), Failure> {
    let missing: Vec<&str> = tools::NEEDED
        .into_iter()
        .filter(|(program, _)| process::find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => {
            Err(format!("Debian packages are missing; to install them: apt-get install {}", missing.join(" ")).into())
        }
    }
}

/// A thousand connections take two thousand descriptors in a proxy; children inherit the limit.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Refused only where the hard limit is in the way, and then the row that needs it says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
