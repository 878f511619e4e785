//! A whole home as NPM has it: 21 hosts, two access lists, a wildcard certificate.

use crate::rig::{Folder, HOST, ProxyHost, Version, access_list, certificate, database, insert, place, text};

const MACHINES: &[(&str, (&str, &str, u16))] = &[
    ("nextcloud", ("https", "192.168.8.80", 443)),
    ("syncthing", ("https", "192.168.8.80", 443)),
    ("freshrss", ("https", "192.168.8.80", 443)),
    ("books", ("https", "192.168.8.80", 443)),
    ("emulators", ("https", "192.168.8.80", 443)),
    ("jellyfin", ("https", "192.168.8.80", 443)),
    ("jellyseerr", ("https", "192.168.8.80", 443)),
    ("sonarr", ("https", "192.168.8.80", 443)),
    ("radarr", ("https", "192.168.8.80", 443)),
    ("prowlarr", ("https", "192.168.8.80", 443)),
    ("bazarr", ("https", "192.168.8.80", 443)),
    ("qbittorrent", ("https", "192.168.8.80", 443)),
    ("unifi", ("https", "192.168.8.206", 8443)),
    ("grafana", ("https", "192.168.8.85", 443)),
    ("kuma", ("http", "192.168.8.89", 3001)),
    ("plane", ("http", "192.168.8.86", 3000)),
    ("info", ("http", "192.168.8.88", 3000)),
    ("element", ("http", "192.168.8.104", 8080)),
];

/// The home as NPM has it on LXC_proxy; the file made of it, which was checked.
pub fn of_npm(folder: &Folder) -> String {
    let npm = database(folder, Version::V2_15);
    let meta = r#"{"letsencrypt_email":"admin@akunito.com","dns_challenge":true,"dns_provider":"cloudflare",
                   "dns_provider_credentials":"dns_cloudflare_api_token = s3cr3t"}"#;
    let certificate = certificate(&npm, "letsencrypt", &["local.akunito.com", "*.local.akunito.com"], meta);
    let rules = [("allow", "192.168.8.0/24"), ("allow", "172.26.5.0/24"), ("deny", "all")];
    let access = access_list(&npm, "LAN and VPN", &rules, &[], false);
    let admins = access_list(&npm, "Admins", &[("allow", "192.168.8.0/24")], &["akunito"], true);
    for (name, to) in MACHINES {
        let name = format!("{name}.local.akunito.com");
        insert(&npm, &ProxyHost { names: &[&name], to: *to, access, certificate, ..HOST });
    }
    let prometheus = ["prometheus.local.akunito.com"];
    let to = ("https", "192.168.8.85", 443);
    insert(&npm, &ProxyHost { names: &prometheus, to, access: admins, certificate, ..HOST });
    let locations = r#"[{"path":"/_synapse/admin/","forward_scheme":"http","forward_host":"192.168.8.104","forward_port":8008,
                         "advanced_config":"deny all;"}]"#;
    let to = ("http", "192.168.8.104", 8008);
    insert(&npm, &ProxyHost { names: &["matrix.local.akunito.com"], to, access, certificate, locations, ..HOST });
    let locations = r#"[{"path":"/api","forward_scheme":"http","forward_host":"192.168.8.87","forward_port":3001},
                        {"path":"/cable","forward_scheme":"http","forward_host":"192.168.8.87","forward_port":3001}]"#;
    let to = ("http", "192.168.8.87", 3000);
    insert(&npm, &ProxyHost { names: &["lefty.local.akunito.com"], to, access, certificate, locations, ..HOST });
    drop(npm);
    folder.import(&["import", "npm", &place(folder)])
}

/// Names of routes, and how many promises are kept.
fn kept(folder: &Folder) -> (Vec<String>, u64) {
    let json =
        |words: &[&str]| -> serde_json::Value { serde_json::from_slice(&folder.doorward(words).stdout).unwrap() };
    let checked = json(&["check", "routes.toml", "--json"]);
    assert_eq!(checked["good"], true, "{checked}");
    let listed = json(&["routes", "routes.toml", "--json"]);
    let hosts = listed["routes"].as_array().unwrap().iter().filter_map(|route| route["host"].as_str());
    (hosts.map(str::to_owned).collect(), checked["summary"]["expectations"].as_u64().unwrap())
}

