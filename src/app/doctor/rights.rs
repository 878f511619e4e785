//! What this machine lets a Doorward do: ports, files, the state folder, descriptors.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use super::holder::holder_of;
use crate::config::{CertSource, ChallengeSpec, Config};
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

/// The state folder, and every secret that the file names.
pub(super) fn files(config: &Config, state: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    match fs::metadata(state) {
        Ok(folder) if folder.permissions().mode() & 0o077 != 0 => findings.push(Finding::warning(
            "rights",
            format!("{}: others may look into the state folder", state.display()),
            format!("chmod 700 {}", state.display()),
        )),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => findings.push(Finding::fault(
            "rights",
            format!("{}: the state folder cannot be looked at: {error}", state.display()),
            "do this as root, or as the user of the service",
        )),
    }
    let secrets = secrets(config);
    for path in &secrets {
        if path.starts_with("/run/credentials") && !path.exists() {
            let name = path.file_name().unwrap_or_default().display();
            let said = format!("{}: there only while the service runs", path.display());
            findings.push(Finding::warning("rights", said, format!("the unit needs LoadCredential={name}:PATH")));
        } else if let Err(error) = fs::File::open(path) {
            let said = format!("{}: {error}", path.display());
            findings.push(Finding::fault("rights", said, "put it there, readable by the user of the service"));
        } else if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            let said = format!("{}: a secret that everybody here may read", path.display());
            findings.push(Finding::warning("rights", said, format!("chmod 600 {}", path.display())));
        }
    }
    for export in config.certs.iter().flat_map(|cert| &cert.exports) {
        let folder = &export.dir.value;
        if !folder.is_dir() {
            let said = format!("{}: no folder to hand a certificate on to", folder.display());
            findings.push(Finding::fault("rights", said, "make it, or mount it, before the first export"));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::good("rights", format!("{} secrets, the state folder, exports", secrets.len())));
    }
    findings
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
pub(super) fn descriptors() -> Vec<Finding> {
    let most = getrlimit(Resource::Nofile).maximum;
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
