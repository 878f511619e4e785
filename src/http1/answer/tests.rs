use http::header::HeaderName;
use proptest::prelude::*;

use super::*;

fn head(text: &str) -> Result<Option<AnswerHead>, BadMessage> {
    read_answer(&mut BytesMut::from(text), false, None)
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
    let to_head = read_answer(&mut answer, true, None).unwrap().unwrap();
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
fn what_an_answer_says_does_not_hold_the_buffer_that_it_was_read_into() {
    let mut read = BytesMut::with_capacity(128 * 1024);
    read.extend_from_slice(b"HTTP/1.1 299 Why not\r\nX-A: b\r\nX-C: d\r\n\r\nbody");
    let buffer = read.as_ptr() as usize..read.as_ptr() as usize + read.capacity();
    let head = read_answer(&mut read, false, None).unwrap().unwrap();
    let texts = head.headers.values().map(HeaderValue::as_bytes).chain(head.reason.as_deref());
    assert_eq!(texts.filter(|text| !buffer.contains(&(text.as_ptr() as usize))).count(), 3);
    assert_eq!(&read[..], b"body");
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

/// What a well-kept library makes of the same head: where it ends, and status, reason, minor version and fields.
fn as_the_library_reads(text: &[u8]) -> Result<Option<(usize, String)>, httparse::Error> {
    let mut places = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut places);
    let httparse::Status::Complete(length) = answer.parse(text)? else { return Ok(None) };
    let fields = answer.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec()));
    Ok(Some((length, format!("{:?} {:?}", answer.code, fields.collect::<Vec<_>>()))))
}

fn as_we_read(text: &[u8]) -> Result<Option<(usize, String)>, BadMessage> {
    let mut read = BytesMut::from(text);
    let Some(head) = read_answer(&mut read, true, None)? else { return Ok(None) };
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes().to_vec()));
    let status = Some(head.status.as_u16());
    Ok(Some((text.len() - read.len(), format!("{status:?} {:?}", fields.collect::<Vec<_>>()))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Faults of a head that is not whole may be noticed later here: that is the only difference.
    #[test]
    fn heads_are_read_as_others_read_them(
        start in "(\r?\n)?HTTP/1[.][01] [1-9][0-9][0-9]?[0-9]( [ -~\t\x00\x7f]{0,3})?\r?\n",
        lines in proptest::collection::vec("[a-c!:(){}\"\\ \t]{0,2}[A-Ca-c][: \t]{0,2}[ -~\t\r\x00\x7f\u{80}]{0,4}\r?\n", 0..5),
        names in proptest::sample::subsequence(vec!["server", "date", "etag", "vary", "age"], 5).prop_shuffle(),
        behind in "(\r?\n[ -~]{0,3})?",
    ) {
        // Different names: a map gives fields of the same name together.
        let lines = lines.iter().zip(&names).map(|(line, name)| format!("{name}{line}")).collect::<String>();
        let text = format!("{start}{lines}{behind}");
        let (theirs, ours) = (as_the_library_reads(text.as_bytes()), as_we_read(text.as_bytes()));
        match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) => prop_assert_eq!(theirs, ours, "{:?}", text),
            (Err(_), Err(_)) => {}
            (Err(_), Ok(None)) => {}
            other => prop_assert!(false, "{:?} {:?}", text, other),
        }
    }
}

/// What is known of a head, and its fields.
type Read = Option<(String, Vec<(String, Vec<u8>)>)>;

/// The same head as it is taken apart, and as it goes on as it came.
fn in_both_ways(text: &[u8], is_head: bool) -> [Result<Read, BadMessage>; 2] {
    [None, Some((|_| true) as MayPass)].map(|may_pass| {
        let mut read = BytesMut::from(text);
        let Some(head) = read_answer(&mut read, is_head, may_pass)? else { return Ok(None) };
        let AnswerHead { status, reason, headers, verbatim, framing, is_kept } = head;
        let known = format!("{status} {reason:?} {framing:?} {is_kept} {:?}", read.len());
        let field = |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
        let mut fields: Vec<_> = headers.iter().map(field).collect();
        if let Some(Verbatim { text, has_length, has_date }) = verbatim {
            assert!(fields.is_empty());
            let text = [&text[..], b"\r\n"].concat();
            let mut places = [httparse::EMPTY_HEADER; 64];
            let (length, theirs) = httparse::parse_headers(&text, &mut places).unwrap().unwrap();
            assert_eq!(length, text.len());
            fields = theirs.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
            assert_eq!(has_length, fields.iter().any(|(name, _)| name == "content-length"));
            assert_eq!(has_date, fields.iter().any(|(name, _)| name == "date"));
        }
        // Whoever writes the answer says how it is framed.
        fields.retain(|(name, _)| name != "transfer-encoding");
        fields.sort();
        Ok(Some((known, fields)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_goes_on_as_it_came_is_what_it_would_be_taken_apart(
        start in "HTTP/1[.][01] (200|304|404|204|299)( [ -~\t\x00]{0,3})?\r\n",
        lines in proptest::collection::vec(
            proptest::sample::select(vec![
                "Server: a\r\n", "X-A:b\r\n", "x-a: \t c \t\r\n", "X-Empty:\r\n", "Date: now\r\n", "ETag: \"\u{e9}\"\r\n",
                "Content-Length: 5\r\n", "content-length: x\r\n", "Content-Length: 5, 5\r\n", "Connection: keep-alive\r\n",
                "Connection: close\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n", "Trailer: x\r\n",
                "Bare: lf\n", "Bad : name\r\n", " folded\r\n", ": none\r\n", "no colon\r\n", "Re: t\rurn\r\n", "Nul: \0\r\n",
                "Del: \x7f\r\n", "Tab: \t\t\r\n", "Two: a\r\r\n",
            ]),
            0..6,
        ),
        end in "\r?\n[ -~]{0,3}",
        is_head: bool,
    ) {
        let text = format!("{start}{}{end}", lines.concat());
        let [apart, as_it_came] = in_both_ways(text.as_bytes(), is_head);
        prop_assert_eq!(apart, as_it_came, "{:?}", text);
    }
}

#[test]
fn an_ordinary_answer_goes_on_as_it_came_but_for_what_concerns_its_connection() {
    let text = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: now\r\nContent-Length: 5\r\nConnection: keep-alive\r\nETag: \"x\"\r\n\r\n";
    let read = |text: &str, may_pass| read_answer(&mut BytesMut::from(text), false, Some(may_pass)).unwrap().unwrap();
    let head = read(text, |_| true);
    let expected = "Server: nginx\r\nDate: now\r\nContent-Length: 5\r\nETag: \"x\"\r\n";
    let verbatim = Verbatim { text: expected.into(), has_length: true, has_date: true };
    assert_eq!((head.verbatim, head.framing, head.is_kept), (Some(verbatim), Framing::Length(5), true));
    let head = read(&text.replace("Content-Length: 5", "Transfer-Encoding: chunked"), |_| true);
    let verbatim =
        Verbatim { text: "Server: nginx\r\nDate: now\r\nETag: \"x\"\r\n".into(), has_length: false, has_date: true };
    assert_eq!((head.verbatim, head.framing, head.is_kept), (Some(verbatim), Framing::Chunked, true));
    let head = read(text, |name| name != b"ETag");
    assert!(head.verbatim.is_none() && head.headers.len() == 4, "who has to be seen is");
}
