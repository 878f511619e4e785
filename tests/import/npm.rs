//! One thing that NPM can be told, and what becomes of it.

use std::fs;

use rusqlite::Connection;

use crate::rig::{Folder, HOST, ProxyHost, Version, access_list, certificate, database, flat, insert, place, text};

fn imported(fill: impl FnOnce(&rusqlite::Connection)) -> String {
    let folder = Folder::new();
    let connection = database(&folder, Version::V2_15);
    fill(&connection);
    drop(connection);
    folder.import(&["import", "npm", &place(&folder)])
}

/// The lines of a route's table, without its comments.
fn table<'a>(file: &'a str, name: &str) -> Vec<&'a str> {
    let (_, rest) = file.split_once(&format!("\n[routes.{name}]\n")).unwrap_or_else(|| panic!("no {name} in\n{file}"));
    let end = rest.lines().position(|line| line.starts_with('[') && !line.starts_with(&format!("[routes.{name}.")));
    let lines: Vec<&str> = rest.lines().collect();
    lines[..end.unwrap_or(lines.len())]
        .iter()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .copied()
        .collect()
}

#[test]
fn every_version_of_the_database_is_read() {
    for version in [Version::V2_9, Version::V2_11, Version::V2_15] {
        let folder = Folder::new();
        let connection = database(&folder, version);
        insert(&connection, &ProxyHost { names: &["a.home.test"], ..HOST });
        insert(&connection, &ProxyHost { names: &["b.home.test"], to: ("http", "192.168.8.6", 3000), ..HOST });
        drop(connection);
        let file = folder.import(&["import", "npm", &place(&folder)]);
        assert!(file.contains("domain = \"home.test\""), "{version:?}\n{file}");
        assert!(
            file.contains("\na = \"http://192.168.8.5\"\nb = \"http://192.168.8.6:3000\"\n"),
            "{version:?}\n{file}"
        );
    }
}

#[test]
fn the_first_version_with_its_older_columns_is_read() {
    let folder = Folder::new();
    let connection = database(&folder, Version::V2_0);
    let sql =
        "INSERT INTO proxy_host (domain_names, forward_ip, forward_port) VALUES ('[\"a.home.test\"]', '10.0.0.1', 80)";
    connection.execute(sql, ()).unwrap();
    let file = folder.import(&["import", "npm", &folder.0.display().to_string()]);
    assert!(file.contains("\n\"a.home.test\" = \"http://10.0.0.1\"\n"), "{file}");
}

#[test]
fn a_database_in_use_is_read_with_what_is_still_in_its_log_and_nothing_beside_it_changes() {
    let folder = Folder::new();
    let connection = database(&folder, Version::V2_15);
    connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get::<_, String>(0)).unwrap();
    insert(&connection, &ProxyHost { names: &["late.home.test"], ..HOST });
    let before = files(&folder);
    assert!(before.iter().any(|(name, _)| name == "database.sqlite-wal"), "{before:?}");
    let file = text(&folder.doorward(&["import", "npm", &place(&folder)]).stdout);
    assert!(file.contains("late.home.test"), "{file}");
    assert_eq!(files(&folder), before);
}

fn files(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&folder.0)
        .unwrap()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_no_database_of_npm_is_said_to_be_none() {
    let folder = Folder::new();
    fs::write(folder.0.join("noise"), "this is not a database, however long one looks at it").unwrap();
    fs::write(folder.0.join("empty"), "").unwrap();
    for name in ["noise", "empty", "nowhere"] {
        let output = folder.doorward(&["import", "npm", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).contains(name), "{}", text(&output.stderr));
    }
}

#[test]
fn an_access_list_of_addresses_becomes_a_network() {
    let file = imported(|npm| {
        let rules = [("allow", "192.168.8.0/24"), ("allow", "10.0.0.7"), ("deny", "all")];
        let list = access_list(npm, "LAN only", &rules, &[], false);
        insert(npm, &ProxyHost { names: &["a.home.test"], access: list, ..HOST });
        insert(npm, &ProxyHost { names: &["b.home.test"], to: ("http", "192.168.8.6", 80), access: list, ..HOST });
        insert(npm, &ProxyHost { names: &["open.home.test"], to: ("http", "192.168.8.7", 80), ..HOST });
    });
    assert!(file.contains("\nlan-only = [\"10.0.0.7\", \"192.168.8.0/24\"]\n"), "{file}");
    assert!(file.contains("\nallow = [\"lan-only\"] "), "{file}");
    assert_eq!(table(&file, "open")[..2], ["to = \"http://192.168.8.7\"", "allow = [\"anyone\"]"]);
    assert!(file.contains("[[expect]]\nfrom = \"lan-only\""), "{file}");
}

