use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { bytes: 8 * 1024, fields: 32 };

fn head(text: &str) -> Result<Option<RequestHead>, BadRequest> {
    read_request(&mut BytesMut::from(text), BOUNDS)
}

/// What follows a request with these fields, and whether another one may follow.
fn framing(fields: &str) -> (Framing, bool) {
    let head = head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).unwrap().unwrap();
    (head.framing, head.is_kept)
}

#[test]
fn a_body_ends_where_every_reader_says_that_it_does() {
    assert_eq!(framing(""), (Framing::Nothing, true));
    assert_eq!(framing("Content-Length: 0\r\n"), (Framing::Nothing, true));
    assert_eq!(framing("Content-Length:\t 7 \r\n"), (Framing::Length(7), true));
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), (Framing::Chunked, true));
    for unclear in [
        "Content-Length: 7\r\nContent-Length: 7\r\n",
        "Content-Length: 7, 7\r\n",
        "Content-Length: +7\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \r\n",
    ] {
        assert_eq!(framing(unclear), (Framing::Nothing, false), "{unclear}");
    }
    let old = head("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n").unwrap().unwrap();
    assert_eq!((old.framing, old.is_kept), (Framing::Nothing, false));
}

#[test]
fn a_connection_goes_on_unless_a_client_says_no() {
    let is_kept = |text: &str| head(text).unwrap().unwrap().is_kept;
    assert!(is_kept("GET / HTTP/1.1\r\n\r\n"));
    assert!(is_kept("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
    assert!(!is_kept("GET / HTTP/1.0\r\n\r\n"));
    assert!(!is_kept("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n"));
    assert!(!is_kept("GET / HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"));
}

#[test]
fn a_head_in_pieces_is_read_when_it_is_whole() {
    let whole = "\r\nREPORT /a?b%20c HTTP/1.1\r\nHost: a\r\nX-A:\t b \r\nX-A: c\r\nX-Empty:\r\n\r\n";
    for end in 0..whole.len() {
        assert!(head(&whole[..end]).unwrap().is_none(), "{end}");
    }
    let mut read = BytesMut::from(whole);
    read.extend_from_slice(b"behind");
    let request = read_request(&mut read, BOUNDS).unwrap().unwrap();
    assert_eq!((request.method.as_str(), request.uri.to_string()), ("REPORT", "/a?b%20c".to_owned()));
    assert_eq!(request.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!((request.headers["x-empty"].len(), &read[..]), (0, &b"behind"[..]));
}

#[test]
fn empty_lines_before_a_request_are_forgotten_as_they_come() {
    let mut read = BytesMut::from("\r\n\n\r\n\r");
    assert!(read_request(&mut read, BOUNDS).unwrap().is_none());
    assert_eq!(&read[..], b"\r");
    read.extend_from_slice(b"\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(read_request(&mut read, BOUNDS).unwrap().is_some() && read.is_empty());
}

#[test]
fn what_is_no_request_is_known_early() {
    for text in [
        "\x16\x03\x01\x02\0\x01",
        "GET\0",
        " GET / HTTP/1.1",
        "this is no HTTP at all\r\n",
        "GET /\r\n",
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / http/1.1\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET /a b HTTP/1.1\r\n",
        "GET /\t HTTP/1.1\r\n",
        "GET / HTTP/1.1 \r\n",
        "GET /\x7f HTTP/1.1\r\n",
        "GET\t/ HTTP/1.1\r\n",
        " / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost a\r\n",
        "GET / HTTP/1.1\r\n folded\r\n",
    ] {
        assert!(matches!(head(text), Err(BadRequest::Bad(_))), "{text:?}");
    }
    // Also behind what nobody reads of a target.
    let latin = b"GET /#\xff HTTP/1.1\r\n\r\n";
    assert!(read_request(&mut BytesMut::from(&latin[..]), BOUNDS).is_err());
    for text in ["G:T / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n"] {
        assert!(matches!(head(text), Err(BadRequest::Bad(_))), "{text:?}");
    }
}

#[test]
fn heads_are_bounded_and_what_is_too_long_is_named() {
    let (long, longer) = ("a".repeat(7000), "a".repeat(9000));
    assert!(head(&format!("GET /{long} HTTP/1.1\r\n\r\n")).unwrap().is_some());
    for end in ["", " HTTP/1.1\r\n", " HTTP/1.1\r\n\r\n", " HTTP/1.1\r\nHost: a\r\n\r\n"] {
        assert_eq!(head(&format!("GET /{longer}{end}")).unwrap_err(), BadRequest::TargetTooLong, "{end}");
    }
    for end in ["", "\r\n", "\r\n\r\n"] {
        let text = format!("GET / HTTP/1.1\r\nX: {longer}{end}");
        assert_eq!(head(&text).unwrap_err(), BadRequest::HeadTooLong, "{end}");
    }
    let fields = |count: usize| (0..count).map(|nth| format!("X-{nth}: y\r\n")).collect::<String>();
    assert!(head(&format!("GET / HTTP/1.1\r\n{}\r\n", fields(32))).unwrap().is_some());
    assert_eq!(head(&format!("GET / HTTP/1.1\r\n{}", fields(33))).unwrap_err(), BadRequest::TooManyFields);
    let wide = Bounds { bytes: 1 << 20, fields: 32 };
    let target = "a".repeat(LONGEST_TARGET);
    let mut read = BytesMut::from(&*format!("GET /{target} HTTP/1.1\r\n\r\n"));
    assert_eq!(read_request(&mut read, wide).unwrap_err(), BadRequest::TargetTooLong);
}

#[test]
fn what_a_request_says_does_not_hold_the_buffer_that_it_was_read_into() {
    let mut read = BytesMut::with_capacity(64 * 1024);
    read.extend_from_slice(b"GET /long HTTP/1.1\r\nX-A: b\r\n\r\nbody");
    let buffer = read.as_ptr() as usize..read.as_ptr() as usize + read.capacity();
    let request = read_request(&mut read, BOUNDS).unwrap().unwrap();
    let texts = [request.headers["x-a"].as_bytes(), request.uri.path().as_bytes()];
    assert!(texts.iter().all(|text| !buffer.contains(&(text.as_ptr() as usize))));
    assert_eq!(&read[..], b"body");
}

/// What a well-kept library makes of the same head: where it ends, its first line and its fields.
fn as_the_library_reads(text: &[u8]) -> Result<Option<(usize, String)>, httparse::Error> {
    let mut places = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut places);
    let httparse::Status::Complete(length) = request.parse(text)? else { return Ok(None) };
    let fields = request.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    Ok(Some((length, format!("{method} {target} {:?} {:?}", request.version, fields.collect::<Vec<_>>()))))
}

fn as_we_read(text: &[u8]) -> Result<Option<(usize, String)>, BadRequest> {
    let mut read = BytesMut::from(text);
    let Some(head) = read_request(&mut read, BOUNDS)? else { return Ok(None) };
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes().to_vec()));
    let minor = Some(u8::from(head.version == Version::HTTP_11));
    let what = format!("{} {} {minor:?} {:?}", head.method, head.uri, fields.collect::<Vec<_>>());
    Ok(Some((text.len() - read.len(), what)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Faults of a head that is not whole may be noticed sooner or later here, and targets are judged more strictly: these are
    /// the only differences.
    #[test]
    fn request_heads_are_read_as_others_read_them(
        start in "(\r?\n)?[A-Z(:\x00]{1,4} {1,2}/[ -~\t\x00\x7f]{0,3} HTTP/1[.][012] ?\r?\n",
        lines in proptest::collection::vec("[a-c!:(){}\"\\ \t]{0,2}[A-Ca-c][: \t]{0,2}[ -~\t\r\x00\x7f\u{80}]{0,4}\r?\n", 0..5),
        names in proptest::sample::subsequence(vec!["host", "date", "etag", "vary", "age"], 5).prop_shuffle(),
        behind in "(\r?\n[ -~]{0,3})?",
    ) {
        // Different names: a map gives fields of the same name together.
        let lines = lines.iter().zip(&names).map(|(line, name)| format!("{name}{line}")).collect::<String>();
        let text = format!("{start}{lines}{behind}");
        let (theirs, ours) = (as_the_library_reads(text.as_bytes()), as_we_read(text.as_bytes()));
        match (&theirs, &ours) {
            (Ok(Some(theirs)), Ok(Some(ours))) => prop_assert!(theirs == ours || text.contains('#'), "{text:?} {theirs:?} {ours:?}"),
            (Ok(None), Ok(None)) | (Err(_), Err(_) | Ok(None)) | (Ok(_), Err(_)) => {}
            other => prop_assert!(false, "{text:?} {other:?}"),
        }
        if let (Ok(Some(_)), Err(refused)) = (&theirs, &ours) {
            let is_of_target = start.contains(['#', '<', '>', '"', '`', '^', '\\', '|', '{', '}', '[', ']', '(', ':']);
            prop_assert!(is_of_target, "{text:?} {refused:?}");
        }
    }
}
