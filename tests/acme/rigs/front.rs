//! A front for Pebble with what this Pebble lacks: renewal information (RFC 9773), profiles, limits, and times of absence.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use rustls::RootCertStore;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;

use super::Pebble;
use super::http::{Answer, Server, json as answer, send_tls, serve};
use crate::harness::{Folder, TestCa, own_address};

const PORT: u16 = 14001;

/// How the CA is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absence {
    /// Connections are cut.
    Cut,
    /// 503 without a reason.
    Unavailable,
    /// 200 with a page that is no JSON.
    Maintenance,
}

struct State {
    pebble: SocketAddr,
    roots: Arc<RootCertStore>,
    own: SocketAddr,
    window: Option<(OffsetDateTime, OffsetDateTime)>,
    look_again: u32,
    absence: Option<Absence>,
    limited: (u32, u32),
    profiles: Vec<String>,
    orders: Vec<Value>,
    asked: Vec<String>,
    calls: Vec<String>,
}

/// A running front.
pub struct AcmeFront {
    state: Arc<Mutex<State>>,
    folder: Folder,
    server: SocketAddr,
    _serving: Server,
}

impl AcmeFront {
    /// One for this Pebble; it passes everything on until told otherwise.
    pub async fn start(pebble: &Pebble) -> AcmeFront {
        let listener = TcpListener::bind((own_address(&[PORT]), PORT)).await.expect("a free address");
        let server = listener.local_addr().expect("its address");
        let folder = Folder::new();
        let ca = TestCa::new("The front's API");
        folder.replace("ca.crt", ca.pem());
        let tls = ca.issue(&[&server.ip().to_string()]).server_config();
        let state = Arc::new(Mutex::new(State {
            pebble: pebble.server(),
            roots: pebble.roots(),
            own: server,
            window: None,
            look_again: 21_600,
            absence: None,
            limited: (0, 0),
            profiles: Vec::new(),
            orders: Vec::new(),
            asked: Vec::new(),
            calls: Vec::new(),
        }));
        let shared = state.clone();
        let serving = serve(listener, Some(tls), move |request| {
            let state = shared.clone();
            async move { respond(&state, request).await }
        });
        AcmeFront { state, folder, server, _serving: serving }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with it")
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.server)
    }

    /// Root of its certificate, a file.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.at("ca.crt")
    }

    /// `acme = { … }` of a routes.toml that orders here.
    pub fn acme(&self) -> String {
        format!("{{ directory = \"{}\", ca = \"{}\" }}", self.directory(), self.ca_file().display())
    }

    /// Suggests this window for every renewal from now on, to be asked for again after so many seconds.
    pub fn suggest(&self, start: OffsetDateTime, end: OffsetDateTime, look_again: u32) {
        let mut state = self.state();
        state.window = Some((start, end));
        state.look_again = look_again;
    }

    /// Offers these profiles, and refuses others.
    pub fn offer_profiles(&self, names: &[&str]) {
        self.state().profiles = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// The next orders are refused as too many, with `Retry-After` in seconds.
    pub fn limit_orders(&self, times: u32, retry_after: u32) {
        self.state().limited = (times, retry_after);
    }

    /// Goes away, or comes back with `None`.
    pub fn absent(&self, absence: Option<Absence>) {
        self.state().absence = absence;
    }

    /// The payloads of all new orders that came this far, as JSON.
    pub fn orders(&self) -> Vec<Value> {
        self.state().orders.clone()
    }

    /// The certificates (by their ARI identifier) that renewal information was asked for.
    pub fn asked_about(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Everything that was called, as `METHOD /path`, those during an absence too.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }
}

