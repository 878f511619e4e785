//! The command line is a contract.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::harness::{CERT, DOORS, Door, FRONT, Folder, Gateway, TAIL, Upstream, doorward};

const GOOD: &str = "domain = \"home.test\"\nallow = [\"anyone\"]\n[listen.plain]\nhttp = \"127.0.0.1:8081\"\n[routes]\nshop = \"http://127.0.0.1:9\"\n";

#[tokio::test]
async fn check_says_yes_with_zero_and_no_with_one() {
    let folder = Folder::new();
    folder.replace("routes.toml", GOOD);
    for arguments in [vec!["check"], vec!["check", "routes.toml"]] {
        let good = doorward(folder.path(), &arguments).await;
        assert_eq!(good.code, 0, "{}", good.said());
    }
    folder.replace("routes.toml", GOOD.replace("shop =", "shop = 7\nblog ="));
    let bad = doorward(folder.path(), &["check", "routes.toml"]).await;
    assert_eq!(bad.code, 1, "{}", bad.said());
    assert!(bad.said().contains("routes.toml:6:8"), "{}", bad.said());
}

#[tokio::test]
async fn check_names_every_fault_with_line_caret_and_help() {
    let folder = Folder::new();
    folder.replace(
        "routes.toml",
        "domain = \"home.test\"\nalow = [\"lan\"]\n[listen.plain]\nhttp = \"127.0.0.1:99999\"\n[routes]\nshop = \"hone\"\n[routes.blog.paths]\n\"x\" = \"http://127.0.0.1:9\"\n[upstreams.home]\nto = \"http://127.0.0.1:9\"\n",
    );
    let said = doorward(folder.path(), &["check", "routes.toml"]).await.said();
    for part in [
        "routes.toml:2:1",
        "did you mean `allow`",
        "routes.toml:4:8",
        "routes.toml:6:8",
        "did you mean `home`",
        "routes.toml:8:1",
        "^^^",
        "help:",
    ] {
        assert!(said.contains(part), "`{part}` in {said}");
    }
}

#[tokio::test]
async fn check_speaks_json() {
    let folder = Folder::new();
    folder.replace("routes.toml", GOOD.replace("shop =", "shop = 7\nblog ="));
    let bad = doorward(folder.path(), &["check", "routes.toml", "--json"]).await;
    assert_eq!(bad.code, 1);
    let json: Value = serde_json::from_str(&bad.out).unwrap_or_else(|e| panic!("{e}: {}", bad.out));
    let text = json.to_string();
    assert!(text.contains("\"line\":6") && text.contains("\"column\":8"), "{text}");
    folder.replace("routes.toml", GOOD);
    let good = doorward(folder.path(), &["check", "routes.toml", "--json"]).await;
    assert_eq!(good.code, 0);
    serde_json::from_str::<Value>(&good.out).unwrap_or_else(|e| panic!("{e}: {}", good.out));
}

#[tokio::test]
async fn check_needs_no_certificates_and_no_network() {
    let folder = Folder::new();
    folder.replace(
        "routes.toml",
        format!("{FRONT}{DOORS}{CERT}{TAIL}[routes]\nshop = \"https://nas.invalid\"\n").replace("ADDR", "192.0.2.1"),
    );
    let good = doorward(folder.path(), &["check", "routes.toml"]).await;
    assert_eq!(good.code, 0, "{}", good.said());
    assert!(good.said().contains("edge.crt"), "a warning: {}", good.said());
}

#[tokio::test]
async fn check_warns_about_names_without_certificate_and_doors_without_guests() {
    let folder = Folder::new();
    folder.replace(
        "routes.toml",
        "domain = \"home.test\"\n[listen.main]\nhttps = \"127.0.0.1:8443\"\n[routes]\nshop = \"http://127.0.0.1:9\"\n",
    );
    let good = doorward(folder.path(), &["check", "routes.toml"]).await;
    assert_eq!(good.code, 0, "{}", good.said());
    assert!(good.said().contains("shop.home.test") && good.said().contains("warning"), "{}", good.said());
    assert!(good.said().contains("who may enter"), "{}", good.said());
}

