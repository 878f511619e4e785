//! Doorward in a container of its own, beside those that it serves; and an engine behind TLS.

use crate::harness::{TestCa, eventually};
use crate::home::answers;
use crate::rig::{Engine, file, story};

const FILE: &str = "domain = \"home.test\"\nallow = [\"anyone\"]\n[listen.web]\nhttp = \"0.0.0.0:8080\"\n\
                    [docker]\nsocket = \"/engine/docker.sock\"\n";

/// Runs this very program in a container on a network, with what it needs of the machine.
fn move_in(engine: &Engine, network: &str) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_doorward"));
    let folder = engine.socket().trim_end_matches("/docker.sock").to_owned();
    std::fs::write(format!("{folder}/routes.toml"), FILE).unwrap();
    let mut arguments: Vec<String> =
        ["run", "-d", "--name", "doorward", "--network", network].map(str::to_owned).into();
    let mut mount = |from: &str, to: &str| arguments.extend(["-v".to_owned(), format!("{from}:{to}")]);
    mount(&program.parent().unwrap().display().to_string(), "/program:ro");
    mount(&folder, "/engine");
    // The C library that it was built with.
    for place in ["/lib", "/lib64"] {
        if std::path::Path::new(place).exists() {
            mount(place, &format!("{place}:ro"));
        }
    }
    arguments.extend(
        ["tiny:1", "/program/doorward", "run", "--config", "/engine/routes.toml", "--state", "/tmp/state"]
            .map(str::to_owned),
    );
    engine.docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

/// What the gateway in its container answers, as curl sees it.
fn asked(address: &str, host: &str) -> String {
    let (host, url) = (format!("Host: {host}"), format!("http://{address}:8080/"));
    let output = std::process::Command::new("curl").args(["-s", "-m", "10", "-H", &host, &url]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[ignore = "slow: starts a real engine"]
#[test]
fn in_a_container_of_its_own_it_reaches_what_shares_a_network_what_is_published_and_the_host() {
    story(async |engine| {
        engine.docker(&["network", "create", "ours"]);
        engine.docker(&["network", "create", "theirs"]);
        engine.serve("shared", 80, &["--network", "ours"], &[("VIRTUAL_HOST", "shared.home.test")]);
        let publishes = ["--network", "theirs", "-p", "18099:80"];
        engine.serve("apart", 80, &publishes, &[("VIRTUAL_HOST", "apart.home.test")]);
        let settings = [("VIRTUAL_HOST", "hosty.home.test"), ("VIRTUAL_PORT", "18081")];
        engine.serve("hosty", 18081, &["--network", "host"], &settings);
        engine.serve("lonely", 80, &["--network", "theirs"], &[("VIRTUAL_HOST", "lonely.home.test")]);
        move_in(&engine, "ours");
        let address = engine.address("doorward", "ours");
        for name in ["shared", "apart", "hosty"] {
            eventually(&format!("{name} to be served"), async || {
                (asked(&address, &format!("{name}.home.test")) == name).then_some(())
            })
            .await;
        }
        let told = engine.docker(&["exec", "doorward", "/program/doorward", "docker", "--state", "/tmp/state"]);
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in [
            "its port 80 as published, for we share no network",
            "on the host's own network",
            "not on a shared network: it is on theirs, we are on ours; publish its port 80, or share a network",
        ] {
            assert!(told.contains(words), "{words}\n{told}");
        }
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn on_the_host_a_container_on_the_hosts_network_and_an_internal_one_are_reached() {
    story(async |engine| {
        engine.docker(&["network", "create", "--internal", "cut-off"]);
        engine.serve("inner", 80, &["--network", "cut-off"], &[("VIRTUAL_HOST", "inner.home.test")]);
        let settings = [("VIRTUAL_HOST", "hosty.home.test"), ("VIRTUAL_PORT", "18081")];
        engine.serve("hosty", 18081, &["--network", "host"], &settings);
        let gateway = engine.gateway("").await;
        answers(&gateway, "inner.home.test", "inner").await;
        answers(&gateway, "hosty.home.test", "hosty").await;
        gateway.logs("hosty.home.test -> http://127.0.0.1:18081; on the host's own network").await;
    });
}

#[ignore = "slow: starts a real engine"]
#[test]
fn an_engine_behind_tls_is_followed_with_a_certificate_on_both_sides() {
    let ca = TestCa::new("the engine's own");
    let mut engine = Engine::prepared(|folder| {
        folder.replace("ca.pem", ca.pem());
        ca.issue(&["127.0.0.1", "localhost"]).write(folder, "engine");
        let at = |name: &str| folder.at(name).display().to_string();
        let word = |option: &str, name: &str| format!("--{option}={}", at(name));
        vec![
            "-H=tcp://127.0.0.1:2376".to_owned(),
            "--tlsverify".to_owned(),
            word("tlscacert", "ca.pem"),
            word("tlscert", "engine.crt"),
            word("tlskey", "engine.key"),
        ]
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        engine.serve("app", 80, &[], &[("VIRTUAL_HOST", "app.home.test")]);
        let mut gateway = crate::harness::Gateway::stopped();
        gateway.folder().replace("docker-ca.pem", ca.pem());
        let ours = ca.issue(&["doorward.home.test"]);
        ours.write(gateway.folder(), "docker");
        gateway.write(file(
            "tcp://127.0.0.1:2376",
            "ca = \"docker-ca.pem\"\ncert = \"docker.crt\"\nkey = \"docker.key\"\n",
        ));
        gateway.start(&[]).await;
        answers(&gateway, "app.home.test", "app").await;
        // Events come over it, too, and the restart of the engine is survived.
        engine.serve("later", 80, &["--restart", "always"], &[("VIRTUAL_HOST", "later.home.test")]);
        answers(&gateway, "later.home.test", "later").await;
        engine.stop();
        eventually("the engine to be missed", async || {
            (gateway.metric("doorward_docker_connected").await == 0.0).then_some(())
        })
        .await;
        engine.launch();
        answers(&gateway, "later.home.test", "later").await;
        // Whom the engine does not know gets nothing.
        gateway.write(file("tcp://127.0.0.1:2376", "ca = \"docker-ca.pem\"\n"));
        gateway.reload().await.accepted();
        gateway.logs("tcp://127.0.0.1:2376: ").await;
    });
}
