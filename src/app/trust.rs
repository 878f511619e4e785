//! `doorward trust`: which certificate an upstream shows today, and its fingerprint written into the file as `pin`.
//! Decides nothing: somebody looks at what was found and says yes. A file that is faulty, or that somebody else keeps
//! (a symlink into the Nix store), is not touched.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use super::peer;
use crate::cert::{ShownCertificate, hex};
use crate::config::{
    self, ActionSpec, Checked, Config, Faults, PinPlace, RouteSpec, TargetSpec, ToSpec, VerifySpec, write_pin,
};
use crate::model::{Endpoint, EndpointHost, HostPattern, Scheme};

/// The most names that one upstream is asked by.
const MOST_NAMES: usize = 40;

/// An upstream whose certificate may be pinned.
pub struct Trustee {
    /// Its name as the file has it.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The names it is asked by in TLS: those of the routes that lead there.
    pub asked_as: Vec<String>,
    /// How it is judged now.
    pub verify: VerifySpec,
    place: PinPlace,
    /// The text that was read and found good.
    text: String,
    path: PathBuf,
}

/// Why there is nothing to trust.
#[derive(Debug)]
pub enum TrustError {
    /// The file is faulty.
    Faults(Faults),
    /// What was asked for is not there, does not answer, or cannot be pinned; in words.
    Impossible(String),
}

/// What an upstream shows.
pub struct Looked {
    /// The certificate.
    pub certificate: ShownCertificate,
    /// Whether it is accepted without a pin, by the roots of this machine; the reason where it is not.
    pub verified: Result<(), String>,
}

/// What became of a pin.
pub enum Pinned {
    /// It was there before.
    Already,
    /// It was written into this file.
    Written(PathBuf),
    /// The file cannot be written here: this line belongs into that table.
    ByHand {
        /// Why.
        why: String,
        /// `[upstreams.home]`
        table: String,
        /// `pin = "sha256:…"`
        line: String,
    },
}

/// Finds an upstream, a route, or a path of one (`route/path`), in a file without faults.
pub fn trustee(path: &Path, asked: &str) -> Result<Trustee, TrustError> {
    let Checked { config, source, .. } = config::load(path).map_err(TrustError::Faults)?;
    let (place, name, target, asked_as) = find(&config, asked).map_err(TrustError::Impossible)?;
    let [to] = target.to.as_slice() else {
        let why = format!(
            "`{name}` has {} addresses, and a pin is one certificate: write `pin` yourself if all of them show the same, \
             else `ca`",
            target.to.len()
        );
        return Err(TrustError::Impossible(why));
    };
    let address = to.value.to_string();
    if to.value.scheme != Scheme::Https {
        let why = format!("`{name}` is reached by {address}: without TLS there is no certificate to trust");
        return Err(TrustError::Impossible(why));
    }
    let asked_as = match (&target.tls_name, asked_as.is_empty()) {
        (Some(name), _) => vec![name.value.to_string()],
        (None, false) => asked_as,
        (None, true) => vec![host_of(&to.value)],
    };
    let verify = target.verify.clone();
    let text = source.text().to_owned();
    Ok(Trustee { name, address, asked_as, verify, place, text, path: path.to_owned() })
}

type Found<'a> = (PinPlace, String, &'a TargetSpec, Vec<String>);