#[tokio::test]
async fn check_tests_the_promises_of_the_file() {
    let folder = Folder::new();
    let promise = "\n[[expect]]\nurl = \"http://shop.home.test/\"\nis = \"denied\"\n";
    folder.replace("routes.toml", format!("{GOOD}{promise}"));
    let bad = doorward(folder.path(), &["check", "routes.toml"]).await;
    assert_eq!(bad.code, 1, "{}", bad.said());
    folder.replace("routes.toml", format!("{GOOD}{promise}").replace("\"anyone\"", "\"127.0.0.0/8\""));
    let good = doorward(folder.path(), &["check", "routes.toml"]).await;
    assert_eq!(good.code, 0, "{}", good.said());
}

#[tokio::test]
async fn a_file_without_a_door_or_without_a_route_is_a_fault() {
    let folder = Folder::new();
    for text in [
        "",
        "domain = \"home.test\"\n[routes]\nshop = \"http://127.0.0.1:9\"\n",
        "[listen.plain]\nhttp = \"127.0.0.1:8081\"\n",
    ] {
        folder.replace("routes.toml", text);
        assert_eq!(doorward(folder.path(), &["check", "routes.toml"]).await.code, 1, "{text:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_told_so() {
    let folder = Folder::new();
    let missing = doorward(folder.path(), &["check", "nothere.toml"]).await;
    assert_ne!(missing.code, 0);
    assert!(missing.said().contains("nothere.toml"), "{}", missing.said());
}

#[tokio::test]
async fn the_homes_own_file_is_good() {
    let folder = Folder::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml");
    let good = doorward(folder.path(), &["check", file]).await;
    assert_eq!(good.code, 0, "{}", good.said());
}

#[tokio::test]
async fn run_refuses_a_faulty_file_with_the_same_words() {
    let mut edge = Gateway::stopped();
    edge.write("domain = \"home.test\"\n[listen.plain]\nhttp = \"ADDR:8081\"\n[routes]\nshop = 7\n");
    let finished = edge.fails_to_start().await;
    assert_ne!(finished.code, 0);
    assert!(finished.said().contains("routes.toml:5:8"), "{}", finished.said());
}

#[tokio::test]
async fn run_refuses_a_door_that_is_taken() {
    let mut edge = Gateway::stopped();
    let _taken = std::net::TcpListener::bind((edge.address(), 8081)).unwrap();
    edge.write_routes("[routes]\nshop = \"http://127.0.0.1:9\"");
    let finished = edge.fails_to_start().await;
    assert_ne!(finished.code, 0);
    assert!(finished.said().contains("8081"), "{}", finished.said());
}

#[tokio::test]
async fn the_state_folder_is_for_its_owner_only_and_so_is_the_socket() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    let mode = |name: &str| std::fs::metadata(edge.folder().at(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("state"), 0o700);
    assert_eq!(mode("state/admin.sock"), 0o600);
}

#[tokio::test]
async fn without_an_admin_socket_it_serves_and_warns() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::stopped();
    std::fs::create_dir_all(edge.folder().at("state/admin.sock/in the way")).unwrap();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.start(&[]).await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
    edge.logs("admin.sock").await;
    edge.write_routes(format!("[routes]\nblog = \"{shop}\""));
    edge.signal(rustix::process::Signal::HUP);
    edge.reaches_generation(2).await;
    assert_eq!(edge.get("blog.home.test/").await.text(), "the shop");
}

#[tokio::test]
async fn a_stale_socket_of_a_killed_process_is_replaced() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::serving(format!("[routes]\nshop = \"{shop}\"")).await;
    edge.signal(rustix::process::Signal::KILL);
    edge.exit_code().await;
    edge.start(&[]).await;
    edge.reload().await.accepted();
}

#[tokio::test]
async fn defaults_of_state_and_config_are_beside_each_other() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.start_as(&["run"], &[]).await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
    let mode = std::fs::metadata(edge.folder().at("certs")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    assert!(edge.folder().at("certs/admin.sock").exists());
    let reloaded = doorward(edge.folder().path(), &["reload"]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.said());
}

#[tokio::test]
async fn a_service_manager_may_say_where_state_and_socket_are() {
    let shop = Upstream::answering("the shop").await;
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    let (state, runtime) = (edge.folder().at("var"), edge.folder().at("run"));
    std::fs::create_dir_all(&runtime).unwrap();
    edge.start_as(
        &["run"],
        &[("STATE_DIRECTORY", state.to_str().unwrap()), ("RUNTIME_DIRECTORY", runtime.to_str().unwrap())],
    )
    .await;
    assert_eq!(edge.get("shop.home.test/").await.text(), "the shop");
    assert!(runtime.join("admin.sock").exists() && state.exists());
    assert!(!edge.folder().at("certs").exists());
    let socket = runtime.join("admin.sock");
    let reloaded = doorward(edge.folder().path(), &["reload", "--socket", socket.to_str().unwrap()]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.said());
}

