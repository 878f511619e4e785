//! The service as its unit has it: who it is, which paths it sees and may write, which credentials it is given. The doctor is
//! root most of the time, and what root may read says nothing about a service that is not. Read from the unit's files as
//! `systemctl cat` shows them; without systemd, or for a file that no unit serves, nothing is known and nothing is guessed.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The unit of the package.
const UNIT: &str = "doorward.service";

/// Where systemd shows the service its credentials.
pub(super) const CREDENTIALS: &str = "/run/credentials/doorward.service/";

/// Where systemd looks for a credential that a unit gives no path for (systemd.exec(5)).
const CREDENTIAL_STORE: &str = "/etc/credstore";

/// How long `systemctl` may take.
const PATIENCE: Duration = Duration::from_secs(4);

const READ: u32 = 4;
const WRITE: u32 = 2;
/// Of a folder; of a file, that it may be run.
const SEARCH: u32 = 1;

/// What is known of the service that serves a file.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// `User=`; empty is root.
    user: String,
    /// Its numbers; `None` for a user that exists only while the service runs.
    uid: Option<u32>,
    /// Whether systemd makes the user where there is none.
    is_dynamic: bool,
    groups: Vec<u32>,
    /// Names of credentials, and where systemd reads them.
    credentials: Vec<(String, PathBuf)>,
    writable: Vec<PathBuf>,
    /// Folders that are not those of the machine, and the setting that makes it so.
    hidden: Vec<(&'static str, &'static str)>,
    is_strict: bool,
    /// `LimitNOFILE=`.
    pub(super) descriptors: Option<u64>,
}

/// The service whose unit starts with this file, if there is one here.
pub(super) fn of_file(path: &Path) -> Option<Service> {
    let path = fs::canonicalize(path).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let mut command = Command::new("systemctl");
    command.args(["cat", "--no-pager", UNIT]).stdin(Stdio::null()).kill_on_drop(true);
    let said = runtime.block_on(async { timeout(PATIENCE, command.output()).await.ok()?.ok() })?;
    let unit = said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())?;
    let is_its = settings(&unit).any(|(key, value)| key == "ExecStart" && value.contains(&*path.to_string_lossy()));
    is_its.then(|| Service::read(&unit, &read_or_empty("/etc/passwd"), &read_or_empty("/etc/group")))
}

