//! What the local CA signs, keeps and makes anew; other implementations judge it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, StreamOwned};

use super::super::fixture::{Folder, client, handshake, openssl};
use super::*;

fn patterns(names: &[&str]) -> Vec<HostPattern> {
    names.iter().map(|name| HostPattern::parse(name).unwrap()).collect()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names of each leaf, as planned.
fn planned(names: &[&str]) -> Vec<Vec<String>> {
    plan::leaves(&patterns(names)).into_iter().map(|leaf| leaf.names).collect()
}

fn planned_bases(names: &[&str]) -> Vec<String> {
    plan::bases(&plan::leaves(&patterns(names)))
}

fn leaf_files(folder: &Folder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.0.join("local-ca")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("leaf-"));
    files.sort();
    files
}

#[test]
fn names_that_share_a_parent_get_one_wildcard() {
    let names = ["sonarr.home.lan", "radarr.home.lan", "home.lan", "nas.other.net", "*"];
    assert_eq!(planned(&names), [vec!["*.home.lan", "home.lan"], vec!["nas.other.net"]]);
    assert_eq!(planned_bases(&names), ["home.lan", "nas.other.net"]);
}

#[test]
fn a_domain_that_may_belong_to_everybody_is_never_asked_for_whole() {
    let names = ["a.co.uk", "b.co.uk", "x.duckdns.org", "y.duckdns.org", "nas", "tv"];
    assert_eq!(planned_bases(&names), ["a.co.uk", "b.co.uk", "nas", "tv", "x.duckdns.org", "y.duckdns.org"]);
}

#[test]
fn a_domain_below_a_permitted_one_needs_no_mention() {
    let names = ["*.local.home.test", "a.b.local.home.test", "*.dev.local.home.test", "local.home.test"];
    assert_eq!(planned_bases(&names), ["local.home.test"]);
}

#[test]
fn a_wildcard_below_a_bare_top_level_stands_alone() {
    assert_eq!(planned(&["*.home", "a.home"]), [["home"], ["*.home"], ["a.home"]]);
}

#[test]
fn addresses_get_no_certificate() {
    assert!(planned(&["192.168.8.1", "*.8.1", "*"]).is_empty());
}

proptest! {
    #[test]
    fn every_name_is_in_a_leaf_and_every_leaf_is_permitted(
        texts in prop::collection::vec("(\\*\\.)?[a-d]{1,2}(\\.[a-d]){0,3}(\\.lan)?", 0..150),
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let leaves = planned(&texts);
        let bases = planned_bases(&texts);
        for text in &texts {
            let wildcard = format!("*.{}", text.split_once('.').map_or("", |(_, parent)| parent));
            prop_assert!(leaves.iter().flatten().any(|name| name == text || *name == wildcard), "{}", text);
        }
        for leaf in &leaves {
            prop_assert!(!leaf.is_empty() && leaf.len() <= plan::NAMES_PER_LEAF);
            for name in leaf {
                prop_assert!(plan::is_permitted(name.strip_prefix("*.").unwrap_or(name), &bases));
            }
        }
        for base in &bases {
            let others: Vec<String> = bases.iter().filter(|other| *other != base).cloned().collect();
            prop_assert!(!plan::is_permitted(base, &others));
        }
    }
}

#[test]
fn root_and_leaf_satisfy_openssl_to_the_letter() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test", "b.home.test", "nas.other.net", "under_score.third.org"]);
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let leaves = ca.issue(&TlsFactory::new().unwrap(), &names).unwrap();
    assert_eq!(leaves.len(), 3);
    let root = ca.root_path().display().to_string();
    for (host, file) in [("x.home.test", 0), ("home.test", 0), ("nas.other.net", 1), ("under_score.third.org", 2)] {
        let covering = leaves.iter().position(|leaf| leaf.covers(host)).unwrap();
        assert_eq!(covering, file);
        let path = leaf_files(&folder).into_iter().find(|path| {
            let said =
                openssl(&folder.0, &["x509", "-in", &path.display().to_string(), "-noout", "-ext", "subjectAltName"]);
            leaves[covering].names().iter().all(|name| said.contains(&format!("DNS:{name}")))
        });
        let path = path.unwrap().display().to_string();
        let said = openssl(
            &folder.0,
            &["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host, "-CAfile", &root, &path],
        );
        assert!(said.contains(": OK"), "{said}");
    }
    let text = openssl(&folder.0, &["x509", "-in", &root, "-noout", "-text"]);
    for part in
        ["pathlen:0", "Certificate Sign", "Name Constraints: critical", "DNS:home.test", "Subject Key Identifier"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_root_is_good_for_no_other_name() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test", "b.home.test"]);
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&ca.root_pem, &ca.key).unwrap();
    for stranger in ["bank.example", "xhome.test", "192.168.8.1"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![stranger.to_owned()]).unwrap();
        params.not_after = now() + LEAF_LIFE;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let forged = params.signed_by(&key, &issuer).unwrap().pem();
        let factory = TlsFactory::new().unwrap();
        let pem = forged.clone() + &key.serialize_pem();
        let forged_leaf = factory
            .certificate_from_pem(local_id(), pem.as_bytes(), pem.as_bytes(), CertificateOrigin::LocalCa)
            .unwrap();
        let client = client(ca.root_pem(), &[&TLS13]);
        let fault = handshake(forged_leaf.server_config(), &client, stranger).unwrap_err();
        assert!(fault.to_string().contains("NameConstraintViolation"), "{stranger}: {fault}");
        let path = folder.write("forged.pem", forged);
        let output =
            Command::new("openssl").arg("verify").arg("-CAfile").arg(ca.root_path()).arg(path).output().unwrap();
        assert!(!output.status.success());
    }
}

