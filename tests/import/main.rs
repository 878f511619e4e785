//! Moving over: databases as Nginx Proxy Manager's own migrations leave them, version by version, and what becomes of them.
//! Each file made is put to the real program's `check`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that unwraps fails with the line that failed")]

mod acme_sh;
mod compare;
mod contrib;
mod docker;
mod home;
mod never_wider;
mod npm;
mod rig;
mod schema;
mod servers;
mod trust;
