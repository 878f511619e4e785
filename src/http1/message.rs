//! A message that is being written: its head, and its body in the framing that the head names, in as few writes as it takes. Reads
//! nothing, and holds no more of the body than it writes at once.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::written::Coding;

/// As much of a body as is written at once, where it is there: what HTTP/2 brings in frames of 16 KiB would otherwise wake
/// whoever reads it for each of them.
const ENOUGH: usize = 128 * 1024;

/// In so many pieces at most.
const MOST_PIECES: usize = 16;

/// A body that can be written.
pub trait Payload: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin {}

impl<B> Payload for B where B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin {}

/// Why a message was not written to its end.
#[derive(Debug)]
pub enum Fault {
    /// Its body broke off, or is not as long as was said.
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The connection takes no more.
    Io(io::Error),
}

/// A message that is being written.
pub struct Message<B> {
    /// What is to come; gone once all of it is in hand.
    body: Option<B>,
    coding: Coding,
    /// The head, and the beginning of a chunk; as much of it as was written.
    before: Vec<u8>,
    written: usize,
    /// What is in hand of the body, and what stands behind it.
    pieces: Pieces,
    has_to_flush: bool,
}

impl<B: Payload> Message<B> {
    /// A head, and the body behind it if there is one.
    pub fn new(head: Vec<u8>, coding: Coding, body: Option<B>) -> Message<B> {
        Message { body, coding, before: head, written: 0, pieces: Pieces::default(), has_to_flush: false }
    }

    /// Writes as much as can be.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncWrite + Unpin)) -> Poll<Result<(), Fault>> {
        loop {
            let is_waiting = self.pieces.is_empty() && !self.take(cx)?;
            while self.has_some() {
                let mut slices = [IoSlice::new(&[]); MOST_PIECES + 3];
                let before = Some(&self.before[self.written..]).filter(|before| !before.is_empty());
                let parts = before.into_iter().chain(self.pieces.iter().map(|piece| &**piece));
                let count = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count();
                match ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count])) {
                    Ok(0) => return Poll::Ready(Err(Fault::Io(io::ErrorKind::WriteZero.into()))),
                    Ok(count) => self.advance(count),
                    Err(error) => return Poll::Ready(Err(Fault::Io(error))),
                }
                self.has_to_flush = true;
            }
            if self.has_to_flush && (is_waiting || self.body.is_none()) {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Fault::Io)?;
                self.has_to_flush = false;
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if is_waiting {
                return Poll::Pending;
            }
        }
    }

    /// Whether every byte was written that the head has said would come.
    pub fn is_whole(&self) -> bool {
        !self.has_some() && !self.has_to_flush && matches!(self.coding, Coding::Nothing | Coding::Length(0))
    }

    fn has_some(&self) -> bool {
        self.written < self.before.len() || !self.pieces.is_empty()
    }

    fn advance(&mut self, mut count: usize) {
        let here = count.min(self.before.len() - self.written);
        self.written += here;
        count -= here;
        self.pieces.advance(count);
        if self.written == self.before.len() {
            self.before.clear();
            self.written = 0;
        }
    }

    /// Takes in hand what is there of the body, in front of which `before` may still wait to be written. False if there is no
    /// more yet.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let (mut taken, mut is_waiting, mut trailers) = (0, false, None);
        while taken < ENOUGH && self.pieces.len() < MOST_PIECES {
            let Some(body) = &mut self.body else { break };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => {
                    is_waiting = true;
                    break;
                }
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Err(error))) => return Err(Fault::Body(error.into())),
                Poll::Ready(Some(Ok(frame))) => {
                    let is_last = body.is_end_stream();
                    match frame.into_data() {
                        Ok(data) => {
                            taken += data.len();
                            // An empty piece is nothing to write: in chunks it would be the end.
                            self.pieces.push(data);
                        }
                        Err(frame) => trailers = frame.into_trailers().ok(),
                    }
                    if is_last || trailers.is_some() {
                        self.body = None;
                    }
                }
            }
        }
        match &mut self.coding {
            Coding::Nothing if taken > 0 => return Err(wrong_length()),
            Coding::Nothing => {}
            Coding::Length(left) => *left = left.checked_sub(taken as u64).ok_or_else(wrong_length)?,
            Coding::Chunked(_) if taken > 0 => {
                // To a vector it cannot fail.
                let _ = write!(self.before, "{taken:x}\r\n");
                self.pieces.push(Bytes::from_static(b"\r\n"));
            }
            Coding::Chunked(_) | Coding::UntilClosed => {}
        }
        if self.body.is_none() {
            self.end(trailers.as_ref())?;
        }
        Ok(!is_waiting)
    }

    /// Nothing more will come.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Fault> {
        match &self.coding {
            Coding::Length(left) if *left > 0 => return Err(wrong_length()),
            Coding::Nothing | Coding::Length(_) | Coding::UntilClosed => {}
            Coding::Chunked(named) => {
                let mut last = b"0\r\n".to_vec();
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| named.contains(name)) {
                    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                        last.extend_from_slice(part);
                    }
                }
                last.extend_from_slice(b"\r\n");
                self.pieces.push(last.into());
            }
        }
        // Once is enough.
        self.coding = Coding::Nothing;
        Ok(())
    }
}

/// What is in hand. Mostly there is one piece, for which nothing is asked of the allocator.
#[derive(Default)]
struct Pieces {
    /// None of them, if it is empty.
    first: Bytes,
    others: VecDeque<Bytes>,
}

impl Pieces {
    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn len(&self) -> usize {
        usize::from(!self.first.is_empty()) + self.others.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Bytes> {
        Some(&self.first).filter(|first| !first.is_empty()).into_iter().chain(&self.others)
    }

    fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        if self.first.is_empty() {
            self.first = piece;
        } else {
            self.others.push_back(piece);
        }
    }

    /// So many bytes of them were written.
    fn advance(&mut self, mut count: usize) {
        while !self.first.is_empty() {
            let here = count.min(self.first.len());
            self.first.advance(here);
            count -= here;
            if !self.first.is_empty() {
                break;
            }
            self.first = self.others.pop_front().unwrap_or_default();
        }
    }
}

fn wrong_length() -> Fault {
    Fault::Body("the body is not as long as its head said".into())
}
