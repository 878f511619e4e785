//! The file's format as a JSON Schema, made of the same tables of keys that the reader uses: editors complete and check
//! routes.toml with it. It knows forms, not meanings: which names exist, and what excludes what, only `doorward check` tells.

use serde_json::{Map, Value, json};

use super::keys::{
    ACME, CERT, DNS, DOCKER, DOOR, DRAIN, EXPECT, EXPORT, FILE, HEADER_EDITS, HEADERS, Key, LIMITS, LOG, MAIL, METRICS,
    PATH, ROUTE, Table, UPSTREAM,
};

/// The schema (draft 2020-12), as text with a newline at its end. The same for the same version of the program.
pub fn schema() -> String {
    let mut root = table(&FILE);
    let definitions: [(&str, &Table); 5] =
        [("cert", &CERT), ("door", &DOOR), ("path", &PATH), ("route", &ROUTE), ("upstream", &UPSTREAM)];
    if let Some(root) = root.as_object_mut() {
        let mut head = Map::new();
        head.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        head.insert("title".to_owned(), json!("routes.toml of Doorward"));
        let definitions: Map<String, Value> =
            definitions.into_iter().map(|(name, keys)| (name.to_owned(), table(keys))).collect();
        head.insert("$defs".to_owned(), Value::Object(definitions));
        for (name, value) in std::mem::take(root) {
            head.insert(name, value);
        }
        *root = head;
    }
    // Writing a value that was just made cannot fail.
    let mut text = serde_json::to_string_pretty(&root).unwrap_or_default();
    text.push('\n');
    text
}

fn table(of: &Table) -> Value {
    let properties: Map<String, Value> = of.keys.iter().map(|key| (key.name.to_owned(), property(of, key))).collect();
    let mut made = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let required = required(of);
    if !required.is_empty() {
        made["required"] = json!(required);
    }
    made
}

/// What a table cannot be without, whatever else it has.
fn required(of: &Table) -> &'static [&'static str] {
    match of.title {
        title if title == UPSTREAM.title => &["to"],
        title if title == EXPECT.title => &["url", "is"],
        title if title == EXPORT.title => &["dir", "cert", "key"],
        title if title == METRICS.title => &["listen"],
        title if title == MAIL.title => &["relay", "from", "to"],
        title if title == DNS.title => &["provider"],
        _ => &[],
    }
}

fn property(of: &Table, key: &Key) -> Value {
    let mut made = nested(of, key).unwrap_or_else(|| form(key.takes));
    if let Some(made) = made.as_object_mut() {
        made.insert("description".to_owned(), json!(format!("{}. Takes {}, as {}", key.doc, key.takes, key.example)));
    }
    made
}

/// Keys that hold other tables.
fn nested(of: &Table, key: &Key) -> Option<Value> {
    let named = |entry: Value| json!({ "type": "object", "additionalProperties": entry });
    let reference = |name: &str| json!({ "$ref": format!("#/$defs/{name}") });
    let or_text = |entry: Value| json!({ "anyOf": [{ "type": "string" }, entry] });
    // An address, several of them, or a table.
    let or_addresses = |entry: Value| json!({ "anyOf": [{ "type": "string" }, texts(), entry] });
    let is_file = of.title == FILE.title;
    Some(match key.name {
        "networks" if is_file => named(texts()),
        "listen" if is_file => named(reference("door")),
        "cert" if is_file => named(reference("cert")),
        "upstreams" if is_file => named(or_addresses(reference("upstream"))),
        "routes" if is_file => named(or_addresses(reference("route"))),
        "expect" if is_file => json!({ "type": "array", "items": table(&EXPECT) }),
        "metrics" if is_file => table(&METRICS),
        "log" if is_file => table(&LOG),
        "drain" if is_file => table(&DRAIN),
        "limits" if is_file => table(&LIMITS),
        "docker" if is_file => table(&DOCKER),
        "mail" if is_file => table(&MAIL),
        "dns" => or_text(table(&DNS)),
        "acme" => or_text(table(&ACME)),
        "export" => json!({ "type": "array", "items": table(&EXPORT) }),
        "headers" => table(&HEADERS),
        "request" | "response" if of.title == HEADERS.title => table(&HEADER_EDITS),
        "set" => named(json!({ "type": "string" })),
        "paths" => named(or_addresses(reference("path"))),
        _ => return None,
    })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

/// The form of a value, as far as the words of its key tell; what they do not tell is left open.
fn form(takes: &str) -> Value {
    let text = || json!({ "type": "string" });
    if takes.contains("or a list of") {
        return json!({ "anyOf": [text(), texts()] });
    }
    if takes.starts_with("a list") {
        return texts();
    }
    if takes.ends_with("a table") || takes.contains(" table of ") {
        return json!({});
    }
    if takes.contains("number") {
        return match takes.contains(" or ") {
            true => json!({ "anyOf": [text(), { "type": "integer" }] }),
            false => json!({ "type": "integer" }),
        };
    }
    match takes {
        // A name or a number.
        "a user" | "a group" => json!({ "anyOf": [text(), { "type": "integer" }] }),
        "true or false" => json!({ "type": "boolean" }),
        "a duration" => json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$" }),
        "a size" => json!({ "type": "string", "pattern": "^[0-9]+ *([KkMGT](i?B)?)?$" }),
        "a fingerprint" => json!({ "type": "string", "pattern": "^sha256:[0-9A-Fa-f:]{64,95}$" }),
        _ if takes.starts_with('"') || takes.starts_with("the word") => choice(takes),
        _ => text(),
    }
}

/// Every word in quotes.
fn choice(takes: &str) -> Value {
    let words: Vec<&str> = takes.split('"').skip(1).step_by(2).collect();
    json!({ "enum": words })
}
