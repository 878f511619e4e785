//! What goes wrong on the way to a certificate, and that it always ends in one, with nothing left behind.

use rustix::process::Signal;

use crate::harness::eventually;
use crate::rigs::{Absence, AcmeFront, Bind, Challtestsrv, FakeCloudflare, Fault, Pebble, Step, Zone};
use crate::site::Site;
use crate::written::secret;

const TOKEN: &str = "cf-token-0123456789-abcdefghij";

/// A CA, and a DNS provider whose API can be made to fail.
struct Surroundings {
    _dns: Challtestsrv,
    cloud: FakeCloudflare,
    pebble: Pebble,
}

impl Surroundings {
    async fn start() -> Surroundings {
        let dns = Challtestsrv::start().await;
        let cloud = FakeCloudflare::published(vec![Zone::new("home.test", TOKEN)], &dns).await;
        let pebble = Pebble::start(dns.server()).await;
        Surroundings { _dns: dns, cloud, pebble }
    }

    async fn stopped_site(&self) -> Site {
        let site = Site::stopped("\"cloudflare\"", &self.pebble.acme(), "").await;
        let token = secret(site.gateway.folder(), "token", TOKEN);
        site.write(&self.cloud.dns(&token), &self.pebble.acme(), "");
        site
    }

    async fn site(&self) -> Site {
        let mut site = self.stopped_site().await;
        site.gateway.start(&[]).await;
        site
    }
}

/// How often an order was asked for.
fn ordered(front: &AcmeFront) -> usize {
    front.calls().iter().filter(|call| call.contains("order-plz")).count()
}

#[tokio::test]
async fn while_the_ca_is_away_the_certificate_stays_and_tries_become_rare() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    let site = Site::start(&bind.dns(), &front.acme(), "").await;
    let serial = site.issued().await;
    for (absence, said) in [
        (Absence::Cut, "no usable answer"),
        (Absence::Unavailable, "503"),
        (Absence::Maintenance, "not what the protocol has"),
    ] {
        front.absent(Some(absence));
        let renewed = site.cert(&["renew", "local", "--force"]).await;
        assert!(renewed.code == 1 && renewed.out.contains(said), "{said}: {}", renewed.said());
        assert_eq!(site.served().await, serial);
    }
    let failures = site.gateway.metric("doorward_certificate_failures_total{name=\"local\",step=\"account\"}").await;
    assert_eq!(failures, 3.0, "{}", site.gateway.metrics().await);
    let listed = site.cert(&[]).await;
    assert!(listed.out.contains("at step account"), "{}", listed.out);
    front.absent(None);
    let renewed = site.cert(&["renew", "local", "--force"]).await;
    assert_eq!(renewed.code, 0, "{}", renewed.said());
    site.issued_after(&serial).await;
    assert!(site.report().await["last_error"].is_null());
}

#[tokio::test]
async fn a_fault_of_the_dns_provider_at_any_step_leaves_no_record() {
    let around = Surroundings::start().await;
    let site = around.site().await;
    let mut serial = site.issued().await;
    for step in [Step::Zones, Step::Add, Step::List, Step::Delete] {
        around.cloud.fail(step, Fault::Status(500), 100);
        let renewed = site.cert(&["renew", "local", "--force"]).await;
        // Records that cannot be taken away stop no certificate.
        let is_fatal = matches!(step, Step::Zones | Step::Add);
        assert_eq!(renewed.code, i32::from(is_fatal), "{step:?}: {}", renewed.said());
        around.cloud.mend();
        let renewed = site.cert(&["renew", "local", "--force"]).await;
        assert_eq!(renewed.code, 0, "{step:?}: {}", renewed.said());
        serial = site.issued_after(&serial).await;
        assert_eq!(around.cloud.records(), Vec::<String>::new(), "{step:?}");
    }
}

