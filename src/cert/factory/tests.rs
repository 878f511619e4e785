//! What makes a pair of files a certificate, and what its handshakes are like.

use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};
use time::{Duration, OffsetDateTime};

use super::super::Validity;
use super::super::fixture::{Folder, Pair, TestCa, client, client_of, handshake, openssl};
use super::*;

fn load(pair: &Pair) -> Result<Certificate, CertError> {
    let origin = CertificateOrigin::Files { cert: "chain.pem".into(), key: "key.pem".into() };
    TlsFactory::new().unwrap().certificate_from_pem("local".into(), pair.cert.as_bytes(), pair.key.as_bytes(), origin)
}

#[test]
fn a_certificate_says_whom_it_names_and_how_long() {
    let now = OffsetDateTime::now_utc();
    let pair = TestCa::new().leaf_with(&["home.test", "*.home.test", "192.168.8.1"], |params| {
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(1);
    });
    let certificate = load(&pair).unwrap();
    let names: Vec<&str> = certificate.names().iter().map(|name| &**name).collect();
    assert_eq!(names, ["home.test", "*.home.test", "192.168.8.1"]);
    assert_eq!(&**certificate.id(), "local");
    assert!(certificate.issuer().contains("Test CA"), "{}", certificate.issuer());
    assert_eq!(certificate.validity(now), Validity::Valid);
    assert_eq!(certificate.validity(now - Duration::days(2)), Validity::NotYet);
    assert_eq!(certificate.validity(now + Duration::days(2)), Validity::Expired);
    assert!(!format!("{certificate:?}").contains("PRIVATE"));
}

#[test]
fn serial_and_fingerprint_are_those_that_openssl_shows() {
    let folder = Folder::new();
    let pair = TestCa::new().leaf(&["home.test"]);
    folder.write("c.pem", &pair.cert);
    let said = openssl(&folder.0, &["x509", "-in", "c.pem", "-noout", "-serial", "-fingerprint", "-sha256"]);
    let said = said.replace(':', "").to_lowercase();
    let certificate = load(&pair).unwrap();
    assert!(said.contains(&format!("serial={}", certificate.serial().trim_start_matches("00"))), "{said}");
    assert!(said.contains(&hex(certificate.fingerprint())), "{said}");
}

#[test]
fn an_expired_certificate_is_taken_and_says_so() {
    let past = OffsetDateTime::now_utc() - Duration::days(400);
    let pair = TestCa::new().leaf_with(&["home.test"], |params| {
        params.not_before = past;
        params.not_after = past + Duration::days(90);
    });
    assert_eq!(load(&pair).unwrap().validity(OffsetDateTime::now_utc()), Validity::Expired);
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let ca = TestCa::new();
    let pair = Pair { cert: ca.leaf(&["a.test"]).cert, key: ca.leaf(&["a.test"]).key };
    let fault = load(&pair).unwrap_err();
    assert!(matches!(fault, CertError::KeyMismatch { .. }), "{fault}");
    assert_eq!(fault.to_string(), "chain.pem: does not fit the key key.pem; give the pair that was issued together");
}

#[test]
fn a_chain_whose_leaf_is_not_first_is_refused() {
    let ca = TestCa::new();
    let leaf = ca.leaf(&["a.test"]);
    let upside_down = Pair { cert: ca.pem.clone() + &leaf.cert, key: leaf.key.clone() };
    assert!(matches!(load(&upside_down), Err(CertError::ChainOrder { position: 2, .. })));
    let in_order = Pair { cert: leaf.cert + &ca.pem, key: leaf.key };
    load(&in_order).unwrap();
}

#[test]
fn a_certificate_that_names_nobody_is_refused() {
    let pair = TestCa::new().leaf_with(&[], |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "home.test");
    });
    assert!(matches!(load(&pair), Err(CertError::NoNames { .. })));
}

#[test]
fn dates_that_run_backwards_are_refused() {
    let pair = TestCa::new().leaf_with(&["a.test"], |params| {
        std::mem::swap(&mut params.not_before, &mut params.not_after);
    });
    assert!(matches!(load(&pair), Err(CertError::Dates { .. })));
}

#[test]
fn what_is_no_pem_is_refused_by_what_is_missing() {
    let pair = TestCa::new().leaf(&["a.test"]);
    let with = |cert: &str, key: &str| load(&Pair { cert: cert.to_owned(), key: key.to_owned() }).unwrap_err();
    assert!(matches!(with("", &pair.key), CertError::NoCertificate { .. }));
    assert!(matches!(with(&pair.key, &pair.key), CertError::NoCertificate { .. }));
    assert!(matches!(with(&pair.cert, ""), CertError::NoKey { .. }));
    assert!(matches!(with(&pair.cert, &pair.cert), CertError::NoKey { .. }));
    let half = &pair.cert[..pair.cert.len() / 2];
    assert!(matches!(with(half, &pair.key), CertError::Damaged { .. } | CertError::NoCertificate { .. }));
    let many = pair.cert.repeat(CHAIN_LIMIT + 1);
    assert!(matches!(with(&many, &pair.key), CertError::ChainTooLong { .. }));
}

