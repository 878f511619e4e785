//! How the gateway behaves, seen from outside: the real process between real clients and real upstreams.
//! One module per topic; a test is a sentence about behaviour. See `harness` for the words they are made of.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

mod abuse;
mod access;
mod asking;
mod bad_upstreams;
mod balance;
mod command_line;
mod conformance;
mod corpus;
mod drain;
mod faults;
mod forwarded;
mod framing;
mod garbage;
mod grpc;
mod harness;
mod hold;
mod http1;
mod http2;
mod limits;
mod log;
mod nixos;
mod paths;
mod plans;
mod promises;
mod proxy_protocol;
mod quotas;
mod refusals;
mod reload;
mod retry;
mod room;
mod routing;
mod smuggling;
mod soak;
mod storm;
mod suites;
mod supervised;
mod tls;
mod upgrade;
mod upstream_http2;
mod upstream_tls;
mod watching;
mod websocket;
mod websocket_http2;