#[test]
fn clients_of_both_versions_accept_what_was_issued() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test", "b.home.test", "nas"]);
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let leaves = ca.issue(&TlsFactory::new().unwrap(), &names).unwrap();
    for host in ["a.home.test", "home.test", "nas"] {
        let leaf = leaves.iter().find(|leaf| leaf.covers(host)).unwrap();
        for version in [&TLS12, &TLS13] {
            handshake(leaf.server_config(), &client(ca.root_pem(), &[version]), host).unwrap();
        }
    }
}

#[test]
fn curl_accepts_it_with_both_versions() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test", "b.home.test"]);
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let leaf = ca.issue(&TlsFactory::new().unwrap(), &names).unwrap().remove(0);
    for version in ["1.2", "1.3"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = leaf.server_config().clone();
        let serving = thread::spawn(move || {
            let (tcp, _) = listener.accept().unwrap();
            let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
            let mut head = [0; 1024];
            let _ = tls.read(&mut head);
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
            tls.conn.send_close_notify();
            let _ = tls.flush();
        });
        let output = Command::new("curl")
            .args(["-sS", "--http1.1", "--noproxy", "*", "--tls-max", version, "--tlsv1.2", "--cacert"])
            .arg(ca.root_path())
            .args(["--resolve", &format!("a.home.test:{port}:127.0.0.1"), &format!("https://a.home.test:{port}/")])
            .output()
            .expect("curl is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello", "{}", String::from_utf8_lossy(&output.stderr));
        serving.join().unwrap();
    }
}

#[test]
fn nobody_else_may_read_the_folder_or_the_keys() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test"]);
    std::fs::create_dir(folder.0.join("local-ca")).unwrap();
    std::fs::set_permissions(folder.0.join("local-ca"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    ca.issue(&TlsFactory::new().unwrap(), &names).unwrap();
    assert_eq!(mode(&folder.0.join("local-ca")), 0o700);
    assert_eq!(mode(&folder.0.join("local-ca/ca.key")), 0o600);
    assert_eq!(leaf_files(&folder).iter().map(|path| mode(path)).collect::<Vec<_>>(), [0o600]);
    assert_eq!(mode(&ca.root_path()), 0o644);
    let left: Vec<_> = std::fs::read_dir(folder.0.join("local-ca")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_restart_changes_neither_root_nor_leaves() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test", "b.home.test", "c.other.net"]);
    let factory = TlsFactory::new().unwrap();
    let serials = |names: &[HostPattern], at: OffsetDateTime| {
        let ca = LocalCa::open(&folder.0, names, at).unwrap();
        let leaves = ca.issue(&factory, names).unwrap();
        (ca.root_pem().to_owned(), leaves.iter().map(|leaf| leaf.serial().to_owned()).collect::<Vec<_>>())
    };
    let first = serials(&names, now());
    assert_eq!(serials(&names, now()), first);
    assert_eq!(serials(&names, now() + Duration::days(59)), first);
    let fewer = patterns(&["b.home.test", "a.home.test"]);
    assert_eq!(serials(&fewer, now()), (first.0.clone(), first.1[..1].to_vec()));
    let another = patterns(&["a.home.test", "b.home.test", "new.home.test", "c.other.net"]);
    assert_eq!(serials(&another, now()), first);
}

#[test]
fn a_leaf_with_a_third_of_its_life_left_is_made_anew_under_the_same_root() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test"]);
    let factory = TlsFactory::new().unwrap();
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let first = ca.issue(&factory, &names).unwrap().remove(0);
    let later = LocalCa::open(&folder.0, &names, now() + Duration::days(61)).unwrap();
    let second = later.issue(&factory, &names).unwrap().remove(0);
    assert_eq!(later.root_pem(), ca.root_pem());
    assert_ne!(second.serial(), first.serial());
    assert!(second.not_after() > first.not_after());
}

#[test]
fn a_name_that_the_root_may_not_sign_for_brings_a_new_root() {
    let folder = Folder::new();
    let factory = TlsFactory::new().unwrap();
    let before = LocalCa::open(&folder.0, &patterns(&["a.home.test", "b.home.test"]), now()).unwrap();
    let names = patterns(&["a.home.test", "b.home.test", "x.other.net"]);
    assert!(before.issue(&factory, &names).unwrap().iter().all(|leaf| !leaf.covers("x.other.net")));
    let after = LocalCa::open(&folder.0, &names, now()).unwrap();
    assert_ne!(after.root_pem(), before.root_pem());
    let leaves = after.issue(&factory, &names).unwrap();
    assert_eq!(leaves.len(), 2);
    for leaf in leaves {
        let host = if leaf.covers("x.other.net") { "x.other.net" } else { "a.home.test" };
        handshake(leaf.server_config(), &client(after.root_pem(), &[&TLS13]), host).unwrap();
    }
}

#[test]
fn a_root_near_its_end_is_replaced_and_a_clock_set_back_replaces_nothing() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test"]);
    let root = |at| LocalCa::open(&folder.0, &names, at).unwrap().root_pem().to_owned();
    let first = root(now());
    assert_eq!(root(OffsetDateTime::UNIX_EPOCH), first);
    assert_eq!(root(now() + Duration::days(3650 - 190)), first);
    assert_ne!(root(now() + Duration::days(3650 - 170)), first);
}

