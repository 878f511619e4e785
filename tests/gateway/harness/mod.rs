//! What a behaviour test is made of: a real `doorward` process, real upstreams, real clients, real TLS.
//!
//! Nothing here sleeps in order to wait for something: it polls with a deadline, or it reads until the other side
//! has spoken. Every test has loopback addresses of its own, so fixed port numbers never meet.

mod address;
mod answer;
mod ask;
mod ca;
mod client;
mod folder;
mod gateway;
mod generated;
mod itself;
mod network;
mod process;
mod raw;
mod socket;
mod upstream;
mod wire;

use std::future::Future;
use std::time::Duration;

pub use address::{GUEST, HOME, STRANGER, own_address};
pub use answer::{Answer, Echo, Streaming};
pub use ask::Ask;
pub use ca::{Identity, TestCa};
pub use client::{Client, Connection};
pub use folder::Folder;
pub use gateway::{CERT, DOORS, Door, FRONT, Gateway, TAIL};
pub use network::Network;
pub use process::{Finished, command as program, doorward, signal_process};
pub use raw::Raw;
pub use socket::Socket;
pub use upstream::{Upstream, full, generated, streamed};
pub use wire::Wire;

/// How long anything may take before the test gives up on it. It matters to failing tests only.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future, and says what it waited for if that never comes.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Asks again and again until there is an answer, and says what it waited for if that never comes.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
