//! `doorward compare`: the same request to two proxies for every name, and what is different about the answers.
//! Follows no redirect, keeps no cookie, sends no body, and reads no more than 4 MiB of an answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::peer;
use crate::cert::{ShownCertificate, Validity, hex, sha256};
use crate::config::{self, Faults};
use crate::model::HostPattern;

/// How long one answer may take, its body included.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most of a body that is read and compared.
const LONGEST: usize = 4 << 20;

/// Names that are asked for at the same time.
const AT_ONCE: usize = 8;

/// Headers that say something of the way or the moment, not of the answer: any difference in them is none.
pub const IGNORED_HEADERS: [&str; 16] = [
    "age",
    "alt-svc",
    "cf-ray",
    "connection",
    "content-length",
    "date",
    "expires",
    "keep-alive",
    "server",
    "server-timing",
    "transfer-encoding",
    "via",
    "x-request-id",
    "x-runtime",
    "x-served-by",
    "x-trace-id",
];

/// What is compared.
pub struct Comparison {
    /// `host:port`, `https://…` or `http://…`; https where nothing is said.
    pub old: String,
    /// The same of the other one.
    pub new: String,
    /// Whom to ask for.
    pub names: Vec<String>,
    /// What to ask each for; at least one, each with its `/`.
    pub paths: Vec<String>,
    /// HEAD in place of GET.
    pub head_only: bool,
}

/// The outcome for one name and path.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The name.
    pub name: String,
    /// The path.
    pub path: String,
    /// What the old one answered, or why it did not.
    #[serde(serialize_with = "answer_or_error")]
    pub old: Result<Answered, String>,
    /// What the new one answered, or why it did not.
    #[serde(serialize_with = "answer_or_error")]
    pub new: Result<Answered, String>,
    /// What is different; none where the answers are the same.
    pub differences: Vec<Difference>,
    /// What is different without being a difference.
    pub remarks: Vec<String>,
}

/// An answer as it is, and `{"error": "…"}` where there was none.
fn answer_or_error<S: serde::Serializer>(answer: &Result<Answered, String>, out: S) -> Result<S::Ok, S::Error> {
    match answer {
        Ok(answer) => answer.serialize(out),
        Err(why) => BTreeMap::from([("error", why)]).serialize(out),
    }
}

/// One answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// Its headers, lower case, in the order of the alphabet.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Bytes of the body, as far as it was read.
    pub body_bytes: usize,
    /// SHA-256 of them.
    pub body_sha256: String,
    /// Whether that was all of it.
    pub body_whole: bool,
    /// The certificate; none without TLS.
    pub certificate: Option<Certificate>,
}

/// A certificate as it was shown.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// Who signed it.
    pub issuer: String,
    /// SHA-256 of it.
    pub sha256: String,
    /// Its last day.
    pub until: String,
    /// Whether it is for the name that was asked for.
    pub covers: bool,
    /// Whether it is in force today.
    pub valid: bool,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// `status`, `header <name>`, `body`, `certificate`, or `answer` where one of the two gave none.
    pub what: String,
    /// What the old one said; none where it said nothing.
    pub old: Option<String>,
    /// What the new one said; none where it said nothing.
    pub new: Option<String>,
}

/// The names of a file that both proxies can be asked for: exact ones, local and public. Wildcards name nobody.
///
/// # Errors
/// The faults of the file.
pub fn names_of(path: &Path) -> Result<Vec<String>, Faults> {
    let checked = config::load(path)?;
    let mut names = Vec::new();
    for route in &checked.config.routes {
        if let HostPattern::Exact(name) = &route.host {
            names.push(name.to_string());
        }
        names.extend(route.public.iter().map(|name| name.value.to_string()));
    }
    Ok(names)
}

