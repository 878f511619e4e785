//! The plan's two files as they are, on two machines: LXC_proxy in front, LXC_HOME behind it with a real engine and all that
//! stands there. Only where certificates and the engine's socket are is another place.

use std::fs::File;
use std::process::{Child, Command};

use rustix::process::Signal;

use crate::harness::{Folder, TestCa, eventually, signal_process};
use crate::rig::{Engine, said, story};

const HOME: &str = include_str!("../config/good/lxc-home.toml");
const PROXY: &str = include_str!("../config/good/lxc-proxy.toml");

const DOMAIN: &str = "local.akunito.com";
const HOME_NET: &str = "homelab_home-net";
const MEDIA_NET: &str = "media_mediarr-net";

/// What stands on LXC_HOME: container, port, network, address, local name, public name. Nothing in it knows of Doorward.
const SERVICES: [(&str, u16, &str, &str, &str, &str); 12] = [
    ("nextcloud", 80, HOME_NET, "172.18.0.9", "nextcloud", "nextcloud.akunito.com"),
    ("syncthing", 8384, HOME_NET, "172.18.0.2", "syncthing", ""),
    ("freshrss", 80, HOME_NET, "172.18.0.6", "freshrss", "freshrss.akunito.com"),
    ("calibre", 8083, HOME_NET, "172.18.0.7", "books", "calibre.akunito.com"),
    ("emulatorjs", 80, HOME_NET, "172.18.0.5", "emulators", "emulators.akunito.com"),
    ("obsidian", 3000, HOME_NET, "172.18.0.10", "obsidian", "obsidian.akunito.com"),
    ("jellyfin", 8096, MEDIA_NET, "172.21.0.4", "jellyfin", "jellyfin.akunito.com"),
    ("jellyseerr", 5055, MEDIA_NET, "172.21.0.8", "jellyseerr", "jellyseerr.akunito.com"),
    ("sonarr", 8989, MEDIA_NET, "172.21.0.7", "sonarr", ""),
    ("radarr", 7878, MEDIA_NET, "172.21.0.6", "radarr", ""),
    ("prowlarr", 9696, MEDIA_NET, "172.21.0.5", "prowlarr", ""),
    ("bazarr", 6767, MEDIA_NET, "172.21.0.9", "bazarr", ""),
];

/// In gluetun's network.
const TORRENTS: (&str, u16, &str) = ("qbittorrent", 8085, "qbittorrent");

fn furnish(engine: &Engine) {
    engine.docker(&["network", "create", "--subnet", "172.18.0.0/16", HOME_NET]);
    engine.docker(&["network", "create", "--subnet", "172.21.0.0/16", MEDIA_NET]);
    let lan = ["-d", "macvlan", "--subnet", "192.168.8.0/24", "-o", "parent=lan"];
    engine.docker(&[&["network", "create"], lan.as_slice(), &["unifi_macvlan"]].concat());
    for (name, port, network, address, local, public) in SERVICES {
        let hosts = [format!("{local}.{DOMAIN}"), public.to_owned()].join(",");
        let settings = [("VIRTUAL_HOST", hosts.as_str()), ("VIRTUAL_PORT", &port.to_string())];
        engine.serve(name, port, &["--network", network, "--ip", address], &settings);
    }
    for (name, address) in [("gluetun", "172.21.0.2"), ("flaresolverr", "172.21.0.3")] {
        engine.docker(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            MEDIA_NET,
            "--ip",
            address,
            "tiny:1",
            "sleep",
            "100000",
        ]);
    }
    let (name, port, local) = TORRENTS;
    let settings = [("VIRTUAL_HOST", format!("{local}.{DOMAIN}")), ("VIRTUAL_PORT", port.to_string())];
    let settings = [(settings[0].0, settings[0].1.as_str()), (settings[1].0, settings[1].1.as_str())];
    engine.serve(name, port, &["--network", "container:gluetun"], &settings);
    let unifi = ["--network", "unifi_macvlan", "--ip", "192.168.8.206"];
    engine.serve("unifi-network-application", 8443, &unifi, &[]);
}

/// A machine of the plan: a network namespace, and a Doorward in it. Ends with the test.
struct Machine {
    namespace: String,
    folder: Folder,
    child: Option<Child>,
}

impl Machine {
    fn new(namespace: &str) -> Machine {
        Machine { namespace: namespace.to_owned(), folder: Folder::new(), child: None }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace)).arg(program).args(arguments);
        command.current_dir(self.folder.path());
        command
    }

    /// Starts Doorward; `roots` is what this machine trusts.
    async fn start(&mut self, roots: &str) {
        self.folder.replace("roots.pem", roots);
        self.folder.replace("log", "");
        let log = || File::options().append(true).open(self.folder.at("log")).unwrap();
        let arguments = ["run", "--config", "routes.toml", "--state", "state", "--workers", "2"];
        let mut command = self.command(env!("CARGO_BIN_EXE_doorward"), &arguments);
        command.env("SSL_CERT_FILE", self.folder.at("roots.pem")).stdout(log()).stderr(log());
        self.child = Some(command.spawn().expect("the program starts"));
        eventually("the machine to serve", async || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "{}", self.folder.read("log"));
            self.folder.read("log").contains("serving").then_some(())
        })
        .await;
    }

    fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal_process(child.id(), Signal::TERM);
        let _ = child.wait();
    }

    /// What somebody with an address gets: status, and what it says.
    fn asked(&self, from: &str, url: &str, more: &[&str]) -> (String, String) {
        let usual = ["-s", "-m", "20", "--interface", from, "--cacert", "front.pem", "-w", "\n%{http_code}", url];
        let output = self.command("curl", &[&usual, more].concat()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or_default();
        (status.to_owned(), body.trim().to_owned())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.namespace, self.folder.read("log"));
        }
    }
}