fn read_or_empty(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// `key=value` of `[Service]`, through all files one after the other.
fn settings(unit: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut is_service = false;
    unit.lines().map(str::trim).filter_map(move |line| {
        if line.starts_with('[') {
            is_service = line == "[Service]";
        }
        let (key, value) = line.split_once('=').filter(|_| is_service && !line.starts_with(['#', ';']))?;
        Some((key.trim(), value.trim()))
    })
}

impl Service {
    /// `passwd` and `group` as in /etc.
    fn read(unit: &str, passwd: &str, group: &str) -> Service {
        let mut service = Service::default();
        let mut groups: Vec<&str> = Vec::new();
        for (key, value) in settings(unit) {
            match key {
                "User" => service.user = value.to_owned(),
                "DynamicUser" => service.is_dynamic = is_yes(value),
                "SupplementaryGroups" => extend(&mut groups, value, Some),
                "LoadCredential" => extend(&mut service.credentials, value, credential),
                "ReadWritePaths" => {
                    extend(&mut service.writable, value, |path| Some(path.trim_start_matches(['-', '+']).into()));
                }
                "ProtectSystem" => service.is_strict = value == "strict",
                "ProtectHome" => service.hide("ProtectHome=", &["/home", "/root", "/run/user"], value),
                "PrivateTmp" => service.hide("PrivateTmp=", &["/tmp", "/var/tmp"], value),
                "LimitNOFILE" => service.descriptors = value.rsplit(':').next().and_then(|most| most.parse().ok()),
                _ => {}
            }
        }
        let name = if service.user.is_empty() { "root" } else { &service.user };
        let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = users.find(|fields| fields.first() == Some(&name) || fields.get(2) == Some(&name));
        let number = |place: usize| entry.as_ref()?.get(place)?.parse::<u32>().ok();
        service.uid = number(2).or_else(|| name.parse().ok());
        service.groups.extend(number(3));
        for mut fields in group.lines().map(|line| line.split(':')) {
            let (Some(its), Some(number)) = (fields.next(), fields.nth(1).and_then(|number| number.parse().ok()))
            else {
                continue;
            };
            let is_member = fields.next().is_some_and(|members| members.split(',').any(|member| member == name));
            if is_member || groups.iter().any(|wanted| *wanted == its || wanted.parse() == Ok(number)) {
                service.groups.push(number);
            }
        }
        service
    }

    fn hide(&mut self, by: &'static str, folders: &[&'static str], value: &str) {
        self.hidden.retain(|(_, known)| *known != by);
        // `read-only` hides nothing, and nothing is written there.
        if is_yes(value) || value == "tmpfs" {
            self.hidden.extend(folders.iter().map(|folder| (*folder, by)));
        }
    }

    /// The user that nobody has made, where one is needed.
    pub(super) fn missing_user(&self) -> Option<&str> {
        (self.uid.is_none() && !self.is_dynamic).then_some(self.user.as_str())
    }

    /// Where systemd reads the credential that a path of the file names; `None` where the unit gives no such one.
    pub(super) fn source_of(&self, name: &str) -> Option<&Path> {
        self.credentials.iter().find(|(known, _)| known == name).map(|(_, path)| path.as_path())
    }

    /// Why the service cannot read this, in words; `None` where it can, and where nothing is there.
    pub(super) fn cannot_read(&self, path: &Path) -> Option<String> {
        self.cannot("read", READ, path)
    }

    /// Why the service cannot connect to this socket.
    pub(super) fn cannot_use(&self, socket: &Path) -> Option<String> {
        self.cannot("use", WRITE, socket)
    }

    /// Why the service cannot run this program.
    pub(super) fn cannot_run(&self, program: &Path) -> Option<String> {
        self.cannot("run", SEARCH, program)
    }

    fn cannot(&self, what: &str, wanted: u32, path: &Path) -> Option<String> {
        let path = fs::canonicalize(path).ok()?;
        if let Some((folder, by)) = self.hidden.iter().find(|(folder, _)| path.starts_with(folder)) {
            return Some(format!("the service does not see {folder} (`{by}` in its unit)"));
        }
        let closed =
            self.closed_on_the_way(&path).or_else(|| self.is_closed(&path, wanted).then_some(path.as_path()))?;
        Some(self.closed_to(what, closed, &path))
    }

    /// Why the service cannot write into this folder, in words; `None` where it can.
    pub(super) fn cannot_write_into(&self, folder: &Path) -> Option<String> {
        let path = fs::canonicalize(folder).ok()?;
        let is_given = |given: &PathBuf| path.starts_with(fs::canonicalize(given).as_deref().unwrap_or(given));
        if self.is_strict && !self.writable.iter().any(is_given) {
            return Some("the unit has no `ReadWritePaths=` for it".to_owned());
        }
        let closed = self.closed_on_the_way(&path);
        let closed = closed.or_else(|| self.is_closed(&path, WRITE | SEARCH).then_some(path.as_path()))?;
        Some(self.closed_to("write into", closed, &path))
    }

    fn closed_to(&self, what: &str, closed: &Path, path: &Path) -> String {
        let user = if self.user.is_empty() { "root" } else { &self.user };
        let because = if closed == path { String::new() } else { format!(", because of {}", closed.display()) };
        format!("the service's user `{user}` may not {what} it{because}")
    }

    /// The first folder above that the service may not go through.
    fn closed_on_the_way<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.into_iter().rev().find(|folder| self.is_closed(folder, SEARCH))
    }

    /// Whether its bits deny this. What cannot be looked at is not judged.
    fn is_closed(&self, path: &Path, wanted: u32) -> bool {
        fs::metadata(path).is_ok_and(|found| self.bits(&found) & wanted != wanted)
    }

    fn bits(&self, found: &Metadata) -> u32 {
        match found.mode() {
            mode if self.uid == Some(found.uid()) => mode >> 6,
            mode if self.groups.contains(&found.gid()) => mode >> 3,
            mode => mode,
        }
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value, "yes" | "true" | "on" | "1")
}

/// An empty value forgets what was said before (systemd.exec(5)).
fn extend<'a, T>(list: &mut Vec<T>, value: &'a str, read: impl Fn(&'a str) -> Option<T>) {
    if value.is_empty() {
        list.clear();
    }
    list.extend(value.split_ascii_whitespace().filter_map(read));
}

