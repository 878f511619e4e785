use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const ID: &str = "mzxw6ytbojrgc6tr";

fn record(method: &http::Method) -> AccessRecord<'_> {
    AccessRecord {
        id: ID.parse().unwrap(),
        client: Client::at(Ipv4Addr::new(192, 0, 2, 7).into()),
        peer: Ipv4Addr::new(192, 0, 2, 7).into(),
        door: "local",
        route: Some("shop"),
        method,
        host: "shop.example.com",
        path: "/cart",
        query: None,
        version: http::Version::HTTP_2,
        tls: true,
        status: 200,
        refusal: None,
        detail: None,
        bytes_in: 0,
        bytes_out: 1234,
        took: Duration::from_micros(12_345),
        upstream: Some("shop"),
        upstream_address: Some("10.0.0.5:80"),
        first_byte: Some(Duration::from_millis(9)),
        user_agent: Some(b"curl/8.0"),
        upgraded: false,
        aborted: false,
    }
}

fn at(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms)
}

fn json(record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    push_json(&mut out, &mut Clock::default(), at(1_783_166_400_123), record);
    String::from_utf8(out).unwrap()
}

fn text(record: &AccessRecord<'_>) -> String {
    let mut out = Vec::new();
    push_text(&mut out, &mut Clock::default(), at(1_783_166_400_123), record);
    String::from_utf8(out).unwrap()
}

/// What a reader of text lines sees: words, where quotes hold one together.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in line.trim_end_matches('\n').chars() {
        match letter {
            ' ' if !quoted => words.push(String::new()),
            other => {
                words.last_mut().unwrap().push(other);
                if other == '"' && !escaped {
                    quoted = !quoted;
                }
                escaped = other == '\\' && !escaped;
            }
        }
    }
    assert!(!quoted, "a quote stays open in {line:?}");
    words
}

#[test]
fn a_plain_request_reads_well_in_both_formats() {
    assert_eq!(
        text(&record(&http::Method::GET)),
        "2026-07-04T12:00:00.123Z 200 GET https://shop.example.com/cart HTTP/2 client=192.0.2.7 door=local route=shop \
         bytes_in=0 bytes_out=1234 seconds=0.012345 upstream=shop upstream_address=10.0.0.5:80 \
         upstream_seconds=0.009000 user_agent=curl/8.0 id=mzxw6ytbojrgc6tr\n"
    );
    assert_eq!(
        json(&record(&http::Method::GET)),
        concat!(
            r#"{"time":"2026-07-04T12:00:00.123Z","id":"mzxw6ytbojrgc6tr","client":"192.0.2.7","peer":"192.0.2.7","door":"local","#,
            r#""route":"shop","method":"GET","host":"shop.example.com","path":"/cart","version":"HTTP/2","tls":true,"#,
            r#""status":200,"bytes_in":0,"bytes_out":1234,"seconds":0.012345,"upstream":"shop","upstream_address":"10.0.0.5:80","#,
            r#""upstream_seconds":0.009000,"user_agent":"curl/8.0"}"#,
            "\n"
        )
    );
}

#[test]
fn a_refusal_names_its_cause_and_what_is_absent_is_left_out() {
    let refused = AccessRecord {
        client: Client::Unknown,
        route: None,
        status: 403,
        refusal: Some(Refusal::AccessDenied),
        detail: Some("allow of door \"local\""),
        query: Some("a=1"),
        upstream: None,
        upstream_address: None,
        first_byte: None,
        user_agent: None,
        version: http::Version::HTTP_11,
        tls: false,
        upgraded: true,
        aborted: true,
        ..record(&http::Method::POST)
    };
    assert_eq!(
        text(&refused),
        "2026-07-04T12:00:00.123Z 403 POST http://shop.example.com/cart?a=1 HTTP/1.1 client=unknown peer=192.0.2.7 \
         door=local cause=access-denied detail=\"allow of door \\\"local\\\"\" bytes_in=0 bytes_out=1234 seconds=0.012345 \
         upgraded aborted id=mzxw6ytbojrgc6tr\n"
    );
    let read: serde_json::Value = serde_json::from_str(&json(&refused)).unwrap();
    let names: Vec<&str> = read.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "time",
        "id",
        "client",
        "peer",
        "door",
        "method",
        "host",
        "path",
        "query",
        "version",
        "tls",
        "status",
        "cause",
        "detail",
        "bytes_in",
        "bytes_out",
        "seconds",
        "upgraded",
        "aborted",
    ];
    expected.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(read["client"], "unknown");
}

