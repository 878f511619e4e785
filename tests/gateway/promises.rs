//! Promises as people meet them: a broken one is told with one counter-example, the rule, and what to do; and it refuses.

use crate::harness::{Folder, Gateway, Upstream, doorward};

const HOME: &str = r#"domain = "home.test"
allow = ["lan"]
[networks]
lan = ["10.0.0.0/24"]
guest = ["10.0.1.0/24"]
[listen.plain]
http = "127.0.0.1:8081"
[routes.photos]
to = "http://10.0.0.9"
allow = ["lan", "10.0.1.128/25"]
[[expect]]
from = "guest"
url = "http://photos.home.test/"
is = "denied"
"#;

#[tokio::test]
async fn a_broken_promise_names_who_gets_what_through_which_rule() {
    let folder = Folder::new();
    folder.replace("routes.toml", HOME);
    let bad = doorward(folder.path(), &["check", "routes.toml"]).await;
    assert_eq!(bad.code, 1, "{}", bad.said());
    for part in [
        "routes.toml:14:6: error: this promise is broken: 10.0.1.129 (guest) reaches `photos`",
        "let in by `allow` of route `photos` (lan, 10.0.1.128/25) at routes.toml:10, through door `plain`",
        "help: change the rule at routes.toml:10 so that it holds",
    ] {
        assert!(bad.said().contains(part), "`{part}` in {}", bad.said());
    }
}

#[tokio::test]
async fn the_promises_of_the_homes_own_file_can_be_broken() {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml")).unwrap();
    let breaks = [
        ("allow  = [\"lan\", \"vpn\"]", "allow  = [\"lan\", \"vpn\", \"guest\"]", "(guest)"),
        (
            "\"/_synapse/admin/*\"          = { allow = [\"lan\"] }",
            "\"/_synapse/admins/*\" = { allow = [\"lan\"] }",
            "(in no network) reaches `matrix`",
        ),
        (
            "sonarr      = \"home\"",
            "sonarr = { to = \"home\", public = \"sonarr.local.akunito.com\" }",
            "reaches `home`",
        ),
    ];
    for (good, bad, said) in breaks {
        assert!(file.contains(good), "`{good}` is in the file");
        let folder = Folder::new();
        folder.replace("routes.toml", file.replace(good, bad));
        let checked = doorward(folder.path(), &["check", "routes.toml"]).await;
        assert_eq!(checked.code, 1, "{bad}: {}", checked.said());
        assert!(
            checked.said().contains("this promise is broken") && checked.said().contains(said),
            "{}",
            checked.said()
        );
    }
}

#[tokio::test]
async fn a_reload_that_breaks_a_promise_says_that_nothing_has_changed() {
    let upstream = Upstream::echoing().await;
    let promise = "\n[[expect]]\nfrom = \"guest\"\nurl = \"https://shop.home.test/a\"\nis = \"denied\"\n";
    let edge = Gateway::serving(format!("[routes.shop]\nto = \"{upstream}\"{promise}")).await;
    let open = "paths = { \"/a\" = { allow = [\"anyone\"] } }";
    let refused = edge.write_routes(format!("[routes.shop]\nto = \"{upstream}\"\n{open}{promise}")).reload().await;
    let said = refused.into_finished();
    assert_eq!(said.code, 1);
    for part in
        ["(guest) reaches `shop`", "path `/a` of route `shop`", "generation 1 stays in force: nothing has changed"]
    {
        assert!(said.said().contains(part), "`{part}` in {}", said.said());
    }
}
