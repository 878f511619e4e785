//! Upstream servers: where they are, how to reach them, which idle connections to them are at hand, whether they are away.
//! Knows nothing of routes or clients.

mod connect;
mod hold;
mod pool;
mod resolve;
mod target;
mod wire;

pub use connect::{Connected, UpstreamError, connect};
pub use hold::{Hold, HoldError, MOST_HELD};
pub use pool::Pool;
pub use resolve::follow;
pub use target::{Failure, Target, TargetTls, Upstream, UpstreamKey};
pub use wire::{Wire, poll_write_pieces, with_pieces};