#[tokio::test]
async fn a_limit_of_the_ca_is_waited_for_as_long_as_it_says() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    front.limit_orders(1, 7200);
    let site = Site::start(&bind.dns(), &front.acme(), "").await;
    site.fails_with("rateLimited").await;
    let report = site.report().await;
    let waits = report["next_renewal"].as_i64().unwrap() - report["last_attempt"].as_i64().unwrap();
    assert!((7190..=7260).contains(&waits), "{report}");
    assert!(report["why"].as_str().unwrap().contains("asked to wait"), "{report}");
    assert_eq!(ordered(&front), 1);
}

#[tokio::test]
async fn a_failure_is_remembered_over_a_restart() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    front.limit_orders(100, 1);
    let mut site = Site::start(&bind.dns(), &front.acme(), "").await;
    site.fails_with("rateLimited").await;
    for _ in 0..2 {
        site.gateway.signal(Signal::TERM);
        assert_eq!(site.gateway.exit_code().await, 0);
        site.gateway.start(&[]).await;
    }
    assert_eq!(ordered(&front), 1, "each start would have ordered: {:?}", front.calls());
    assert_eq!(site.report().await["last_error"]["step"], "order");
}

#[tokio::test]
async fn a_process_killed_between_two_records_is_cleaned_up_after_at_the_next_start() {
    let around = Surroundings::start().await;
    around.cloud.fail(Step::Delete, Fault::Silent, 1);
    let mut site = around.site().await;
    eventually("the first removal to hang", async || {
        around.cloud.calls().iter().any(|call| call.starts_with("DELETE")).then_some(())
    })
    .await;
    site.gateway.signal(Signal::KILL);
    site.gateway.exit_code().await;
    assert_eq!(around.cloud.records().len(), 2);
    around.cloud.mend();
    site.gateway.start(&[]).await;
    site.issued().await;
    eventually("the records to be gone", async || around.cloud.records().is_empty().then_some(())).await;
}

#[tokio::test]
#[ignore = "slow: the process is killed at a dozen moments of an order"]
async fn killed_at_any_point_it_ends_in_one_certificate_and_no_record() {
    let around = Surroundings::start().await;
    for moment in (0..24).map(|nth| nth * 60) {
        let mut site = around.stopped_site().await;
        site.gateway.start(&[]).await;
        let begun = std::time::Instant::now();
        eventually("the moment", async || (begun.elapsed().as_millis() >= moment).then_some(())).await;
        site.gateway.signal(Signal::KILL);
        site.gateway.exit_code().await;
        site.gateway.start(&[]).await;
        let serial = site.issued().await;
        eventually("no record", async || around.cloud.records().is_empty().then_some(())).await;
        assert_eq!(site.report().await["records_left"], 0, "killed after {moment} ms");
        assert_eq!(site.served().await, serial);
    }
}

#[tokio::test]
async fn told_to_stop_in_the_middle_it_takes_its_records_away_first() {
    let around = Surroundings::start().await;
    // The second record is never confirmed; the order stands there.
    around.cloud.fail(Step::Add, Fault::Silent, 1);
    let mut site = around.site().await;
    eventually("the record to be asked for", async || {
        around.cloud.calls().iter().any(|call| call.starts_with("POST")).then_some(())
    })
    .await;
    around.cloud.mend();
    site.gateway.signal(Signal::TERM);
    assert_eq!(site.gateway.exit_code().await, 0);
    assert_eq!(around.cloud.records(), Vec::<String>::new());
    assert_eq!(site.state()["records"].as_array().map(Vec::len), Some(0));
    // Nobody's fault: the next start does not wait.
    site.gateway.start(&[]).await;
    site.issued().await;
}

#[tokio::test]
async fn a_ca_that_cannot_see_the_proof_says_so_in_words() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    // This CA asks another DNS server, which knows nothing of our records.
    let elsewhere = Challtestsrv::start().await;
    let pebble = Pebble::start(elsewhere.server()).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    site.fails_with("TXT").await;
    let report = site.report().await;
    assert_eq!(report["last_error"]["step"], "validation", "{report}");
    assert_eq!(report["records_left"], 0, "{report}");
}