#[test]
fn whatever_asks_for_more_than_an_address_closes_the_route() {
    let rules: [(&str, &str); 2] = [("allow", "192.168.8.0/24"), ("deny", "all")];
    for (rules, users, any) in [
        (&rules[..], &["joe"][..], false),
        (&rules[..], &["joe", "ann"][..], true),
        (&[][..], &["joe"][..], true),
        (&[][..], &[][..], false),
        (&[("deny", "192.168.8.66"), ("allow", "192.168.8.0/24")][..], &[][..], false),
        (&[("allow", "example.org")][..], &[][..], false),
        (&[("perhaps", "10.0.0.0/8")][..], &[][..], false),
    ] {
        let file = imported(|npm| {
            let list = access_list(npm, "family", rules, users, any);
            insert(npm, &ProxyHost { names: &["a.home.test"], access: list, ..HOST });
        });
        assert_eq!(table(&file, "\"a.home.test\"")[1], "allow = []", "{rules:?} {users:?}\n{file}");
        assert!(flat(&file).contains("# CLOSED: the access list \"family\" "), "{file}");
        assert!(!file.contains("hunter2"), "{file}");
    }
}

#[test]
fn denials_that_take_nothing_from_what_is_admitted_are_no_obstacle() {
    let rules =
        [("deny", "10.0.0.0/8"), ("allow", "10.1.0.0/16"), ("allow", "192.168.8.0/24"), ("deny", "192.168.8.1")];
    let file = imported(|npm| {
        let list = access_list(npm, "lan", &rules, &[], false);
        insert(npm, &ProxyHost { names: &["a.home.test"], access: list, ..HOST });
    });
    assert!(file.contains("\nlan = [\"192.168.8.0/24\"]\n"), "{file}");
}

#[test]
fn a_list_that_is_gone_admits_nobody() {
    let file = imported(|npm| insert(npm, &ProxyHost { names: &["a.home.test"], access: 7, ..HOST }));
    assert_eq!(table(&file, "\"a.home.test\"")[1], "allow = []");
}

#[test]
fn a_snippet_that_may_protect_closes_the_route_and_is_shown() {
    for snippet in
        ["deny all;", "auth_request /outpost;", "if ($x) { return 403; }", "location / { auth_basic x; }", "{"]
    {
        let file = imported(|npm| insert(npm, &ProxyHost { names: &["a.home.test"], snippet, ..HOST }));
        assert_eq!(table(&file, "\"a.home.test\"")[1], "allow = []", "{snippet}\n{file}");
        assert!(file.contains(&format!("#     {snippet}\n")), "{file}");
    }
}

#[test]
fn a_harmless_snippet_is_shown_and_its_redirects_are_carried() {
    let snippet =
        "proxy_read_timeout 600s;\nlocation = /.well-known/carddav {\n  return 301 $scheme://$host/remote.php/dav;\n}";
    let file = imported(|npm| insert(npm, &ProxyHost { names: &["a.home.test"], snippet, ..HOST }));
    let carried = "\"/.well-known/carddav\" = { redirect = \"/remote.php/dav\", status = 301 }";
    assert!(table(&file, "\"a.home.test\"").contains(&carried), "{file}");
    assert!(file.contains("#     proxy_read_timeout 600s;\n"), "{file}");
}

