//! `doorward demo`: the file of a home, served on loopback by the very program that would serve it there, with an
//! origin of our own in place of every upstream. It prints what to try; it changes no file of the user's.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::origin::Origin;
use super::overlay::{Ports, Stage};
use super::screen::Screen;
use super::{DemoWords, complain, places, run};
use crate::app::{RunOptions, Running};
use crate::config::{ActionSpec, AllowEntry, AllowSpec, Config, PathSpec, RouteSpec};
use crate::model::HostPattern;
use crate::telemetry;

/// The file of the home that Doorward was made for, complete and commented.
const BUILT_IN: &str = include_str!("../../routes.toml");

pub(super) fn demo(words: DemoWords, called_as: &str, mut screen: Screen) -> ExitCode {
    let DemoWords { config, state, port_base, workers } = words;
    telemetry::start_logging();
    let (config, state) = match choose_file(config, state) {
        Ok(chosen) => chosen,
        Err(cause) => {
            complain(format_args!("the state folder cannot be used: {cause}; name another with --state"));
            return ExitCode::FAILURE;
        }
    };
    let origin = match Origin::start() {
        Ok(origin) => origin,
        Err(cause) => {
            complain(format_args!("the demo's origin cannot start: {cause}"));
            return ExitCode::FAILURE;
        }
    };
    let stage = Arc::new(Stage::new(Ports::from_base(port_base), origin, screen.is_terminal()));
    let overlay: crate::app::Overlay = {
        let stage = stage.clone();
        Arc::new(move |config: &mut Config| stage.change(config))
    };
    let file = config.clone();
    let folder = state.clone();
    let options = RunOptions {
        config,
        state,
        workers: workers.map(usize::from),
        overlay: Some(overlay),
        follows: false,
        called_with: None,
    };
    run::serve(options, "`doorward demo --port-base 18443` uses other ports", |running| {
        if let Some(config) = stage.latest() {
            let tour = Tour { called_as, file: &file, state: &folder, config: &config, running };
            tour.show(&mut screen);
        }
    })
}

/// The file and the state folder. Where there is no file, the built-in one is put into the state folder, unless an
/// earlier demo did and somebody may have edited it since.
fn choose_file(config: Option<PathBuf>, state: Option<PathBuf>) -> io::Result<(PathBuf, PathBuf)> {
    let here = PathBuf::from("routes.toml");
    let config = config.or_else(|| here.exists().then(|| here.clone()));
    let state = places::state_folder(state, config.as_deref().unwrap_or(&here));
    places::make_state_folder(&state)?;
    let file = match config {
        Some(file) => file,
        None => {
            let file = state.join("routes.toml");
            match fs::OpenOptions::new().write(true).create_new(true).open(&file) {
                Ok(mut new) => io::Write::write_all(&mut new, BUILT_IN.as_bytes())?,
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(cause),
            }
            file
        }
    };
    Ok((file, state))
}

/// What to look at, with lines that work as they stand.
struct Tour<'a> {
    called_as: &'a str,
    file: &'a Path,
    state: &'a Path,
    config: &'a Config,
    running: &'a Running,
}

