//! Whether the clock of this machine can be right, and whether somebody keeps it so. Certificates, their renewals and the
//! answers of a CA are judged by it. Nothing on the network is asked: a home's NTP server knows no more than the kernel does.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::process::Command;
use tokio::time::timeout;

use super::Finding;

/// How far back a clock may stand behind the files of its own machine.
const BEHIND: Duration = Duration::from_secs(24 * 3600);

/// How long `timedatectl` may take: it asks a service that may have to be started.
const PATIENCE: Duration = Duration::from_secs(4);

/// Files that somebody wrote on this machine, or on the one that made its image.
const DATED: [&str; 4] = ["/proc/self/exe", "/etc/hostname", "/etc/ld.so.cache", "/var/log"];

/// Looks at the clock.
pub(super) async fn examine() -> Vec<Finding> {
    let newest = DATED.iter().filter_map(|path| fs::metadata(path).ok()?.modified().ok()).max();
    vec![judge(SystemTime::now(), newest, is_kept().await)]
}

/// A clock that stands before the files of its own machine is wrong, and with it every certificate is.
fn judge(now: SystemTime, newest: Option<SystemTime>, is_kept: Option<bool>) -> Finding {
    let date = time::OffsetDateTime::from(now).date();
    if newest.is_some_and(|newest| newest > now + BEHIND) {
        let mend = "set it: `timedatectl set-ntp true` (in an LXC: on the host); certificates are judged by it";
        return Finding::fault("time", format!("the clock says {date}, which is before files of this machine"), mend);
    }
    match is_kept {
        Some(false) => Finding::warning(
            "time",
            format!("the clock says {date}, and the kernel knows of nobody who keeps it right"),
            "`timedatectl set-ntp true` (in an LXC: on the host)",
        ),
        Some(true) => Finding::good("time", format!("the clock says {date}, and is kept right")),
        None => Finding::good("time", format!("the clock says {date}")),
    }
}

/// Whether the kernel was told that its clock follows another one; `None` where there is nobody to say so.
async fn is_kept() -> Option<bool> {
    let mut command = Command::new("timedatectl");
    command.args(["show", "-p", "NTPSynchronized", "--value"]).stdin(Stdio::null()).kill_on_drop(true);
    let said = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    match said.stdout.trim_ascii() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_the_files_around_it_and_by_who_keeps_it() {
        let now = SystemTime::now();
        let later = now + BEHIND + Duration::from_secs(60);
        assert_eq!(judge(now, Some(later), Some(true)).health, Health::Fault);
        assert_eq!(judge(now, Some(now), Some(false)).health, Health::Warning);
        assert_eq!(judge(now, Some(now), Some(true)).health, Health::Good);
        assert_eq!(judge(now, None, None).health, Health::Good);
    }
}
