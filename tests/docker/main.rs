//! Containers that route themselves, seen from outside: Debian's Docker engine in a network namespace of its own, real
//! containers, the real program. Needs root; `bash tests/run` installs the engine. Without them these tests fail.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

#[allow(dead_code, unused_imports, reason = "the words of the gateway's tests; not every test needs all of them")]
#[path = "../gateway/harness/mod.rs"]
mod harness;
mod rig;

mod home;
mod inside;
mod life;
mod load;
mod machines;
mod podman;
mod stand_in;
