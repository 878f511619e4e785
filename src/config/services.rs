//! The small tables around the routes: `[metrics]`, `[log]`, `[drain]`, `[docker]`, `[mail]`.
//! Talks to none of what they name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{QuietHours, parse_duration};

use super::keys::{DOCKER, DRAIN, LOG, MAIL, METRICS};
use super::reading::{Item, Reading, shown};
use super::section::Section;
use super::{AccessFormat, DockerSpec, DrainSpec, Located, LogSpec, MailSpec, MetricsSpec, access, forms};

/// Reads `[metrics]`.
pub(super) fn metrics<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Option<MetricsSpec> {
    let section = Section::open(reading, item, &METRICS, "[metrics]".to_owned())?;
    let listen = section.required("listen");
    let listen = listen.and_then(|item| forms::listen_address(reading, &reading.text(&item)?));
    let allow = access::allow(&section, "allow");
    Some(MetricsSpec { listen: listen?, allow })
}

/// Reads `[log]`; without it, the defaults.
pub(super) fn log<'t>(reading: &Reading<'t>, item: Option<&Item<'t>>) -> LogSpec {
    let formats = [("json", AccessFormat::Json), ("text", AccessFormat::Text), ("off", AccessFormat::Off)];
    let section = item.and_then(|item| Section::open(reading, item, &LOG, "[log]".to_owned()));
    let access = section.and_then(|section| section.choice("access", &formats));
    LogSpec { access: access.map_or(AccessFormat::Text, |format| format.value) }
}

/// Reads `[drain]`; without it, the defaults.
pub(super) fn drain<'t>(reading: &Reading<'t>, item: Option<&Item<'t>>) -> DrainSpec {
    let section = item.and_then(|item| Section::open(reading, item, &DRAIN, "[drain]".to_owned()));
    let seconds = |name, default| {
        let written = section.as_ref().and_then(|section| section.duration(name));
        written.map_or(Duration::from_secs(default), |duration| duration.value)
    };
    DrainSpec { stop: seconds("stop", 30), route: seconds("route", 600), upgrade: seconds("upgrade", 3600) }
}

/// Reads `[docker]`.
pub(super) fn docker<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Option<DockerSpec> {
    let section = Section::open(reading, item, &DOCKER, "[docker]".to_owned())?;
    let socket = match section.text("socket") {
        Some(text) => socket(reading, &text),
        None => reading.located(section.span, "/var/run/docker.sock".to_owned()),
    };
    let [ca, cert, key] = tls(&section, &socket);
    let health = section.choice("health", &[("wait", true), ("ignore", false)]);
    let networks = section.item("networks").and_then(|item| reading.texts(&item)).unwrap_or_default();
    Some(DockerSpec {
        socket,
        ca,
        cert,
        key,
        speak: speak(&section),
        health_wait: health.is_none_or(|wait| wait.value),
        networks: networks.iter().map(|name| reading.located(name.span, name.value.to_owned())).collect(),
        hold: section.duration("hold"),
        allow: access::allow(&section, "allow"),
        public: section.flag("public").is_some_and(|flag| flag.value),
        default_host: section.text("default_host").and_then(|text| forms::host_name(reading, &text)),
    })
}

/// `ca`, `cert` and `key`: for an engine that is reached over TCP, and the last two only together.
fn tls(section: &Section<'_, '_>, socket: &Located<String>) -> [Option<Located<PathBuf>>; 3] {
    const FILES: [&str; 3] = ["ca", "cert", "key"];
    let is_tcp = socket.value.starts_with("tcp://");
    if !is_tcp {
        for key in FILES {
            let help = "write `socket = \"tcp://host:2376\"`, or leave the key out";
            section.out_of_place(key, "means nothing to a socket on this machine", help);
        }
    }
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if is_tcp && section.has(one) && !section.has(other) {
            let help = format!("write `{other} = \"docker-{other}.pem\"` beside it");
            section.out_of_place(one, &format!("stands without `{other}`"), &help);
        }
    }
    FILES.map(|key| section.path(key))
}

