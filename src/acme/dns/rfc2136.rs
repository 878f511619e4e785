//! Dynamic updates (RFC 2136) over TCP, signed with TSIG: BIND, Knot, PowerDNS, pfSense's own BIND and their like.
//! Refuses to send anything unsigned, and to ask any other server than the given one.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{RData, Record, RecordSet, RecordType};

use super::tsig::TsigKey;
use super::{BoxFuture, DnsError, DnsProvider, DnsStep, Rights, ZoneServers, candidates};
use crate::acme::wire::{addresses, ask, ask_tcp, fqdn};
use crate::config::DnsSpec;

/// Time to live of a proof, in seconds.
const TTL: u32 = 60;

/// One server that takes updates.
pub(super) struct Rfc2136 {
    spec: DnsSpec,
    server: String,
}

impl Rfc2136 {
    /// From the file; fails without `server` or `key_file`.
    pub(super) fn new(spec: &DnsSpec) -> Result<Rfc2136, DnsError> {
        let needs = |key: &str| DnsError::new(DnsStep::Setup, "rfc2136", format!("it needs `{key}`"));
        let server = spec.server.as_ref().ok_or_else(|| needs("server"))?.value.clone();
        spec.key_file.as_ref().ok_or_else(|| needs("key_file"))?;
        Ok(Rfc2136 { spec: spec.clone(), server })
    }

    async fn addresses(&self, step: DnsStep) -> Result<Vec<SocketAddr>, DnsError> {
        addresses(&self.server).await.map_err(|said| DnsError::passing(step, self.server.as_str(), said))
    }

    /// The zone of a name: the one that the file names, else the longest that the server itself answers for.
    async fn zone_of(&self, name: &str) -> Result<String, DnsError> {
        let given = self.spec.zone.as_ref().map(|zone| zone.value.as_str());
        let candidates = candidates(name, given)?;
        if let Some(zone) = given {
            return Ok(zone.to_owned());
        }
        let addresses = self.addresses(DnsStep::FindZone).await?;
        for candidate in candidates {
            let answer = ask_any(&addresses, candidate).await;
            if owns(&answer.map_err(|said| DnsError::passing(DnsStep::FindZone, name, said))?, candidate) {
                return Ok(candidate.to_owned());
            }
        }
        let said = format!("{} answers for no zone that it belongs to; write `zone = \"…\"`", self.server);
        Err(DnsError::new(DnsStep::FindZone, name, said))
    }

    async fn update(&self, step: DnsStep, name: &str, value: &str) -> Result<(), DnsError> {
        let fault = |said: String| DnsError::new(step, name, said);
        if value.is_empty() || value.len() > 255 {
            return Err(fault("a value of one TXT string has 1 to 255 bytes".to_owned()));
        }
        let zone = self.zone_of(name).await?;
        let origin = fqdn(&zone).map_err(fault)?;
        let owner = fqdn(name).map_err(fault)?;
        let record = Record::from_rdata(owner, TTL, RData::TXT(TXT::new(vec![value.to_owned()])));
        // Both build the message only if the name is in the zone; `candidates` has seen to that.
        let mut message = match step {
            DnsStep::Add => update_message::append(RecordSet::from(record), origin, false, false),
            _ => update_message::delete_by_rdata(RecordSet::from(record), origin, false),
        };
        self.send(step, name, &zone, &mut message).await
    }

    async fn send(&self, step: DnsStep, name: &str, zone: &str, message: &mut Message) -> Result<(), DnsError> {
        let key = TsigKey::read(&self.spec)?;
        let server = &self.server;
        let fault = |said: String| DnsError::new(step, name, format!("{server}: {said} (zone {zone})"));
        let mac = key.sign(message, now()).map_err(fault)?;
        let bytes = message.to_vec().map_err(|wrong| fault(wrong.to_string()))?;
        let mut said = String::new();
        for address in self.addresses(step).await? {
            match ask_tcp(address, &bytes).await {
                Ok(answer) => {
                    let answer = key.open(&answer, &mac, now()).map_err(fault)?;
                    return judge(answer.metadata.response_code, &key, name)
                        .map_err(|(said, is_passing)| DnsError { is_passing, ..fault(said) });
                }
                Err(wrong) => said = format!("{address}: {wrong}"),
            }
        }
        Err(DnsError::passing(step, name, said))
    }

    async fn rights(&self, names: &[String]) -> Result<Rights, DnsError> {
        let mut rights = Rights::default();
        for name in names {
            // Taking away what nobody ever set changes nothing, and asks for the same right as a proof.
            let proof = format!("{}{name}", super::LABEL);
            let asked = self.update(DnsStep::Remove, &proof, "doorward-may-i").await;
            match asked {
                Ok(()) => {
                    let zone = self.zone_of(&proof).await?;
                    if !rights.needed.contains(&zone) {
                        rights.needed.push(zone);
                    }
                }
                Err(fault) if fault.is_passing || fault.step == DnsStep::Secret => {
                    return Err(DnsError {
                        step: if fault.is_passing { DnsStep::Rights } else { fault.step },
                        ..fault
                    });
                }
                Err(fault) => rights.refused.push((name.clone(), fault.said)),
            }
        }
        Ok(rights)
    }
}

impl DnsProvider for Rfc2136 {
    fn set_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(self.update(DnsStep::Add, name, value))
    }

    fn clear_txt<'a>(&'a self, name: &'a str, value: &'a str) -> BoxFuture<'a, Result<(), DnsError>> {
        Box::pin(self.update(DnsStep::Remove, name, value))
    }

    fn check_rights<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Rights, DnsError>> {
        Box::pin(self.rights(names))
    }

    fn zone_servers<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<ZoneServers>, DnsError>> {
        Box::pin(async move {
            let zone = self.zone_of(name).await?;
            Ok(Some(ZoneServers { zone, servers: vec![self.server.clone()] }))
        })
    }
}

async fn ask_any(addresses: &[SocketAddr], zone: &str) -> Result<Message, String> {
    let mut said = String::new();
    for address in addresses {
        match ask(*address, zone, RecordType::SOA).await {
            Ok(answer) => return Ok(answer),
            Err(wrong) => said = wrong,
        }
    }
    Err(said)
}

/// Whether an answer says: this name is the top of a zone that I keep.
fn owns(answer: &Message, zone: &str) -> bool {
    let Ok(zone) = fqdn(zone) else { return false };
    let is_top = |record: &Record| record.record_type() == RecordType::SOA && record.name == zone;
    answer.metadata.authoritative && answer.answers.iter().any(is_top)
}

/// What a server's verdict means here, and whether it may be another one soon.
fn judge(code: ResponseCode, key: &TsigKey, name: &str) -> Result<(), (String, bool)> {
    match code {
        ResponseCode::NoError => Ok(()),
        ResponseCode::Refused => {
            Err((format!("cannot edit this zone: the key {} may not change {name}", key.name), false))
        }
        ResponseCode::NotAuth | ResponseCode::NotZone => {
            Err(("it does not keep this zone, or takes no updates for it".to_owned(), false))
        }
        ResponseCode::NotImp => Err(("it takes no updates at all".to_owned(), false)),
        ResponseCode::ServFail => Err(("it failed (SERVFAIL)".to_owned(), true)),
        other => Err((format!("it answered {other}"), false)),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
