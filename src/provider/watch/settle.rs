//! Decides from one reading after another which changes have come to rest. Pure: knows no clock and no disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Prints;

/// After so many readings, files that rest no longer wait for one that does not.
const PATIENCE: u32 = 10;

/// What the last reading was while something moves.
#[derive(Debug, Default)]
pub(super) struct Settling {
    last: Prints,
    readings: u32,
}

/// What a reading means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Everything is as reported.
    Quiet,
    /// Something differs and was not the same twice: read again.
    Moving(Settling),
    /// These differ and were the same twice.
    Settled {
        /// The files with their new contents; never empty.
        changed: Prints,
        /// Whether another file still moves.
        is_rest_moving: bool,
    },
}

impl Settling {
    /// Whether something moves for so long that one need not look often.
    pub(super) fn is_endless(&self) -> bool {
        self.readings > PATIENCE
    }

    /// Judges one reading. Files of one change (a certificate and its key) are held back for each other, up to a bound.
    pub(super) fn judge(self, reported: &Prints, reading: Prints) -> Verdict {
        let differing = reading.iter().filter(|(file, print)| reported.get(*file) != Some(*print));
        let (resting, moving): (BTreeMap<&PathBuf, _>, BTreeMap<&PathBuf, _>) =
            differing.partition(|(file, print)| self.last.get(*file) == Some(*print));
        if resting.is_empty() && moving.is_empty() {
            return Verdict::Quiet;
        }
        if resting.is_empty() || (!moving.is_empty() && self.readings < PATIENCE) {
            return Verdict::Moving(Settling { last: reading, readings: self.readings.saturating_add(1) });
        }
        let changed = resting.into_iter().map(|(file, print)| (file.clone(), *print)).collect();
        Verdict::Settled { changed, is_rest_moving: !moving.is_empty() }
    }
}

#[cfg(test)]
mod tests;
