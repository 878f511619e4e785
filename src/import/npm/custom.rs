//! Files that people put beside NPM's database, `nginx/custom/*.conf`: NPM includes them for every host, so what they protect
//! is protected everywhere. Reads them as far as snippets are read; carries nothing of them.

use std::io::Read as _;
use std::path::Path;

use super::Body;
use crate::import::home::{Admission, Remark};
use crate::import::snippet;
use crate::import::text::one_line;

/// Larger files are not read, and count as protecting.
const LARGEST: u64 = 256 << 10;

/// Files that NPM includes for hosts, and for which kind of them; none: for all.
const FILES: [(&str, Option<&str>); 5] = [
    ("http_top", None),
    ("http", None),
    ("server_proxy", Some("proxy host")),
    ("server_redirect", Some("redirection")),
    ("server_dead", Some("404 host")),
];

/// Those that do nothing to hosts: processes, connections that are not HTTP.
const APART: [&str; 8] =
    ["root_top", "root", "root_end", "events", "stream", "server_stream", "server_stream_tcp", "server_stream_udp"];

/// What was found.
#[derive(Default)]
pub(super) struct CustomFiles(Vec<CustomFile>);

struct CustomFile {
    name: String,
    kind: Option<&'static str>,
    /// What it has that protects something, or may.
    protects: Option<String>,
    text: String,
}

impl CustomFiles {
    /// Reads the files below NPM's data folder, if there are any.
    pub(super) fn read(data: &Path) -> CustomFiles {
        let folder = data.join("nginx/custom");
        let of_hosts = FILES.into_iter().map(|(name, kind)| (name, kind, true));
        let apart = APART.into_iter().map(|name| (name, None, false));
        let files = of_hosts.chain(apart).filter_map(|(name, kind, is_for_hosts)| {
            let name = format!("nginx/custom/{name}.conf");
            let (text, protects) = match text_of(&folder.join(name.rsplit('/').next()?))? {
                Ok(text) if text.trim().is_empty() => return None,
                Ok(text) => (text.clone(), is_for_hosts.then(|| protection(&text)).flatten()),
                Err(why) => (String::new(), is_for_hosts.then_some(why)),
            };
            Some(CustomFile { name, kind, protects, text })
        });
        CustomFiles(files.collect())
    }

    /// Closes a host that one of them protects, or may.
    pub(super) fn protect(&self, kind: &str, body: &mut Body) {
        for file in self.0.iter().filter(|file| file.kind.is_none_or(|of| of == kind)) {
            if let Some(what) = &file.protects {
                body.admission = Admission::Nobody;
                body.notes.push(Remark::new(format!("CLOSED: {} has `{what}` for it (see the end).", file.name)));
            }
        }
    }

    /// What the reader should know of each.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let said = |file: &CustomFile| {
            let does = match (&file.protects, file.kind) {
                (None, _) => "not carried over",
                (Some(_), None) => "not carried over, and closes every route, since it may have protected them",
                (Some(_), Some(_)) => "not carried over, and closes the routes that it may have protected",
            };
            Remark::quoting(format!("NPM had a file of its own, {}: {does}.", file.name), &file.text)
        };
        self.0.iter().map(said).collect()
    }
}

/// The text of a file, or why it cannot be read; `None` where there is none.
fn text_of(path: &Path) -> Option<Result<String, String>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(error.to_string())),
        Ok(file) => file,
    };
    let mut bytes = Vec::new();
    Some(match file.take(LARGEST + 1).read_to_end(&mut bytes) {
        Err(error) => Err(error.to_string()),
        Ok(_) if bytes.len() as u64 > LARGEST => Err("more text than is read".to_owned()),
        Ok(_) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    })
}

/// What protects something in a text, or may.
fn protection(text: &str) -> Option<String> {
    let Some(directives) = snippet::read(text) else {
        return Some("a text that is not valid nginx configuration".to_owned());
    };
    let first = directives.iter().find(|one| !snippet::is_definition(one) && !snippet::is_harmless(one));
    first.map(|one| one_line(&one.name, 60))
}
