//! Bodies of any length that show a lost, doubled or changed block, made and checked without holding them.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Frame;

/// What a generated body repeats. Its length is prime, so that no read or write of a round size falls in step with it.
static BLOCK: [u8; 65521] = block();

/// The frames of a generated body.
pub fn body(length: u64) -> impl Stream<Item = Result<Frame<Bytes>, io::Error>> + Send + Sync {
    futures_util::stream::unfold(length, |left| async move {
        let size = left.min(BLOCK.len() as u64);
        (size > 0).then(|| (Ok(Frame::data(Bytes::from_static(&BLOCK[..size as usize]))), left - size))
    })
}

/// Compares what arrives with what was generated.
pub struct Check {
    at: u64,
    same: bool,
}

impl Default for Check {
    fn default() -> Check {
        Check::after(0)
    }
}

impl Check {
    /// A check that begins behind this many bytes.
    pub fn after(read: u64) -> Check {
        Check { at: read, same: true }
    }

    /// The next bytes.
    pub fn more(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let from = (self.at % BLOCK.len() as u64) as usize;
            let size = bytes.len().min(BLOCK.len() - from);
            self.same &= bytes[..size] == BLOCK[from..from + size];
            self.at += size as u64;
            bytes = &bytes[size..];
        }
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.at
    }

    /// Whether all of them were the generated ones.
    pub fn is_generated(&self) -> bool {
        self.same
    }
}

const fn block() -> [u8; 65521] {
    let mut block = [0; 65521];
    let mut at = 0;
    while at < block.len() {
        block[at] = (at % 251 + at / 251 % 5) as u8;
        at += 1;
    }
    block
}
