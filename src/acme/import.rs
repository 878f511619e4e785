//! Takes over what acme.sh has: the certificates in use, so that a first start orders nothing, and the account, where its key
//! is of a kind that we can use. Reads acme.sh's folder, never writes there.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

use super::account::{Imported, account_path, write_account};
use super::state::{CertFolder, Issued, StoredPair};
use super::wanted::{Wanted, missing_name};
use crate::cert::{CertificateOrigin, TlsFactory, read_file};
use crate::config::{AcmeSpec, Config};

/// What was done, one sentence each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ImportReport {
    /// What was taken over.
    pub done: Vec<String>,
    /// What was not, and what that means.
    pub left: Vec<String>,
}

/// Takes over certificates and accounts for every order of the file. `home`: acme.sh's folder, usually `~/.acme.sh`.
pub fn import_acme_sh(config: &Config, home: &Path, state: &Path, factory: &TlsFactory) -> ImportReport {
    let mut report = ImportReport::default();
    if !home.is_dir() {
        report.left.push(format!("{}: no such folder; acme.sh keeps its own in ~/.acme.sh", home.display()));
        return report;
    }
    let mut directories: Vec<String> = Vec::new();
    for wanted in config.certs.iter().map(Wanted::of) {
        let Some(order) = wanted.order() else { continue };
        certificate(&wanted, order, home, state, factory, &mut report);
        let directory = &order.ca.directory.value;
        if !directories.contains(directory) {
            account(order, home, state, &mut report);
            directories.push(directory.clone());
        }
    }
    report
}

fn certificate(
    wanted: &Wanted,
    order: &AcmeSpec,
    home: &Path,
    state: &Path,
    factory: &TlsFactory,
    report: &mut ImportReport,
) {
    let id = &wanted.id;
    let folder = CertFolder::new(state, id);
    let mut found: Vec<(StoredPair, PathBuf)> = candidates(home)
        .into_iter()
        .filter_map(|place| Some((load(wanted, &place, factory)?, place)))
        .filter(|(pair, _)| missing_name(order, &pair.certificate).is_none())
        .collect();
    found.sort_by_key(|(pair, _)| pair.certificate.not_after());
    let Some((pair, place)) = found.pop() else {
        report.left.push(format!("[cert.{id}]: no certificate for all its names there; one will be ordered"));
        return;
    };
    let until = super::report::moment(pair.certificate.not_after().unix_timestamp());
    if pair.certificate.not_after() <= OffsetDateTime::now_utc() {
        report.left.push(format!("[cert.{id}]: {} ended {until}; a new one will be ordered", place.display()));
        return;
    }
    let stored = folder.load(factory).ok().filter(|stored| missing_name(order, &stored.certificate).is_none());
    if stored.is_some_and(|stored| stored.certificate.not_after() >= pair.certificate.not_after()) {
        report.left.push(format!("[cert.{id}]: what is stored lasts at least as long; nothing taken over"));
        return;
    }
    let mut known = folder.state();
    let directory = value_in(&place.join(conf_name(&place)), "Le_API");
    known.issued = directory.map(|directory| Issued {
        directory,
        profile: None,
        key_type: None,
        at: pair.certificate.not_before().unix_timestamp(),
    });
    known.failures = 0;
    known.last_error = None;
    let stored = folder.store(&pair).and_then(|()| folder.save(&known));
    match stored {
        Ok(()) => report.done.push(format!("[cert.{id}]: certificate from {}, until {until}", place.display())),
        Err(error) => report.left.push(format!("[cert.{id}]: {}", super::in_words(&error))),
    }
}

/// Folders that may hold a certificate.
fn candidates(home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("fullchain.cer").is_file()).collect()
}

fn load(wanted: &Wanted, place: &Path, factory: &TlsFactory) -> Option<StoredPair> {
    let cert_pem = read_file(&place.join("fullchain.cer")).ok()?;
    let keys = fs::read_dir(place).ok()?.flatten().map(|entry| entry.path());
    keys.filter(|path| path.extension().is_some_and(|kind| kind == "key")).find_map(|path| {
        let key_pem = read_file(&path).ok()?;
        let id = std::sync::Arc::clone(&wanted.id);
        let origin = CertificateOrigin::Acme { id: std::sync::Arc::clone(&id) };
        let certificate = factory.certificate_from_pem(id, &cert_pem, &key_pem, origin).ok()?;
        Some(StoredPair { cert_pem: cert_pem.clone(), key_pem, certificate })
    })
}

