//! `doorward compare`: a line for each name, and below it what is different.

use std::process::ExitCode;

use serde_json::json;

use super::screen::Screen;
use super::{CompareWords, NOTHING_THERE, complain, places, show_faults};
use crate::app::{self, Compared, Comparison, Difference};

/// What a value may take of a line of 80 columns.
const VALUE: usize = 60;

pub(super) fn compare(words: CompareWords, screen: &mut Screen) -> ExitCode {
    let CompareWords { old, new, names, config, path, head, json } = words;
    let names = if names.is_empty() {
        let file = places::routes_file(config);
        if let Some(why) = places::missing_file(&file) {
            complain(why);
            return ExitCode::from(NOTHING_THERE);
        }
        match app::names_of(&file) {
            Ok(names) => names,
            Err(faults) => {
                show_faults(&faults);
                return ExitCode::FAILURE;
            }
        }
    } else {
        names
    };
    if names.is_empty() {
        complain("there is no name to ask for; write one behind the addresses");
        return ExitCode::from(NOTHING_THERE);
    }
    let outcomes = match app::compare(Comparison { old, new, names, paths: path, head_only: head }) {
        Ok(outcomes) => outcomes,
        Err(why) => {
            complain(why);
            return ExitCode::from(NOTHING_THERE);
        }
    };
    let different = outcomes.iter().filter(|one| !one.differences.is_empty()).count();
    if json {
        screen.line(
            json!({ "equal": different == 0, "compared": outcomes.len(), "different": different, "answers": outcomes }),
        );
    } else {
        show(&outcomes, different, screen);
    }
    if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(outcomes: &[Compared], different: usize, screen: &mut Screen) {
    screen.heading(format_args!("{:<48} {:>5} {:>5}  {}", "ASKED FOR", "OLD", "NEW", "DIFFERENT"));
    for one in outcomes {
        let status = |answer: &Result<app::Answered, String>| match answer {
            Ok(answer) => answer.status.to_string(),
            Err(_) => "-".to_owned(),
        };
        let url = cut(&format!("{}{}", one.name, one.path), 48);
        let says = match one.differences.as_slice() {
            [] => "nothing".to_owned(),
            [only] => only.what.split(' ').next().unwrap_or_default().to_owned(),
            many => format!("{} things", many.len()),
        };
        screen.line(format_args!("{url:<48} {:>5} {:>5}  {says}", status(&one.old), status(&one.new)));
        one.differences.iter().for_each(|difference| show_difference(difference, screen));
        one.remarks.iter().for_each(|remark| screen.line(format_args!("    ({})", cut(remark, 74))));
    }
    let same = outcomes.len() - different;
    screen.line(format_args!("\n{same} of {} answered the same", outcomes.len()));
}

fn show_difference(difference: &Difference, screen: &mut Screen) {
    let Difference { what, old, new } = difference;
    let value = |value: &Option<String>| value.as_deref().map_or("(none)".to_owned(), |value| cut(value, VALUE));
    screen.line(format_args!("    {}", cut(what, 74)));
    screen.line(format_args!("        old  {}", value(old)));
    screen.line(format_args!("        new  {}", value(new)));
}

fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
    }
}
