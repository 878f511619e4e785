//! A gateway on pingora-proxy that does what the other peers of the bench do, and no more: TLS with HTTP/1.1 and HTTP/2, one
//! kept pool to one origin, the same five forwarding headers, an access log; but no metrics. It reads no file: everything is in its
//! arguments (`--clear PORT --tls PORT --origin PORT --cert FILE --key FILE --log FILE`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use std::{env, thread};

use async_trait::async_trait;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::prelude::HttpPeer;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::{Error, Result};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Gateway {
    origin: SocketAddr,
    log: Mutex<Sender<String>>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Option<Instant>;

    fn new_ctx(&self) -> Option<Instant> {
        Some(Instant::now())
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _: &mut Self::CTX,
    ) -> Result<()> {
        let address = session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip().to_string());
        let address = address.unwrap_or_default();
        let is_tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        // Over HTTP/2 the name is in the pseudo-header.
        let named = session.req_header().headers.get("host").and_then(|value| value.to_str().ok());
        let host = named.map(str::to_owned);
        let host = host.or_else(|| session.req_header().uri.authority().map(|name| name.as_str().to_owned()));
        let host = host.unwrap_or_default();
        request.insert_header("host", &host)?;
        request.insert_header("x-forwarded-for", &address)?;
        request.insert_header("x-forwarded-proto", if is_tls { "https" } else { "http" })?;
        request.insert_header("x-forwarded-host", &host)?;
        request.insert_header("x-real-ip", &address)?;
        Ok(())
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, began: &mut Self::CTX) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let took = began.map(|began| began.elapsed().as_micros()).unwrap_or_default();
        let head = session.req_header();
        let failed = if error.is_some() { " failed" } else { "" };
        let line = format!("{} {} {status} {} {took}{failed}\n", head.method, head.uri, session.body_bytes_sent());
        if let Ok(log) = self.log.lock() {
            // Nobody listens only while the process ends.
            let _ = log.send(line);
        }
    }
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let given: HashMap<&str, &str> = words
        .chunks(2)
        .filter_map(|pair| Some((pair.first()?.strip_prefix("--")?, pair.get(1)?.as_str())))
        .collect();
    let word = |name: &str| given.get(name).copied().unwrap_or_else(|| panic!("--{name} is missing"));
    let at = |name: &str| format!("127.0.0.1:{}", word(name));

    let settings = ServerConf { threads: 1, work_stealing: false, upstream_keepalive_pool_size: 512, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();

    let (send, receive) = channel();
    let file = File::create(word("log")).expect("the log can be written");
    thread::spawn(move || write_log(file, &receive));
    let origin = at("origin").parse().expect("--origin takes a port");
    let mut proxy = http_proxy_service(&server.configuration, Gateway { origin, log: Mutex::new(send) });
    proxy.add_tcp(&at("clear"));
    let mut tls = TlsSettings::intermediate(word("cert"), word("key")).expect("certificate and key can be read");
    tls.enable_h2();
    proxy.add_tls_with_settings(&at("tls"), None, tls);
    server.add_service(proxy);

    server.run_forever();
}

/// Lines are written a second's worth at a time, as the other peers do it.
fn write_log(file: File, lines: &Receiver<String>) {
    let mut file = BufWriter::with_capacity(64 << 10, file);
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => drop(file.write_all(line.as_bytes())),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => drop(file.flush()),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
