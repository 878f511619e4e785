//! Requests written and answers read by hand over one HTTP/1.1 connection, and the one look at every byte that comes
//! before anything is measured. It knows answers with a content length only: the origin gives no others.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::load::{Run, client_config, connect};
use crate::origin::{LARGE, SMALL, body, end_of_head, frame, header};
use crate::{Failure, HOST};

/// One WebSocket message.
const MESSAGE: usize = 1024;

/// An answer, read to its end.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The head.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Asks for `path` and reads the answer.
    pub async fn to(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> Result<Answer, Failure> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: compare\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        Answer::read(stream).await
    }

    /// Reads one answer.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Answer, Failure> {
        let mut bytes = Vec::with_capacity(4096);
        let end = loop {
            if let Some(end) = end_of_head(&bytes) {
                break end;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err("the proxy hung up before the answer".into());
            }
        };
        let mut body = bytes.split_off(end);
        let status = std::str::from_utf8(&bytes)?.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status: u16 = status.ok_or("an answer without a status")?;
        let length = header(&bytes, "content-length").and_then(|text| text.parse::<usize>().ok());
        let length = if status == 101 { 0 } else { length.ok_or("an answer without a content length")? };
        while body.len() < length {
            if stream.read_buf(&mut body).await? == 0 {
                return Err("the proxy hung up within the answer".into());
            }
        }
        Ok(Answer { status, head: bytes, body })
    }

    /// Whether it is the origin's small page. Only its length: [`check_everything`] has looked at the bytes.
    pub fn must_be_small(&self) -> Result<(), Failure> {
        if self.status == 200 && self.body.len() == SMALL {
            return Ok(());
        }
        Err(format!("status {}, {} bytes of body", self.status, self.body.len()).into())
    }

    fn must_hold(&self, expected: &[u8]) -> Result<(), Failure> {
        if self.status == 200 && self.body == expected {
            return Ok(());
        }
        Err(format!("status {}, {} bytes of body, not the origin's page", self.status, self.body.len()).into())
    }
}

/// One WebSocket: upgrade, then message after message until time is up.
pub async fn talk(run: &Run, connector: &TlsConnector) -> Result<(), Failure> {
    let mut stream = connect(&run.order, connector).await?;
    upgrade(&mut stream).await?;
    // A text message of 1,024 bytes, masked with zeroes (RFC 6455 §5.2).
    let mut message = vec![0x81, 0x80 | 126];
    message.extend(u16::try_from(MESSAGE)?.to_be_bytes());
    message.extend([0; 4]);
    message.extend(body(MESSAGE));
    let mut answer = vec![0; MESSAGE + 4];
    while !run.is_over() {
        stream.write_all(&message).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        if frame(&answer) != Some((4, MESSAGE)) || answer[4..] != message[8..] {
            return Err("an echo that is not the message".into());
        }
        run.count();
    }
    Ok(())
}

async fn upgrade(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Failure> {
    let request = format!(
        "GET /ws HTTP/1.1\r\nhost: {HOST}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    match Answer::read(stream).await?.status {
        101 => Ok(()),
        status => Err(format!("a WebSocket answered with {status}").into()),
    }
}

/// Every protocol once: status, every byte of both bodies, and the five forwarding headers as the origin saw them.
pub async fn check_everything(run: &Rc<Run>) -> Result<(), Failure> {
    let result = check(run).await;
    if let Err(error) = &result {
        run.fail(error);
    }
    Ok(())
}

async fn check(run: &Run) -> Result<(), Failure> {
    let mut clear = TcpStream::connect(run.order.clear).await?;
    Answer::to(&mut clear, "/1k").await?.must_hold(&body(SMALL))?;
    check_forwarding(&Answer::to(&mut clear, "/echo").await?.body, "http")?;
    let connector = TlsConnector::from(client_config(&run.order, false, b"http/1.1")?);
    let mut tls = connect(&run.order, &connector).await?;
    Answer::to(&mut tls, "/1k").await?.must_hold(&body(SMALL))?;
    Answer::to(&mut tls, "/10m").await?.must_hold(&body(LARGE))?;
    check_forwarding(&Answer::to(&mut tls, "/echo").await?.body, "https")?;
    let connector = TlsConnector::from(client_config(&run.order, false, b"h2")?);
    let stream = connect(&run.order, &connector).await?;
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("no HTTP/2 over TLS".into());
    }
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    for (path, length) in [("/1k", SMALL), ("/10m", LARGE)] {
        let request = http::Request::get(format!("https://{HOST}{path}")).body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        if status != 200 || bytes != body(length) {
            return Err(format!("HTTP/2 {path}: status {status}, {} bytes of body", bytes.len()).into());
        }
    }
    upgrade(&mut connect(&run.order, &TlsConnector::from(client_config(&run.order, false, b"http/1.1")?)).await?)
        .await?;
    run.count();
    Ok(())
}

fn check_forwarding(seen: &[u8], scheme: &str) -> Result<(), Failure> {
    let faults = RefCell::new(Vec::new());
    let expect = |name: &str, value: &str| {
        let found = header(seen, name);
        if found != Some(value) {
            faults.borrow_mut().push(format!("{name}: {found:?} instead of {value:?}"));
        }
    };
    expect("host", HOST);
    expect("x-forwarded-for", "127.0.0.1");
    expect("x-forwarded-proto", scheme);
    expect("x-forwarded-host", HOST);
    expect("x-real-ip", "127.0.0.1");
    let faults = faults.into_inner();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
}
