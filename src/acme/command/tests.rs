//! What a program of the owner's gets, and what is kept of what it says.

use std::path::Path;
use std::time::Duration;

use super::*;

async fn shell(script: &str, limit: Duration) -> Ran {
    let words = ["/bin/sh", "-c", script];
    run_program(&words, &[("DOORWARD_NAME", "a b")], Path::new("/"), limit).await.unwrap()
}

#[tokio::test]
async fn a_program_gets_its_variables_and_nothing_else() {
    let ran = shell("env; pwd", PROGRAM_LIMIT).await;
    let mut lines: Vec<&str> = ran.output.lines().filter(|line| !line.starts_with("PWD=")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["/", "DOORWARD_NAME=a b", &format!("PATH={PATH}")], "{}", ran.output);
}

#[tokio::test]
async fn its_arguments_are_not_read_by_any_shell() {
    let ran = run_program(&["/bin/echo", "$(id)", "; id"], &[], Path::new("/"), PROGRAM_LIMIT).await.unwrap();
    assert_eq!((ran.ended, ran.output.as_str()), (Ended::Exit(0), "$(id) ; id"));
}

#[tokio::test]
async fn how_it_ended_is_told() {
    assert_eq!(shell("exit 7", PROGRAM_LIMIT).await.ended, Ended::Exit(7));
    assert_eq!(shell("kill -TERM $$", PROGRAM_LIMIT).await.ended, Ended::Signal(15));
    let fault = run_program(&["/no/such/program"], &[], Path::new("/"), PROGRAM_LIMIT).await.unwrap_err();
    assert_eq!(fault.kind(), io::ErrorKind::NotFound);
    let fault = run_program(&["relative"], &[], Path::new("/"), PROGRAM_LIMIT).await.unwrap_err();
    assert_eq!(fault.kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_late_program_is_killed_with_its_children() {
    // Both ends of a pipe: it ends when the last process that holds it is gone.
    let (mut ours, theirs) = io::pipe().unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&theirs));
    let script = format!("exec 3>{path}; echo begun >&3; sleep 1000 & sleep 1000");
    let ran = shell(&script, Duration::from_millis(500)).await;
    assert_eq!(ran.ended, Ended::Late);
    drop(theirs);
    let mut said = String::new();
    tokio::task::spawn_blocking(move || io::Read::read_to_string(&mut ours, &mut said).map(|_| said))
        .await
        .unwrap()
        .map(|said| assert_eq!(said, "begun\n"))
        .unwrap();
}

#[tokio::test]
async fn a_program_may_leave_a_child_behind_that_holds_its_output() {
    let ran = shell("echo done; sleep 3 & exit 0", PROGRAM_LIMIT).await;
    assert_eq!(ran.ended, Ended::Exit(0));
}

#[tokio::test]
async fn endless_output_is_read_and_cut() {
    let ran = shell("head -c 3000000 /dev/zero | tr '\\0' '.'; echo end >&2", PROGRAM_LIMIT).await;
    assert_eq!(ran.ended, Ended::Exit(0));
    assert!(ran.output.len() <= KEPT && ran.output.starts_with("...."), "{}", ran.output.len());
}

#[test]
fn what_looks_like_a_secret_is_masked() {
    let text = "token=abcdefghij0123456789XYZ for nas.home.test\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nat /etc/letsencrypt-live-2026/x\x1b[31m.pem ok";
    let shown = masked(text, 4096);
    assert_eq!(shown, "token=… for nas.home.test\n…\nat /etc/…/x [31m.pem ok");
    assert_eq!(masked("ööööö", 5), "öö");
}
