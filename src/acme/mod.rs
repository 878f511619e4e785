//! Certificates ordered from a CA: how a name is proven by DNS, and how one sees that the proof is visible.
//! Refuses to serve anything: what is issued goes into the snapshot through others.

mod command;
mod delegation;
pub mod dns;
pub mod propagation;
mod secret;
mod wire;

pub use command::{Ended, PROGRAM_LIMIT, Ran, masked, run_program};
pub use secret::{SecretError, read_secret};
