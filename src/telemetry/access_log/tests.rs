use std::net::Ipv4Addr;
use std::sync::mpsc;

use crate::model::Client;

use super::super::request_id::RequestId;
use super::*;

fn record(path: &str) -> AccessRecord<'_> {
    AccessRecord {
        id: RequestId::random(),
        client: Client::Unknown,
        peer: Ipv4Addr::LOCALHOST.into(),
        door: "local",
        route: None,
        method: &http::Method::GET,
        host: "h.test",
        path,
        query: None,
        version: http::Version::HTTP_11,
        tls: false,
        status: 200,
        refusal: None,
        detail: None,
        bytes_in: 0,
        bytes_out: 0,
        took: Duration::ZERO,
        upstream: None,
        first_byte: None,
        user_agent: None,
        upgraded: false,
        aborted: false,
    }
}

/// A sink in memory that does what it is told before each write.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    /// Takes pieces as long as `before` allows them: `Ok(n)` at most n bytes.
    fn sink(&self, before: impl FnMut() -> io::Result<usize> + Send + 'static) -> Sink {
        Sink::Writer(Box::new(Steered { memory: self.clone(), before }))
    }
}

struct Steered<F> {
    memory: Memory,
    before: F,
}

impl<F: FnMut() -> io::Result<usize>> Write for Steered<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = (self.before)()?.min(bytes.len());
        self.memory.0.lock().unwrap().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn full_disk() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

#[test]
fn records_of_all_cores_arrive_whole_and_in_the_order_of_their_core() {
    let memory = Memory::default();
    let log = AccessLog::start(AccessFormat::Json, memory.sink(|| Ok(7_001))).unwrap();
    thread::scope(|scope| {
        for core in 0..3 {
            let log = log.for_core();
            scope.spawn(move || (0..1_000).for_each(|n| log.record(&record(&format!("/{core}/{n}")))));
        }
    });
    assert_eq!(log.losses().dropped(), 0);
    log.close();
    let paths: Vec<String> = memory
        .lines()
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths.len(), 3_000);
    for core in 0..3 {
        let own = paths.iter().filter(|path| path.starts_with(&format!("/{core}/")));
        assert!(own.cloned().eq((0..1_000).map(|n| format!("/{core}/{n}"))));
    }
}

#[test]
fn a_single_record_arrives_with_a_flush() {
    let (wrote, written) = mpsc::channel();
    let memory = Memory::default();
    let log = AccessLog::start(
        AccessFormat::Text,
        memory.sink(move || {
            wrote.send(()).unwrap();
            Ok(usize::MAX)
        }),
    )
    .unwrap();
    let core = log.for_core();
    assert!(core.is_empty());
    core.record(&record("/one"));
    assert!(!core.is_empty());
    core.flush();
    assert!(core.is_empty());
    written.recv_timeout(Duration::from_secs(10)).unwrap();
    log.close();
    assert_eq!(memory.lines().len(), 1);
}

#[test]
fn a_blocked_sink_costs_records_that_are_counted_and_nobody_waits() {
    let (go_on, gate) = mpsc::channel::<()>();
    let memory = Memory::default();
    // Blocks until `go_on` is dropped.
    let log = AccessLog::start(
        AccessFormat::Json,
        memory.sink(move || {
            let _ = gate.recv();
            Ok(usize::MAX)
        }),
    )
    .unwrap();
    let core = log.for_core();
    let path = format!("/{}", "x".repeat(4_000));
    let mut records = 0;
    while log.losses().dropped() < 100 {
        core.record(&record(&path));
        records += 1;
        assert!(records < 10_000, "what waits is not bounded");
    }
    drop(go_on);
    drop(core);
    let losses = log.losses();
    log.close();
    assert_eq!(memory.lines().len() as u64 + losses.dropped(), records);
    assert_eq!(losses.write_errors(), 0);
}

