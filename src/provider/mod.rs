//! Those who bring changes from outside. At present the files: who watches, and what counts as a change.
//! Reads no configuration and publishes nothing: it tells that something changed, others load it.

mod watch;

pub use watch::{ContentPrint, Watch};
