//! `doorward docker` without a running Doorward: the engine is asked once, or what `docker inspect` printed is judged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::AppError;
use crate::cert::SystemRoots;
use crate::config::{self, Config};
use crate::provider::docker::{Inventory, Verdicts, from_inspect, look_once, translate};

/// How long a start waits for the engine.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// A file that has nothing but `[docker]`: what containers are judged by where there is no file.
const NOTHING_ELSE: &str = "allow = [\"anyone\"]\n[listen.web]\nhttps = \":443\"\n[docker]\n";

/// Every container of the engine that a file names.
///
/// # Errors
/// The file is faulty, has no `[docker]`, or the engine cannot be asked.
pub fn containers(path: &Path) -> Result<Verdicts, AppError> {
    let config = config::load(path)?.config;
    let Some(spec) = &config.docker else { return Err(AppError::NoDocker { path: path.to_owned() }) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Start)?;
    let inventory = runtime.block_on(look_once(spec, &SystemRoots::load())).map_err(AppError::Docker)?;
    Ok(told(spec.socket.value.clone(), &config, &inventory))
}

/// What the engine of a file says at once: names of containers are known before the first door opens, where it answers in
/// time. `None`: it is followed from then on as usual.
pub fn first_look(path: &Path) -> Option<Arc<Inventory>> {
    // Faults of the file are told by whoever reads it next.
    let spec = config::load(path).ok()?.config.docker?;
    let look = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let roots = SystemRoots::load();
        let looked = runtime.block_on(async { tokio::time::timeout(FIRST_LOOK, look_once(&spec, &roots)).await });
        // Whoever still asks for the engine's name in DNS is not waited for.
        runtime.shutdown_background();
        looked.ok()?.ok()
    };
    std::thread::spawn(look).join().ok().flatten().map(Arc::new)
}

/// Every container in what `docker inspect` printed, judged by a file (else by one that has nothing but `[docker]`), as if
/// Doorward ran on the engine's host.
///
/// # Errors
/// The file is faulty, or the text is not what `docker inspect` prints.
pub fn inspected(path: Option<&Path>, text: &[u8]) -> Result<Verdicts, AppError> {
    let mut config = match path {
        Some(path) => config::load(path)?.config,
        None => nothing_else()?,
    };
    if config.docker.is_none() {
        config.docker = nothing_else()?.docker;
    }
    let inventory = from_inspect(text).map_err(AppError::Inspect)?;
    Ok(told(String::new(), &config, &inventory))
}

fn nothing_else() -> Result<Config, AppError> {
    Ok(config::parse(Path::new("routes.toml"), NOTHING_ELSE)?.config)
}

fn told(engine: String, config: &Config, inventory: &Inventory) -> Verdicts {
    let verdicts = translate(config, inventory).verdicts;
    Verdicts::new(engine, None, verdicts, OffsetDateTime::now_utc().unix_timestamp())
}
