//! Takes one figure: one row, one proxy, one round. The window opens a second after the load began, so that neither
//! connecting nor the first requests count; what was done in it is what the origin counted.

use std::io::{BufRead, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::load::{Kind, Order, Outcome};
use crate::peers::{Ground, Serving, Shape, free_ports};
use crate::process::{Cpu, Process, pinned};
use crate::rows::{Clock, Count, Load, Measure, Row, SMALL_OVER_TLS};
use crate::{Failure, HOST, ours, tools};

/// One figure and what stands behind it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Sample {
    /// The figure, in the row's unit.
    pub value: f64,
    /// User mode's share of a CPU figure, in the same unit.
    pub user: Option<f64>,
    /// The kernel's share.
    pub system: Option<f64>,
    /// Units of work a second.
    pub rate: Option<f64>,
    /// How busy the proxy's core was with it, 0 to 1.
    pub busy: Option<f64>,
    /// What else there is to say.
    pub note: Option<String>,
}

/// The origin process and its counts.
pub struct Origin {
    process: Process,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Origin {
    /// Starts it on the load core.
    pub fn start(core: usize, ground: &Ground) -> Result<Origin, Failure> {
        let words = ["origin", "--port", &ground.origin.to_string(), "--log-port", &ground.log.to_string()];
        let mut child = pinned(core, &env::current_exe()?, &words.map(str::to_owned))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let ask = child.stdin.take().ok_or("the origin has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the origin has no output")?);
        let mut origin = Origin { process: Process::adopt(child), ask, answers };
        origin.counts()?;
        Ok(origin)
    }

    fn counts(&mut self) -> Result<Vec<f64>, Failure> {
        self.ask.write_all(b"\n")?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 || !self.process.is_running() {
            return Err("the origin has ended".into());
        }
        Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())
    }

    /// Has a load made by the thread that serves: two processes on one core would wait for each other, milliseconds at a time,
    /// and what reaches the proxy would come in heaps.
    pub fn load(&mut self, order: &Order) -> Result<Outcome, Failure> {
        writeln!(self.ask, "{}", serde_json::to_string(order)?)?;
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("the origin has ended".into());
        }
        let outcome: Result<Outcome, String> = serde_json::from_str(&line)?;
        without_errors(outcome?)
    }

    fn count(&mut self, count: Count) -> Result<f64, Failure> {
        self.counts()?.get(count as usize).copied().ok_or_else(|| "the origin counts something else".into())
    }
}

/// How measuring is done; the same for all rows.
pub struct Bench {
    /// What all proxies are given.
    pub ground: Ground,
    /// Core of load and origin.
    pub load_core: usize,
    /// Seconds of one window.
    pub seconds: u64,
    /// The origin.
    pub origin: Origin,
    /// nginx's requests a second on this core over HTTP/1.1 TLS, once it is known.
    pub nginx_capacity: Option<f64>,
}

impl Bench {
    /// What the origin has counted so far.
    pub fn counted(&mut self, count: Count) -> Result<f64, Failure> {
        self.origin.count(count)
    }

    /// Looks at everything that a proxy answers, once.
    pub fn check(&self, serving: &Serving) -> Result<(), Failure> {
        let child = self.own(Kind::Check, serving, &[])?.stdout(Stdio::piped()).spawn()?;
        let outcome = finish_own(child)?;
        if outcome.done == 1 { Ok(()) } else { Err("the check was not finished".into()) }
    }

    /// One figure.
    pub fn sample(&mut self, row: &Row, serving: &mut Serving) -> Result<Sample, Failure> {
        match row.measure {
            Measure::Cpu { load, count, per, scale } => self.cpu(load, count, per, scale, serving),
            Measure::Memory { connections } => self.memory(connections, serving),
            Measure::Latency { connections, share, clock } => self.latency(connections, share, clock, serving),
            Measure::Reloads { connections, rate, routes } => ours::reloads(self, connections, rate, routes, serving),
            Measure::TwoCores => ours::two_cores(self, serving),
        }
    }