/// The second machine's namespace; gone with the test.
struct Cable(String);

impl Cable {
    /// A cable between LXC_HOME, where the engine is, and LXC_proxy, where everybody else stands as well.
    fn new(home: &str) -> Cable {
        let proxy = Cable(format!("{home}-p"));
        let ip = |arguments: &str| said(Command::new("ip").args(arguments.split(' ')));
        let Cable(name) = &proxy;
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {home} link add lan type veth peer name lan netns {name}"));
        for (namespace, address) in [(home, "192.168.8.80/24"), (name, "192.168.8.102/24")] {
            ip(&format!("-n {namespace} addr add {address} dev lan"));
            ip(&format!("-n {namespace} link set lan up"));
        }
        for somebody in ["192.168.8.50", "172.26.5.9", "192.168.9.7"] {
            ip(&format!("-n {name} addr add {somebody}/32 dev lo"));
        }
        proxy
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

#[ignore = "slow: starts a real engine"]
#[test]
fn the_plans_own_files_serve_the_whole_home_from_two_machines() {
    story(async |engine| {
        let cable = Cable::new(engine.namespace());
        furnish(&engine);
        let ca = TestCa::new("the home's own");
        let names = [DOMAIN, &format!("*.{DOMAIN}")];
        let mut home = Machine::new(engine.namespace());
        ca.issue(&names).write(&home.folder, DOMAIN);
        let folder = home.folder.path().display().to_string();
        let file = HOME.replace("/mnt/shared-certs", &folder).replace("/var/run/docker.sock", &engine.socket());
        assert!(file.contains(&engine.socket()) && file.contains(&format!("{folder}/{DOMAIN}.crt")));
        home.folder.replace("routes.toml", file);
        home.start("").await;

        let mut proxy = Machine::new(&cable.0);
        ca.issue(&names).write(&proxy.folder, DOMAIN);
        proxy.folder.replace("front.pem", ca.pem());
        let (before, rest) = PROXY.split_once("[cert.local]").unwrap();
        let (_, after) = rest.split_once("# ── Machines").unwrap();
        let cert = format!("[cert.local]\ncert = \"{DOMAIN}.crt\"\nkey = \"{DOMAIN}.key\"\n");
        proxy.folder.replace("routes.toml", format!("{before}{cert}# {after}"));

        // Whoever cannot verify LXC_HOME sends it nothing.
        proxy.start(&TestCa::new("somebody else's").pem()).await;
        let to_proxy = |host: &str| format!("{host}:443:192.168.8.102");
        let lan = |proxy: &Machine, from: &str, host: &str| {
            proxy.asked(from, &format!("https://{host}/"), &["--resolve", &to_proxy(host)])
        };
        let sonarr = format!("sonarr.{DOMAIN}");
        assert_eq!(lan(&proxy, "192.168.8.50", &sonarr).0, "502");
        proxy.stop();
        proxy.start(&ca.pem()).await;

        let tunnel = |proxy: &Machine, host: &str| {
            let host = format!("Host: {host}");
            proxy.asked("127.0.0.1", "http://127.0.0.1:8080/", &["-H", &host, "-H", "CF-Connecting-IP: 203.0.113.9"])
        };
        let services = SERVICES.map(|(name, _, _, _, local, public)| (name, local, public));
        for (name, local, public) in services.into_iter().chain([(TORRENTS.0, TORRENTS.2, "")]) {
            let (host, answer) = (format!("{local}.{DOMAIN}"), ("200".to_owned(), name.to_owned()));
            eventually(&format!("{host} to be served"), async || {
                (lan(&proxy, "192.168.8.50", &host) == answer).then_some(())
            })
            .await;
            assert_eq!(lan(&proxy, "172.26.5.9", &host), answer, "{host} over the VPN");
            assert_eq!(lan(&proxy, "192.168.9.7", &host).0, "403", "{host} for a guest");
            assert_eq!(tunnel(&proxy, &host).0, "404", "{host} through the tunnel");
            if !public.is_empty() {
                assert_eq!(tunnel(&proxy, public), answer, "{public} through the tunnel");
            }
        }
        // LXC_HOME knows the client, and takes connections from LXC_proxy alone.
        eventually("both clients to be recorded", async || {
            let log = home.folder.read("log");
            ["client=192.168.8.50", "client=203.0.113.9"].iter().all(|client| log.contains(client)).then_some(())
        })
        .await;
        assert!(!home.folder.read("log").contains("client=192.168.8.102"));
        let direct = ["--resolve", &format!("{sonarr}:443:192.168.8.80")];
        assert_eq!(proxy.asked("192.168.8.50", &format!("https://{sonarr}/"), &direct).0, "000");
        // A container that moves: the same name, another address, nothing else changed.
        engine.docker(&["rm", "-f", "sonarr"]);
        let settings = [("VIRTUAL_HOST", sonarr.as_str()), ("VIRTUAL_PORT", "8989")];
        engine.serve("sonarr", 8989, &["--network", MEDIA_NET, "--ip", "172.21.0.77"], &settings);
        eventually("sonarr to be served from its new address", async || {
            (lan(&proxy, "192.168.8.50", &sonarr) == ("200".to_owned(), "sonarr".to_owned())).then_some(())
        })
        .await;
        assert!(home.folder.read("log").contains("http://172.21.0.77:8989"));
    });
}