impl Tour<'_> {
    fn show(&self, screen: &mut Screen) {
        let file = self.file.display();
        screen.heading(format_args!("doorward demo: {file} on this machine, stand-ins for all upstreams"));
        screen.line("");
        self.show_places(screen);
        self.show_requests(screen);
        self.show_live(screen);
        screen.line("");
        screen.line("Ctrl-C stops it. Below: one line per request.");
        screen.line("");
    }

    fn show_places(&self, screen: &mut Screen) {
        for door in &self.config.doors {
            let known = if door.public_names { "public names only" } else { "local names" };
            for address in &door.https {
                screen.line(format_args!("  {:<9} https://{}   {known}", door.name.value, address.value));
            }
            for address in &door.http {
                let does = if door.https.is_empty() { known } else { "answers 308 to https" };
                screen.line(format_args!("  {:<9} http://{}    {does}", door.name.value, address.value));
            }
        }
        if let Some(metrics) = &self.config.metrics {
            screen.line(format_args!("  {:<9} http://{}/metrics, /healthz, /readyz", "metrics", metrics.listen.value));
        }
        let routes = self.config.routes.len();
        screen.line(format_args!("  {:<9} {routes}, each leading to an echo of what arrived there", "routes"));
        if let Some(ca) = self.ca() {
            screen.line(format_args!("  {:<9} {}", "local CA", ca.display()));
        }
    }

    fn ca(&self) -> Option<&Path> {
        self.running.local_ca.as_deref()
    }

    fn show_requests(&self, screen: &mut Screen) {
        let mut open = self.config.routes.iter().filter_map(plain_name);
        let first = open.next();
        let second = open.next().or(first);
        if let (Some(https), Some(first), Some(second)) = (self.https(), first, second) {
            self.example(screen, "HTTP/1.1, then HTTP/2:", &self.curl(https, first, "/", "--http1.1 "));
            screen.line(self.curl(https, second, "/some/path?and=more", ""));
            self.example(
                screen,
                "An upload, and a download of 1 GiB:",
                &self.curl(https, first, "/", &format!("-T {} ", quoted(self.file))),
            );
            screen.line(self.curl(https, first, "/bytes/1GiB", "-o /dev/null "));
            self.example(
                screen,
                "A WebSocket, as a handshake (any client may go on; what it sends comes back):",
                &self.curl(
                    https,
                    first,
                    "/",
                    "-m 2 --http1.1 -i -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
                     -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' ",
                ),
            );
            if let Some((host, path)) = self.config.routes.iter().find_map(closed_path) {
                self.example(screen, "A path that is not for you (403):", &self.curl(https, host, &path, "-i "));
            }
        }
        if let Some((tunnel, public)) = self.tunnel() {
            let curl =
                |host: &str| format!("curl -i -H 'Host: {host}' -H 'CF-Connecting-IP: 203.0.113.7' http://{tunnel}/");
            self.example(screen, "A public name, as the tunnel brings it:", &curl(public));
            if let Some(first) = first {
                self.example(screen, "A local name does not exist there (404):", &curl(first));
            }
        }
    }

    fn example(&self, screen: &mut Screen, what: &str, line: &str) {
        screen.line("");
        screen.heading(what);
        screen.line(line);
    }

    /// A line that works as it stands, in any folder from which the demo was started.
    fn curl(&self, door: SocketAddr, host: &str, path: &str, more: &str) -> String {
        let port = door.port();
        let ca = self.ca().map(|ca| format!("--cacert {} ", quoted(ca))).unwrap_or_default();
        let path = if path.contains(['?', '&', '*']) {
            format!("'https://{host}:{port}{path}'")
        } else {
            format!("https://{host}:{port}{path}")
        };
        format!("curl --resolve {host}:{port}:127.0.0.1 {ca}{more}{path}")
    }

    fn https(&self) -> Option<SocketAddr> {
        let door = self.config.doors.iter().find(|door| !door.public_names && !door.https.is_empty())?;
        door.https.first().map(|address| address.value)
    }

    fn tunnel_door(&self) -> Option<&str> {
        let mut doors = self.config.doors.iter();
        doors.find(|door| door.public_names && door.https.is_empty()).map(|door| &*door.name.value)
    }

    /// The cleartext door with public names, and a name that it knows.
    fn tunnel(&self) -> Option<(SocketAddr, &str)> {
        let door = self.config.doors.iter().find(|door| door.public_names && door.https.is_empty())?;
        let route = self.config.routes.iter().find(|route| route.allow.is_none() && !route.public.is_empty())?;
        Some((door.http.first()?.value, route.public.first()?.value.as_str()))
    }

    fn show_live(&self, screen: &mut Screen) {
        let program = if self.called_as.contains('/') { self.called_as } else { "doorward" };
        let state = quoted(self.state);
        screen.line("");
        screen.heading("While it runs:");
        let mut ask = |what: &str| screen.line(format_args!("{program} {what} --state {state}"));
        ask("routes");
        if let Some(name) = self.config.routes.iter().find_map(plain_name) {
            ask(&format!("explain https://{name}/ --from lan"));
        }
        if let Some((_, public)) = self.tunnel() {
            ask(&format!("explain https://{public}/ --via {}", self.tunnel_door().unwrap_or("tunnel")));
        }
        ask("tail --errors");
        ask("top");
        ask("reload");
        self.show_plan(screen, program, &state);
        if let Some(metrics) = &self.config.metrics {
            screen.line(format_args!("curl http://{}/metrics", metrics.listen.value));
        }
        screen.line(format_args!("Edit {} and watch: it is read again when its content changes;", self.file.display()));
        screen.line("a faulty file is refused with the reason, and the old routes go on.");
    }
}

impl Tour<'_> {
    /// What the file would change without one of its routes: one that stands on a line of its own, and that no promise names.
    fn show_plan(&self, screen: &mut Screen, program: &str, state: &str) {
        let Ok(text) = fs::read_to_string(self.file) else { return };
        let is_promised = |name: &str| {
            let is_named =
                |host: &HostPattern| matches!(host, HostPattern::Exact(promised) if promised.as_str() == name);
            self.config.expects.iter().any(|expect| is_named(&expect.url.value.host))
        };
        let is_one_line = |route: &RouteSpec| {
            let line = usize::try_from(route.name.line).ok().and_then(|line| text.lines().nth(line.checked_sub(1)?));
            line.is_some_and(|line| {
                line.contains('=') && !line.trim_start().starts_with('[') && line.contains(&*route.name.value)
            })
        };
        let mut routes = self.config.routes.iter().rev();
        let Some(route) = routes.find(|&r| plain_name(r).is_some_and(|name| !is_promised(name)) && is_one_line(r))
        else {
            return;
        };
        let new = quoted(&self.state.join("without.toml"));
        let file = quoted(self.file);
        screen.line("");
        screen.heading(format_args!("What would change without `{}`, before it does:", route.name.value));
        screen.line(format_args!("sed {}d {file} > {new} && {program} plan {new} --state {state}", route.name.line));
        screen.line("");
    }
}

/// A name that loopback may ask for without any rule of its own.
fn plain_name(route: &RouteSpec) -> Option<&str> {
    match &route.host {
        HostPattern::Exact(name) if route.allow.is_none() && route.to.is_some() && route.paths.is_empty() => {
            Some(name.as_str())
        }
        _ => None,
    }
}

/// A path of a route that `lan` may not see.
fn closed_path(route: &RouteSpec) -> Option<(&str, String)> {
    let HostPattern::Exact(name) = &route.host else { return None };
    let closed = |path: &&PathSpec| {
        matches!(path.action, ActionSpec::Forward { .. }) && path.allow.as_ref().is_some_and(shuts_out_lan)
    };
    let path = route.paths.iter().find(closed)?;
    Some((name.as_str(), path.pattern.value.to_string().replace('*', "x")))
}

fn shuts_out_lan(allow: &AllowSpec) -> bool {
    let lets_in = |entry: &AllowEntry| match entry {
        AllowEntry::Anyone => true,
        AllowEntry::Network(name) => &**name == "lan",
        AllowEntry::Net(net) => net.addr().is_loopback(),
    };
    !allow.entries.iter().any(|entry| lets_in(&entry.value))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if text.chars().all(is_plain) && !text.is_empty() { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
