//! Root given up for good, without systemd: the process becomes a named user and keeps one right, to listen on ports below
//! 1024, for doors that a later file adds. Only at the very start, while there is one thread.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities, set_keep_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::ServiceError;

/// How deep a state folder is.
const DEEPEST: usize = 8;

/// Somebody of /etc/passwd.
struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Becomes this user, and gives it the state folder with everything in it that is root's. Who is this user already stays as
/// he is; who is neither root nor he is refused.
pub fn become_user(name: &str, state: &Path) -> Result<(), ServiceError> {
    let refused = |why: String| ServiceError::NotAllowed { user: name.to_owned(), why };
    let user = look_up(name).map_err(refused)?;
    if geteuid() == user.uid {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(refused("only root can become somebody else; leave --user out".to_owned()));
    }
    if user.uid.is_root() {
        return Err(refused("that is root itself".to_owned()));
    }
    let failed = |step: &'static str| move |cause: io::Error| format!("{step}: {cause}");
    // Each of these calls is about one thread only.
    let threads = fs::read_dir("/proc/self/task").map_err(failed("/proc")).map_err(refused)?.count();
    if threads != 1 {
        return Err(refused(format!("{threads} threads run already")));
    }
    give(state, &user, DEEPEST).map_err(failed("the state folder")).map_err(refused)?;
    switch(&user).map_err(|cause| refused(format!("the system refuses: {}", io::Error::from(cause))))?;
    tracing::info!(user = user.name, "root given up; listening below port 1024 is kept");
    Ok(())
}

fn switch(user: &User) -> rustix::io::Result<()> {
    set_keep_capabilities(true)?;
    set_thread_groups(&user.groups)?;
    set_thread_res_gid(user.gid, user.gid, user.gid)?;
    set_thread_res_uid(user.uid, user.uid, user.uid)?;
    let kept = CapabilitySet::NET_BIND_SERVICE;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
    // A successor keeps it too.
    configure_capability_in_ambient_set(kept, true)?;
    set_keep_capabilities(false)?;
    set_no_new_privs(true)
}

/// Hands over what is root's in a folder; links are handed over themselves, never followed.
fn give(path: &Path, user: &User, depth: usize) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if found.uid() == 0 {
        lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    if found.is_dir() && depth > 0 {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user, depth - 1)?;
        }
    }
    Ok(())
}

/// From the files themselves: a static program has no other way to ask (nsswitch.conf(5)).
fn look_up(name: &str) -> Result<User, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|cause| format!("{path}: {cause}"));
    let users = read("/etc/passwd")?;
    let unknown = || "there is nobody of this name; `useradd --system` makes one".to_owned();
    let (uid, gid) = users.lines().find_map(|line| numbers_of(line, name)).ok_or_else(unknown)?;
    let groups = read("/etc/group").unwrap_or_default();
    let more = groups.lines().filter_map(|line| group_with(line, name)).filter(|&group| group != gid);
    let groups = std::iter::once(gid).chain(more).map(Gid::from_raw).collect();
    Ok(User { name: name.to_owned(), uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups })
}

/// `name:x:uid:gid:…` (passwd(5)).
fn numbers_of(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    if fields.next()? != name {
        return None;
    }
    Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// `group:x:gid:member,member` (group(5)).
fn group_with(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let number = fields.next()?.parse().ok()?;
    fields.next()?.split(',').any(|member| member == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_read_as_they_are_written() {
        assert_eq!(numbers_of("door:x:990:991::/:/bin/false", "door"), Some((990, 991)));
        assert_eq!(numbers_of("doorward:x:990:991::/:/bin/false", "door"), None);
        assert_eq!(numbers_of("door:x:many:991", "door"), None);
        assert_eq!(group_with("certs:x:500:a,door,b", "door"), Some(500));
        assert_eq!(group_with("certs:x:500:doorward", "door"), None);
        assert_eq!(group_with("certs:x:500:", "door"), None);
    }

    #[test]
    fn nobody_of_that_name_is_told_as_such() {
        let said = become_user("no-such-user-here", Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(said.contains("there is nobody of this name"), "{said}");
    }
}
