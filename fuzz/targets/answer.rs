//! What an upstream says: a head and the body behind it, whatever it is and however it is cut. The first byte chooses the cut and
//! whether the request was HEAD.
#![cfg_attr(fuzzing, no_main)]

use bytes::BytesMut;
use doorward_fuzz::http1::answer::{AnswerHead, read_answer};
use doorward_fuzz::http1::chunks::{Chunks, Step};
use doorward_fuzz::http1::lines::Framing;
use libfuzzer_sys::fuzz_target;

/// How it was understood: status, framing, fields; body in chunks, trailers, and what stands behind.
type Understood = (u16, Framing, http::HeaderMap, Vec<u8>, Option<http::HeaderMap>, Vec<u8>);

/// `None`: refused, or not whole.
fn understood(bytes: &[u8], piece: usize, is_head: bool) -> Option<Understood> {
    let mut pieces = bytes.chunks(piece);
    let mut read = BytesMut::new();
    let head = loop {
        match read_answer(&mut read, is_head, None).ok()? {
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

/// Where a head ends and what it says, as a well-kept library reads it; `None` if it is not whole.
fn as_the_library_reads(bytes: &[u8]) -> Result<Option<(usize, u16, Vec<(String, Vec<u8>)>)>, httparse::Error> {
    let mut places = [httparse::EMPTY_HEADER; 256];
    let mut answer = httparse::Response::new(&mut places);
    let httparse::Status::Complete(length) = answer.parse(bytes)? else { return Ok(None) };
    let field = |field: &httparse::Header<'_>| (field.name.to_ascii_lowercase(), field.value.to_vec());
    let mut fields: Vec<_> = answer.headers.iter().map(field).collect();
    // Consumed where it says nothing more.
    fields.retain(|(name, value)| name != "connection" || !value.eq_ignore_ascii_case(b"keep-alive"));
    fields.sort();
    Ok(Some((length, answer.code.unwrap_or_default(), fields)))
}

/// What is read as a head is read so by others too, and what others refuse is not read.
fn agrees(bytes: &[u8]) {
    let mut read = BytesMut::from(bytes);
    let Ok(Some(head)) = read_answer(&mut read, true, None) else { return };
    let theirs = match as_the_library_reads(bytes) {
        Err(httparse::Error::TooManyHeaders) => return,
        theirs => theirs.unwrap().unwrap(),
    };
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    let mut fields: Vec<_> = head.headers.iter().map(field).collect();
    fields.sort();
    assert_eq!((bytes.len() - read.len(), head.status.as_u16(), fields), theirs);
}

/// A head whose fields go on as they came says what it says taken apart.
fn goes_on_as_it_came(bytes: &[u8], is_head: bool) {
    let (mut read, mut again) = (BytesMut::from(bytes), BytesMut::from(bytes));
    let apart = read_answer(&mut read, is_head, None);
    let as_it_came = read_answer(&mut again, is_head, Some(|_| true));
    let (Ok(Some(apart)), Ok(Some(as_it_came))) = (&apart, &as_it_came) else {
        assert_eq!(format!("{apart:?}"), format!("{as_it_came:?}"));
        return;
    };
    assert_eq!(read, again);
    let known = |head: &AnswerHead| (head.status, head.reason.clone(), head.framing, head.is_kept);
    assert_eq!(known(apart), known(as_it_came));
    let Some(verbatim) = &as_it_came.verbatim else { return assert_eq!(apart.headers, as_it_came.headers) };
    let text = [&verbatim.text[..], b"\r\n"].concat();
    let mut places = [httparse::EMPTY_HEADER; 1000];
    let (length, theirs) = httparse::parse_headers(&text, &mut places).unwrap().unwrap();
    assert_eq!(length, text.len());
    let mut fields: Vec<_> = theirs.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    let mut ours: Vec<_> = apart.headers.iter().map(field).collect();
    ours.retain(|(name, _)| name != "transfer-encoding");
    (fields.sort(), ours.sort());
    assert_eq!(fields, ours);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let is_head = choice & 1 == 1;
    let piece = usize::from(choice >> 1).max(1);
    agrees(bytes);
    goes_on_as_it_came(bytes, is_head);
    // However it is cut, it is understood in one way.
    assert_eq!(understood(bytes, bytes.len().max(1), is_head), understood(bytes, piece, is_head));
});
