//! How the gateway behaves, seen from outside: the real process between real clients and real upstreams.
//! One module per topic; a test is a sentence about behaviour. See `harness` for the words they are made of.

mod harness;
mod http1;
mod http2;
mod routing;
mod tls;
