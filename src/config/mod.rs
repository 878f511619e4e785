//! routes.toml as written: text in, a checked `Config` or every fault at once out.
//! Knows nothing of what is served; opens no socket and needs no secret.

mod spec;

pub use spec::*;