#[test]
fn npm_and_the_containers_of_nginx_proxy_together_are_the_whole_home_and_keep_their_own_promises() {
    let (edge, inner) = (Folder::new(), Folder::new());
    of_npm(&edge);
    crate::docker::whole_home(&inner);
    let ((mut names, at_the_edge), (others, inside)) = (kept(&edge), kept(&inner));
    assert!(at_the_edge > 0 && inside > 0, "both make promises: {at_the_edge}, {inside}");
    names.extend(others);
    // Whatever the home's own file serves came from one of the two, but for what neither ever had.
    let own = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml")).unwrap();
    let own: toml_edit::DocumentMut = own.parse().unwrap();
    let routes = own["routes"].as_table().unwrap().iter().map(|(name, _)| format!("{name}.local.akunito.com"));
    let absent: Vec<String> = routes.filter(|name| !names.contains(name)).collect();
    assert_eq!(absent, ["npm.local.akunito.com", "obsidian.local.akunito.com"]);
}

#[test]
fn the_whole_home_becomes_a_file_that_keeps_its_own_promises_and_the_house_s() {
    let folder = Folder::new();
    let file = of_npm(&folder);
    for line in [
        "domain = \"local.akunito.com\"",
        "lan-and-vpn = [\"172.26.5.0/24\", \"192.168.8.0/24\"]",
        "[upstreams.host80]",
        "sonarr      = \"host80\"",
        "kuma        = \"http://192.168.8.89:3001\"",
        "\"/api/*\" = \"host87\"",
        "\"/_synapse/admin/*\" = { allow = [] }",
        "token_file = \"/run/credentials/doorward.service/cloudflare-token\"",
    ] {
        assert!(file.contains(line), "{line} is missing\n{file}");
    }
    assert!(!file.contains("s3cr3t") && !file.contains("hunter2"), "{file}");

    // The promises of the house, which nobody could write for NPM.
    let house = "\n[networks]\n".to_owned();
    let with_guest = file.replacen(&house, "\n[networks]\nguest = [\"192.168.9.0/24\"]\n", 1);
    assert_ne!(with_guest, file);
    let mut promises = String::new();
    for (from, url, is) in [
        ("guest", "sonarr.local.akunito.com/", "denied"),
        ("guest", "matrix.local.akunito.com/_synapse/admin/v1/users", "denied"),
        ("lan-and-vpn", "matrix.local.akunito.com/_synapse/admin/v1/users", "denied"),
        ("lan-and-vpn", "nextcloud.local.akunito.com/", "host80"),
        ("lan-and-vpn", "prometheus.local.akunito.com/", "denied"),
        ("lan-and-vpn", "lefty.local.akunito.com/cable", "host87"),
        ("guest", "*.local.akunito.com/*", "denied"),
        ("lan-and-vpn", "matrix.local.akunito.com/_synapse/admin/*", "denied"),
    ] {
        promises += &format!("\n[[expect]]\nfrom = \"{from}\"\nurl = \"https://{url}\"\nis = \"{is}\"\n");
    }
    std::fs::write(folder.0.join("routes.toml"), with_guest + &promises).unwrap();
    folder.check(&file);

    // Opened by hand, the closed route breaks the promise that came with it.
    let opened = file.replace("allow = []\n", "allow = [\"anyone\"]\n");
    std::fs::write(folder.0.join("routes.toml"), opened).unwrap();
    let refused = folder.doorward(&["check", "routes.toml"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    assert!(text(&refused.stdout).contains("this promise is broken"), "{}", text(&refused.stdout));
}

/// The home of docs/moving.md: what it says in other files' words is what those programs take, and ours keeps its promise.
#[test]
fn the_home_of_the_page_is_good_in_every_words_that_it_is_written_in() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/moving.md")).unwrap();
    let (_, page) = page.split_once("## The same home, written both ways").unwrap();
    let block =
        |kind: &str| page.split_once(&format!("```{kind}\n")).unwrap().1.split_once("```").unwrap().0.to_owned();
    let folder = Folder::new();
    crate::servers::certificate(&folder, "home", &["*.home.example"]);
    let here = folder.0.display().to_string();

    let nginx = block("nginx").replace("/etc/ssl/", &format!("{here}/"));
    let nginx = format!("pid {here}/pid;\nerror_log {here}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{nginx}}}\n");
    std::fs::write(folder.0.join("nginx.conf"), nginx).unwrap();
    let mut command = std::process::Command::new("/usr/sbin/nginx");
    let judged =
        command.args(["-t", "-c", &format!("{here}/nginx.conf"), "-e", &format!("{here}/log")]).output().unwrap();
    assert!(judged.status.success(), "{}", text(&judged.stderr));

    std::fs::write(folder.0.join("Caddyfile"), block("caddyfile")).unwrap();
    let mut command = std::process::Command::new("caddy");
    command.args(["adapt", "--config", "Caddyfile"]).current_dir(&folder.0).env("HOME", &folder.0);
    let judged = command.output().expect("caddy is installed");
    assert!(judged.status.success(), "{}", text(&judged.stderr));
    assert!(!text(&judged.stderr).contains("not formatted"), "{}", text(&judged.stderr));

    let ours = block("toml");
    std::fs::write(folder.0.join("routes.toml"), ours.replace("/etc/ssl/", &format!("{here}/"))).unwrap();
    let checked = folder.doorward(&["check", "routes.toml"]);
    let printed = text(&checked.stdout);
    assert_eq!(checked.status.code(), Some(0), "{printed}");
    assert!(printed.contains("good (4 routes, 1 door, 1 expectation)"), "{printed}");
}

/// The same home as rows of NPM, and what the page says becomes of it.
#[test]
fn the_home_of_the_page_in_npm_becomes_the_file_of_the_page_but_for_what_is_closed() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/moving.md")).unwrap();
    let (_, table) =
        page.split_once("| host | forwards to | custom location | *Advanced* |\n|---|---|---|---|\n").unwrap();
    let folder = Folder::new();
    let npm = database(&folder, Version::V2_15);
    let access = access_list(&npm, "House", &[("allow", "192.168.1.0/24"), ("allow", "172.26.5.0/24")], &[], false);
    let certificate = certificate(&npm, "other", &["*.home.example"], "{}");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let to: Vec<&str> = cells[1].split(' ').collect();
        let locations = cells[2].split_once(" to ").map(|(path, to)| {
            let to: Vec<&str> = to.split(' ').collect();
            let path = path.trim_matches('`');
            serde_json::json!([{"path": path, "forward_scheme": to[0], "forward_host": to[1], "forward_port": to[2]}])
        });
        let locations = locations.map_or_else(|| "[]".to_owned(), |locations| locations.to_string());
        let to = (to[0], to[1], to[2].parse().unwrap());
        let snippet = cells[3].trim_matches('`');
        insert(&npm, &ProxyHost { names: &[cells[0]], to, access, certificate, snippet, locations: &locations });
    }
    drop(npm);
    let file = folder.import(&["import", "npm", &place(&folder)]);
    // A door of another name is another door.
    std::fs::write(folder.0.join("routes.toml"), file.replace("[listen.main]", "[listen.lan]")).unwrap();
    let ours = page.split_once("In Doorward:\n\n```toml\n").unwrap().1.split_once("```").unwrap().0;
    std::fs::write(folder.0.join("ours.toml"), ours).unwrap();
    let planned = folder.doorward(&["plan", "routes.toml", "--config", "ours.toml", "--json"]);
    let planned: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!((&planned["added"], &planned["removed"]), (&serde_json::json!([]), &serde_json::json!([])), "{planned}");
    for change in planned["access"].as_array().unwrap() {
        assert_eq!(change["gains"], false, "{planned}");
        let of = change["to"].as_array().unwrap();
        assert!(of.iter().all(|name| name.as_str().unwrap().starts_with("films.home.example")), "{planned}");
    }
    for change in planned["changed"].as_array().unwrap() {
        let what: Vec<&str> = change["what"].as_array().unwrap().iter().map(|what| what.as_str().unwrap()).collect();
        match change["name"].as_str().unwrap() {
            "films" => {}
            // Only who may enter is written otherwise, and comes to the same.
            _ => assert!(what.iter().all(|what| what.starts_with("allow: ")), "{planned}"),
        }
    }
}
