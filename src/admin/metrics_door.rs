//! The door for machines that watch us: `/metrics`, `/healthz`, `/readyz` over plain HTTP/1.1.
//! It serves nothing else, routes nothing, and a client that dawdles is cut off.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::model::Client;
use crate::telemetry::{Metrics, Readiness};

/// How long a client may take for the head of its request.
const HEAD: Duration = Duration::from_secs(10);
/// How long a whole exchange may take.
const WHOLE: Duration = Duration::from_secs(30);
/// Connections of admitted clients at a time; more are closed.
const CONNECTIONS: usize = 64;
/// Connections of all others at a time: they only get their 403, and must not take the places of those who watch us.
const STRANGERS: usize = 8;
/// After an `accept` that failed, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers may still take after `stop`.
const LAST: Duration = Duration::from_secs(1);

/// Serves until `stop`. `admits` judges the TCP peer at each request, so a reload can change it; who is not admitted gets 403.
/// `/healthz` is 200 as long as the process lives, `/readyz` 200 or 503 with what it waits for. One request a connection.
pub async fn serve_metrics(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    admits: impl Fn(Client) -> bool + Send + Sync + 'static,
    stop: impl Future<Output = ()>,
) {
    let door = Arc::new(Door { metrics, readiness, admits });
    let places = [CONNECTIONS, STRANGERS].map(|places| Arc::new(Semaphore::new(places)));
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let stranger = !(door.admits)(Client::at(peer.ip()));
                let Ok(place) = places[usize::from(stranger)].clone().try_acquire_owned() else { continue };
                let door = door.clone();
                connections.spawn(async move {
                    door.serve(stream, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "metrics door cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = timeout(LAST, async { while connections.join_next().await.is_some() {} }).await;
}

struct Door<A> {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    admits: A,
}

impl<A: Fn(Client) -> bool> Door<A> {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(|request| {
            let response = self.answer(&request, peer);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        match timeout(WHOLE, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%peer, %error, "metrics client broke off"),
            Err(_) => debug!(%peer, "metrics client was too slow"),
        }
    }

    fn answer<B>(&self, request: &Request<B>, peer: SocketAddr) -> Response<Full<Bytes>> {
        if !(self.admits)(Client::at(peer.ip())) {
            return plain(StatusCode::FORBIDDEN, "denied\n");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/metrics" => {
                let mut response = plain(StatusCode::OK, self.metrics.render());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            "/healthz" => plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            _ => plain(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n"),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        if self.readiness.is_draining() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        match self.readiness.waiting_for() {
            waiting if waiting.is_empty() => plain(StatusCode::OK, "ready\n"),
            waiting => plain(StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", waiting.join(", "))),
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
