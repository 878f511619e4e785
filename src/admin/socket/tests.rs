use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("doorward-socket-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Serves with an owner that answers each order with its own name.
fn echoing(socket: &Path) -> tokio::task::JoinHandle<Result<(), AdminError>> {
    let (orders, mut taken) = mpsc::channel::<Order>(1);
    tokio::spawn(async move {
        while let Some(order) = taken.recv().await {
            let text = format!("{:?}", order.command);
            let _ = order.answer.send(Answer::done(text, json!({ "seen": true })));
        }
    });
    let open = AdminSocket::bind(socket).unwrap();
    tokio::spawn(open.serve(orders))
}

async fn say(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    // The server may have answered and left before it read all of it.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    // What it did not read ends the connection with an error, after the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[test]
fn the_first_runtime_folder_comes_before_the_state_folder() {
    let state = Path::new("/var/lib/doorward");
    let path = |list: Option<&str>| socket_path(list.map(OsStr::new), state);
    assert_eq!(path(Some("/run/doorward")), Path::new("/run/doorward/admin.sock"));
    assert_eq!(path(Some("/run/a:/run/b")), Path::new("/run/a/admin.sock"));
    assert_eq!(path(Some("")), Path::new("/var/lib/doorward/admin.sock"));
    assert_eq!(path(None), Path::new("/var/lib/doorward/admin.sock"));
}

#[test]
fn only_root_and_the_service_itself_may_order() {
    assert!(may_order(0, 1000) && may_order(1000, 1000) && may_order(0, 0));
    assert!(!may_order(1001, 1000) && !may_order(1000, 0));
}

#[tokio::test]
async fn an_order_is_answered_with_one_line() {
    let folder = Folder::new();
    let _serving = echoing(&folder.socket());
    let answer = say(&folder.socket(), b"{\"command\":\"reload\"}\n").await;
    assert_eq!(answer, "{\"ok\":true,\"text\":\"Reload\",\"json\":{\"seen\":true}}\n");
}

#[tokio::test]
async fn the_socket_is_0600_and_its_folder_stays_as_it_is() {
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let open = AdminSocket::bind(&folder.socket()).unwrap();
    assert_eq!(fs::metadata(folder.socket()).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(&folder.0).unwrap().permissions().mode() & 0o7777, 0o755);
    drop(open);
    assert!(!folder.socket().exists(), "an ended process leaves no socket behind");
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
    let folder = Folder::new();
    drop(StdListener::bind(folder.socket()).unwrap());
    assert!(folder.socket().exists());
    let _serving = echoing(&folder.socket());
    let second = AdminSocket::bind(&folder.socket());
    assert!(matches!(second, Err(AdminError::Taken { .. })), "{second:?}");
    assert!(say(&folder.socket(), b"{\"command\":\"status\"}\n").await.contains("Status"));
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let folder = Folder::new();
    fs::write(folder.socket(), "precious").unwrap();
    assert!(matches!(AdminSocket::bind(&folder.socket()), Err(AdminError::NotASocket { .. })));
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[tokio::test]
async fn the_successors_socket_survives_the_end_of_the_one_before() {
    let folder = Folder::new();
    let before = AdminSocket::bind(&folder.socket()).unwrap();
    fs::remove_file(folder.socket()).unwrap();
    let _after = AdminSocket::bind(&folder.socket()).unwrap();
    drop(before);
    assert!(folder.socket().exists());
}

#[tokio::test]
async fn a_path_longer_than_an_address_works() {
    let folder = Folder::new();
    let deep = folder.0.join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let socket = deep.join("admin.sock");
    let _serving = echoing(&socket);
    let asked = socket.clone();
    let answer = tokio::task::spawn_blocking(move || {
        super::super::ask(&asked, &Command::Metrics, Duration::from_secs(10)).unwrap()
    })
    .await
    .unwrap();
    assert_eq!(answer.text, "Metrics");
}

#[tokio::test]
async fn a_missing_folder_is_an_error_that_names_the_socket() {
    let error = serve(Path::new("/nonexistent/admin.sock"), mpsc::channel(1).0).await.unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/admin.sock: "), "{error}");
}

#[tokio::test]
async fn what_is_no_order_gets_an_answer_that_says_so() {
    let folder = Folder::new();
    let _serving = echoing(&folder.socket());
    for nonsense in [&b"hello\n"[..], b"\n", b"{\"command\":\"explode\"}\n", b"{}\n", b"\xff\xfe\n", b"[[[[[[\n"] {
        let answer = say(&folder.socket(), nonsense).await;
        let answer: Answer = serde_json::from_str(&answer).unwrap();
        assert!(!answer.ok && answer.text.contains("not an order"), "{answer:?}");
    }
    let answer = say(&folder.socket(), &vec![b'x'; 33 << 20]).await;
    assert!(answer.contains("longer than 32 MiB"), "{answer:?}");
}

#[tokio::test]
async fn clients_that_say_nothing_hold_up_nobody() {
    let folder = Folder::new();
    let _serving = echoing(&folder.socket());
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(folder.socket()).await.unwrap());
    }
    assert!(say(&folder.socket(), b"{\"command\":\"routes\"}\n").await.contains("Routes"));
}

#[tokio::test]
async fn an_order_that_does_not_come_is_not_waited_for() {
    let (mut client, server) = UnixStream::pair().unwrap();
    let (orders, _taken) = mpsc::channel(1);
    client.write_all(b"{\"comm").await.unwrap();
    tokio::join!(converse(server, orders, Duration::from_millis(20)), async {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("within 20ms"), "{answer}");
    });
}

#[tokio::test]
async fn an_owner_that_leaves_is_told_to_the_asker() {
    let folder = Folder::new();
    let (orders, mut taken) = mpsc::channel::<Order>(1);
    let open = AdminSocket::bind(&folder.socket()).unwrap();
    let serving = tokio::spawn(open.serve(orders));
    let socket = folder.socket();
    let asking = tokio::spawn(async move { say(&socket, b"{\"command\":\"reload\"}\n").await });
    drop(taken.recv().await.unwrap());
    drop(taken);
    assert!(asking.await.unwrap().contains("doorward is stopping"));
    serving.await.unwrap().unwrap();
    assert!(!folder.socket().exists());
}
