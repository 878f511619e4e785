//! The home of the plan: two networks, services with their VIRTUAL_* variables as they are, a torrent client in the network
//! of its VPN, and two gateways one behind the other.

use serde_json::Value;

use crate::harness::{Door, Finished, GUEST, Gateway, TestCa, doorward, eventually};
use crate::rig::{Engine, story};

const HOME_NET: [&str; 2] = ["--network", "homelab_home-net"];
const MEDIA_NET: [&str; 2] = ["--network", "media_mediarr-net"];

/// What stands on LXC_HOME: name, port, network, names. Nothing in it knows of Doorward.
const SERVICES: [(&str, u16, [&str; 2], &str); 11] = [
    ("nextcloud", 80, HOME_NET, "nextcloud.home.test,nextcloud.example.com"),
    ("syncthing", 8384, HOME_NET, "syncthing.home.test"),
    ("freshrss", 80, HOME_NET, "freshrss.home.test,freshrss.example.com"),
    ("calibre-web", 8083, HOME_NET, "books.home.test,calibre.example.com"),
    ("emulatorjs", 80, HOME_NET, "emulators.home.test,emulators.example.com"),
    ("jellyfin", 8096, MEDIA_NET, "jellyfin.home.test,jellyfin.example.com"),
    ("jellyseerr", 5055, MEDIA_NET, "jellyseerr.home.test,jellyseerr.example.com"),
    ("sonarr", 8989, MEDIA_NET, "sonarr.home.test"),
    ("radarr", 7878, MEDIA_NET, "radarr.home.test"),
    ("prowlarr", 9696, MEDIA_NET, "prowlarr.home.test"),
    ("bazarr", 6767, MEDIA_NET, "bazarr.home.test"),
];

/// Starts everything that stands on LXC_HOME.
pub fn furnish(engine: &Engine) {
    engine.docker(&["network", "create", "homelab_home-net"]);
    engine.docker(&["network", "create", "media_mediarr-net"]);
    for (name, port, network, hosts) in SERVICES {
        engine.serve(name, port, &network, &[("VIRTUAL_HOST", hosts), ("VIRTUAL_PORT", &port.to_string())]);
    }
    engine.docker(&["run", "-d", "--name", "flaresolverr", MEDIA_NET[0], MEDIA_NET[1], "tiny:1", "sleep", "100000"]);
    engine.docker(&["run", "-d", "--name", "gluetun", MEDIA_NET[0], MEDIA_NET[1], "tiny:1", "sleep", "100000"]);
    let torrents = [("VIRTUAL_HOST", "qbittorrent.home.test"), ("VIRTUAL_PORT", "8085")];
    engine.serve("qbittorrent", 8085, &["--network", "container:gluetun"], &torrents);
}

/// Waits until a name is answered by a container.
pub async fn answers(gateway: &Gateway, host: &str, name: &str) {
    eventually(&format!("{host} to be answered by {name}"), async || {
        let answer = gateway.get(&format!("{host}/")).attempt().await.ok()?;
        (answer.status == 200 && answer.text().trim() == name).then_some(())
    })
    .await;
}

fn json_of(finished: &Finished) -> Value {
    assert_eq!(finished.code, 0, "{}", finished.said());
    serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("{e}: {}", finished.said()))
}