#[test]
fn custom_locations_become_paths() {
    let locations = r#"[
        {"path":"/api","forward_scheme":"http","forward_host":"192.168.8.87","forward_port":3001,"advanced_config":""},
        {"path":"/files/","forward_scheme":"http","forward_host":"192.168.8.87/","forward_port":3002},
        {"path":"= /exact","forward_scheme":"http","forward_host":"192.168.8.87","forward_port":"3003"},
        {"path":"/old","forward_scheme":"http","forward_host":"192.168.8.87/v1","forward_port":3004},
        {"path":"/shut/","forward_scheme":"http","forward_host":"192.168.8.87","forward_port":1,"advanced_config":"deny all;"}
    ]"#;
    let file = imported(|npm| insert(npm, &ProxyHost { names: &["a.home.test"], locations, ..HOST }));
    let table = table(&file, "\"a.home.test\"");
    for line in [
        "\"/api/*\" = \"http://192.168.8.87:3001\"",
        "\"/files/*\" = { to = \"http://192.168.8.87:3002\", strip = true }",
        "\"/exact\" = \"http://192.168.8.87:3003\"",
        "\"/old/*\" = { allow = [] }",
        "\"/shut/*\" = { allow = [] }",
    ] {
        assert!(table.contains(&line), "{line} is missing\n{file}");
    }
}

#[test]
fn a_protected_location_whose_reach_no_path_has_closes_the_whole_route() {
    for path in ["/admin", "~ ^/admin"] {
        let locations = format!(
            r#"[{{"path":"{path}","forward_scheme":"http","forward_host":"10.0.0.1","forward_port":80,"advanced_config":"deny all;"}}]"#
        );
        let host = ProxyHost { names: &["a.home.test"], locations: &locations, ..HOST };
        let file = imported(|npm| insert(npm, &host));
        assert_eq!(table(&file, "\"a.home.test\"")[1], "allow = []", "{file}");
    }
}

#[test]
fn a_location_that_is_no_path_here_closes_the_route_whatever_it_does() {
    let file = imported(|npm| {
        let locations = r#"[{"path":"~ \\.php$","forward_scheme":"http","forward_host":"10.0.0.1","forward_port":80}]"#;
        insert(npm, &ProxyHost { names: &["a.home.test"], locations, ..HOST });
    });
    assert_eq!(
        table(&file, "\"a.home.test\"")[1],
        "allow = []",
        "what it hid of the host itself would be seen\n{file}"
    );
}

#[test]
fn settings_that_cannot_be_read_close_what_they_may_have_protected() {
    let protected = r#"[{"path":"/a/","forward_scheme":"http","forward_host":"10.0.0.1","forward_port":1,"advanced_config":"deny all;"}]"#;
    let twice = serde_json::to_string(protected).unwrap();
    let odd = r#"[{"path":"/a/","forward_scheme":"http","forward_host":"10.0.0.1","forward_port":1,"advanced_config":["deny all;"]}]"#;
    for (locations, closed) in [
        ("nonsense", "allow = []"),
        ("{\"path\":\"/a\"}", "allow = []"),
        ("[7]", "allow = []"),
        (&protected[..90], "allow = []"),
        (&twice, "allow = []"),
        (odd, "\"/a/*\" = { allow = [] }"),
        (protected, "\"/a/*\" = { allow = [] }"),
    ] {
        let file = imported(|npm| insert(npm, &ProxyHost { names: &["a.home.test"], locations, ..HOST }));
        assert!(table(&file, "\"a.home.test\"").contains(&closed), "{locations}\n{file}");
    }
}

#[test]
fn a_name_that_two_hosts_have_is_closed_for_both() {
    let file = imported(|npm| {
        insert(npm, &ProxyHost { names: &["a.home.test", "a.home.test", "A.home.test."], ..HOST });
        insert(npm, &ProxyHost { names: &["b.home.test"], ..HOST });
        let list = access_list(npm, "lan", &[("allow", "10.0.0.0/8")], &[], false);
        insert(npm, &ProxyHost { names: &["B.home.test"], access: list, ..HOST });
    });
    assert_eq!(table(&file, "b")[1], "allow = []", "{file}");
    assert!(!file.contains("[routes.a]") && file.contains("\na = "), "{file}");
}

