//! How the gateway behaves, seen from outside: the real process between real clients and real upstreams.
//! One module per topic; a test is a sentence about behaviour. See `harness` for the words they are made of.

mod access;
mod forwarded;
mod framing;
mod harness;
mod hold;
mod http1;
mod http2;
mod limits;
mod paths;
mod refusals;
mod retry;
mod routing;
mod tls;
mod upstream_tls;
mod websocket;