fn find<'a>(config: &'a Config, asked: &str) -> Result<Found<'a>, String> {
    if let Some(upstream) = config.upstreams.iter().find(|upstream| *upstream.name.value == *asked) {
        return Ok(shared(config, &upstream.name.value, &upstream.target));
    }
    let (route_name, path) = match asked.split_once('/') {
        Some((route, path)) => (route, Some(format!("/{path}"))),
        None => (asked, None),
    };
    let is_meant = |route: &&RouteSpec| *route.name.value == *route_name || route.host.to_string() == route_name;
    let Some(route) = config.routes.iter().find(is_meant) else { return Err(unknown(config, route_name)) };
    let Some(path) = path else {
        return match &route.to {
            Some(ToSpec::Address(target)) => {
                let place = PinPlace::Route(route.name.value.to_string());
                Ok((place, route.name.value.to_string(), target, exact(route)))
            }
            Some(ToSpec::Upstream(name)) => named(config, &name.value),
            None => Err(format!("route `{}` has no `to`; name one of its paths: `{0}/…`", route.name.value)),
        };
    };
    let mut rules = route.paths.iter();
    let Some(rule) = rules.find(|rule| rule.pattern.value.to_string() == path) else {
        return Err(format!("route `{}` has no path `{path}`", route.name.value));
    };
    match &rule.action {
        ActionSpec::Forward { to: Some(ToSpec::Upstream(name)), .. } => named(config, &name.value),
        ActionSpec::Forward { to: Some(ToSpec::Address(target)), .. } => {
            let (route_name, upstream) = (route.name.value.to_string(), new_name(config, &route.name.value, &path));
            let place = PinPlace::Path { route: route_name, path, upstream: upstream.clone() };
            Ok((place, upstream, target, exact(route)))
        }
        _ => Err(format!("path `{path}` of `{}` leads to no server of its own", route.name.value)),
    }
}

fn named<'a>(config: &'a Config, name: &str) -> Result<Found<'a>, String> {
    let upstream = config.upstreams.iter().find(|upstream| *upstream.name.value == *name);
    let upstream = upstream.ok_or_else(|| unknown(config, name))?;
    Ok(shared(config, name, &upstream.target))
}

/// An upstream is asked by the names of all routes that lead there.
fn shared<'a>(config: &'a Config, name: &str, target: &'a TargetSpec) -> Found<'a> {
    let leads = |to: &ToSpec| matches!(to, ToSpec::Upstream(to) if *to.value == *name);
    let mut names = Vec::new();
    for route in &config.routes {
        let in_paths = route.paths.iter().any(|path| match &path.action {
            ActionSpec::Forward { to: Some(to), .. } => leads(to),
            _ => false,
        });
        if in_paths || route.to.as_ref().is_some_and(leads) {
            names.extend(exact(route));
        }
    }
    (PinPlace::Upstream(name.to_owned()), name.to_owned(), target, names)
}

fn exact(route: &RouteSpec) -> Vec<String> {
    match &route.host {
        HostPattern::Exact(name) => vec![name.to_string()],
        HostPattern::Wildcard(_) | HostPattern::Trailing(_) | HostPattern::Regex(_) | HostPattern::Any => Vec::new(),
    }
}

fn unknown(config: &Config, asked: &str) -> String {
    let upstreams = config.upstreams.iter().map(|upstream| &upstream.name.value);
    let names = upstreams.chain(config.routes.iter().map(|route| &route.name.value));
    let close = |name: &&std::sync::Arc<str>| strsim::damerau_levenshtein(name, asked) <= 2;
    match names.clone().find(close) {
        Some(guess) => format!("no upstream or route `{asked}`; did you mean `{guess}`?"),
        None => format!("no upstream or route `{asked}`; `doorward routes` lists them"),
    }
}

/// A name for the upstream that a path gets, free in the file.
fn new_name(config: &Config, route: &str, path: &str) -> String {
    let words: Vec<&str> = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let base: String = [&[route], words.as_slice()].concat().join("-").chars().take(50).collect();
    let is_free = |name: &str| !config.upstreams.iter().any(|upstream| *upstream.name.value == *name);
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    std::iter::once(base.clone()).chain(numbered).find(|name| is_free(name)).unwrap_or(base)
}

fn host_of(endpoint: &Endpoint) -> String {
    match &endpoint.host {
        EndpointHost::Ip(address) => address.to_string(),
        EndpointHost::Name(name) => name.to_string(),
    }
}

