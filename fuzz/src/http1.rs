//! Heads and chunks of HTTP/1.1, as clients and upstreams send them.

#[path = "../../src/http1/answer.rs"]
pub mod answer;
#[path = "../../src/http1/chunks.rs"]
pub mod chunks;
#[path = "../../src/http1/lines.rs"]
pub mod lines;
#[path = "../../src/http1/request.rs"]
pub mod request;
#[path = "../../src/http1/verbatim.rs"]
pub mod verbatim;
