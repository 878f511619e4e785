//! Which upstream servers are accepted, by each way of judging.

use std::io;

use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};
use time::{Duration, OffsetDateTime};

use super::super::fixture::{Folder, Pair, TestCa, handshake, openssl, self_signed, server};
use super::*;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn judging(verify: &VerifySpec) -> Arc<ClientConfig> {
    client_config(verify, &SystemRoots::load(), &[b"http/1.1"]).unwrap()
}

fn pin_of(pem: &str) -> [u8; 32] {
    sha256(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
}

fn refusal(result: io::Result<super::super::fixture::Met>) -> UpstreamTlsFailure {
    explain_failure(&result.unwrap_err())
}

/// A version 1 certificate with an RSA or EC key, as old devices show it.
fn version_1(folder: &Folder, key: &str) -> Pair {
    let make = |arguments: &str| openssl(&folder.0, &arguments.split(' ').collect::<Vec<_>>());
    make(&format!("req -new -newkey {key} -nodes -keyout v1.key -subj /CN=old -out v1.csr"));
    make("x509 -req -in v1.csr -signkey v1.key -out v1.crt -days 10");
    let read = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap();
    Pair { cert: read("v1.crt"), key: read("v1.key") }
}

#[test]
fn a_pin_accepts_its_certificate_whatever_it_says_of_itself() {
    let device = self_signed(&[], |params| {
        params.not_before = OffsetDateTime::UNIX_EPOCH;
        params.not_after = OffsetDateTime::UNIX_EPOCH + Duration::days(1);
    });
    for version in BOTH {
        let client = judging(&VerifySpec::Pin(pin_of(&device.cert)));
        let met = handshake(&server(&device.cert, &device.key, version), &client, "nas.home.test").unwrap();
        assert_eq!(met.sni.as_deref(), Some("nas.home.test"));
    }
}

#[test]
fn a_pin_refuses_another_certificate_and_tells_its_fingerprint() {
    let ca = TestCa::new();
    let (pinned, other) = (ca.leaf(&["nas.home.test"]), ca.leaf(&["nas.home.test"]));
    for version in BOTH {
        let client = judging(&VerifySpec::Pin(pin_of(&pinned.cert)));
        let failure = refusal(handshake(&server(&other.cert, &other.key, version), &client, "nas.home.test"));
        assert_eq!(failure, UpstreamTlsFailure::PinMismatch { found: pin_of(&other.cert) });
        assert!(failure.to_string().contains(&hex(&pin_of(&other.cert))), "{failure}");
    }
}

#[test]
fn the_pinned_certificate_with_another_key_is_refused() {
    let ca = TestCa::new();
    let (pinned, thief) = (ca.leaf(&["nas.home.test"]), ca.leaf(&["nas.home.test"]));
    for version in BOTH {
        for verify in [VerifySpec::Pin(pin_of(&pinned.cert)), VerifySpec::Off] {
            let stolen = server(&pinned.cert, &thief.key, version);
            let failure = refusal(handshake(&stolen, &judging(&verify), "nas.home.test"));
            assert_eq!(
                failure,
                UpstreamTlsFailure::Certificate("the server does not hold its key".to_owned()),
                "{version:?}"
            );
        }
    }
}

#[test]
fn certificates_of_version_1_can_be_pinned_and_still_prove_their_key() {
    let folder = Folder::new();
    for kind in ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384"] {
        let device = version_1(&folder, kind);
        let thief = version_1(&folder, kind);
        for version in BOTH {
            let client = judging(&VerifySpec::Pin(pin_of(&device.cert)));
            handshake(&server(&device.cert, &device.key, version), &client, "old.home.test").unwrap();
            let client = judging(&VerifySpec::Pin(pin_of(&device.cert)));
            let failure = refusal(handshake(&server(&device.cert, &thief.key, version), &client, "old.home.test"));
            assert!(matches!(failure, UpstreamTlsFailure::Certificate(_)), "{failure}");
            let ca = judging(&VerifySpec::Ca(folder.write("device.pem", &device.cert)));
            handshake(&server(&device.cert, &device.key, version), &ca, "old.home.test").unwrap();
        }
    }
}

#[test]
fn without_verification_any_certificate_passes() {
    let device = self_signed(&["something.else"], |_| ());
    for version in BOTH {
        let met = handshake(&server(&device.cert, &device.key, version), &judging(&VerifySpec::Off), "nas.home.test");
        assert_eq!(met.unwrap().sni.as_deref(), Some("nas.home.test"));
    }
}

