//! `doorward doctor --unit`: the lines that the service's unit needs for what the file reads and hands on. Printed, never
//! written.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::service::CREDENTIALS;
use crate::config::{CertSource, ChallengeSpec, Config};

/// A drop-in for `doorward.service` (`systemctl edit doorward`).
pub fn drop_in(config: &Config) -> String {
    let mut text = String::from("[Service]\n");
    let exports: Vec<_> = config.certs.iter().flat_map(|cert| &cert.exports).collect();
    let folders: BTreeSet<String> = exports.iter().map(|export| export.dir.value.display().to_string()).collect();
    let mut groups: BTreeSet<String> =
        exports.iter().filter_map(|export| Some(export.group.as_ref()?.value.clone())).collect();
    for folder in &folders {
        let _ = writeln!(text, "# `export` writes here.\nReadWritePaths={folder}");
    }
    if !folders.is_empty() {
        text.push_str("# Files that are handed on need an owner who is the same on every machine: useradd --system doorward\nDynamicUser=no\n");
    }
    if exports.iter().any(|export| export.owner.is_some()) {
        text.push_str("# `owner` in an export: only with this may files be given to others.\nAmbientCapabilities=CAP_CHOWN\nCapabilityBoundingSet=CAP_CHOWN\n");
    }
    if let Some(docker) = &config.docker
        && let Some(group) = group_of(Path::new(&docker.socket.value))
    {
        text.push_str("# Whoever may use docker.sock is root on this machine: a read-only socket proxy is better.\n");
        groups.insert(group);
    }
    if !groups.is_empty() {
        let groups: Vec<String> = groups.into_iter().collect();
        let _ = writeln!(text, "SupplementaryGroups={}", groups.join(" "));
    }
    for name in credentials(config) {
        let _ = writeln!(text, "LoadCredential={name}:/etc/doorward/secrets/{name}");
    }
    if text == "[Service]\n" {
        text.push_str("# The unit as it is gives this file everything it needs.\n");
    }
    text
}

/// Names of the credentials that the file reads.
fn credentials(config: &Config) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |path: &Path| {
        if let Ok(name) = path.strip_prefix(CREDENTIALS) {
            names.insert(name.display().to_string());
        }
    };
    for cert in &config.certs {
        match &cert.source {
            CertSource::Files { cert, key } => [cert, key].into_iter().for_each(|path| add(&path.value)),
            CertSource::Acme(order) => {
                if let ChallengeSpec::Dns(dns) = &order.challenge {
                    dns.token_file.iter().chain(&dns.key_file).for_each(|path| add(&path.value));
                }
                order.ca.eab_key_file.iter().for_each(|path| add(&path.value));
            }
        }
    }
    let docker = config.docker.iter().flat_map(|docker| [&docker.ca, &docker.cert, &docker.key]);
    docker.flatten().for_each(|path| add(&path.value));
    names
}

/// The name of the group that has a file, if the file is there and it is not root's.
fn group_of(path: &Path) -> Option<String> {
    let group = fs::metadata(path).ok()?.gid();
    if group == 0 {
        return None;
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    let known = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == group.to_string()).then(|| name.to_owned())
    });
    Some(known.unwrap_or_else(|| group.to_string()))
}
