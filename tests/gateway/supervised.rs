//! Under a supervisor that speaks systemd's protocols: what it is told, by whom, which sockets it keeps, and what becomes of
//! connections when the process dies. The supervisor is the test itself: a notify socket with credentials, a descriptor
//! store, and the variables of socket activation.

use std::collections::HashMap;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;

use crate::harness::{Door, Folder, Gateway, Upstream, eventually};

/// What systemd would be.
struct Supervisor {
    socket: UnixDatagram,
    place: String,
    main: Option<u32>,
    said: Vec<(u32, String)>,
    store: HashMap<String, OwnedFd>,
    /// Kept for its socket.
    _folder: Folder,
}

impl Supervisor {
    fn new() -> Supervisor {
        let folder = Folder::new();
        let place = folder.at("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&place).unwrap();
        socket.set_nonblocking(true).unwrap();
        rustix::net::sockopt::set_socket_passcred(&socket, true).unwrap();
        Supervisor { socket, place, main: None, said: Vec::new(), store: HashMap::new(), _folder: folder }
    }

    /// Reads everything that was said until now. As `NotifyAccess=main`: the main process only.
    fn listen(&mut self) {
        loop {
            let mut text = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4), ScmCredentials(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let heard = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC);
            let Ok(heard) = heard else { return };
            let (mut sender, mut given) = (0, None);
            for message in control.drain() {
                match message {
                    RecvAncillaryMessage::ScmCredentials(who) => sender = who.pid.as_raw_pid() as u32,
                    RecvAncillaryMessage::ScmRights(mut descriptors) => given = descriptors.next(),
                    _ => {}
                }
            }
            let text = String::from_utf8(text[..heard.bytes].to_vec()).unwrap();
            let main = *self.main.get_or_insert(sender);
            assert_eq!(sender, main, "only the main process may speak, but {sender} said {text:?}");
            let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
            if let Some(process) = fields.get("MAINPID") {
                self.main = Some(process.parse().unwrap());
            }
            if fields.contains_key("FDSTORE") {
                self.store.insert(fields["FDNAME"].to_owned(), given.expect("a descriptor"));
            }
            if fields.contains_key("FDSTOREREMOVE") {
                self.store.remove(fields["FDNAME"]).expect("it was kept");
            }
            self.said.push((sender, text));
        }
    }

    /// Waits until somebody says something that begins so; what was said before is forgotten.
    async fn hears(&mut self, beginning: &str) -> String {
        eventually(&format!("{beginning} to be said"), async || {
            self.listen();
            let place = self.said.iter().position(|(_, text)| text.starts_with(beginning))?;
            let (_, text) = self.said.drain(..=place).next_back()?;
            Some(text)
        })
        .await
    }
}

async fn supervised(file: impl AsRef<str>) -> (Gateway, Supervisor) {
    let supervisor = Supervisor::new();
    let mut edge = Gateway::stopped();
    edge.write_routes(file);
    let arguments = ["run", "--config", "routes.toml", "--state", "state", "--workers", "2"];
    edge.start_as(&arguments, &[("NOTIFY_SOCKET", &supervisor.place), ("WATCHDOG_USEC", "300000")]).await;
    (edge, supervisor)
}

#[tokio::test]
async fn the_supervisor_is_told_what_happens() {
    let shop = Upstream::echoing().await;
    let (mut edge, mut supervisor) = supervised(format!("[routes]\nshop = \"{shop}\"")).await;
    let ready = supervisor.hears("READY=1").await;
    assert!(ready.contains("\nSTATUS=serving 1 routes, generation 1"), "{ready}");
    supervisor.hears("WATCHDOG=1").await;
    edge.reload().await.accepted();
    let reloading = supervisor.hears("RELOADING=1\nMONOTONIC_USEC=").await;
    assert!(reloading.contains("\nSTATUS=reading the file"), "{reloading}");
    assert!(supervisor.hears("READY=1").await.contains("generation 2"));
    edge.write("nonsense").reload().await.refused("routes.toml:");
    supervisor.hears("RELOADING=1").await;
    assert!(supervisor.hears("READY=1").await.contains("generation 2, version"));
    edge.signal(Signal::TERM);
    supervisor.hears("STOPPING=1\nSTATUS=stopping").await;
    assert_eq!(edge.exit_code().await, 0);
}

#[tokio::test]
async fn listening_sockets_are_kept_and_forgotten_with_their_doors() {
    let shop = Upstream::echoing().await;
    let routes = format!("[routes]\nshop = \"{shop}\"\n");
    let (edge, mut supervisor) = supervised(&routes).await;
    supervisor.hears("READY=1").await;
    let usual = supervisor.store.len();
    assert_eq!(usual, 5, "https, redirect, plain, tunnel, metrics: {:?}", supervisor.store.keys());
    edge.write_routes(format!("{routes}[listen.more]\nhttp = \"ADDR:8085\"\n")).reload().await.accepted();
    supervisor.hears("FDSTORE=1").await;
    assert_eq!(supervisor.store.len(), usual + 1);
    edge.write_routes(&routes).reload().await.accepted();
    supervisor.hears("FDSTOREREMOVE=1").await;
    assert_eq!(supervisor.store.len(), usual);
}

