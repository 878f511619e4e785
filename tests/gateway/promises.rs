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

/// The file of the home with one rule written otherwise; it must be refused for a promise.
fn refused(file: &toml_edit::DocumentMut, what: &str) -> String {
    let folder = Folder::new();
    folder.replace("routes.toml", file.to_string());
    let report = doorward::app::check(&folder.path().join("routes.toml"));
    let said: Vec<&str> = report.faults.iter().map(|fault| fault.message.as_str()).collect();
    assert!(!said.is_empty(), "{what} is accepted");
    assert!(said.iter().all(|said| said.starts_with("this promise is broken: ")), "{what}: {said:?}");
    said.join("\n")
}

fn home() -> toml_edit::DocumentMut {
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routes.toml")).unwrap();
    file.parse().unwrap()
}

/// Ways to say that more people may enter.
const LOOSER: [&[&str]; 4] =
    [&["anyone"], &["lan", "vpn", "guest"], &["lan", "192.168.9.240/28"], &["lan", "192.168.0.0/16"]];

fn list(words: &[&str]) -> toml_edit::Value {
    words.iter().copied().collect::<toml_edit::Array>().into()
}

/// A route or path as a table, whatever it was, with an `allow`.
fn loosened(item: &mut toml_edit::Item, allow: &[&str]) {
    if let Some(to) = item.as_str().map(str::to_owned) {
        *item = toml_edit::value(toml_edit::InlineTable::from_iter([("to", toml_edit::Value::from(to))]));
    }
    item.as_table_like_mut().unwrap().insert("allow", toml_edit::value(list(allow)));
}

#[test]
fn whichever_rule_of_the_home_is_loosened_the_promises_of_its_file_break() {
    let names = |item: &toml_edit::Item| -> Vec<String> {
        item.as_table_like().unwrap().iter().map(|(name, _)| name.to_owned()).collect()
    };
    let file = home();
    let (mut rules, mut paths) = (0, 0);
    for looser in LOOSER {
        for route in names(&file["routes"]) {
            let mut open = file.clone();
            loosened(&mut open["routes"][&route], looser);
            refused(&open, &format!("route {route} for {looser:?}"));
            rules += 1;
            let Some(of_route) = file["routes"].get(&route).and_then(|table| table.get("paths")) else { continue };
            for path in names(of_route) {
                let mut open = file.clone();
                loosened(&mut open["routes"][&route]["paths"][&path], looser);
                refused(&open, &format!("{path} of {route} for {looser:?}"));
                paths += 1;
            }
        }
        let mut open = file.clone();
        open["allow"] = toml_edit::value(list(looser));
        refused(&open, &format!("the file for {looser:?}"));
        let mut open = file.clone();
        open["listen"]["lan"]["allow"] = toml_edit::value(list(looser));
        refused(&open, &format!("the door of the home for {looser:?}"));
    }
    assert!(rules >= 4 * 22 && paths >= 4 * 7, "{rules} routes and {paths} paths were tried");
    for network in ["lan", "vpn", "monitoring"] {
        let mut wider = file.clone();
        wider["networks"][network].as_array_mut().unwrap().push("192.168.9.7");
        refused(&wider, &format!("one of the guests is in {network}"));
    }
}

#[test]
fn the_tunnel_of_the_home_stays_narrow_whatever_is_written_elsewhere() {
    let mut all_names = home();
    all_names["listen"]["tunnel"].as_table_like_mut().unwrap().remove("names");
    assert!(refused(&all_names, "a tunnel that knows every name").contains("reaches `home`"));
    for route in ["sonarr", "prometheus", "unifi"] {
        let mut public = home();
        let to = public["routes"][route].as_str().map(str::to_owned);
        if let Some(to) = to {
            let table = toml_edit::InlineTable::from_iter([("to", toml_edit::Value::from(to))]);
            public["routes"][route] = toml_edit::value(table);
        }
        let name = format!("{route}.local.akunito.com");
        public["routes"][route].as_table_like_mut().unwrap().insert("public", toml_edit::value(name));
        refused(&public, &format!("the internal name of {route} on the tunnel"));
    }
    let mut gone = home();
    let paths = gone["routes"]["matrix"]["paths"].as_table_like_mut().unwrap();
    paths.remove("/_synapse/admin/*").unwrap();
    assert!(refused(&gone, "no rule for Synapse's admin API").contains("reaches `matrix`"));
    for beside in ["/_synapse/admin/v1/*", "/_synapse/admin/v1/users", "/_synapse/admin"] {
        let mut beside_it = home();
        let paths = beside_it["routes"]["matrix"]["paths"].as_table_like_mut().unwrap();
        let open = toml_edit::InlineTable::from_iter([("allow", list(&["anyone"]))]);
        paths.insert(beside, toml_edit::value(open));
        let said = refused(&beside_it, &format!("{beside} for everybody"));
        assert!(said.contains("reaches `matrix`"), "{said}");
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
