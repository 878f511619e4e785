//! What a client says: heads and the bodies behind them, one after the other, whatever they are and however they are cut. The first
//! byte chooses the cut.
#![cfg_attr(fuzzing, no_main)]

use bytes::BytesMut;
use doorward_fuzz::http1::chunks::{Chunks, Step};
use doorward_fuzz::http1::lines::Framing;
use doorward_fuzz::http1::request::{Bounds, RequestHead, read_request};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds { bytes: 2048, fields: 64 };

/// One message: its first line and fields, its body, its trailers.
type Understood = (String, http::HeaderMap, Vec<u8>, Option<http::HeaderMap>);

/// All that is whole, and what stands behind it: nothing where that is refused, or is not to be read as a message.
fn understood(bytes: &[u8], piece: usize) -> (Vec<Understood>, Option<Vec<u8>>) {
    let mut pieces = bytes.chunks(piece);
    let (mut read, mut all) = (BytesMut::new(), Vec::new());
    loop {
        let head = loop {
            match read_request(&mut read, BOUNDS) {
                Err(_) => return (all, None),
                Ok(Some(head)) => break head,
                Ok(None) => match pieces.next() {
                    Some(piece) => read.extend_from_slice(piece),
                    None => return (all, Some(read.to_vec())),
                },
            }
        };
        let RequestHead { method, uri, version, headers, framing, is_kept } = head;
        let lengths = headers.get_all("content-length").iter().count();
        assert!(!is_kept || lengths + headers.get_all("transfer-encoding").iter().count() <= 1, "one length or none");
        let (mut body, mut trailers) = (Vec::new(), None);
        let mut chunks = Chunks::default();
        loop {
            match framing {
                Framing::Length(length) if read.len() as u64 >= length => {
                    body.extend_from_slice(&read.split_to(length as usize));
                    break;
                }
                Framing::Length(_) => {}
                Framing::Chunked => match chunks.step(&mut read) {
                    Err(_) => return (all, None),
                    Ok(Step::More) => {}
                    Ok(Step::Data(data)) => {
                        body.extend_from_slice(&data);
                        continue;
                    }
                    Ok(Step::Trailers(fields)) => {
                        trailers = Some(fields);
                        break;
                    }
                    Ok(Step::End) => break,
                },
                Framing::Nothing => break,
                Framing::UntilClosed => panic!("no request ends with its connection"),
            }
            match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None => return (all, Some(Vec::new())),
            }
        }
        all.push((format!("{method} {uri} {version:?}"), headers, body, trailers));
        if !is_kept {
            return (all, None);
        }
    }
}

/// What is read as a head is read so by others too, and what others refuse is not read.
fn agrees(bytes: &[u8]) {
    let mut read = BytesMut::from(bytes);
    let Ok(Some(head)) = read_request(&mut read, BOUNDS) else { return };
    let mut places = [httparse::EMPTY_HEADER; 65];
    let mut theirs = httparse::Request::new(&mut places);
    let length = theirs.parse(bytes).unwrap().unwrap();
    assert_eq!((bytes.len() - read.len(), head.method.as_str()), (length, theirs.method.unwrap_or_default()));
    let field = |field: &httparse::Header<'_>| (field.name.to_ascii_lowercase(), field.value.to_vec());
    let mut fields: Vec<_> = theirs.headers.iter().map(field).collect();
    // Consumed where it says nothing more.
    fields.retain(|(name, value)| name != "connection" || !value.eq_ignore_ascii_case(b"keep-alive"));
    fields.sort();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    let mut ours: Vec<_> = head.headers.iter().map(field).collect();
    ours.sort();
    assert_eq!(ours, fields);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    agrees(bytes);
    // However it is cut, it is understood in one way; what is refused may be refused sooner or later.
    let (whole, cut) = (understood(bytes, bytes.len().max(1)), understood(bytes, usize::from(choice).max(1)));
    assert_eq!(whole.0, cut.0);
    if let (Some(whole), Some(cut)) = (whole.1, cut.1) {
        assert_eq!(whole, cut);
    }
});
