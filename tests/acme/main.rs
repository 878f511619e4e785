//! Certificates from a CA, seen from outside: real CAs and DNS servers from Debian's packages, stand-ins for the rest.
//! One module per topic; `rigs` has the other side.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

#[allow(dead_code, unused_imports, reason = "the words of the gateway's tests; not every test needs all of them")]
#[path = "../gateway/harness/mod.rs"]
mod harness;
#[allow(dead_code, unused_imports, reason = "not every test needs everything that a rig can do")]
mod rigs;

mod ca;
mod challenges;
mod cloudflare;
mod exec;
mod export;
mod import;
mod options;
mod propagation;
mod renewal;
mod rfc2136;
mod site;
mod tail;
mod trouble;
mod written;
