//! What a door believes of a request.

#[path = "../../../src/snapshot/trust.rs"]
mod trust;

pub use trust::{Mode, Trust};