#[tokio::test]
async fn keys_of_the_local_ca_are_for_their_owner_only() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\n\"www.example.com\" = \"{shop}\"")).await;
    for entry in std::fs::read_dir(edge.folder().at("state/local-ca")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "key") {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        }
    }
}

#[tokio::test]
async fn routes_shows_the_table_in_force() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example.com\"")).await;
    edge.write("broken");
    let table = doorward(edge.folder().path(), &["routes", "--state", "state"]).await;
    assert_eq!(table.code, 0, "{}", table.said());
    for part in ["shop", "shop.example.com", &shop.address().to_string(), "home.test"] {
        assert!(table.out.contains(part), "{part} in {}", table.out);
    }
    let json = doorward(edge.folder().path(), &["routes", "--json", "--state", "state"]).await;
    let value: Value = serde_json::from_str(&json.out).unwrap_or_else(|e| panic!("{e}: {}", json.out));
    assert!(value.to_string().contains("shop.home.test"));
}

#[tokio::test]
async fn routes_shows_the_table_of_a_file() {
    let folder = Folder::new();
    folder.replace("routes.toml", GOOD);
    let table = doorward(folder.path(), &["routes", "routes.toml"]).await;
    assert_eq!(table.code, 0, "{}", table.said());
    assert!(table.out.contains("shop") && table.out.contains("http://127.0.0.1:9"), "{}", table.out);
}

#[tokio::test]
async fn the_number_of_workers_can_be_given() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.start_as(&["run", "--state", "state", "--workers", "1"], &[]).await;
    assert_eq!(edge.ticks_of_cores().len(), 1);
    drop(edge);
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.start_as(&["run", "--state", "state", "--workers", "4"], &[]).await;
    assert_eq!(edge.ticks_of_cores().len(), 4);
    assert_eq!(edge.client().at(Door::Plain).get("shop.home.test/").await.status, 200);
}

#[tokio::test]
async fn there_are_as_many_workers_as_cores_that_may_be_used() {
    let shop = Upstream::echoing().await;
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    edge.start_as(&["run", "--state", "state"], &[]).await;
    assert!((1..=allowed.count() as usize).contains(&edge.ticks_of_cores().len()), "a cgroup may leave us fewer");
    drop(edge);
    // Of one core, one.
    let first = (0..1024).find(|&cpu| allowed.is_set(cpu)).expect("a core");
    let mut edge = Gateway::stopped();
    edge.write_routes(format!("[routes]\nshop = \"{shop}\""));
    edge.start_on_core(first).await;
    assert_eq!(edge.ticks_of_cores().len(), 1);
}