#[test]
fn after_a_full_disk_the_log_goes_on_at_the_start_of_a_line() {
    let memory = Memory::default();
    let mut answers = vec![Ok(usize::MAX), Ok(30), Err(full_disk()), Err(full_disk())].into_iter();
    let log =
        AccessLog::start(AccessFormat::Text, memory.sink(move || answers.next().unwrap_or(Ok(usize::MAX)))).unwrap();
    let core = log.for_core();
    for path in ["/whole", "/torn", "/lost", "/again"] {
        core.record(&record(path));
        core.flush();
    }
    let losses = log.losses();
    log.close();
    assert_eq!((losses.dropped(), losses.write_errors()), (2, 2));
    let lines = memory.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("/whole") && lines[2].contains("/again"), "{lines:?}");
    assert_eq!(lines[1].len(), 30);
}

#[test]
fn a_closed_pipe_is_counted_and_harms_nobody() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let log = AccessLog::start(AccessFormat::Json, Sink::Writer(Box::new(writer))).unwrap();
    let core = log.for_core();
    core.record(&record("/"));
    drop(core);
    let losses = log.losses();
    log.close();
    assert_eq!((losses.dropped(), losses.write_errors()), (1, 1));
}

#[test]
fn close_does_not_wait_for_ever_and_later_records_are_counted() {
    let (_go_on, gate) = mpsc::channel::<()>();
    let memory = Memory::default();
    let stuck = AccessLog::start(
        AccessFormat::Json,
        memory.sink(move || {
            let _ = gate.recv();
            Ok(usize::MAX)
        }),
    )
    .unwrap();
    let core = stuck.for_core();
    core.record(&record("/"));
    core.flush();
    stuck.close();
    assert!(memory.lines().is_empty());

    let log = AccessLog::start(AccessFormat::Json, Memory::default().sink(|| Ok(usize::MAX))).unwrap();
    let core = log.for_core();
    let losses = log.losses();
    log.close();
    core.record(&record("/late"));
    core.flush();
    assert_eq!(losses.dropped(), 1);
}

#[test]
fn a_reload_changes_the_format_of_the_next_record() {
    let memory = Memory::default();
    let log = AccessLog::start(AccessFormat::Off, memory.sink(|| Ok(usize::MAX))).unwrap();
    let core = log.for_core();
    core.record(&record("/off"));
    assert!(core.is_empty());
    log.set_format(AccessFormat::Json);
    core.record(&record("/json"));
    log.set_format(AccessFormat::Text);
    core.record(&record("/text"));
    drop(core);
    log.close();
    let lines = memory.lines();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with('{') && lines[1].contains(" GET http://h.test/text "), "{lines:?}");
}

#[test]
fn a_file_is_written_to() {
    let path = std::env::temp_dir().join(format!("doorward-access-{}-{}", std::process::id(), RequestId::random()));
    let log = AccessLog::start(AccessFormat::Json, Sink::File(File::create(&path).unwrap())).unwrap();
    let core = log.for_core();
    core.record(&record("/file"));
    drop(core);
    log.close();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(text.contains(r#""path":"/file""#) && text.ends_with("}\n"));
}

#[tokio::test]
async fn a_slow_watcher_is_told_what_it_lost() {
    let log = AccessLog::start(AccessFormat::Off, Sink::Writer(Box::new(io::sink()))).unwrap();
    let core = log.for_core();
    let mut watching = log.watch(Watched::default()).unwrap();
    for _ in 0..2_000 {
        core.record(&record("/x"));
    }
    assert_eq!(watching.next().await.as_deref(), Some(&b"{\"lost\":976}\n"[..]));
    let first = watching.next().await.unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"path\":\"/x\""));
    core.record(&record("/y"));
    drop(watching);
    core.record(&record("/z"));
}

#[test]
fn no_more_watch_than_there_is_room_for() {
    let log = AccessLog::start(AccessFormat::Off, Sink::Writer(Box::new(io::sink()))).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| log.watch(Watched::default())).collect();
    assert_eq!(all.len(), 16);
    drop(all);
    assert!(log.watch(Watched { route: None, failures: true }).is_some());
}
