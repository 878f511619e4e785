//! What an upstream says: a head and the body behind it, whatever it is and however it is cut. The first byte chooses the cut and
//! whether the request was HEAD.
#![cfg_attr(fuzzing, no_main)]

use bytes::BytesMut;
use doorward_fuzz::http1::chunks::{Chunks, Step};
use doorward_fuzz::http1::head::{Framing, read_head};
use libfuzzer_sys::fuzz_target;

/// How it was understood: status, framing, fields; body in chunks, trailers, and what stands behind.
type Understood = (u16, Framing, http::HeaderMap, Vec<u8>, Option<http::HeaderMap>, Vec<u8>);

/// `None`: refused, or not whole.
fn understood(bytes: &[u8], piece: usize, is_head: bool) -> Option<Understood> {
    let mut pieces = bytes.chunks(piece);
    let mut read = BytesMut::new();
    let head = loop {
        match read_head(&mut read, is_head).ok()? {
            Some(head) => break head,
            None => read.extend_from_slice(pieces.next()?),
        }
    };
    assert!(head.headers.get_all("content-length").iter().count() <= 1 || head.framing != Framing::Length(0));
    let (mut body, mut trailers) = (Vec::new(), None);
    if head.framing == Framing::Chunked {
        let mut chunks = Chunks::default();
        loop {
            match chunks.step(&mut read).ok()? {
                Step::More => read.extend_from_slice(pieces.next()?),
                Step::Data(data) => body.extend_from_slice(&data),
                Step::Trailers(fields) => {
                    trailers = Some(fields);
                    break;
                }
                Step::End => break,
            }
        }
    }
    pieces.for_each(|piece| read.extend_from_slice(piece));
    Some((head.status.as_u16(), head.framing, head.headers, body, trailers, read.to_vec()))
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let is_head = choice & 1 == 1;
    let piece = usize::from(choice >> 1).max(1);
    // However it is cut, it is understood in one way.
    assert_eq!(understood(bytes, bytes.len().max(1), is_head), understood(bytes, piece, is_head));
});
