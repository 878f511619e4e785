//! Certificates handed on: files that flip together, a command whose status counts, a consumer that must really serve it.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{TestCa, eventually};
use crate::rigs::{Bind, Pebble};
use crate::site::{Site, serial_in};

fn script(site: &Site, name: &str, text: &str) {
    site.gateway.folder().replace(name, format!("#!/bin/sh\n{text}\n"));
    let path = site.gateway.folder().at(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

fn table(site: &Site, more: &str) -> String {
    let folder = site.gateway.folder().path().display().to_string();
    let table = "[[cert.local.export]]\ndir = \"shared\"\ncert = \"home.crt\"\nkey = \"home.key\"\nmode = \"0640\"";
    format!("{table}\n{}\n", more.replace("FOLDER", &folder))
}

#[tokio::test]
async fn the_exported_pair_flips_through_one_relative_link() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let mut site = Site::stopped(&bind.dns(), &pebble.acme(), "").await;
    site.write(&bind.dns(), &pebble.acme(), &table(&site, ""));
    // What acme.sh left there.
    let folder = site.gateway.folder().at("shared");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("home.crt"), "old").unwrap();
    std::fs::write(folder.join("home.key"), "old").unwrap();
    site.gateway.start(&[]).await;
    let mut serial = site.issued().await;
    for _ in 0..3 {
        eventually("the export", async || {
            // Until then the link leads to what acme.sh left, which is no certificate.
            let text = std::fs::read_to_string(folder.join("home.crt")).ok()?;
            (text.contains("BEGIN") && serial_in(&folder.join("home.crt")) == serial).then_some(())
        })
        .await;
        let link = std::fs::read_link(folder.join(".current")).unwrap();
        assert_eq!(link.to_str(), Some(format!(".v{serial}").as_str()));
        assert_eq!(std::fs::read_link(folder.join("home.key")).unwrap().to_str(), Some(".current/home.key"));
        let mode = std::fs::metadata(folder.join("home.key")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o640);
        assert_eq!(site.cert(&["renew", "local", "--force"]).await.code, 0);
        serial = site.issued_after(&serial).await;
    }
    eventually("two versions to be left", async || {
        let versions = std::fs::read_dir(&folder).unwrap().flatten();
        let count = versions.filter(|entry| entry.file_name().to_string_lossy().starts_with(".v")).count();
        (count == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_command_that_fails_is_told_with_its_status_and_tried_again() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let mut site = Site::stopped(&bind.dns(), &pebble.acme(), "").await;
    script(&site, "tell", "env > told; cat \"$DOORWARD_KEY_FILE\"; test -e ../ready || exit 3");
    site.write(&bind.dns(), &pebble.acme(), &table(&site, "command = [\"FOLDER/tell\", \"word\"]"));
    site.gateway.start(&[]).await;
    site.issued().await;
    eventually("the command to fail", async || {
        site.report().await["exports"][0]["last_error"].to_string().contains("exit status 3").then_some(())
    })
    .await;
    let pending = "doorward_certificate_exports_pending{name=\"local\",step=\"command\"}";
    eventually("the metric", async || (site.gateway.metric(pending).await == 1.0).then_some(())).await;
    let told = site.gateway.folder().read("shared/told");
    for variable in ["DOORWARD_CERT=local", "DOORWARD_NAMES=home.test *.home.test", "DOORWARD_SERIAL=", "PATH=/usr"] {
        assert!(told.contains(variable), "{variable} in\n{told}");
    }
    assert!(!told.contains("HOME=") && !told.contains("CARGO"), "{told}");
    let key = site.stored("privkey.pem");
    let secret = key.lines().nth(1).unwrap();
    assert!(!site.gateway.log().contains(secret) && !site.state().to_string().contains(secret), "the key is masked");
    site.gateway.folder().replace("ready", "");
    site.cert(&["renew", "local"]).await;
    eventually("the export to be done", async || site.report().await["exports"][0]["pending"].is_null().then_some(()))
        .await;
}

#[tokio::test]
async fn a_consumer_that_serves_another_certificate_is_told() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let stale = TestCa::new("stale").issue(&["home.test"]);
    let consumer = crate::harness::Upstream::echoing_tls(&stale).await;
    let mut site = Site::stopped(&bind.dns(), &pebble.acme(), "").await;
    let probe = format!("probe = \"{}\"", consumer.address());
    site.write(&bind.dns(), &pebble.acme(), &table(&site, &probe));
    site.gateway.start(&[]).await;
    site.issued().await;
    eventually("the probe to see it", async || {
        site.report().await["exports"][0]["last_error"].to_string().contains("serves serial").then_some(())
    })
    .await;
    let pending = "doorward_certificate_exports_pending{name=\"local\",step=\"probe\"}";
    eventually("the metric", async || (site.gateway.metric(pending).await == 1.0).then_some(())).await;
    let listed = site.cert(&[]).await;
    assert!(listed.out.contains("waits for probe"), "{}", listed.out);
}

#[tokio::test]
async fn files_that_somebody_else_keeps_are_handed_on_too() {
    let mut gateway = crate::harness::Gateway::stopped();
    let export = "[[cert.main.export]]\ndir = \"shared\"\ncert = \"a.crt\"\nkey = \"a.key\"\nin_place = true\n";
    let routes = format!("{export}[routes]\nshop = \"http://127.0.0.1:9\"");
    gateway.write_routes(&routes);
    gateway.start(&[]).await;
    let same = async || {
        let folder = gateway.folder();
        let of = |name: &str| std::fs::read(folder.at(name)).unwrap_or_default();
        (of("shared/a.crt") == of("edge.crt") && of("shared/a.key") == of("edge.key")).then_some(())
    };
    eventually("the export", same).await;
    let renewed = gateway.ca().issue(&["home.test", "*.home.test"]);
    renewed.write(gateway.folder(), "edge");
    eventually("the export of the renewed pair", same).await;
}
