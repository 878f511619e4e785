//! The head of an HTTP/1.1 message to and from an upstream: a request is written in one piece, an answer is read strictly.
//! What an answer's body is framed by is settled here, once; what can be understood in two ways is refused. No sockets.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};

/// Bytes of an answer's head that are read: Calibre's Kobo sync sends 100 KiB.
pub const MOST_ANSWER_HEAD: usize = 256 * 1024;

/// Fields of an answer's head.
const MOST_ANSWER_FIELDS: usize = 1_000;

/// Fields for which there is room without asking for memory: nearly every head has fewer.
const USUAL_FIELDS: usize = 48;

/// What an upstream said that is no HTTP/1.1, or that can be read in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadAnswer(pub &'static str);

/// How the end of an answer's body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    Nothing,
    /// By its length.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClosed,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    /// Its status.
    pub status: StatusCode,
    /// The words behind it, where they are not the usual ones.
    pub reason: Option<Bytes>,
    /// Its fields, in order.
    pub headers: HeaderMap,
    /// What follows.
    pub framing: Framing,
    /// Whether the server takes another request on this connection.
    pub is_kept: bool,
}

/// Takes one head from the beginning of what was read; `None` while it is not whole. `is_head`: the request was HEAD, whose
/// answers have no body whatever they say.
///
/// # Errors
/// What stands there is no head of an answer.
pub fn read_head(read: &mut BytesMut, is_head: bool) -> Result<Option<Head>, BadAnswer> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse(read, &mut usual) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut most = vec![MaybeUninit::uninit(); MOST_ANSWER_FIELDS];
            let parsed = parse(read, &mut most);
            taken(read, parsed, is_head)
        }
        parsed => taken(read, parsed, is_head),
    }
}

/// The head as it was found: its fields are places in what was read.
struct Parsed {
    length: usize,
    code: u16,
    reason: Option<Bytes>,
    is_http10: bool,
    headers: HeaderMap,
}

fn parse<'b>(
    read: &'b [u8],
    places: &mut [MaybeUninit<httparse::Header<'b>>],
) -> Result<Option<Parsed>, httparse::Error> {
    let mut answer = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let httparse::Status::Complete(length) = config.parse_response_with_uninit_headers(&mut answer, read, places)?
    else {
        return Ok(None);
    };
    // One copy of the head that its values share, so that the buffer behind it is free for the body.
    let head = Bytes::copy_from_slice(&read[..length]);
    let start = read.as_ptr() as usize;
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 2);
    for field in answer.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| httparse::Error::HeaderName)?;
        let value = match field.value {
            [] => HeaderValue::from_static(""),
            value => {
                let at = value.as_ptr() as usize - start;
                let shared = head.slice(at..at + value.len());
                HeaderValue::from_maybe_shared(shared).map_err(|_| httparse::Error::HeaderValue)?
            }
        };
        headers.append(name, value);
    }
    let code = answer.code.unwrap_or_default();
    let usual = StatusCode::from_u16(code).ok().and_then(|status| status.canonical_reason());
    let reason = answer.reason.filter(|reason| usual != Some(*reason) && !reason.is_empty());
    Ok(Some(Parsed {
        length,
        code,
        reason: reason.map(|reason| Bytes::copy_from_slice(reason.as_bytes())),
        is_http10: answer.version == Some(0),
        headers,
    }))
}

fn taken(
    read: &mut BytesMut,
    parsed: Result<Option<Parsed>, httparse::Error>,
    is_head: bool,
) -> Result<Option<Head>, BadAnswer> {
    let too_long = BadAnswer("its head is longer than 256 KiB");
    let Some(Parsed { length, code, reason, is_http10, mut headers }) = parsed.map_err(explain)? else {
        return if read.len() > MOST_ANSWER_HEAD { Err(too_long) } else { Ok(None) };
    };
    if length > MOST_ANSWER_HEAD {
        return Err(too_long);
    }
    bytes::Buf::advance(read, length);
    let status = StatusCode::from_u16(code).map_err(|_| BadAnswer("its status is no number from 100 to 999"))?;
    let framing = framing_of(status, is_http10, &mut headers, is_head)?;
    let is_kept = is_kept(is_http10, &headers) && framing != Framing::UntilClosed;
    Ok(Some(Head { status, reason, headers, framing, is_kept }))
}

fn explain(error: httparse::Error) -> BadAnswer {
    BadAnswer(match error {
        httparse::Error::Version => "it does not begin with HTTP/1.1",
        httparse::Error::Status => "its status is no number of three digits",
        httparse::Error::HeaderName => "a field's name has characters that no name has",
        httparse::Error::HeaderValue => "a field's value has characters that no value has",
        httparse::Error::TooManyHeaders => "its head has more than 1000 fields",
        _ => "its head is no HTTP",
    })
}

