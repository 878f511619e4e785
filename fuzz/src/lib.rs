//! The parsers of the program, and nothing else of it: their files are compiled here as they stand, so that a minute of
//! fuzzing needs no build of the whole gateway. What they refuse to depend on (tests/architecture.rs) makes that possible.

#![allow(dead_code, unused_imports, missing_docs, reason = "a part of the program, without what uses the rest of it")]

#[path = "../../src/config/mod.rs"]
pub mod config;
#[path = "../../src/model/mod.rs"]
pub mod model;

pub mod snapshot;

/// The first look at a request.
#[path = "../../src/serve/examine.rs"]
pub mod examine;

/// Which fields stand in a head.
#[path = "../../src/serve/seen.rs"]
pub mod seen;

/// HTTP/2 frames, as far as they are looked at.
#[path = "../../src/serve/trailers.rs"]
pub mod trailers;

pub mod http1;
