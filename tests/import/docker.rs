//! Containers as `docker inspect` shows them, with the nginx-proxy among them, and what becomes of them.

use std::fs;

use serde_json::{Value, json};

use crate::rig::{Folder, flat, text};

/// What stands on LXC_HOME: name, port, network and address, names.
const SERVICES: [(&str, u16, &str, &str, &str); 12] = [
    ("nextcloud", 80, "homelab_home-net", "172.18.0.10", "nextcloud.local.akunito.com,nextcloud.akunito.com"),
    ("syncthing", 8384, "homelab_home-net", "172.18.0.11", "syncthing.local.akunito.com"),
    ("freshrss", 80, "homelab_home-net", "172.18.0.12", "freshrss.local.akunito.com,freshrss.akunito.com"),
    ("calibre-web", 8083, "homelab_home-net", "172.18.0.13", "books.local.akunito.com,calibre.akunito.com"),
    ("emulatorjs", 80, "homelab_home-net", "172.18.0.14", "emulators.local.akunito.com,emulators.akunito.com"),
    ("jellyfin", 8096, "media_mediarr-net", "172.21.0.10", "jellyfin.local.akunito.com,jellyfin.akunito.com"),
    ("jellyseerr", 5055, "media_mediarr-net", "172.21.0.11", "jellyseerr.local.akunito.com,jellyseerr.akunito.com"),
    ("sonarr", 8989, "media_mediarr-net", "172.21.0.12", "sonarr.local.akunito.com"),
    ("radarr", 7878, "media_mediarr-net", "172.21.0.13", "radarr.local.akunito.com"),
    ("prowlarr", 9696, "media_mediarr-net", "172.21.0.14", "prowlarr.local.akunito.com"),
    ("bazarr", 6767, "media_mediarr-net", "172.21.0.15", "bazarr.local.akunito.com"),
    ("gluetun", 8000, "media_mediarr-net", "172.21.0.2", ""),
];

/// A container that runs, as `docker inspect` shows it.
fn container(name: &str, network: &str, address: &str, variables: &[(&str, &str)]) -> Value {
    let id: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    let variables: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "Id": format!("{id:0<64}"),
        "Name": format!("/{name}"),
        "Created": "2026-11-21T07:00:00Z",
        "State": { "Status": "running", "StartedAt": "2026-11-21T07:00:01.5Z" },
        "Config": { "Image": "tiny:1", "Env": variables, "Labels": {} },
        "HostConfig": { "NetworkMode": network },
        "Mounts": [],
        "NetworkSettings": { "Networks": { network: { "NetworkID": format!("id-{network}"), "IPAddress": address } }, "Ports": {} },
    })
}

/// nginx-proxy with its folders, which are below `folder`.
fn proxy(folder: &Folder, folders: &[&str]) -> Value {
    let mut proxy = container("nginx-proxy", "homelab_home-net", "172.18.0.2", &[]);
    proxy["Config"]["Image"] = json!("nginxproxy/nginx-proxy:1.6");
    proxy["NetworkSettings"]["Ports"] = json!({
        "80/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "80" }], "443/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "443" }]
    });
    let mounts = folders.iter().map(|name| {
        let source = folder.0.join(name);
        fs::create_dir_all(&source).unwrap();
        json!({ "Type": "bind", "Source": source.display().to_string(), "Destination": format!("/etc/nginx/{name}") })
    });
    proxy["Mounts"] = mounts.collect();
    proxy
}

fn put(folder: &Folder, name: &str, text: &str) {
    let place = folder.0.join(name);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, text).unwrap();
}

fn imported(folder: &Folder, containers: &[Value]) -> String {
    fs::write(folder.0.join("inspect.json"), json!(containers).to_string()).unwrap();
    folder.import(&["import", "docker", "inspect.json"])
}

fn sonarr(variables: &[(&str, &str)]) -> Value {
    let mut all = vec![("VIRTUAL_HOST", "sonarr.home.test"), ("VIRTUAL_PORT", "8989")];
    all.extend(variables);
    container("sonarr", "home-net", "172.21.0.12", &all)
}

