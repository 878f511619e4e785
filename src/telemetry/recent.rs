//! The last requests that were refused or failed, so that an id on an error page can be explained. Bounded in number and
//! bytes; each core has its own, and nobody else touches it but who asks.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::request_id::RequestId;

/// How many a core keeps.
pub(super) const MOST: usize = 1_000;

/// Bytes that a core keeps: records of usual length fit a thousand times.
const MOST_BYTES: usize = 1 << 20;

/// What one core keeps.
#[derive(Default)]
pub(super) struct Recent(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    lines: VecDeque<(RequestId, Box<[u8]>)>,
    bytes: usize,
}

impl Recent {
    /// Keeps a record (JSON, as logged); the oldest go.
    pub(super) fn keep(&self, id: RequestId, line: Box<[u8]>) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += line.len();
        ring.lines.push_back((id, line));
        while ring.lines.len() > MOST || ring.bytes > MOST_BYTES {
            let Some((_, oldest)) = ring.lines.pop_front() else { break };
            ring.bytes -= oldest.len();
        }
    }

    /// The record with this id.
    pub(super) fn find(&self, id: RequestId) -> Option<Box<[u8]>> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.lines.iter().rev().find(|(known, _)| *known == id).map(|(_, line)| line.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_within_number_and_bytes() {
        let recent = Recent::default();
        let ids: Vec<RequestId> = (0..MOST + 5).map(|_| RequestId::random()).collect();
        ids.iter().for_each(|&id| recent.keep(id, b"{}\n"[..].into()));
        assert!(recent.find(ids[4]).is_none() && recent.find(ids[5]).is_some());
        let large = vec![b'x'; MOST_BYTES];
        recent.keep(ids[0], large.into());
        assert!(recent.find(ids[MOST + 4]).is_none() && recent.find(ids[0]).is_some());
    }
}
