//! nginx-proxy's containers, as `docker inspect` shows them, as a home in our words. What they ask for is read by the same
//! code that follows a running engine; what the files beside the proxy add is read where they are.

mod certificates;
mod proxy;
mod routes;

use std::path::Path;

use serde_json::Value;

use super::home::{Admission, Home, Remark};
use super::text::one_line;
use super::{ImportError, Imported, write};
use crate::config::{self, Config};
use crate::provider::docker::{Inventory, Kind, Verdict, from_inspect, translate};
use certificates::Certificates;
use proxy::Proxy;
use routes::Routes;

/// A file that has nothing but `[docker]`: what containers ask for is judged by it.
const NOTHING_ELSE: &str =
    "allow = [\"anyone\"]\n[listen.main]\nhttps = \":443\"\n[docker]\nspeak = \"nginx-proxy\"\nhealth = \"ignore\"\n";

/// Makes a routes.toml of what `docker inspect` printed, in one text or in several, each with its name for messages. Files
/// of the proxy itself are looked for on this machine; nothing is written.
///
/// # Errors
/// A text is something else, or no container in it asks nginx-proxy for anything.
pub fn import_docker(texts: &[(&Path, Vec<u8>)]) -> Result<Imported, ImportError> {
    let mut containers: Vec<Value> = Vec::new();
    let mut networks: Vec<Value> = Vec::new();
    for (path, text) in texts {
        let not = |why: String| ImportError::NotInspect { path: path.to_path_buf(), why };
        let all: Vec<Value> = serde_json::from_slice(text).map_err(|error| not(error.to_string()))?;
        for one in all {
            let into = if one.get("HostConfig").is_some() { &mut containers } else { &mut networks };
            if !into.iter().any(|known| known["Id"] == one["Id"]) {
                into.push(one);
            }
        }
    }
    let first = texts.first().map(|(path, _)| path.to_path_buf()).unwrap_or_default();
    let not = |why: String| ImportError::NotInspect { path: first.clone(), why };
    let proxy = Proxy::among(&containers);
    let number = containers.len();
    let text = serde_json::to_vec(&[containers, networks].concat()).map_err(|error| not(error.to_string()))?;
    let mut inventory = from_inspect(&text).map_err(|error| not(error.to_string()))?;
    inventory.prefers_lasting = true;
    let config = nothing_else().map_err(|faults| not(faults.to_string()))?;
    if inventory
        .containers
        .iter()
        .all(|one| one.setting("VIRTUAL_HOST").or(one.setting("VIRTUAL_HOST_MULTIPORTS")).is_none())
    {
        return Err(ImportError::NobodyAsks { path: first, number });
    }
    Ok(made(&config, &inventory, &proxy))
}

fn nothing_else() -> Result<Config, config::Faults> {
    Ok(config::parse(Path::new("routes.toml"), NOTHING_ELSE)?.config)
}

fn made(config: &Config, inventory: &Inventory, proxy: &Proxy) -> Imported {
    let translation = translate(config, inventory);
    let mut certificates = Certificates::new(proxy);
    let mut routes = Routes::new(inventory, &translation.verdicts, proxy);
    for spec in &translation.routes {
        routes.add(spec, &mut certificates);
    }
    routes.add_default();
    let mut home = Home { door: (!proxy.names.is_empty()).then(|| proxy.door()), ..Home::default() };
    (home.routes, home.left) = routes.finish();
    home.certs = certificates.finish(&mut home.left);
    home.left.extend(translation.verdicts.iter().filter_map(not_routed));
    for (name, text) in proxy.servers() {
        home.left.push(Remark::quoting(format!("The proxy's conf.d/{name} is not carried over:"), &text));
    }
    let closed = home.routes.iter().filter(|route| route.admission == Admission::Nobody).count();
    let left = home.left.len();
    home.head = head(proxy, translation.routes.len(), closed, left);
    Imported { file: write::write(&home), routes: home.routes.len(), closed, left }
}

/// A container that asks for something and gets no route.
fn not_routed(verdict: &Verdict) -> Option<Remark> {
    let name = one_line(&verdict.container, 80);
    let why = one_line(&verdict.why, 300);
    match verdict.verdict {
        Kind::NotRouted => Some(Remark::new(format!("The container {name}: {why}."))),
        Kind::Conflict => Some(Remark::new(format!("The container {name} shares a name with another: {why}."))),
        Kind::Routed | Kind::Waiting | Kind::Away | Kind::Unlabelled => None,
    }
}

fn head(proxy: &Proxy, names: usize, closed: usize, left: usize) -> Vec<String> {
    let mut head = vec![format!(
        "Made by `doorward import docker` of containers that nginx-proxy served: {}.",
        if names == 1 { "1 name".to_owned() } else { format!("{names} names") }
    )];
    head.push(
        "On the engine's own host this file is not needed: with a table `[docker]` Doorward follows the containers by itself, \
         reads the same variables, and knows their new addresses. See docs/docker.md."
            .to_owned(),
    );
    if closed > 0 {
        head.push(format!(
            "{} nobody for now: something protected what is behind, or may have. Look for CLOSED.",
            if closed == 1 { "1 route admits".to_owned() } else { format!("{closed} routes admit") }
        ));
    }
    if left > 0 {
        head.push(format!(
            "{} to be known beside the routes: see the end.",
            if left == 1 { "1 thing is".to_owned() } else { format!("{left} things are") }
        ));
    }
    if !proxy.names.is_empty() && proxy.variable("TRUST_DOWNSTREAM_PROXY") != Some("false") {
        head.push(
            "nginx-proxy believed what anybody said of the client (X-Forwarded-*); here nobody is believed. If another \
             gateway stands in front, write `trust = [\"its address\"]` into the door."
                .to_owned(),
        );
    }
    head.push("WebSockets always work here, and uploads have no limit.".to_owned());
    head.push("  Is it right?              doorward check routes.toml".to_owned());
    head.push("  Does it answer the same?  doorward compare --old OLD:443 --new NEW:443".to_owned());
    head
}
