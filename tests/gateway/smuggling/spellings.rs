//! The cases. A byte above 127 stands for itself (Latin-1), `{GOOD}` for a Host that is right.

/// What must come of a case, besides that nothing unclean goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// Nothing whole reaches the upstream, and the client is told.
    Refused,
    /// Refused, or sent on in a form that can be read in one way only.
    Clean,
}

/// One case.
pub struct Case {
    /// The part that is odd.
    pub name: String,
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Beyond being clean.
    pub expect: Expect,
    /// How many requests it is at most.
    pub most: usize,
    /// Whether one of them asks for `/smuggled` in plain sight.
    pub may_ask_for_it: bool,
}

use Expect::{Clean, Refused};

const HOST: &str = "Host: shop.home.test\r\n";

fn case(name: &str, text: &str, expect: Expect) -> Case {
    let text = text.replace("{GOOD}", HOST);
    let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    Case { name: format!("{name:?}"), bytes, expect, most: 1, may_ask_for_it: false }
}

fn of(expect: Expect, odd: &[&str], form: impl Fn(&str) -> String) -> Vec<Case> {
    odd.iter().map(|odd| case(odd, &form(odd), expect)).collect()
}

/// Control characters that end no line and separate nothing.
fn controls() -> impl Iterator<Item = char> {
    (0..32_u8).chain([127]).filter(|b| !b"\t\n\r".contains(b)).map(char::from)
}

pub fn request_lines() -> Vec<Case> {
    let refused = [
        "GET\t/t HTTP/1.1", "GET /t\tHTTP/1.1", "GET /t\u{c}HTTP/1.1", "\tGET /t HTTP/1.1", " GET /t HTTP/1.1",
        "GET /t HTTP/2.0", "GET /t HTTP/1.10", "GET /t HTTP/1.1;", "GET /t HTTP/1 .1", "GET /t HTTP/+1.1",
        "GET /t HTTP/1.1 x", "GET /t Http/1.1", "GET /t HTTP/1.\u{b2}", "GET\0 /t HTTP/1.1", "G@T /t HTTP/1.1",
        "G:T /t HTTP/1.1", "(GET) /t HTTP/1.1", "GET; /t HTTP/1.1", "/t HTTP/1.1", "GET", " HTTP/1.1",
        "PRI * HTTP/2.0", "GET /t HTTP/0.0", "GET /t HTTP/2", "GET /t HTTP/1.a", "GET * HTTP/1.1", "POST * HTTP/1.1",
        "OPTIONS *x HTTP/1.1", "OPTIONS *?x HTTP/1.1", "GET t HTTP/1.1", "GET ?x HTTP/1.1", "GET ../t HTTP/1.1",
        "GET http:///t HTTP/1.1", "GET http:/t HTTP/1.1", "GET http:t HTTP/1.1", "GET javascript:x HTTP/1.1",
        "GET shop.home.test HTTP/1.1", "GET shop.home.test:80 HTTP/1.1", "GET ://shop.home.test/ HTTP/1.1",
        "CONNECT shop.home.test:80 HTTP/1.1", "CONNECT http://shop.home.test/ HTTP/1.1", "CONNECT * HTTP/1.1",
        "CONNECT / HTTP/1.1", "CONNECT [::1]:80 HTTP/1.0", "TRACE /t HTTP/1.1", "GET http://other.test/t HTTP/1.1",
        "GET http://shop.home.test,x/t HTTP/1.1",
    ];
    let clean = [
        "GET /t?a#b HTTP/1.1", "GET /#/../t HTTP/1.1", "GET /%zz HTTP/1.1", "GET /t\\x HTTP/1.1",
        "GET /<>\"{}|^` HTTP/1.1", "GET /\u{e9} HTTP/1.1", "get /t HTTP/1.1", "GET //@evil.test HTTP/1.1",
        "GET /..;/t HTTP/1.1", "!#$%&'*+-.^_`|~ /t HTTP/1.1", "GET http://shop.home.test HTTP/1.1",
        "GET http://shop.home.test?x HTTP/1.1", "GET http://shop.home.test#f HTTP/1.1",
        "GET http://shop.home.test/#f HTTP/1.1", "GET HTTP://SHOP.home.test/ HTTP/1.1",
        "GET http://shop.home.test:80/t HTTP/1.1", "GET http://u:p@shop.home.test/t HTTP/1.1",
        "GET file:///etc/x HTTP/1.1", "OPTIONS * HTTP/1.1", "OPTIONS http://shop.home.test HTTP/1.1",
        "GET  /t HTTP/1.1", "GET /t  HTTP/1.1", "GET /t HTTP/1.1 ", "GET /t HTTP/1.2", "GET /t HTTP/1.0",
        "connect shop.home.test:80 HTTP/1.1",
    ];
    let form = |line: &str| format!("{line}\r\n{HOST}\r\n");
    let mut all = of(Refused, &refused, form);
    all.extend(of(Clean, &clean, form));
    all.extend(
        controls().map(|c| case("control in the target", &format!("GET /t{c} HTTP/1.1\r\n{HOST}\r\n"), Refused)),
    );
    all.push(case("an end that is a bare CR", "GET /t HTTP/1.1\r{GOOD}\r\n", Refused));
    all.push(case("ends that are bare LF", "GET /t HTTP/1.1\nHost: shop.home.test\n\n", Clean));
    all
}