/// What follows a head (RFC 9112 §6.3). What can be understood in two ways is not understood at all.
fn framing_of(
    status: StatusCode,
    is_http10: bool,
    headers: &mut HeaderMap,
    is_head: bool,
) -> Result<Framing, BadAnswer> {
    if status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || is_head {
        return Ok(Framing::Nothing);
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if is_http10 {
            return Err(BadAnswer("HTTP/1.0 with a transfer coding"));
        }
        let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
        let last = last.and_then(|value| value.as_bytes().rsplit(|&b| b == b',').next());
        let is_chunked = last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        return Ok(if is_chunked { Framing::Chunked } else { Framing::UntilClosed });
    }
    match length_of(headers)? {
        Some(length) => Ok(Framing::Length(length)),
        None => Ok(Framing::UntilClosed),
    }
}

/// The length that a head names. One that is named more than once, always the same, is named once from here on.
fn length_of(headers: &mut HeaderMap) -> Result<Option<u64>, BadAnswer> {
    let wrong = BadAnswer("its Content-Length can be read in two ways");
    let mut length = None;
    let mut count = 0;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for part in value.as_bytes().split(|&b| b == b',') {
            let said = digits(part.trim_ascii()).ok_or(wrong)?;
            if length.is_some_and(|length| length != said) {
                return Err(wrong);
            }
            length = Some(said);
            count += 1;
        }
    }
    if let Some(length) = length.filter(|_| count > 1) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}

/// Digits and nothing else: no sign, no space, no overflow.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

fn is_kept(is_http10: bool, headers: &HeaderMap) -> bool {
    let mut is_kept = !is_http10;
    for value in headers.get_all(header::CONNECTION) {
        for option in value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            is_kept |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    is_kept
}

/// How the body of a request is told from what follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Coding {
    /// There is no body.
    Nothing,
    /// It has so many bytes.
    Length(u64),
    /// In chunks, behind which these fields may come as trailers: those that the head names.
    Chunked(Vec<HeaderName>),
}

