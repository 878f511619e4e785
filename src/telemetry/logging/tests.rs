use std::fs::File;
use std::io::Write;
use std::os::linux::fs::MetadataExt as _;
use std::sync::{Arc, Mutex};

use tracing::{error, info};

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(style: Style, say: impl FnOnce()) -> String {
    let memory = Memory::default();
    let writer = memory.clone();
    let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).event_format(Line { style }).finish();
    tracing::subscriber::with_default(log, say);
    let bytes = memory.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn under_the_journal_a_line_has_a_priority_and_no_time() {
    let text = logged(Style::Journal, || {
        info!(generation = 3, file = %"routes.toml", "reload accepted");
        error!("no way out");
    });
    assert_eq!(text, "<6>INFO  reload accepted generation=3 file=routes.toml\n<3>ERROR no way out\n");
}

#[test]
fn elsewhere_a_line_begins_with_the_time() {
    let text = logged(Style::Plain, || info!("started"));
    let (time, rest) = text.split_once(' ').unwrap();
    assert_eq!(rest, "INFO  started\n");
    assert_eq!(time.len(), "2026-07-04T12:00:00.123Z".len());
    assert!(time.ends_with('Z'));
}

#[test]
fn a_stranger_can_neither_forge_a_line_nor_steer_a_terminal() {
    let text = logged(Style::Journal, || info!(host = %"a\n<0>EMERG forged\r\x1b[2J\u{202e}", "seen"));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text:?}");
    assert!(lines[1].starts_with("<6>INFO      <0>EMERG forged"), "{text:?}");
    assert!(!text.chars().any(|letter| letter != '\n' && (letter.is_control() || letter == '\u{202e}')), "{text:?}");
}

#[test]
fn the_journal_is_known_by_its_descriptor_not_by_an_inherited_variable() {
    let (here, other) = (File::open("/dev/null").unwrap(), File::open("/dev/zero").unwrap());
    let stat = here.metadata().unwrap();
    let stream = format!("{}:{}", stat.st_dev(), stat.st_ino());
    assert!(is_stream(&stream, &here));
    assert!(!is_stream(&stream, &other));
    assert!(!is_stream("", &here));
}