#[test]
fn the_clock_follows_the_second_and_knows_leap_days_and_its_ends() {
    let mut clock = Clock::default();
    for (unix_ms, written) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
        (1_709_164_800_001, "2024-02-29T00:00:00.001Z"),
        (1_709_164_800_999, "2024-02-29T00:00:00.999Z"),
        (999_999_999_999_042, "9999-12-31T23:59:59.042Z"),
    ] {
        let mut out = Vec::new();
        clock.push(&mut out, at(unix_ms));
        assert_eq!(String::from_utf8(out).unwrap(), written);
    }
    let mut out = Vec::new();
    clock.push(&mut out, UNIX_EPOCH - Duration::from_secs(5));
    assert_eq!(out, b"1970-01-01T00:00:00.000Z");
}

#[test]
fn numbers_are_written_in_full() {
    for value in [0, 7, 10, 99, 100, 255, 999, 1000, 4096, 9999, 10_000, 99_999, 1_000_000, u64::MAX] {
        let mut out = Vec::new();
        push_number(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
    for text in ["0.0.0.0", "192.168.8.20", "255.255.255.255", "::1", "2001:db8::7"] {
        let mut out = Vec::new();
        push_address(&mut out, text.parse().unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn the_longest_record_is_bounded() {
    let long = "\u{1}".repeat(1 << 20);
    let method = http::Method::from_bytes("M".repeat(1 << 20).as_bytes()).unwrap();
    let hostile = AccessRecord {
        door: &long,
        route: Some(&long),
        host: &long,
        path: &long,
        query: Some(&long),
        detail: Some(&long),
        upstream: Some(&long),
        user_agent: Some(long.as_bytes()),
        ..record(&method)
    };
    assert!(json(&hostile).len() < 64 * 1024);
    assert!(text(&hostile).len() < 64 * 1024);
    assert!(json(&hostile).contains(r#"\u0001...""#));
}

proptest! {
    #[test]
    fn hostile_strings_stay_inside_their_fields(
        host in any::<String>(),
        path in any::<String>(),
        query in proptest::option::of(any::<String>()),
        detail in proptest::option::of(any::<String>()),
        user_agent in any::<Vec<u8>>(),
    ) {
        let hostile = AccessRecord {
            host: &host,
            path: &path,
            query: query.as_deref(),
            detail: detail.as_deref(),
            user_agent: Some(&user_agent),
            ..record(&http::Method::GET)
        };
        let line = json(&hostile);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: serde_json::Value = serde_json::from_str(&line)?;
        prop_assert_eq!(read["host"].as_str(), Some(&*host));
        prop_assert_eq!(read["path"].as_str(), Some(&*path));
        prop_assert_eq!(read["query"].as_str(), query.as_deref());
        prop_assert_eq!(read["detail"].as_str(), detail.as_deref());
        prop_assert_eq!(read["user_agent"].as_str(), Some(&*String::from_utf8_lossy(&user_agent)));
        prop_assert_eq!(read["id"].as_str(), Some(ID));

        let line = text(&hostile);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert!(line.trim_end_matches('\n').bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let words = words(&line);
        prop_assert_eq!(words.len(), 16 + usize::from(detail.is_some()), "{:?}", words);
        prop_assert_eq!(&words[5], "client=192.0.2.7");
        prop_assert_eq!(words.last().unwrap(), &format!("id={ID}"));
        for name in ["door=", "route=", "bytes_in=", "user_agent=", "id="] {
            prop_assert_eq!(words.iter().filter(|word| word.starts_with(name)).count(), 1);
        }
    }
}