/// `name:path`, or a name alone.
fn credential(text: &str) -> Option<(String, PathBuf)> {
    let (name, path) = text.split_once(':').unwrap_or((text, text));
    // A path that does not begin at the root is looked for in the store.
    Some((name.to_owned(), Path::new(CREDENTIAL_STORE).join(path)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nedge:x:990:991::/:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\ncerts:x:500:\nmedia:x:501:edge\nedge:x:991:\n";

    #[test]
    fn a_unit_is_read_through_all_its_files() {
        let unit = "# /lib/systemd/system/doorward.service\n[Unit]\nUser=nobody\n[Service]\nUser=edge\nDynamicUser=yes\n\
                    ProtectHome=yes\nLimitNOFILE=1024:4096\nLoadCredential=old:/x\n# drop-in\n[Service]\nDynamicUser=no\n\
                    ProtectHome=no\nPrivateTmp=yes\nProtectSystem=strict\nLoadCredential=\nLoadCredential=token:/etc/secrets/t\n\
                    LoadCredential=bare\nSupplementaryGroups=certs 77\nReadWritePaths=-/srv/a /srv/b\n#User=other\n";
        let service = Service::read(unit, PASSWD, GROUP);
        assert_eq!((service.uid, service.missing_user()), (Some(990), None));
        assert_eq!(service.groups, [991, 500, 501]);
        assert_eq!(service.source_of("token"), Some(Path::new("/etc/secrets/t")));
        assert_eq!(service.source_of("bare"), Some(Path::new("/etc/credstore/bare")));
        assert_eq!(service.source_of("old"), None, "an empty value forgets");
        assert_eq!(service.writable, [Path::new("/srv/a"), Path::new("/srv/b")]);
        assert_eq!(service.hidden, [("/tmp", "PrivateTmp="), ("/var/tmp", "PrivateTmp=")]);
        assert_eq!(service.descriptors, Some(4096));
        let nobody = Service::read("[Service]\nUser=ghost\n", PASSWD, GROUP);
        assert_eq!(nobody.missing_user(), Some("ghost"));
        let dynamic = Service::read("[Service]\nUser=ghost\nDynamicUser=yes\n", PASSWD, GROUP);
        assert_eq!((dynamic.missing_user(), dynamic.uid), (None, None));
        assert_eq!(Service::read("[Service]\n", PASSWD, GROUP).uid, Some(0), "root, where nobody is named");
    }

    #[test]
    fn what_the_service_may_is_judged_by_its_own_numbers() {
        let folder = std::env::temp_dir().join(format!("doorward-eyes-{}", std::process::id()));
        let inner = folder.join("inner");
        fs::create_dir_all(&inner).unwrap();
        let key = inner.join("key");
        fs::write(&key, "secret").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (uid, gid) = fs::metadata(&key).map(|found| (found.uid(), found.gid())).unwrap();
        for path in [&folder, &inner] {
            mode(path, 0o755);
        }
        let owner = Service { uid: Some(uid), ..Service::default() };
        let member = Service { groups: vec![gid], ..Service::default() };
        let other = Service { user: "edge".to_owned(), ..Service::default() };
        for (bits, readers) in
            [(0o600, [true, false, false]), (0o640, [true, true, false]), (0o604, [true, false, true])]
        {
            mode(&key, bits);
            assert_eq!([&owner, &member, &other].map(|who| who.cannot_read(&key).is_none()), readers, "{bits:o}");
        }
        assert!(other.cannot_use(&key).is_some() && owner.cannot_use(&key).is_none());
        assert!(owner.cannot_run(&key).expect("no program").contains("may not run it"));
        mode(&inner, 0o700);
        let why = other.cannot_read(&key).expect("the way is closed");
        assert!(why.starts_with("the service's user `edge` may not read it, because of "), "{why}");
        assert_eq!(owner.cannot_write_into(&inner), None);
        assert!(other.cannot_write_into(&inner).is_some());
        let strict = Service { uid: Some(uid), is_strict: true, ..Service::default() };
        assert!(strict.cannot_write_into(&inner).expect("no line").contains("ReadWritePaths="));
        let given = Service { writable: vec![folder.clone()], ..strict };
        assert_eq!(given.cannot_write_into(&inner), None);
        let hidden = Service { uid: Some(uid), hidden: vec![("/tmp", "PrivateTmp=")], ..Service::default() };
        if folder.starts_with("/tmp") {
            assert!(hidden.cannot_read(&key).expect("hidden").contains("PrivateTmp="));
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