fn socket(reading: &Reading<'_>, text: &Located<&str>) -> Located<String> {
    let path = text.value.strip_prefix("unix://").unwrap_or(text.value);
    let tcp = text.value.strip_prefix("tcp://").map(|rest| format!("http://{rest}"));
    let fits = match &tcp {
        Some(url) => forms::is_url(url, true),
        None => Path::new(path).is_absolute(),
    };
    if !fits {
        let help = "write the whole path (`\"/var/run/docker.sock\"`), or `\"tcp://host:port\"`";
        reading.fault(text.span, format!("{} is not a socket", shown(text.value)), "", help);
    }
    reading.located(text.span, path.to_owned())
}

fn speak(section: &Section<'_, '_>) -> Vec<Located<String>> {
    const LANGUAGES: [&str; 2] = ["nginx-proxy", "doorward"];
    let reading = section.reading;
    let Some(item) = section.item("speak") else {
        return LANGUAGES.iter().map(|word| reading.located(section.span, (*word).to_owned())).collect();
    };
    let texts = reading.text_or_texts(&item).unwrap_or_default();
    let known = texts.iter().filter(|text| {
        let is_known = LANGUAGES.contains(&text.value);
        if !is_known {
            let guess = reading.guess(text.value, LANGUAGES);
            let help = "write `\"nginx-proxy\"`, `\"doorward\"`, or a list of both";
            reading.fault(text.span, format!("`speak` does not know {}{guess}", shown(text.value)), "", help);
        }
        is_known
    });
    known.map(|text| reading.located(text.span, text.value.to_owned())).collect()
}

/// Reads `[mail]`.
pub(super) fn mail<'t>(reading: &Reading<'t>, item: &Item<'t>) -> Option<MailSpec> {
    let section = Section::open(reading, item, &MAIL, "[mail]".to_owned())?;
    let relay = section.required("relay").and_then(|_| forms::host_port(&section, "relay"));
    let from = section.required("from").and_then(|item| forms::mailbox(reading, &reading.text(&item)?));
    let to = section.required("to").and_then(|item| {
        let texts = reading.texts(&item)?;
        if item.value.as_array().is_some_and(|list| list.is_empty()) {
            reading.fault(item.span, "`to` is empty", "", format!("write `to = {}`", item.about.example));
        }
        Some(texts.iter().filter_map(|text| forms::mailbox(reading, text)).collect())
    });
    let on = section.item("on").and_then(|item| reading.texts(&item)).unwrap_or_default();
    let on = on.iter().filter_map(|text| event(reading, text)).collect();
    let quiet = section.item("quiet").and_then(|item| reading.text_or_texts(&item)).unwrap_or_default();
    let quiet = quiet.iter().filter_map(|text| quiet_hours(reading, text)).collect();
    Some(MailSpec { relay: relay?, from: from?, to: to?, on, quiet })
}

fn quiet_hours(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<QuietHours>> {
    let read = QuietHours::parse(text.value);
    if let Err(wrong) = &read {
        let help = "write `quiet = \"Sat 06:50-08:00\"`, or a list of such hours";
        reading.fault(text.span, format!("{}: {wrong}", shown(text.value)), "", help);
    }
    Some(reading.located(text.span, read.ok()?))
}

fn event(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<String>> {
    const WORDS: [&str; 3] = ["certificate", "reload refused", "upstream down 5m"];
    let down = text.value.strip_prefix("upstream down ").map(|after| parse_duration(after).is_ok());
    if !WORDS[..2].contains(&text.value) && down != Some(true) {
        let guess = reading.guess(text.value, WORDS);
        let help = "write `certificate`, `reload refused`, or `upstream down 5m` with any duration";
        reading.fault(text.span, format!("mail knows no event {}{guess}", shown(text.value)), "", help);
        return None;
    }
    Some(reading.located(text.span, text.value.to_owned()))
}