/// acme.sh names the file after the first name, without the `_ecc` of the folder.
fn conf_name(place: &Path) -> String {
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{}.conf", name.strip_suffix("_ecc").unwrap_or(&name))
}

/// The account for the CA of an order.
fn account(order: &AcmeSpec, home: &Path, state: &Path, report: &mut ImportReport) {
    let directory = order.ca.directory.value.as_str();
    let path = account_path(state, directory);
    if path.exists() {
        report.left.push(format!("account at {directory}: there is one already"));
        return;
    }
    // ca/<host>/<path of the directory>, without the scheme.
    let place = home.join("ca").join(directory.trim_start_matches("https://"));
    let Some(url) = value_in(&place.join("ca.conf"), "ACCOUNT_URL") else {
        report.left.push(format!("account at {directory}: acme.sh has none; a new one will be made"));
        return;
    };
    let key = read_file(&place.join("account.key")).ok().and_then(|pem| pkcs8_of(&pem));
    let Some(key) = key else {
        let why = "its key is not ECDSA P-256";
        report.left.push(format!("account at {directory}: {why}; a new one will be made"));
        return;
    };
    let email = value_in(&place.join("ca.conf"), "CA_EMAIL");
    let credentials = serde_json::json!({
        "id": url, "key_pkcs8": URL_SAFE_NO_PAD.encode(key), "directory": directory,
    });
    match write_account(&path, &Imported { directory, email: email.as_deref(), credentials }) {
        Ok(()) => report.done.push(format!("account at {directory}: {url}")),
        Err(said) => report.left.push(format!("account at {directory}: {said}")),
    }
}

/// `NAME='value'` of a shell file; nothing of it is run.
fn value_in(path: &Path, name: &str) -> Option<String> {
    let text = String::from_utf8(read_file(path).ok()?).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    let value = line.trim().trim_matches(['\'', '"']);
    (!value.is_empty()).then(|| value.to_owned())
}

/// An ECDSA P-256 key as PKCS#8 (RFC 5958), from that or from SEC1 (RFC 5915).
fn pkcs8_of(pem: &[u8]) -> Option<Vec<u8>> {
    /// version 0, and the algorithm id-ecPublicKey with prime256v1.
    const HEAD: [u8; 24] = [
        0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    let key = match PrivateKeyDer::from_pem_slice(pem).ok()? {
        PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
        PrivateKeyDer::Sec1(key) => {
            let inside = der(0x04, key.secret_sec1_der())?;
            der(0x30, &[&HEAD[..], &inside].concat())?
        }
        _ => return None,
    };
    // Only what the ACME library can sign with.
    let pkcs8 = rustls::pki_types::PrivatePkcs8KeyDer::from(key.as_slice());
    instant_acme::Key::from_pkcs8_der(pkcs8).ok()?;
    Some(key)
}

/// Tag, length, content; contents up to 65535 bytes.
fn der(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?.to_be_bytes();
    let head = match length {
        [0, short @ 0..0x80] => vec![tag, short],
        [0, long] => vec![tag, 0x81, long],
        [high, low] => vec![tag, 0x82, high, low],
    };
    Some([&head, content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sec1_key_of_p256_becomes_an_account_key() {
        // Made with `openssl ecparam -name prime256v1 -genkey -noout`.
        let made = std::process::Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])
            .output()
            .expect("openssl is installed");
        assert!(String::from_utf8_lossy(&made.stdout).contains("BEGIN EC PRIVATE KEY"));
        assert!(pkcs8_of(&made.stdout).is_some());
    }

    #[test]
    fn a_key_that_cannot_sign_for_us_is_left() {
        let made =
            std::process::Command::new("openssl").args(["genrsa", "2048"]).output().expect("openssl is installed");
        assert_eq!(pkcs8_of(&made.stdout), None);
        assert_eq!(pkcs8_of(b"nothing"), None);
    }
}
