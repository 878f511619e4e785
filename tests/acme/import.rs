//! Taking over from acme.sh: a first start that orders nothing.

use std::process::Command;

use crate::harness::doorward;
use crate::rigs::{AcmeFront, Bind, Pebble};
use crate::site::Site;

#[tokio::test]
async fn what_acme_sh_has_is_taken_over_and_nothing_is_ordered() {
    let bind = Bind::start(&["home.test"], "hmac-sha256").await;
    let pebble = Pebble::start(bind.server()).await;
    let front = AcmeFront::start(&pebble).await;
    // Somebody's earlier certificate from this CA.
    let before = Site::start(&bind.dns(), &front.acme(), "").await;
    let serial = before.issued().await;
    let orders = front.orders().len();

    let mut site = Site::stopped(&bind.dns(), &front.acme(), "").await;
    let folder = site.gateway.folder();
    let home = folder.at("acme.sh");
    let place = home.join("home.test_ecc");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("fullchain.cer"), before.stored("fullchain.pem")).unwrap();
    std::fs::write(place.join("home.test.key"), before.stored("privkey.pem")).unwrap();
    std::fs::write(place.join("home.test.conf"), format!("Le_API='{}'\n", front.directory())).unwrap();
    let account = home.join("ca").join(front.directory().trim_start_matches("https://"));
    std::fs::create_dir_all(&account).unwrap();
    std::fs::write(account.join("ca.conf"), "ACCOUNT_URL='https://ca.test/acct/7'\nCA_EMAIL='a@home.test'\n").unwrap();
    let key = Command::new("openssl").args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]).output().unwrap();
    std::fs::write(account.join("account.key"), key.stdout).unwrap();

    let words = ["cert", "import", "--acme-sh", "acme.sh", "--config", "routes.toml", "--state", "state"];
    let imported = doorward(folder.path(), &words).await;
    assert_eq!(imported.code, 0, "{}", imported.said());
    assert_eq!(imported.out.matches("taken over").count(), 2, "{}", imported.out);
    assert!(imported.out.contains("https://ca.test/acct/7"), "{}", imported.out);

    site.gateway.start(&[]).await;
    assert_eq!(site.issued().await, serial);
    assert_eq!(front.orders().len(), orders);
    let again = doorward(site.gateway.folder().path(), &words).await;
    assert!(again.code == 1 && again.out.contains("nothing taken over"), "{}", again.said());
}

#[tokio::test]
async fn a_folder_that_is_not_acme_shs_is_said_to_be_none() {
    let site = Site::stopped("\"cloudflare\"\ntoken_file = \"x\"", "\"letsencrypt\"", "").await;
    let words = ["cert", "import", "--acme-sh", "nowhere", "--config", "routes.toml", "--state", "state"];
    let imported = doorward(site.gateway.folder().path(), &words).await;
    assert!(imported.code == 1 && imported.out.contains("no such folder"), "{}", imported.said());
}