#[test]
fn a_damaged_store_is_made_anew() {
    let folder = Folder::new();
    let names = patterns(&["a.home.test"]);
    let factory = TlsFactory::new().unwrap();
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    ca.issue(&factory, &names).unwrap();
    for file in leaf_files(&folder) {
        std::fs::write(file, "half a fi").unwrap();
    }
    assert_eq!(ca.issue(&factory, &names).unwrap().len(), 1);
    for (file, text) in [("ca.key", ""), ("ca.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")] {
        std::fs::write(folder.0.join("local-ca").join(file), text).unwrap();
        let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
        let leaf = ca.issue(&factory, &names).unwrap().remove(0);
        handshake(leaf.server_config(), &client(ca.root_pem(), &[&TLS13]), "a.home.test").unwrap();
    }
    let other = KeyPair::generate().unwrap();
    std::fs::write(folder.0.join("local-ca/ca.key"), other.serialize_pem()).unwrap();
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let leaf = ca.issue(&factory, &names).unwrap().remove(0);
    handshake(leaf.server_config(), &client(ca.root_pem(), &[&TLS13]), "a.home.test").unwrap();
}

#[test]
fn a_ca_for_nothing_can_be_opened_and_signs_nothing() {
    let folder = Folder::new();
    let ca = LocalCa::open(&folder.0, &[], now()).unwrap();
    let leaves = ca.issue(&TlsFactory::new().unwrap(), &patterns(&["*", "a.test"])).unwrap();
    assert!(leaves.is_empty());
    LocalCa::open(&folder.0, &[], now()).unwrap();
}

#[test]
fn a_state_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    let state = folder.write("state", "a file, no folder");
    let Err(fault) = LocalCa::open(&state, &[], now()) else { panic!("opened a file as a folder") };
    assert!(matches!(fault, CertError::Unwritable { .. }), "{fault}");
}

#[test]
fn more_than_a_hundred_names_are_spread_over_certificates() {
    let folder = Folder::new();
    let texts: Vec<String> = (0..250).map(|n| format!("n{n}.co.uk")).collect();
    let names: Vec<HostPattern> = texts.iter().map(|text| HostPattern::parse(text).unwrap()).collect();
    let ca = LocalCa::open(&folder.0, &names, now()).unwrap();
    let leaves = ca.issue(&TlsFactory::new().unwrap(), &names).unwrap();
    assert_eq!(leaves.len(), 3);
    for host in ["n0.co.uk", "n99.co.uk", "n249.co.uk"] {
        let leaf = leaves.iter().find(|leaf| leaf.covers(host)).unwrap();
        handshake(leaf.server_config(), &client(ca.root_pem(), &[&TLS13]), host).unwrap();
    }
}
