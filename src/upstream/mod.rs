//! Upstream servers: where they are, how to reach them, which idle connections to them are at hand, whether they are away.
//! Knows nothing of routes or clients.

mod connect;
mod hold;
mod multiplex;
mod pool;
mod resolve;
mod target;
mod wire;

pub use connect::{Connected, Protocol, UpstreamError, connect};
pub use hold::{Hold, HoldError, MOST_HELD};
pub use multiplex::{Multiplexed, Seat, Sendable, http2_fault};
pub use pool::{Opener, Opening, Pool, Sender, Turn};
pub use resolve::follow;
pub use target::{Failure, Target, TargetTls, Upstream, UpstreamKey};
pub use wire::{Wire, poll_write_pieces, with_pieces};
