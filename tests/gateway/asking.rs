//! `doorward explain`: what it says is what happens.

use serde_json::Value;

use crate::harness::{Door, Finished, GUEST, Gateway, STRANGER, Upstream, doorward};

async fn explain(edge: &Gateway, words: &[&str]) -> Finished {
    let words: Vec<&str> = ["explain"].iter().chain(words).chain(&["--state", "state"]).copied().collect();
    doorward(edge.folder().path(), &words).await
}

async fn explained(edge: &Gateway, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().chain(&["--json"]).copied().collect();
    let finished = explain(edge, &words).await;
    serde_json::from_str(&finished.out).unwrap_or_else(|e| panic!("{e}: {}", finished.said()))
}

/// As one line, however it was broken.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fields that would be sent, sorted.
fn fields(explained: &Value) -> Vec<(String, String)> {
    let fields = explained["sent"]["headers"].as_array().expect("it is sent");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut fields: Vec<_> = fields.iter().map(|field| (text(&field[0]), text(&field[1]))).collect();
    fields.sort();
    fields
}

#[tokio::test]
async fn the_fields_that_are_explained_are_the_fields_that_arrive() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npublic = \"shop.example\"\nheaders = {{ request = {{ set = {{ x-house = \"yes\" }}, \
         remove = [\"x-secret\"] }} }}\npaths = {{ \"/api/*\" = {{ strip = true }} }}\n"
    ))
    .await;
    let sent = [
        ("x-secret", "1"),
        ("x-forwarded-for", "203.0.113.9"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("cookie", "a=b"),
    ];
    let headers: Vec<String> = sent.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let given: Vec<&str> = headers.iter().flat_map(|header| ["--header", header.as_str()]).collect();
    for (door, via, from, host) in [
        (Door::Plain, "plain", "127.0.0.44", "shop.home.test:8081"),
        (Door::Tunnel, "tunnel", "203.0.113.50", "shop.example:8082"),
    ] {
        let url = format!("http://{host}/api/a%2fb?c=d");
        let words = [&[url.as_str(), "--via", via, "--from", from][..], &given].concat();
        let explained = explained(&edge, &words).await;
        let place = format!("{host}/api/a%2fb?c=d");
        let client = edge.client().at(door).from([127, 0, 0, 44].into());
        let mut ask = client.get(&place);
        if door == Door::Tunnel {
            ask = ask.header("cf-connecting-ip", from);
        }
        let echo = sent.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).await.echo();
        let mut arrived: Vec<(String, String)> =
            echo.names().into_iter().map(|name| (name.clone(), echo.header(&name))).collect();
        arrived.sort();
        assert_eq!(fields(&explained), arrived, "through {via}");
        assert_eq!(explained["sent"]["request_line"], format!("GET {} HTTP/1.1", echo.target()));
        assert_eq!(explained["outcome"]["kind"], "forwarded");
    }
}

#[tokio::test]
async fn every_step_has_its_reason_and_its_place() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!("[routes]\nshop = {{ to = \"{shop}\", public = \"shop.example\" }}")).await;
    let said = explain(&edge, &["https://shop.home.test/", "--from", "127.0.0.9"]).await;
    assert_eq!(said.code, 0, "{}", said.said());
    for part in [
        "forwarded to `shop`",
        "door         main on",
        "it knows the name; door plain knows it too (--via plain)",
        "127.0.0.9 (home): the TCP peer; this door believes no header",
        "[cert.main] (home.test, *.home.test), ends",
        "its wildcard covers the name",
        "route        shop (shop.home.test), at",
        "let in by `allow` of the file (home), at routes.toml:3",
        "up: accepted a connection",
        "x-forwarded-for: 127.0.0.9",
    ] {
        assert!(flat(&said.out).contains(&flat(part)), "`{part}` in\n{}", said.out);
    }
    assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
}

#[tokio::test]
async fn a_path_that_can_be_read_in_several_ways_is_said_to_be_one() {
    let routes = "[routes.shop]\nto = \"http://127.0.0.1:9\"\npaths = { \"/open/*\" = { allow = [\"anyone\"] } }\n";
    let edge = Gateway::serving(routes).await;
    let said = explain(&edge, &["https://shop.home.test/secret/../open/x", "--from", "guest"]).await;
    for part in ["403 access-denied", "read as /open/x", "servers read this path in 2 ways", "`/secret/../open/x`"] {
        assert!(flat(&said.out).contains(part), "`{part}` in\n{}", said.out);
    }
    assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
}

