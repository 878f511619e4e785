//! `compare instructions`: how many instructions one request costs, from callgrind. Time depends on the neighbours, this
//! does not: a guard against slow drift. The same load is made twice, once longer, so that starting up does not count.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;

use crate::measure::{self, Bench};
use crate::peers::{Peer, Serving, Shape};
use crate::process::find;
use crate::{Arguments, Failure, tools};

/// Requests of the shorter and of the longer run.
const REQUESTS: [u32; 2] = [500, 2500];

/// What was counted before, and what may come on top.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    /// A figure above `recorded * bound` is a fault, one below `recorded / bound` wants to be written down.
    bound: f64,
    /// Instructions a request, by row.
    instructions: std::collections::BTreeMap<String, f64>,
}

/// A kind of request: its word, whether over TLS, whether HTTP/2.
const KINDS: [(&str, bool, bool); 3] = [("h1-clear", false, false), ("h1-tls", true, false), ("h2-tls", true, true)];

/// Counts, prints and, where asked for, judges.
pub fn run(arguments: &Arguments, is_judged: bool) -> Result<(), Failure> {
    let recorded: Recorded = toml::from_str(include_str!("instructions.toml"))?;
    let Some(valgrind) = find("valgrind").filter(|_| find("h2load").is_some() && find("taskset").is_some()) else {
        return Err(
            "Debian packages are missing; to install them: apt-get install valgrind nghttp2-client util-linux".into()
        );
    };
    let bench = measure::open(arguments.proxy_core, arguments.load_core, arguments.seconds)?;
    let result = count_all(&bench, &valgrind, &arguments.doorward, &recorded);
    drop(fs::remove_dir_all(&bench.ground.dir));
    let over = result?;
    if is_judged && !over.is_empty() {
        return Err(format!(
            "{over}a request costs more than it did. If that is what was wanted, write the new figures into \
             benches/compare/instructions.toml and say why"
        )
        .into());
    }
    Ok(())
}

/// Lines about what is over its bound.
fn count_all(bench: &Bench, valgrind: &Path, doorward: &Path, recorded: &Recorded) -> Result<String, Failure> {
    let mut over = String::new();
    println!("| request of 1 KiB | instructions | recorded | ratio |\n|---|---:|---:|---:|");
    for kind in KINDS {
        let [less, more] = [
            run_once(bench, valgrind, doorward, kind, REQUESTS[0])?,
            run_once(bench, valgrind, doorward, kind, REQUESTS[1])?,
        ];
        let each = (more - less) / f64::from(REQUESTS[1] - REQUESTS[0]);
        let before =
            *recorded.instructions.get(kind.0).ok_or_else(|| format!("no figure is recorded for {}", kind.0))?;
        println!("| {} | {each:.0} | {before:.0} | {:.3} |", kind.0, each / before);
        if each > before * recorded.bound {
            let _ = writeln!(
                over,
                "{}: {each:.0} instructions a request, recorded are {before:.0}, the bound is {} times that",
                kind.0, recorded.bound
            );
        }
        if each * recorded.bound < before {
            println!("{}: cheaper than recorded; write it into benches/compare/instructions.toml", kind.0);
        }
    }
    Ok(over)
}

/// Instructions of the whole life of a gateway that answers so many requests on one connection.
fn run_once(
    bench: &Bench,
    valgrind: &Path,
    doorward: &Path,
    (_, tls, http2): (&str, bool, bool),
    requests: u32,
) -> Result<f64, Failure> {
    let under =
        [&*valgrind.display().to_string(), "--tool=callgrind", "--callgrind-out-file=/dev/null"].map(str::to_owned);
    let shape = Shape { under: under.to_vec(), ..Shape::single(bench.ground.core) };
    let mut serving = Serving::start(Peer::Doorward, doorward, &bench.ground, &shape)?;
    let address = if tls { serving.tls } else { serving.clear };
    let mut load = tools::h2load_some(bench.load_core, address, tls, http2, requests)?;
    tools::finish_h2load(load.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)?;
    serving.process.end();
    let said = fs::read_to_string(serving.config.with_file_name("doorward.stderr"))?;
    let collected = said.lines().rev().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    collected.ok_or_else(|| format!("callgrind has not said what it counted: {said}").into())
}
