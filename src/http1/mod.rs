//! HTTP/1.1 as it stands on a connection, from clients and from upstreams: heads and chunks are read strictly, and what can be
//! understood in two ways is refused; a message is written in as few pieces as it takes. Knows no sockets, and nothing of what
//! a message is for.

mod answer;
mod chunks;
mod lines;
mod message;
mod request;
mod verbatim;
mod written;

pub use answer::{AnswerHead, MOST_ANSWER_FIELDS, MOST_ANSWER_HEAD, read_answer};
pub use chunks::{Chunks, Step};
pub use lines::{BadMessage, Framing, has_end};
pub use message::{Fault, Message, Payload};
pub use request::{BadRequest, Bounds, RequestHead, read_request};
pub use verbatim::{MayPass, Verbatim};
pub use written::{Coding, ToClient, write_answer, write_request};