#[tokio::test]
async fn each_server_of_an_upstream_is_told_of_with_the_connections_that_are_kept() {
    let (one, gone) = (Upstream::echoing().await, Upstream::absent().await);
    let edge = Gateway::serving(format!("[routes.shop]\nto = [\"{one}\", \"{gone}\"]\n")).await;
    edge.get("shop.home.test/").await;
    edge.get("shop.home.test/").await;
    let of = explained(&edge, &["shop.home.test", "--from", "home"]).await["upstream"].clone();
    assert_eq!((&of["balance"], &of["state"]), (&"round-robin".into(), &"1 of 2 accept connections".into()), "{of}");
    let members = of["members"].as_array().unwrap();
    assert_eq!(members[0]["address"], one.address().to_string());
    assert_eq!(members[0]["set_aside"], false, "{of}");
    // Each core keeps its own.
    assert!(matches!(members[0]["idle"].as_u64(), Some(1 | 2)), "{of}");
    assert!(members[0]["state"].as_str().unwrap().starts_with("up: accepted"), "{of}");
    assert_eq!((&members[1]["set_aside"], &members[1]["idle"]), (&true.into(), &0.into()), "{of}");
    assert!(members[1]["state"].as_str().unwrap().starts_with("down: upstream-refused"), "{of}");
    let said = explain(&edge, &["shop.home.test", "--from", "home"]).await;
    for part in
        ["1 of 2 accept connections", " idle connection", "set aside, others come first; down: upstream-refused"]
    {
        assert!(flat(&said.out).contains(part), "`{part}` in\n{}", said.out);
    }
    assert!(said.out.lines().all(|line| line.chars().count() <= 80), "{}", said.out);
}

#[tokio::test]
async fn what_is_explained_of_a_client_is_what_it_gets() {
    let shop = Upstream::echoing().await;
    let edge = Gateway::serving(format!(
        "[routes.shop]\nto = \"{shop}\"\npaths = {{ \"/open\" = {{ allow = [\"anyone\"] }}, \"/old\" = {{ redirect = \"/new\" }}, \
         \"/say\" = {{ text = \"hello\" }} }}\n"
    ))
    .await;
    for from in [crate::harness::HOME, GUEST, STRANGER] {
        for place in [
            "shop.home.test/",
            "shop.home.test/open",
            "shop.home.test/old",
            "shop.home.test/%2e/say",
            "none.home.test/",
        ] {
            let explained =
                explained(&edge, &[&format!("https://{place}"), "--via", "main", "--from", &from.to_string()]).await;
            let answer = edge.client().from(from).get(place).await;
            let status = explained["outcome"]["status"].as_u64().unwrap_or(200);
            assert_eq!(u64::from(answer.status), status, "{place} from {from}: {explained}");
        }
    }
}

#[tokio::test]
async fn a_file_is_explained_without_anybody_running() {
    let edge = Gateway::stopped();
    edge.write_routes("[routes]\nshop = \"http://192.0.2.9\"\n");
    let words = ["https://shop.home.test/", "--from", "home", "--config", "routes.toml"];
    let explained = explained(&edge, &words).await;
    assert_eq!(explained["live"], false);
    assert_eq!(explained["upstream"]["addresses"][0], "192.0.2.9:80", "{explained}");
    assert_eq!(explained["upstream"]["state"], Value::Null);
    edge.write_routes("[routes]\nshop = 7\n");
    assert_eq!(explain(&edge, &words).await.code, 1);
}

#[tokio::test]
async fn the_id_of_a_refusal_is_explained_with_the_mend() {
    let gone = Upstream::absent().await;
    let edge = Gateway::serving(format!("[routes]\nshop = \"{gone}\"")).await;
    let id_of = |answer: &crate::harness::Answer| {
        answer.text().lines().find_map(|line| line.strip_prefix("id ")).expect("an id").to_owned()
    };
    let refused = edge.client().from(GUEST).get("shop.home.test/secret").await;
    let said = explain(&edge, &[&id_of(&refused)]).await;
    assert_eq!(said.code, 0, "{}", said.said());
    for part in [
        "GET https://shop.home.test/secret",
        "403 access-denied",
        "(line 3)",
        "add its network to the `allow`",
        "the same request",
    ] {
        assert!(flat(&said.out).contains(part), "`{part}` in\n{}", said.out);
    }
    let failed = edge.get("shop.home.test/").await;
    let said = explain(&edge, &[&id_of(&failed)]).await;
    assert!(
        said.out.contains("upstream-refused") && flat(&said.out).contains("is the service started"),
        "{}",
        said.out
    );
    let explained = explained(&edge, &["shop.home.test", "--from", "home"]).await;
    assert_eq!(explained["upstream"]["last_failure"]["cause"], "upstream-refused");
    assert!(explained["upstream"]["state"].as_str().unwrap().starts_with("down: upstream-refused"), "{explained}");
}

