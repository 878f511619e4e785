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
    has_begun: bool,
    has_to_flush: bool,
    /// Why nothing more will come of the body, until what came before was written.
    broken: Option<Fault>,
}

impl<B: Payload> Message<B> {
    /// A head, and the body behind it if there is one.
    pub fn new(head: Vec<u8>, coding: Coding, body: Option<B>) -> Message<B> {
        let pieces = Pieces::default();
        Message { body, coding, before: head, written: 0, pieces, has_begun: false, has_to_flush: false, broken: None }
    }

    /// Writes as much as can be. Where no more can, the body is taken on until enough of it is in hand: whoever judges how long it
    /// is waited for does not take a reader that stands still for a body that does. Of a body that breaks off behind its beginning,
    /// what came before is written, as far as that needs no waiting; one that breaks off at once begins nothing.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut (impl AsyncWrite + Unpin)) -> Poll<Result<(), Fault>> {
        loop {
            let is_waiting = !self.take(cx)?;
            if self.has_some() {
                let mut slices = [IoSlice::new(&[]); MOST_PIECES + 3];
                let before = Some(&self.before[self.written..]).filter(|before| !before.is_empty());
                let parts = before.into_iter().chain(self.pieces.iter().map(|piece| &**piece));
                let count = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count();
                let polled = Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count]);
                if polled.is_pending()
                    && let Some(broken) = self.broken.take()
                {
                    return Poll::Ready(Err(broken));
                }
                match ready!(polled) {
                    Ok(0) => return Poll::Ready(Err(Fault::Io(io::ErrorKind::WriteZero.into()))),
                    Ok(count) => self.advance(count),
                    Err(error) => return Poll::Ready(Err(Fault::Io(error))),
                }
                (self.has_begun, self.has_to_flush) = (true, true);
                if self.has_some() {
                    continue;
                }
            }
            if let Some(broken) = self.broken.take() {
                let _ = Pin::new(&mut *stream).poll_flush(cx);
                return Poll::Ready(Err(broken));
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

    /// Takes in hand what is there of the body, as long as that is not enough. False if there is no more yet.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<bool, Fault> {
        let (mut taken, mut is_waiting, mut trailers) = (0, false, None);
        // Then one beginning of a chunk, in front of all of it, will do.
        let is_first = self.pieces.is_empty();
        while self.pieces.bytes < ENOUGH && self.pieces.len() < MOST_PIECES {
            let Some(body) = &mut self.body else { break };
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => {
                    is_waiting = true;
                    break;
                }
                Poll::Ready(None) => self.body = None,
                Poll::Ready(Some(Err(error))) if !self.has_begun => return Err(Fault::Body(error.into())),
                Poll::Ready(Some(Err(error))) => {
                    self.broken = Some(Fault::Body(error.into()));
                    self.body = None;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let is_last = body.is_end_stream();
                    match frame.into_data() {
                        // An empty piece is nothing to write: in chunks it would be the end.
                        Ok(data) if data.is_empty() => {}
                        Ok(data) if is_first || !matches!(self.coding, Coding::Chunked(_)) => {
                            taken += data.len();
                            self.pieces.push(data);
                        }
                        Ok(data) => {
                            self.pieces.push(format!("{:x}\r\n", data.len()).into());
                            self.pieces.push(data);
                            self.pieces.push(Bytes::from_static(b"\r\n"));
                        }
                        Err(frame) => trailers = frame.into_trailers().ok(),
                    }
                    if is_last || trailers.is_some() {
                        self.body = None;
                    }
                }
            }
        }
        let is_over = self.body.is_none() && self.broken.is_none();
        match &mut self.coding {
            Coding::Nothing if taken > 0 => return Err(wrong_length()),
            Coding::Length(left) => *left = left.checked_sub(taken as u64).ok_or_else(wrong_length)?,
            Coding::Chunked(_) if taken > 0 => {
                // To a vector it cannot fail.
                let _ = write!(self.before, "{taken:x}\r\n");
                self.pieces.push(Bytes::from_static(b"\r\n"));
            }
            Coding::Nothing | Coding::Chunked(_) | Coding::UntilClosed => {}
        }
        if is_over {
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
    bytes: usize,
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
        self.bytes += piece.len();
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
            self.bytes -= here;
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::Waker;

    use http_body::{Frame, SizeHint};

    use super::*;

    const BROKEN: &[u8] = b"broken";

    /// What comes of a body when it is asked for; nothing is the end of it, and `BROKEN` breaks it off.
    #[derive(Clone, Default)]
    struct Coming(Rc<RefCell<VecDeque<&'static [u8]>>>);

    impl Body for Coming {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            match self.0.borrow_mut().pop_front() {
                None => Poll::Pending,
                Some(b"") => Poll::Ready(None),
                Some(BROKEN) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::default()
        }
    }

    /// Takes so many bytes and then no more.
    struct Reader {
        read: Vec<u8>,
        room: usize,
    }

    impl AsyncWrite for Reader {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let count = buf.len().min(this.room);
            this.read.extend_from_slice(&buf[..count]);
            this.room -= count;
            if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_body_is_taken_on_while_its_reader_stands_still_until_enough_is_in_hand() {
        static LARGE: [u8; ENOUGH] = [b'x'; ENOUGH];
        let mut cx = Context::from_waker(Waker::noop());
        for (coding, expected) in [
            (Coding::Length(6 + ENOUGH as u64), "onetwo".to_owned() + &"x".repeat(ENOUGH)),
            (
                Coding::Chunked(vec![]),
                format!("3\r\none\r\n3\r\ntwo\r\n{ENOUGH:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(ENOUGH)),
            ),
        ] {
            let coming = Coming::default();
            let mut reader = Reader { read: Vec::new(), room: 2 };
            let mut message = Message::new(b"head;".to_vec(), coding, Some(coming.clone()));
            for piece in ["one", "two"] {
                coming.0.borrow_mut().push_back(piece.as_bytes());
                assert!(message.poll(&mut cx, &mut reader).is_pending());
                assert!(coming.0.borrow().is_empty(), "{piece} is in hand");
            }
            coming.0.borrow_mut().extend([&LARGE[..], b""]);
            assert!(message.poll(&mut cx, &mut reader).is_pending());
            assert_eq!(coming.0.borrow().len(), 1, "that is enough");
            assert_eq!(reader.read, b"he");
            while message.poll(&mut cx, &mut reader).is_pending() {
                assert!(reader.read.len() < expected.len() + 5, "the end is known");
                reader.room = 7_777;
            }
            assert!(reader.read == ("head;".to_owned() + &expected).as_bytes());
        }
    }

    #[test]
    fn what_came_before_a_body_broke_off_is_written_and_nobody_waits_for_a_reader_to_say_so() {
        let mut cx = Context::from_waker(Waker::noop());
        for (coding, expected) in
            [(Coding::Length(100), "head;onetwo"), (Coding::Chunked(vec![]), "head;3\r\none\r\n3\r\ntwo\r\n")]
        {
            for (room, is_read) in [(1000, true), (7, false)] {
                let coming = Coming::default();
                let mut reader = Reader { read: Vec::new(), room };
                let mut message = Message::new(b"head;".to_vec(), coding.clone(), Some(coming.clone()));
                coming.0.borrow_mut().push_back(b"one");
                assert!(message.poll(&mut cx, &mut reader).is_pending());
                coming.0.borrow_mut().extend([&b"two"[..], BROKEN]);
                assert!(matches!(message.poll(&mut cx, &mut reader), Poll::Ready(Err(Fault::Body(_)))));
                let expected = if is_read { expected } else { &expected[..room] };
                assert_eq!(reader.read, expected.as_bytes(), "no end, and nothing else");
            }
            let coming = Coming::default();
            let mut reader = Reader { read: Vec::new(), room: 1000 };
            let mut message = Message::new(b"head;".to_vec(), coding, Some(coming.clone()));
            coming.0.borrow_mut().extend([&b"one"[..], BROKEN]);
            assert!(matches!(message.poll(&mut cx, &mut reader), Poll::Ready(Err(Fault::Body(_)))));
            assert_eq!(reader.read, b"", "it begins nothing");
        }
    }
}
