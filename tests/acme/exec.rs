//! A script as the keeper of a zone.

use doorward::acme::dns::{DnsProvider, DnsStep};

use crate::harness::Folder;
use crate::rigs::{Challtestsrv, txt};
use crate::written::made;

const NAME: &str = "_acme-challenge.home.test";
const ONE: &str = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";

fn script(folder: &Folder, text: &str) -> Box<dyn DnsProvider> {
    let path = folder.at("hook");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let dns =
        format!("{{ provider = \"exec\", command = [\"{}\", \"one word\"], zone = \"home.test\" }}", path.display());
    made(folder, &dns)
}

#[tokio::test]
async fn a_script_is_told_what_to_do_by_variables() {
    let folder = Folder::new();
    let provider =
        script(&folder, "echo \"$1: $DOORWARD_ACTION $DOORWARD_NAME $DOORWARD_VALUE $DOORWARD_ZONE\" >> said");
    provider.set_txt(NAME, ONE).await.unwrap();
    provider.clear_txt(NAME, ONE).await.unwrap();
    let said = folder.read("said");
    assert_eq!(said, format!("one word: set {NAME} {ONE} home.test\none word: clear {NAME} {ONE} home.test\n"));
}

#[tokio::test]
async fn a_script_can_change_a_real_dns_server() {
    let folder = Folder::new();
    let dns = Challtestsrv::start().await;
    let call = format!(
        "curl -sf \"http://{}/$DOORWARD_ACTION-txt\" -d \"{{\\\"host\\\":\\\"$DOORWARD_NAME.\\\",\\\"value\\\":\\\"$DOORWARD_VALUE\\\"}}\"",
        dns.management()
    );
    let provider = script(&folder, &call);
    provider.set_txt(NAME, ONE).await.unwrap();
    assert_eq!(txt(dns.server(), NAME).await, [ONE]);
    provider.clear_txt(NAME, ONE).await.unwrap();
    assert_eq!(txt(dns.server(), NAME).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_value_that_no_ca_makes_is_not_passed_on() {
    let folder = Folder::new();
    let provider = script(&folder, "touch ran");
    for value in ["", "$(touch ran)", "a b", "x\ny", "a/b", &"a".repeat(256)] {
        let fault = provider.set_txt(NAME, value).await.unwrap_err();
        assert!(fault.said.contains("base64url"), "{fault}");
    }
    for name in ["_acme-challenge.home.test; id", "", "$(id).home.test", "_acme-challenge.other.test"] {
        provider.set_txt(name, ONE).await.unwrap_err();
    }
    assert!(!folder.at("ran").exists());
}

#[tokio::test]
async fn a_script_that_fails_is_told_with_its_status_and_its_words_without_secrets() {
    let folder = Folder::new();
    let provider = script(&folder, "echo 'login with key=AKIA0123456789ABCDEFXYZ failed' >&2; exit 3");
    let fault = provider.set_txt(NAME, ONE).await.unwrap_err();
    assert_eq!((fault.step, fault.is_passing), (DnsStep::Add, true));
    assert!(fault.said.ends_with("hook set: exit status 3; it said: login with key=… failed"), "{fault}");
}

#[tokio::test]
async fn a_script_that_is_not_there_is_told() {
    let folder = Folder::new();
    let provider = made(&folder, "{ provider = \"exec\", command = [\"/no/such/hook\"] }");
    let fault = provider.clear_txt(NAME, ONE).await.unwrap_err();
    assert!(!fault.is_passing && fault.said.contains("/no/such/hook cannot be run"), "{fault}");
}