pub fn hosts() -> Vec<Case> {
    let refused = [
        "shop.home.test;", "shop.home.test|", "shop..test", ".shop.test", "shop test", "shop.test:80x",
        "shop.test: 80", "shop.test:+80", "shop.test:0x50", "[::1]x", "[::1]:x", "[::g]", "[127.0.0.1]", "::1:80",
        "shop.test%0d%0a", "http://shop.test", "shop.test#", "'shop.test'", "\"shop.test\"", "shop.test,",
        "shop.test,evil.test", "{shop}", "shop`", "a@b", "*", "*.test", "shop.test\u{e9}", "shop.test:\u{b2}",
        "shop.test/", "//shop.test", "[", "]", "[]", "@", ":", "..", "shop.test\\x", "shop.test?q", "<shop>",
        "shop.test:80:80", ":80", "shop.test(x)", "u:p@shop.test",
    ];
    let clean = [
        "SHOP.HOME.TEST", "shop.home.test.", "shop.home.test:", "shop.home.test:65535", "[::1]:80", "127.0.0.1", "",
        "shop.home.test:99999", "a_b.home.test",
    ];
    let form = |host: &str| format!("GET /t HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut all = of(Refused, &refused, form);
    all.extend(of(Clean, &clean, form));
    all.extend(controls().map(|c| case("control in Host", &form(&format!("shop{c}.test")), Refused)));
    let whole = [
        "GET /t HTTP/1.1\r\n\r\n", "GET /t HTTP/1.1\r\n{GOOD}{GOOD}\r\n",
        "GET /t HTTP/1.1\r\n{GOOD}hOST: evil.test\r\n\r\n", "GET /t HTTP/1.1\r\n{GOOD}Host:\r\n\r\n",
        "GET /t HTTP/1.1\r\nHost : shop.home.test\r\n\r\n", "GET /t HTTP/1.0\r\n{GOOD}Host: evil.test\r\n\r\n",
        "GET /t HTTP/1.0\r\nHost: a b\r\n\r\n", "GET http://shop.home.test/t HTTP/1.1\r\n\r\n",
        "GET http://shop.home.test/t HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    ];
    all.extend(of(Refused, &whole, str::to_owned));
    all.push(case("folded", "GET /t HTTP/1.1\r\nHost:\r\n shop.home.test\r\n\r\n", Clean));
    all.push(case("no Host in 1.0", "GET /t HTTP/1.0\r\n\r\n", Clean));
    all
}

pub fn fields() -> Vec<Case> {
    let names = [
        "", "X A", "X\tA", "X-A ", "X-A\t", "X@A", "X,A", "X;A", "X=A", "X?A", "X\\A", "X]A", "X}A", "X)A", "X<A",
        "\"X\"", "X\u{e9}", "X\u{a0}A",
    ];
    let mut all = of(Refused, &names, |name| format!("GET /t HTTP/1.1\r\n{HOST}{name}: 1\r\n\r\n"));
    for c in controls() {
        all.push(case("control in a name", &format!("GET /t HTTP/1.1\r\n{HOST}X{c}A: 1\r\n\r\n"), Refused));
        for value in [format!("{c}a"), format!("a{c}"), format!("a{c}b")] {
            all.push(case("control in a value", &format!("GET /t HTTP/1.1\r\n{HOST}X-A: {value}\r\n\r\n"), Clean));
        }
    }
    let lines = [
        "X-A\r\n", ":\r\n", "GET /smuggled HTTP/1.1\r\n", "\0\r\n", "X-A: 1\r\r\n", "X-A: 1\n", "X-A: 1\n\r\n",
        "\rX-A: 1\r\n", "X-A: \r b\r\n", " X-A: folded\r\n", "X-A: a\r\n b\r\n", "X-A: a\r\n Host: evil.test\r\n",
        "X-A: a\rHost: evil.test\r\n", "X-A: a\r\n\tb\r\n", "X-A: a\r\n \r\n",
    ];
    all.extend(of(Clean, &lines, |line| format!("GET /t HTTP/1.1\r\n{HOST}{line}\r\n")));
    all
}

pub fn lengths() -> Vec<Case> {
    let refused = [
        "", "5,5", "5, 5", "5,0", "5;", "5 5", "+5", "-5", "-0", "5.0", "5e0", "0x5", "5\0", "\u{b}5", "5\u{c}",
        "\u{a0}5", "\u{b2}", "18446744073709551621", "99999999999999999999", "9223372036854775808", "5_0", "'5'",
        "five", "5,", ",5", "5\u{7f}",
    ];
    let form = |length: &str| format!("POST /t HTTP/1.1\r\n{HOST}Content-Length: {length}\r\n\r\nhello");
    let mut all = of(Refused, &refused, form);
    all.extend(of(Clean, &["05", "5\t", "\t5", "5\r", "00000000000000000000005"], form));
    for (one, two) in [("5", "0"), ("0", "5"), ("5", ""), ("", "5"), ("5", "x")] {
        let text =
            format!("POST /t HTTP/1.1\r\n{HOST}Content-Length: {one}\r\nX: y\r\ncontent-length: {two}\r\n\r\nhello");
        all.push(case("two lengths", &text, Refused));
    }
    let names = [
        "Content_Length", "Content-Length ", "Content-Length\t", "\u{b}Content-Length", "Content-Length\0",
        "X-Content-Length",
    ];
    all.extend(of(Clean, &names, |name| format!("POST /t HTTP/1.1\r\n{HOST}{name}: 42\r\nContent-Length: 0\r\n\r\n")));
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let text = format!("{method} /t HTTP/1.1\r\n{HOST}Content-Length: {}\r\n\r\n{hidden}", hidden.len());
        all.push(case(method, &text, Clean));
    }
    all.push(case("folded", &format!("POST /t HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\t0\r\n\r\nhello"), Clean));
    all
}

pub fn codings() -> Vec<Case> {
    let codings = [
        "chunked,", "", ",chunked", "chunked, chunked", "chunked;q=1", "chunked;x", "x, chunked", "gzip, chunked",
        "identity, chunked", "chunked, identity", "\"chunked\"", "'chunked'", "chunked\0", "\0chunked",
        "chunked\u{b}", "\u{b}chunked", "\u{c}chunked", "chunked\u{c}", "\u{a0}chunked", "chunked\u{a0}", "chunked x",
        "x chunked", "[chunked]", "chunke", "chunkedd", "xchunked", "cow", "identity", "gzip", "trailers",
        "chunked\rx", "chunked\u{7f}",
    ];
    let body = "5\r\nhello\r\n0\r\n\r\n";
    let mut all =
        of(Refused, &codings, |coding| format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: {coding}\r\n\r\n{body}"));
    all.extend(of(Refused, &codings, |coding| {
        format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: {coding}\r\nContent-Length: 4\r\n\r\n{body}")
    }));
    all.extend(of(Refused, &codings, |coding| {
        format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: {coding}\r\n\r\n{body}")
    }));
    let with_hidden = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    // Chunks win, and the connection ends (RFC 9112 §6.3).
    all.extend(of(Clean, &["chunked", "Chunked", "\tchunked", "chunked\t"], |coding| {
        format!("POST /t HTTP/1.1\r\n{HOST}Content-Length: 60\r\nTransfer-Encoding: {coding}\r\n\r\n{with_hidden}")
    }));
    all.extend(of(Refused, &["chunked", "Chunked", "identity", "x"], |coding| {
        format!("POST /t HTTP/1.0\r\n{HOST}Connection: keep-alive\r\nTransfer-Encoding: {coding}\r\n\r\n{with_hidden}")
    }));
    let names = [
        "Transfer_Encoding", "Transfer-Encoding ", "\u{b}Transfer-Encoding", "Transfer-Encoding\0",
        "X-Transfer-Encoding",
    ];
    all.extend(of(Clean, &names, |name| {
        format!("POST /t HTTP/1.1\r\n{HOST}{name}: chunked\r\nContent-Length: 5\r\n\r\n{body}")
    }));
    all
}

pub fn chunks() -> Vec<Case> {
    let refused = [
        "+5", "-5", " 5", "\t5", "5\u{b}", "5\u{c}", "5\n", "", "ffffffffffffffffff", "5_", "5:", "5=", "5/0", "5#",
        "5\"", "5\u{a0}", "5h", "0x5", "0 5", "5,0", "5.0", "5;a\nb", "5;\n", "5;a\r", "5;\r", "5\r", "5 5", "\u{b2}",
        "5;\0", "5;a\0b", "5;\u{1}", "5;a=\"\u{7f}\"", "5 \0", "5;a=\u{1b}[2J", "5;\u{b}", "5;\u{8}",
    ];
    let form = |size: &str| {
        format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n")
    };
    let mut all = of(Refused, &refused, form);
    let clean = [
        "05", "5 ", "5\t", "5;", "5;a", "5;a=\"b;c\"", "5 ;a", "5;;", "0000000000000000000005", "5;\u{e9}",
        "5;a\tb", "5\t;\ta",
    ];
    all.extend(of(Clean, &clean, form));
    let signature = format!("5;chunk-signature={}", "a".repeat(64));
    all.extend(of(Clean, &[&*signature], form));
    let zeros = |count: usize| "0".repeat(count) + "5";
    let [few, many, spaces, extension] =
        [zeros(900), zeros(1100), format!("5{}", " ".repeat(1100)), format!("5;{}", "a".repeat(1100))];
    all.extend(of(Clean, &[&*few], form));
    all.extend(of(Refused, &[&*many, &*spaces, &*extension], form));
    let behind = ["hello", "hello\n", "hello\r", "hello\n\r", "hell\r\n", "helloo\r\n", "helloXX"];
    all.extend(of(Refused, &behind, |data| {
        format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\n{data}0\r\n\r\n")
    }));
    let ends = [
        "0\n\n", "0\r\n\n", "0\n\r\n", "0 \r\n\r\n", "00\r\n\r\n", "0\r\nX: \0\r\n\r\n", "0\r\nX: a\rY: b\r\n\r\n",
        "0\r\nX: 1\r\n Y: 1\r\n\r\n", "0\r\nContent-Length: 9\r\nHost: evil.test\r\nTransfer-Encoding: x\r\n\r\n",
        "0\r\nAuthorization: x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n", "0\r\nX: 1\n\r\n", "0\r\n X: 1\r\n\r\n",
    ];
    all.extend(of(Clean, &ends, |end| {
        format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{end}")
    }));
    let wrong = [
        "0\r\r\n", "0\r\nX\r\n\r\n", "0\r\n: x\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\r\nX\0: 1\r\n\r\n",
        "0\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "-0\r\n\r\n", "0x0\r\n\r\n", "0 1\r\n\r\n",
    ];
    all.extend(of(Refused, &wrong, |end| {
        format!("POST /t HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n{end}")
    }));
    all
}

pub fn connections() -> Vec<Case> {
    let nominations = [
        "close, host", "content-length", "transfer-encoding", "x-forwarded-for", "X-Real-IP", "cookie", "via",
        "forwarded", "host\0", "\"close\"", "keep-alive, upgrade", "te", "upgrade, http2-settings",
        "proxy-connection",
    ];
    let mut all = of(Clean, &nominations, |names| {
        format!(
            "POST /t HTTP/1.1\r\n{HOST}Connection: {names}\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: 5\r\n\r\nhello"
        )
    });
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: shop.home.test\r\n\r\n";
    for upgrade in ["h2c", "h2c, websocket", "websocket", "WebSocket", "websocket/13", "foo", "TLS/1.0", "connect-udp"]
    {
        let text = format!("GET /t HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n{hidden}");
        all.push(Case { most: 2, may_ask_for_it: true, ..case(upgrade, &text, Clean) });
    }
    let expectations =
        ["100-continue", "100-Continue", "100-continue, x", "x", "", "100", "200-ok", "100-continue;q=1"];
    for version in ["1.1", "1.0"] {
        all.extend(of(Clean, &expectations, |expectation| {
            format!("POST /t HTTP/{version}\r\n{HOST}Expect: {expectation}\r\nContent-Length: 5\r\n\r\nhello")
        }));
    }
    for close in ["Connection: close", "Connection: foo, close", "Connection: close\r\nConnection: keep-alive"] {
        all.push(case(close, &format!("GET /t HTTP/1.1\r\n{HOST}{close}\r\n\r\n{hidden}"), Clean));
    }
    all.push(case("1.0 ends", &format!("GET /t HTTP/1.0\r\n{HOST}\r\n{hidden}"), Clean));
    let refused = format!("POST /t HTTP/1.1\r\nHost: a b\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len());
    all.push(case("the body of a refused request", &refused, Refused));
    all
}