#[tokio::test]
async fn questions_that_cannot_be_answered_say_why() {
    let edge = Gateway::serving("[routes]\nshop = \"http://127.0.0.1:9\"").await;
    for (words, why) in [
        (vec!["aaaaaaaaaaaaaaaa"], "not among the requests that are remembered"),
        (vec!["https://shop.home.test/", "--via", "man"], "no door `man`; there is main, plain, tunnel"),
        (vec!["https://shop.home.test/", "--from", "hom"], "neither an address nor a network"),
        (vec!["ftp://shop.home.test/"], "`ftp://`"),
        (vec!["https://shop home/"], "is not a name"),
    ] {
        let said = explain(&edge, &words).await;
        assert_eq!(said.code, 1, "{words:?}: {}", said.said());
        assert!(said.said().contains(why), "`{why}` in {}", said.said());
    }
}

/// Every name of an answer that the page does not have in backticks, with what leads to it.
fn undocumented(answer: &Value, page: &str, place: &str) -> Vec<String> {
    match answer {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let place = format!("{place}.{name}");
                let own = (!page.contains(&format!("`{name}`"))).then(|| place.clone());
                own.into_iter().chain(undocumented(value, page, &place)).collect::<Vec<_>>()
            })
            .collect(),
        Value::Array(all) => all.iter().flat_map(|one| undocumented(one, page, place)).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_field_of_every_answer_in_json_is_on_the_page() {
    let (shop, gone) = (Upstream::echoing().await, Upstream::absent().await);
    let limits = "limit = \"9/s\", in_flight = 9";
    let routes = format!("[routes]\nshop = {{ to = [\"{shop}\", \"{gone}\"], {limits} }}\ngone = \"{gone}\"\n");
    let edge = Gateway::serving(&routes).await;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/asking.md")).unwrap();
    let section = |heading: &str| {
        let (_, rest) = page.split_once(&format!("\n## {heading}")).unwrap_or_else(|| panic!("no {heading}"));
        rest.split("\n## ").next().unwrap().to_owned()
    };
    let others = section("JSON of the other commands");
    let refused = edge.get("gone.home.test/").await;
    let id = refused.text().lines().find_map(|line| line.strip_prefix("id ")).expect("an id").to_owned();
    edge.get("shop.home.test/").await;
    edge.get("shop.home.test/").await;
    edge.folder().replace("new.toml", edge.folder().read("routes.toml").replace("gone =", "none ="));
    edge.folder().replace("bad.toml", "[routes]\nshop = 7\n");
    let live = ["--json", "--state", "state"];
    for (words, section) in [
        (vec!["explain", "shop.home.test", "--from", "home"], section("`doorward explain`")),
        (vec!["explain", "shop.home.test", "--config", "routes.toml"], section("`doorward explain`")),
        (vec!["plan", "new.toml"], section("`doorward plan`") + &others),
        (vec!["plan", "bad.toml"], section("`doorward plan`") + &others),
        (vec!["top", "--once"], section("`doorward top`")),
        (vec!["routes"], others.clone()),
        (vec!["reload"], others.clone()),
        (vec!["docker"], others.clone()),
        (vec!["doctor", "routes.toml"], others.clone()),
    ] {
        let said = doorward(edge.folder().path(), &[&words[..], &live].concat()).await;
        let answer: Value =
            serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{words:?}: {e}: {}", said.said()));
        assert!(answer.is_object(), "{answer}");
        assert_eq!(undocumented(&answer, &section, ""), Vec::<String>::new(), "{words:?}");
    }
    let certificates = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/certificates.md")).unwrap();
    let said = doorward(edge.folder().path(), &[&["cert"][..], &live].concat()).await;
    let answer: Value = serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {}", said.said()));
    assert!(answer["certificates"][0]["stored"].is_object(), "{answer}");
    assert_eq!(undocumented(&answer, &certificates, "cert"), Vec::<String>::new());
    for file in ["routes.toml", "bad.toml"] {
        let said = doorward(edge.folder().path(), &["check", file, "--json"]).await;
        assert_eq!(undocumented(&serde_json::from_str(&said.out).unwrap(), &others, file), Vec::<String>::new());
    }
    // The record in it is that of the log, which has a page of its own.
    let mut incident = explained(&edge, &[&id]).await;
    incident["record"] = Value::Null;
    assert_eq!(undocumented(&incident, &section("`doorward explain`"), ""), Vec::<String>::new());
}
