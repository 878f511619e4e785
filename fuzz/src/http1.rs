//! Heads and chunks of upstreams' answers.

#[path = "../../src/upstream/http1/chunks.rs"]
pub mod chunks;
#[path = "../../src/upstream/http1/head.rs"]
pub mod head;
