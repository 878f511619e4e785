//! A provider of the long tail, PowerDNS for all of them: its own API is the only one that may stand anywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use doorward::acme::dns::DnsStep;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::Folder;
use crate::rigs::{Answer, Server, json_answer, serve};
use crate::written::{made, secret};

const NAME: &str = "_acme-challenge.home.test";
const KEY: &str = "pdns-key-0123456789-abcdefghij";

type Records = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// PowerDNS with the zone `home.test`, as far as one name needs it.
struct FakePowerDns {
    records: Records,
    api: String,
    _serving: Server,
}

impl FakePowerDns {
    async fn start() -> FakePowerDns {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let records = Records::default();
        let shared = records.clone();
        let serving = serve(listener, None, move |request| {
            let records = shared.clone();
            async move { respond(&records, &request) }
        });
        FakePowerDns { records, api, _serving: serving }
    }

    fn values(&self) -> Vec<String> {
        self.records.lock().unwrap().values().flatten().cloned().collect()
    }

    fn dns(&self, folder: &Folder, key: &str) -> String {
        let token = secret(folder, "token", &format!("token = {key}\n"));
        format!("{{ provider = \"powerdns\", api = \"{}\", token_file = \"{}\" }}", self.api, token.display())
    }
}

fn respond(records: &Records, request: &Request<Bytes>) -> Answer {
    if request.headers().get("x-api-key").is_none_or(|key| key != KEY) {
        return Some(json_answer(401, &json!({ "error": "Unauthorized" })));
    }
    if request.uri().path() != "/api/v1/servers/localhost/zones/home.test." {
        return Some(json_answer(404, &json!({ "error": "Could not find domain" })));
    }
    let mut records = records.lock().unwrap();
    if request.method() == Method::PATCH {
        let change: Value = serde_json::from_slice(request.body()).unwrap();
        for rrset in change["rrsets"].as_array().unwrap() {
            let contents = rrset["records"].as_array().into_iter().flatten();
            let contents = contents.map(|record| record["content"].as_str().unwrap().to_owned()).collect();
            records.insert(rrset["name"].as_str().unwrap().to_owned(), contents);
        }
    }
    let rrsets: Vec<Value> = records
        .iter()
        .map(|(name, contents)| {
            let contents: Vec<Value> =
                contents.iter().map(|content| json!({ "content": content, "disabled": false })).collect();
            json!({ "name": name, "type": "TXT", "ttl": 300, "records": contents })
        })
        .collect();
    Some(json_answer(200, &json!({ "rrsets": rrsets })))
}

#[tokio::test]
async fn two_values_stand_side_by_side_and_each_goes_alone_in_the_zone_that_there_is() {
    let (api, folder) = (FakePowerDns::start().await, Folder::new());
    let provider = made(&folder, &api.dns(&folder, KEY));
    provider.set_txt(NAME, "one").await.unwrap();
    provider.set_txt(NAME, "two").await.unwrap();
    assert_eq!(api.values(), ["\"one\"", "\"two\""]);
    // Another process, which has to find the zone again.
    let provider = made(&folder, &api.dns(&folder, KEY));
    provider.clear_txt(NAME, "one").await.unwrap();
    assert_eq!(api.values(), ["\"two\""]);
    for _ in 0..2 {
        provider.clear_txt(NAME, "two").await.unwrap();
    }
    assert_eq!(api.values(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_that_is_not_accepted_and_a_zone_that_is_not_there_are_told() {
    let (api, folder) = (FakePowerDns::start().await, Folder::new());
    let names = ["home.test".to_owned(), "a.other.example".to_owned()];
    let rights = made(&folder, &api.dns(&folder, KEY)).check_rights(&names).await.unwrap();
    assert_eq!((rights.needed.as_slice(), rights.refused.len()), (&["home.test".to_owned()][..], 1));
    let wrong = "pdns-key-of-somebody-else-000";
    let fault = made(&folder, &api.dns(&folder, wrong)).set_txt(NAME, "one").await.unwrap_err();
    assert_eq!((fault.step, fault.is_passing), (DnsStep::Add, false));
    assert!(fault.said.contains("credentials are not accepted") && !fault.to_string().contains(wrong), "{fault}");
}

#[tokio::test]
async fn an_entry_that_is_missing_is_named() {
    let folder = Folder::new();
    let keys = secret(&folder, "keys", "application_key = a\n");
    let dns = format!("{{ provider = \"ovh\", token_file = \"{}\" }}", keys.display());
    let fault = made(&folder, &dns).set_txt(NAME, "one").await.unwrap_err();
    assert!(fault.step == DnsStep::Secret && fault.said.contains("`application_secret` is missing"), "{fault}");
}
