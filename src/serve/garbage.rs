//! Bytes that are no HTTP, or more of it than is read: they become no exchange, but they are answered from the table of
//! refusals and recorded like any request.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::Connection;
use super::core::Core;
use super::respond;
use crate::http1::BadRequest;
use crate::model::Refusal;
use crate::telemetry::{AccessRecord, Ended, RequestId};
use crate::upstream::Wire;

/// How long somebody who spoke plain HTTP to a door of TLS may take to hear about it.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is read, and forgotten, of such a request.
const FORGOTTEN: usize = 64 * 1024;

/// The whole answer to what was no request: the same words as on any refusal, and the connection ends.
fn answer(refusal: Refusal, id: RequestId, detail: &str, is_home: bool) -> Vec<u8> {
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

/// The answer to what is no request, or more of one than is read; counted and recorded.
pub fn answer_no_request(core: &Rc<Core>, connection: &Connection, bad: BadRequest, is_tls: bool) -> Vec<u8> {
    let refusal = match bad {
        BadRequest::Bad(_) => Refusal::BadRequest,
        BadRequest::TargetTooLong => Refusal::TargetTooLong,
        BadRequest::HeadTooLong | BadRequest::TooManyFields => Refusal::HeadTooLarge,
    };
    let detail = if is_tls { TLS_AT_PLAIN.to_owned() } else { bad.to_string() };
    let id = RequestId::random();
    let text = answer(refusal, id, &detail, connection.is_home);
    core.metrics.core(core.index).ended(Ended::NotHttp);
    record(core, connection, refusal, id, &detail, text.len() as u64);
    text
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

/// What is said of a TLS handshake at a door without TLS.
const TLS_AT_PLAIN: &str = "TLS at a door that speaks plain http";

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
