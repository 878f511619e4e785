//! Which credentials are taken from the file, and that every provider can be made of them.

use super::*;

fn kind(name: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.name == name).unwrap()
}

fn read(name: &str, text: &str) -> Result<HashMap<String, Secret>, String> {
    entries(kind(name), &Secret::new(text.to_owned()))
}

#[test]
fn every_provider_is_made_of_exactly_the_entries_that_it_names() {
    for kind in KINDS {
        let texts: Vec<String> = kind.entries.iter().map(|entry| sample(entry)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        // A fault is a provider's own check of its key; a panic would be a list that is too short.
        if let Err(fault) = (kind.make)(&texts) {
            let is_about_the_key =
                kind.entries.iter().any(|entry| entry.starts_with('<')) || kind.name == "yandexcloud";
            assert!(is_about_the_key, "{}: {fault}", kind.name);
        }
    }
}

fn sample(entry: &str) -> String {
    match entry.trim_end_matches('?') {
        "api" => "https://dns.test:8443",
        "host" => "dns.test",
        "context" | "port" => "4",
        "client_ip" => "192.0.2.1",
        "endpoint" => "ovh-ca",
        "region" => "eu-west-1",
        _ => "sample",
    }
    .to_owned()
}

#[test]
fn the_file_knows_exactly_the_providers_that_there_are() {
    let known: Vec<&str> = crate::config::dns_providers().collect();
    let ours: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert!(ours.is_sorted_by(|a, b| a < b), "{ours:?}");
    assert_eq!(known[..3], ["cloudflare", "rfc2136", "exec"]);
    assert_eq!(known[3..], ours);
}

#[test]
fn a_token_may_stand_alone_even_if_it_ends_like_base64() {
    assert_eq!(read("desec", "abc0123==").unwrap()["token"].reveal(), "abc0123==");
    assert_eq!(read("desec", "# mine\ntoken = abc=\n").unwrap()["token"].reveal(), "abc=");
}

#[test]
fn several_entries_are_read_line_by_line() {
    let given = read("ovh", "application_key = a\napplication_secret=\"b\"\n# c\nconsumer_key = d=e\n").unwrap();
    assert_eq!(given["application_secret"].reveal(), "b");
    assert_eq!(given["consumer_key"].reveal(), "d=e");
}

#[test]
fn an_entry_that_nobody_knows_is_refused_without_showing_it() {
    let said = read("ovh", "aplication_key = hunter2").unwrap_err();
    assert!(said.contains("entry 1") && said.contains("`application_key = …`"), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("aplication"), "{said}");
}

#[test]
fn what_a_provider_says_is_shown_without_the_secrets_in_it() {
    let secrets = [Secret::new("s3cr3t".to_owned())];
    let said = clean("Failed to send request to https://x.test/update?token=s3cr3t\nnow", &secrets);
    assert_eq!(said, "Failed to send request to https://x.test/update?token=… now");
}

#[test]
fn the_handbook_lists_every_provider() {
    let handbook = include_str!("../../../../docs/dns-providers.md");
    for name in crate::config::dns_providers() {
        let is_listed = handbook.contains(&format!("| `{name}` |")) || handbook.contains(&format!("\"{name}\""));
        assert!(is_listed, "{name}");
    }
}
