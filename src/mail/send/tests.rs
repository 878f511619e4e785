use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::mail::Trouble;

const FAST: Pace =
    Pace { grouped: Duration::from_millis(50), look: Duration::from_millis(10), first_wait: Duration::from_millis(50) };

/// A folder for a relay's certificate and what it received.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("doorward-mail-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn received(&self) -> String {
        fs::read_to_string(self.0.join("received")).unwrap_or_default()
    }

    async fn receives(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            // Long lines are folded on their way.
            let received = self.received().replace("=\n", "").replace("=3D", "=");
            if words.iter().all(|word| received.contains(word)) {
                return received;
            }
            assert!(Instant::now() < deadline, "{words:?} did not arrive: {received}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A real SMTP server that writes down what it receives.
struct Relay(Child);

impl Relay {
    fn start(folder: &Folder, port: u16, words: &[&str]) -> Relay {
        let out = File::options().create(true).append(true).open(folder.0.join("received")).unwrap();
        let child = Command::new("/usr/bin/python3")
            .args(["-u", "-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}")])
            .args(words)
            .args(["-c", "aiosmtpd.handlers.Debugging", "stdout"])
            .current_dir(&folder.0)
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spec(port: u16) -> MailSpec {
    let text = format!(
        "allow = [\"anyone\"]\nlisten.a = {{ http = \":80\" }}\nroutes.\"a.test\" = \"http://10.0.0.1\"\n[mail]\n\
         relay = \"127.0.0.1:{port}\"\nfrom = \"edge@home.test\"\nto = [\"a@home.test\", \"b@home.test\"]\n"
    );
    crate::config::parse(std::path::Path::new("routes.toml"), &text).unwrap().config.mail.unwrap()
}

#[tokio::test]
async fn a_relay_that_was_away_gets_one_letter_once_it_is_back_and_another_when_all_is_well() {
    let (folder, port) = (Folder::new(), free_port());
    let (inbox, events) = mpsc::channel(8);
    let task = tokio::spawn(deliver(spec(port), events, FAST));
    inbox.send(Event::Began(Trouble::Reload, "routes.toml:3:1: error: no network `lna`".to_owned())).await.unwrap();
    inbox.send(Event::Began(Trouble::Certificate("home".to_owned()), "größer als erwartet".to_owned())).await.unwrap();
    // Nobody listens there yet: it is tried again and again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _relay = Relay::start(&folder, port, &[]);
    let words = ["a reload was refused", "no network `lna`", "From: edge@home.test", "To: a@home.test, b@home.test"];
    folder.receives(&words).await;
    let received = folder.receives(&["Auto-Submitted: auto-generated", "certificate home is in trouble"]).await;
    assert_eq!(received.matches("Auto-Submitted").count(), 1, "both in one\n{received}");
    inbox.send(Event::Ended(Trouble::Reload)).await.unwrap();
    folder.receives(&["over: a reload was refused"]).await;
    task.abort();
}

#[tokio::test]
async fn where_the_relay_offers_it_the_letter_is_encrypted() {
    let (folder, port) = (Folder::new(), free_port());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=relay"])
        .args(["-keyout", "key", "-out", "crt"])
        .current_dir(&folder.0)
        .output()
        .expect("openssl is installed");
    assert!(made.status.success());
    // This relay takes nothing that is not encrypted.
    let _relay = Relay::start(&folder, port, &["--tlscert", "crt", "--tlskey", "key"]);
    let (inbox, events) = mpsc::channel(8);
    let task = tokio::spawn(deliver(spec(port), events, FAST));
    inbox.send(Event::Began(Trouble::Upstream("nas".to_owned()), "refused".to_owned())).await.unwrap();
    inbox.send(Event::Began(Trouble::Reload, "faulty".to_owned())).await.unwrap();
    folder.receives(&["a reload was refused"]).await;
    task.abort();
}
