//! `dns = { … }` of a routes.toml, read as the program reads it.

use doorward::acme::dns::{DnsProvider, provider};
use doorward::config::{AcmeSpec, CertSource, ChallengeSpec, DnsSpec};

use crate::harness::Folder;

/// The table as the program understands it.
pub fn spec(folder: &Folder, dns: &str) -> DnsSpec {
    let text = format!(
        "domain = \"test\"\nallow = [\"127.0.0.1\"]\n[listen.main]\nhttps = \"127.0.0.1:8443\"\n\
         [cert.x]\nnames = [\"home.test\", \"*.home.test\"]\ndns = {dns}\nemail = \"a@home.test\"\n\
         [routes]\nx = \"http://127.0.0.1:1\"\n"
    );
    folder.replace("routes.toml", &text);
    let read = doorward::config::load(&folder.at("routes.toml"));
    let read = read.unwrap_or_else(|faults| panic!("{:?}\n{text}", faults.faults));
    let cert = read.config.certs.into_iter().next().expect("the certificate of the file");
    match cert.source {
        CertSource::Acme(AcmeSpec { challenge: ChallengeSpec::Dns(dns), .. }) => dns,
        other => panic!("{other:?}"),
    }
}

/// The provider that the table names.
pub fn made(folder: &Folder, dns: &str) -> Box<dyn DnsProvider> {
    provider(&spec(folder, dns), folder.path()).unwrap()
}

/// A secret in a file that only its owner can read.
pub fn secret(folder: &Folder, name: &str, text: &str) -> std::path::PathBuf {
    folder.replace(name, text);
    let path = folder.at(name);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    path
}
