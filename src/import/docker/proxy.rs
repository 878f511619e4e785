//! The nginx-proxy among the containers that `docker inspect` showed: its doors, its certificates, and the files beside it
//! that may protect a host. They are read where they are; a folder that cannot be read may hold anything, and counts as
//! protection.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde_json::Value;

use super::super::home::{Door, Remark};
use super::super::snippet::{self, Carried, Meaning};
use super::super::text::one_line;
use crate::cert::read_file;
use crate::model::PathPattern;

/// More files than this in one folder are not looked at.
const MOST_FILES: usize = 2000;

/// Everything about the proxy that its containers say.
#[derive(Default)]
pub(super) struct Proxy {
    /// Containers that are part of it; empty: it is not among those that were shown.
    pub(super) names: Vec<String>,
    mounts: Vec<(PathBuf, PathBuf)>,
    environment: BTreeMap<String, String>,
    published: Vec<(String, String, String)>,
    is_on_host: bool,
    /// Images that somebody may have built with files of their own inside.
    unusual: Vec<String>,
}

/// Why a host must stay closed, and what the reader should see of it.
pub(super) type Protection = (String, String);

/// What the files beside the proxy mean for one host.
#[derive(Default)]
pub(super) struct Beside {
    /// Why it must stay closed.
    pub(super) protections: Vec<Protection>,
    /// Paths with a life of their own.
    pub(super) paths: Vec<(PathPattern, Carried)>,
    /// What the reader should know.
    pub(super) notes: Vec<Remark>,
}

impl Proxy {
    /// Looks for it among all containers: by its image, and that of the program that writes its files where the two stand
    /// apart.
    pub(super) fn among(containers: &[Value]) -> Proxy {
        let mut proxy = Proxy::default();
        for container in containers {
            let image = text(&container["Config"]["Image"]);
            let program = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
            let is_companion = program.contains("companion");
            if !is_companion && !program.contains("nginx-proxy") && !program.contains("docker-gen") {
                continue;
            }
            for variable in container["Config"]["Env"].as_array().into_iter().flatten() {
                if let Some((name, value)) = variable.as_str().and_then(|variable| variable.split_once('=')) {
                    proxy.environment.insert(name.to_owned(), value.trim().to_owned());
                }
            }
            if is_companion {
                continue;
            }
            if program != "nginx-proxy" || !["nginxproxy/", "jwilder/"].iter().any(|owner| image.contains(owner)) {
                proxy.unusual.push(one_line(image, 100));
            }
            proxy.names.push(text(&container["Name"]).trim_start_matches('/').to_owned());
            proxy.is_on_host |= text(&container["HostConfig"]["NetworkMode"]) == "host";
            for mount in container["Mounts"].as_array().into_iter().flatten() {
                let (to, from) = (PathBuf::from(text(&mount["Destination"])), PathBuf::from(text(&mount["Source"])));
                if !proxy.mounts.iter().any(|(known, _)| *known == to) {
                    proxy.mounts.push((to, from));
                }
            }
            let ports = container["NetworkSettings"]["Ports"].as_object();
            for (inside, bindings) in ports.into_iter().flatten() {
                for binding in bindings.as_array().into_iter().flatten() {
                    let at =
                        (inside.clone(), text(&binding["HostIp"]).to_owned(), text(&binding["HostPort"]).to_owned());
                    proxy.published.push(at);
                }
            }
        }
        proxy.names.sort();
        proxy.published.sort();
        proxy
    }

