//! The words of the house: names, paths, networks, addresses, refusals, units.
//! Nothing here opens a file or a socket, awaits, or knows a file format.

mod access;
mod access_format;
mod client;
mod endpoint;
mod host;
mod host_regex;
mod path;
mod proxy_header;
mod quiet;
mod rate;
mod readings;
mod refusal;
mod secret;
mod units;

pub use access::{AccessList, NetworkSet};
pub use access_format::AccessFormat;
pub use client::Client;
pub use endpoint::{Endpoint, EndpointError, EndpointHost, Scheme};
pub use host::{Authority, HostError, HostName, HostPattern};
pub use host_regex::HostRegex;
pub use path::{PathMatch, PathPattern, is_ambiguous, normalise};
pub use proxy_header::{
    Announced, ProxyHeaderError, ProxyVersion, read_proxy_header, write_own_proxy_header, write_proxy_header,
};
pub use quiet::{NoQuietHours, QuietHours};
pub use rate::{Per, Rate, RateError};
pub use readings::readings;
pub use refusal::{Refusal, Shown};
pub use secret::Secret;
pub use units::{UnitError, parse_duration, parse_size, show_duration, show_roughly, show_size};
