//! The network that everything is measured in: a loopback of its own, with the congestion control that Debian's kernels have.
//! One that paces what it sends (BBR, the default of some machines) sets a timer for every few packets, on loopback too; then who
//! writes in large pieces pays for timers, who writes in small ones hardly. Changes nothing on the machine itself.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::Failure;

/// The congestion control of the network that this process is in.
const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// A network of its own may choose only what the machine allows everybody.
const ENTER: &str = "ip link set lo up && { echo cubic >/proc/sys/net/ipv4/tcp_congestion_control || \
    echo 'this machine lets no network of its own choose CUBIC; as root, it allows it until the next start by: \
    sysctl -w net.ipv4.tcp_allowed_congestion_control=\"reno bbr cubic\"' >&2; } && exec \"$@\"";

/// Starts this program anew in such a network, with `word` behind its arguments. Returns where only root may do that, and it is
/// not root; the report says what was in force.
pub fn enter(word: &str) -> Result<(), Failure> {
    let tried = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("no network of its own (that takes root): measured in the machine's, {}", congestion_control());
        return Ok(());
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "sh", "-c", ENTER, "sh"]).arg(env::current_exe()?).args(env::args_os().skip(1)).arg(word);
    Err(again.exec().into())
}

/// In words for the report.
pub fn congestion_control() -> String {
    format!("TCP {}", fs::read_to_string(CONTROL).unwrap_or_default().trim())
}
