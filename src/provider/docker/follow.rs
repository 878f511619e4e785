//! Keeps an inventory of the engine's containers up to date: a whole look at the beginning, then its events, and a look
//! around twice a minute for what no event told. When the engine goes away the last inventory stays, and it is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::answers;
use super::engine::{DockerError, Engine, Session};
use super::inventory::{Attachment, Container, Inventory, Network, State, Trouble};
use super::surroundings::Surroundings;
use super::{labels, vocabulary};
use crate::cert::SystemRoots;
use crate::config::DockerSpec;

/// Events that come together are acted on together: a container that starts has four within some milliseconds.
const GATHER: Duration = Duration::from_millis(40);

/// However many come, nothing waits longer than this.
const GATHER_AT_MOST: Duration = Duration::from_millis(250);

/// How often the engine is asked for the list, in case an event was missed.
const LOOK_AROUND: Duration = Duration::from_secs(30);

/// The same where nobody lets us have events.
const LOOK_AROUND_BLIND: Duration = Duration::from_secs(3);

/// The answer about one container. Engines have locks for each: one that is stuck keeps nobody else waiting for long.
const ONE: Duration = Duration::from_secs(5);

/// The same for one that the engine did not tell of before.
const ONE_AGAIN: Duration = Duration::from_secs(1);

/// Between two tries to reach the engine: doubles from the first to the last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// How long a container that was removed is remembered. Seconds.
const REMEMBERED: i64 = 3600;

/// How many of them.
const MOST_REMEMBERED: usize = 500;

/// What is known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The containers; `None` before the engine has answered once.
    pub inventory: Option<Arc<Inventory>>,
    /// Why the engine cannot be asked at present.
    pub trouble: Option<Arc<str>>,
}

/// A follower of one engine; ends when it is dropped.
pub struct DockerWatch {
    known: watch::Receiver<Known>,
    task: JoinHandle<()>,
}

impl Drop for DockerWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DockerWatch {
    /// Begins to follow the engine of a file, on the runtime of the caller.
    pub fn start(spec: &DockerSpec, roots: Arc<SystemRoots>) -> DockerWatch {
        let (publish, known) = watch::channel(Known::default());
        let spec = spec.clone();
        let task = tokio::spawn(follow(spec, roots, publish));
        DockerWatch { known, task }
    }

    /// Waits until something is known that was not seen yet. May be dropped at any moment: nothing is lost.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // The follower is gone, which it never is by itself: there is nothing to wait for.
            std::future::pending::<()>().await;
        }
    }

    /// What is known now; counts as seen.
    pub fn known(&mut self) -> Known {
        self.known.borrow_and_update().clone()
    }
}

/// Asks the engine once, for `doorward docker` without a running Doorward.
///
/// # Errors
/// Why the engine cannot be asked.
pub async fn look_once(spec: &DockerSpec, roots: &SystemRoots) -> Result<Inventory, DockerError> {
    let engine = Engine::new(spec, roots)?;
    let mut session = engine.open().await?;
    let mut seen = Seen::default();
    seen.look_around(&mut session).await?;
    Ok(seen.inventory())
}

async fn follow(spec: DockerSpec, roots: Arc<SystemRoots>, publish: watch::Sender<Known>) {
    let mut seen = Seen::default();
    let mut pause = AGAIN.0;
    loop {
        let began = Instant::now();
        let Err(error) = follow_until_broken(&spec, &roots, &mut seen, &publish).await;
        let trouble: Arc<str> = error.to_string().into();
        // Told once for each kind of trouble, not for each try.
        let is_new = publish.borrow().trouble.as_ref() != Some(&trouble);
        if is_new {
            tracing::warn!("containers: {trouble}; what was known stays in force");
            publish.send_modify(|known| known.trouble = Some(trouble));
        }
        pause = if began.elapsed() > AGAIN.1 { AGAIN.0 } else { (pause * 2).min(AGAIN.1) };
        tokio::time::sleep(pause).await;
    }
}

