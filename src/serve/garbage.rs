//! Bytes that are no HTTP, or more of it than is read: they become no exchange, but they are answered from the table of
//! refusals and recorded like any request. hyper notices them and writes a bare status; see [`Bare`] for how that is
//! exchanged for our words.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::Connection;
use super::core::Core;
use super::respond;
use crate::model::Refusal;
use crate::telemetry::{AccessRecord, RequestId};
use crate::upstream::Wire;

/// How long somebody who spoke plain HTTP to a door of TLS may take to hear about it.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is read, and forgotten, of such a request.
const FORGOTTEN: usize = 64 * 1024;

/// The whole answer to what was no request: the same words as on any refusal, and the connection ends.
pub fn answer(refusal: Refusal, id: RequestId, detail: &str, is_home: bool) -> Vec<u8> {
    let body = respond::plain(refusal, id, is_home, (!detail.is_empty()).then_some(detail));
    let reason = http::StatusCode::from_u16(refusal.status()).ok().and_then(|status| status.canonical_reason());
    let word = if is_home { refusal.cause() } else { refusal.shown().as_str() };
    let mut text = String::with_capacity(300 + body.len());
    // Writing into a `String` cannot fail.
    let _ = write!(
        text,
        "HTTP/1.1 {} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         x-doorward-error: {word}\r\nconnection: close\r\n\r\n{body}",
        refusal.status(),
        reason.unwrap_or_default(),
        body.len(),
    );
    text.into_bytes()
}

/// The status that hyper writes by itself as a refusal. `is_line`: the request line is what makes the head large.
pub fn refusal_of(head: &[u8], is_line: bool) -> Refusal {
    match head.get(9..12) {
        Some(b"414") => Refusal::TargetTooLong,
        Some(b"431") if is_line => Refusal::TargetTooLong,
        Some(b"431") => Refusal::HeadTooLarge,
        _ => Refusal::BadRequest,
    }
}

/// Answers plain HTTP at a door of TLS, in plain HTTP: whoever typed `http://…:443` learns what is wrong.
pub async fn answer_plain_http(core: &Core, connection: &Connection, wire: Wire) {
    const WHY: &str = "plain HTTP at a door that speaks https: write `https://` before the name";
    let (refusal, id) = (Refusal::BadRequest, RequestId::random());
    let text = answer(refusal, id, WHY, connection.is_home);
    let said = async {
        let mut stream = wire;
        let mut block = [0; 4096];
        // What was sent has to be read, or closing would make its kernel throw the answer away (RFC 9112 §9.6).
        let _ = stream.read(&mut block).await?;
        stream.write_all(&text).await?;
        stream.shutdown().await?;
        let mut forgotten = 0;
        while forgotten < FORGOTTEN {
            match stream.read(&mut block).await? {
                0 => break,
                read => forgotten += read,
            }
        }
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(FAREWELL, said).await;
    record(core, connection, refusal, id, WHY, text.len() as u64);
}

/// hyper's connection ended because of what came: recorded under the id that the answer named, if there was one.
pub fn record_unparsed(core: &Rc<Core>, connection: &Connection, error: &hyper::Error) {
    let told = connection.activity.bare();
    let id = told.as_ref().map_or_else(RequestId::random, |told| told.id);
    let refusal = match &told {
        Some(told) => told.refusal,
        None if error.is_parse_too_large() => Refusal::HeadTooLarge,
        None => Refusal::BadRequest,
    };
    let is_tls = connection.activity.began_like_tls();
    let detail = if is_tls { TLS_AT_PLAIN.to_owned() } else { error.to_string() };
    record(core, connection, refusal, id, &detail, 0);
}

/// What is said of a TLS handshake at a door without TLS.
pub const TLS_AT_PLAIN: &str = "TLS at a door that speaks plain http";

fn record(core: &Core, connection: &Connection, refusal: Refusal, id: RequestId, detail: &str, bytes_out: u64) {
    let method = Method::from_bytes(b"-").unwrap_or_default();
    let record = AccessRecord {
        id,
        client: connection.client(),
        peer: connection.peer.ip(),
        door: &connection.listener.door.name,
        route: None,
        method: &method,
        host: "",
        path: "",
        query: None,
        version: Version::HTTP_11,
        tls: connection.certificate().is_some(),
        status: refusal.status(),
        refusal: Some(refusal),
        detail: Some(detail),
        bytes_in: 0,
        bytes_out,
        took: Duration::ZERO,
        upstream: None,
        upstream_address: None,
        first_byte: None,
        user_agent: None,
        upgraded: false,
        aborted: false,
    };
    core.log.record(&record);
    core.metrics.core(core.index).refused(refusal);
    core.no_route.record(core.index, refusal.status(), Duration::ZERO, 0, bytes_out);
}
