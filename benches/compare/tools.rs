//! `wrk` and `h2load`: how they are called, and how their reports are read. A report with one error is an error.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};

use crate::process::{find, pinned};
use crate::{Failure, HOST};

/// Programs that are needed, and the Debian packages they come in.
pub const NEEDED: [(&str, &str); 7] = [
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("taskset", "util-linux"),
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
];

/// Puts the script for `wrk` where it can be found.
pub fn prepare(dir: &Path) -> Result<(), Failure> {
    Ok(fs::write(dir.join("wrk.lua"), include_str!("wrk.lua"))?)
}

/// `wrk` against `address`.
pub fn wrk(
    core: impl ToString,
    dir: &Path,
    address: SocketAddr,
    tls: bool,
    path: &str,
    connections: usize,
    seconds: u64,
) -> Result<Command, Failure> {
    let scheme = if tls { "https" } else { "http" };
    let words = [
        "-t1",
        &format!("-c{connections}"),
        &format!("-d{seconds}s"),
        "-s",
        &dir.join("wrk.lua").display().to_string(),
        "-H",
        &format!("Host: {HOST}"),
        &format!("{scheme}://{address}{path}"),
    ];
    Ok(pinned(core, &find("wrk").ok_or("wrk is not installed")?, &words.map(str::to_owned)))
}

/// `h2load` against `address`.
pub fn h2load(
    core: usize,
    address: SocketAddr,
    path: &str,
    connections: usize,
    streams: usize,
    seconds: u64,
) -> Result<Command, Failure> {
    let words = [
        "-t1",
        &format!("-c{connections}"),
        &format!("-m{streams}"),
        &format!("-D{seconds}s"),
        &format!("--connect-to={address}"),
        &format!("https://{HOST}{path}"),
    ];
    Ok(pinned(core, &find("h2load").ok_or("h2load is not installed")?, &words.map(str::to_owned)))
}

/// `h2load` with so many requests, one after the other on one connection.
pub fn h2load_some(
    core: usize,
    address: SocketAddr,
    tls: bool,
    http2: bool,
    requests: u32,
) -> Result<Command, Failure> {
    let scheme = if tls { "https" } else { "http" };
    let mut words = vec![
        "-t1".to_owned(),
        "-c1".to_owned(),
        "-m1".to_owned(),
        format!("-n{requests}"),
        format!("--connect-to={address}"),
        format!("{scheme}://{HOST}/1k"),
    ];
    if !http2 {
        words.insert(0, "--h1".to_owned());
    }
    Ok(pinned(core, &find("h2load").ok_or("h2load is not installed")?, &words))
}

/// Waits for `wrk` and reads what `wrk.lua` printed: requests, then five kinds of error.
pub fn finish_wrk(child: Child) -> Result<Option<String>, Failure> {
    let text = String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or("wrk ended without a report")?;
    let counts: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    match counts[..] {
        [requests, 0, 0, 0, 0, 0] if requests > 0 => Ok(None),
        _ => Err(format!("wrk: requests, then connect, read, write, status and timeout errors: {line}").into()),
    }
}

/// Waits for `h2load` and reads its lines on requests and status codes.
pub fn finish_h2load(child: Child) -> Result<Option<String>, Failure> {
    let text = String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or("none").to_owned();
    let (requests, codes) = (line("requests:"), line("status codes:"));
    let fine = requests.contains(" 0 failed, 0 errored, 0 timeout")
        && !codes.contains(": 0 2xx")
        && codes.ends_with(" 0 3xx, 0 4xx, 0 5xx");
    if fine { Ok(None) } else { Err(format!("h2load: {requests}; {codes}").into()) }
}
