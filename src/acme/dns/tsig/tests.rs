//! How key files are read.

use super::*;

fn parse(text: &str, wanted: Option<&str>) -> Result<(Option<String>, Option<String>, String), &'static str> {
    let key = KeyText::parse(&Secret::new(text.to_owned()), wanted)?;
    Ok((key.name, key.algorithm, key.secret.reveal().to_owned()))
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_file_of_tsig_keygen_is_read() {
    let text = "key \"edge-key\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0+/==\";\n};\n";
    assert_eq!(parse(text, None), Ok((some("edge-key"), some("hmac-sha512"), "c2VjcmV0+/==".to_owned())));
}

#[test]
fn comments_and_other_statements_of_bind_do_not_disturb() {
    let text = "# key \"x\" { secret \"no\"; };\n/* key { */ // key\nkey a{secret \"YQ==\";algorithm hmac-sha256;};options { x; };";
    assert_eq!(parse(text, None), Ok((some("a"), some("hmac-sha256"), "YQ==".to_owned())));
}

#[test]
fn of_several_keys_the_named_one_is_taken() {
    let text = "key \"a\" { algorithm hmac-sha1; secret \"YQ==\"; };\nkey \"b.\" { secret \"Yg==\"; };";
    assert_eq!(parse(text, Some("B")), Ok((some("b."), None, "Yg==".to_owned())));
    assert!(parse(text, None).unwrap_err().contains("several keys"));
    assert!(parse(text, Some("c")).unwrap_err().contains("no key of the name"));
}

#[test]
fn a_bare_secret_is_read_and_anything_else_refused() {
    assert_eq!(parse("c2VjcmV0Cg==", None), Ok((None, None, "c2VjcmV0Cg==".to_owned())));
    for wrong in
        ["two words", "key \"a\" { };", "key \"a\" { algorithm hmac-sha256; };", "{", "\"", "key", "key {", "/*"]
    {
        assert!(parse(wrong, None).is_err() || decode(wrong.trim_matches('"')).is_err(), "{wrong}");
    }
}

#[test]
fn a_secret_that_is_no_base64_is_refused_without_showing_it() {
    for wrong in ["hunter2!", "", "YQ"] {
        let said = decode(wrong).unwrap_err();
        assert!(wrong.is_empty() || !said.contains(wrong));
    }
}

#[test]
fn what_is_signed_with_one_key_does_not_open_with_another() {
    let key = |secret: &[u8]| TsigKey {
        name: fqdn("edge-key").unwrap(),
        algorithm: TsigAlgorithm::HmacSha256,
        key: hmac::Key::new(hmac::HMAC_SHA256, secret),
    };
    let mut message = Message::query();
    let mac = key(b"one").sign(&mut message, 1000).unwrap();
    let bytes = message.to_vec().unwrap();
    // An echo of the question is signed without the question's MAC in front: no answer to it.
    assert!(key(b"one").open(&bytes, &mac, 1000).unwrap_err().contains("signed wrongly"));
    assert!(key(b"two").open(&bytes, &mac, 1000).unwrap_err().contains("signed wrongly"));
    assert!(key(b"one").open(&bytes[..20], &mac, 1000).is_err());
    message.signature = None;
    let unsigned = message.to_vec().unwrap();
    assert!(key(b"one").open(&unsigned, &mac, 1000).unwrap_err().contains("not signed"));
}
