use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn free_path() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("doorward-ask-{}-{number}.sock", std::process::id()))
}

/// Answers one client with these bytes, after its order was read.
fn answering(bytes: &'static [u8]) -> (PathBuf, thread::JoinHandle<String>) {
    let path = free_path();
    let listener = UnixListener::bind(&path).unwrap();
    let gone = path.clone();
    let serving = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut order = String::new();
        BufReader::new(&stream).read_line(&mut order).unwrap();
        (&stream).write_all(bytes).unwrap();
        fs::remove_file(gone).unwrap();
        order
    });
    (path, serving)
}

#[test]
fn an_order_is_one_line_and_so_is_the_answer() {
    let (path, serving) = answering(b"{\"ok\":false,\"text\":\"2 faults\",\"json\":{\"faults\":[1,2]}}\nmore");
    let answer = ask(&path, &Command::Reload, LONG).unwrap();
    assert_eq!((answer.ok, &*answer.text, &answer.json["faults"][1]), (false, "2 faults", &2.into()));
    assert_eq!(serving.join().unwrap(), "{\"command\":\"reload\"}\n");
}

#[test]
fn nobody_there_is_said_with_what_to_do() {
    let error = ask(&free_path(), &Command::Status, LONG).unwrap_err();
    assert!(matches!(error, AskError::NobodyListens { .. }));
    assert!(error.to_string().contains("is doorward running?"), "{error}");

    let dead = free_path();
    drop(UnixListener::bind(&dead).unwrap());
    let error = ask(&dead, &Command::Status, LONG).unwrap_err();
    fs::remove_file(&dead).unwrap();
    assert!(matches!(error, AskError::NobodyListens { .. }), "{error:?}");
}

#[test]
fn a_silent_server_is_not_waited_for_beyond_the_limit() {
    let path = free_path();
    let _listener = UnixListener::bind(&path).unwrap();
    let error = ask(&path, &Command::Routes, Duration::from_millis(50)).unwrap_err();
    fs::remove_file(&path).unwrap();
    assert!(matches!(error, AskError::Timeout { .. }), "{error:?}");
    assert!(error.to_string().contains("within 50ms"), "{error}");
}

#[test]
fn a_server_that_dies_or_talks_nonsense_is_an_error() {
    let (path, serving) = answering(b"{\"ok\":tr");
    assert!(matches!(ask(&path, &Command::Routes, LONG), Err(AskError::BrokenOff { .. })));
    serving.join().unwrap();
    let (path, serving) = answering(b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(matches!(ask(&path, &Command::Routes, LONG), Err(AskError::Unreadable { .. })));
    serving.join().unwrap();
}
