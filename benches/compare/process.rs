//! Starts a program pinned to one core, reads what it costs from `/proc`, and ends it by its process id.
//! Counts every process of the program (a master and its workers), and touches no process it did not start.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use rustix::process::{Pid, Signal, kill_process};

/// Microseconds in one tick of `/proc/PID/stat` (`USER_HZ` is 100 on every Linux that we build for).
const TICK_US: f64 = 10_000.0;

/// CPU time that processes have used since they started, in microseconds.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cpu {
    /// In user mode.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl Cpu {
    /// What was used since `earlier`.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu { user: self.user - earlier.user, system: self.system - earlier.system }
    }
    /// Both together.
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

/// A running program; dropping it ends it.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `program` on some cores (a list as `taskset -c` reads it). Its standard output and error go to files in `dir` named after `name`.
    pub fn start(name: &str, cores: &str, dir: &Path, program: &Path, args: &[String]) -> io::Result<Process> {
        let child = pinned(cores, program, args)
            .stdin(Stdio::null())
            .stdout(File::create(dir.join(format!("{name}.stdout")))?)
            .stderr(File::create(dir.join(format!("{name}.stderr")))?)
            .spawn()?;
        Ok(Process { child })
    }

    /// Takes charge of a program that was started with [`pinned`].
    pub fn adopt(child: Child) -> Process {
        Process { child }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time of the program's processes, including children that have ended and were waited for.
    pub fn cpu(&self) -> Cpu {
        let mut sum = Cpu::default();
        for pid in self.family() {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let Cpu { user, system } = cpu_of(&stat);
            sum.user += user;
            sum.system += system;
        }
        sum
    }

    /// Proportional set size of the program's processes in KiB: memory shared by two of them counts once.
    pub fn memory_kib(&self) -> f64 {
        let mut sum = 0.0;
        for pid in self.family() {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            sum += line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0);
        }
        sum
    }

    /// Its threads: id, name, CPU time.
    pub fn threads(&self) -> Vec<(u32, String, Cpu)> {
        let entries = fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = fs::read_to_string(entry.path().join("comm")).ok()?;
                let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
                Some((entry.file_name().to_str()?.parse().ok()?, name.trim().to_owned(), cpu_of(&stat)))
            })
            .collect()
    }

    /// The process and all its descendants.
    fn family(&self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            if let Some(parent) = fields_behind_name(&stat).get(1).and_then(|text| text.parse().ok()) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut family = vec![self.child.id()];
        let mut seen = 0;
        while let Some(pid) = family.get(seen).copied() {
            family.extend(children.remove(&pid).unwrap_or_default());
            seen += 1;
        }
        family
    }

    /// Asks it to stop, waits up to five seconds, then insists.
    pub fn end(&mut self) {
        if !self.is_running() {
            return;
        }
        let family = self.family();
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && self.is_running() {
            thread::sleep(Duration::from_millis(20));
        }
        if self.is_running() {
            family.iter().for_each(|pid| signal(*pid, Signal::KILL));
        }
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A command that will run `program` on these cores only. `taskset` becomes the program, so the process id is the same.
pub fn pinned(cores: impl ToString, program: &Path, args: &[String]) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cores.to_string()).arg(program).args(args);
    command
}

/// Where a program is installed: `PATH`, and the folders that an ordinary user's `PATH` leaves out.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A process that has just ended by itself is what we wanted.
        let _ = kill_process(pid, signal);
    }
}

/// The CPU time in a `stat` of a process or thread.
fn cpu_of(stat: &str) -> Cpu {
    let fields = fields_behind_name(stat);
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    // utime, stime are fields 14 and 15 of proc(5); the name was the second.
    Cpu { user: field(11) * TICK_US, system: field(12) * TICK_US }
}

/// The fields of `/proc/PID/stat` behind the name, which may itself hold spaces and brackets: state first.
fn fields_behind_name(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}
