//! Those who bring changes from outside: the files (who watches, and what counts as a change) and the containers of an
//! engine. Publishes nothing: it tells that something changed, others make a snapshot of it.

pub mod docker;
mod watch;

pub use watch::{ContentPrint, Watch};
