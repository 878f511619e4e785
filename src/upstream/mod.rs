//! Upstream servers: where they are, how to reach them, which of several a request goes to, which idle connections to them
//! are at hand, whether they are away.
//! Knows nothing of routes or clients.

mod answer;
mod balance;
mod connect;
mod hold;
mod http1;
mod member;
mod multiplex;
mod outbox;
mod pool;
mod resolve;
mod retry;
mod target;
mod wire;

pub use answer::{AnswerBody, AnswerError, Lost};
pub use connect::{Connected, Protocol, UpstreamError, connect};
pub use hold::{Hold, HoldError, MOST_HELD};
pub use http1::{Http1, Terms, Told};
pub use member::{Health, Member};
pub use multiplex::{Multiplexed, Seat, Sendable};
pub use outbox::turn_by_turn;
pub use pool::{AtHand, Opener, Opening, Pool, Sender, Turn};
pub use resolve::follow;
pub use target::{Failure, Lane, Target, TargetKey, TargetTls, Upstream, UpstreamKey};
pub use wire::{SEALED, Wire};
