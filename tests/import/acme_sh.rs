//! acme.sh's folder, as its own scripts write it.

use std::fs;

use crate::rig::{Folder, text};

const REST: &str =
    "allow = [\"anyone\"]\nlisten.lan = { https = \":443\" }\n[routes]\n\"a.local.test\" = \"http://10.0.0.1\"\n";

fn conf(folder: &Folder, name: &str, lines: &str) {
    let home = folder.0.join("acme").join(name);
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join(format!("{}.conf", name.trim_end_matches("_ecc"))), lines).unwrap();
}

#[test]
fn what_acme_sh_renews_becomes_tables_of_the_file() {
    let folder = Folder::new();
    conf(
        &folder,
        "local.test_ecc",
        "Le_Domain='local.test'\nLe_Alt='*.local.test'\nLe_Webroot='dns_cf'\nLe_API='https://acme-v02.api.letsencrypt.org/directory'\n\
         Le_RealKeyPath='/srv/certs/local.key'\nLe_RealFullChainPath='/srv/certs/local.crt'\n\
         Le_ReloadCmd='__ACME_BASE64__START_c3lzdGVtY3RsIHJlbG9hZCBuZ2lueA==__ACME_BASE64__END_'\n",
    );
    conf(
        &folder,
        "web.test",
        "Le_Domain='web.test'\nLe_Alt='no'\nLe_Webroot='/var/www'\nLe_API='https://acme.zerossl.com/v2/DV90'\n",
    );
    conf(&folder, "odd.test", "Le_Domain='odd.test'\nLe_Webroot='dns_nobody'\n");
    fs::write(folder.0.join("acme/account.conf"), "ACCOUNT_EMAIL='a@local.test'\nSAVED_CF_Token='s3cr3t'\n").unwrap();
    let output = folder.doorward(&["import", "acme-sh", "acme"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for line in [
        "#   doorward cert import --acme-sh acme\n",
        "[cert.local]\nnames = [\"local.test\", \"*.local.test\"]\n",
        "dns = \"cloudflare\"\n",
        "[[cert.local.export]]\ndir = \"/srv/certs\"\ncert = \"local.crt\"\nkey = \"local.key\"\n",
        "#     systemctl reload nginx\n",
        "[cert.web]\nnames = [\"web.test\"]\nchallenge = \"http-01\"\nacme = \"zerossl\"\nemail = \"a@local.test\"\n",
        "# odd.test: its DNS provider `dns_nobody` is not known",
    ] {
        assert!(printed.contains(line), "{line} is missing\n{printed}");
    }
    assert!(!printed.contains("s3cr3t"), "{printed}");
    let (head, routes) = REST.split_once("[routes]").unwrap();
    let file = format!("{head}{printed}[routes]{routes}");
    fs::write(folder.0.join("routes.toml"), &file).unwrap();
    folder.check(&file);
}

#[test]
fn hostile_values_stay_where_they_are() {
    let folder = Folder::new();
    let hostile = "x\"]\u{1b}[2J\\";
    conf(&folder, "a.test", &format!("Le_Domain='a.test'\nLe_Alt='{hostile}'\nLe_Webroot='{hostile}'\n"));
    let lines = format!(
        "Le_Domain='b.test'\nLe_Webroot='/w'\nLe_API='https://{hostile}'\nLe_RealKeyPath='/s/{hostile}'\n\
         Le_RealFullChainPath='/s/c{hostile}'\nLe_ReloadCmd='{hostile}'\n"
    );
    conf(&folder, "b.test", &lines);
    let printed = text(&folder.doorward(&["import", "acme-sh", "acme"]).stdout);
    assert!(!printed.chars().any(|c| c != '\n' && c.is_control()), "{printed:?}");
    let output = folder.doorward(&["import", "acme-sh", "."]);
    assert_eq!(output.status.code(), Some(2), "a folder without any is said to be none");
}