    /// A variable of the proxy, or of the companion that orders its certificates.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where it listens: as it is published, and nowhere else.
    pub(super) fn door(&self) -> Door {
        let inside = |word: &str, usual: &str| self.variable(word).unwrap_or(usual).to_owned();
        let (http, https) = (inside("HTTP_PORT", "80"), inside("HTTPS_PORT", "443"));
        if self.is_on_host {
            return Door {
                https: format!(":{https}"),
                http: format!(":{http}"),
                why: "as the proxy on the host's network",
            };
        }
        let (seen, safe) = (self.published_at(&https), self.published_at(&http));
        if seen.is_none() && safe.is_none() {
            let why = "the proxy published no port: nobody outside could reach it";
            return Door { https: "127.0.0.1:443".to_owned(), http: "127.0.0.1:80".to_owned(), why };
        }
        let beside = |other: &Option<String>, port: &str| match other.as_deref().and_then(|at| at.rsplit_once(':')) {
            Some((address, _)) => format!("{address}:{port}"),
            None => format!(":{port}"),
        };
        let why = "as the proxy was published";
        Door {
            https: seen.clone().unwrap_or_else(|| beside(&safe, "443")),
            http: safe.unwrap_or_else(|| beside(&seen, "80")),
            why,
        }
    }

    fn published_at(&self, port: &str) -> Option<String> {
        let inside = format!("{port}/tcp");
        let (_, address, outside) =
            self.published.iter().find(|(known, _, outside)| *known == inside && outside.parse::<u16>().is_ok())?;
        Some(match address.parse::<std::net::IpAddr>() {
            Ok(address) if !address.is_unspecified() => {
                std::net::SocketAddr::new(address, outside.parse().ok()?).to_string()
            }
            _ => format!(":{outside}"),
        })
    }

    /// Whom `NETWORK_ACCESS=internal` means, where that was made another list than the usual one.
    pub(super) fn internal(&self) -> Option<Result<Vec<IpNet>, Protection>> {
        let place = self.file("/etc/nginx/network_internal.conf")?;
        let shown = place.display().to_string();
        let Some(text) = read_text(&place) else {
            return Some(Err((
                format!("its own list of internal networks ({shown}) cannot be read here"),
                String::new(),
            )));
        };
        let directives = snippet::read(&text).unwrap_or_default();
        let mut nets = Vec::new();
        for directive in &directives {
            match (directive.name.as_str(), directive.words.as_slice()) {
                ("allow", [net]) => {
                    match net.parse::<IpNet>().or_else(|_| net.parse::<std::net::IpAddr>().map(IpNet::from)) {
                        Ok(net) => nets.push(net.trunc()),
                        Err(_) => {
                            return Some(Err((
                                format!("its own list of internal networks ({shown}) has `{}`", one_line(net, 60)),
                                text,
                            )));
                        }
                    }
                }
                ("deny", [all]) if all == "all" => return Some(Ok(nets)),
                _ => break,
            }
        }
        Some(Err((
            format!("its own list of internal networks ({shown}) is no list of `allow` with `deny all` at its end"),
            text,
        )))
    }

    /// The stem of the certificate files of a host, and the folder they are in: as `CERT_NAME` says, else after the host,
    /// else its parent, else the default.
    pub(super) fn certificate(&self, host: &str, named: Option<&str>) -> Option<(PathBuf, String)> {
        const CERTS: &str = "/etc/nginx/certs";
        let folder = self.file(CERTS)?;
        let known = self.entries(CERTS).unwrap_or_default();
        let is_there =
            |stem: &str| known.contains_key(&format!("{stem}.crt")) && known.contains_key(&format!("{stem}.key"));
        if let Some(named) = named {
            return is_there(named).then(|| (folder, named.to_owned()));
        }
        let bare = host.strip_prefix("*.").unwrap_or(host);
        let parent = bare.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
        let trusts_default = self.variable("TRUST_DEFAULT_CERT") != Some("false");
        let stems = [Some(bare), parent, Some("default").filter(|_| trusts_default)];
        let stem = stems.into_iter().flatten().find(|stem| is_there(stem))?;
        Some((folder, stem.to_owned()))
    }

