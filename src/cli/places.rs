//! Where things are when the command line does not say: the file, the state folder, the admin socket.
//! It looks, and makes a missing state folder; it reads no file.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::admin;

/// The file of an installed Doorward.
const SYSTEM_FILE: &str = "/etc/doorward/routes.toml";

/// Its state folder.
const SYSTEM_STATE: &str = "/var/lib/doorward";

/// `--config`, else `routes.toml` here, else the installed one.
pub(super) fn routes_file(asked: Option<PathBuf>) -> PathBuf {
    let here = PathBuf::from("routes.toml");
    match asked {
        Some(path) => path,
        None if here.exists() => here,
        None => PathBuf::from(SYSTEM_FILE),
    }
}

/// What to say where nobody named a file and there is none in either place; `None` where there is something to read.
pub(super) fn missing_file(path: &Path) -> Option<&'static str> {
    let is_fallback = path == Path::new(SYSTEM_FILE) && !path.exists();
    is_fallback.then_some(
        "there is no routes.toml here, and no /etc/doorward/routes.toml; name one, or have a look at `doorward demo`",
    )
}

/// `--state`, else the first folder of `$STATE_DIRECTORY`, else `certs` beside the file.
pub(super) fn state_folder(asked: Option<PathBuf>, routes: &Path) -> PathBuf {
    asked.or_else(|| first_folder(std::env::var_os("STATE_DIRECTORY"))).unwrap_or_else(|| beside(routes))
}

/// The folder that the service of this file has, where nobody names one: of the installed file, the installed one.
pub(super) fn state_folder_of_the_service(asked: Option<PathBuf>, routes: &Path) -> PathBuf {
    let installed = Path::new(SYSTEM_STATE);
    if asked.is_none() && routes == Path::new(SYSTEM_FILE) && installed.exists() {
        return installed.to_owned();
    }
    state_folder(asked, routes)
}

/// Makes the state folder where it is missing, open to its owner only (0700).
pub(super) fn make_state_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Where the running Doorward may be asked, most likely first. `--socket` and `--state` leave no choice but the one that
/// `run` with the same words makes; without them, what systemd gave us, this folder, and the usual places.
pub(super) fn sockets(socket: Option<PathBuf>, state: Option<PathBuf>, routes: &Path) -> Vec<PathBuf> {
    let runtime = std::env::var_os("RUNTIME_DIRECTORY").filter(|text| !text.is_empty());
    if let Some(socket) = socket {
        return vec![socket];
    }
    let is_told = state.is_some() || runtime.is_some();
    let state = state_folder(state, routes);
    let mut places = vec![admin::socket_path(runtime.as_deref(), &state), admin::socket_path(None, &state)];
    if !is_told {
        // `certs` here is a demo's that was started where no file is.
        let usual = ["certs", "/run/doorward", SYSTEM_STATE];
        places.extend(usual.map(|folder| Path::new(folder).join("admin.sock")));
    }
    let mut seen = HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

fn beside(routes: &Path) -> PathBuf {
    routes.parent().unwrap_or(Path::new("")).join("certs")
}

/// systemd gives a list separated by colons where a unit names several folders.
fn first_folder(list: Option<OsString>) -> Option<PathBuf> {
    let list = list?;
    std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_lies_beside_the_file() {
        assert_eq!(beside(Path::new("routes.toml")), Path::new("certs"));
        assert_eq!(beside(Path::new("/etc/doorward/routes.toml")), Path::new("/etc/doorward/certs"));
    }

    #[test]
    fn of_a_list_of_state_folders_the_first_counts() {
        let first = |text: &str| first_folder(Some(text.into()));
        assert_eq!(first("/var/lib/doorward:/var/lib/other"), Some("/var/lib/doorward".into()));
        assert_eq!(first(""), None);
        assert_eq!(first_folder(None), None);
    }

    #[test]
    fn a_named_socket_is_the_only_one_asked() {
        let socket = PathBuf::from("/tmp/x.sock");
        assert_eq!(sockets(Some(socket.clone()), Some("/tmp/state".into()), Path::new("routes.toml")), [socket]);
    }
}
