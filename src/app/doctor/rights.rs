//! What this machine lets a Doorward do: ports, files, the state folder, descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::holder::holder_of;
use super::service::{CREDENTIALS, Service};
use super::{Finding, counted};
use crate::config::{CertSource, ChallengeSpec, Config, VerifySpec};
use crate::serve::bind;

/// Descriptors that a house with tunnels and downloads should not have to count.
const ENOUGH: u64 = 8192;

/// Whether every address can be listened on, or is by a Doorward that runs.
pub(super) fn ports(config: &Config, served: &[String]) -> Vec<Finding> {
    let doors = config.doors.iter().flat_map(|door| {
        let what = format!("[listen.{}]", door.name.value);
        door.https.iter().chain(&door.http).map(move |address| (address.value, what.clone()))
    });
    let metrics = config.metrics.iter().map(|metrics| (metrics.listen.value, "[metrics]".to_owned()));
    let all: Vec<(SocketAddr, String)> = doors.chain(metrics).collect();
    let is_served = |address: &SocketAddr| served.iter().any(|known| *known == address.to_string());
    let faults: Vec<Finding> = all
        .iter()
        .filter(|(address, _)| !is_served(address))
        .filter_map(|(address, what)| port(*address, what))
        .collect();
    if !faults.is_empty() {
        return faults;
    }
    let running = all.iter().filter(|(address, _)| is_served(address)).count();
    let by_us = if running > 0 { format!(", {running} of them served by the running one") } else { String::new() };
    vec![Finding::good("ports", format!("{} addresses can be listened on{by_us}", all.len()))]
}

fn port(address: SocketAddr, what: &str) -> Option<Finding> {
    let error = bind(address).err()?;
    let said = format!("{address} ({what}): {error}");
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => {
            let Some(holder) = holder_of(address) else {
                let port = address.port();
                let mend = format!("`ss -ltnp 'sport = :{port}'` shows who has it; end that, or write another port");
                return Some(Finding::fault("ports", said, mend));
            };
            let mend = format!("{}, or write another port", holder.mend);
            Finding::fault("ports", format!("{said}: by {holder}"), mend)
        }
        io::ErrorKind::PermissionDenied => Finding::warning(
            "ports",
            format!("{said}, for this user"),
            "the unit has AmbientCapabilities=CAP_NET_BIND_SERVICE; without it: root, or a port above 1023",
        ),
        _ => Finding::fault("ports", said, "write an address that this machine has, or can get"),
    })
}

/// The state folder, what the file names and what it hands on: as whoever asks sees it, and as the service does.
pub(super) fn files(config: &Config, routes: &Path, state: &Path, service: Option<&Service>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(user) = service.and_then(Service::missing_user) {
        let said = format!("the unit starts it as `{user}`, and there is nobody of this name");
        findings.push(Finding::fault("rights", said, format!("useradd --system {user}")));
    }
    findings.extend(state_folder(state));
    let (secrets, others) = (secrets(config), certificates(config));
    findings.extend(secrets.iter().filter_map(|path| secret(path, service)));
    for path in others.iter().map(PathBuf::as_path).chain([routes]) {
        if let Some(why) = service.and_then(|service| service.cannot_read(path)) {
            let mend = format!("`chmod o+r {}`, or a folder that it may look into, as /etc/doorward", path.display());
            findings.push(Finding::fault("rights", format!("{}: {why}", path.display()), mend));
        }
    }
    findings.extend(programs(config).into_iter().filter_map(|path| program(path, service)));
    let folders: BTreeSet<&Path> =
        config.certs.iter().flat_map(|cert| &cert.exports).map(|export| export.dir.value.as_path()).collect();
    findings.extend(folders.into_iter().filter_map(|folder| export(folder, service)));
    if findings.is_empty() {
        let of_whom = if service.is_some() { ", for the service's user too" } else { "" };
        let secrets = counted(secrets.len(), "secret");
        findings.push(Finding::good("rights", format!("{secrets}, the state folder, exports{of_whom}")));
    }
    findings
}