#[test]
fn files_beside_the_database_protect_every_host_that_npm_includes_them_for() {
    let imported = |name: &str, text: &str| {
        let folder = Folder::new();
        let npm = database(&folder, Version::V2_15);
        insert(&npm, &ProxyHost { names: &["a.home.test"], ..HOST });
        let sql = "INSERT INTO redirection_host (domain_names, forward_domain_name, forward_scheme, forward_http_code)
                   VALUES ('[\"old.home.test\"]', 'a.home.test', 'http', 301)";
        npm.execute(sql, ()).unwrap();
        fs::create_dir_all(folder.0.join("nginx/custom")).unwrap();
        fs::write(folder.0.join("nginx/custom").join(name), text).unwrap();
        folder.import(&["import", "npm", &folder.0.display().to_string()])
    };
    let closed = |file: &str, name: &str| {
        file.contains(&format!("[routes.{name}]\n")) && table(file, name).contains(&"allow = []")
    };
    for (name, text, proxy, redirection) in [
        ("server_proxy.conf", "auth_request /outpost;", true, false),
        ("server_proxy.conf", "location /x { deny all; }", true, false),
        ("server_proxy.conf", "add_header X-A b;", false, false),
        ("server_redirect.conf", "deny all;", false, true),
        ("http.conf", "map $a $b { default 1; }\nserver { listen 81; }", false, false),
        ("http.conf", "map $a $b { default 1; }\nallow 10.0.0.0/8; deny all;", true, true),
        ("http_top.conf", "torn {", true, true),
        ("stream.conf", "deny all;", false, false),
    ] {
        let file = imported(name, text);
        assert_eq!((closed(&file, "a"), closed(&file, "old")), (proxy, redirection), "{name}: {text}\n{file}");
        assert!(
            flat(&file).contains(&format!("NPM had a file of its own, nginx/custom/{name}: not carried over")),
            "{file}"
        );
    }
}

