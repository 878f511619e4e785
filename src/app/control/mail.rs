//! What people are written of: refused reloads as they happen; certificates and servers by looking around once a minute, in a
//! task of its own, so that no server that hangs holds up an order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Control;
use crate::acme::{CertReport, report};
use crate::mail::{Event, Mail, Teller, Trouble};
use crate::upstream::Upstream;

/// How often it is looked around.
pub(super) const LOOK_AROUND: Duration = Duration::from_secs(60);

/// How long a server may take to accept a connection.
const ACCEPTS: Duration = Duration::from_secs(5);

/// Servers that are tried at the same time.
const AT_ONCE: usize = 32;

/// A certificate this close to its end should long have been renewed, whoever does it.
const LAST_DAYS: i64 = 5 * 86_400;

impl Control {
    /// Starts, changes or ends mail as the file in force says, and forgets what it no longer has.
    pub(super) fn keep_mail(&mut self) {
        let Some(spec) = &self.config.mail else {
            self.mail = None;
            return;
        };
        if !self.mail.as_ref().is_some_and(|mail| mail.is_of(spec)) {
            self.mail = Some(Mail::start(spec));
        }
        let certificates = self.config.certs.iter().map(|cert| cert.id.value.to_string()).collect();
        let upstreams = self.upstreams().into_keys().collect();
        self.write_of(Event::Known { certificates, upstreams });
    }

    /// Hands an event to whoever writes, if anybody does.
    pub(super) fn write_of(&self, event: Event) {
        if let Some(mail) = &self.mail {
            mail.tell(event);
        }
    }

    /// Looks at certificates and servers, unless the last look is still going on.
    pub(super) fn look_around(&mut self) {
        let Some(mail) = &self.mail else { return };
        if self.looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
            return;
        }
        let (workshop, config) = (Arc::clone(&self.workshop), Arc::clone(&self.config));
        let (teller, upstreams) = (mail.teller(), self.upstreams());
        self.looking = Some(tokio::spawn(async move {
            let looked = tokio::task::spawn_blocking(move || {
                workshop.state.as_ref().map(|state| report(&config, state, &workshop.factory))
            });
            if let Ok(Some(reports)) = looked.await {
                for one in reports.certificates {
                    let trouble = Trouble::Certificate(one.id.clone());
                    tell(&teller, trouble, trouble_of(&one)).await;
                }
            }
            look_at_servers(upstreams, &teller).await;
        }));
    }

    fn upstreams(&self) -> BTreeMap<String, Arc<Upstream>> {
        let snapshot = self.cell.load();
        let targets = snapshot.targets.iter();
        targets.map(|target| (target.upstream.name().to_owned(), Arc::clone(&target.upstream))).collect()
    }
}

async fn look_at_servers(upstreams: BTreeMap<String, Arc<Upstream>>, teller: &Teller) {
    let free = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (name, upstream) in upstreams {
        // A name that DNS was not yet asked for is no trouble, nor is a container that was stopped; and an upstream is away
        // when none of its servers takes a connection.
        let known: Vec<Arc<[SocketAddr]>> = upstream.members.iter().filter_map(|member| member.addresses()).collect();
        if known.is_empty() {
            continue;
        }
        let addresses = known.concat();
        let free = Arc::clone(&free);
        running.spawn(async move {
            // The semaphore is never closed.
            let _permit = free.acquire().await;
            (name, upstream.place(), accepts(&addresses).await)
        });
    }
    while let Some(looked) = running.join_next().await {
        if let Ok((name, endpoint, outcome)) = looked {
            let said = outcome.err().map(|why| format!("{endpoint}: {why}"));
            tell(teller, Trouble::Upstream(name), said).await;
        }
    }
}

async fn tell(teller: &Teller, trouble: Trouble, said: Option<String>) {
    teller.tell(said.map_or_else(|| Event::Ended(trouble.clone()), |said| Event::Began(trouble.clone(), said))).await;
}

/// Whether one of the addresses takes a connection; nothing is sent.
async fn accepts(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut last = "the name does not resolve".to_owned();
    for address in addresses {
        match tokio::time::timeout(ACCEPTS, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {} s", ACCEPTS.as_secs()),
        }
    }
    Err(last)
}

/// What a person should know of a certificate.
fn trouble_of(one: &CertReport) -> Option<String> {
    let mut said: Vec<String> =
        one.fault.iter().map(|fault| format!("what is stored cannot be used: {fault}")).collect();
    if let Some(fault) = &one.last_error {
        said.push(format!("step {}: {}", fault.step, fault.said));
    }
    if let Some(stored) = &one.stored {
        let left = stored.not_after - OffsetDateTime::now_utc().unix_timestamp();
        if left <= 0 {
            said.push("it has expired".to_owned());
        } else if left < LAST_DAYS {
            said.push(format!("it ends in {} hours", left / 3600));
        }
    }
    let exports =
        one.exports.iter().filter_map(|export| Some((export, export.pending.as_ref()?, export.last_error.as_ref()?)));
    said.extend(
        exports.map(|(export, step, fault)| format!("export to {} waits for {step}: {}", export.to, fault.said)),
    );
    (!said.is_empty()).then(|| format!("{}\n{}", one.names.join(", "), said.join("\n")))
}
