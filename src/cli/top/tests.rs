use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::rows::{Sample, Sort, Table};
use super::{Shape, view};

fn sample(at_ms: u64, routes: &[(&str, u64, u64, &str)]) -> Sample {
    let routes: Vec<Value> = routes
        .iter()
        .map(|(name, requests, errors, upstream)| {
            // All below 5 ms but the errors, which took up to 1 s.
            let durations = [requests - errors, 0, 0, 0, 0, 0, 0, *errors, 0, 0, 0, 0, 0];
            let figures = json!({"name": name, "requests": requests, "errors": errors, "bytes": requests * 1024,
                "websockets": 3, "durations": durations});
            json!({"name": name, "figures": figures, "in_flight": 1, "upstream": upstream})
        })
        .collect();
    let json = json!({"at_ms": at_ms, "generation": 4, "connections": 9, "in_flight": 2, "routes": routes});
    Sample::read(json).unwrap()
}

fn table() -> Table {
    let before = sample(1_000, &[("photos", 100, 0, "ok"), ("a-route-with-a-very-long-name", 0, 0, "ok")]);
    let now = sample(
        3_000,
        &[("photos", 300, 4, "refused"), ("a-route-with-a-very-long-name", 40, 0, "ok"), ("idle", 1, 0, "ok")],
    );
    Table::between(&before, &now, Sort::Requests, "")
}

#[test]
fn rates_and_times_are_of_the_time_between_two_looks() {
    let table = table();
    let photos = &table.routes[0];
    assert_eq!((photos.name.as_str(), photos.requests_per_second, photos.errors_per_second), ("photos", 100.0, 2.0));
    assert_eq!((photos.p50_seconds, photos.p99_seconds), (Some(0.005), Some(1.0)));
    assert_eq!(photos.bytes_per_second, 102_400.0);
    assert_eq!((photos.websockets, photos.in_flight), (3, 1));
}

#[test]
fn the_table_fits_80_columns() {
    let lines = table().lines();
    assert_eq!(lines[2], "photos                 100    2.0   100.0K     3     1    5ms     1s  refused");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
}

#[test]
fn rows_are_sorted_and_filtered() {
    let mut table = table();
    table.arrange(Sort::Name, "");
    assert_eq!(table.routes[0].name, "a-route-with-a-very-long-name");
    table.arrange(Sort::Requests, "PHOT");
    assert_eq!(table.routes.len(), 1);
}

#[test]
fn the_screen_shows_the_table_and_the_keys_work() {
    let mut shape = Shape { sort: Sort::Requests, filter: String::new(), is_typing: false };
    let press = |shape: &mut Shape, code| shape.obey(KeyEvent::new(code, KeyModifiers::NONE));
    let shown = |shape: &Shape| {
        let mut terminal = Terminal::new(TestBackend::new(80, 10)).unwrap();
        let mut table = table();
        table.arrange(shape.sort, &shape.filter);
        terminal.draw(|frame| view::draw(frame, &table, shape)).unwrap();
        terminal.backend().to_string()
    };
    let screen = shown(&shape);
    assert!(screen.contains("ROUTE") && screen.contains("photos") && screen.contains("refused"), "{screen}");
    for key in ['/', 'i', 'd'] {
        assert!(press(&mut shape, KeyCode::Char(key)));
    }
    assert!(shown(&shape).contains("filter: id_") && !shown(&shape).contains("photos"), "{}", shown(&shape));
    assert!(press(&mut shape, KeyCode::Enter) && press(&mut shape, KeyCode::Esc));
    assert!(press(&mut shape, KeyCode::Char('n')));
    assert_eq!((shape.sort, shape.filter.as_str()), (Sort::Name, ""));
    assert!(!press(&mut shape, KeyCode::Char('q')));
}
