//! A connection on which the test writes the bytes itself, and reads them back as they came.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Wire, within};

/// Bytes out, bytes in.
pub struct Raw {
    wire: Wire,
    unread: Vec<u8>,
}

impl Raw {
    pub(super) fn new(wire: Wire) -> Raw {
        Raw { wire, unread: Vec::new() }
    }

    /// Sends these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        self.try_send(bytes).await.expect("the other side still reads");
        self
    }

    /// Sends these bytes, unless the other side has gone.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("bytes to be taken", async {
            self.wire.write_all(bytes.as_ref()).await?;
            self.wire.flush().await
        })
        .await
    }

    /// Ends this side, as far as TCP and TLS know: nothing more will be sent.
    pub async fn end(&mut self) -> &mut Raw {
        within("the end to be said", self.wire.shutdown()).await.expect("the other side is there");
        self
    }

    /// Sends these bytes while reading, and forgetting, what comes back meanwhile.
    pub async fn pour(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut reads, mut writes) = tokio::io::split(&mut self.wire);
        let sends = async {
            writes.write_all(bytes).await?;
            writes.flush().await
        };
        let forgets = async {
            let mut block = [0; 16384];
            while reads.read(&mut block).await? > 0 {}
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        within("bytes to be taken", async {
            tokio::select! {
                sent = sends => sent,
                ended = forgets => ended,
            }
        })
        .await
    }

    /// One answer: head and body by its framing, as text. Empty if the connection ended instead.
    pub async fn answer(&mut self) -> String {
        loop {
            if let Some(end) = answer_length(&self.unread, false) {
                return String::from_utf8_lossy(&self.unread.drain(..end).collect::<Vec<u8>>()).into_owned();
            }
            if self.more().await == 0 {
                let end = answer_length(&self.unread, true).unwrap_or(self.unread.len());
                return String::from_utf8_lossy(&self.unread.drain(..end).collect::<Vec<u8>>()).into_owned();
            }
        }
    }

    /// Everything until the other side closes, however long that takes.
    pub async fn patient_rest(&mut self) -> String {
        let mut block = [0; 16384];
        while let Ok(read @ 1..) = self.wire.read(&mut block).await {
            self.unread.extend_from_slice(&block[..read]);
        }
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    /// The head of the next answer, final or not.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                return String::from_utf8_lossy(&self.unread.drain(..end + 4).collect::<Vec<u8>>()).into_owned();
            }
            if self.more().await == 0 {
                return String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned();
            }
        }
    }

    /// Exactly this many bytes.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more().await > 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.unread));
        }
        self.unread.drain(..count).collect()
    }

    /// Everything until the other side closes.
    pub async fn rest(&mut self) -> String {
        while self.more().await > 0 {}
        String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned()
    }

    async fn more(&mut self) -> usize {
        let mut block = [0; 16384];
        // A reset ends the conversation as well as a close does.
        let read = within("bytes from the other side", self.wire.read(&mut block)).await.unwrap_or(0);
        self.unread.extend_from_slice(&block[..read]);
        read
    }
}

/// Where one answer ends, if it is all there.
fn answer_length(bytes: &[u8], at_end: bool) -> Option<usize> {
    let head_end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?;
    if status == "204" || status == "304" || status.starts_with('1') {
        return Some(head_end);
    }
    if head.contains("\r\ntransfer-encoding: chunked") {
        return find(&bytes[head_end - 2..], b"\r\n0\r\n")
            .and_then(|at| find(&bytes[head_end - 2 + at..], b"\r\n\r\n").map(|end| head_end - 2 + at + end + 4));
    }
    match head.split("\r\ncontent-length: ").nth(1) {
        Some(rest) => {
            let length: usize = rest.split("\r\n").next()?.trim().parse().ok()?;
            (bytes.len() >= head_end + length).then_some(head_end + length)
        }
        None => at_end.then_some(bytes.len()),
    }
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}
