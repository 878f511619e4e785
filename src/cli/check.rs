//! `doorward check`: every fault and warning of a file, and one closing line that says what it comes to.

use std::process::ExitCode;

use serde_json::json;

use super::screen::Screen;
use super::{CheckWords, NOTHING_THERE, complain, places};
use crate::app::{self, CheckReport};

pub(super) fn check(words: CheckWords, screen: &mut Screen) -> ExitCode {
    let CheckWords { file, config, json } = words;
    let path = places::routes_file(file.or(config));
    if let Some(why) = places::missing_file(&path) {
        complain(why);
        return ExitCode::from(NOTHING_THERE);
    }
    if let Err(cause) = std::fs::File::open(&path) {
        complain(format_args!("{}: cannot be read: {cause}", path.display()));
        return ExitCode::from(NOTHING_THERE);
    }
    let report = app::check(&path);
    if json {
        screen.line(json!({
            "file": path.display().to_string(),
            "good": report.faults.is_empty(),
            "faults": report.faults,
            "warnings": report.warnings,
            "summary": report.summary,
        }));
    } else {
        show(&report, &path.display().to_string(), screen);
    }
    if report.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Everything in the order of the file, then what it comes to.
fn show(report: &CheckReport, name: &str, screen: &mut Screen) {
    let mut all: Vec<_> = report.faults.iter().chain(&report.warnings).collect();
    all.sort_by_key(|one| (one.line, one.column));
    for one in &all {
        screen.line(one);
    }
    let warnings = counted(report.warnings.len(), "warning");
    let Some(summary) = &report.summary else {
        screen.line(format_args!("{}, {warnings}", counted(report.faults.len(), "fault")));
        return;
    };
    let holds = [(summary.routes, "route"), (summary.doors, "door"), (summary.expectations, "expectation")];
    let holds = holds.map(|(number, what)| counted(number, what)).join(", ");
    if report.warnings.is_empty() {
        screen.line(format_args!("{name}: good ({holds})"));
    } else {
        screen.line(format_args!("{name}: good ({holds}), {warnings}"));
    }
}

/// `1 fault`, `2 faults`.
fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
