//! The only atomic pointers of the house. Readers never wait; of snapshots there is one writer.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Snapshot;
use super::challenges::{Challenges, Proof};

/// Where every data core reads the snapshot in force, and the challenges that are live.
#[derive(Clone, Debug)]
pub struct SnapshotCell(Arc<Pointers>);

#[derive(Debug)]
struct Pointers {
    snapshot: ArcSwap<Snapshot>,
    challenges: ArcSwap<Challenges>,
}

/// The right to publish; not cloned, so there is one writer.
#[derive(Debug)]
pub struct Publisher(SnapshotCell);

/// The right to show proofs to CAs.
#[derive(Clone, Debug)]
pub struct ChallengeBoard(SnapshotCell);

/// A proof that is shown for as long as this is held.
pub struct Shown {
    board: ChallengeBoard,
    proof: Proof,
}

impl SnapshotCell {
    /// A cell with its first snapshot, and the right to replace it.
    pub fn new(first: Snapshot) -> (SnapshotCell, Publisher) {
        let pointers = Pointers { snapshot: ArcSwap::from_pointee(first), challenges: ArcSwap::default() };
        let cell = SnapshotCell(Arc::new(pointers));
        (cell.clone(), Publisher(cell))
    }

    /// The snapshot in force, held for as long as a request needs it.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// The live challenges. Asked only by requests and handshakes that look like a CA's.
    pub fn challenges(&self) -> Arc<Challenges> {
        self.0.challenges.load_full()
    }
}

impl Publisher {
    /// Puts a snapshot in force; whoever loads from now on sees it.
    pub fn publish(&self, next: Snapshot) -> Arc<Snapshot> {
        let next = Arc::new(next);
        self.0.0.snapshot.store(Arc::clone(&next));
        next
    }

    /// The snapshot in force.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load()
    }

    /// The right to show proofs.
    pub fn board(&self) -> ChallengeBoard {
        ChallengeBoard(self.0.clone())
    }
}

impl ChallengeBoard {
    /// Shows a proof from now on.
    #[must_use = "the proof is taken away when this is dropped"]
    pub fn show(&self, proof: Proof) -> Shown {
        self.0.0.challenges.rcu(|shown| shown.with(&proof));
        Shown { board: self.clone(), proof }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.board.0.0.challenges.rcu(|shown| shown.without(&self.proof));
    }
}