    /// What the files beside the proxy mean for a host that shows this certificate.
    pub(super) fn beside(&self, host: &str, stem: Option<&str>) -> Beside {
        let mut beside = Beside::default();
        if self.names.is_empty() {
            let why = "nginx-proxy itself is not among these containers, so nobody knows what protected it there \
                       (htpasswd, vhost.d, client certificates): give `docker inspect` of all containers";
            beside.protections.push((why.to_owned(), String::new()));
            return beside;
        }
        self.passwords(host, &mut beside);
        self.snippets(host, &mut beside);
        self.for_all(&mut beside);
        let certs = self.entries("/etc/nginx/certs");
        let stems =
            [Some("ca.crt".to_owned()), stem.map(|stem| format!("{stem}.ca.crt")), Some(format!("{host}.ca.crt"))];
        match certs {
            Ok(files) => {
                for name in stems.into_iter().flatten().filter(|name| files.contains_key(name)) {
                    beside
                        .protections
                        .push((format!("certs/{name}: clients had to show a certificate"), String::new()));
                }
            }
            Err(why) => beside.protections.push((why, String::new())),
        }
        beside
    }

    fn passwords(&self, host: &str, beside: &mut Beside) {
        match self.entries("/etc/nginx/htpasswd") {
            Ok(files) => {
                for name in files.keys().filter(|name| is_about(name, host)) {
                    let name = one_line(name, 120);
                    beside.protections.push((format!("it asked for a password (htpasswd/{name})"), String::new()));
                }
            }
            Err(why) => beside.protections.push((why, String::new())),
        }
    }

    /// `vhost.d`: files of the host itself, else those for every host.
    fn snippets(&self, host: &str, beside: &mut Beside) {
        let files = match self.entries("/etc/nginx/vhost.d") {
            Ok(files) => files,
            Err(why) => return beside.protections.push((why, String::new())),
        };
        let own: Vec<&String> = files.keys().filter(|name| is_about(name, host)).collect();
        let has_own = |is_location: bool| own.iter().any(|name| name.contains("_location") == is_location);
        let shared = [("default", has_own(false)), ("default_location", has_own(true))];
        let shared = shared.into_iter().filter(|(name, is_replaced)| !is_replaced && files.contains_key(*name));
        for name in own.into_iter().map(String::as_str).chain(shared.map(|(name, _)| name)) {
            let shown = one_line(name, 120);
            let Some(text) = files.get(name).and_then(|place| read_text(place)) else {
                beside.protections.push((format!("vhost.d/{shown} cannot be read here"), String::new()));
                continue;
            };
            let text = without_companion(&text);
            match snippet::meaning(&text) {
                Meaning::Protects(what) => beside.protections.push((format!("vhost.d/{shown} has `{what}`"), text)),
                Meaning::Harmless(_) if text.trim().is_empty() => {}
                // A location inside a location is nothing that is known to be harmless.
                Meaning::Harmless(paths) if name.contains("_location") && !paths.is_empty() => {
                    beside.protections.push((format!("vhost.d/{shown} has locations inside a location"), text));
                }
                Meaning::Harmless(paths) => {
                    beside.paths.extend(paths);
                    beside.notes.push(Remark::quoting(
                        format!("vhost.d/{shown} had this; what is no path below is not carried over:"),
                        &text,
                    ));
                }
            }
        }
    }

    /// What holds for every host of the proxy.
    fn for_all(&self, beside: &mut Beside) {
        for image in &self.unusual {
            let why = format!("its image `{image}` may hold files of your own, which nobody sees from here");
            beside.protections.push((why, String::new()));
        }
        let own = [("/app/nginx.tmpl", "its template"), ("/etc/nginx/nginx.conf", "its nginx.conf")];
        for (place, what) in own {
            if let Some(place) = self.file(place) {
                let why = format!("{what} is one of your own ({}), which may ask for anything", place.display());
                beside.protections.push((why, String::new()));
            }
        }
        match self.entries("/etc/nginx/conf.d") {
            Err(why) => beside.protections.push((why, String::new())),
            // What docker-gen writes.
            Ok(files) => {
                for (name, place) in files.iter().filter(|(name, _)| name.ends_with(".conf") && *name != "default.conf")
                {
                    self.whole_file(&format!("conf.d/{}", one_line(name, 120)), place, beside);
                }
            }
        }
        if let Some(place) = self.file("/etc/nginx/proxy.conf") {
            self.whole_file("proxy.conf", &place, beside);
        }
    }

