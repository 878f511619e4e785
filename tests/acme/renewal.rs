//! From nothing to a certificate that is served, and on for years: issue, renewal, restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use time::{Duration, OffsetDateTime};

use crate::harness::{eventually, within};
use crate::rigs::{AcmeFront, Bind, Challtestsrv, FakeCloudflare, Pebble, PebbleOptions, Zone, txt};
use crate::site::{Site, serial_in};
use crate::written::secret;

const NAME: &str = "_acme-challenge.home.test";

/// Far enough away that nothing is due.
const DAYS: Duration = Duration::days(30);

#[tokio::test]
async fn from_nothing_a_wildcard_is_issued_served_and_handed_on() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let export =
        "[[cert.local.export]]\ndir = \"shared\"\ncert = \"home.crt\"\nkey = \"home.key\"\nprobe = \"ADDR:8443\"";
    let site = Site::start(&bind.dns(), &pebble.acme(), export).await;
    let serial = site.issued().await;

    let folder = site.gateway.folder();
    folder.replace("root.pem", pebble.issuing_root().await);
    let openssl = std::process::Command::new("openssl")
        .args(["s_client", "-verify_return_error", "-CAfile", "root.pem", "-servername", "any.home.test"])
        .args(["-connect", &format!("{}:8443", site.gateway.address())])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl runs");
    let said = String::from_utf8_lossy(&openssl.stdout).into_owned();
    assert!(openssl.status.success() && said.contains("Verify return code: 0 (ok)"), "{said}");
    let answer = site.client(&pebble).await.get("hello.home.test/").await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));

    eventually("the export to be done", async || site.report().await["exports"][0]["pending"].is_null().then_some(()))
        .await;
    assert_eq!(serial_in(&folder.at("shared/home.crt")), serial);
    assert_eq!(folder.read("shared/home.key"), site.stored("privkey.pem"));
    assert_eq!(txt(bind.server(), NAME).await, Vec::<String>::new());
    assert_eq!(site.gateway.metric("doorward_certificate_served{name=\"local\"}").await, 1.0);
    // Nothing was read again for it: a reload is what a person does.
    assert_eq!(site.gateway.metric("doorward_reloads_total{result=\"accepted\"}").await, 0.0);
}

#[tokio::test]
async fn keys_and_accounts_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    site.issued().await;
    let mut seen = 0;
    let mut folders = vec![site.gateway.folder().at("state/certificates"), site.gateway.folder().at("state/acme")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = std::fs::symlink_metadata(&path).unwrap();
            let mode = about.permissions().mode() & 0o777;
            if about.is_dir() {
                assert_eq!(mode, 0o700, "{}", path.display());
                folders.push(path);
            } else if about.is_file() {
                assert_eq!(mode, 0o600, "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 4, "a pair, a state and an account, but there are {seen} files");
}

#[tokio::test]
async fn until_it_is_issued_the_local_ca_serves_and_the_log_says_so() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    front.absent(Some(crate::rigs::Absence::Cut));
    let site = Site::start(&bind.dns(), &front.acme(), "").await;
    let answer = site.gateway.client().trusting_anything().get("hello.home.test/").await;
    assert_eq!(answer.status, 200);
    site.gateway.logs("not issued yet; the local CA serves its names meanwhile").await;
    site.fails_with("no usable answer").await;
    front.absent(None);
    let renewed = site.cert(&["renew", "local"]).await;
    assert_eq!(renewed.code, 0, "{}", renewed.said());
    site.issued().await;
}

#[tokio::test]
async fn a_restart_orders_nothing_and_keeps_the_account() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    front.suggest(OffsetDateTime::now_utc() + DAYS, OffsetDateTime::now_utc() + DAYS * 2, 3600);
    let mut site = Site::start(&bind.dns(), &front.acme(), "").await;
    let serial = site.issued().await;
    site.gateway.signal(Signal::TERM);
    assert_eq!(site.gateway.exit_code().await, 0);
    site.gateway.start(&[]).await;
    assert_eq!(site.served().await, serial);
    let renewed = site.cert(&["renew", "local", "--force"]).await;
    assert_eq!(renewed.code, 0, "{}", renewed.said());
    assert_ne!(site.issued_after(&serial).await, serial);
    let accounts = front.calls().iter().filter(|call| call.contains("sign-me-up")).count();
    assert_eq!((front.orders().len(), accounts), (2, 1), "{:?}", front.calls());
}

