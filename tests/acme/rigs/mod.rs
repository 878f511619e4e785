//! The other side of a certificate: a CA, DNS servers and a DNS provider's API, each on a loopback address of its own.
//! Pebble, pebble-challtestsrv and BIND are the real ones, run from Debian's packages; `FakeCloudflare` and `AcmeFront` are
//! stand-ins for what cannot be run here. What a rig starts ends with it.

mod bind;
mod challtestsrv;
mod cloudflare;
mod daemon;
mod dns;
mod front;
mod http;
mod pebble;

pub use bind::Bind;
pub use challtestsrv::Challtestsrv;
pub use cloudflare::{FakeCloudflare, Fault, Step, Zone};
pub use dns::{answer_code, txt};
pub use front::{Absence, AcmeFront};
pub use http::{Answer, Server, json as json_answer, serve};
pub use pebble::{Eab, Pebble, PebbleOptions};