/// Asks both, and compares. The outcomes are in the order of the names.
///
/// # Errors
/// In words: an address that is none, or a machine that cannot do it at all.
pub fn compare(comparison: Comparison) -> Result<Vec<Compared>, String> {
    let Comparison { old, new, names, paths, head_only } = comparison;
    let (old, new) = (Arc::new(Side::read(&old)?), Arc::new(Side::read(&new)?));
    let method = if head_only { Method::HEAD } else { Method::GET };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| format!("no runtime: {cause}"))?;
    runtime.block_on(async {
        let free = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        let pairs = names.iter().flat_map(|name| paths.iter().map(move |path| (name.clone(), path.clone())));
        for (at, (name, path)) in pairs.enumerate() {
            let (old, new, method, free) = (Arc::clone(&old), Arc::clone(&new), method.clone(), Arc::clone(&free));
            running.spawn(async move {
                // The semaphore is never closed; without a permit the work is only less orderly.
                let _permit = free.acquire().await;
                (at, one(&old, &new, &method, name, path).await)
            });
        }
        let mut outcomes = running.join_all().await;
        outcomes.sort_by_key(|(at, _)| *at);
        Ok(outcomes.into_iter().map(|(_, compared)| compared).collect())
    })
}

/// Where this header is, Doorward answers itself.
const OWN_ANSWER: &str = "x-doorward-error";

async fn one(old: &Side, new: &Side, method: &Method, name: String, path: String) -> Compared {
    let (first, second) = tokio::join!(old.ask(method, &name, &path), new.ask(method, &name, &path));
    let (mut differences, mut remarks) = (Vec::new(), Vec::new());
    match (&first, &second) {
        (Ok(a), Ok(b)) => {
            differences = differing(a, b);
            remarks.extend(renewed(a, b));
            let varies = |difference: &Difference| difference.what == "body" || difference.what.starts_with("header ");
            if differences.iter().any(varies) {
                // What differs from itself is not compared: a page with the time in it says nothing of the proxy.
                if let Ok(again) = old.ask(method, &name, &path).await {
                    let restless: Vec<String> = differing(a, &again).into_iter().map(|d| d.what).collect();
                    differences.retain(|difference| !restless.contains(&difference.what));
                    remarks.extend(restless.iter().map(|what| format!("{what} is another one each time")));
                }
            }
            if let Some(word) = [b, a].iter().find_map(|answer| answer.headers.get(OWN_ANSWER)?.first()) {
                // No two proxies have the same page for what they refuse; that they refuse it is what counts.
                differences.retain(|difference| !varies(difference));
                remarks.push(format!("Doorward's own answer, `{word}`: compared by its status alone"));
            }
        }
        (a, b) => differences.push(Difference { what: "answer".to_owned(), old: Some(said(a)), new: Some(said(b)) }),
    }
    Compared { name, path, old: first, new: second, differences, remarks }
}

fn said(answer: &Result<Answered, String>) -> String {
    match answer {
        Ok(answer) => format!("status {}", answer.status),
        Err(why) => why.clone(),
    }
}

fn differing(old: &Answered, new: &Answered) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differs = |what: &str, old: Option<String>, new: Option<String>| {
        if old != new {
            differences.push(Difference { what: what.to_owned(), old, new });
        }
    };
    differs("status", Some(old.status.to_string()), Some(new.status.to_string()));
    let names: std::collections::BTreeSet<&String> = old.headers.keys().chain(new.headers.keys()).collect();
    for name in names.into_iter().filter(|name| !IGNORED_HEADERS.contains(&name.as_str())) {
        let value = |answer: &Answered| answer.headers.get(name).map(|values| shown(name, values));
        differs(&format!("header {name}"), value(old), value(new));
    }
    let body = |answer: &Answered| {
        let more = if answer.body_whole { "" } else { " or more" };
        format!("{} bytes{more}, sha256 {:.12}", answer.body_bytes, answer.body_sha256)
    };
    differs("body", Some(body(old)), Some(body(new)));
    // Another certificate of the same issuer is a renewed one.
    let certificate = |answer: &Answered| {
        answer.certificate.as_ref().map(|shown| {
            let covers = if shown.covers { "" } else { ", not for this name" };
            let valid = if shown.valid { "" } else { ", not in force" };
            format!("from {}{covers}{valid}", shown.issuer)
        })
    };
    differs("certificate", certificate(old), certificate(new));
    differences
}

