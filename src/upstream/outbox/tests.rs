use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream as StdTcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::*;
use crate::upstream::Wire;

/// A connection: our end, and the far one, which waits for nothing. The kernel keeps little of it.
async fn pair() -> (Wire, StdTcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().unwrap();
    SockRef::from(&far).set_recv_buffer_size(4096).unwrap();
    SockRef::from(&near).set_send_buffer_size(4096).unwrap();
    far.set_nonblocking(true).unwrap();
    near.writable().await.unwrap();
    (Wire::new(near), far)
}

/// What is there now; `None` if it was closed behind it.
fn there(far: &mut StdTcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let is_open = match far.read_to_end(&mut bytes) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            true
        }
    };
    (bytes, is_open)
}

/// Runs something as the tasks of a data core are run.
async fn in_turns<F: Future>(work: F) -> F::Output {
    let tasks = LocalSet::new();
    turn_by_turn(tasks.run_until(work)).await
}

#[tokio::test]
async fn what_is_written_in_a_turn_leaves_at_its_end() {
    let (mut wire, mut far) = pair().await;
    let mut far = in_turns(async {
        wire.write_all(b"one ").await.unwrap();
        wire.write_all(b"two").await.unwrap();
        wire.flush().await.unwrap();
        assert_eq!(there(&mut far), (Vec::new(), true), "before the end of the turn");
        tokio::task::yield_now().await;
        assert_eq!(there(&mut far), (b"one two".to_vec(), true));
        wire.write_all(b" three").await.unwrap();
        far
    })
    .await;
    assert_eq!(there(&mut far), (b" three".to_vec(), true), "the last turn has an end as well");
}

#[tokio::test]
async fn without_turns_everything_is_written_at_once() {
    let (mut wire, mut far) = pair().await;
    wire.write_all(b"now").await.unwrap();
    assert_eq!(there(&mut far), (b"now".to_vec(), true));
}

#[tokio::test]
async fn what_is_long_is_written_at_once_and_keeps_nothing_short_waiting() {
    let (mut wire, mut far) = pair().await;
    let (mut other, mut other_far) = pair().await;
    in_turns(async {
        other.write_all(b"short").await.unwrap();
        wire.write_all(b"first ").await.unwrap();
        let long = vec![b'x'; SMALL + 1];
        let taken = wire.write(&long).await.unwrap();
        assert_eq!(there(&mut other_far).0, b"short");
        let (bytes, _) = there(&mut far);
        assert!(taken > 0 && bytes.starts_with(b"first x"), "{} bytes", bytes.len());
    })
    .await;
}

#[tokio::test]
async fn what_the_kernel_does_not_take_is_sent_when_it_does_also_by_who_only_reads() {
    let (mut wire, far) = pair().await;
    let all: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    far.set_nonblocking(true).unwrap();
    let mut far = TcpStream::from_std(far).unwrap();
    let written = in_turns(async {
        let mut written = 0;
        for piece in all.chunks(1000) {
            let Ok(taken) = tokio::time::timeout(Duration::from_millis(200), wire.write_all(piece)).await else {
                break;
            };
            taken.unwrap();
            written += piece.len();
            // Another turn.
            tokio::task::yield_now().await;
        }
        assert!(written < all.len(), "the kernel has taken everything");
        let reading = tokio::task::spawn_local(async move {
            let mut bytes = Vec::new();
            while bytes.len() < written {
                assert!(far.read_buf(&mut bytes).await.unwrap() > 0);
            }
            far.write_all(b"got it").await.unwrap();
            bytes
        });
        let mut answer = [0; 6];
        wire.read_exact(&mut answer).await.unwrap();
        assert!(reading.await.unwrap() == all[..written]);
        written
    })
    .await;
    assert!(written > 0);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_to_who_polls_next() {
    for is_writing in [true, false] {
        let (mut wire, far) = pair().await;
        in_turns(async {
            SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
            drop(far);
            wire.write_all(b"for nobody").await.unwrap();
            tokio::task::yield_now().await;
            let told = match is_writing {
                true => wire.write_all(b"more").await,
                false => wire.read(&mut [0; 8]).await.map(drop),
            };
            let kind = told.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_written_leaves_also_where_its_connection_is_dropped_or_ended_in_the_same_turn() {
    for is_ended in [true, false] {
        let (mut wire, mut far) = pair().await;
        in_turns(async {
            wire.write_all(b"last words").await.unwrap();
            if is_ended {
                wire.shutdown().await.unwrap();
                assert_eq!(there(&mut far), (b"last words".to_vec(), false));
            }
            drop(wire);
        })
        .await;
        assert_eq!(there(&mut far), (if is_ended { Vec::new() } else { b"last words".to_vec() }, false));
    }
}

#[test]
fn a_panic_ends_a_turn_as_well() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut wire, mut far) = runtime.block_on(pair());
    let caught = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(in_turns(async {
            wire.write_all(b"before").await.unwrap();
            panic!("a fault of our own");
        }))
    }));
    assert!(caught.is_err());
    assert_eq!(there(&mut far).0, b"before");
    runtime.block_on(wire.write_all(b"at once")).unwrap();
    assert_eq!(there(&mut far).0, b"at once");
}
