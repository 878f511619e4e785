//! Which servers a name is delegated to, seen from the root of DNS: referrals followed one by one, nobody's cache asked.
//! Refuses to ask this network's resolver which zone a name belongs to; only the addresses of servers may come from it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::wire::{addresses, ask, fqdn};

/// Root servers a, b, d, f, k and l (root-servers.org).
const ROOTS: [Ipv4Addr; 6] = [
    Ipv4Addr::new(198, 41, 0, 4),
    Ipv4Addr::new(170, 247, 170, 2),
    Ipv4Addr::new(199, 7, 91, 13),
    Ipv4Addr::new(192, 5, 5, 241),
    Ipv4Addr::new(193, 0, 14, 129),
    Ipv4Addr::new(199, 7, 83, 42),
];

/// The most referrals that are followed: the root, a top-level domain or two, the zone, its children.
const STEPS: usize = 10;

/// The most servers of one step that are tried.
const TRIED: usize = 3;

/// Where to begin, and at which port servers listen.
pub(super) struct Delegation {
    roots: Vec<SocketAddr>,
    port: u16,
}

/// What an answer says about who keeps a name.
enum Step {
    /// These servers, which answered or were named by the zone itself.
    Here(Vec<IpAddr>, Vec<String>),
    /// Others, further down.
    Down(Name, Vec<IpAddr>, Vec<String>),
}

impl Delegation {
    /// The public DNS.
    pub(super) fn public() -> Delegation {
        Delegation { roots: ROOTS.into_iter().map(|root| SocketAddr::new(IpAddr::V4(root), 53)).collect(), port: 53 }
    }

    /// The addresses of the servers that keep a name. `Err` in words.
    pub(super) async fn servers_of(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        let mut servers = self.roots.clone();
        let mut zone = Name::root();
        for _ in 0..STEPS {
            let answer = first_answer(&servers, name).await?;
            match read(&answer, &zone, name)? {
                Step::Here(glue, names) => {
                    let named = self.resolve(glue, names).await;
                    return Ok(if named.is_empty() { servers } else { named });
                }
                Step::Down(below, glue, names) => {
                    zone = below;
                    servers = self.resolve(glue, names).await;
                }
            }
            if servers.is_empty() {
                return Err(format!("no server of {zone} has a known address"));
            }
        }
        Err(format!("{name}: more than {STEPS} referrals"))
    }

    async fn resolve(&self, glue: Vec<IpAddr>, names: Vec<String>) -> Vec<SocketAddr> {
        let mut found: BTreeSet<SocketAddr> =
            glue.into_iter().map(|address| SocketAddr::new(address, self.port)).collect();
        if found.is_empty() {
            for name in names.iter().take(TRIED) {
                found.extend(addresses(&format!("{name}:{}", self.port)).await.unwrap_or_default());
            }
        }
        found.into_iter().collect()
    }
}

async fn first_answer(servers: &[SocketAddr], name: &str) -> Result<Message, String> {
    let mut said = format!("{name}: nobody to ask");
    for server in servers.iter().filter(|server| server.is_ipv4()).chain(servers).take(TRIED) {
        match ask(*server, name, RecordType::NS).await {
            Ok(answer) if matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) => {
                return Ok(answer);
            }
            Ok(answer) => said = format!("{server}: {}", answer.metadata.response_code),
            Err(fault) => said = fault,
        }
    }
    Err(said)
}

fn read(answer: &Message, zone: &Name, name: &str) -> Result<Step, String> {
    let target = fqdn(name)?;
    let keepers = |section: &[hickory_proto::rr::Record], owner: &Name| -> Vec<Name> {
        let of = |data: &RData| match data {
            RData::NS(server) => Some(server.0.clone()),
            _ => None,
        };
        section.iter().filter(|record| record.name == *owner).filter_map(|record| of(&record.data)).collect()
    };
    let glue = |servers: &[Name]| -> Vec<IpAddr> {
        let records = answer.additionals.iter().filter(|record| servers.contains(&record.name));
        records.filter_map(|record| record.data.ip_addr()).collect()
    };
    let words =
        |servers: &[Name]| servers.iter().map(|server| server.to_utf8().trim_end_matches('.').to_owned()).collect();
    let own = keepers(&answer.answers, &target);
    if !own.is_empty() {
        return Ok(Step::Here(glue(&own), words(&own)));
    }
    if answer.metadata.authoritative && zone.is_root() {
        return Err(format!("{name} is not in the public DNS"));
    }
    if answer.metadata.authoritative {
        // Inside the zone, or nowhere: whoever said so keeps it.
        return Ok(Step::Here(Vec::new(), Vec::new()));
    }
    // A referral leads down, towards the name; anything else is no answer to us.
    let below = answer.authorities.iter().find(|record| {
        record.record_type() == RecordType::NS
            && record.name.zone_of(&target)
            && zone.zone_of(&record.name)
            && record.name != *zone
    });
    let Some(below) = below.map(|record| record.name.clone()) else {
        return Err(format!("{name}: a server of {zone} refers nowhere"));
    };
    let servers = keepers(&answer.authorities, &below);
    Ok(Step::Down(below, glue(&servers), words(&servers)))
}

#[cfg(test)]
mod tests;
