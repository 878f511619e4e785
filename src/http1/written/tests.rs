use super::*;

fn written(fields: &[(&str, &str)], size: Option<u64>) -> (String, Coding) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    let (out, coding) = write_request(&Method::POST, &Uri::from_static("/a?b"), &headers, b"", size).unwrap();
    (String::from_utf8(out).unwrap(), coding)
}

#[test]
fn what_is_written_names_the_framing_that_is_used_and_no_other() {
    let (text, coding) = written(&[("host", "a"), ("content-length", "5")], None);
    assert_eq!((&text[..], coding), ("POST /a?b HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n", Coding::Length(5)));
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

/// How an answer is written to a client that asked with GET over HTTP/1.1 and stays.
const USUAL: ToClient = ToClient { is_http10: false, is_head: false, takes_trailers: false, is_kept: true };

fn answered(status: u16, fields: &[(&str, &str)], size: Option<u64>, to: ToClient) -> (String, Coding, bool) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    headers.append("date", HeaderValue::from_static("now"));
    let status = StatusCode::from_u16(status).unwrap();
    let (out, coding, is_kept) = write_answer(status, None, None, &headers, size, to).unwrap();
    (String::from_utf8(out).unwrap().replace("date: now\r\n", ""), coding, is_kept)
}

#[test]
fn an_answer_names_where_it_ends() {
    let chunked = Coding::Chunked(vec![]);
    for (status, fields, size, expected, coding) in [
        (200, &[("content-length", "5")][..], None, "200 OK\r\ncontent-length: 5\r\n", Coding::Length(5)),
        (200, &[], Some(5), "200 OK\r\ncontent-length: 5\r\n", Coding::Length(5)),
        (200, &[], None, "200 OK\r\ntransfer-encoding: chunked\r\n", chunked.clone()),
        (404, &[("content-length", "5")], Some(0), "404 Not Found\r\ncontent-length: 0\r\n", Coding::Nothing),
        (204, &[("content-length", "5")], None, "204 No Content\r\n", Coding::Nothing),
        (304, &[("content-length", "5")], Some(0), "304 Not Modified\r\ncontent-length: 5\r\n", Coding::Nothing),
        (304, &[], Some(0), "304 Not Modified\r\n", Coding::Nothing),
        (299, &[("trailer", "x-a")], None, "299 <none>\r\ntrailer: x-a\r\ntransfer-encoding: chunked\r\n", chunked),
    ] {
        let expected = (format!("HTTP/1.1 {expected}\r\n"), coding, true);
        assert_eq!(answered(status, fields, size, USUAL), expected, "{status} {fields:?} {size:?}");
    }
    let to_head = ToClient { is_head: true, ..USUAL };
    let (text, coding, _) = answered(200, &[("content-length", "5")], None, to_head);
    assert_eq!((&text[..], coding), ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", Coding::Nothing));
    let (text, coding, _) = answered(200, &[], None, to_head);
    assert_eq!((&text[..], coding), ("HTTP/1.1 200 OK\r\n\r\n", Coding::Nothing));
    let takes = ToClient { takes_trailers: true, ..USUAL };
    let (_, coding, _) = answered(200, &[("trailer", "x-a")], None, takes);
    assert_eq!(coding, Coding::Chunked(vec![HeaderName::from_static("x-a")]));
}

#[test]
fn a_client_is_told_whether_its_connection_goes_on() {
    let length = ("content-length", "5");
    let last = |to: ToClient, fields: &[(&str, &str)]| {
        let (text, coding, is_kept) = answered(200, fields, None, to);
        let connection =
            text.lines().filter_map(|line| line.strip_prefix("connection: ")).collect::<Vec<_>>().join("+");
        (connection, coding == Coding::UntilClosed, is_kept)
    };
    let is = |connection: &str, is_until_closed, is_kept| (connection.to_owned(), is_until_closed, is_kept);
    assert_eq!(last(USUAL, &[length]), is("", false, true));
    assert_eq!(last(ToClient { is_kept: false, ..USUAL }, &[length]), is("close", false, false));
    assert_eq!(last(USUAL, &[length, ("connection", "close")]), is("close", false, false));
    let old = ToClient { is_http10: true, ..USUAL };
    assert_eq!(last(old, &[length]), is("keep-alive", false, true));
    assert_eq!(last(ToClient { is_kept: false, ..old }, &[length]), is("", false, false));
    assert_eq!(last(old, &[]), is("", true, false), "no chunks for HTTP/1.0");
    let (text, _, is_kept) = answered(101, &[("connection", "upgrade"), ("upgrade", "websocket")], Some(0), USUAL);
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!((&text[..], is_kept), (switch, false));
}

#[test]
fn an_answer_says_when_it_was_made() {
    let written = write_answer(StatusCode::OK, Some(b"Fine"), None, &HeaderMap::new(), Some(0), USUAL);
    let (out, ..) = written.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 Fine\r\ncontent-length: 0\r\ndate: "), "{text}");
    let date = text.lines().find_map(|line| line.strip_prefix("date: ")).unwrap();
    let age = SystemTime::now().duration_since(httpdate::parse_http_date(date).unwrap()).unwrap();
    assert!(age.as_secs() < 60, "{date}");
}

#[test]
fn fields_that_go_on_as_they_came_stand_before_the_others_and_are_not_said_twice() {
    let written = |text: &str, size: Option<u64>, to: ToClient| {
        let has_length = text.contains("Length");
        let verbatim = Verbatim { text: text.into(), has_length, has_date: true };
        let mut headers = HeaderMap::new();
        headers.insert("x-ours", HeaderValue::from_static("1"));
        let (out, ..) = write_answer(StatusCode::OK, None, Some(&verbatim), &headers, size, to).unwrap();
        String::from_utf8(out).unwrap().replace("HTTP/1.1 200 OK\r\nDate: now\r\n", "").replace("\r\n", ";")
    };
    assert_eq!(written("Date: now\r\nContent-Length: 5\r\n", Some(5), USUAL), "Content-Length: 5;x-ours: 1;;");
    assert_eq!(written("Date: now\r\nContent-Length: 0\r\n", Some(0), USUAL), "Content-Length: 0;x-ours: 1;;");
    assert_eq!(written("Date: now\r\n", None, USUAL), "x-ours: 1;transfer-encoding: chunked;;");
    assert_eq!(written("Date: now\r\n", Some(0), USUAL), "x-ours: 1;content-length: 0;;");
    let to_head = ToClient { is_head: true, ..USUAL };
    assert_eq!(written("Date: now\r\nContent-Length: 5\r\n", Some(0), to_head), "Content-Length: 5;x-ours: 1;;");
    let last = ToClient { is_kept: false, ..USUAL };
    let said = written("Date: now\r\nContent-Length: 5\r\n", Some(5), last);
    assert_eq!(said, "Content-Length: 5;x-ours: 1;connection: close;;");
}
