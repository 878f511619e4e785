//! A stand-in for Cloudflare's API, as strict as the real one where clients stumble.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Challtestsrv;
use super::challtestsrv::order;
use super::http::{Answer, Server, json as answer, query, serve};
use crate::harness::own_address;

const PORT: u16 = 9999;

/// The calls that a client makes, for faults to be put in their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// GET /user/tokens/verify
    Verify,
    /// GET /zones
    Zones,
    /// POST /zones/…/dns_records
    Add,
    /// GET /zones/…/dns_records
    List,
    /// DELETE /zones/…/dns_records/…
    Delete,
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This status, with an error in the API's own form.
    Status(u16),
    /// 429, with `Retry-After` in seconds.
    Limited(u32),
    /// 502 from something before the API, in HTML.
    Html,
    /// The call is carried out, then the connection is cut without an answer.
    CutAfter,
    /// The connection is cut at once.
    Cut,
    /// No answer for a very long time.
    Silent,
}

/// A zone, and which tokens may do what.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    readers: Vec<String>,
    editors: Vec<String>,
    servers: Vec<String>,
}

impl Zone {
    /// A zone that this token may see and change.
    pub fn new(name: &str, token: &str) -> Zone {
        let token = vec![token.to_owned()];
        Zone { name: name.to_owned(), readers: token.clone(), editors: token, servers: Vec::new() }
    }

    /// The token may see it, and not change it.
    pub fn read_only(mut self) -> Zone {
        self.editors.clear();
        self
    }

    fn id(&self) -> String {
        self.name.bytes().map(|b| format!("{b:02x}")).collect()
    }
}

#[derive(Clone, Debug)]
struct Record {
    id: String,
    zone: String,
    name: String,
    content: String,
}

#[derive(Default)]
struct State {
    tokens: Vec<String>,
    zones: Vec<Zone>,
    records: Vec<Record>,
    next_id: u64,
    faults: VecDeque<(Step, Fault, u32)>,
    calls: Vec<String>,
}

/// A running one.
pub struct FakeCloudflare {
    state: Arc<Mutex<State>>,
    server: SocketAddr,
    _serving: Server,
}

impl FakeCloudflare {
    /// One with these zones, whose records are seen by nobody.
    pub async fn start(zones: Vec<Zone>) -> FakeCloudflare {
        FakeCloudflare::run(zones, None).await
    }

    /// One whose TXT records are answered by a DNS server, which is also the name server of all its zones.
    pub async fn published(mut zones: Vec<Zone>, dns: &Challtestsrv) -> FakeCloudflare {
        for zone in &mut zones {
            zone.servers = vec![dns.server().to_string()];
        }
        FakeCloudflare::run(zones, Some(dns.management())).await
    }

    async fn run(zones: Vec<Zone>, management: Option<SocketAddr>) -> FakeCloudflare {
        let listener = TcpListener::bind((own_address(&[PORT]), PORT)).await.expect("a free address");
        let server = listener.local_addr().expect("its address");
        let mut tokens: Vec<String> = zones.iter().flat_map(|zone| zone.readers.clone()).collect();
        tokens.dedup();
        let state = Arc::new(Mutex::new(State { zones, tokens, ..State::default() }));
        let shared = state.clone();
        let serving = serve(listener, None, move |request| {
            let state = shared.clone();
            async move { respond(&state, management, request).await }
        });
        FakeCloudflare { state, server, _serving: serving }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with it")
    }

    /// What `api = "…"` takes.
    pub fn api(&self) -> String {
        format!("http://{}/client/v4", self.server)
    }

    /// The same without its path, as people write it too.
    pub fn bare_api(&self) -> String {
        format!("http://{}", self.server)
    }

    /// `dns = { … }` of a routes.toml, with a token file.
    pub fn dns(&self, token_file: &std::path::Path) -> String {
        format!("{{ provider = \"cloudflare\", api = \"{}\", token_file = \"{}\" }}", self.api(), token_file.display())
    }

    /// The next `times` calls of a step go wrong.
    pub fn fail(&self, step: Step, fault: Fault, times: u32) {
        self.state().faults.push_back((step, fault, times));
    }

    /// No call goes wrong any more.
    pub fn mend(&self) {
        self.state().faults.clear();
    }