#[tokio::test]
async fn a_secret_that_everybody_can_read_is_refused_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let around = Surroundings::start().await;
    let mut site = around.stopped_site().await;
    let token = site.gateway.folder().at("token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    site.gateway.start(&[]).await;
    site.fails_with("chmod o-rwx").await;
    assert_eq!(site.report().await["last_error"]["step"], "dns-secret");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(site.cert(&["renew", "local"]).await.code, 0);
}

#[tokio::test]
async fn what_the_credentials_may_do_is_told_at_the_start() {
    let dns = Challtestsrv::start().await;
    let zones = vec![Zone::new("home.test", TOKEN), Zone::new("other.test", TOKEN), Zone::new("third.test", TOKEN)];
    let cloud = FakeCloudflare::published(zones, &dns).await;
    let pebble = Pebble::start(dns.server()).await;
    let mut site = Site::stopped("\"cloudflare\"", &pebble.acme(), "").await;
    let token = secret(site.gateway.folder(), "token", TOKEN);
    site.write(&cloud.dns(&token), &pebble.acme(), "");
    site.gateway.start(&[]).await;
    site.gateway.logs("can edit 3 zones; one would do").await;
}

#[tokio::test]
async fn an_account_that_the_ca_forgot_is_made_anew() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let mut pebble = Pebble::start(bind.server()).await;
    let site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    let serial = site.issued().await;
    pebble.start_again().await;
    let renewed = site.cert(&["renew", "local", "--force"]).await;
    assert_eq!(renewed.code, 0, "{}", renewed.said());
    site.issued_after(&serial).await;
    site.gateway.logs("the CA does not know our account any more").await;
}

#[tokio::test]
async fn states_from_a_clock_that_ran_ahead_hold_nothing_up() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let mut site = Site::start(&bind.dns(), &pebble.acme(), "").await;
    let serial = site.issued().await;
    site.gateway.signal(Signal::TERM);
    site.gateway.exit_code().await;
    let (mut state, ahead) = (site.state(), 4_000_000_000_i64);
    state["last_attempt"] = ahead.into();
    state["last_success"] = ahead.into();
    state["window"]["asked_at"] = ahead.into();
    state["window"]["again_at"] = (ahead + 1).into();
    let path = site.gateway.folder().at("state/certificates/local/state.json");
    std::fs::write(path, state.to_string()).unwrap();
    // Another CA is due now, whatever the state says of the future.
    let other = Pebble::start(bind.server()).await;
    site.write(&bind.dns(), &other.acme(), "");
    site.gateway.start(&[]).await;
    site.issued_after(&serial).await;
}

#[tokio::test]
#[ignore = "slow: mounts a small file system, which only root may"]
async fn a_full_disk_leaves_the_old_pair_and_costs_no_second_order() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    let mut site = Site::stopped(&bind.dns(), &front.acme(), "").await;
    let state = site.gateway.folder().at("state");
    std::fs::create_dir(&state).unwrap();
    let mounted = Mounted::small(&state);
    site.gateway.start(&[]).await;
    let serial = site.issued().await;
    // What is left takes a state and an order, but not a pair beside them.
    mounted.fill();
    let renewed = site.cert(&["renew", "local", "--force"]).await;
    assert!(renewed.code == 1 && renewed.out.contains("No space left"), "{}", renewed.said());
    assert_eq!(site.served().await, serial);
    assert_eq!(site.report().await["stored"]["serial"].as_str(), Some(serial.as_str()));
    mounted.free();
    let orders = front.orders().len();
    let renewed = site.cert(&["renew", "local", "--force"]).await;
    assert_eq!(renewed.code, 0, "{}", renewed.said());
    site.issued_after(&serial).await;
    assert!(front.orders().len() <= orders + 1, "{:?}", front.orders());
    drop(site);
}

/// A file system of 256 KiB.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn small(at: &std::path::Path) -> Mounted {
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "doorward-test"])
            .arg(at)
            .status()
            .expect("mount runs");
        assert!(mounted.success(), "this test needs to be root");
        Mounted(at.to_owned())
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