async fn follow_until_broken(
    spec: &DockerSpec,
    roots: &SystemRoots,
    seen: &mut Seen,
    publish: &watch::Sender<Known>,
) -> Result<std::convert::Infallible, DockerError> {
    let engine = Engine::new(spec, roots)?;
    // Events first: what happens while we look around is told by them.
    let mut events = match engine.open().await?.events().await {
        Ok(events) => Some(events),
        Err(error) if error.is_forbidden() => {
            tracing::warn!("containers: {error}; without events they are looked at every 3 s");
            None
        }
        Err(error) => return Err(error),
    };
    let mut session = engine.open().await?;
    seen.look_around(&mut session).await?;
    drop(session);
    let every = if events.is_some() { LOOK_AROUND } else { LOOK_AROUND_BLIND };
    if publish.borrow().trouble.is_some() || publish.borrow().inventory.is_none() {
        tracing::info!(containers = seen.containers.len(), "containers: following {}", engine.place);
    }
    seen.publish(publish);
    let mut next_look = Instant::now() + every;
    let mut dirty: BTreeSet<String> = BTreeSet::new();
    let (mut act_at, mut act_by) = (next_look, next_look);
    loop {
        let is_gathering = !dirty.is_empty();
        tokio::select! {
            event = async { match events.as_mut() { Some(events) => events.next().await, None => std::future::pending().await } } => {
                let Some(event) = event else { return Err(ended(&engine)) };
                let Some(id) = event.container() else { continue };
                let now = Instant::now();
                if !is_gathering {
                    act_by = now + GATHER_AT_MOST;
                }
                act_at = (now + GATHER).min(act_by);
                dirty.insert(id.to_owned());
            }
            () = sleep_until(act_at), if is_gathering => {
                let mut session = engine.open().await?;
                seen.look_at(&mut session, std::mem::take(&mut dirty)).await?;
                seen.publish(publish);
            }
            () = sleep_until(next_look) => {
                let mut session = engine.open().await?;
                seen.look_around(&mut session).await?;
                seen.publish(publish);
                next_look = Instant::now() + every;
            }
        }
    }
}

fn ended(engine: &Engine) -> DockerError {
    let cause = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the engine ended its stream of events");
    DockerError::Unreachable { place: engine.place.clone(), cause, hint: "" }
}

/// All that was seen so far.
#[derive(Default)]
struct Seen {
    containers: BTreeMap<String, Arc<Container>>,
    /// What the list said of each when it was looked at.
    prints: BTreeMap<String, String>,
    /// Those that the engine could not tell of when it was asked last, and why. They are asked for at every look around.
    untold: BTreeMap<String, String>,
    removed: Vec<(i64, Arc<Container>)>,
    networks: Vec<Network>,
    surroundings: Surroundings,
    remote: Option<std::net::IpAddr>,
}

impl Seen {
    /// Looks at everything; containers that the list shows unchanged are not looked at again.
    async fn look_around(&mut self, session: &mut Session<'_>) -> Result<(), DockerError> {
        const LIST: &str = "/containers/json?all=1";
        let answer = session.ask(LIST).await?;
        let listed = answers::list(&answer).map_err(|error| session.unreadable(LIST, &error))?;
        let names: BTreeMap<String, String> = listed.iter().map(|one| (one.id.clone(), one.name())).collect();
        self.remote = session.remote;
        self.look_at_networks(session).await?;
        let mut prints: BTreeMap<String, String> = listed.iter().map(|one| (one.id.clone(), one.print())).collect();
        let gone: Vec<String> = self.containers.keys().filter(|id| !prints.contains_key(*id)).cloned().collect();
        gone.iter().for_each(|id| self.remove(id));
        let changed: Vec<String> =
            prints.iter().filter(|(id, print)| self.prints.get(*id) != Some(print)).map(|(id, _)| id.clone()).collect();
        for id in self.trouble_last(changed) {
            self.inspect(session, &id, names.get(&id).map_or("", String::as_str)).await?;
        }
        prints.retain(|id, _| !self.untold.contains_key(id));
        self.prints = prints;
        Ok(())
    }

    /// Looks at containers that events named.
    async fn look_at(&mut self, session: &mut Session<'_>, dirty: BTreeSet<String>) -> Result<(), DockerError> {
        for id in self.trouble_last(dirty) {
            self.inspect(session, &id, "").await?;
            // What the list will say of it is not known.
            self.prints.remove(&id);
        }
        let knows = |container: &Arc<Container>| {
            let is_known = |at: &Attachment| self.networks.iter().any(|net| net.id == at.id || net.name == at.network);
            container.networks.iter().all(is_known)
        };
        if !self.containers.values().all(knows) {
            self.look_at_networks(session).await?;
        }
        self.surroundings = Surroundings::here();
        Ok(())
    }