/// The lines that a route has, without comments.
fn lines(file: &str) -> Vec<&str> {
    file.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

/// The containers of LXC_HOME; the file made of them, which was checked.
pub fn whole_home(folder: &Folder) -> String {
    let mut all = vec![proxy(folder, &["certs", "vhost.d"])];
    put(folder, "certs/local.akunito.com.crt", "");
    put(folder, "certs/local.akunito.com.key", "");
    for (name, port, network, address, hosts) in SERVICES {
        let port = port.to_string();
        let asks =
            [("VIRTUAL_HOST", hosts), ("VIRTUAL_PORT", &port), ("NETWORK_ACCESS", "internal"), ("TOKEN", "s3cr3t")];
        all.push(container(name, network, address, if hosts.is_empty() { &asks[3..] } else { &asks }));
    }
    let gluetun = all.last().unwrap()["Id"].as_str().unwrap().to_owned();
    let asks =
        [("VIRTUAL_HOST", "qbittorrent.local.akunito.com"), ("VIRTUAL_PORT", "8085"), ("NETWORK_ACCESS", "internal")];
    let mut torrents = container("qbittorrent", "x", "", &asks);
    torrents["HostConfig"]["NetworkMode"] = json!(format!("container:{gluetun}"));
    torrents["NetworkSettings"]["Networks"] = json!({});
    all.push(torrents);
    imported(folder, &all)
}

#[test]
fn the_whole_home_becomes_a_file_that_keeps_the_promises_of_the_house() {
    let folder = Folder::new();
    let file = whole_home(&folder);
    let certificate = format!("cert = \"{}/certs/local.akunito.com.crt\"", folder.0.display());
    for line in [
        "domain = \"local.akunito.com\"",
        "allow = [\"internal\"]",
        "https = \":443\"",
        "[cert.local]",
        &certificate,
        "= \"http://172.21.0.12:8989\"",
        "http://172.21.0.2:8085",
    ] {
        assert!(file.contains(line), "{line} is missing\n{file}");
    }
    assert!(!file.contains("s3cr3t") && !file.contains("CLOSED"), "{file}");
    let listed = folder.doorward(&["routes", "routes.toml", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let listed = listed.to_string();
    for (_, _, _, _, hosts) in SERVICES {
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            assert!(listed.contains(&format!("\"{host}\"")), "{host} is missing\n{file}");
        }
    }

    // The promises of the house, once somebody has named who `internal` is.
    let blocks = file.lines().find(|line| line.starts_with("internal = ")).unwrap();
    let named = "internal = [\"192.168.8.0/24\", \"172.26.5.0/24\"]\nguest = [\"192.168.9.0/24\"]";
    let mut narrowed = file.replacen(blocks, named, 1);
    for (from, url, is) in [
        ("guest", "sonarr.local.akunito.com/", "denied"),
        ("internal", "sonarr.local.akunito.com/", "sonarr"),
        ("internal", "qbittorrent.local.akunito.com/", "qbittorrent"),
        ("guest", "nextcloud.local.akunito.com/remote.php/dav/", "denied"),
        ("internal", "unheard-of.local.akunito.com/", "unknown host"),
        ("guest", "*.local.akunito.com/*", "denied"),
    ] {
        narrowed += &format!("\n[[expect]]\nfrom = \"{from}\"\nurl = \"https://{url}\"\nis = \"{is}\"\n");
    }
    put(&folder, "routes.toml", &narrowed);
    folder.check(&narrowed);
}

#[test]
fn whatever_the_proxys_files_protect_stays_closed() {
    for (file, text, why) in [
        ("htpasswd/sonarr.home.test", "a:b", "asked for a password"),
        ("htpasswd/sonarr.home.test_0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33", "a:b", "asked for a password"),
        ("vhost.d/sonarr.home.test", "allow 10.0.0.0/8; deny all;", "has `allow 10.0.0.0/8`"),
        ("vhost.d/sonarr.home.test_location", "auth_request /x;", "has `auth_request /x`"),
        ("vhost.d/default", "deny 10.0.0.9;", "vhost.d/default has `deny 10.0.0.9`"),
        ("vhost.d/default_location", "satisfy any;", "default_location has `satisfy any`"),
        ("conf.d/mine.conf", "auth_basic x;", "conf.d/mine.conf has `auth_basic`"),
        ("certs/ca.crt", "", "clients had to show a certificate"),
        ("certs/sonarr.home.test.ca.crt", "", "clients had to show a certificate"),
    ] {
        let folder = Folder::new();
        let proxy = proxy(&folder, &["certs", "vhost.d", "htpasswd", "conf.d"]);
        put(&folder, file, text);
        let made = imported(&folder, &[proxy, sonarr(&[])]);
        let comments: String = made.lines().filter(|line| line.starts_with('#')).map(|line| &line[1..]).collect();
        assert!(comments.contains(why) && comments.contains("CLOSED: "), "{file}\n{made}");
        assert!(made.contains("allow = []") && made.contains("is   = \"denied\""), "{file}\n{made}");
    }
}

#[test]
fn files_that_protect_nothing_close_nothing() {
    let folder = Folder::new();
    let proxy = proxy(&folder, &["certs", "vhost.d", "htpasswd", "conf.d"]);
    put(
        &folder,
        "vhost.d/default",
        "## Start of configuration add by letsencrypt container\nlocation ^~ /.well-known/acme-challenge/ {\n    auth_basic off;\n    allow all;\n    break;\n}\n## End of configuration add by letsencrypt container\n",
    );
    put(&folder, "vhost.d/other.home.test", "deny all;");
    put(&folder, "htpasswd/other.home.test", "a:b");
    put(&folder, "vhost.d/sonarr.home.test_location", "client_max_body_size 0;");
    put(&folder, "conf.d/default.conf", "server { deny all; }");
    put(&folder, "conf.d/mine.conf", "client_max_body_size 100m; server { listen 81; }");
    let made = imported(&folder, &[proxy, sonarr(&[])]);
    assert!(!made.contains("CLOSED") && !made.contains("allow = []"), "{made}");
    assert!(made.contains("client_max_body_size 0;") && made.contains("listen 81;"), "both are shown\n{made}");
}

#[test]
fn what_cannot_be_seen_may_protect() {
    let folder = Folder::new();
    let mut hidden = proxy(&folder, &[]);
    hidden["Mounts"] = json!([{ "Type": "volume", "Source": folder.0.join("nowhere").display().to_string(), "Destination": "/etc/nginx/htpasswd" }]);
    let made = imported(&folder, &[hidden, sonarr(&[])]);
    assert!(flat(&made).contains("cannot be read here") && made.contains("allow = []"), "{made}");
    let made = imported(&folder, &[sonarr(&[])]);
    assert!(flat(&made).contains("is not among these") && made.contains("allow = []"), "{made}");
    let mut own = proxy(&folder, &[]);
    own["Config"]["Image"] = json!("registry.home.test/my/nginx-proxy");
    let made = imported(&folder, &[own, sonarr(&[])]);
    assert!(flat(&made).contains("may hold files of your own") && made.contains("allow = []"), "{made}");
}

#[test]
fn who_asked_for_a_limit_keeps_one() {
    let folder = Folder::new();
    let proxy = proxy(&folder, &[]);
    let with = |name: &str, value: &str| imported(&folder, &[proxy.clone(), sonarr(&[(name, value)])]);
    let internal = with("NETWORK_ACCESS", "internal");
    assert!(internal.contains("internal = [") && flat(&internal).contains("a guest network too"), "{internal}");
    assert!(with("NETWORK_ACCESS", "intern").contains("allow = []"));
    let mut own = proxy.clone();
    put(&folder, "internal.conf", "# the house\nallow 192.168.8.0/24;\nallow 172.26.5.0/24;\ndeny all;\n");
    own["Mounts"] = json!([{ "Type": "bind", "Source": folder.0.join("internal.conf").display().to_string(),
                             "Destination": "/etc/nginx/network_internal.conf" }]);
    let all = [own, sonarr(&[("NETWORK_ACCESS", "internal")])];
    let made = imported(&folder, &all);
    assert!(made.contains("internal = [\"172.26.5.0/24\", \"192.168.8.0/24\"]"), "{made}");
    put(&folder, "internal.conf", "include other.conf;");
    assert!(imported(&folder, &all).contains("allow = []"));
    let mut asking = sonarr(&[]);
    asking["Config"]["Labels"] = json!({ "com.github.nginx-proxy.nginx-proxy.ssl_verify_client": "optional" });
    assert!(imported(&folder, &[proxy.clone(), asking]).contains("allow = []"));
}

#[test]
fn where_paths_of_a_name_admit_different_people_the_narrowest_counts() {
    let folder = Folder::new();
    let web = |name: &str, address: &str, more: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = [("VIRTUAL_HOST", "app.home.test")].iter().chain(more).copied().collect();
        container(name, "home-net", address, &all)
    };
    let open = web("web", "172.21.0.20", &[]);
    for (word, allow) in [("internal", "allow = [\"internal\"]"), ("intern", "allow = []")] {
        let admin = web("admin", "172.21.0.21", &[("VIRTUAL_PATH", "/admin/"), ("NETWORK_ACCESS", word)]);
        let made = imported(&folder, &[proxy(&folder, &[]), open.clone(), admin]);
        assert!(made.contains(allow) && made.contains("differed from path to path"), "{word}: {made}");
    }
}

#[test]
fn addresses_that_last_come_first_and_the_others_are_told() {
    let folder = Folder::new();
    let proxy = proxy(&folder, &[]);
    let made = imported(&folder, &[proxy.clone(), sonarr(&[])]);
    assert!(made.contains("\"http://172.21.0.12:8989\"") && flat(&made).contains("gives out anew"), "{made}");
    let mut published = sonarr(&[]);
    published["NetworkSettings"]["Ports"] = json!({ "8989/tcp": [{ "HostIp": "0.0.0.0", "HostPort": "18989" }] });
    let made = imported(&folder, &[proxy.clone(), published]);
    assert!(made.contains("\"http://127.0.0.1:18989\"") && !flat(&made).contains("gives out anew"), "{made}");
    let mut fixed = sonarr(&[]);
    fixed["NetworkSettings"]["Networks"]["home-net"]["IPAMConfig"] = json!({ "IPv4Address": "172.21.0.12" });
    let made = imported(&folder, &[proxy.clone(), fixed]);
    assert!(made.contains("\"http://172.21.0.12:8989\"") && !flat(&made).contains("gives out anew"), "{made}");
    let mut stopped = sonarr(&[]);
    stopped["State"]["Status"] = json!("exited");
    let made = imported(
        &folder,
        &[proxy, stopped, container("radarr", "home-net", "172.21.0.13", &[("VIRTUAL_HOST", "radarr.home.test")])],
    );
    assert!(flat(&made).contains("sonarr has no address") && made.contains("172.21.0.13"), "{made}");
}

#[test]
fn paths_protocols_and_several_containers_of_one_name_are_carried() {
    let folder = Folder::new();
    let web = |name: &str, address: &str, more: &[(&str, &str)]| {
        let mut all = vec![("VIRTUAL_HOST", "app.home.test")];
        all.extend(more);
        let mut one = container(name, "home-net", address, &all);
        one["Config"]["Labels"] = json!({ "com.github.nginx-proxy.nginx-proxy.loadbalance": "ip_hash;" });
        one
    };
    let made = imported(
        &folder,
        &[
            proxy(&folder, &[]),
            web("web-1", "172.21.0.20", &[]),
            web("web-2", "172.21.0.21", &[]),
            web(
                "api",
                "172.21.0.22",
                &[
                    ("VIRTUAL_PATH", "/api"),
                    ("VIRTUAL_DEST", "/"),
                    ("VIRTUAL_PROTO", "https"),
                    ("VIRTUAL_PORT", "8443"),
                ],
            ),
            web("v2", "172.21.0.23", &[("VIRTUAL_PATH", "/v2/"), ("VIRTUAL_DEST", "/new/")]),
            container(
                "rpc",
                "home-net",
                "172.21.0.24",
                &[("VIRTUAL_HOST", "rpc.home.test"), ("VIRTUAL_PROTO", "grpc")],
            ),
            container("any", "home-net", "172.21.0.25", &[("VIRTUAL_HOST", "~^x"), ("VIRTUAL_PROT", "https")]),
            container(
                "uwsgi",
                "home-net",
                "172.21.0.26",
                &[("VIRTUAL_HOST", "u.home.test"), ("VIRTUAL_PROTO", "uwsgi")],
            ),
        ],
    );
    for line in [
        "to = [\"http://172.21.0.20\", \"http://172.21.0.21\"]",
        "balance = \"sticky\"",
        "strip = true }",
        "replace = \"/new/\" }",
        "verify = false",
        "h2c://172.21.0.24",
        "# `~^x` has no counterpart",
        "VIRTUAL_PROT has no effect",
        "# The container uwsgi: VIRTUAL_PROTO is `uwsgi`",
    ] {
        assert!(made.contains(line), "{line} is missing\n{made}");
    }
}

#[test]
fn certificates_come_from_the_proxys_folder_or_are_ordered_anew() {
    let folder = Folder::new();
    let mut proxy = proxy(&folder, &["certs"]);
    proxy["Config"]["Env"] = json!(["DEFAULT_HOST=sonarr.home.test", "HTTPS_PORT=8443"]);
    proxy["NetworkSettings"]["Ports"] = json!({ "8443/tcp": [{ "HostIp": "192.168.8.80", "HostPort": "443" }] });
    for name in ["shared.crt", "shared.key", "radarr.home.test.crt", "home.test.crt", "home.test.key"] {
        put(&folder, &format!("certs/{name}"), "");
    }
    let radarr = container("radarr", "home-net", "172.21.0.13", &[("VIRTUAL_HOST", "radarr.home.test")]);
    let asks = [
        ("VIRTUAL_HOST", "blog.example.com"),
        ("LETSENCRYPT_HOST", "blog.example.com, www.blog.example.com"),
        ("LETSENCRYPT_EMAIL", "me@example.com"),
    ];
    let blog = container("blog", "home-net", "172.21.0.14", &asks);
    let made = imported(&folder, &[proxy, sonarr(&[("CERT_NAME", "shared")]), radarr, blog]);
    let place = folder.0.display();
    for line in [
        "https = \"192.168.8.80:443\"".to_owned(),
        "http  = \"192.168.8.80:80\"".to_owned(),
        format!("cert = \"{place}/certs/shared.crt\""),
        // radarr.home.test.crt has no key: the parent's is the one that nginx-proxy took.
        format!("cert = \"{place}/certs/home.test.crt\""),
        "names = [\"blog.example.com\", \"www.blog.example.com\"]\nchallenge = \"http-01\"\nemail = \"me@example.com\""
            .to_owned(),
        "\"*\"".to_owned(),
    ] {
        assert!(made.contains(&line), "{line} is missing\n{made}");
    }
}

#[test]
fn several_files_are_one_home_and_what_is_none_is_said_to_be_none() {
    let folder = Folder::new();
    put(&folder, "a.json", &json!([proxy(&folder, &[])]).to_string());
    put(&folder, "b.json", &json!([sonarr(&[]), sonarr(&[])]).to_string());
    let made = folder.import(&["import", "docker", "a.json", "b.json"]);
    assert!(made.contains("http://172.21.0.12:8989") && !made.contains("allow = []"), "{made}");
    for (what, why) in [
        ("{}", "not what `docker inspect` prints"),
        ("[]", "none of its 0 containers has a VIRTUAL_HOST"),
        ("x", "not what"),
    ] {
        put(&folder, "c.json", what);
        let refused = folder.doorward(&["import", "docker", "c.json"]);
        assert_eq!(refused.status.code(), Some(2), "{what}");
        assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn hostile_words_of_a_container_stay_in_their_comments_and_strings() {
    let folder = Folder::new();
    let name = "x\n[routes]\nevil = \"http://10.0.0.1\"\n#";
    let mut hostile = sonarr(&[("VIRTUAL_PROTO", "a\n[routes.b]\nto = \"http://10.0.0.1\"")]);
    hostile["Name"] = json!(format!("/{name}"));
    let mut proxy = proxy(&folder, &[]);
    proxy["Config"]["Env"] = json!([format!("DEFAULT_HOST={name}")]);
    let all = [proxy, hostile, container("ok", "home-net", "172.21.0.13", &[("VIRTUAL_HOST", "ok.home.test")])];
    let made = imported(&folder, &all);
    assert_eq!(lines(&made).iter().filter(|line| line.contains("10.0.0.1")).count(), 0, "{made}");
}

/// Blocks of a paper that are whole files say so in their first line.
fn whole_files(paper: &str) -> Vec<String> {
    let blocks = paper.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.starts_with("# routes.toml")).map(str::to_owned).collect()
}

#[test]
fn the_files_of_the_guides_are_accepted() {
    let papers = [include_str!("../../docs/moving-nginx-proxy.md"), include_str!("../../docs/moving-traefik.md")];
    let files: Vec<String> = papers.into_iter().flat_map(whole_files).collect();
    assert_eq!(files.len(), 3);
    for file in files {
        let folder = Folder::new();
        put(&folder, "routes.toml", &file);
        folder.check(&file);
    }
}
