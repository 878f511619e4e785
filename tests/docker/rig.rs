//! A Docker engine of one test, in a network namespace of its own: in the host's it would change how packets are filtered
//! there. The test's own thread moves into the namespace, so that everything it starts is there too.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::harness::{CERT, DOORS, Folder, Gateway, signal_process};

/// How long an engine may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Programs of busybox that containers use.
const PROGRAMS: [&str; 9] = ["sh", "httpd", "sleep", "mkdir", "echo", "cat", "touch", "rm", "test"];

/// A running engine; ends with the test, and all its containers with it.
pub struct Engine {
    folder: Folder,
    namespace: String,
    daemon: Option<Child>,
    /// Words of the daemon's command line beside the usual ones.
    more: Vec<String>,
}

/// Tells a story about an engine. The threads that it runs on are made in the engine's namespace: a runtime from outside
/// would have threads that are elsewhere.
pub fn story(tell: impl AsyncFnOnce(Engine)) {
    let engine = Engine::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(tell(engine));
}

impl Engine {
    /// Moves this thread into a new network namespace, starts an engine there, and gives it the image `tiny:1`.
    pub fn start() -> Engine {
        Engine::prepared(|_| Vec::new())
    }

    /// The same, after something was put into its folder; gives more words for the daemon's command line.
    pub fn prepared(prepare: impl FnOnce(&Folder) -> Vec<String>) -> Engine {
        let (namespace, folder) = (enter_namespace(), Folder::new());
        let more = prepare(&folder);
        let mut engine = Engine { folder, namespace, daemon: None, more };
        engine.launch();
        engine.docker(&["import", &fill_image(&engine.folder), "tiny:1"]);
        engine
    }

    /// Starts the daemon and waits until it answers.
    pub fn launch(&mut self) {
        let at = |name: &str| self.folder.at(name).display().to_string();
        let log = File::options().create(true).append(true).open(self.folder.at("dockerd.log")).unwrap();
        let daemon = Command::new("dockerd")
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["-H", &self.socket_url(), "--bip", "10.203.0.1/24"])
            .args(["--default-address-pool", "base=10.204.0.0/16,size=24"])
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("dockerd does not start ({e}); `bash tests/run` installs it (docker.io)"));
        self.daemon = Some(daemon);
        let deadline = Instant::now() + PATIENCE;
        while !self.command(&["version"]).output().is_ok_and(|output| output.status.success()) {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().unwrap());
            assert!(ended.is_none() && Instant::now() < deadline, "the engine does not start here:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the daemon, and its containers with it.
    pub fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        signal_process(daemon.id(), Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while daemon.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = daemon.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The network namespace that it is in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.at("dockerd.log")).unwrap_or_default()
    }

    /// The socket, as a routes.toml names it.
    pub fn socket(&self) -> String {
        self.folder.at("docker.sock").display().to_string()
    }

    fn socket_url(&self) -> String {
        format!("unix://{}", self.socket())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(self.socket_url()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `docker` with these arguments, to its end.
    #[track_caller]
    pub fn docker(&self, arguments: &[&str]) -> String {
        said(&mut self.command(arguments))
    }

    /// A container that answers every request with its name, on a port.
    #[track_caller]
    pub fn serve(&self, name: &str, port: u16, options: &[&str], settings: &[(&str, &str)]) {
        let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut arguments = vec!["run", "-d", "--name", name];
        for setting in &settings {
            let is_label = setting.split('=').next().is_some_and(|name| name.contains('.'));
            arguments.extend([if is_label { "-l" } else { "-e" }, setting]);
        }
        arguments.extend(options);
        let script = script(name, port);
        arguments.extend(["tiny:1", "sh", "-c", &script]);
        self.docker(&arguments);
    }

    /// The address of a container on a network.
    pub fn address(&self, name: &str, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.docker(&["inspect", "-f", &format, name]).trim().to_owned()
    }

    /// A gateway that follows this engine, with these lines after `[docker]`'s socket and whatever tables follow them.
    pub async fn gateway(&self, docker: &str) -> Gateway {
        let mut gateway = Gateway::stopped();
        gateway.write(file(&self.socket(), docker));
        gateway.start(&[]).await;
        gateway
    }
}

/// Moves this thread into a network namespace of its own, and gives its name.
pub fn enter_namespace() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    assert!(rustix::process::geteuid().is_root(), "an engine can be started by root only");
    let namespace = format!("doorward-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    said(Command::new("ip").args(["netns", "add", &namespace]));
    said(Command::new("ip").args(["-n", &namespace, "link", "set", "lo", "up"]));
    let place = File::open(format!("/run/netns/{namespace}")).expect("the namespace just made");
    move_into_link_name_space(place.as_fd(), Some(LinkNameSpaceType::Network)).expect("a way into the namespace");
    namespace
}

/// An archive for `import`: busybox and its names, nothing from a registry.
pub fn fill_image(folder: &Folder) -> String {
    let root = folder.at("image");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("tmp")).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.expect("busybox is there (busybox-static); `bash tests/run` installs it");
    std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for program in PROGRAMS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(program)).unwrap();
    }
    let archive = folder.at("image.tar");
    said(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."));
    archive.display().to_string()
}

/// The standard file, with `[docker]` in place of routes.
pub fn file(socket: &str, docker: &str) -> String {
    let front = "domain = \"home.test\"\nallow = [\"home\"]\n[networks]\nhome = [\"127.0.0.0/24\"]\nguest = [\"127.0.1.0/24\"]\n";
    let tail = "[metrics]\nlisten = \"ADDR:9180\"\n[log]\naccess = \"json\"\n";
    format!("{front}{DOORS}{CERT}{tail}[docker]\nsocket = \"{socket}\"\n{docker}")
}

/// What a container runs: it answers `/` (and all below) with its name, and `/cgi-bin/slow` after two seconds. Told to stop,
/// it takes nothing new and finishes what it has begun, as services do.
pub fn script(name: &str, port: u16) -> String {
    format!(
        "mkdir -p /www/cgi-bin; echo {name} > /www/index.html; \
         echo '#!/bin/sh' > /www/cgi-bin/slow; echo 'sleep 2; echo; echo slow {name}' >> /www/cgi-bin/slow; \
         /bin/busybox chmod 755 /www/cgi-bin/slow; httpd -f -p {port} -h /www & server=$!; \
         trap \"kill $server; sleep 0.2; exit 0\" TERM; wait $server"
    )
}

/// Runs a program to its end, which must be a good one; what it printed.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {stderr}");
    String::from_utf8_lossy(&stdout).into_owned()
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(output) = self.command(&["ps", "-aq"]).output() {
            let ids = String::from_utf8_lossy(&output.stdout).into_owned();
            let ids: Vec<&str> = ids.split_whitespace().collect();
            if !ids.is_empty() {
                let _ = self.command(&[&["rm", "-f"], ids.as_slice()].concat()).output();
            }
        }
        self.stop();
        // What a container on the host's network leaves mounted would keep the folder.
        let left = self.folder.at("exec/netns/default");
        if left.exists() {
            let _ = Command::new("umount").arg(left).output();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- last lines of the engine ---\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}
