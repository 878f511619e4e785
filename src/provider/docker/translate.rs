//! From containers to routes: pure, the same for the same facts, whatever the order in which they were learnt. Every
//! container gets its verdict; what is wrong with one is nobody else's loss.
//!
//! The file wins over containers. Of containers that disagree, those that run count before those that do not, and the
//! older before the younger. A container may narrow who enters, never widen.

mod allow;
mod sites;

use std::sync::Arc;

use super::address::{Reached, choose, default_port};
use super::inventory::{Container, Health, Inventory, State, Trouble};
use super::labels;
use super::verdict::{Kind, Lead, Verdict};
use super::vocabulary;
use super::wishes::{Place, Wishes};
use crate::config::{CertSource, CertSpec, Config, DockerSpec, RouteSpec};

/// What the containers come to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Translation {
    /// The routes, beside the file's.
    pub routes: Vec<RouteSpec>,
    /// Every container, in the order of the inventory.
    pub verdicts: Vec<Verdict>,
}

/// One container that asks for something.
struct Asking<'a> {
    /// Its place in the inventory.
    index: usize,
    container: &'a Container,
    wishes: Wishes,
    readiness: Readiness,
}

/// Whether a container gets requests.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Readiness {
    Ready,
    Waiting(&'static str),
    Away(String),
}

/// Makes routes of containers. Without `[docker]` in the file there are none.
pub fn translate(config: &Config, inventory: &Inventory) -> Translation {
    let Some(docker) = &config.docker else { return Translation::default() };
    let mut verdicts: Vec<Verdict> = inventory.containers.iter().map(bare).collect();
    let mut asking: Vec<Asking<'_>> = Vec::new();
    for (index, container) in inventory.containers.iter().enumerate() {
        match wishes_of(container, docker, config) {
            None if docker.speak.iter().any(|spoken| spoken.value == "nginx-proxy") => {
                verdicts[index].notes = vocabulary::stray(container);
            }
            None => {}
            Some(Ok(wishes)) => {
                let notes = &mut verdicts[index].notes;
                notes.extend(container.remarks.iter().chain(&wishes.notes).cloned());
                if let Some(Trouble::Stale(why)) = &container.trouble {
                    notes.push(format!("the engine does not tell of it now, and it is routed as it was last: {why}"));
                }
                asking.push(Asking { index, container, wishes, readiness: readiness(container, docker) });
            }
            Some(Err(why)) => {
                verdicts[index].verdict = Kind::NotRouted;
                verdicts[index].why = why;
            }
        }
    }
    // Those that run come first, and the older before the younger: the sort keeps the order of equals.
    asking.sort_by_key(|one| one.readiness != Readiness::Ready);
    let routes = sites::routes(config, docker, inventory, &asking, &mut verdicts);
    for one in &asking {
        settle(one, &mut verdicts[one.index]);
    }
    verdicts.retain(|verdict| !is_over(verdict, inventory));
    verdicts.iter_mut().for_each(Verdict::tidy);
    Translation { routes, verdicts }
}

/// A container that was removed, and whose names are all somebody else's by now.
fn is_over(verdict: &Verdict, inventory: &Inventory) -> bool {
    let removed = |one: &&Arc<Container>| one.state == State::Removed && one.id.starts_with(&verdict.id);
    verdict.leads.is_empty()
        && inventory.containers.iter().any(|one| removed(&one) && one.name.as_ref() == verdict.container)
}

/// What a container asks for, in the first vocabulary that it speaks; `None` if it asks for nothing.
fn wishes_of(container: &Container, docker: &DockerSpec, config: &Config) -> Option<Result<Wishes, String>> {
    let speaks = |language: &str| docker.speak.iter().any(|spoken| spoken.value == language);
    let domain = config.domain.as_ref().map(|domain| &domain.value);
    if let Some(Trouble::Unusable(why)) = &container.trouble {
        return Some(Err(why.to_string()));
    }
    if speaks("doorward") && labels::is_spoken_by(container) {
        return Some(labels::read(container, domain).and_then(|wishes| allow::check(wishes, config)));
    }
    if speaks("nginx-proxy") && vocabulary::is_spoken_by(container) {
        return Some(vocabulary::read(container).map(|wishes| with_certificate(wishes, config)));
    }
    None
}

/// The `[cert.<id>]` that a container means: by its id, else by the name of its file, which is what nginx-proxy knows it by.
/// One that the file does not have is told.
fn with_certificate(mut wishes: Wishes, config: &Config) -> Wishes {
    let Some(asked) = wishes.terms.cert.take() else { return wishes };
    let by_id = config.certs.iter().find(|cert| *cert.id.value == *asked);
    let is_file = |cert: &&CertSpec| match &cert.source {
        CertSource::Files { cert, .. } => cert.value.file_stem().is_some_and(|stem| *stem == *asked),
        CertSource::Acme(_) => false,
    };
    wishes.terms.cert = by_id.or_else(|| config.certs.iter().find(is_file)).map(|cert| Arc::clone(&cert.id.value));
    if wishes.terms.cert.is_none() {
        let id = vocabulary::cut(&asked);
        wishes.notes.push(format!(
            "CERT_NAME is `{id}`, and the file has no [cert.{id}]: the certificate that covers the name is shown"
        ));
    }
    wishes
}

fn readiness(container: &Container, docker: &DockerSpec) -> Readiness {
    match &container.state {
        State::Running(Health::Starting) if docker.health_wait => {
            Readiness::Waiting("its health check has not passed yet")
        }
        State::Running(Health::Unhealthy) if docker.health_wait => Readiness::Waiting("its health check fails"),
        State::Running(_) => Readiness::Ready,
        State::Paused => Readiness::Away("paused".to_owned()),
        State::Stopped(word) => Readiness::Away(format!("not running ({word})")),
        State::Removed => Readiness::Away("removed".to_owned()),
    }
}

fn bare(container: &Arc<Container>) -> Verdict {
    Verdict {
        container: container.name.to_string(),
        id: container.id.chars().take(12).collect(),
        verdict: Kind::Unlabelled,
        leads: Vec::new(),
        why: String::new(),
        since: container.since,
        notes: Vec::new(),
    }
}

/// The last word on a container, once its sites have had theirs.
fn settle(one: &Asking<'_>, verdict: &mut Verdict) {
    match &one.readiness {
        // Its sites said what is wrong.
        _ if matches!(verdict.verdict, Kind::NotRouted | Kind::Conflict) => {}
        Readiness::Ready => verdict.verdict = Kind::Routed,
        Readiness::Waiting(why) => (verdict.verdict, verdict.why) = (Kind::Waiting, (*why).to_owned()),
        Readiness::Away(why) => (verdict.verdict, verdict.why) = (Kind::Away, why.clone()),
    }
}

/// Where one place of a container leads.
fn reach(one: &Asking<'_>, place: &Place, docker: &DockerSpec, inventory: &Inventory) -> Reached {
    let port = place.port.unwrap_or_else(|| default_port(one.container));
    let considered: Vec<&str> = docker.networks.iter().map(|name| name.value.as_str()).collect();
    choose(one.container, port, &considered, inventory)
}

fn lead(name: String, to: Option<String>) -> Lead {
    Lead { name, to }
}

#[cfg(test)]
mod tests;
