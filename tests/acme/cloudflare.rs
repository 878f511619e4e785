//! Cloudflare as the keeper of a zone: what is asked of its API, and what its refusals become.

use std::time::Duration;

use doorward::acme::dns::{DnsError, DnsProvider, DnsStep};

use crate::harness::Folder;
use crate::rigs::{FakeCloudflare, Fault, Step, Zone};
use crate::written::{made, secret};

const TOKEN: &str = "cf-token-0123456789-abcdefghij";
const NAME: &str = "_acme-challenge.home.test";
const ONE: &str = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";
const TWO: &str = "q7uC9vAxZJfYiA6dOsFbJYMKo7vN5LSKVWzwdvd-qPI";

struct Scene {
    api: FakeCloudflare,
    folder: Folder,
    provider: Box<dyn DnsProvider>,
}

async fn scene(zones: Vec<Zone>) -> Scene {
    let api = FakeCloudflare::start(zones).await;
    let folder = Folder::new();
    let provider = made(&folder, &api.dns(&secret(&folder, "token", TOKEN)));
    Scene { api, folder, provider }
}

async fn usual() -> Scene {
    scene(vec![Zone::new("home.test", TOKEN)]).await
}

fn refused(outcome: Result<(), DnsError>) -> DnsError {
    let fault = outcome.expect_err("a refusal");
    assert!(!fault.to_string().contains(TOKEN), "{fault}");
    fault
}

#[tokio::test]
async fn two_values_stand_side_by_side_and_each_goes_alone() {
    let scene = usual().await;
    scene.api.put("home.test", NAME, "of-somebody-else");
    scene.provider.set_txt(NAME, ONE).await.unwrap();
    scene.provider.set_txt(NAME, TWO).await.unwrap();
    let all = [format!("{NAME} {ONE}"), format!("{NAME} of-somebody-else"), format!("{NAME} {TWO}")];
    assert_eq!(scene.api.records(), all);
    scene.provider.clear_txt(NAME, ONE).await.unwrap();
    assert_eq!(scene.api.records(), all[1..]);
    scene.provider.clear_txt(NAME, TWO).await.unwrap();
    assert_eq!(scene.api.records(), [all[1].clone()]);
}

#[tokio::test]
async fn what_is_there_already_and_what_is_gone_already_are_no_faults() {
    let scene = usual().await;
    for _ in 0..2 {
        scene.provider.set_txt(NAME, ONE).await.unwrap();
    }
    assert_eq!(scene.api.records().len(), 1);
    for _ in 0..2 {
        scene.provider.clear_txt(NAME, ONE).await.unwrap();
    }
    assert_eq!(scene.api.records(), Vec::<String>::new());
}

#[tokio::test]
async fn the_longest_zone_that_the_token_sees_is_the_one() {
    let scene = scene(vec![Zone::new("test.example", TOKEN), Zone::new("home.test.example", TOKEN)]).await;
    let name = "_acme-challenge.deep.down.home.test.example";
    scene.provider.set_txt(name, ONE).await.unwrap();
    let servers = scene.provider.zone_servers(name).await.unwrap();
    assert_eq!(servers, None, "this one names no servers");
    let calls = scene.api.calls();
    assert_eq!(calls.first().unwrap(), "GET /zones?name=deep.down.home.test.example");
    assert_eq!(calls.iter().filter(|call| call.starts_with("GET /zones?")).count(), 3, "asked once only: {calls:?}");
    assert!(!calls.iter().any(|call| call.ends_with("name=example")), "{calls:?}");
}

#[tokio::test]
async fn the_zone_of_the_file_is_the_only_one_asked_for() {
    let api = FakeCloudflare::start(vec![Zone::new("home.test", TOKEN), Zone::new("sub.home.test", TOKEN)]).await;
    let folder = Folder::new();
    let token = secret(&folder, "token", TOKEN);
    let dns = format!(
        "{{ provider = \"cloudflare\", api = \"{}\", token_file = \"{}\", zone = \"home.test\" }}",
        api.api(),
        token.display()
    );
    let provider = made(&folder, &dns);
    provider.set_txt("_acme-challenge.a.sub.home.test", ONE).await.unwrap();
    assert_eq!(api.calls()[0], "GET /zones?name=home.test");
    let fault = refused(provider.set_txt("_acme-challenge.other.test", ONE).await);
    assert!(fault.said.contains("not in the zone home.test of the file"), "{fault}");
}

#[tokio::test]
async fn the_address_of_the_api_may_be_written_without_its_path() {
    let api = FakeCloudflare::start(vec![Zone::new("home.test", TOKEN)]).await;
    let folder = Folder::new();
    let token = secret(&folder, "token", TOKEN);
    let dns =
        format!("{{ provider = \"cloudflare\", api = \"{}\", token_file = \"{}\" }}", api.bare_api(), token.display());
    made(&folder, &dns).set_txt(NAME, ONE).await.unwrap();
    assert_eq!(api.records(), [format!("{NAME} {ONE}")]);
}

#[tokio::test]
async fn a_wrong_token_is_told_in_words_and_not_tried_again() {
    let scene = usual().await;
    secret(&scene.folder, "token", "cf-token-of-nobody-000000000000");
    let fault = refused(scene.provider.set_txt(NAME, ONE).await);
    assert_eq!((fault.step, fault.is_passing), (DnsStep::FindZone, false));
    assert!(fault.said.contains("cannot edit this zone") && fault.said.contains("9109"), "{fault}");
    assert_eq!(scene.api.calls().len(), 1);
    secret(&scene.folder, "token", "two words");
    let fault = refused(scene.provider.set_txt(NAME, ONE).await);
    assert!(fault.said.contains("6003"), "{fault}");
    secret(&scene.folder, "token", TOKEN);
    scene.provider.set_txt(NAME, ONE).await.expect("the token is read at each use");
}