    async fn look_at_networks(&mut self, session: &mut Session<'_>) -> Result<(), DockerError> {
        const NETWORKS: &str = "/networks";
        self.surroundings = Surroundings::here();
        self.networks = match session.ask(NETWORKS).await {
            Ok(answer) => answers::networks(&answer).map_err(|error| session.unreadable(NETWORKS, &error))?,
            // A socket proxy that shows containers only is enough for most.
            Err(error) if error.is_forbidden() || error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Those that the engine was stuck with come after all others.
    fn trouble_last(&self, ids: impl IntoIterator<Item = String>) -> Vec<String> {
        let (stuck, well): (Vec<String>, Vec<String>) = ids.into_iter().partition(|id| self.untold.contains_key(id));
        well.into_iter().chain(stuck).collect()
    }

    /// Looks at one. What is wrong with it alone is nobody else's loss.
    async fn inspect(&mut self, session: &mut Session<'_>, id: &str, name: &str) -> Result<(), DockerError> {
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(());
        }
        let patience = if self.untold.contains_key(id) { ONE_AGAIN } else { ONE };
        match session.ask_within(&format!("/containers/{id}/json"), patience).await {
            Ok(answer) => match answers::container(&answer) {
                Ok(container) => {
                    self.untold.remove(id);
                    self.removed.retain(|(_, known)| known.name != container.name);
                    self.containers.insert(id.to_owned(), Arc::new(container));
                }
                Err(error) => self.not_told(id, name, &format!("its answer cannot be read: {error}")),
            },
            Err(error) if error.is_not_found() => self.remove(id),
            Err(error) if error.is_about_one_answer() => {
                self.not_told(id, name, &error.reason());
                // An engine that is gone altogether shows here.
                session.renew().await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What was known of a container stays, with a word on it; one that was not known is there, and no more.
    fn not_told(&mut self, id: &str, name: &str, why: &str) {
        let short = &id[..id.len().min(12)];
        let why = vocabulary::cut(why);
        let container = match self.containers.get(id).filter(|known| !known.created.is_empty()) {
            Some(known) => {
                let stale = || Trouble::Stale(why.as_str().into());
                let worse = known.trouble.clone().filter(|trouble| matches!(trouble, Trouble::Unusable(_)));
                Container { trouble: Some(worse.unwrap_or_else(stale)), ..(**known).clone() }
            }
            None => Container::untold(id, if name.is_empty() { short } else { name }, &why),
        };
        if self.untold.get(id) != Some(&why) {
            tracing::warn!("containers: {} ({short}) cannot be looked at: {why}", container.name);
        }
        self.containers.insert(id.to_owned(), Arc::new(container));
        self.untold.insert(id.to_owned(), why);
    }

    /// Forgets a container; one that asked for something is remembered for a while.
    fn remove(&mut self, id: &str) {
        self.prints.remove(id);
        self.untold.remove(id);
        let Some(container) = self.containers.remove(id) else { return };
        let is_usable = !matches!(container.trouble, Some(Trouble::Unusable(_)));
        let asks = is_usable && (vocabulary::is_spoken_by(&container) || labels::is_spoken_by(&container));
        let is_replaced = self.containers.values().any(|other| other.name == container.name);
        if asks && !is_replaced {
            let now = now();
            let removed = Container { state: State::Removed, since: Some(now), ..(*container).clone() };
            self.removed.push((now, Arc::new(removed)));
        }
    }

    fn inventory(&self) -> Inventory {
        let removed = self.removed.iter().map(|(_, container)| Arc::clone(container));
        let mut inventory = Inventory {
            containers: self.containers.values().cloned().chain(removed).collect(),
            networks: self.networks.clone(),
            surroundings: self.surroundings.clone(),
            remote: self.remote,
            prefers_lasting: false,
        };
        inventory.sort();
        inventory
    }

    fn publish(&mut self, publish: &watch::Sender<Known>) {
        let now = now();
        self.removed.retain(|(since, _)| now - since < REMEMBERED);
        let surplus = self.removed.len().saturating_sub(MOST_REMEMBERED);
        self.removed.drain(..surplus);
        let inventory = self.inventory();
        publish.send_if_modified(|known| {
            let is_new = known.trouble.is_some() || known.inventory.as_deref() != Some(&inventory);
            if is_new {
                *known = Known { inventory: Some(Arc::new(inventory)), trouble: None };
            }
            is_new
        });
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