    fn whole_file(&self, name: &str, place: &Path, beside: &mut Beside) {
        let Some(text) = read_text(place) else {
            return beside.protections.push((format!("{name} cannot be read here"), String::new()));
        };
        let Some(directives) = snippet::read(&text) else {
            return beside.protections.push((format!("{name} is not valid nginx configuration"), text));
        };
        let protects = |one: &&snippet::Directive| !snippet::is_definition(one) && !snippet::is_harmless(one);
        if let Some(first) = directives.iter().find(protects) {
            beside.protections.push((format!("{name} has `{}`", one_line(&first.name, 60)), text));
        }
    }

    /// Files of `conf.d` that are hosts of their own, to be told of once.
    pub(super) fn servers(&self) -> Vec<(String, String)> {
        let files = self.entries("/etc/nginx/conf.d").unwrap_or_default();
        let others = files.iter().filter(|(name, _)| name.ends_with(".conf") && *name != "default.conf");
        others
            .filter_map(|(name, place)| Some((one_line(name, 120), read_text(place)?)))
            .filter(|(_, text)| text.contains("server"))
            .collect()
    }

    /// Where a file or folder of the proxy is on the host; `None` if nothing is mounted there or above.
    fn file(&self, inside: &str) -> Option<PathBuf> {
        let inside = Path::new(inside);
        let mounted = self.mounts.iter().filter(|(to, _)| inside.starts_with(to));
        let (to, from) = mounted.max_by_key(|(to, _)| to.components().count())?;
        match inside.strip_prefix(to) {
            Ok(rest) if rest.as_os_str().is_empty() => Some(from.clone()),
            // Absent is only what is seen to be absent.
            Ok(rest) => {
                Some(from.join(rest)).filter(|place| !is_seen(from) || !matches!(place.try_exists(), Ok(false)))
            }
            Err(_) => None,
        }
    }

    /// The files in a folder of the proxy, by name, and those mounted into it one by one.
    fn entries(&self, inside: &str) -> Result<BTreeMap<String, PathBuf>, String> {
        let mut files = BTreeMap::new();
        if let Some(folder) = self.file(inside) {
            let listed = fs::read_dir(&folder).map_err(|cause| {
                let folder = one_line(&folder.display().to_string(), 200);
                format!(
                    "its folder {inside} ({folder}) cannot be read here, and may protect anything ({cause}): run this as \
                     root on the engine's host"
                )
            })?;
            for entry in listed.flatten().take(MOST_FILES) {
                files.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
            }
        }
        for (to, from) in self.mounts.iter().filter(|(to, _)| to.parent() == Some(Path::new(inside))) {
            if let Some(name) = to.file_name() {
                files.insert(name.to_string_lossy().into_owned(), from.clone());
            }
        }
        Ok(files)
    }
}

fn is_seen(place: &Path) -> bool {
    matches!(place.try_exists(), Ok(true))
}

/// `host`, and `host_…` for one of its paths.
fn is_about(name: &str, host: &str) -> bool {
    name.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// acme-companion writes a location for its challenges between two lines of its own. Challenges are answered before any
/// route here.
fn without_companion(text: &str) -> String {
    const BEGIN: &str = "## Start of configuration add by";
    const END: &str = "## End of configuration add by";
    let mut is_inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        match line.trim() {
            line if line.starts_with(BEGIN) => is_inside = true,
            line if line.starts_with(END) => is_inside = false,
            _ if is_inside => {}
            _ => {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    // A section without an end is no section.
    if is_inside { text.to_owned() } else { kept }
}

fn read_text(place: &Path) -> Option<String> {
    read_file(place).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