    /// What a proxy gets of the machine for a row.
    pub fn shape(&self, row: &Row) -> Shape {
        let both = format!("{},{}", self.ground.core, self.load_core);
        match row.measure {
            Measure::Reloads { routes, .. } => {
                Shape { cores: both, more: ours::routes(routes, 0), ..Shape::single(self.ground.core) }
            }
            Measure::TwoCores => Shape { cores: both, workers: 2, ..Shape::single(self.ground.core) },
            _ => Shape::single(self.ground.core),
        }
    }

    /// Requests a second that nginx's core would do if it did nothing else, from CPU time.
    pub fn measure_capacity(&mut self, nginx: &mut Serving) -> Result<f64, Failure> {
        let sample = self.cpu(SMALL_OVER_TLS, Count::Requests, 1.0, 1.0, nginx)?;
        let capacity = 1e6 / sample.value;
        self.nginx_capacity = Some(capacity);
        Ok(capacity)
    }

    fn cpu(
        &mut self,
        load: Load,
        count: Count,
        per: f64,
        scale: f64,
        serving: &mut Serving,
    ) -> Result<Sample, Failure> {
        let lasts = self.seconds + 2;
        let mut child = match load {
            Load::Wrk { tls, path, connections } => {
                let address = if tls { serving.tls } else { serving.clear };
                tools::wrk(self.load_core, &self.ground.dir, address, tls, path, connections, lasts)?
            }
            Load::H2load { path, connections, streams } => {
                tools::h2load(self.load_core, serving.tls, path, connections, streams, lasts)?
            }
            Load::Own { kind, connections } => {
                let words = ["--connections", &connections.to_string(), "--seconds", &lasts.to_string()];
                self.own(kind, serving, &words)?
            }
        };
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        thread::sleep(Duration::from_secs(1));
        let (began, cpu, before) = (Instant::now(), serving.process.cpu(), self.origin.count(count)?);
        thread::sleep(Duration::from_secs(self.seconds));
        let (took, cpu) = (began.elapsed().as_secs_f64(), serving.process.cpu().since(cpu));
        let units = (self.origin.count(count)? - before) / per;
        let note = match load {
            Load::Wrk { .. } => tools::finish_wrk(child)?,
            Load::H2load { .. } => tools::finish_h2load(child)?,
            Load::Own { kind, .. } => {
                let outcome = finish_own(child)?;
                if kind == Kind::Resume && outcome.resumed * 100 < outcome.done * 95 {
                    return Err(format!("only {} of {} handshakes resumed", outcome.resumed, outcome.done).into());
                }
                None
            }
        };
        if units <= 0.0 {
            return Err("no unit of work was done in the window".into());
        }
        let Cpu { user, system } = cpu;
        let each = |us: f64| us / units / scale;
        Ok(Sample {
            value: each(cpu.total()),
            user: Some(each(user)),
            system: Some(each(system)),
            rate: Some(units / took),
            busy: Some(cpu.total() / 1e6 / took),
            note,
        })
    }

    fn memory(&mut self, connections: usize, serving: &mut Serving) -> Result<Sample, Failure> {
        // A few connections that come and go: what every proxy sets up at its first request is not counted.
        self.while_idle(20, serving, |_| ())?;
        let before = serving.process.memory_kib();
        let after = self.while_idle(connections, serving, |serving| serving.process.memory_kib())?;
        let note = Some(format!("{:.1} MiB before, {:.1} MiB with them", before / 1024.0, after / 1024.0));
        let value = (after - before) / connections as f64;
        Ok(Sample { value, user: None, system: None, rate: None, busy: None, note })
    }

