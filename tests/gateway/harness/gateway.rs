//! A running gateway: its file, its process, its log and its numbers.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::{Child, Command};

use rustix::process::Signal;
use serde_json::Value;

use super::process::{command, command_of};
use super::{Ask, Client, Finished, Folder, Identity, Raw, TestCa, doorward, eventually, own_address, signal_process};

/// The doors of the standard file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// TLS, in `[listen.main]`.
    Https,
    /// Beside it: redirects only.
    Redirect,
    /// Cleartext that serves, `[listen.plain]`.
    Plain,
    /// Cleartext from cloudflared, public names only, `[listen.tunnel]`.
    Tunnel,
    /// Metrics.
    Metrics,
}

impl Door {
    /// Its port, on the gateway's own address.
    pub fn port(self) -> u16 {
        match self {
            Door::Https => 8443,
            Door::Redirect => 8080,
            Door::Plain => 8081,
            Door::Tunnel => 8082,
            Door::Metrics => 9180,
        }
    }

    pub(super) fn encrypted(self) -> bool {
        self == Door::Https
    }
}

/// First part of the standard file: the domain, and who may enter.
pub const FRONT: &str = r#"
domain = "home.test"
allow = ["home"]
[networks]
home = ["127.0.0.0/24"]
guest = ["127.0.1.0/24"]
"#;

/// Second part: the doors. `ADDR` is the gateway's own address, everywhere in a file.
pub const DOORS: &str = r#"
[listen.main]
https = "ADDR:8443"
http = "ADDR:8080"
[listen.plain]
http = "ADDR:8081"
[listen.tunnel]
http = "ADDR:8082"
names = "public"
trust = "cloudflared"
allow = ["anyone"]
"#;

/// Third part: the certificate.
pub const CERT: &str = r#"
[cert.main]
cert = "edge.crt"
key = "edge.key"
"#;

/// Last part before the routes: what is told.
pub const TAIL: &str = r#"
[metrics]
listen = "ADDR:9180"
[log]
access = "json"
"#;

/// A gateway that serves, until it is dropped.
pub struct Gateway {
    address: Ipv4Addr,
    folder: Folder,
    ca: TestCa,
    identity: Identity,
    child: Option<Child>,
    followed_by: Vec<u32>,
}

impl Gateway {
    /// Serves the standard file with these routes (and whatever tables follow them).
    pub async fn serving(routes: impl AsRef<str>) -> Gateway {
        Gateway::running(standard(routes.as_ref())).await
    }

    /// Serves this whole file.
    pub async fn running(file: impl AsRef<str>) -> Gateway {
        let mut gateway = Gateway::stopped();
        gateway.write(file);
        gateway.start(&[]).await;
        gateway
    }

    /// A gateway with a folder and a certificate for `home.test`, `*.home.test`, but without file and process.
    pub fn stopped() -> Gateway {
        let ports = [Door::Https, Door::Redirect, Door::Plain, Door::Tunnel, Door::Metrics].map(Door::port);
        let (address, folder, ca) = (own_address(&ports), Folder::new(), TestCa::new("the edge's own"));
        let identity = ca.issue(&["home.test", "*.home.test"]);
        identity.write(&folder, "edge");
        Gateway { address, folder, ca, identity, child: None, followed_by: Vec::new() }
    }

    /// Starts the process and waits until it serves.
    pub async fn start(&mut self, arguments: &[&str]) {
        self.launch(arguments);
        self.serves().await;
    }

    async fn serves(&mut self) {
        eventually("the gateway to be ready", async || {
            self.assert_running();
            self.is_ready().await.then_some(())
        })
        .await;
    }

    /// Starts the process with a command line and an environment of the test's own, and waits until it serves.
    pub async fn start_as(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        self.spawn(arguments, environment);
        self.serves().await;
    }

    /// Starts the process where it may use one core only (and without `--workers`), and waits until it serves.
    pub async fn start_on_core(&mut self, core: usize) {
        let program = env!("CARGO_BIN_EXE_doorward");
        let mut command = command_of("taskset", self.folder.path());
        command.args(["-c", &core.to_string(), program, "run", "--state", "state"]);
        self.run(command);
        self.serves().await;
    }

