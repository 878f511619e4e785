//! The rules between sections: names and addresses claimed twice, and what no door would ever serve.
//! Looks at what was read; asks neither the machine nor the network.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::reading::Reading;
use super::section::Section;
use super::{AllowEntry, Config, Located, RouteSpec, Span, TrustSpec};

/// Reports what is wrong with the file as a whole.
pub(super) fn check(reading: &Reading<'_>, file: &Section<'_, '_>, config: &Config) {
    check_presence(reading, file);
    check_addresses(reading, config);
    check_names(reading, config);
    check_trust(reading, config);
    if !reading.has_faults() {
        warn_of_closed_doors(reading, config);
        warn_of_unserved_public_names(reading, config);
    }
}

fn check_presence(reading: &Reading<'_>, file: &Section<'_, '_>) {
    let whole = Span::default();
    let is_no_table = |key| file.item(key).is_some_and(|item| item.value.as_table().is_none());
    if reading.names.doors.is_empty() && !is_no_table("listen") {
        let help = "write `[listen.lan]` and below it `https = \":443\"`";
        reading.missing(whole, "the file has no door: nothing would be listened on", "", help);
    }
    if reading.names.routes.is_empty() && !is_no_table("routes") && !file.mentions("docker") {
        let help = "write `[routes]` and below it `photos = \"http://192.168.1.5:2342\"`, or `[docker]`";
        reading.missing(whole, "the file has neither a route nor `[docker]`: nothing would be served", "", help);
    }
}

fn check_addresses(reading: &Reading<'_>, config: &Config) {
    let doors = config.doors.iter().flat_map(|door| door.https.iter().chain(&door.http));
    let all = doors.chain(config.metrics.as_ref().map(|metrics| &metrics.listen));
    // Port 0 is another one each time.
    let claims = all.filter(|address| address.value.port() != 0).map(|address| (address.value, address.span));
    for (address, span, first) in claimed_twice(claims) {
        let message = format!("`{}` is listened on twice", shown_address(address));
        let help = "one address has one purpose; choose another port or delete one of them";
        reading.fault(span, message, format!("first at {}", reading.source.place(first)), help);
    }
}

fn shown_address(address: SocketAddr) -> String {
    match address.ip().is_unspecified() && address.is_ipv6() {
        true => format!(":{}", address.port()),
        false => address.to_string(),
    }
}

/// A block that nobody's gateways fill is `anyone` in other words.
fn check_trust(reading: &Reading<'_>, config: &Config) {
    let is_huge = |net: &IpNet| net.prefix_len() < if net.addr().is_ipv4() { 8 } else { 7 };
    for door in &config.doors {
        let TrustSpec::Peers(list) = &door.trust else { continue };
        for entry in &list.entries {
            let huge = match &entry.value {
                AllowEntry::Net(net) => Some(net).filter(|net| is_huge(net)),
                AllowEntry::Network(name) => config
                    .networks
                    .iter()
                    .filter(|network| network.name.value == *name)
                    .find_map(|network| network.nets.iter().find(|net| is_huge(net))),
                // Told where it was read.
                AllowEntry::Anyone => None,
            };
            if let Some(net) = huge {
                let message = format!("`{net}` in `trust` lets every client choose its own address");
                let help = "name the gateways in front of this door: `trust = [\"192.168.8.102\"]`";
                reading.fault(entry.span, message, "", help);
            }
        }
    }
}

fn check_names(reading: &Reading<'_>, config: &Config) {
    let local = config.routes.iter().map(|route| (&route.host, route.name.span));
    for (host, span, first) in claimed_twice(local) {
        claimed(reading, &host.to_string(), span, first);
    }
    let public = config.routes.iter().flat_map(|route| &route.public).map(|name| (&name.value, name.span));
    for (name, span, first) in claimed_twice(public) {
        claimed(reading, name.as_str(), span, first);
    }
}

fn claimed(reading: &Reading<'_>, name: &str, span: Span, first: Span) {
    let label = format!("first claimed at {}", reading.source.place(first));
    reading.fault(span, format!("two routes claim `{name}`"), label, "rename one of them, or delete it");
}

/// Every claim but the first of each, with the place of the first.
fn claimed_twice<T: Copy + Eq + Hash>(claims: impl Iterator<Item = (T, Span)>) -> Vec<(T, Span, Span)> {
    let mut claims: Vec<(T, Span)> = claims.collect();
    claims.sort_by_key(|(_, span)| span.start);
    let mut first: HashMap<T, Span> = HashMap::new();
    let mut twice = Vec::new();
    for (claim, span) in claims {
        match first.get(&claim) {
            Some(&earlier) => twice.push((claim, span, earlier)),
            None => _ = first.insert(claim, span),
        }
    }
    twice
}

/// Nobody enters where neither path, route, door nor file says who may.
fn warn_of_closed_doors(reading: &Reading<'_>, config: &Config) {
    if config.allow.is_some() {
        return;
    }
    let help = "write `allow = [\"lan\"]` at the top of the file, with `[networks]` saying what `lan` is";
    let local = config.routes.iter().filter(|route| is_closed(route)).count();
    let public = config.routes.iter().filter(|route| is_closed(route) && !route.public.is_empty()).count();
    for door in config.doors.iter().filter(|door| door.allow.is_none()) {
        let closed = if door.public_names { public } else { local };
        let from_containers = config.docker.is_some() && !door.public_names;
        if closed == 0 && !from_containers {
            continue;
        }
        let message = format!("nothing says who may enter by door `{}`, so nobody is admitted", door.name.value);
        let label = match closed {
            0 => "for no container".to_owned(),
            1 => "to 1 route".to_owned(),
            many => format!("to {many} routes"),
        };
        reading.warn(door.name.span, message, label, help);
    }
    if let Some(metrics) = config.metrics.as_ref().filter(|metrics| metrics.allow.is_none()) {
        let message = "nothing says who may read the metrics, so nobody is admitted";
        reading.warn(metrics.listen.span, message, "", "write `allow = [\"monitoring\"]` in `[metrics]`");
    }
}

/// Whether a route leaves it to the door, or the file, to say who may enter.
fn is_closed(route: &RouteSpec) -> bool {
    let paths_open = route.to.is_none() && route.paths.iter().all(|path| path.allow.is_some());
    route.allow.is_none() && !paths_open
}

fn warn_of_unserved_public_names(reading: &Reading<'_>, config: &Config) {
    let public_door = config.doors.iter().find(|door| door.public_names);
    let names: Vec<&Located<_>> = config.routes.iter().flat_map(|route| &route.public).collect();
    match (public_door, names.first()) {
        (None, Some(first)) => {
            let more = match names.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let message = format!("`{}` is public{more}, but no door serves public names", first.value);
            reading.warn(
                first.span,
                message,
                "",
                "write `names = \"public\"` in the door that the world comes through",
            );
        }
        (Some(door), None) if config.docker.as_ref().is_none_or(|docker| !docker.public) => {
            let message = format!("door `{}` serves public names only, and no route has one", door.name.value);
            reading.warn(door.name.span, message, "", "write `public = \"photos.example.com\"` in a route");
        }
        _ => {}
    }
}