    /// Opens connections that make one request each, and looks three seconds later, while they are idle.
    fn while_idle<T>(
        &self,
        connections: usize,
        serving: &Serving,
        look: impl FnOnce(&Serving) -> T,
    ) -> Result<T, Failure> {
        let words = ["--connections", &connections.to_string()];
        let mut child = self.own(Kind::Idle, serving, &words)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let hold = child.stdin.take();
        let mut out = BufReader::new(child.stdout.take().ok_or("the load has no output")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        // Time for what is given back when a connection goes idle.
        thread::sleep(Duration::from_secs(3));
        let seen = look(serving);
        drop(hold);
        line.clear();
        out.read_line(&mut line)?;
        child.wait()?;
        let outcome = without_errors(serde_json::from_str(&line)?)?;
        if outcome.done != connections as u64 {
            return Err(format!("{} of {connections} connections", outcome.done).into());
        }
        Ok(seen)
    }

    fn latency(
        &mut self,
        connections: usize,
        share: f64,
        clock: Clock,
        serving: &mut Serving,
    ) -> Result<Sample, Failure> {
        let capacity = self.nginx_capacity.ok_or("nginx's capacity is not known")?;
        let rate = capacity * share;
        let (began, cpu) = (Instant::now(), serving.process.cpu());
        let order = self.paced(connections, rate, serving);
        let outcome = self.origin.load(&order)?;
        let cpu = serving.process.cpu().since(cpu);
        let took = match clock {
            Clock::Client => outcome.waited,
            Clock::Proxy => outcome.in_proxy,
        };
        let took = took.ok_or("no request of the window was answered")?;
        let [p50, p90, p99, p999] = took.of_all;
        let late = outcome.generator_late_us.unwrap_or(f64::NAN);
        Ok(Sample {
            value: took.middle_p99,
            user: None,
            system: None,
            rate: Some(outcome.done as f64 / (self.seconds + 1) as f64),
            busy: Some(cpu.total() / 1e6 / began.elapsed().as_secs_f64()),
            note: Some(format!(
                "at {rate:.0}/s: p50 {p50:.0}, p90 {p90:.0}, p99 {p99:.0}, p99.9 {p999:.0} µs over all; generator late by {late:.0} µs (p99)"
            )),
        })
    }

    /// An order for requests at a fixed mean rate, for a second more than a window.
    pub fn paced(&self, connections: usize, rate: f64, serving: &Serving) -> Order {
        Order {
            kind: Kind::Paced,
            tls: serving.tls,
            clear: serving.clear,
            cert: self.ground.cert(),
            seconds: (self.seconds + 1) as f64,
            connections,
            rate,
            bytes: 0,
        }
    }

    fn own(&self, kind: Kind, serving: &Serving, more: &[&str]) -> Result<std::process::Command, Failure> {
        use clap::ValueEnum as _;
        let kind = kind.to_possible_value().ok_or("a load without a name")?.get_name().to_owned();
        let cert = self.ground.cert().display().to_string();
        let (tls, clear) = (serving.tls.to_string(), serving.clear.to_string());
        let words = ["load", "--kind", &kind, "--tls", &tls, "--clear", &clear, "--cert", &cert];
        let words: Vec<String> = words.iter().chain(more).map(|word| (*word).to_owned()).collect();
        Ok(pinned(self.load_core, &env::current_exe()?, &words))
    }
}

/// Opens the ground: a folder of our own, ports, the certificate, the origin.
pub fn open(core: usize, load_core: usize, seconds: u64) -> Result<Bench, Failure> {
    let dir = env::temp_dir().join(format!("doorward-compare-{}", std::process::id()));
    fs::create_dir(&dir)?;
    let dir: PathBuf = dir.canonicalize()?;
    let [origin, log] = free_ports()?;
    let ground = Ground { dir, core, origin, log };
    ground.mint()?;
    tools::prepare(&ground.dir)?;
    let origin = Origin::start(load_core, &ground)?;
    Ok(Bench { ground, load_core, seconds, origin, nginx_capacity: None })
}

fn finish_own(child: std::process::Child) -> Result<Outcome, Failure> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().last().ok_or_else(|| {
        format!("the load for {HOST} ended without a report: {}", String::from_utf8_lossy(&output.stderr).trim())
    })?;
    without_errors(serde_json::from_str(line)?)
}

fn without_errors(outcome: Outcome) -> Result<Outcome, Failure> {
    match outcome.errors {
        0 => Ok(outcome),
        count => Err(format!("{count} errors; the first: {}", outcome.first_error.unwrap_or_default()).into()),
    }
}