    /// Starts the process where it may have so many descriptors open, and waits until it serves.
    pub async fn start_with_descriptors(&mut self, count: u32) {
        self.start_under("prlimit", &[&format!("--nofile={count}")]).await;
    }

    /// Starts the process where a file of its folder is `/etc/hosts`, and waits until it serves. Needs root.
    pub async fn start_with_hosts(&mut self, file: &str) {
        let bind = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", self.folder.at(file).display());
        self.start_under("unshare", &["--mount", "sh", "-c", &bind]).await;
    }

    /// Starts the process with another program that becomes it.
    async fn start_under(&mut self, program: &str, arguments: &[&str]) {
        let mut command = command_of(program, self.folder.path());
        command.args(arguments).arg(env!("CARGO_BIN_EXE_doorward"));
        command.args(["run", "--config", "routes.toml", "--state", "state", "--workers", "2"]);
        self.run(command);
        self.serves().await;
    }

    /// Starts the process without waiting.
    pub fn launch(&mut self, arguments: &[&str]) {
        let usual = ["run", "--config", "routes.toml", "--state", "state", "--workers", "2"];
        self.spawn(&[&usual, arguments].concat(), &[]);
    }

    fn spawn(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        let mut command = command(self.folder.path());
        command.args(arguments).envs(environment.iter().copied());
        self.run(command);
    }

    /// Starts the process by a command of the test's own, in the gateway's folder.
    pub fn run(&mut self, mut command: Command) {
        let append = |name: &str| File::options().create(true).append(true).open(self.folder.at(name)).unwrap();
        command.stdout(append("out")).stderr(append("err"));
        self.child = Some(command.spawn().expect("the program starts"));
    }

    /// The result of a start that is expected to fail.
    pub async fn fails_to_start(&mut self) -> Finished {
        self.launch(&[]);
        let code = self.exit_code().await;
        Finished { code, out: self.folder.read("out"), err: self.log() }
    }

    async fn is_ready(&self) -> bool {
        if !self.folder.read("routes.toml").contains(":9180") {
            return self.log().contains("serving") || self.log().contains("ready");
        }
        let ready = self.client().at(Door::Metrics).get("edge/readyz").attempt().await;
        ready.is_ok_and(|answer| answer.status == 200)
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.as_mut().and_then(|c| c.try_wait().unwrap()) {
            panic!("the gateway ended with {status}:\n{}", self.log());
        }
    }

    /// Writes routes.toml as a whole. `ADDR` becomes the gateway's own address.
    pub fn write(&self, file: impl AsRef<str>) -> &Gateway {
        self.folder.replace("routes.toml", self.expand(file.as_ref()));
        self
    }

    /// Writes the standard file with these routes.
    pub fn write_routes(&self, routes: impl AsRef<str>) -> &Gateway {
        self.write(standard(routes.as_ref()))
    }

    /// What would be written for this text.
    pub fn expand(&self, file: &str) -> String {
        file.replace("ADDR", &self.address.to_string())
    }

    /// `doorward reload`.
    pub async fn reload(&self) -> Verdict {
        Verdict(doorward(self.folder.path(), &["reload", "--state", "state"]).await)
    }

    /// `doorward upgrade`: the process that serves afterwards.
    pub async fn upgrade(&mut self) -> u32 {
        let said = doorward(self.folder.path(), &["upgrade", "--state", "state", "--json"]).await;
        assert_eq!(said.code, 0, "the upgrade was refused: {}", said.said());
        self.is_followed_by(serde_json::from_str(&said.out).expect("an answer in JSON"))
    }

    /// Takes note of the process that an answer in JSON names, so that it ends with the test.
    pub fn is_followed_by(&mut self, answer: Value) -> u32 {
        let process = answer["process"].as_u64().and_then(|number| u32::try_from(number).ok()).expect("a process");
        self.followed_by.push(process);
        process
    }

    /// Waits until this generation is in force.
    pub async fn reaches_generation(&self, generation: u64) {
        eventually(&format!("generation {generation}"), async || (self.generation().await >= generation).then_some(()))
            .await;
    }

    /// The generation in force.
    pub async fn generation(&self) -> u64 {
        self.metric("doorward_generation").await as u64
    }

    /// One sample of the metrics by its full name, labels included; 0 if it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// All metrics, as text.
    pub async fn metrics(&self) -> String {
        let answer = self.client().at(Door::Metrics).get("edge/metrics").await;
        assert_eq!(answer.status, 200, "{answer}");
        answer.text().to_owned()
    }

