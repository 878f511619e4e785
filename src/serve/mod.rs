//! The data plane: from an accepted connection to the last byte of the answer. One thread and one runtime per core; a
//! connection and everything it causes stay on their core. Nothing here waits for a lock, a disk or DNS.

mod announce;
mod arriving;
mod body;
mod client_io;
mod client_socket;
mod connection;
mod core;
mod counting;
mod doors;
mod drive;
mod early;
mod examine;
mod exchange;
mod expect;
mod form;
mod forward;
mod garbage;
mod grpc;
mod handshake;
mod headers;
mod http1;
mod line;
mod looking;
mod rehearse;
mod repeat;
mod replay;
mod request;
mod respond;
mod room;
mod sealing;
mod search;
mod seen;
mod trailers;
mod tunnel;
mod websocket;

pub use core::{Cores, Plant};
pub use counting::Counts;
pub use doors::{Doors, bind};
pub use examine::Believed;
pub use headers::{Outgoing, to_client, to_upstream};
pub use looking::Foreseen;
pub use rehearse::{Course, End, Rehearsed, rehearse};
pub use room::{Room, give_back_all_memory};
pub use seen::Seen;