#[tokio::test]
async fn what_is_not_due_is_renewed_by_force_only() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    let serial = site.issued().await;
    let asked = site.cert(&["renew", "local"]).await;
    assert!(asked.code == 0 && asked.out.contains("not due before"), "{}", asked.said());
    assert_eq!(site.served().await, serial);
    let unknown = site.cert(&["renew", "other"]).await;
    assert!(unknown.code == 1 && unknown.out.contains("there is: local"), "{}", unknown.said());
}

#[tokio::test]
async fn an_import_or_a_reload_leaves_the_certificate_alone() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    let serial = site.issued().await;
    site.write(&bind.dns(), &pebble.acme(), "# a comment\n");
    site.gateway.reload().await.accepted();
    assert_eq!(site.served().await, serial);
    assert_eq!(pebble.counted("Issued certificate serial"), 1, "{}", pebble.log());
}

#[tokio::test]
async fn when_the_ca_says_now_it_is_renewed_and_says_what_it_replaces() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    let now = OffsetDateTime::now_utc();
    front.suggest(now + DAYS, now + DAYS * 2, 5);
    let site = Site::start(&bind.dns(), &front.acme(), "").await;
    let serial = site.issued().await;
    eventually("the window to be known", async || site.report().await["why"].to_string().contains("ARI").then_some(()))
        .await;
    front.suggest(now - DAYS, now - DAYS / 2, 5);
    site.issued_after(&serial).await;
    let (first, second) = (front.orders()[0].clone(), front.orders()[1].clone());
    assert!(first.get("replaces").is_none(), "{first}");
    assert_eq!(second["replaces"].as_str(), front.asked_about().first().map(String::as_str), "{second}");
    // A CA that says now of every certificate is not stormed.
    eventually("the new window to be known", async || {
        site.report().await["why"].to_string().contains("almost at once").then_some(())
    })
    .await;
    assert_eq!(front.orders().len(), 2);
}

#[tokio::test]
async fn another_ca_in_the_file_orders_at_once() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let (staging, real) = (Pebble::start(bind.server()).await, Pebble::start(bind.server()).await);
    let site = Site::start(&bind.dns(), &staging.acme(), "").await;
    let serial = site.issued().await;
    site.write(&bind.dns(), &real.acme(), "");
    site.gateway.reload().await.accepted();
    site.issued_after(&serial).await;
    assert_eq!(site.client(&real).await.get("hello.home.test/").await.status, 200);
}

#[tokio::test]
async fn the_certificate_comes_through_cloudflare_and_leaves_no_record() {
    let dns = Challtestsrv::start().await;
    let cloud = FakeCloudflare::published(vec![Zone::new("home.test", "cf-token-0123456789-abcdefghij")], &dns).await;
    cloud.put("home.test", NAME, "somebody-elses");
    let pebble = Pebble::start(dns.server()).await;
    let mut site = Site::stopped("\"cloudflare\"", &pebble.acme(), "").await;
    let token = secret(site.gateway.folder(), "token", "cf-token-0123456789-abcdefghij\n");
    site.write(&cloud.dns(&token), &pebble.acme(), "");
    site.gateway.start(&[]).await;
    site.issued().await;
    assert_eq!(cloud.records(), [format!("{NAME} somebody-elses")]);
    assert!(!site.gateway.log().contains("cf-token"), "the token is not printed");
}

#[tokio::test]
#[ignore = "slow: a certificate of 24 seconds is renewed three times under load"]
async fn renewals_under_load_fail_no_handshake_and_cut_no_connection() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start_with(PebbleOptions { validity: 24, ..PebbleOptions::new(bind.server()) }).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    let mut serial = site.issued().await;
    let client = site.client(&pebble).await;
    let mut kept = client.connect("hello.home.test").await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = Vec::new();
    for _ in 0..4 {
        let (client, stop, asked) = (client.clone(), Arc::clone(&stop), Arc::clone(&asked));
        load.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                // A connection of its own each time, judged against the CA's root.
                let answer = client.get("hello.home.test/").attempt().await;
                let answer = answer.unwrap_or_else(|error| panic!("a handshake or request failed: {error}"));
                assert_eq!(answer.status, 200);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..3 {
        serial = site.issued_after(&serial).await;
        assert_eq!(kept.get("/").await.status, 200);
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        within("the load to end", task).await.expect("no request failed");
    }
    assert!(asked.load(Ordering::Relaxed) > 100);
    assert_eq!(site.gateway.metric("doorward_reloads_total{result=\"accepted\"}").await, 0.0);
}