#[tokio::test]
async fn started_by_root_it_becomes_the_named_user_and_still_opens_low_ports() {
    let mut edge = Gateway::stopped();
    edge.write_routes("[routes]\nshop = \"http://127.0.0.1:1\"");
    let arguments = ["run", "--config", "routes.toml", "--state", "state", "--user", "nobody"];
    if !rustix::process::geteuid().is_root() {
        let said = doorward(edge.folder().path(), &arguments).await;
        assert!(said.code == 3 && said.err.contains("only root can become somebody else"), "{}", said.said());
        return;
    }
    for (name, mode) in [("", 0o755), ("edge.crt", 0o644), ("edge.key", 0o644), ("routes.toml", 0o644)] {
        std::fs::set_permissions(edge.folder().at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    edge.start_as(&arguments, &[]).await;
    let status = |process: u32| std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let expected = ["Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000400", "NoNewPrivs:\t1"];
    for line in expected {
        assert!(status(edge.pid()).contains(line), "{line} is not in {}", status(edge.pid()));
    }
    let more = "[routes]\nshop = \"http://127.0.0.1:1\"\n[listen.low]\nhttp = \"ADDR:81\"\n";
    edge.write_routes(more);
    std::fs::set_permissions(edge.folder().at("routes.toml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    edge.reload().await.accepted();
    std::net::TcpStream::connect((edge.address(), 81)).expect("the low port");
    // Where `nobody` may run it, wherever the tests were built.
    let program = edge.folder().at("doorward");
    std::fs::copy(env!("CARGO_BIN_EXE_doorward"), &program).unwrap();
    let program = program.to_str().unwrap();
    let said = doorward(edge.folder().path(), &["upgrade", "--state", "state", "--json", "--binary", program]).await;
    assert_eq!(said.code, 0, "{}", said.said());
    let new = edge.is_followed_by(serde_json::from_str(&said.out).unwrap());
    for line in expected {
        assert!(status(new).contains(line), "{line} is not in {}", status(new));
    }
    std::net::TcpStream::connect((edge.address(), 81)).expect("the low port");
}

#[tokio::test]
async fn the_exit_code_of_run_says_whether_another_try_is_worth_it() {
    let folder = Folder::new();
    let taken = Upstream::echoing().await;
    let file = |door: &str| {
        format!(
            "allow = [\"anyone\"]\nlisten.main = {{ http = \"{door}\" }}\n[routes]\n\"*\" = \"http://127.0.0.1:1\"\n"
        )
    };
    folder.replace("good.toml", file(&taken.address().to_string()));
    folder.replace("faulty.toml", "nonsense");
    let cases: [(&[&str], i32, &str); 4] = [
        // What may be mended while a supervisor tries again.
        (&["--config", "faulty.toml"], 1, "faulty.toml:1:"),
        (&["--config", "not-there-yet.toml"], 1, "not-there-yet.toml"),
        // What no other try will change.
        (&["--confgi", "good.toml"], 2, "--config"),
        // What the machine does not let it do.
        (&["--config", "good.toml"], 3, "Address already in use"),
    ];
    for (words, code, why) in cases {
        let said = doorward(folder.path(), &[&["run", "--state", "state"], words].concat()).await;
        assert_eq!(said.code, code, "{words:?}: {}", said.said());
        assert!(said.err.contains(why), "{words:?}: {}", said.said());
    }
}

#[tokio::test]
async fn doctor_names_what_is_wrong_here_each_with_its_mend() {
    let folder = Folder::new();
    let (shop, taken) = (Upstream::echoing().await, Upstream::echoing().await);
    let file = |door: &str| {
        format!(
            "domain = \"localhost\"\nallow = [\"anyone\"]\n[listen.plain]\nhttp = \"{door}\"\n[routes]\n\
             shop = \"{shop}\"\ngone = \"http://127.0.0.1:1\"\n[cert.main]\nnames = [\"shop.localhost\"]\n\
             dns = \"cloudflare\"\ntoken_file = \"/run/credentials/doorward.service/token\"\n\
             [[cert.main.export]]\ndir = \"/srv/no-such-folder\"\ncert = \"a.crt\"\nkey = \"a.key\"\ngroup = \"certs\"\n\
             command = [\"/srv/no-such-program\"]\n"
        )
    };
    folder.replace("routes.toml", file(&taken.address().to_string()));
    let said = doorward(folder.path(), &["doctor", "--json"]).await;
    assert_eq!(said.code, 1, "{}", said.said());
    let findings: Value = serde_json::from_str(&said.out).expect("JSON");
    let about = |topic: &str| -> Vec<String> {
        let all = findings["findings"].as_array().unwrap().iter().filter(|finding| finding["topic"] == topic);
        all.map(|finding| format!("{} {} | {}", finding["health"], finding["said"], finding["mend"])).collect()
    };
    let holder = format!("(process {})\" | ", std::process::id());
    let ports = about("ports").concat();
    assert!(ports.contains(&taken.address().to_string()) && ports.contains(&holder), "{ports}");
    assert!(about("rights").iter().any(|said| said.contains("LoadCredential=token:PATH")), "{:?}", about("rights"));
    for missing in ["/srv/no-such-folder: no folder", "/srv/no-such-program: No such file"] {
        assert!(about("rights").iter().any(|said| said.contains(missing)), "{:?}", about("rights"));
    }
    assert_eq!(about("upstreams").len(), 1, "{:?}", about("upstreams"));
    assert!(about("upstreams")[0].starts_with("\"warning\" \"http://127.0.0.1:1"), "{:?}", about("upstreams"));

    let unit = doorward(folder.path(), &["doctor", "--unit"]).await;
    assert_eq!(unit.code, 0, "{}", unit.said());
    for line in [
        "[Service]",
        "ReadWritePaths=/srv/no-such-folder",
        "DynamicUser=no",
        "SupplementaryGroups=certs",
        "LoadCredential=token:/etc/doorward/secrets/token",
    ] {
        assert!(unit.out.lines().any(|said| said == line), "{line} is not in {}", unit.out);
    }
}