#[ignore = "slow: starts a real engine"]
#[test]
fn the_whole_home_is_served_with_nothing_changed_on_its_containers() {
    story(async |engine| {
        furnish(&engine);
        let inner = engine.gateway("speak = \"nginx-proxy\"\n").await;
        for (name, _, _, hosts) in SERVICES {
            for host in hosts.split(',').filter(|host| host.ends_with(".home.test")) {
                answers(&inner, host, name).await;
            }
        }
        answers(&inner, "qbittorrent.home.test", "qbittorrent").await;

        // It answers back, live and offline, and the numbers say the same.
        let told = doorward(inner.folder().path(), &["docker", "--state", "state", "--json"]).await;
        let told = json_of(&told);
        let of = |name: &str| {
            let all = told["containers"].as_array().unwrap();
            all.iter().find(|one| one["container"] == name).unwrap_or_else(|| panic!("no {name}: {told}")).clone()
        };
        assert_eq!(of("qbittorrent")["verdict"], "routed");
        assert_eq!(of("qbittorrent")["why"], "on media_mediarr-net, the network of gluetun");
        assert_eq!(of("gluetun")["verdict"], "unlabelled");
        let address = format!("http://{}:8989", engine.address("sonarr", "media_mediarr-net"));
        assert_eq!(of("sonarr")["leads"][0]["to"], address.as_str());
        assert_eq!(inner.metric("doorward_containers{verdict=\"routed\"}").await as usize, SERVICES.len() + 1);
        assert_eq!(inner.metric("doorward_docker_connected").await, 1.0);
        let asked = doorward(inner.folder().path(), &["docker", "--config", "routes.toml", "--json"]).await;
        assert_eq!(json_of(&asked)["containers"], told["containers"]);
        let printed = engine.docker(&["inspect", "sonarr", "gluetun", "qbittorrent"]);
        inner.folder().replace("inspected.json", printed);
        let offline = doorward(inner.folder().path(), &["docker", "--inspect", "inspected.json"]).await;
        assert!(offline.out.contains("on media_mediarr-net, the network of gluetun"), "{}", offline.said());
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn one_gateway_behind_another_serves_local_and_public_names_over_verified_tls() {
    story(async |engine| {
        furnish(&engine);
        // LXC_HOME: believes what LXC_proxy says of the client, and accepts connections from there only.
        let mut inner = Gateway::stopped();
        let home = format!(
            "[listen.edge]\nhttps = \"ADDR:8443\"\nhttp = \"ADDR:8080\"\ntrust = [\"127.0.0.1\"]\npeers = [\"edge\", \"home\"]\n\
             allow = [\"anyone\"]\n[networks]\nedge = [\"127.0.0.1\"]\nhome = [\"127.0.0.0/24\"]\n[metrics]\nlisten = \"ADDR:9180\"\n\
             allow = [\"home\"]\n[log]\naccess = \"json\"\n[cert.local]\ncert = \"edge.crt\"\nkey = \"edge.key\"\n\
             [docker]\nsocket = \"{}\"\nspeak = \"nginx-proxy\"\n",
            engine.socket()
        );
        inner.write(home);
        inner.start(&[]).await;
        answers(&inner, "nextcloud.home.test", "nextcloud").await;
        // LXC_proxy: one upstream for all of it.
        let ca: &TestCa = inner.ca();
        let mut outer = Gateway::stopped();
        outer.folder().replace("inner-ca.crt", ca.pem());
        let mut routes =
            format!("[upstreams.home]\nto = \"https://{}:8443\"\nca = \"inner-ca.crt\"\n", inner.address());
        let torrents = [("qbittorrent", 8085, MEDIA_NET, "qbittorrent.home.test")];
        for (_, _, _, hosts) in SERVICES.iter().chain(&torrents) {
            let (local, public) = hosts.split_once(',').unwrap_or((hosts, ""));
            let route = local.trim_end_matches(".home.test");
            routes += &format!("[routes.{route}]\nto = \"home\"\n");
            if !public.is_empty() {
                routes += &format!("public = \"{public}\"\n");
            }
        }
        outer.write_routes(routes);
        outer.start(&[]).await;
        for (name, _, _, hosts) in SERVICES.iter().chain(&torrents) {
            let (local, public) = hosts.split_once(',').unwrap_or((hosts, ""));
            let answer = outer.get(&format!("{local}/")).await;
            assert_eq!((answer.status, answer.text().trim()), (200, *name), "{local}");
            if public.is_empty() {
                continue;
            }
            // The public name, through the tunnel's door, for a client in the world.
            let answer = outer.client().at(Door::Tunnel).get(&format!("{public}/"));
            let answer = answer.header("CF-Connecting-IP", "203.0.113.9").await;
            assert_eq!((answer.status, answer.text().trim()), (200, *name), "{public}");
        }
        eventually("the inner gateway to record the client in the world", async || {
            inner.access_log().iter().any(|record| record["client"] == "203.0.113.9").then_some(())
        })
        .await;
        // What has no public name cannot be reached that way, and the guest sees nothing.
        let other =
            outer.client().at(Door::Tunnel).get("sonarr.home.test/").header("CF-Connecting-IP", "203.0.113.9").await;
        assert_eq!(other.status, 404);
        assert_eq!(outer.client().from(GUEST).get("nextcloud.home.test/").await.status, 403);
    });
}
