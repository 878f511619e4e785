//! Who listens on an address that is wanted: by the kernel's own tables, so that root gets a name and not the advice to look
//! for one. Others see their own processes only; for the rest nothing is guessed.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a socket that listens, in /proc/net/tcp (proc(5)).
const LISTENING: &str = "0A";

/// A process that has an address.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Holder {
    name: String,
    process: u32,
    /// What ends it, as far as that can be told.
    pub(super) mend: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.process)
    }
}

/// The process that listens where `wanted` would have to be bound, if we may see it.
pub(super) fn holder_of(wanted: SocketAddr) -> Option<Holder> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines().filter_map(listening))
        .filter(|(address, _)| is_in_the_way(*address, wanted))
        .map(|(_, inode)| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let process: u32 = processes.into_iter().find(|process| has_one_of(*process, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default().trim().to_owned();
    let cgroup = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let mend = mend_of(&name, &cgroup, wanted.port());
    Some(Holder { name, process, mend })
}

/// `0::/system.slice/nginx.service`, `0::/system.slice/docker-4f5e….scope`. The process that publishes a container's port
/// belongs to the engine, which is not to be stopped for it. A person's own session is nothing to stop either.
fn mend_of(name: &str, cgroup: &str, port: u16) -> String {
    if name == "docker-proxy" {
        return format!("`docker ps --filter publish={port}` shows whose port it is: stop that container");
    }
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let part = |end: &str| path.split('/').find_map(|part| part.strip_suffix(end));
    if let Some(id) = part(".scope").and_then(|scope| scope.strip_prefix("docker-")) {
        return format!("`docker stop {}`", id.get(..12).unwrap_or(id));
    }
    match part(".service").filter(|_| path.starts_with("/system.slice/")) {
        Some(unit) => format!("`systemctl stop {unit}.service`"),
        None => "end that".to_owned(),
    }
}

fn is_in_the_way(held: SocketAddr, wanted: SocketAddr) -> bool {
    held.port() == wanted.port()
        && (held.ip() == wanted.ip() || held.ip().is_unspecified() || wanted.ip().is_unspecified())
}

fn has_one_of(process: u32, sockets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

/// Address and inode of a line of the table, where it is a socket that listens.
fn listening(line: &str) -> Option<(SocketAddr, &str)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let address = fields.next()?;
    if fields.nth(1)? != LISTENING {
        return None;
    }
    Some((address_of(address)?, fields.nth(5)?))
}

/// `0100007F:1F90`: each four bytes of the address as a number of this machine.
fn address_of(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words = address.as_bytes().chunks(8).map(|word| u32::from_str_radix(str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<u32>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_found_by_either_family_and_on_any_address() {
        for (held, wanted) in [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")] {
            let taken = TcpListener::bind((held, 0)).unwrap();
            let wanted = SocketAddr::new(wanted.parse().unwrap(), taken.local_addr().unwrap().port());
            let holder = holder_of(wanted).unwrap_or_else(|| panic!("nobody at {wanted}"));
            assert_eq!(holder.process, std::process::id());
            drop(taken);
            assert_eq!(holder_of(wanted), None);
        }
    }

    #[test]
    fn the_tables_of_the_kernel_are_read_as_they_are() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0";
        assert_eq!(listening(line), Some(("127.0.0.1:8080".parse().unwrap(), "4711")));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None, "a connection");
        assert_eq!(address_of("00000000000000000000000001000000:0050"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(address_of("what?"), None);
    }

    #[test]
    fn what_ends_it_is_named_and_never_the_whole_engine() {
        let id = "4f5e6d7c8b9a".repeat(5);
        for (name, cgroup, mend) in [
            ("nginx", "0::/system.slice/nginx.service\n".to_owned(), "`systemctl stop nginx.service`"),
            ("nginx", format!("0::/system.slice/docker-{id}.scope\n"), "`docker stop 4f5e6d7c8b9a`"),
            ("docker-proxy", "0::/system.slice/docker.service\n".to_owned(), "`docker ps --filter publish=443`"),
            ("nc", "0::/user.slice/user-0.slice/user@0.service/a.scope\n".to_owned(), "end that"),
            ("nc", String::new(), "end that"),
        ] {
            let said = mend_of(name, &cgroup, 443);
            assert!(said.starts_with(mend), "{said}");
        }
    }
}
