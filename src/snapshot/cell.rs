//! The only atomic pointer of the house. Readers never wait; there is one writer.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Snapshot;

/// Where every data core reads the snapshot in force.
#[derive(Clone, Debug)]
pub struct SnapshotCell(Arc<ArcSwap<Snapshot>>);

/// The right to publish; not cloned, so there is one writer.
#[derive(Debug)]
pub struct Publisher(SnapshotCell);

impl SnapshotCell {
    /// A cell with its first snapshot, and the right to replace it.
    pub fn new(first: Snapshot) -> (SnapshotCell, Publisher) {
        let cell = SnapshotCell(Arc::new(ArcSwap::from_pointee(first)));
        (cell.clone(), Publisher(cell))
    }

    /// The snapshot in force, held for as long as a request needs it.
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}

impl Publisher {
    /// Puts a snapshot in force; whoever loads from now on sees it.
    pub fn publish(&self, next: Snapshot) -> Arc<Snapshot> {
        let next = Arc::new(next);
        self.0.0.store(Arc::clone(&next));
        next
    }

    /// The snapshot in force.
    pub fn current(&self) -> Arc<Snapshot> {
        self.0.load()
    }
}