    /// A client that trusts the gateway's certificate: TLS, HTTP/1.1, from home.
    pub fn client(&self) -> Client {
        Client::new(self.address, self.ca.roots())
    }

    /// GET of `host/path` with the usual client.
    pub fn get(&self, place: &str) -> Ask<'static> {
        self.client().get(place)
    }

    /// Any request for `host/path` with the usual client.
    pub fn request(&self, method: &str, place: &str) -> Ask<'static> {
        self.client().request(method, place)
    }

    /// Bytes of the test's own making, at the cleartext door.
    pub async fn raw(&self) -> Raw {
        self.client().at(Door::Plain).raw("unnamed").await
    }

    /// Sends bytes at the cleartext door and gives the answer to them, as text.
    pub async fn says(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut raw = self.raw().await;
        // It may refuse, and close, before it has read everything.
        let _ = raw.try_send(bytes).await;
        raw.answer().await
    }

    /// The gateway's own address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its folder: routes.toml, certificates, state.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The authority that its certificate is from.
    pub fn ca(&self) -> &TestCa {
        &self.ca
    }

    /// The certificate that it was given.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the process has written to standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.at("err")).unwrap_or_default()
    }

    /// Waits until the log says this.
    pub async fn logs(&self, phrase: &str) {
        eventually(&format!("`{phrase}` in the log"), async || self.log().contains(phrase).then_some(())).await;
    }

    /// The access records written so far.
    pub fn access_log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.at("out")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e} in {l}"))).collect()
    }

    /// The access records for one path, once there is one.
    pub async fn records_of(&self, path: &str) -> Vec<Value> {
        eventually(&format!("a record of {path}"), async || {
            let found: Vec<Value> = self.access_log().into_iter().filter(|r| r["path"] == path).collect();
            (!found.is_empty()).then_some(found)
        })
        .await
    }

    /// The one access record for a path.
    pub async fn record_of(&self, path: &str) -> Value {
        let mut found = self.records_of(path).await;
        assert_eq!(found.len(), 1, "one record for {path}: {found:?}");
        found.remove(0)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.followed_by.last().copied().unwrap_or_else(|| self.child.as_ref().expect("a process").id())
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Processor time of every data core so far, in the kernel's ticks.
    pub fn ticks_of_cores(&self) -> Vec<u64> {
        let stats = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().filter_map(|task| {
            let stat = std::fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split(' ').collect();
            name.starts_with("core-")
                .then(|| Some((name.to_owned(), fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)))?
        });
        let mut stats: Vec<(String, u64)> = stats.collect();
        stats.sort();
        stats.into_iter().map(|(_, ticks)| ticks).collect()
    }

    /// Number of open files and sockets.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) {
        signal_process(self.pid(), signal);
    }

    /// Waits for the process to end, and gives its exit status.
    pub async fn exit_code(&mut self) -> i32 {
        let mut child = self.child.take().expect("a process");
        let status = eventually("the gateway to end", async || child.try_wait().unwrap()).await;
        status.code().unwrap_or(-1)
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }
}

/// The standard file with these routes.
fn standard(routes: &str) -> String {
    format!("{FRONT}{DOORS}{CERT}{TAIL}{routes}")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for process in &self.followed_by {
            if std::fs::read_link(format!("/proc/{process}/exe")).is_ok() {
                signal_process(*process, Signal::KILL);
            }
        }
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{log}");
        } else {
            assert!(!log.contains("panicked"), "the gateway panicked:\n{log}");
        }
    }
}

/// What `doorward reload` said.
pub struct Verdict(Finished);

impl Verdict {
    /// The file was taken.
    #[track_caller]
    pub fn accepted(self) {
        assert_eq!(self.0.code, 0, "reload was refused: {}", self.0.said());
    }

    /// The file was not taken, and the reason names this.
    #[track_caller]
    pub fn refused(self, why: &str) {
        assert_eq!(self.0.code, 1, "reload was not refused: {}", self.0.said());
        assert!(self.0.said().contains(why), "`{why}` is not in: {}", self.0.said());
    }

    /// Exit status and words.
    pub fn into_finished(self) -> Finished {
        self.0
    }
}