fn renewed(old: &Answered, new: &Answered) -> Option<String> {
    let (old, new) = (old.certificate.as_ref()?, new.certificate.as_ref()?);
    let is_renewed = old.sha256 != new.sha256 && old.issuer == new.issuer;
    is_renewed.then(|| format!("another certificate of the same issuer: until {} there, {} here", old.until, new.until))
}

/// A cookie's value is another one each time; its name is not.
fn shown(name: &str, values: &[String]) -> String {
    let mut values: Vec<&str> = values
        .iter()
        .map(|value| if name == "set-cookie" { value.split('=').next().unwrap_or_default() } else { value.as_str() })
        .collect();
    if name == "set-cookie" {
        values.sort_unstable();
    }
    values.join(", ")
}

/// One of the two proxies.
struct Side {
    place: String,
    is_tls: bool,
}

impl Side {
    fn read(text: &str) -> Result<Side, String> {
        let (is_tls, place) = match text.split_once("://") {
            None => (true, text),
            Some(("https", place)) => (true, place),
            Some(("http", place)) => (false, place),
            Some((other, _)) => return Err(format!("`{other}://` is not spoken; write `https://` or `http://`")),
        };
        let place = place.trim_end_matches('/');
        if place.is_empty() || place.contains(['/', '@', '?', '#']) {
            return Err(format!("`{text}` is no address of a proxy; write `192.168.8.102:443`"));
        }
        Ok(Side { place: peer::with_port(place, if is_tls { 443 } else { 80 }), is_tls })
    }

    /// One request on a connection of its own.
    async fn ask(&self, method: &Method, name: &str, path: &str) -> Result<Answered, String> {
        let asked = timeout(PATIENCE, self.exchange(method, name, path)).await;
        asked.unwrap_or_else(|_| Err(format!("{} gave no whole answer within {} s", self.place, PATIENCE.as_secs())))
    }

    async fn exchange(&self, method: &Method, name: &str, path: &str) -> Result<Answered, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, name)
            .header(header::USER_AGENT, concat!("doorward-compare/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| format!("`{path}` cannot be asked for: {error}"))?;
        if !self.is_tls {
            let answer = send(peer::connect(&self.place).await?, request).await;
            return answer.map_err(|why| format!("{}: {why}", self.place));
        }
        let peer::Peer { certificate, stream } = peer::look(&self.place, name).await?;
        let mut answer = send(stream, request).await.map_err(|why| format!("{}: {why}", self.place))?;
        answer.certificate = Some(Certificate::of(&certificate, name));
        Ok(answer)
    }
}

async fn send<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answered, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.map_err(|error| error.to_string())?;
    let driving = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(in_words);
    let read = match answer {
        Ok(answer) => read(answer).await,
        Err(why) => Err(why),
    };
    driving.abort();
    read
}

async fn read(answer: Response<Incoming>) -> Result<Answered, String> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    let mut body_whole = true;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the body broke off: {}", in_words(error)))?;
        let Some(data) = frame.data_ref() else { continue };
        let room = LONGEST - bytes.len();
        bytes.extend_from_slice(data.get(..room).unwrap_or(data));
        if data.len() > room {
            body_whole = false;
            break;
        }
    }
    let (status, headers) = (head.status, headers(&head.headers));
    Ok(Answered {
        status: StatusCode::as_u16(&status),
        headers,
        body_bytes: bytes.len(),
        body_sha256: hex(&sha256(&bytes)),
        body_whole,
        certificate: None,
    })
}

/// Values are others' words: control characters are replaced.
fn headers(map: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in map {
        let text = String::from_utf8_lossy(value.as_bytes());
        let text = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        headers.entry(name.as_str().to_owned()).or_default().push(text);
    }
    headers
}

fn in_words(error: hyper::Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

impl Certificate {
    fn of(shown: &ShownCertificate, name: &str) -> Certificate {
        Certificate {
            issuer: shown.issuer.clone(),
            sha256: hex(&shown.fingerprint),
            until: shown.not_after.date().to_string(),
            covers: shown.covers(name),
            valid: shown.validity(OffsetDateTime::now_utc()) == Validity::Valid,
        }
    }
}