#[test]
fn a_given_ca_accepts_its_own_for_their_names_only() {
    let folder = Folder::new();
    let (ca, stranger) = (TestCa::new(), TestCa::new());
    let verify = VerifySpec::Ca(folder.write("ca.pem", &ca.pem));
    let good = ca.leaf(&["*.home.test"]);
    // A CA that goes by the same name, and one that nobody knows.
    let foreign = stranger.leaf(&["nas.home.test"]);
    let unknown = self_signed(&["nas.home.test"], |_| ());
    for version in BOTH {
        handshake(&server(&good.cert, &good.key, version), &judging(&verify), "nas.home.test").unwrap();
        let failure = refusal(handshake(&server(&good.cert, &good.key, version), &judging(&verify), "other.test"));
        let UpstreamTlsFailure::Certificate(why) = failure else { panic!("{failure}") };
        assert!(why.contains("not for other.test") && why.contains("*.home.test"), "{why}");
        for stranger in [&foreign, &unknown] {
            let failure =
                refusal(handshake(&server(&stranger.cert, &stranger.key, version), &judging(&verify), "nas.home.test"));
            assert!(matches!(failure, UpstreamTlsFailure::Certificate(_)), "{failure}");
        }
        let stolen = server(&good.cert, &foreign.key, version);
        let failure = refusal(handshake(&stolen, &judging(&verify), "nas.home.test"));
        assert!(matches!(failure, UpstreamTlsFailure::Certificate(_)), "{failure}");
    }
}

#[test]
fn a_given_ca_refuses_what_has_expired() {
    let folder = Folder::new();
    let ca = TestCa::new();
    let verify = VerifySpec::Ca(folder.write("ca.pem", &ca.pem));
    let old =
        ca.leaf_with(&["nas.home.test"], |params| params.not_after = OffsetDateTime::now_utc() - Duration::days(1));
    let failure = refusal(handshake(&server(&old.cert, &old.key, &TLS13), &judging(&verify), "nas.home.test"));
    assert!(failure.to_string().contains("expired"), "{failure}");
}

#[test]
fn a_devices_own_certificate_may_stand_where_its_ca_belongs() {
    let folder = Folder::new();
    let device = self_signed(&["unifi"], |_| ());
    let other = self_signed(&["unifi"], |_| ());
    let verify = VerifySpec::Ca(folder.write("unifi.pem", &device.cert));
    for version in BOTH {
        handshake(&server(&device.cert, &device.key, version), &judging(&verify), "unifi.home.test").unwrap();
        let failure =
            refusal(handshake(&server(&other.cert, &other.key, version), &judging(&verify), "unifi.home.test"));
        assert!(matches!(failure, UpstreamTlsFailure::Certificate(_)), "{failure}");
        let failure =
            refusal(handshake(&server(&device.cert, &other.key, version), &judging(&verify), "unifi.home.test"));
        assert!(matches!(failure, UpstreamTlsFailure::Certificate(_)), "{failure}");
    }
    let expired = self_signed(&["unifi"], |params| params.not_after = OffsetDateTime::now_utc() - Duration::days(1));
    let verify = VerifySpec::Ca(folder.write("expired.pem", &expired.cert));
    let failure =
        refusal(handshake(&server(&expired.cert, &expired.key, &TLS13), &judging(&verify), "unifi.home.test"));
    assert!(failure.to_string().contains("expired"), "{failure}");
}

#[test]
fn the_systems_roots_know_nothing_of_this_house() {
    let ca = TestCa::new();
    let leaf = ca.leaf(&["nas.home.test"]);
    let failure =
        refusal(handshake(&server(&leaf.cert, &leaf.key, &TLS13), &judging(&VerifySpec::System), "nas.home.test"));
    assert!(failure.to_string().contains("issuer is not trusted"), "{failure}");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    let fault = |path: &Path| client_config(&VerifySpec::Ca(path.to_owned()), &SystemRoots::load(), &[]).unwrap_err();
    let missing = fault(&folder.0.join("nobody.pem"));
    assert!(missing.is_missing() && missing.to_string().contains("nobody.pem"), "{missing}");
    assert!(matches!(fault(&folder.write("empty.pem", "")), CertError::NoCertificate { .. }));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(fault(&folder.write("broken.pem", broken)), CertError::Damaged { .. }));
}

#[test]
fn sessions_with_upstreams_are_resumed_but_not_past_a_changed_pin() {
    let device = self_signed(&["nas.home.test"], |_| ());
    for version in BOTH {
        let server = server(&device.cert, &device.key, version);
        let client = judging(&VerifySpec::Pin(pin_of(&device.cert)));
        handshake(&server, &client, "nas.home.test").unwrap();
        assert_eq!(handshake(&server, &client, "nas.home.test").unwrap().kind, HandshakeKind::Resumed);
        let changed = judging(&VerifySpec::Pin([7; 32]));
        assert!(handshake(&server, &changed, "nas.home.test").is_err());
    }
}

#[test]
fn what_is_no_tls_is_told_as_such() {
    let failure = explain_failure(&io::Error::new(io::ErrorKind::UnexpectedEof, "closed"));
    assert_eq!(failure, UpstreamTlsFailure::Other("closed".to_owned()));
    let fault = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    assert!(matches!(
        explain_failure(&io::Error::new(io::ErrorKind::InvalidData, fault)),
        UpstreamTlsFailure::Other(_)
    ));
}