#[tokio::test]
async fn after_a_hand_over_the_new_process_speaks_for_the_service() {
    let shop = Upstream::echoing().await;
    let (mut edge, mut supervisor) = supervised(format!("[routes]\nshop = \"{shop}\"")).await;
    supervisor.hears("READY=1").await;
    let old = edge.pid();
    // A real supervisor reads all the time: what finds its queue full is not told.
    let mut upgrading = std::pin::pin!(edge.upgrade());
    let new = loop {
        tokio::select! {
            new = &mut upgrading => break new,
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => supervisor.listen(),
        }
    };
    supervisor.hears("RELOADING=1").await;
    supervisor.hears(&format!("MAINPID={new}")).await;
    supervisor.hears("FDSTORE=1").await;
    assert!(supervisor.hears("READY=1").await.contains("generation 2"));
    supervisor.hears("WATCHDOG=1").await;
    supervisor.hears("WATCHDOG=1").await;
    assert!(supervisor.said.iter().all(|(sender, _)| *sender != old));
    let status = std::fs::read_to_string(format!("/proc/{new}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
    assert_ne!(parent, old.to_string(), "the supervisor is its parent, and sees it end");
}

#[tokio::test]
async fn a_crash_refuses_no_connection_where_sockets_are_kept() {
    let shop = Upstream::echoing().await;
    let (mut edge, mut supervisor) = supervised(format!("[routes]\nshop = \"{shop}\"")).await;
    supervisor.hears("READY=1").await;
    edge.signal(Signal::KILL);
    edge.exit_code().await;
    // Nobody is there, and yet the connection stands: it waits in the kernel's queue.
    let mut waiting = TcpStream::connect((edge.address(), Door::Plain.port())).expect("not refused");
    waiting.write_all(b"GET /waited HTTP/1.1\r\nHost: shop.home.test\r\nConnection: close\r\n\r\n").unwrap();
    supervisor.listen();
    let plain = format!("_{}", Door::Plain.port());
    let store = std::mem::take(&mut supervisor.store);
    let kept = store.into_iter().find_map(|(name, kept)| name.ends_with(&plain).then_some(kept)).expect("the door");
    supervisor.main = None;
    // As systemd starts it: descriptors from 3 on, and the number of the process.
    let mut command = Command::new("sh");
    let line = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=x exec \"$0\" run --state state";
    command.arg("-c").arg(line).arg(env!("CARGO_BIN_EXE_doorward")).current_dir(edge.folder().path());
    command.stdin(Stdio::from(kept)).env("NOTIFY_SOCKET", &supervisor.place).env_remove("STATE_DIRECTORY");
    edge.run(command);
    let mut answer = String::new();
    let answer = tokio::task::spawn_blocking(move || waiting.read_to_string(&mut answer).map(|_| answer));
    let answer = answer.await.unwrap().expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("/waited"), "{answer}");
    supervisor.hears("READY=1").await;
    assert_eq!(edge.get("shop.home.test/").await.status, 200);
}

#[tokio::test]
async fn a_socket_that_no_door_has_is_told_and_closed() {
    let mut edge = Gateway::stopped();
    edge.write_routes("[routes]\nshop = \"http://127.0.0.1:1\"");
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stray.local_addr().unwrap();
    let mut command = Command::new("sh");
    let line = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --state state";
    command.arg("-c").arg(line).arg(env!("CARGO_BIN_EXE_doorward")).current_dir(edge.folder().path());
    command.stdin(Stdio::from(stray.as_fd().try_clone_to_owned().unwrap()));
    drop(stray);
    edge.run(command);
    edge.logs("no door of the file has").await;
    assert!(edge.log().contains(&address.to_string()));
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
#[ignore = "slow: a core has to stand still for five seconds"]
async fn a_core_that_stands_still_is_named_and_the_watchdog_is_not_fed() {
    let shop = Upstream::echoing().await;
    let (edge, mut supervisor) = supervised(format!("[routes]\nshop = \"{shop}\"")).await;
    supervisor.hears("WATCHDOG=1").await;
    let tasks = std::fs::read_dir(format!("/proc/{}/task", edge.pid())).unwrap().map(|task| task.unwrap().path());
    let core = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).unwrap().trim() == "core-1")
        .map(|task| task.file_name().unwrap().to_str().unwrap().to_owned())
        .next()
        .expect("a core");
    // One thread alone is stopped the way a debugger does it.
    let hold = "import ctypes, sys\nc = ctypes.CDLL(None, use_errno=True)\nt = int(sys.argv[1])\n\
                assert c.ptrace(0x4206, t, 0, 0) == 0, ctypes.get_errno()\nassert c.ptrace(0x4207, t, 0, 0) == 0\n\
                sys.stdin.read()\n";
    let mut holder = Command::new("python3").args(["-c", hold, &core]).stdin(Stdio::piped()).spawn().unwrap();
    supervisor.hears("STATUS=core-1 stands still").await;
    edge.logs("a core stands still").await;
    assert!(edge.log().contains("core=1"), "{}", edge.log());
    supervisor.listen();
    assert!(!supervisor.said.iter().any(|(_, text)| text.starts_with("WATCHDOG")), "{:?}", supervisor.said);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    edge.logs("a core goes on").await;
    supervisor.hears("WATCHDOG=1").await;
}

#[tokio::test]
async fn the_unit_is_one_that_systemd_understands_and_gives_little_away() {
    let folder = Folder::new();
    let unit =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/systemd/doorward.service")).unwrap();
    folder.replace("doorward.service", unit.replace("/usr/bin/doorward", env!("CARGO_BIN_EXE_doorward")));
    let analyze = |arguments: &[&str]| {
        let place = folder.at("doorward.service");
        let said = Command::new("systemd-analyze").args(arguments).arg(place).output().expect("systemd-analyze runs");
        let text = [said.stdout, said.stderr].concat();
        (said.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (is_good, said) = analyze(&["verify", "--man=no"]);
    assert!(is_good && !said.contains("doorward.service"), "{said}");
    // Out of 10; what is above 2.0 has lost a fence.
    let (is_good, said) = analyze(&["security", "--offline=true", "--threshold=20"]);
    assert!(is_good, "{}", said.lines().last().unwrap_or_default());
}
