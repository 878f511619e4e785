//! `Expect: 100-continue` (RFC 9110 §10.1.1): the client's body is asked for when the upstream asks for it. Asking is
//! reading: the HTTP library sends its 100 to the client when the body is first read, so not reading it is all there is to do.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::header::{self, HeaderMap};
use http::{StatusCode, Version};
use tokio::time::Sleep;

use crate::upstream::Told;

/// How long an upstream may take to say that it wants the body. Many never say it; curl waits as long for us.
const PATIENCE: Duration = Duration::from_secs(1);

const WAITS: u8 = 0;
const ASKED: u8 = 1;
const ANSWERED: u8 = 2;
const OVER: u8 = 3;

/// What is known of the upstream's wish for a body.
pub struct Wish {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// Whether a client waits to be asked for its body.
pub fn is_expected(version: Version, headers: &HeaderMap) -> bool {
    let mut expects = headers.get_all(header::EXPECT).iter();
    let first = expects.next().is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    version == Version::HTTP_11 && first && expects.next().is_none()
}

impl Wish {
    /// An upstream that has said nothing yet.
    pub fn unknown() -> Arc<Wish> {
        Arc::new(Wish { state: AtomicU8::new(WAITS), waker: AtomicWaker::new() })
    }

    /// What hears the upstream's 100.
    pub fn ear(self: &Arc<Self>) -> Told {
        let wish = Arc::clone(self);
        Box::new(move |interim| {
            if interim == StatusCode::CONTINUE {
                wish.pass(WAITS, ASKED);
            }
        })
    }

    /// The upstream gave its final answer. Whether it did so without wanting the body: then nobody may ask for it any more.
    pub fn answer(&self) -> bool {
        self.pass(WAITS, ANSWERED)
    }

    /// That answer is at its end: the body that was never asked for breaks off, and with it the connection to the upstream,
    /// which would take whatever came next for it (CVE-2024-24791).
    pub fn end(&self) {
        self.pass(ANSWERED, OVER);
    }

    fn pass(&self, from: u8, to: u8) -> bool {
        let has_passed = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.waker.wake();
        has_passed
    }
}

/// A body that is not read before it is asked for.
pub struct Gate {
    wish: Arc<Wish>,
    patience: Pin<Box<Sleep>>,
}

impl Gate {
    /// Closed until the upstream wants the body, or has not said so for a while.
    pub fn before(wish: Arc<Wish>) -> Gate {
        Gate { wish, patience: Box::pin(tokio::time::sleep(PATIENCE)) }
    }

    /// Waits for it to open; `false` if it never will.
    pub fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.wish.waker.register(cx.waker());
        match self.wish.state.load(Ordering::Acquire) {
            ASKED => Poll::Ready(true),
            OVER => Poll::Ready(false),
            ANSWERED => Poll::Pending,
            _ => {
                std::task::ready!(self.patience.as_mut().poll(cx));
                self.wish.pass(WAITS, ASKED);
                Poll::Ready(true)
            }
        }
    }
}
