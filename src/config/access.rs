//! `allow`, `peers`, address lists of `trust`, and `[networks]`.
//! Resolves no names to blocks; it only makes sure that each name exists.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use super::keys::NETWORK;
use super::reading::{Item, Reading, one_of, shown};
use super::section::Section;
use super::{AllowEntry, AllowSpec, Located, NetworkSpec, Span};

/// The name that means everybody.
pub(super) const ANYONE: &str = "anyone";

/// Reads `[networks]`.
pub(super) fn networks<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Vec<NetworkSpec> {
    let entries = reading.entries(item, &NETWORK).unwrap_or_default();
    entries.iter().map(|entry| network(reading, entry)).collect()
}

fn network<'t>(reading: &Reading<'t>, entry: &Item<'t>) -> NetworkSpec {
    check_name(reading, entry, "a network");
    if entry.key == ANYONE {
        let help = "`anyone` is built in and means every address; give this network another name";
        reading.fault(entry.key_span, "`anyone` cannot be a network of the file", "", help);
    }
    let mut nets = Vec::new();
    for text in reading.texts(entry).unwrap_or_default() {
        match read_net(text.value) {
            Ok(net) => nets.push(net),
            Err(_) if reading.names.networks.contains_key(text.value) || text.value == ANYONE => {
                let help = "a network holds addresses and blocks; where both are meant, name both: `allow = [\"lan\", \"vpn\"]`";
                let message = format!("{} is a network; networks do not hold one another", shown(text.value));
                reading.fault(text.span, message, "", help);
            }
            Err(wrong) => wrong.report(reading, &text),
        }
    }
    NetworkSpec { name: reading.located(entry.key_span, Arc::from(entry.key)), nets }
}

/// A name that the user gives to a thing: what a metric label, a log line and a command line can carry.
pub(super) fn check_name(reading: &Reading<'_>, entry: &Item<'_>, what: &str) {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = !entry.key.is_empty() && entry.key.len() <= 63 && entry.key.chars().all(fits);
    if !is_name || entry.key.parse::<IpAddr>().is_ok() {
        let help = "a name has 1 to 63 letters, digits, `-`, `_` and dots, and is no address";
        reading.fault(entry.key_span, format!("{} cannot be the name of {what}", shown(entry.key)), "", help);
    }
}

/// `allow` or `peers` of a section.
pub(super) fn allow(section: &Section<'_, '_>, name: &'static str) -> Option<AllowSpec> {
    let item = section.item(name)?;
    if let Some(text) = item.value.as_str() {
        let help = format!("write a list: `{name} = [\"{text}\"]`");
        section.reading.fault(item.span, format!("`{name}` takes {}, not a text", item.about.takes), "", help);
        return None;
    }
    entries(section.reading, &item)
}

/// The list behind a key, whatever the key is called.
pub(super) fn entries<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Option<AllowSpec> {
    let texts = reading.texts(item)?;
    let entries = texts.into_iter().filter_map(|text| entry(reading, &text)).collect();
    Some(AllowSpec { entries, line: reading.source.line_of(item.key_span.start), span: item.span })
}

fn entry(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<AllowEntry>> {
    let value = if text.value == ANYONE {
        AllowEntry::Anyone
    } else if reading.names.networks.contains_key(text.value) {
        AllowEntry::Network(Arc::from(text.value))
    } else {
        match read_net(text.value) {
            Ok(net) => AllowEntry::Net(net),
            Err(NotANet::Word) => {
                unknown_network(reading, text.value, text.span);
                return None;
            }
            Err(wrong) => {
                wrong.report(reading, text);
                return None;
            }
        }
    };
    Some(reading.located(text.span, value))
}

/// A word that is no network of the file.
pub(super) fn unknown_network(reading: &Reading<'_>, name: &str, span: Span) {
    if reading.is_full() {
        return;
    }
    let known = || reading.names.networks.keys().copied().chain([ANYONE]);
    let message = format!("no network {}{}", shown(name), reading.guess(name, known()));
    let help = format!("write it into `[networks]`, or use {}", one_of(known()));
    reading.missing(span, message, "", help);
}

/// Why a text is no address or block.
pub(super) enum NotANet {
    /// It does not even look like one.
    Word,
    /// It looks like one.
    Malformed,
    /// Bits behind the prefix are set: probably one host was meant, or another block.
    HostBits { block: IpNet },
}

impl NotANet {
    fn report(&self, reading: &Reading<'_>, text: &Located<&str>) {
        let written = shown(text.value);
        match self {
            NotANet::HostBits { block } => {
                let host = text.value.split('/').next().unwrap_or_default();
                let message = format!("{written} is not a block: bits behind its prefix are set");
                let help = format!("write `{block}` for the block, or `{host}` for that one address");
                reading.fault(text.span, message, "", help);
            }
            NotANet::Word | NotANet::Malformed => {
                let help = "write an address (`192.168.8.5`, `fd00::5`) or a block (`192.168.8.0/24`, `fd00::/64`)";
                reading.fault(text.span, format!("{written} is not an address or block"), "", help);
            }
        }
    }
}

/// Reads an address or a block. IPv4 written inside IPv6 is IPv4: clients are judged so.
pub(super) fn read_net(text: &str) -> Result<IpNet, NotANet> {
    let looks_like_one = text.contains(['/', ':']) || text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let wrong = if looks_like_one { NotANet::Malformed } else { NotANet::Word };
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let Ok(net) = text.parse::<IpNet>() else { return Err(wrong) };
    if net.trunc() != net {
        return Err(NotANet::HostBits { block: net.trunc() });
    }
    Ok(match net {
        IpNet::V6(v6) => embedded_v4(v6.addr(), v6.prefix_len()).unwrap_or(net),
        IpNet::V4(_) => net,
    })
}

fn embedded_v4(address: Ipv6Addr, prefix: u8) -> Option<IpNet> {
    let v4 = address.to_ipv4_mapped()?;
    Ipv4Net::new(v4, prefix.checked_sub(96)?).ok().map(IpNet::V4)
}
