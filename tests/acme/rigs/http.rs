//! HTTP/1.1 for the stand-ins: a server that is a function, and a client for one call.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What a stand-in does with a request: an answer, or nothing at all (the connection is cut).
pub type Answer = Option<Response<Full<Bytes>>>;

/// A server that runs until dropped.
pub struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Serves a function; with TLS if there is a configuration for it.
pub fn serve<F, R>(listener: TcpListener, tls: Option<Arc<ServerConfig>>, answer: F) -> Server
where
    F: Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    Server(tokio::spawn(async move {
        let acceptor = tls.map(TlsAcceptor::from);
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => connection(stream, answer).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            connection(stream, answer).await;
                        }
                    }
                }
            });
        }
    }))
}

async fn connection<S, F, R>(stream: S, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Bytes>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            answer(Request::from_parts(head, body)).await.ok_or("cut")
        }
    });
    // An error is a connection that was cut, by either side.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A JSON answer.
pub fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("an answer")
}

/// One POST over cleartext.
pub async fn post_plain(server: SocketAddr, path: &str, body: &Value) -> StatusCode {
    let stream = TcpStream::connect(server).await.expect("the server of the test");
    let request = Request::builder().method(Method::POST).uri(path).header("host", server.to_string());
    exchange(stream, request.body(Full::new(Bytes::from(body.to_string()))).expect("a request"))
        .await
        .expect("an answer")
        .status()
}

/// One request over TLS, the server judged by these roots and an IP address.
pub async fn send_tls(
    server: SocketAddr,
    roots: Arc<RootCertStore>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("TLS").with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(server).await.map_err(|e| e.to_string())?;
    let stream = TlsConnector::from(Arc::new(config)).connect(server.ip().into(), stream).await;
    exchange(stream.map_err(|e| e.to_string())?, request.map(Full::new)).await
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shown = |e: hyper::Error| e.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(shown)?;
    let driven = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(shown)?.into_parts();
    let body = body.collect().await.map_err(shown)?.to_bytes();
    driven.abort();
    Ok(Response::from_parts(head, body))
}

/// A path's query as pairs, percent-decoding left out: no test needs it.
pub fn query(request: &Request<Bytes>) -> Vec<(String, String)> {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
