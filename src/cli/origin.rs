//! The demo's origin: one small HTTP/1.1 server on loopback that stands in for every upstream of the file and answers
//! with what it received, so that a person sees what Doorward sends on. It is for looking, not for serving: it listens
//! on loopback only, keeps nothing, and holds no body in memory however long it is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::model::parse_size;

/// The origin, running on a thread of its own until the process ends.
pub(super) struct Origin {
    /// Listeners on their way to the origin's thread, each with the address it stands in for.
    listeners: mpsc::UnboundedSender<(StdListener, Arc<str>)>,
    /// Which stand-in is where.
    places: Mutex<HashMap<Arc<str>, SocketAddr>>,
}

impl Origin {
    /// Starts the thread; fails where the system gives no thread or no event queue.
    pub(super) fn start() -> io::Result<Origin> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (listeners, mut arriving) = mpsc::unbounded_channel::<(StdListener, Arc<str>)>();
        std::thread::Builder::new().name("demo-origin".into()).spawn(move || {
            runtime.block_on(async move {
                while let Some((listener, name)) = arriving.recv().await {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => drop(tokio::spawn(accept(listener, name))),
                        Err(cause) => tracing::warn!(%cause, "a stand-in cannot listen"),
                    }
                }
            });
        })?;
        Ok(Origin { listeners, places: Mutex::default() })
    }

    /// Where the stand-in for this written address listens; the same address gets the same place for the whole life of
    /// the process, so that edits of the file keep their connections. Fails where loopback has no port left.
    pub(super) fn stand_in_for(&self, written: &str) -> io::Result<SocketAddr> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(written) {
            return Ok(*place);
        }
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let place = listener.local_addr()?;
        let name: Arc<str> = written.into();
        self.listeners.send((listener, name.clone())).map_err(|_| io::Error::other("the origin's thread has ended"))?;
        places.insert(name, place);
        Ok(place)
    }
}

async fn accept(listener: TcpListener, name: Arc<str>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, name.clone()))),
            // Out of descriptors, mostly: what is open has to close before another fits.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(stream: TcpStream, name: Arc<str>) {
    // Echoes are small writes; without this each waits for the other side's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| answer(request, name.clone()));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(cause) = served {
        tracing::debug!(%cause, "a connection to the demo's origin ended early");
    }
}

async fn answer(request: Request<Incoming>, name: Arc<str>) -> Result<Response<Reply>, Infallible> {
    if wants_websocket(request.headers()) {
        return Ok(websocket(request));
    }
    let path = request.uri().path().to_owned();
    let (order, argument) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_matches('/'), ""));
    Ok(match order {
        "bytes" => match parse_size(argument) {
            Ok(size) => typed("application/octet-stream", Reply::zeros(size)),
            Err(_) => asked_wrongly("/bytes/N sends N bytes: /bytes/1000, /bytes/2GiB"),
        },
        "status" => match argument.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
            // 1xx are not answers; hyper would refuse to send one.
            Some(status) if !status.is_informational() => {
                let mut response = typed("text/plain; charset=utf-8", Reply::text(format!("{status}\n")));
                *response.status_mut() = status;
                response
            }
            _ => asked_wrongly("/status/N answers with status N, 200 to 999"),
        },
        "slow" => match argument.parse::<u32>() {
            Ok(seconds) => {
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
                echo(request, &name).await
            }
            Err(_) => asked_wrongly("/slow/N echoes after N seconds"),
        },
        "sse" => typed("text/event-stream", Reply::events()),
        _ => echo(request, &name).await,
    })
}

/// What the origin received, as it shows it.
#[derive(Serialize)]
struct Echo<'a> {
    stands_in_for: &'a str,
    method: &'a str,
    path: String,
    version: String,
    headers: Headers<'a>,
    body_bytes: u64,
    body_sha256: String,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    trailers: Headers<'a>,
}

/// Header fields in the order they came; the values of a repeated one are joined by commas.
struct Headers<'a>(&'a HeaderMap);

impl Headers<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| {
            let values: Vec<_> =
                self.0.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            (name.as_str(), values.join(", "))
        }))
    }
}

async fn echo(request: Request<Incoming>, name: &str) -> Response<Reply> {
    let (head, mut body) = request.into_parts();
    let mut bytes = 0_u64;
    let mut digest = Sha256::start();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return asked_wrongly("the body ended early");
        };
        match frame.into_data() {
            Ok(data) => {
                bytes += data.len() as u64;
                digest.update(&data);
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    let echo = Echo {
        stands_in_for: name,
        method: head.method.as_str(),
        path: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        version: format!("{:?}", head.version),
        headers: Headers(&head.headers),
        body_bytes: bytes,
        body_sha256: digest.finish(),
        trailers: Headers(&trailers),
    };
    match serde_json::to_string_pretty(&echo) {
        Ok(text) => typed("application/json", Reply::text(text + "\n")),
        Err(cause) => asked_wrongly(&cause.to_string()),
    }
}

/// SHA-256 of what passes, by the library that TLS uses already.
struct Sha256(Option<Box<dyn rustls::crypto::hash::Context>>);

impl Sha256 {
    fn start() -> Sha256 {
        let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
        Sha256(suite.tls13().map(|suite| suite.common.hash_provider.start()))
    }

    fn update(&mut self, data: &[u8]) {
        if let Some(context) = &mut self.0 {
            context.update(data);
        }
    }

    fn finish(self) -> String {
        let digest = self.0.map(|context| context.finish());
        digest.iter().flat_map(|digest| digest.as_ref()).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

fn websocket(mut request: Request<Incoming>) -> Response<Reply> {
    let mut response = Response::new(Reply::text(String::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map_or(&b""[..], HeaderValue::as_bytes);
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    // Browsers that offer protocols give up where none is chosen.
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    if let Some(Ok(chosen)) =
        offered.and_then(|list| list.split(',').next()).map(|one| HeaderValue::from_str(one.trim()))
    {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        // Pings and the closing handshake are answered by the library while it is read and written.
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    response
}

fn typed(content_type: &'static str, reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn asked_wrongly(why: &str) -> Response<Reply> {
    let mut response = typed("text/plain; charset=utf-8", Reply::text(format!("{why}\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// The bodies of the origin.
enum Reply {
    /// A text, at once.
    Text(Full<Bytes>),
    /// So many zero bytes still to come.
    Zeros(u64),
    /// One event a second, until the client leaves.
    Events { count: u64, next: Pin<Box<tokio::time::Sleep>> },
}

impl Reply {
    fn text(text: String) -> Reply {
        Reply::Text(Full::new(text.into()))
    }

    fn zeros(size: u64) -> Reply {
        Reply::Zeros(size)
    }

    fn events() -> Reply {
        Reply::Events { count: 0, next: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        match &mut *self {
            Reply::Text(text) => Pin::new(text).poll_frame(context),
            Reply::Zeros(0) => Poll::Ready(None),
            Reply::Zeros(left) => {
                let now = (*left).min(ZEROS.len() as u64);
                *left -= now;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&ZEROS[..now as usize])))))
            }
            Reply::Events { count, next } => {
                std::task::ready!(next.as_mut().poll(context));
                next.as_mut().reset(tokio::time::Instant::now() + Duration::from_secs(1));
                *count += 1;
                Poll::Ready(Some(Ok(Frame::data(format!("id: {count}\ndata: event {count}\n\n").into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Text(text) => text.is_end_stream(),
            Reply::Zeros(left) => *left == 0,
            Reply::Events { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Text(text) => text.size_hint(),
            Reply::Zeros(left) => SizeHint::with_exact(*left),
            Reply::Events { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
