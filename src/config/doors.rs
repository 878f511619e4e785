//! `[listen.*]`: the doors.
//! Whether an address can be bound is found out later, by whoever binds it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::HostName;

use super::keys::{DOOR, DOOR_ENTRY};
use super::reading::{Item, Reading, shown};
use super::section::Section;
use super::{AllowEntry, DoorSpec, Located, TrustSpec, access, forms, quotas};

/// Reads `[listen]`.
pub(super) fn doors<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Vec<DoorSpec> {
    let entries = reading.entries(item, &DOOR_ENTRY).unwrap_or_default();
    entries.iter().filter_map(|entry| door(reading, entry)).collect()
}

fn door<'t>(reading: &Reading<'t>, entry: &Item<'t>) -> Option<DoorSpec> {
    if entry.value.as_table().is_none() && DOOR.find(entry.key).is_some() {
        let message = format!("`{}` stands in `[listen]` itself, which belongs to no door", entry.key);
        reading.fault(
            entry.key_span,
            message,
            "",
            format!("give the door a name: `[listen.lan]`, and below it `{} = …`", entry.key),
        );
        return None;
    }
    access::check_name(reading, entry, "a door");
    let section = Section::open(reading, entry, &DOOR, format!("[listen.{}]", entry.key))?;
    let https = addresses(&section, "https");
    let http = addresses(&section, "http");
    if !section.mentions("https") && !section.mentions("http") {
        let help = "write `https = \":443\"`, `http = \":80\"`, or both";
        reading.missing(section.span, format!("{} listens nowhere", section.title), "", help);
    }
    let public_names = section.choice("names", &[("public", true)]).is_some();
    let peers = access::allow(&section, "peers");
    let allow = access::allow(&section, "allow");
    let name = reading.located(entry.key_span, Arc::from(entry.key));
    let trust = trust(&section);
    let proxy_protocol = proxy_protocol(&section, &trust);
    Some(DoorSpec {
        name,
        https,
        http,
        public_names,
        trust,
        proxy_protocol,
        peers,
        allow,
        quota: quotas::quota(&section),
    })
}

fn addresses(section: &Section<'_, '_>, name: &'static str) -> Vec<Located<SocketAddr>> {
    let Some(item) = section.item(name) else { return Vec::new() };
    let reading = section.reading;
    if let Some(port) = super::reading::integer_of(item.value) {
        let help = format!("write the port as part of an address: `{name} = \":{port}\"`");
        reading.fault(item.span, format!("`{name}` takes {}, not a whole number", item.about.takes), "", help);
        return Vec::new();
    }
    let Some(texts) = reading.text_or_texts(&item) else { return Vec::new() };
    if texts.is_empty() && item.value.as_array().is_some_and(|list| list.is_empty()) {
        reading.fault(item.span, format!("`{name}` is empty"), "", format!("write `{name} = {}`", item.about.example));
    }
    texts.iter().filter_map(|text| forms::listen_address(reading, text)).collect()
}

/// Whether connections begin with a PROXY header. Somebody must be trusted to write it.
fn proxy_protocol(section: &Section<'_, '_>, trust: &TrustSpec) -> bool {
    let is_on = section.flag("proxy_protocol").is_some_and(|flag| flag.value);
    match trust {
        TrustSpec::Nobody if is_on && !section.mentions("trust") => {
            let help =
                "name the gateways that send it: `trust = [\"192.168.8.102\"]`; nobody else may come by this door";
            section.out_of_place("proxy_protocol", "needs a `trust` that says whose header is believed", help);
        }
        TrustSpec::Cloudflared if is_on => {
            let help = "leave the key out: cloudflared says who the client is in each request";
            section.out_of_place("proxy_protocol", "cannot stand beside `trust = \"cloudflared\"`", help);
        }
        _ => {}
    }
    is_on
}

fn trust(section: &Section<'_, '_>) -> TrustSpec {
    const CLOUDFLARED: &str = "cloudflared";
    let reading = section.reading;
    let Some(item) = section.item("trust") else { return TrustSpec::Nobody };
    let Some(preset) = item.value.as_str() else {
        let Some(list) = access::entries(reading, &item) else { return TrustSpec::Nobody };
        for entry in list.entries.iter().filter(|entry| entry.value == AllowEntry::Anyone) {
            let help = "name the gateways in front of this door: `trust = [\"192.168.8.102\"]`";
            reading.fault(entry.span, "`anyone` in `trust` lets every client choose its own address", "", help);
        }
        return TrustSpec::Peers(list);
    };
    if preset == CLOUDFLARED {
        return TrustSpec::Cloudflared;
    }
    let is_peer =
        reading.names.networks.contains_key(preset) || preset == access::ANYONE || access::read_net(preset).is_ok();
    let help = match is_peer {
        true => format!("write a list: `trust = [\"{preset}\"]`"),
        false => "write `trust = \"cloudflared\"`, or the addresses of the gateways: `trust = [\"192.168.8.102\"]`"
            .to_owned(),
    };
    let guess = reading.guess(preset, [CLOUDFLARED]);
    reading.fault(item.span, format!("`trust` does not know {}{guess}", shown(preset)), "", help);
    TrustSpec::Nobody
}

/// `domain`.
pub(super) fn domain(file: &Section<'_, '_>) -> Option<Located<HostName>> {
    forms::host_name(file.reading, &file.text("domain")?)
}
