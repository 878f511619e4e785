//! A request on its way to an upstream: its head, and its body in the framing that the head names, in as few writes as it takes.
//! Reads nothing, and holds no more than one piece of the body.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Frame;
use tokio::io::AsyncWrite;

use super::head::Coding;
use crate::upstream::connect::Connected;
use crate::upstream::multiplex::Sendable;

/// What stands behind a chunk, and behind the last one.
const BEHIND: &[u8] = b"\r\n";
const BEHIND_LAST: &[u8] = b"\r\n0\r\n\r\n";

/// Why a request was not written to its end.
#[derive(Debug)]
pub enum Fault {
    /// Its body broke off, or is not as long as was said.
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// The connection takes no more.
    Io(io::Error),
}

/// A request that is being written.
pub struct Upload<B> {
    /// What is to come; gone once all of it is in hand.
    body: Option<B>,
    coding: Coding,
    /// The head, the beginning of a chunk, or the trailers; as much of it as was written.
    before: Vec<u8>,
    written: usize,
    data: Bytes,
    after: &'static [u8],
    has_to_flush: bool,
}

impl<B: Sendable> Upload<B> {
    /// A head, and the body behind it if there is one.
    pub fn new(head: Vec<u8>, coding: Coding, body: Option<B>) -> Upload<B> {
        Upload { body, coding, before: head, written: 0, data: Bytes::new(), after: b"", has_to_flush: false }
    }

    /// Writes as much as can be.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Connected) -> Poll<Result<(), Fault>> {
        loop {
            let is_waiting = self.data.is_empty() && self.after.is_empty() && !self.take(cx)?;
            while self.has_some() {
                let slices = [&self.before[self.written..], &self.data, self.after].map(IoSlice::new);
                let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or_default();
                match ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[first..])) {
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
        self.written < self.before.len() || !self.data.is_empty() || !self.after.is_empty()
    }

    fn advance(&mut self, mut count: usize) {
        let here = count.min(self.before.len() - self.written);
        self.written += here;
        count -= here;
        let here = count.min(self.data.len());
        self.data.advance(here);
        self.after = self.after.get(count - here..).unwrap_or_default();
        if self.written == self.before.len() {
            self.before.clear();
            self.written = 0;
        }
    }

    /// Takes the next piece of the body in hand, in front of which `before` may still wait to be written. False if there is
    /// none yet.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        loop {
            let Some(body) = &mut self.body else { return Ok(true) };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(Err(error))) => return Err(Fault::Body(error.into())),
                Poll::Ready(Some(Ok(frame))) => {
                    let is_last = body.is_end_stream();
                    self.add(frame, is_last)?;
                    // An empty piece is nothing to write: in chunks it would be the end.
                    if self.data.is_empty() && self.body.is_some() {
                        continue;
                    }
                }
            }
            return Ok(true);
        }
    }

    fn add(&mut self, frame: Frame<Bytes>, is_last: bool) -> Result<(), Fault> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok().as_ref()),
        };
        match &mut self.coding {
            Coding::Nothing if !data.is_empty() => return Err(wrong_length()),
            Coding::Nothing => {}
            Coding::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or_else(wrong_length)?;
                self.data = data;
            }
            Coding::Chunked(_) if !data.is_empty() => {
                // To a vector it cannot fail.
                let _ = write!(self.before, "{:x}\r\n", data.len());
                self.data = data;
                self.after = if is_last { BEHIND_LAST } else { BEHIND };
                if is_last {
                    self.body = None;
                }
                return Ok(());
            }
            Coding::Chunked(_) => {}
        }
        if is_last { self.end(None) } else { Ok(()) }
    }

    /// Nothing more will come.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Fault> {
        self.body = None;
        match &self.coding {
            Coding::Length(left) if *left > 0 => Err(wrong_length()),
            Coding::Nothing | Coding::Length(_) => Ok(()),
            Coding::Chunked(named) => {
                self.before.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| named.contains(name)) {
                    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                        self.before.extend_from_slice(part);
                    }
                }
                self.before.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

fn wrong_length() -> Fault {
    Fault::Body("the body is not as long as its head said".into())
}
