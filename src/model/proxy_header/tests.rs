use super::*;

fn client(text: &str) -> Announced {
    Announced::Client(text.parse().unwrap())
}

/// Version 2 with a command and family, and so many bytes behind them.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    binary(command, family, addresses)
}

#[test]
fn what_headers_say() {
    let four = [10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80];
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x1f, 0x90, 0, 80]].concat();
    for (bytes, says) in [
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 8080 80\r\n".to_vec(), client("10.0.0.1:8080")),
        (b"PROXY TCP6 2001:db8::7 ::1 8080 443\r\n".to_vec(), client("[2001:db8::7]:8080")),
        (b"PROXY TCP6 ::ffff:10.0.0.1 ::1 0 443\r\n".to_vec(), client("[::ffff:10.0.0.1]:0")),
        (b"PROXY UNKNOWN\r\n".to_vec(), Announced::Nobody),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), Announced::Nobody),
        (v2(0x21, 0x11, &four), client("10.0.0.1:8080")),
        (v2(0x21, 0x21, &six), client("[2001:db8::7]:8080")),
        // Extensions behind the addresses.
        (v2(0x21, 0x11, &[&four[..], &[0x04, 0, 3, 1, 2, 3]].concat()), client("10.0.0.1:8080")),
        (v2(0x21, 0x00, &[]), Announced::Nobody),
        (v2(0x21, 0x31, &[0; 216]), Announced::Nobody),
        (v2(0x21, 0x12, &four), Announced::Nobody),
        (v2(0x20, 0x00, &[]), Announced::Itself),
        (v2(0x20, 0x11, &four), Announced::Itself),
    ] {
        let length = bytes.len();
        assert_eq!(read_proxy_header(&bytes), Ok(Some((says, length))), "{}", bytes.escape_ascii());
        // What follows belongs to the connection.
        let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read_proxy_header(&more), Ok(Some((says, length))));
        for end in 0..length {
            assert_eq!(read_proxy_header(&bytes[..end]), Ok(None), "{}", bytes[..end].escape_ascii());
        }
    }
}

#[test]
fn what_is_no_header() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let lines: [&[u8]; 17] = [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"PROXY\tTCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n",
        b"PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
        b"PROXY TCP4 ::1 10.0.0.2 1 2\r\n",
        b"PROXY TCP6 10.0.0.1 ::1 1 2\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 +1 2\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",
        b"PROXY TCP4 10.0.0.01 10.0.0.2 1 2\r\n",
        b"PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY \xff\r\n",
        long.as_bytes(),
    ];
    for bytes in lines {
        assert!(read_proxy_header(bytes).is_err(), "{}", bytes.escape_ascii());
    }
    for bytes in [
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        v2(0x21, 0x41, &[0; 12]),
        v2(0x21, 0x13, &[0; 12]),
        v2(0x21, 0x00, &[0; 5000]),
    ] {
        assert!(read_proxy_header(&bytes).is_err(), "{}", bytes[..16].escape_ascii());
    }
}

#[test]
fn what_is_written_is_read_again() {
    let to = ["10.0.0.9:443", "[::ffff:10.0.0.9]:443", "[fd00::9]:443"];
    let from = ["192.168.1.5:50000", "[2001:db8::5]:50000", "[::ffff:192.168.1.5]:0"];
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for to in to.map(|to| to.parse().unwrap()) {
            for from in from.map(|from| from.parse::<SocketAddr>().unwrap()) {
                let bytes = write_proxy_header(version, Some(from), to);
                let Ok(Some((Announced::Client(read), length))) = read_proxy_header(&bytes) else {
                    panic!("{bytes:?}")
                };
                assert_eq!((read.ip().to_canonical(), read.port()), (from.ip().to_canonical(), from.port()));
                assert_eq!(length, bytes.len());
            }
            let nobody = write_proxy_header(version, None, to);
            assert_eq!(read_proxy_header(&nobody), Ok(Some((Announced::Nobody, nobody.len()))));
        }
    }
    assert_eq!(
        write_proxy_header(ProxyVersion::V1, Some("1.2.3.4:5".parse().unwrap()), "6.7.8.9:10".parse().unwrap()),
        b"PROXY TCP4 1.2.3.4 6.7.8.9 5 10\r\n"
    );
    let own = write_own_proxy_header(ProxyVersion::V2);
    assert_eq!(read_proxy_header(&own), Ok(Some((Announced::Itself, 16))));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_and_none_wait_for_ever(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        for start in [&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11"] {
            let _ = read_proxy_header(&[start, &bytes].concat());
        }
        let endless = [&b"PROXY "[..], &[b'x'; MOST]].concat();
        proptest::prop_assert!(read_proxy_header(&endless).is_err());
    }
}
