//! Uploads of many bytes, one after the other on a connection, as fast as the proxy takes them. The bytes are zeroes:
//! neither TLS nor a proxy works less for them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use crate::exchange::Answer;
use crate::load::{Run, client_config, connect};
use crate::{Failure, HOST};

/// What one write hands to TLS.
static CHUNK: [u8; 64 * 1024] = [0; 64 * 1024];

/// One connection; one body after the other until time is up, the last one broken off.
pub async fn over_h1(run: &Run, connector: &TlsConnector) -> Result<(), Failure> {
    let mut stream = connect(&run.order, connector).await?;
    while !run.is_over() {
        let mut rest = run.order.bytes;
        let head = format!("POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {rest}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        while rest > 0 {
            let length = rest.min(CHUNK.len() as u64);
            stream.write_all(&CHUNK[..usize::try_from(length)?]).await?;
            rest -= length;
            if run.is_over() && rest > 0 {
                return Ok(());
            }
        }
        stream.flush().await?;
        must_be_taken(Answer::read(&mut stream).await?.status)?;
        run.count();
    }
    Ok(())
}

/// The same over HTTP/2.
pub async fn over_h2(run: &Run) -> Result<(), Failure> {
    let connector = TlsConnector::from(client_config(&run.order, false, b"h2")?);
    let stream = connect(&run.order, &connector).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    while !run.is_over() {
        let request = http::Request::post(format!("https://{HOST}/upload"));
        let request = request.header("content-length", run.order.bytes).body(Zeroes { rest: run.order.bytes })?;
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer?,
            () = tokio::time::sleep_until(run.until.into()) => break,
        };
        let status = answer.status().as_u16();
        answer.into_body().collect().await?;
        must_be_taken(status)?;
        run.count();
    }
    connection.abort();
    Ok(())
}

fn must_be_taken(status: u16) -> Result<(), Failure> {
    if status == 200 { Ok(()) } else { Err(format!("an upload answered with {status}").into()) }
}

/// A body of so many zeroes.
struct Zeroes {
    rest: u64,
}

impl Body for Zeroes {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest == 0 {
            return Poll::Ready(None);
        }
        let length = self.rest.min(CHUNK.len() as u64);
        self.rest -= length;
        let bytes = Bytes::from_static(&CHUNK).slice(..usize::try_from(length).unwrap_or(CHUNK.len()));
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest)
    }
}
