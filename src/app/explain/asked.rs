//! What a question asks: the URL in its parts, the door it comes in by, and who asks. Where the question is silent, the
//! likeliest is taken, and said.

use std::net::{IpAddr, Ipv4Addr};

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::parts::{DoorPart, mode_words};
use crate::admin::Question;
use crate::model::{Authority, Client};
use crate::snapshot::{Listener, Mode, Snapshot, Trust, address_classes};

/// A URL in its parts.
pub(super) struct Url {
    /// As it is shown.
    pub written: String,
    /// Whether `https`.
    pub https: bool,
    /// Name and port as in a Host header.
    pub authority: String,
    /// The name, lower case, no port.
    pub host: String,
    /// The port, if written.
    pub port: Option<u16>,
    /// Path and query.
    pub target: String,
    /// The path alone.
    pub path: String,
}

/// Reads a URL; `https` where no scheme is written.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let https = match scheme {
        "https" => true,
        "http" => false,
        other => return Err(format!("`{other}://` is not explained; write `https://name/path`")),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.is_empty() {
        return Err(format!("`{text}` has no name; write `https://name/path`"));
    }
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("`{target}`: blanks and letters beyond ASCII are sent percent-encoded"));
    }
    let parsed = Authority::parse(authority).map_err(|wrong| format!("`{authority}` is not a name: {wrong}"))?;
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Url {
        written: format!("{scheme}://{authority}{target}"),
        https,
        authority: authority.to_owned(),
        host: parsed.host.into_owned(),
        port: parsed.port,
        path: target.split('?').next().unwrap_or("/").to_owned(),
        target,
    })
}

/// The listener that the question means, and why that one.
pub(super) fn door<'s>(
    snapshot: &'s Snapshot,
    question: &Question,
    url: &Url,
) -> Result<(&'s Listener, DoorPart), String> {
    let knows = |listener: &&Listener| snapshot.routes.find(&url.host, listener.door.public_names).is_some();
    // cloudflared speaks cleartext to us, and https to the world.
    let speaks =
        |listener: &&Listener| (listener.mode == Mode::Tls || listener.door.trust == Trust::Cloudflared) == url.https;
    let has_port = |listener: &&Listener| url.port.is_some_and(|port| port == listener.address.port());
    let is_meant = |listener: &&Listener| question.via.as_ref().is_none_or(|via| **via == *listener.door.name);
    let all = || snapshot.listeners.iter().filter(is_meant);
    if let Some(via) = &question.via
        && all().next().is_none()
    {
        let mut names: Vec<&str> = snapshot.listeners.iter().map(|listener| &*listener.door.name).collect();
        names.dedup();
        return Err(format!("no door `{via}`; there is {}", names.join(", ")));
    }
    let choices: [(&str, Option<&Listener>); 5] = [
        ("it has the port and knows the name", all().find(|l| has_port(l) && knows(l))),
        ("it knows the name", all().find(|l| knows(l) && speaks(l))),
        ("it knows the name", all().find(knows)),
        ("no door knows the name; it speaks the scheme", all().find(speaks)),
        ("no door knows the name", all().next()),
    ];
    let found = choices.into_iter().find_map(|(why, listener)| Some((why, listener?)));
    let Some((why, listener)) = found else { return Err("there is no door".to_owned()) };
    let why = if question.via.is_some() { "named in the question" } else { why };
    let mut others: Vec<String> = snapshot
        .listeners
        .iter()
        .filter(|other| other.door.name != listener.door.name && knows(other))
        .map(|other| other.door.name.to_string())
        .collect();
    others.dedup();
    let door = DoorPart {
        name: listener.door.name.to_string(),
        address: listener.address.to_string(),
        speaks: mode_words(listener.mode),
        why: why.to_owned(),
        others,
    };
    Ok((listener, door))
}

/// Who asks, and what it sends.
pub(super) struct Asking {
    /// The TCP peer.
    pub peer: IpAddr,
    /// The method.
    pub method: Method,
    /// The fields of its request, without Host.
    pub headers: HeaderMap,
}

/// Plays the client. Where a door believes a gateway, that gateway is played, unless its fields were given with the question.
pub(super) fn client(
    snapshot: &Snapshot,
    listener: &Listener,
    question: &Question,
    notes: &mut Vec<String>,
) -> Result<Asking, String> {
    let method = Method::from_bytes(question.method.as_bytes())
        .map_err(|_| format!("`{}` is not an HTTP method", question.method))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        let wrong = || format!("`{name}: {value}` is not a header field");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    let from = match &question.from {
        Some(from) => address_of(snapshot, from)?,
        None => {
            notes.push("nobody was named with --from, so a stranger asks: an address in no network".to_owned());
            stranger(snapshot)
        }
    };
    let written = HeaderValue::try_from(from.to_string()).map_err(|_| "the address cannot be written".to_owned())?;
    let peer = match &listener.door.trust {
        Trust::Cloudflared => {
            if !headers.contains_key("cf-connecting-ip") {
                headers.insert("cf-connecting-ip", written);
            }
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        }
        Trust::Peers(list) if !headers.contains_key("x-forwarded-for") && !list.contains(from) => {
            let gateway = list.nets().first().map(|net| first_machine(*net));
            match gateway {
                Some(gateway) => {
                    headers.insert("x-forwarded-for", written);
                    if !headers.contains_key("x-forwarded-proto") {
                        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
                    }
                    notes.push(format!(
                        "this door believes {gateway}, so the request comes from there, on behalf of --from"
                    ));
                    gateway
                }
                None => from,
            }
        }
        Trust::Peers(_) | Trust::Nobody => from,
    };
    Ok(Asking { peer, method, headers })
}

/// An address, or one of a network.
fn address_of(snapshot: &Snapshot, text: &str) -> Result<IpAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical());
    }
    let known: Vec<&str> = snapshot.networks.iter().map(|(name, _)| name).collect();
    let nets = snapshot.networks.find(text);
    let first = nets.and_then(|nets| address_classes(Some(nets), &[]).first().map(|class| class.sample()));
    first.ok_or_else(|| {
        format!("`{text}` is neither an address nor a network; the file has {}", super::text::listed(&known))
    })
}

/// An address in no network.
fn stranger(snapshot: &Snapshot) -> IpAddr {
    let named: Vec<IpNet> = snapshot.networks.iter().flat_map(|(_, nets)| nets.iter().copied()).collect();
    let strangers = address_classes(None, &named);
    let mut samples = strangers.iter().map(|class| class.sample());
    let found = samples.find(|&address| !snapshot.networks.knows(Client::at(address)));
    found.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn first_machine(net: IpNet) -> IpAddr {
    net.hosts().next().unwrap_or_else(|| net.addr())
}
