//! `[mail]` against a real relay, with a clock that runs faster: minutes of waiting pass in seconds.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::harness::{CERT, DOORS, FRONT, Gateway, TAIL, TestCa, Upstream, eventually};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// A relay that writes down what it is given.
struct Relay(Child);

impl Relay {
    fn start(edge: &Gateway) -> Relay {
        let out = File::create(edge.folder().at("letters")).unwrap();
        let child = Command::new("/usr/bin/python3")
            .args(["-u", "-m", "aiosmtpd", "-n", "-l", &format!("{}:2525", edge.address())])
            .args(["-c", "aiosmtpd.handlers.Debugging", "stdout"])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .expect("python3-aiosmtpd is installed");
        Relay(child)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway that writes letters, sixty times as fast; none where the library for that is not there.
async fn hurried(routes: &str, mail: &str, certificate_days: i64) -> Option<(Gateway, Relay)> {
    if !std::path::Path::new(LIBRARY).exists() {
        eprintln!("NOT JUDGED: libfaketime is not installed here; `bash tests/run` installs it");
        return None;
    }
    let mut edge = Gateway::stopped();
    TestCa::new("the house's own")
        .issue_for_days(&["home.test", "*.home.test"], certificate_days)
        .write(edge.folder(), "edge");
    edge.write(file(routes, mail));
    let relay = Relay::start(&edge);
    let clock = [("LD_PRELOAD", LIBRARY), ("FAKETIME", "+0 x60")];
    edge.start_as(&["run", "--config", "routes.toml", "--state", "state", "--workers", "1"], &clock).await;
    Some((edge, relay))
}

fn file(routes: &str, mail: &str) -> String {
    let mail =
        format!("\n[mail]\nrelay = \"ADDR:2525\"\nfrom = \"doorward@home.test\"\nto = [\"you@home.test\"]\n{mail}\n");
    format!("{FRONT}{DOORS}{CERT}{TAIL}{routes}{mail}")
}

/// The letters so far, as one text each, lines as they were before they were folded.
fn letters(edge: &Gateway) -> Vec<String> {
    let received = edge.folder().read("letters").replace("=\n", "").replace("=3D", "=").replace("=20", " ");
    received.split("---------- MESSAGE FOLLOWS ----------\n").skip(1).map(str::to_owned).collect()
}

async fn letter_with(edge: &Gateway, text: &str) -> String {
    eventually(&format!("a letter with `{text}`"), async || {
        letters(edge).into_iter().find(|letter| letter.contains(text) && letter.contains("END MESSAGE"))
    })
    .await
}

#[tokio::test]
async fn a_refused_reload_is_written_of_once_with_what_else_is_wrong_and_again_when_it_is_over() {
    let shop = Upstream::echoing().await;
    let routes = format!("[routes]\nshop = \"{shop}\"\n");
    let Some((edge, _relay)) = hurried(&routes, "", 2).await else { return };
    let secret = "headers = { request = { set = { authorization = \"Bearer s3cr3t\" } } }";
    edge.write(file(&format!("[routes.shop]\nto = \"{shop}\"\n{secret}, extra = 1\n"), ""));
    edge.reload().await.into_finished();
    edge.reload().await.into_finished();
    let letter = letter_with(&edge, "a reload was refused").await;
    assert!(letter.contains("routes.toml:") && letter.contains("help: "), "{letter}");
    assert!(letter.contains("To: you@home.test") && letter.contains("Auto-Submitted: auto-generated"), "{letter}");
    assert!(!letter.contains("s3cr3t"), "the file's lines stay at home\n{letter}");
    letter_with(&edge, "certificate main is in trouble").await;
    edge.write(file(&routes, ""));
    edge.reload().await.accepted();
    letter_with(&edge, "over: a reload was refused").await;
    let all = letters(&edge);
    let about_it = all.iter().filter(|letter| letter.contains("Subject: [doorward") && letter.contains("error: "));
    assert_eq!(about_it.count(), 1, "{all:?}");
}

#[tokio::test]
#[ignore = "slow: five minutes pass, in a tenth of the time"]
async fn an_upstream_that_is_down_for_five_minutes_is_written_of_after_quiet_hours_and_its_return_too() {
    let (shop, gone) = (Upstream::echoing().await, Upstream::absent().await);
    let routes = format!("[routes]\nshop = \"{shop}\"\nnas = \"{gone}\"\nwiki = \"{gone}\"\n");
    let form = format_description!("[hour]:[minute]");
    // Minutes of the gateway's clock: quiet until eleven from now, so that five of them would have been enough.
    let end = OffsetDateTime::now_utc() + Duration::from_secs(11 * 60);
    let from = OffsetDateTime::now_utc() - Duration::from_secs(60);
    let quiet = format!("quiet = \"{}-{}\"", from.format(form).unwrap(), end.format(form).unwrap());
    let Some((edge, _relay)) = hurried(&routes, &quiet, 90).await else { return };
    let letter = letter_with(&edge, "upstream nas does not answer").await;
    assert!(letter.contains("upstream wiki does not answer"), "both in one\n{letter}");
    assert!(letter.contains("Connection refused") && !letter.contains("shop"), "{letter}");
    let date = letter.lines().find_map(|line| line.strip_prefix("Date: ")).expect("a date");
    let form = format_description!(
        "[weekday repr:short], [day padding:none] [month repr:short] [year] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    let date = OffsetDateTime::parse(date, form).unwrap_or_else(|e| panic!("{e}: {date}"));
    assert!(date >= end - Duration::from_secs(60), "not in quiet hours: {date}");
    gone.start().await;
    let over = letter_with(&edge, "over: upstream nas does not answer").await;
    assert!(over.contains(" min"), "{over}");
    assert_eq!(letters(&edge).len(), 2);
}