/// Asks an upstream for its certificate, by every name that it is asked by.
///
/// # Errors
/// In words: it does not answer, speaks no TLS, or shows different certificates for different names.
pub fn look_at(trustee: &Trustee) -> Result<Looked, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|cause| format!("no runtime: {cause}"))?;
    let place = trustee.address.trim_start_matches("https://");
    let place = peer::with_port(place, Scheme::Https.default_port());
    runtime.block_on(async {
        let mut shown: BTreeMap<[u8; 32], (String, ShownCertificate)> = BTreeMap::new();
        for name in trustee.asked_as.iter().take(MOST_NAMES) {
            let certificate = peer::look(&place, name).await?.certificate;
            shown.entry(certificate.fingerprint).or_insert_with(|| (name.clone(), certificate));
        }
        if shown.len() > 1 {
            let all = shown.values().map(|(name, seen)| format!("\n  {name}: {}", seen.pin())).collect::<String>();
            return Err(format!(
                "{place} shows {} certificates, one for each name asked for; one pin cannot mean them all. Give these \
                 routes an address each and pin them one by one:{all}",
                shown.len()
            ));
        }
        let Some((_, (name, certificate))) = shown.into_iter().next() else {
            return Err(format!("{place}: there is no name to ask for"));
        };
        let verified = peer::verify(&place, &name, &VerifySpec::System).await;
        Ok(Looked { certificate, verified })
    })
}

/// Writes a pin into the file, which afterwards is the old one or the new one, whatever happens.
///
/// # Errors
/// In words: the file changed meanwhile, or what came out of the edit would not mean what it should.
pub fn pin(trustee: &Trustee, certificate: &ShownCertificate) -> Result<Pinned, String> {
    if trustee.verify == VerifySpec::Pin(certificate.fingerprint) {
        return Ok(Pinned::Already);
    }
    let shown = trustee.path.display();
    let (table, line) = (table(&trustee.place), format!("pin = \"{}\"", certificate.pin()));
    let Some(text) = write_pin(&trustee.text, &trustee.place, &certificate.pin()) else {
        let why = format!("{shown} is written in a way that cannot be edited safely");
        return Ok(Pinned::ByHand { why, table, line });
    };
    check_edit(trustee, &text, certificate)?;
    let real = fs::canonicalize(&trustee.path).map_err(|cause| format!("{shown}: {cause}"))?;
    if real.starts_with("/nix/store") {
        let why = format!("{shown} is made by Nix ({}); it is written where it comes from", real.display());
        return Ok(Pinned::ByHand { why, table, line });
    }
    let now = fs::read_to_string(&real).map_err(|cause| format!("{shown}: {cause}"))?;
    if now != trustee.text {
        return Err(format!("{shown} changed meanwhile; ask again"));
    }
    match replace(&real, text.as_bytes()) {
        Ok(()) => Ok(Pinned::Written(real)),
        Err(cause) => Ok(Pinned::ByHand { why: format!("{shown} cannot be written: {cause}"), table, line }),
    }
}

/// The edited text must be a good file, and the pin must be where it was meant to be.
fn check_edit(trustee: &Trustee, text: &str, certificate: &ShownCertificate) -> Result<(), String> {
    let wanted = VerifySpec::Pin(certificate.fingerprint);
    let checked =
        config::parse(&trustee.path, text).map_err(|faults| format!("the edit would break the file:\n{faults}"))?;
    let found = checked.config.targets().filter(|target| target.verify == wanted).count();
    let before = match config::parse(&trustee.path, &trustee.text) {
        Ok(before) => before.config.targets().filter(|target| target.verify == wanted).count(),
        Err(_) => 0,
    };
    match found == before + 1 {
        true => Ok(()),
        false => Err(format!("the edit did not pin sha256:{} where it should", hex(&certificate.fingerprint))),
    }
}

fn table(place: &PinPlace) -> String {
    match place {
        PinPlace::Upstream(name) => format!("[upstreams.{name}]"),
        PinPlace::Route(name) if name.contains('.') => format!("[routes.\"{name}\"]"),
        PinPlace::Route(name) => format!("[routes.{name}]"),
        PinPlace::Path { route, path, upstream } => {
            format!("[upstreams.{upstream}] (and `\"{path}\" = \"{upstream}\"` in the paths of `{route}`)")
        }
    }
}

/// A new file beside the old one, with its mode and owner, then put in its place.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = fs::metadata(path)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let temporary = folder.join(format!(".{}.{}", name.display(), std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        let new = file.metadata()?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // Nothing more can be done about a file that does not even want to go.
        let _ = fs::remove_file(&temporary);
    }
    written
}
