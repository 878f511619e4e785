//! A WebSocket after its handshake: bytes both ways until either side ends or both are silent for long. Holds its route, not
//! the snapshot it began under.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::RequestBody;
use super::exchange::{Exchange, On};
use crate::snapshot::Route;
use crate::upstream::Sender;

/// How long the other side may be silent once one side has ended: nothing new is coming, it only has to finish.
const FINISH: Duration = Duration::from_secs(10);

/// Joins the two sides once both handshakes are done. `place`: what the upstream's side takes up of its connection.
pub fn open(
    exchange: &Rc<Exchange>,
    route: &Arc<Route>,
    client: OnUpgrade,
    upstream: OnUpgrade,
    place: Sender<RequestBody>,
) {
    let joined = join(Rc::clone(exchange), Arc::clone(route), client, upstream);
    let task = tokio::task::spawn_local(async move {
        let _place = place;
        joined.await;
    });
    exchange.task.replace(Some(task.abort_handle()));
}

async fn join(exchange: Rc<Exchange>, route: Arc<Route>, client: OnUpgrade, upstream: OnUpgrade) {
    let (client, upstream) = match tokio::try_join!(client, upstream) {
        Ok(both) => both,
        Err(error) => {
            exchange.detail.replace(Some(format!("the WebSocket did not come about: {error}")));
            return;
        }
    };
    exchange.is_tunnel.set(true);
    exchange.is_complete.set(false);
    let _counted = Counted::new(&exchange, &route);
    let mut client = Side { io: TokioIo::new(client), exchange: &exchange, route: &route, is_client: true };
    let mut upstream = Side { io: TokioIo::new(upstream), exchange: &exchange, route: &route, is_client: false };
    client.stir();
    let ended = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    exchange.download.end();
    match ended {
        Ok(_) => exchange.is_complete.set(true),
        Err(error) => {
            exchange.detail.replace(Some(format!("the WebSocket broke off: {error}")));
        }
    }
}

/// Counts an open tunnel, also when its task is cut.
struct Counted<'a> {
    exchange: &'a Exchange,
    route: &'a Route,
}

impl<'a> Counted<'a> {
    fn new(exchange: &'a Exchange, route: &'a Route) -> Self {
        route.metrics.tunnel_opened(exchange.core.index);
        Counted { exchange, route }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.route.metrics.tunnel_closed(self.exchange.core.index);
    }
}

/// One side: counted, and every byte a sign of life.
struct Side<'a> {
    io: TokioIo<Upgraded>,
    exchange: &'a Exchange,
    route: &'a Route,
    is_client: bool,
}

impl Side<'_> {
    /// A sign of life.
    fn stir(&self) {
        let Exchange { download, core, is_complete, .. } = self.exchange;
        match is_complete.get() {
            false => download.begin(On::Tunnel, core.now(), self.route.idle_tunnel),
            true => download.begin(On::HalfTunnel, core.now(), FINISH.min(self.route.idle_tunnel)),
        }
    }
}

impl AsyncRead for Side<'_> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        if read > 0 {
            let counter = if this.is_client { &this.exchange.bytes_in } else { &this.exchange.bytes_out };
            counter.set(counter.get() + read);
            this.stir();
        }
        polled
    }
}

impl AsyncWrite for Side<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    /// Called once the other side has ended: what ends so, ends whole.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.exchange.is_complete.replace(true) {
            this.stir();
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