#[test]
fn a_torn_or_bloated_database_is_refused_and_nothing_is_made_of_half_of_it() {
    let folder = Folder::new();
    let npm = database(&folder, Version::V2_15);
    for number in 0..200 {
        let name = format!("a{number}.home.test");
        insert(&npm, &ProxyHost { names: &[&name], snippet: &"# filler\n".repeat(40), ..HOST });
    }
    drop(npm);
    let whole = fs::read(folder.0.join("database.sqlite")).unwrap();
    for part in [whole.len() / 2, whole.len() - 4096, 5000, 100, 16] {
        fs::write(folder.0.join("torn"), &whole[..part]).unwrap();
        let output = folder.doorward(&["import", "npm", "torn"]);
        assert_eq!(output.status.code(), Some(2), "{part} bytes: {}", text(&output.stdout));
        assert_eq!(text(&output.stdout), "");
        assert!(text(&output.stderr).contains("not a database of Nginx Proxy Manager"), "{}", text(&output.stderr));
    }
    let npm = Connection::open(folder.0.join("database.sqlite")).unwrap();
    let sql = "UPDATE proxy_host SET advanced_config = replace(hex(zeroblob(600000)), '00', '# ') || 'deny all;' WHERE id = 1";
    npm.execute(sql, ()).unwrap();
    drop(npm);
    let output = folder.doorward(&["import", "npm", "database.sqlite"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("`proxy_host` has a text of more than 1048576 bytes in `advanced_config`"), "{said}");
}

#[test]
fn what_a_host_of_npm_had_by_its_words_alone_is_said_once_at_the_head() {
    let locations =
        r#"[{"path":"/api","forward_scheme":"http","forward_host":"10.0.0.1","forward_port":80,"advanced_config":""}]"#;
    let file = imported(|npm| {
        let list = access_list(npm, "lan", &[("allow", "10.0.0.0/8")], &[], false);
        let cert = certificate(npm, "other", &["a.home.test"], "{}");
        insert(npm, &ProxyHost { names: &["a.home.test"], access: list, certificate: cert, locations, ..HOST });
        insert(npm, &ProxyHost { names: &["b.home.test"], ..HOST });
        npm.execute("UPDATE proxy_host SET meta = '{\"nginx_online\":false,\"nginx_err\":\"x\"}' WHERE id = 2", ())
            .unwrap();
    });
    let flat = flat(&file);
    for said in [
        "NPM took the client's address from X-Real-IP",
        "1 host had no certificate in NPM and answered by http",
        "NPM's location `/api` was for every path that begins so, `/apix` too",
        "NPM itself could not serve this host",
    ] {
        assert!(flat.contains(said), "{said} is missing\n{file}");
    }
}

#[test]
fn a_location_for_everything_takes_the_place_of_the_host() {
    let locations = r#"[{"path":"/","forward_scheme":"http","forward_host":"10.0.0.9","forward_port":9}]"#;
    let file = imported(|npm| insert(npm, &ProxyHost { names: &["a.home.test"], locations, ..HOST }));
    assert!(file.contains("\n\"a.home.test\" = \"http://10.0.0.9:9\"\n"), "{file}");
}

#[test]
fn an_unverified_https_server_stays_so_and_says_how_to_pin_it() {
    let file = imported(|npm| {
        insert(npm, &ProxyHost { names: &["unifi.home.test"], to: ("https", "192.168.8.206", 8443), ..HOST });
        insert(npm, &ProxyHost { names: &["a.home.test"], to: ("https", "192.168.8.80", 443), ..HOST });
        insert(npm, &ProxyHost { names: &["b.home.test"], to: ("https", "192.168.8.80", 443), ..HOST });
    });
    assert_eq!(table(&file, "unifi")[0], "to = \"https://192.168.8.206:8443\"");
    assert!(table(&file, "unifi")[1] == "verify = false" && flat(&file).contains("doorward trust unifi"), "{file}");
    let bare: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(bare.join("\n").contains("[upstreams.host80]\nto = \"https://192.168.8.80\"\nverify = false"), "{file}");
    assert!(file.contains("\na = \"host80\"\nb = \"host80\"\n"), "{file}");
}

#[test]
fn redirections_and_404_hosts_are_routes_that_answer() {
    let file = imported(|npm| {
        npm.execute_batch(
            "INSERT INTO redirection_host (domain_names, forward_domain_name, forward_scheme, forward_http_code, preserve_path)
               VALUES ('[\"old.home.test\"]', 'new.home.test', '$scheme', 301, 1);
             INSERT INTO redirection_host (domain_names, forward_domain_name, forward_scheme, forward_http_code)
               VALUES ('[\"evil.home.test\"]', 'x\"\n[routes]', 'http', 301);
             INSERT INTO dead_host (domain_names) VALUES ('[\"gone.home.test\"]');",
        )
        .unwrap();
    });
    assert!(file.contains("\"/*\" = { redirect = \"https://new.home.test/\", status = 301 }"), "{file}");
    assert!(flat(&file).contains("NPM kept the path"), "{file}");
    assert!(table(&file, "gone").iter().any(|line| line.contains("status = 404")), "{file}");
    assert!(flat(&file).contains("# The redirection evil.home.test: left out"), "{file}");
}

#[test]
fn what_npm_does_not_serve_is_left_out() {
    let file = imported(|npm| {
        insert(npm, &ProxyHost { names: &["here.home.test"], ..HOST });
        insert(npm, &ProxyHost { names: &["off.home.test"], ..HOST });
        insert(npm, &ProxyHost { names: &["deleted.home.test"], ..HOST });
        npm.execute_batch(
            "UPDATE proxy_host SET enabled = 0 WHERE id = 2; UPDATE proxy_host SET is_deleted = 1 WHERE id = 3",
        )
        .unwrap();
    });
    assert!(flat(&file).contains("# The proxy host off.home.test was switched off in NPM: left out.\n"), "{file}");
    assert!(!file.contains("deleted"), "{file}");
    assert!(!file.contains("\noff"), "{file}");
}

#[test]
fn certificates_are_ordered_again_and_no_credential_is_repeated() {
    let meta = r#"{"letsencrypt_email":"a@home.test","dns_challenge":true,"dns_provider":"cloudflare",
                   "dns_provider_credentials":"dns_cloudflare_api_token = s3cr3t-t0ken"}"#;
    let file = imported(|npm| {
        let wildcard = certificate(npm, "letsencrypt", &["*.home.test", "home.test"], meta);
        let single = certificate(npm, "letsencrypt", &["a.other.test"], r#"{"letsencrypt_email":"a@home.test"}"#);
        let custom = certificate(npm, "other", &["c.home.test"], "{}");
        let odd = certificate(npm, "letsencrypt", &["*.odd.test"], r#"{"dns_challenge":true,"dns_provider":"nobody"}"#);
        certificate(npm, "letsencrypt", &["unused.test"], "{}");
        for (name, id) in
            [("x.home.test", wildcard), ("a.other.test", single), ("c.home.test", custom), ("o.odd.test", odd)]
        {
            insert(npm, &ProxyHost { names: &[name], certificate: id, ..HOST });
        }
    });
    assert!(file.contains("[cert.home]\nnames = [\"*.home.test\", \"home.test\"]\ndns = \"cloudflare\"\n"), "{file}");
    assert!(
        file.contains("[cert.a]\nnames = [\"a.other.test\"]\nchallenge = \"http-01\"\nemail = \"a@home.test\"\n"),
        "{file}"
    );
    assert!(file.contains("/etc/doorward/npm-3/fullchain.pem"), "{file}");
    assert!(
        flat(&file).contains("\"nobody\" is not known here")
            && flat(&file).contains("\"unused.test\" is used by no host"),
        "{file}"
    );
    assert!(!file.contains("s3cr3t"), "{file}");
}

#[test]
fn streams_are_told_of() {
    let file = imported(|npm| {
        insert(npm, &ProxyHost { names: &["a.home.test"], ..HOST });
        let sql = "INSERT INTO stream (incoming_port, forwarding_host, forwarding_port, tcp_forwarding) VALUES (2222, 'x', 22, 1)";
        npm.execute(sql, ()).unwrap();
    });
    assert!(flat(&file).contains("# A stream: tcp port 2222 to x:22."), "{file}");
}

#[test]
fn hostile_texts_stay_in_their_comments_and_strings() {
    const HOSTILE: &str =
        "x\"\n[routes]\nevil = \"http://6.6.6.6\"\n#\u{202e}\u{0}\u{1b}]0;t\u{7}'''\r\nallow = [\"anyone\"]\n";
    let locations = serde_json::json!([
        {"path": HOSTILE, "forward_scheme": HOSTILE, "forward_host": HOSTILE, "forward_port": HOSTILE, "advanced_config": HOSTILE},
        {"path": "/a/", "forward_scheme": HOSTILE, "forward_host": HOSTILE, "forward_port": 1},
        {"path": 7}, 7, null,
    ])
    .to_string();
    let file = imported(|npm| {
        let list = access_list(npm, HOSTILE, &[("allow", "10.0.0.0/8")], &[], false);
        let asking = access_list(npm, HOSTILE, &[(HOSTILE, HOSTILE)], &[HOSTILE], true);
        let meta = serde_json::json!({"dns_challenge": true, "dns_provider": HOSTILE, "letsencrypt_email": HOSTILE})
            .to_string();
        let cert = certificate(npm, "letsencrypt", &[HOSTILE, "a.home.test"], &meta);
        let other = certificate(npm, HOSTILE, &[HOSTILE], HOSTILE);
        let base = ProxyHost { names: &["a.home.test"], snippet: HOSTILE, locations: &locations, ..HOST };
        insert(npm, &ProxyHost { access: list, certificate: cert, ..base });
        insert(npm, &ProxyHost { names: &["b.home.test", HOSTILE], access: asking, certificate: other, ..HOST });
        insert(npm, &ProxyHost { names: &["c.home.test"], to: (HOSTILE, HOSTILE, 1), ..HOST });
        insert(npm, &ProxyHost { names: &["d.home.test"], locations: HOSTILE, ..HOST });
        npm.execute(
            "INSERT INTO stream (incoming_port, forwarding_host, forwarding_port) VALUES (?1, ?1, ?1)",
            [HOSTILE],
        )
        .unwrap();
        npm.execute(
            "INSERT INTO dead_host (domain_names, advanced_config) VALUES ('[\"e.home.test\"]', ?1)",
            [HOSTILE],
        )
        .unwrap();
        npm.execute("INSERT INTO setting VALUES ('default-site', '', '', 'redirect', ?1)", [HOSTILE]).unwrap();
    });
    assert!(
        file.lines().all(|line| !line.starts_with("evil") && !line.starts_with("allow = [\"anyone\"]\n")),
        "{file}"
    );
    assert!(!file.chars().any(|c| c != '\n' && c.is_control()), "{file:?}");
    assert!(!file.contains('\u{202e}'), "{file}");
    let routes = file.lines().filter(|line| line.starts_with("[routes.") && !line.contains(".paths]")).count();
    assert_eq!(routes, 4, "a, b, d and e\n{file}");
    assert_eq!(table(&file, "d")[1], "allow = []");
    assert_eq!(table(&file, "a")[1], "allow = []");
    assert_eq!(table(&file, "b")[1], "allow = []");
}