    /// All records as `name value`, sorted.
    pub fn records(&self) -> Vec<String> {
        let mut records: Vec<String> =
            self.state().records.iter().map(|record| format!("{} {}", record.name, record.content)).collect();
        records.sort_unstable();
        records
    }

    /// A record that was there before, of somebody else.
    pub fn put(&self, zone: &str, name: &str, content: &str) {
        let mut state = self.state();
        state.add(zone, name, content);
    }

    /// Everything that was called, as `METHOD /path?query`.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }
}

impl State {
    fn add(&mut self, zone: &str, name: &str, content: &str) -> String {
        self.next_id += 1;
        let id = format!("{:032x}", self.next_id);
        let (zone, name, content) = (zone.to_owned(), name.to_owned(), content.trim_matches('"').to_owned());
        self.records.push(Record { id: id.clone(), zone, name, content });
        id
    }

    fn fault(&mut self, step: Step) -> Option<Fault> {
        let at = self.faults.iter().position(|(of, _, times)| *of == step && *times > 0)?;
        let (_, fault, times) = self.faults.get_mut(at)?;
        *times -= 1;
        Some(*fault)
    }
}

fn refuse(status: u16, code: i64, message: &str) -> Response<Full<Bytes>> {
    answer(
        status,
        &json!({ "success": false, "result": null, "messages": [],
        "errors": [{ "code": code, "message": message }] }),
    )
}

fn accept(result: Value, total: usize) -> Response<Full<Bytes>> {
    answer(
        200,
        &json!({ "success": true, "errors": [], "messages": [], "result": result,
        "result_info": { "page": 1, "per_page": 50, "count": total, "total_count": total, "total_pages": 1 } }),
    )
}

async fn respond(state: &Mutex<State>, management: Option<SocketAddr>, request: Request<Bytes>) -> Answer {
    let Some(path) = request.uri().path().strip_prefix("/client/v4").map(str::to_owned) else {
        return Some(
            Response::builder().status(404).body(Full::new(Bytes::from("404 page not found"))).expect("an answer"),
        );
    };
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let step = match (request.method(), parts.as_slice()) {
        (&Method::GET, ["user", "tokens", "verify"]) => Step::Verify,
        (&Method::GET, ["zones"]) => Step::Zones,
        (&Method::POST, ["zones", _, "dns_records"]) => Step::Add,
        (&Method::GET, ["zones", _, "dns_records"]) => Step::List,
        (&Method::DELETE, ["zones", _, "dns_records", _]) => Step::Delete,
        _ => {
            return Some(refuse(400, 7003, "Could not route to that path, perhaps your object identifier is invalid?"));
        }
    };
    let fault = {
        let mut state = state.lock().expect("no test panicked with it");
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        state.calls.push(format!("{} {path}{query}", request.method()));
        state.fault(step)
    };
    match fault {
        Some(Fault::Status(status)) => return Some(refuse(status, 10001, "Internal authentication error")),
        Some(Fault::Limited(seconds)) => {
            let mut limited = refuse(429, 10429, "More than 1200 requests per 300 seconds reached");
            limited.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            return Some(limited);
        }
        Some(Fault::Html) => {
            let page = Full::new(Bytes::from("<html><h1>502 Bad Gateway</h1></html>"));
            return Some(Response::builder().status(502).body(page).expect("an answer"));
        }
        Some(Fault::Cut) => return None,
        Some(Fault::Silent) => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            return None;
        }
        Some(Fault::CutAfter) | None => {}
    }
    let (answer, changed) = carry_out(&mut state.lock().expect("no test panicked with it"), step, &parts, &request);
    if let (Some(management), Some((name, values))) = (management, changed) {
        publish(management, &name, &values).await;
    }
    (fault != Some(Fault::CutAfter)).then_some(answer)
}

/// Name and values that DNS should show from now on.
type Changed = Option<(String, Vec<String>)>;