#[tokio::test]
async fn a_token_that_everybody_can_read_is_not_used() {
    let scene = usual().await;
    let path = scene.folder.at("token");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let fault = refused(scene.provider.set_txt(NAME, ONE).await);
    assert_eq!(fault.step, DnsStep::Secret);
    assert!(fault.to_string().contains(&format!("chmod o-rwx {}", path.display())), "{fault}");
    assert!(scene.api.calls().is_empty());
}

#[tokio::test]
async fn a_zone_that_the_token_does_not_see_is_said_with_the_rights_that_it_needs() {
    let scene = scene(vec![Zone::new("other.test", TOKEN)]).await;
    let fault = refused(scene.provider.set_txt(NAME, ONE).await);
    assert!(fault.said.contains("cannot edit this zone") && fault.said.contains("Zone:DNS:Edit"), "{fault}");
    assert!(!fault.is_passing);
}

#[tokio::test]
async fn a_fault_of_the_moment_is_tried_once_more_at_every_step() {
    for step in [Step::Zones, Step::Add, Step::List, Step::Delete] {
        for fault in [Fault::Status(500), Fault::Html, Fault::Cut, Fault::CutAfter, Fault::Limited(0)] {
            let scene = usual().await;
            scene.api.fail(step, fault, 1);
            scene.provider.set_txt(NAME, ONE).await.unwrap_or_else(|e| panic!("{step:?} {fault:?}: {e}"));
            assert_eq!(scene.api.records().len(), 1, "{step:?} {fault:?}");
            scene.provider.clear_txt(NAME, ONE).await.unwrap_or_else(|e| panic!("{step:?} {fault:?}: {e}"));
            assert_eq!(scene.api.records(), Vec::<String>::new(), "{step:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_fault_that_stays_is_told_with_its_step_and_is_passing() {
    for (step, told) in [(Step::Zones, DnsStep::FindZone), (Step::Add, DnsStep::Add)] {
        let scene = usual().await;
        scene.api.fail(step, Fault::Status(503), 99);
        let fault = refused(scene.provider.set_txt(NAME, ONE).await);
        assert_eq!((fault.step, fault.is_passing), (told, true), "{fault}");
        assert!(fault.said.contains("HTTP 503"), "{fault}");
    }
    for step in [Step::List, Step::Delete] {
        let scene = usual().await;
        scene.provider.set_txt(NAME, ONE).await.unwrap();
        scene.api.fail(step, Fault::Status(500), 99);
        let fault = refused(scene.provider.clear_txt(NAME, ONE).await);
        assert_eq!((fault.step, fault.is_passing), (DnsStep::Remove, true), "{fault}");
        scene.api.mend();
        scene.provider.clear_txt(NAME, ONE).await.unwrap();
        assert_eq!(scene.api.records(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_limit_is_told_with_the_wait_that_was_asked_for() {
    let scene = usual().await;
    scene.api.fail(Step::Add, Fault::Limited(300), 1);
    let fault = refused(scene.provider.set_txt(NAME, ONE).await);
    assert_eq!((fault.is_passing, fault.retry_after), (true, Some(Duration::from_secs(300))));
    assert_eq!(scene.api.calls().iter().filter(|call| call.starts_with("POST")).count(), 1, "it is not asked again");
}

#[tokio::test]
async fn an_api_that_is_not_there_is_a_fault_of_the_moment() {
    let folder = Folder::new();
    let token = secret(&folder, "token", TOKEN);
    let dns =
        format!("{{ provider = \"cloudflare\", api = \"http://127.0.0.1:1\", token_file = \"{}\" }}", token.display());
    let fault = refused(made(&folder, &dns).set_txt(NAME, ONE).await);
    assert!(fault.is_passing && fault.said.contains("refused"), "{fault}");
}

#[tokio::test]
async fn rights_that_are_just_right_need_no_remark() {
    let scene = usual().await;
    let rights = scene.provider.check_rights(&["home.test".to_owned(), "a.home.test".to_owned()]).await.unwrap();
    assert!(rights.suffice());
    assert_eq!(rights.needed, ["home.test"]);
    assert_eq!(rights.remarks(), Vec::<String>::new());
}

#[tokio::test]
async fn rights_that_are_too_wide_or_too_narrow_are_told() {
    let names = ["home.test".to_owned()];
    let more = ["home.test", "b.test", "c.test", "d.test"].map(|name| Zone::new(name, TOKEN));
    let rights = scene(more.to_vec()).await.provider.check_rights(&names).await.unwrap();
    assert_eq!(rights.remarks(), ["can edit 4 zones; one would do"]);
    let rights =
        scene(vec![Zone::new("home.test", TOKEN).read_only()]).await.provider.check_rights(&names).await.unwrap();
    assert!(!rights.suffice() && rights.remarks()[0].starts_with("cannot edit the zone of home.test"), "{rights:?}");
    let rights = scene(vec![Zone::new("other.test", TOKEN)]).await.provider.check_rights(&names).await.unwrap();
    assert!(!rights.suffice() && rights.remarks()[0].contains("cannot edit this zone"), "{rights:?}");
    let scene = usual().await;
    secret(&scene.folder, "token", "cf-token-of-nobody-000000000000");
    let fault = scene.provider.check_rights(&names).await.unwrap_err();
    assert!(fault.said.contains("Invalid API Token (1000)"), "{fault}");
}
