//! What the network around says: whether the names lead here, whether upstreams, the container engine and the mail relay can
//! be reached, and what the DNS credentials may do; and the clock, which is asked for at the same time. Everything at once, each within a few seconds; nothing is sent to an upstream but a connection that is closed again.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::service::{CREDENTIALS, Service};
use super::{Finding, clock};
use crate::acme;
use crate::config::{CertSource, ChallengeSpec, Config};
use crate::model::{EndpointHost, HostPattern};

/// For each name and each upstream.
const PATIENCE: Duration = Duration::from_secs(4);

/// For the rights of all credentials of one certificate.
const RIGHTS: Duration = Duration::from_secs(20);

/// Names that are looked up; a house has fewer.
const MOST: usize = 500;

/// Asks all of it.
pub(super) fn examine(config: &Config, state: &Path, service: Option<&Service>) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::fault("dns", format!("nothing can be asked: {error}"), "see `ulimit -a`")],
    };
    let findings = runtime.block_on(async {
        let (clock, names, upstreams, around, tokens) = tokio::join!(
            clock::examine(),
            names(config),
            upstreams(config),
            around(config, service),
            tokens(config, state, service)
        );
        [clock, names, upstreams, around, tokens].concat()
    });
    // A lookup that hangs is not waited for.
    runtime.shutdown_background();
    findings
}

/// Whether a name is known, and leads here.
async fn names(config: &Config) -> Vec<Finding> {
    let local = config.routes.iter().filter_map(|route| match &route.host {
        HostPattern::Exact(name) => Some((name.to_string(), false)),
        HostPattern::Wildcard(base) => Some((format!("any.{base}"), false)),
        HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => None,
    });
    let public = config.routes.iter().flat_map(|route| &route.public).map(|name| (name.value.to_string(), true));
    let asked: BTreeMap<String, bool> = public.chain(local).take(MOST).collect();
    let mut lookups = JoinSet::new();
    for (name, is_public) in asked {
        lookups.spawn(async move {
            let found = timeout(PATIENCE, lookup_host((name.as_str(), 443))).await;
            let addresses: Option<Vec<IpAddr>> =
                found.ok().and_then(Result::ok).map(|all| all.map(|at| at.ip()).collect());
            (name, is_public, addresses)
        });
    }
    let (mut unknown, mut elsewhere, mut here, mut others) = (Vec::new(), Vec::new(), 0, 0);
    while let Some(Ok((name, is_public, addresses))) = lookups.join_next().await {
        match addresses {
            None => unknown.push(name),
            // A public name leads to Cloudflare or to the router.
            Some(_) if is_public => others += 1,
            Some(addresses) if addresses.iter().any(|&address| is_ours(address)) => here += 1,
            Some(addresses) => {
                elsewhere.push(format!("{name} to {}", addresses.first().map_or(String::new(), ToString::to_string)))
            }
        }
    }
    let mut findings = Vec::new();
    if !unknown.is_empty() {
        let mend = "add them to the resolver of the house (pfSense: Services, DNS Resolver, Host Overrides)";
        findings.push(Finding::warning("dns", format!("nobody knows {}", listed(unknown)), mend));
    }
    if !elsewhere.is_empty() {
        let mend = "right before the swap, and behind NAT; else point them here";
        findings.push(Finding::warning("dns", format!("lead to another machine: {}", listed(elsewhere)), mend));
    }
    if findings.is_empty() {
        findings.push(Finding::good("dns", format!("{here} names lead here, {others} public ones are known")));
    }
    findings
}

/// An address is this machine's if something can be bound to it.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