fn carry_out(
    state: &mut State,
    step: Step,
    parts: &[&str],
    request: &Request<Bytes>,
) -> (Response<Full<Bytes>>, Changed) {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(token) = header.strip_prefix("Bearer ").filter(|token| !token.is_empty() && !token.contains(' ')) else {
        return (refuse(400, 6003, "Invalid request headers"), None);
    };
    if !state.tokens.iter().any(|known| known == token) {
        let refused = if step == Step::Verify {
            refuse(401, 1000, "Invalid API Token")
        } else {
            refuse(403, 9109, "Invalid access token")
        };
        return (refused, None);
    }
    if step == Step::Verify {
        return (accept(json!({ "id": "a1", "status": "active" }), 1), None);
    }
    if step == Step::Zones {
        return (zones(state, token, request), None);
    }
    let zone = parts.get(1).and_then(|id| state.zones.iter().find(|zone| zone.id() == *id)).cloned();
    let Some(zone) = zone.filter(|zone| zone.readers.iter().any(|reader| reader == token)) else {
        return (refuse(403, 9109, "Unauthorized to access requested resource"), None);
    };
    if step != Step::List && !zone.editors.iter().any(|editor| editor == token) {
        return (refuse(403, 10000, "Authentication error"), None);
    }
    match step {
        Step::Add => add(state, &zone, request),
        Step::Delete => delete(state, &zone, parts.get(3).copied().unwrap_or_default()),
        _ => (list(state, &zone, request), None),
    }
}

fn zones(state: &State, token: &str, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let wanted = query(request).into_iter().find(|(name, _)| name == "name").map(|(_, value)| value);
    let seen = state.zones.iter().filter(|zone| zone.readers.iter().any(|reader| reader == token));
    let found: Vec<Value> = seen
        .filter(|zone| wanted.as_ref().is_none_or(|wanted| *wanted == zone.name))
        .map(|zone| {
            let mut permissions = vec!["#zone:read", "#dns_records:read"];
            if zone.editors.iter().any(|editor| editor == token) {
                permissions.push("#dns_records:edit");
            }
            json!({ "id": zone.id(), "name": zone.name, "status": "active", "name_servers": zone.servers,
                "permissions": permissions })
        })
        .collect();
    let total = found.len();
    accept(found.into(), total)
}

fn add(state: &mut State, zone: &Zone, request: &Request<Bytes>) -> (Response<Full<Bytes>>, Changed) {
    let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name, content) = (text("type"), text("name"), text("content").trim_matches('"').to_owned());
    let ttl = body.get("ttl").and_then(Value::as_u64).unwrap_or_default();
    let inside = name == zone.name || name.ends_with(&format!(".{}", zone.name));
    if kind != "TXT" || content.is_empty() || !inside || !(ttl == 1 || (60..=86_400).contains(&ttl)) {
        return (refuse(400, 1004, "DNS Validation Error"), None);
    }
    let identical = state.records.iter().any(|record| record.name == name && record.content == content);
    if identical {
        return (refuse(400, 81058, "An identical record already exists."), None);
    }
    let id = state.add(&zone.name, &name, &content);
    let made = json!({ "id": id, "type": "TXT", "name": name, "content": format!("\"{content}\""), "ttl": ttl });
    (accept(made, 1), changed(state, name))
}

fn list(state: &State, zone: &Zone, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let wanted = query(request);
    let fits =
        |key: &str, value: &str| wanted.iter().all(|(name, wanted)| name != key || wanted.trim_matches('"') == value);
    let found: Vec<Value> = state
        .records
        .iter()
        .filter(|record| record.zone == zone.name && fits("name", &record.name))
        .filter(|record| fits("content", &record.content) && fits("type", "TXT"))
        .map(|record| {
            let content = format!("\"{}\"", record.content);
            json!({ "id": record.id, "type": "TXT", "name": record.name, "content": content, "ttl": 60 })
        })
        .collect();
    let total = found.len();
    accept(found.into(), total)
}

fn delete(state: &mut State, zone: &Zone, id: &str) -> (Response<Full<Bytes>>, Changed) {
    let at = state.records.iter().position(|record| record.zone == zone.name && record.id == id);
    let Some(at) = at else { return (refuse(404, 81044, "Record does not exist."), None) };
    let record = state.records.remove(at);
    (accept(json!({ "id": id }), 1), changed(state, record.name))
}

fn changed(state: &State, name: String) -> Changed {
    let values =
        state.records.iter().filter(|record| record.name == name).map(|record| record.content.clone()).collect();
    Some((name, values))
}

async fn publish(management: SocketAddr, name: &str, values: &[String]) {
    let host = format!("{name}.");
    order(management, "/clear-txt", json!({ "host": host })).await;
    for value in values {
        order(management, "/set-txt", json!({ "host": host, "value": value })).await;
    }
}
