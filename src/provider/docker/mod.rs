//! Containers that route themselves: the engine is followed (`follow`), and what it tells becomes routes and a verdict for
//! each container (`translate`, pure). Asks the engine and never changes anything there.

mod address;
mod answers;
mod engine;
#[cfg(test)]
mod fixture;
mod follow;
mod inventory;
mod labels;
mod multiports;
mod surroundings;
mod translate;
mod verdict;
mod vocabulary;
mod wishes;

pub use engine::DockerError;
pub use follow::{DockerWatch, Known, look_once};
pub use inventory::{Container, Inventory};
pub use translate::{Translation, translate};
pub use verdict::{Kind, Lead, Verdict, Verdicts};

use surroundings::Surroundings;

/// The containers (and networks, if they are there) of what `docker inspect` printed, seen from the engine's own host.
///
/// # Errors
/// What is wrong with the text.
pub fn from_inspect(text: &[u8]) -> Result<Inventory, serde_json::Error> {
    let containers: Vec<_> = answers::containers(text)?.into_iter().map(std::sync::Arc::new).collect();
    let networks = answers::networks(text)?;
    let is_something = text.iter().any(u8::is_ascii_alphanumeric);
    if containers.is_empty() && networks.is_empty() && is_something {
        return Err(serde::de::Error::custom("no entry in it is a container or a network"));
    }
    let surroundings = Surroundings::assumed();
    let mut inventory = Inventory { containers, networks, surroundings, remote: None, prefers_lasting: false };
    inventory.sort();
    Ok(inventory)
}