#[test]
fn keys_in_every_usual_format_fit_and_encrypted_ones_are_named() {
    let folder = Folder::new();
    let make = |arguments: &str| openssl(&folder.0, &arguments.split(' ').collect::<Vec<_>>());
    make(
        "req -x509 -newkey rsa:2048 -nodes -keyout rsa.pem -out rsa.crt -subj /CN=a -addext subjectAltName=DNS:a.test",
    );
    make("rsa -in rsa.pem -traditional -out rsa1.pem");
    make("ecparam -name secp384r1 -genkey -out ec.pem");
    make("req -x509 -new -key ec.pem -out ec.crt -subj /CN=a -addext subjectAltName=DNS:a.test");
    make("pkcs8 -topk8 -in ec.pem -passout pass:secret -out locked8.pem");
    make("ec -in ec.pem -aes128 -passout pass:secret -out locked1.pem");
    let factory = TlsFactory::new().unwrap();
    let load = |cert: &str, key: &str| factory.load_pair("x".into(), &folder.0.join(cert), &folder.0.join(key));
    load("rsa.crt", "rsa.pem").unwrap();
    load("rsa.crt", "rsa1.pem").unwrap();
    load("ec.crt", "ec.pem").unwrap();
    assert!(matches!(load("ec.crt", "locked8.pem"), Err(CertError::KeyEncrypted { .. })));
    assert!(matches!(load("ec.crt", "locked1.pem"), Err(CertError::KeyEncrypted { .. })));
    assert!(matches!(load("rsa.crt", "ec.pem"), Err(CertError::KeyMismatch { .. })));
}

#[test]
fn files_that_are_missing_too_large_or_no_files_are_named() {
    let folder = Folder::new();
    let pair = TestCa::new().leaf(&["a.test"]);
    let (cert, key) = (folder.write("c", &pair.cert), folder.write("k", &pair.key));
    let huge = folder.write("huge", vec![b'x'; 1024 * 1024 + 1]);
    let factory = TlsFactory::new().unwrap();
    assert_eq!(factory.load_pair("x".into(), &cert, &key).unwrap().names().len(), 1);
    let missing = factory.load_pair("x".into(), &folder.0.join("nobody"), &key).unwrap_err();
    assert!(missing.is_missing() && missing.to_string().contains("nobody"), "{missing}");
    assert!(matches!(factory.load_pair("x".into(), &huge, &key), Err(CertError::TooLarge { .. })));
    assert!(matches!(factory.load_pair("x".into(), &folder.0, &key), Err(CertError::Unreadable { .. })));
}

#[test]
fn a_key_that_everybody_can_read_is_pointed_out() {
    let folder = Folder::new();
    let path = folder.write("k", "");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(key_exposure(&path).is_none());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let warning = key_exposure(&path).unwrap().to_string();
    assert!(warning.contains("mode 644") && warning.contains("chmod o-rwx"), "{warning}");
    assert!(key_exposure(&folder.0.join("nobody")).is_none());
}

#[test]
fn handshakes_offer_both_versions_and_both_protocols() {
    let ca = TestCa::new();
    let certificate = load(&ca.leaf(&["a.test"])).unwrap();
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let met = handshake(certificate.server_config(), &client(&ca.pem, &[version]), "a.test").unwrap();
        assert_eq!(met.version, expected);
        assert_eq!(met.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(met.sni.as_deref(), Some("a.test"));
    }
}

#[test]
fn aes_128_is_chosen_but_for_clients_that_would_rather_have_chacha() {
    use CipherSuite as Suite;
    let ca = TestCa::new();
    let certificate = load(&ca.leaf(&["a.test"])).unwrap();
    let chosen = |version: &'static SupportedProtocolVersion, order: [&str; 2]| {
        let mut provider = CryptoProvider::clone(crypto());
        let rank = |suite: &SupportedCipherSuite| {
            let name = suite.suite().as_str().unwrap_or_default();
            order.iter().position(|word| name.contains(word)).unwrap_or(order.len())
        };
        provider.cipher_suites.sort_by_key(rank);
        let offered: Vec<Suite> = provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        let client = client_of(provider, &ca.pem, &[version]);
        handshake(certificate.config_for(&offered), &client, "a.test").unwrap().suite
    };
    assert_eq!(chosen(&TLS13, ["AES_256", "AES_128"]), Suite::TLS13_AES_128_GCM_SHA256);
    assert_eq!(chosen(&TLS13, ["CHACHA20", "AES_256"]), Suite::TLS13_CHACHA20_POLY1305_SHA256);
    assert_eq!(chosen(&TLS12, ["AES_256", "CHACHA20"]), Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    assert_eq!(chosen(&TLS12, ["CHACHA20", "AES_128"]), Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
}

#[test]
fn a_session_is_resumed_with_the_certificate_that_replaced_its_own() {
    let ca = TestCa::new();
    let factory = TlsFactory::new().unwrap();
    let load = |pair: Pair| {
        let origin = CertificateOrigin::Acme { id: "x".into() };
        factory.certificate_from_pem("x".into(), pair.cert.as_bytes(), pair.key.as_bytes(), origin).unwrap()
    };
    let (old, new) = (load(ca.leaf(&["a.test"])), load(ca.leaf(&["a.test"])));
    for version in [&TLS12, &TLS13] {
        let client = client(&ca.pem, &[version]);
        let first = handshake(old.server_config(), &client, "a.test").unwrap();
        assert!(matches!(first.kind, HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest), "{first:?}");
        let second = handshake(new.server_config(), &client, "a.test").unwrap();
        assert_eq!(second.kind, HandshakeKind::Resumed, "{version:?}");
    }
}
