//! Forms that texts in several sections have: `host:port`, addresses to listen on, URLs, e-mail addresses, commands.
//! Knows no section and reports only through the one that asks.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::model::HostName;

use super::Located;
use super::reading::{Item, Reading, shown};
use super::section::Section;

/// Reads an address to listen on: `192.168.8.102:443`, `[::1]:443`, `:443` (every address).
pub(super) fn listen_address(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<SocketAddr>> {
    let address = match text.value.strip_prefix(':') {
        Some(port) => port_of(port).map(|port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)),
        None => text.value.parse().ok(),
    };
    let Some(address) = address else {
        let help = match text.value.trim_start_matches(['*', ':']) {
            rest if port_of(rest).is_some() => format!("write `\":{rest}\"` for every address"),
            rest if rest.parse::<IpAddr>().is_ok() => {
                "write the port too: `\"192.168.8.102:443\"`, `\"[fd00::2]:443\"`".to_owned()
            }
            _ => "write `\":443\"` for every address, or one of this machine: `\"192.168.8.102:443\"`".to_owned(),
        };
        reading.fault(text.span, format!("{} is not an address to listen on", shown(text.value)), "", help);
        return None;
    };
    if address.port() == 0 {
        let help = "write a port from 1 to 65535 once it should stay the same";
        reading.warn(text.span, "port 0: the system chooses another port at each start", "", help);
    }
    Some(reading.located(text.span, address))
}

fn port_of(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a text is `host:port` with a name, an IPv4 address or a bracketed IPv6 address, and a port from 1.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().is_ok(),
        None => HostName::parse(host).is_ok(),
    };
    host_fits && port_of(port).is_some_and(|port| port > 0)
}

/// A key that takes `host:port`.
pub(super) fn host_port(section: &Section<'_, '_>, name: &'static str) -> Option<Located<String>> {
    let item = section.item(name)?;
    let text = section.reading.text(&item)?;
    if !is_host_port(text.value) {
        let help = format!("write `{name} = {}`", item.about.example);
        section.reading.fault(text.span, format!("{} is not `host:port`", shown(text.value)), "", help);
        return None;
    }
    Some(section.reading.located(text.span, text.value.to_owned()))
}

/// A name in DNS.
pub(super) fn host_name(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<HostName>> {
    match HostName::parse(text.value) {
        Ok(name) => Some(reading.located(text.span, name)),
        Err(wrong) => {
            let help = "write a name such as `nas.home.example`, without scheme, port or path";
            reading.fault(text.span, format!("{} is not a name: {wrong}", shown(text.value)), "", help);
            None
        }
    }
}

/// An absolute `https://` URL, for a CA or an API; plain `http://` only where `plain` says so.
pub(super) fn is_url(text: &str, plain: bool) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://").filter(|_| plain));
    let Some(rest) = rest else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_fits = is_host_port(authority)
        || HostName::parse(authority).is_ok()
        || authority.strip_prefix('[').and_then(|a| a.strip_suffix(']')).is_some_and(|a| a.parse::<Ipv6Addr>().is_ok());
    host_fits && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Mailbox in its plain form; the relay judges the rest.
pub(super) fn mailbox(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<String>> {
    let plain = text.value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b',' | b';'));
    let parts = text.value.rsplit_once('@').filter(|(local, host)| !local.is_empty() && HostName::parse(host).is_ok());
    if parts.is_none() || !plain {
        let help = "write an address such as `admin@home.example`, without a name beside it";
        reading.fault(text.span, format!("{} is not an e-mail address", shown(text.value)), "", help);
        return None;
    }
    Some(reading.located(text.span, text.value.to_owned()))
}

/// A program and its arguments. No shell reads it, so the program is an absolute path.
pub(super) fn command(section: &Section<'_, '_>, name: &'static str) -> Vec<Located<String>> {
    let Some(item) = section.item(name) else { return Vec::new() };
    let reading = section.reading;
    if let Some(line) = item.value.as_str() {
        let words: Vec<String> = line.split_whitespace().map(|word| format!("\"{word}\"")).collect();
        let help = format!("no shell reads it; write a list: `{name} = [{}]`", words.join(", "));
        reading.fault(item.span, format!("`{name}` takes {}, not a text", item.about.takes), "", help);
        return Vec::new();
    }
    let Some(words) = reading.texts(&item) else { return Vec::new() };
    check_program(reading, &item, words.first());
    words.iter().map(|word| reading.located(word.span, word.value.to_owned())).collect()
}

fn check_program(reading: &Reading<'_>, item: &Item<'_>, program: Option<&Located<&str>>) {
    let key = item.key;
    let help = format!("write the program with its whole path: `{key} = {}`", item.about.example);
    match program {
        None => reading.fault(item.span, format!("`{key}` is empty"), "", help),
        Some(program) if !Path::new(program.value).is_absolute() => {
            reading.fault(program.span, format!("{} is not an absolute path", shown(program.value)), "", help);
        }
        Some(_) => {}
    }
}