/// Writes the head of a request. `size`: the bytes of its body, where they are known; 0 if there is none. Whatever the fields
/// say, what is written names the framing that is used, and no other.
pub fn write_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    size: Option<u64>,
    out: &mut Vec<u8>,
) -> Result<Coding, BadAnswer> {
    let coding = coding_of(headers, size)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    out.reserve(64 + target.len() + headers.len() * 40);
    for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in headers {
        if *name == header::TRANSFER_ENCODING || *name == header::CONTENT_LENGTH {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    match &coding {
        Coding::Length(length) => write_length(*length, out),
        // What has a meaning without a body is said to have none (RFC 9110 §8.6).
        Coding::Nothing if headers.contains_key(header::CONTENT_LENGTH) => write_length(0, out),
        Coding::Nothing => {}
        Coding::Chunked(_) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
    Ok(coding)
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    use std::io::Write;
    // To a vector it cannot fail.
    let _ = write!(out, "content-length: {length}\r\n");
}

fn coding_of(headers: &HeaderMap, size: Option<u64>) -> Result<Coding, BadAnswer> {
    if size == Some(0) {
        return Ok(Coding::Nothing);
    }
    if !headers.contains_key(header::TRANSFER_ENCODING) {
        let mut said = headers.get_all(header::CONTENT_LENGTH).iter();
        let length = match (said.next(), said.next()) {
            (None, _) => size,
            (Some(one), None) => Some(digits(one.as_bytes()).ok_or(BadAnswer("a length that is no number"))?),
            (Some(_), Some(_)) => return Err(BadAnswer("a length that is named twice")),
        };
        if let Some(length) = length {
            return Ok(Coding::Length(length));
        }
    }
    let named = headers.get_all(header::TRAILER).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    Ok(Coding::Chunked(named.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, BadAnswer> {
        read_head(&mut BytesMut::from(text), false)
    }

    fn framing(fields: &str) -> Option<Framing> {
        head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).ok().map(|head| head.unwrap().framing)
    }

    #[test]
    fn a_length_is_believed_only_if_it_can_be_read_in_one_way() {
        assert_eq!(framing("Content-Length: 7\r\n"), Some(Framing::Length(7)));
        assert_eq!(framing("Content-Length: 7\r\nContent-Length: 7\r\n"), Some(Framing::Length(7)));
        assert_eq!(framing("Content-Length: 7, 7\r\n"), Some(Framing::Length(7)));
        for wrong in ["7\r\nContent-Length: 8", "7, 8", "-7", "+7", "0x7", "", "7 7", "99999999999999999999999", "7,"] {
            assert_eq!(framing(&format!("Content-Length: {wrong}\r\n")), None, "{wrong}");
        }
        let twice = head("HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n\r\n").unwrap().unwrap();
        assert_eq!(twice.headers.get_all("content-length").iter().collect::<Vec<_>>(), ["7"]);
    }

    #[test]
    fn a_transfer_coding_decides_before_any_length() {
        assert_eq!(framing("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n"), Some(Framing::Chunked));
        assert_eq!(framing("Transfer-Encoding: gzip, Chunked\r\n"), Some(Framing::Chunked));
        assert_eq!(
            framing("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n"),
            Some(Framing::Chunked)
        );
        assert_eq!(framing("Transfer-Encoding: chunked, gzip\r\n"), Some(Framing::UntilClosed));
        assert_eq!(framing("Transfer-Encoding: xchunked\r\n"), Some(Framing::UntilClosed));
        assert!(head("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn answers_that_have_no_body_have_none_whatever_they_say() {
        for status in ["100 Continue", "101 Switching Protocols", "204 No Content", "304 Not Modified"] {
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n");
            assert_eq!(head(&text).unwrap().unwrap().framing, Framing::Nothing, "{status}");
        }
        let mut answer = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nbehind");
        let to_head = read_head(&mut answer, true).unwrap().unwrap();
        assert_eq!((to_head.framing, &answer[..]), (Framing::Nothing, &b"behind"[..]));
        assert_eq!(to_head.headers["content-length"], "7");
    }

    #[test]
    fn a_connection_is_kept_only_if_both_sides_know_where_the_answer_ends() {
        let is_kept = |text: &str| head(text).unwrap().unwrap().is_kept;
        assert!(is_kept("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert!(is_kept("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"));
        for closed in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(!is_kept(closed), "{closed}");
        }
    }

    #[test]
    fn a_head_in_pieces_is_read_when_it_is_whole() {
        let whole = "HTTP/1.1 299 Why not\r\nX-A:\t b \r\nX-A: c\r\nX-Empty:\r\n\r\n";
        for end in 0..whole.len() {
            assert!(head(&whole[..end]).unwrap().is_none(), "{end}");
        }
        let read = head(whole).unwrap().unwrap();
        assert_eq!((read.status.as_u16(), read.reason.as_deref()), (299, Some(&b"Why not"[..])));
        assert_eq!(read.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(read.headers["x-empty"], "");
    }

    #[test]
    fn heads_are_bounded() {
        let fields = |count: usize| (0..count).map(|nth| format!("X-{nth}: y\r\n")).collect::<String>();
        assert!(framing(&fields(1000)).is_some());
        assert!(framing(&fields(1001)).is_none());
        let long = |size: usize| format!("X: {}\r\n", "y".repeat(size));
        assert!(framing(&long(MOST_ANSWER_HEAD - 100)).is_some());
        assert!(framing(&long(MOST_ANSWER_HEAD)).is_none());
        assert!(head(&format!("HTTP/1.1 200 OK\r\n{}", long(MOST_ANSWER_HEAD))).is_err(), "not whole, and too long");
    }

    fn written(fields: &[(&str, &str)], size: Option<u64>) -> (String, Coding) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        let mut out = Vec::new();
        let coding = write_head(&Method::POST, &Uri::from_static("/a?b"), &headers, size, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), coding)
    }

    #[test]
    fn what_is_written_names_the_framing_that_is_used_and_no_other() {
        let (text, coding) = written(&[("host", "a"), ("content-length", "5")], None);
        assert_eq!(
            (&text[..], coding),
            ("POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n", Coding::Length(5))
        );
        let (text, coding) = written(&[("content-length", "5")], Some(0));
        assert_eq!((&text[..], coding), ("POST /a?b HTTP/1.1\r\ncontent-length: 0\r\n\r\n", Coding::Nothing));
        let (text, coding) = written(&[("transfer-encoding", "chunked"), ("content-length", "5")], Some(5));
        assert_eq!(
            (&text[..], coding),
            ("POST /a?b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", Coding::Chunked(vec![]))
        );
        let (text, coding) = written(&[("trailer", "x-a, X-B")], None);
        let named = ["x-a", "x-b"].map(HeaderName::from_static).to_vec();
        assert_eq!(
            (&text[..], coding),
            ("POST /a?b HTTP/1.1\r\ntrailer: x-a, X-B\r\ntransfer-encoding: chunked\r\n\r\n", Coding::Chunked(named))
        );
        let (text, coding) = written(&[], Some(3));
        assert_eq!((&text[..], coding), ("POST /a?b HTTP/1.1\r\ncontent-length: 3\r\n\r\n", Coding::Length(3)));
        let (text, coding) = written(&[("transfer-encoding", "chunked")], Some(0));
        assert_eq!((&text[..], coding), ("POST /a?b HTTP/1.1\r\n\r\n", Coding::Nothing));
    }
}
