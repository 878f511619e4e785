//! Containers as the control plane sees them: which engine is followed, what a change there comes to, what people ask
//! about it. A change of containers is no reload: the file in force stays, and only what differs is published.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::load::Ingredients;
use super::{Control, aside};
use crate::admin::Answer;
use crate::config::DockerSpec;
use crate::provider::docker::{DockerWatch, Inventory, Known, Translation, Verdict, Verdicts, translate};
use crate::telemetry::ContainerCounts;

/// What is known of containers, and how.
#[derive(Default)]
pub(super) struct Containers {
    follower: Option<(DockerSpec, DockerWatch)>,
    known: Known,
    in_force: Translation,
}

impl Containers {
    /// Waits until the engine has told something new; for ever where none is followed. May be dropped while it waits.
    pub(super) async fn changed(&mut self) {
        match &mut self.follower {
            Some((_, watch)) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// What is known of the engine's containers.
    pub(super) fn inventory(&self) -> Option<Arc<Inventory>> {
        self.known.inventory.clone()
    }
}

impl Control {
    /// The same at the start, where the engine was looked at before it is followed.
    pub(super) fn begin_containers(&mut self, translation: Translation, seen: Option<Arc<Inventory>>) {
        self.keep_containers(translation);
        if self.containers.follower.is_some() {
            self.containers.known.inventory = seen;
        }
    }

    /// Follows the engine that the file in force names, and no other.
    pub(super) fn keep_containers(&mut self, translation: Translation) {
        let wanted = self.config.docker.as_ref();
        let containers = &mut self.containers;
        // Only what names the engine, or how it is reached, makes it another one.
        let way = |spec: &DockerSpec| {
            (
                spec.socket.value.clone(),
                [&spec.ca, &spec.cert, &spec.key].map(|path| path.as_ref().map(|path| path.value.clone())),
            )
        };
        let followed = containers.follower.as_ref().map(|(spec, _)| way(spec));
        if wanted.map(way) != followed {
            containers.known = Known::default();
            containers.follower =
                wanted.map(|spec| (spec.clone(), DockerWatch::start(spec, Arc::clone(&self.workshop.roots))));
        }
        self.tell_containers(translation);
    }

    /// The engine told something new.
    pub(super) async fn containers_changed(&mut self) {
        let Some((_, watch)) = &mut self.containers.follower else { return };
        self.containers.known = watch.known();
        let Some(inventory) = self.containers.inventory() else { return self.count_containers() };
        let translation = translate(&self.config, &inventory);
        let before = self.publisher.current();
        if translation.routes == self.containers.in_force.routes && !before.awaits_containers {
            return self.tell_containers(translation);
        }
        let workshop = Arc::clone(&self.workshop);
        let of = Ingredients {
            config: Arc::clone(&self.config),
            source: self.source.clone(),
            warnings: Vec::new(),
            containers: Some(inventory),
        };
        let local_ca = self.local_ca.clone();
        let prepared = aside({
            let before = Arc::clone(&before);
            move || workshop.assemble_containers(of, &before, local_ca)
        });
        let outcome = match prepared.await {
            Ok(Ok(prepared)) => self.adopt(prepared, &before),
            Ok(Err(faults)) => Err(faults.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(what) => {
                self.metrics.set_generation(before.generation + 1);
                let first = what.lines().next().unwrap_or_default();
                tracing::debug!(generation = before.generation + 1, "containers changed: {first}");
            }
            Err(why) => tracing::error!("containers changed, but: {why}"),
        }
    }

    /// One line for each container that has another verdict than before, none for the others.
    fn tell_containers(&mut self, translation: Translation) {
        let before: HashMap<(&str, &str), &Verdict> =
            self.containers.in_force.verdicts.iter().map(|one| ((&*one.container, &*one.id), one)).collect();
        for verdict in &translation.verdicts {
            let known = before.get(&(&*verdict.container, &*verdict.id));
            let is_news = known.map_or(!verdict.is_silent(), |known| verdict.is_news_after(known));
            if is_news {
                tracing::info!("container {}: {}", verdict.container, verdict.in_one_line());
            }
            for note in verdict.notes.iter().filter(|note| !known.is_some_and(|known| known.notes.contains(*note))) {
                tracing::warn!("container {}: {note}", verdict.container);
            }
        }
        self.containers.in_force = translation;
        self.count_containers();
    }

    fn count_containers(&self) {
        let followed = self.containers.follower.as_ref().map(|_| ContainerCounts {
            is_connected: self.containers.known.trouble.is_none() && self.containers.known.inventory.is_some(),
            by_verdict: Verdicts::counts(&self.containers.in_force.verdicts),
        });
        self.metrics.set_containers(followed);
    }

    /// Every container with its verdict.
    pub(super) fn containers_told(&self) -> Answer {
        let Some((spec, _)) = &self.containers.follower else {
            return Answer::refused("no engine is followed: the file in force has no [docker]\n");
        };
        let Known { inventory, trouble } = &self.containers.known;
        let trouble = match (inventory, trouble) {
            (_, Some(trouble)) => Some(trouble.to_string()),
            (None, None) => Some("it has not answered yet".to_owned()),
            (Some(_), None) => None,
        };
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let told = Verdicts::new(spec.socket.value.clone(), trouble, self.containers.in_force.verdicts.clone(), now);
        Answer::done(told.to_string(), serde_json::json!(told))
    }
}
