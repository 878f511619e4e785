//! Podman's compatible socket as a second engine: another program's answers and events, real containers.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Folder, Gateway, eventually, signal_process};
use crate::home::answers;
use crate::rig::{enter_namespace, file, fill_image, said, script};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Podman with everything of its own in one folder and one network namespace; ends with the test.
struct Podman {
    folder: Folder,
    namespace: String,
    service: Option<Child>,
}

impl Podman {
    fn start() -> Podman {
        let podman = Podman { folder: Folder::new(), namespace: enter_namespace(), service: None };
        let at = |name: &str| podman.folder.at(name).display().to_string();
        // Nothing of systemd, and limits that a container of tests may set.
        podman.folder.replace(
            "containers.conf",
            format!(
                "[containers]\ndefault_ulimits = [\"nofile=1024:4096\", \"nproc=1024:4096\"]\n[engine]\ncgroup_manager = \"cgroupfs\"\n\
                 events_logger = \"file\"\nruntime = \"runc\"\ntmp_dir = \"{}\"\n[network]\nnetwork_backend = \"cni\"\n\
                 network_config_dir = \"{}\"\n",
                at("tmp"),
                at("networks")
            ),
        );
        podman.folder.replace(
            "storage.conf",
            format!("[storage]\ndriver = \"vfs\"\nrunroot = \"{}\"\ngraphroot = \"{}\"\n", at("run"), at("graph")),
        );
        podman.podman(&["import", &fill_image(&podman.folder), "tiny:1"]);
        podman
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.folder.at("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.folder.at("storage.conf"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn podman(&self, arguments: &[&str]) -> String {
        said(&mut self.command(arguments))
    }

    fn socket(&self) -> String {
        self.folder.at("podman.sock").display().to_string()
    }

    /// The service behind the socket; containers live without it.
    fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.at("service.log")).unwrap();
        let mut command = self.command(&["system", "service", "--time=0", &format!("unix://{}", self.socket())]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.service = Some(command.spawn().unwrap_or_else(|e| panic!("podman: {e}; `bash tests/run` installs it")));
        let deadline = Instant::now() + PATIENCE;
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < deadline, "podman's service does not start: {}", self.folder.read("service.log"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn end_service(&mut self) {
        let Some(mut service) = self.service.take() else { return };
        signal_process(service.id(), Signal::TERM);
        let _ = service.wait();
    }

    #[track_caller]
    fn serve(&self, name: &str, port: u16, options: &[&str], host: &str) {
        let (host, port_word) = (format!("VIRTUAL_HOST={host}"), format!("VIRTUAL_PORT={port}"));
        let script = script(name, port);
        let start = ["run", "-d", "--name", name, "-e", &host, "-e", &port_word];
        self.podman(&[&start, options, &["tiny:1", "sh", "-c", &script]].concat());
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(&["kill", "--all"]).output();
        let _ = self.command(&["rm", "-f", "-t", "0", "--all", "--depend"]).output();
        self.end_service();
        let _ = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

#[ignore = "slow: starts containers with Podman"]
#[test]
fn podmans_containers_are_served_as_dockers_are() {
    let mut podman = Podman::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        podman.podman(&["network", "create", "home-net"]);
        podman.podman(&["network", "create", "mediarr-net"]);
        podman.serve("sonarr", 8989, &["--network", "home-net,mediarr-net"], "sonarr.home.test");
        podman.podman(&["run", "-d", "--name", "gluetun", "--network", "mediarr-net", "tiny:1", "sleep", "100000"]);
        podman.serve("qbittorrent", 8085, &["--network", "container:gluetun"], "qbittorrent.home.test");
        let check = ["--network", "home-net", "--health-cmd", "test -f /tmp/ok", "--health-interval", "disable"];
        podman.serve("slow-starter", 80, &check, "slow.home.test");
        podman.launch();
        let mut gateway = Gateway::stopped();
        gateway.write(file(&podman.socket(), "speak = \"nginx-proxy\"\n"));
        gateway.start(&[]).await;

        // Two networks, and a container in another's network.
        answers(&gateway, "sonarr.home.test", "sonarr").await;
        answers(&gateway, "qbittorrent.home.test", "qbittorrent").await;
        gateway.logs("on home-net, the first by name that we are on too (also on mediarr-net)").await;
        gateway.logs("on mediarr-net, the network of gluetun").await;
        // Health: Podman leaves the checks to systemd's timers; here they are made by hand.
        gateway.logs("container slow-starter: waiting: slow.home.test; its health check has not passed yet").await;
        assert_eq!(gateway.get("slow.home.test/").await.refusal(), (503, "upstream-absent"));
        podman.podman(&["exec", "slow-starter", "touch", "/tmp/ok"]);
        podman.podman(&["healthcheck", "run", "slow-starter"]);
        answers(&gateway, "slow.home.test", "slow-starter").await;
        // Stopped, and made anew with another address.
        podman.podman(&["stop", "-t", "5", "sonarr"]);
        gateway.logs("container sonarr: away: sonarr.home.test").await;
        assert_eq!(gateway.get("sonarr.home.test/").await.refusal(), (503, "upstream-absent"));
        podman.podman(&["rm", "sonarr"]);
        podman.serve("somebody", 8989, &["--network", "home-net"], "somebody.home.test");
        podman.serve("sonarr", 8989, &["--network", "home-net"], "sonarr.home.test");
        answers(&gateway, "sonarr.home.test", "sonarr").await;
        // The service goes and comes; containers do not notice, and neither does anybody else.
        podman.end_service();
        eventually("the engine to be missed", async || {
            (gateway.metric("doorward_docker_connected").await == 0.0).then_some(())
        })
        .await;
        answers(&gateway, "sonarr.home.test", "sonarr").await;
        podman.serve("late", 80, &["--network", "home-net"], "late.home.test");
        podman.launch();
        answers(&gateway, "late.home.test", "late").await;
    });
}