fn state_folder(state: &Path) -> Option<Finding> {
    match fs::metadata(state) {
        Ok(folder) if folder.permissions().mode() & 0o077 != 0 => Some(Finding::warning(
            "rights",
            format!("{}: others may look into the state folder", state.display()),
            format!("chmod 700 {}", state.display()),
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(Finding::fault(
            "rights",
            format!("{}: the state folder cannot be looked at: {error}", state.display()),
            "do this as root, or as the user of the service",
        )),
        _ => None,
    }
}

/// A file that nobody else is to read.
fn secret(path: &Path, service: Option<&Service>) -> Option<Finding> {
    let shown = path.display();
    if let Ok(name) = path.strip_prefix(CREDENTIALS) {
        return credential(path, &name.display().to_string(), service);
    }
    if let Err(error) = fs::File::open(path) {
        let mend = "put it there, readable by the user of the service";
        return Some(Finding::fault("rights", format!("{shown}: {error}"), mend));
    }
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
        let said = format!("{shown}: a secret that everybody here may read");
        return Some(Finding::warning("rights", said, format!("chmod 600 {shown}")));
    }
    let why = service?.cannot_read(path)?;
    let name = path.file_name().unwrap_or_default().display();
    let mend = format!(
        "write {CREDENTIALS}{name} into the file, and LoadCredential={name}:{shown} into the unit (`systemctl edit doorward`)"
    );
    Some(Finding::fault("rights", format!("{shown}: {why}"), mend))
}

/// A secret that systemd reads, and shows to the service while it runs.
fn credential(path: &Path, name: &str, service: Option<&Service>) -> Option<Finding> {
    let shown = path.display();
    let Some(service) = service else {
        let said = format!("{shown}: there only while the service runs");
        let warning = Finding::warning("rights", said, format!("the unit needs LoadCredential={name}:PATH"));
        return (!path.exists()).then_some(warning);
    };
    let Some(source) = service.source_of(name) else {
        let mend = format!("LoadCredential={name}:PATH in the unit; `doorward doctor --unit` prints the lines");
        return Some(Finding::fault("rights", format!("{shown}: the unit loads no such credential"), mend));
    };
    let error = fs::File::open(source).err()?;
    let said = format!("{}: {error}; systemd reads the credential `{name}` there", source.display());
    Some(match error.kind() {
        // Who asks is not root; systemd is.
        io::ErrorKind::PermissionDenied => Finding::warning("rights", said, "ask as root"),
        _ => Finding::fault("rights", said, "put it there, for root alone; without it the service does not start"),
    })
}

/// A folder that certificates are handed on into.
fn export(folder: &Path, service: Option<&Service>) -> Option<Finding> {
    if !folder.is_dir() {
        let said = format!("{}: no folder to hand a certificate on to", folder.display());
        return Some(Finding::fault("rights", said, "make it, or mount it, before the first export"));
    }
    let why = service?.cannot_write_into(folder)?;
    let mend =
        "`doorward doctor --unit` prints the lines of the unit for it; the folder has to belong to the service's user";
    Some(Finding::fault("rights", format!("{}: nothing can be handed on: {why}", folder.display()), mend))
}

/// A program that is to be run for a proof, or once a certificate was handed on.
fn program(path: &Path, service: Option<&Service>) -> Option<Finding> {
    let shown = path.display();
    let why = match fs::metadata(path) {
        Err(error) => error.to_string(),
        Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => "that is no program".to_owned(),
        Ok(_) => service?.cannot_run(path)?,
    };
    Some(Finding::fault("rights", format!("{shown}: {why}"), "put it there, for the user of the service to run"))
}

fn programs(config: &Config) -> BTreeSet<&Path> {
    let proofs = config.certs.iter().filter_map(|cert| match &cert.source {
        CertSource::Acme(order) => match &order.challenge {
            ChallengeSpec::Dns(dns) => dns.command.first(),
            ChallengeSpec::Http | ChallengeSpec::TlsAlpn => None,
        },
        CertSource::Files { .. } => None,
    });
    let exports = config.certs.iter().flat_map(|cert| &cert.exports).filter_map(|export| export.command.first());
    proofs.chain(exports).map(|program| Path::new(&program.value)).collect()
}

/// What the file names and the service reads that is no secret.
fn certificates(config: &Config) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for cert in &config.certs {
        match &cert.source {
            CertSource::Files { cert, .. } => paths.extend([cert.value.clone()]),
            CertSource::Acme(order) => paths.extend(order.ca.ca.iter().map(|path| path.value.clone())),
        }
    }
    paths.extend(config.targets().filter_map(|target| match &target.verify {
        VerifySpec::Ca(path) => Some(path.clone()),
        VerifySpec::System | VerifySpec::Pin(_) | VerifySpec::Off => None,
    }));
    let engine = config.docker.iter().flat_map(|docker| [&docker.ca, &docker.cert]);
    paths.extend(engine.flatten().map(|path| path.value.clone()));
    paths
}

fn secrets(config: &Config) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for cert in &config.certs {
        match &cert.source {
            CertSource::Files { key, .. } => paths.push(key.value.clone()),
            CertSource::Acme(order) => {
                if let ChallengeSpec::Dns(dns) = &order.challenge {
                    paths.extend(dns.token_file.iter().chain(&dns.key_file).map(|path| path.value.clone()));
                }
                paths.extend(order.ca.eab_key_file.iter().map(|path| path.value.clone()));
            }
        }
    }
    paths.extend(config.docker.iter().filter_map(|docker| docker.key.as_ref()).map(|key| key.value.clone()));
    paths.sort();
    paths.dedup();
    paths
}

/// The limit of open files that can be reached.
pub(super) fn descriptors(service: Option<&Service>) -> Vec<Finding> {
    let most = service.and_then(|service| service.descriptors).or_else(|| getrlimit(Resource::Nofile).maximum);
    vec![match most {
        Some(most) if most < ENOUGH => Finding::warning(
            "descriptors",
            format!("{most} open files at most; each connection is two"),
            "LimitNOFILE=1048576 in the unit, or `ulimit -Hn` where it is started by hand",
        ),
        Some(most) => Finding::good("descriptors", format!("up to {most} open files")),
        None => Finding::good("descriptors", "no limit of open files"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_named_with_its_mend() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let finding = port(address, "[listen.main]").expect("a fault");
        assert!(finding.said.starts_with(&format!("{address} ([listen.main]): ")), "{}", finding.said);
        let who = format!("(process {})", std::process::id());
        assert!(finding.said.ends_with(&who), "{}", finding.said);
        assert!(finding.mend.ends_with(", or write another port"), "{}", finding.mend);
        drop(taken);
        assert_eq!(port(address, "[listen.main]"), None);
    }
}