async fn respond(state: &Mutex<State>, request: Request<Bytes>) -> Answer {
    let path = request.uri().path().to_owned();
    let (pebble, roots) = {
        let mut state = state.lock().expect("no test panicked with it");
        state.calls.push(format!("{} {path}", request.method()));
        if let Some(absence) = state.absence {
            return absent(absence);
        }
        if let Some(id) = path.strip_prefix("/renewal-info/") {
            state.asked.push(id.to_owned());
            return Some(renewal_info(&state));
        }
        if request.method() == Method::POST
            && path.contains("order-plz")
            && let Some(refused) = order(&mut state, request.body())
        {
            return Some(refused);
        }
        (state.pebble, state.roots.clone())
    };
    let (mut head, body) = request.into_parts();
    head.headers.remove("connection");
    let passed = send_tls(pebble, roots, Request::from_parts(head, body)).await.ok()?;
    let (mut head, mut body) = passed.into_parts();
    head.headers.remove("content-length");
    head.headers.remove("transfer-encoding");
    if is_bad_nonce(&body) {
        // Pebble refuses some nonces for the exercise; the same request comes again, and that one counts.
        let mut state = state.lock().expect("no test panicked with it");
        let call = format!("POST {path}");
        if let Some(at) = state.calls.iter().rposition(|known| *known == call) {
            state.calls.remove(at);
        }
        if path.contains("order-plz") {
            state.orders.pop();
        }
    }
    if path.contains("order-plz") && head.status.is_success() {
        // A CA that takes note of these says so (RFC 9773 §5).
        let mut made: Value = serde_json::from_slice(&body).expect("an order");
        let asked = state.lock().expect("no test panicked with it").orders.last().cloned().unwrap_or_default();
        for field in ["replaces", "profile"] {
            if let Some(value) = asked.get(field) {
                made[field] = value.clone();
            }
        }
        body = Bytes::from(made.to_string());
    }
    if path == "/dir" {
        body = extended(&body, &state.lock().expect("no test panicked with it"));
    }
    Some(Response::from_parts(head, Full::new(body)))
}

fn is_bad_nonce(answer: &Bytes) -> bool {
    answer.windows(8).any(|word| word == b"badNonce")
}

fn absent(absence: Absence) -> Answer {
    let body = |text: &'static str| Full::new(Bytes::from(text));
    match absence {
        Absence::Cut => None,
        Absence::Unavailable => Response::builder().status(503).body(body("")).ok(),
        Absence::Maintenance => Response::builder().status(200).body(body("<h1>Back soon</h1>")).ok(),
    }
}

fn renewal_info(state: &State) -> Response<Full<Bytes>> {
    let Some((start, end)) = state.window else {
        return problem(404, "malformed", "no renewal information for this certificate");
    };
    let written = |moment: OffsetDateTime| moment.format(&Rfc3339).expect("a moment of our time");
    let window = json!({ "start": written(start), "end": written(end) });
    let mut info = answer(200, &json!({ "suggestedWindow": window, "explanationURL": "https://ca.test/why" }));
    info.headers_mut().insert("retry-after", HeaderValue::from(state.look_again));
    info
}

/// Keeps what was ordered; an answer if the order is refused here.
fn order(state: &mut State, jws: &Bytes) -> Option<Response<Full<Bytes>>> {
    let jws: Value = serde_json::from_slice(jws).unwrap_or_default();
    let payload = jws.get("payload").and_then(Value::as_str).unwrap_or_default();
    let payload: Value =
        URL_SAFE_NO_PAD.decode(payload).ok().and_then(|p| serde_json::from_slice(&p).ok()).unwrap_or_default();
    if state.limited.0 > 0 {
        state.limited.0 -= 1;
        let mut refused = problem(429, "rateLimited", "too many new orders recently");
        refused.headers_mut().insert("retry-after", HeaderValue::from(state.limited.1));
        return Some(refused);
    }
    let profile = payload.get("profile").and_then(Value::as_str).unwrap_or_default().to_owned();
    state.orders.push(payload);
    let is_unknown = !profile.is_empty() && !state.profiles.contains(&profile);
    is_unknown.then(|| problem(400, "invalidProfile", "this profile is not offered"))
}

fn problem(status: u16, kind: &str, detail: &str) -> Response<Full<Bytes>> {
    let body = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    let mut answer = answer(status, &body);
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/problem+json"));
    answer
}

fn extended(directory: &Bytes, state: &State) -> Bytes {
    let mut directory: Value = serde_json::from_slice(directory).expect("Pebble's directory");
    if state.window.is_some() {
        directory["renewalInfo"] = format!("https://{}/renewal-info", state.own).into();
    }
    if !state.profiles.is_empty() {
        let offered = state.profiles.iter().map(|name| (name.clone(), Value::from("offered in a test"))).collect();
        directory["meta"]["profiles"] = Value::Object(offered);
    }
    Bytes::from(directory.to_string())
}