/// A few, sorted, and how many more.
fn listed(mut names: Vec<String>) -> String {
    const SHOWN: usize = 8;
    names.sort();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// Whether each upstream takes a connection.
async fn upstreams(config: &Config) -> Vec<Finding> {
    let mut tries = JoinSet::new();
    let mut asked: Vec<String> = Vec::new();
    for to in config.targets().flat_map(|target| &target.to) {
        let endpoint = to.value.clone();
        let place = endpoint.to_string();
        if asked.contains(&place) {
            continue;
        }
        asked.push(place.clone());
        tries.spawn(async move {
            let fault = match &endpoint.host {
                EndpointHost::Ip(address) => reach(TcpStream::connect((*address, endpoint.port))).await.err(),
                EndpointHost::Name(name) => reach(TcpStream::connect((name.as_str(), endpoint.port))).await.err(),
            };
            (place, fault)
        });
    }
    let mut faults = Vec::new();
    while let Some(Ok((place, fault))) = tries.join_next().await {
        if let Some(fault) = fault {
            let mend = "start it, or mend its address; `hold` lets requests wait while it restarts";
            faults.push(Finding::warning("upstreams", format!("{place}: {fault}"), mend));
        }
    }
    faults.sort_by(|one, two| one.said.cmp(&two.said));
    if faults.is_empty() && !asked.is_empty() {
        faults.push(Finding::good("upstreams", format!("{} asked, all take connections", asked.len())));
    }
    faults
}

/// Whether the container engine and the mail relay take a connection, where the file has them.
async fn around(config: &Config, service: Option<&Service>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(docker) = &config.docker {
        let place = &docker.socket.value;
        let tried = match place.strip_prefix("tcp://") {
            Some(address) => reach(TcpStream::connect(address)).await,
            // Who asks may be root, who could.
            None => match service.and_then(|service| service.cannot_use(Path::new(place))) {
                Some(why) => Err(why),
                None => reach(UnixStream::connect(place)).await,
            },
        };
        findings.push(match tried {
            Ok(()) => Finding::good("containers", format!("{place} takes connections")),
            Err(why) => Finding::warning(
                "containers",
                format!("{place}: {why}"),
                "start the engine; the unit may need its group (`doorward doctor --unit`), or name a socket proxy",
            ),
        });
    }
    if let Some(mail) = &config.mail {
        let relay = &mail.relay.value;
        findings.push(match reach(TcpStream::connect(relay)).await {
            Ok(()) => Finding::good("mail", format!("{relay} takes connections")),
            Err(why) => Finding::warning("mail", format!("{relay}: {why}"), "start the relay, or mend its address"),
        });
    }
    findings
}

/// Whether a connection comes about, or why not.
async fn reach<T>(connecting: impl Future<Output = std::io::Result<T>>) -> Result<(), String> {
    match timeout(PATIENCE, connecting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// A credential as the service sees it while it runs; before that, where systemd will read it.
fn readable_now(path: &Path, service: Option<&Service>) -> PathBuf {
    let name = path.strip_prefix(CREDENTIALS).ok().filter(|_| !path.exists());
    let source = name.and_then(|name| service?.source_of(name.to_str()?));
    source.unwrap_or(path).to_owned()
}

/// What the credentials of each certificate may do. One that cannot be read is a matter of rights, and is not asked about.
async fn tokens(config: &Config, state: &Path, service: Option<&Service>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cert in &config.certs {
        let CertSource::Acme(order) = &cert.source else { continue };
        let id = &cert.id.value;
        let mut order = order.clone();
        if let ChallengeSpec::Dns(dns) = &mut order.challenge {
            let mut secrets: Vec<_> =
                dns.token_file.iter_mut().chain(&mut dns.key_file).map(|path| &mut path.value).collect();
            secrets.iter_mut().for_each(|path| **path = readable_now(path, service));
            if secrets.iter().any(|path| std::fs::File::open(path).is_err()) {
                let said = format!("[cert.{id}]: its rights cannot be asked about before the secret can be read");
                findings.push(Finding::warning("token", said, "see `rights`"));
                continue;
            }
        }
        let mend =
            "the token needs Zone.Zone:Read and Zone.DNS:Edit on the zone, and nothing else (docs/certificates.md)";
        match timeout(RIGHTS, acme::check_credentials(&order, state)).await {
            Ok(None) => {}
            Ok(Some(Ok(remarks))) if remarks.is_empty() => {
                findings.push(Finding::good("token", format!("[cert.{id}]: may edit its zones, and no others")));
            }
            Ok(Some(Ok(remarks))) => {
                findings.push(Finding::warning("token", format!("[cert.{id}]: {}", remarks.join("; ")), mend));
            }
            Ok(Some(Err(said))) => findings.push(Finding::fault("token", format!("[cert.{id}]: {said}"), mend)),
            Err(_) => findings.push(Finding::warning(
                "token",
                format!("[cert.{id}]: the DNS provider did not answer within {} s", RIGHTS.as_secs()),
                "try again; `doorward cert` says how orders go",
            )),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_counted() {
        assert_eq!(listed(vec!["b".into(), "a".into()]), "a, b");
        assert_eq!(listed((0..10).map(|n| n.to_string()).collect()), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
    }

    #[test]
    fn this_machine_knows_its_own_addresses() {
        assert!(is_ours("127.0.0.1".parse().unwrap()));
        assert!(!is_ours("203.0.113.7".parse().unwrap()), "an address of documentation");
    }
}
