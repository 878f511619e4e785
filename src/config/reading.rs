//! What every section of the reader shares: the text, the names that exist, and the growing list of what is wrong.
//! Collects only; it never stops anybody, so that one fault hides no other.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{FILE, Key, Table};
use super::{Diagnostic, Located, Severity, Source, Span};

/// Faults beyond this many are not kept: a broken file of megabytes must not become gigabytes of messages.
const MOST: usize = 100;
/// Names beyond this many are not compared with a faulty one.
const MOST_GUESSED: usize = 1_000;
/// Longer words are nobody's typing error.
const LONGEST_GUESSED: usize = 64;

/// A value in the tree with its key (or the key of the list it stands in).
#[derive(Clone, Copy)]
pub(super) struct Item<'t> {
    /// The key as written.
    pub(super) key: &'t str,
    /// Where the key stands.
    pub(super) key_span: Span,
    /// The value.
    pub(super) value: &'t DeValue<'t>,
    /// Where the value stands; the header for a table that has one.
    pub(super) span: Span,
    /// What is known of the key.
    pub(super) about: &'static Key,
}

/// The names that the file gives to things, whether or not the thing itself is right: a broken upstream still exists.
#[derive(Default)]
pub(super) struct Names<'t> {
    pub(super) networks: HashMap<&'t str, Span>,
    pub(super) upstreams: HashMap<&'t str, Span>,
    pub(super) doors: HashMap<&'t str, Span>,
    /// Each route with what its `to` says, if it says anything.
    pub(super) routes: HashMap<&'t str, Option<&'t str>>,
}

/// One reading of one file.
pub(super) struct Reading<'t> {
    pub(super) source: &'t Source,
    pub(super) names: Names<'t>,
    syntax_lines: BTreeSet<u32>,
    faults: RefCell<Vec<Found>>,
    warnings: RefCell<Vec<Found>>,
    /// Values that must not be shown, in no excerpt of no diagnostic.
    secrets: RefCell<Vec<Span>>,
}

/// Something to say, kept until everything that must not be shown is known.
struct Found {
    span: Span,
    message: String,
    label: String,
    help: String,
}

impl<'t> Reading<'t> {
    pub(super) fn new(source: &'t Source, root: &'t DeTable<'t>) -> Reading<'t> {
        Reading {
            source,
            names: Names::of(root),
            syntax_lines: BTreeSet::new(),
            faults: RefCell::default(),
            warnings: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// A fault of TOML itself. What else is said about its line, or found missing anywhere, may be a consequence of it
    /// and is left out.
    pub(super) fn syntax_fault(&mut self, span: Span, message: String, label: String, help: String) {
        self.fault(span, message, label, help);
        self.syntax_lines.insert(self.source.line_of(span.start));
    }

    /// A fault of TOML that is the consequence of one already reported.
    pub(super) fn syntax_echo(&mut self, span: Span) {
        self.syntax_lines.insert(self.source.line_of(span.start));
    }

    pub(super) fn fault(
        &self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let mut faults = self.faults.borrow_mut();
        let own_line = !self.syntax_lines.is_empty() && self.syntax_lines.contains(&self.source.line_of(span.start));
        if faults.len() <= MOST && !own_line {
            faults.push(Found { span, message: message.into(), label: label.into(), help: help.into() });
        }
    }

    /// A fault because something is not there: only believed where the whole file could be read.
    pub(super) fn missing(
        &self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.syntax_lines.is_empty() {
            self.fault(span, message, label, help);
        }
    }

    pub(super) fn warn(
        &self,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() <= MOST {
            warnings.push(Found { span, message: message.into(), label: label.into(), help: help.into() });
        }
    }

    /// Whether anything is wrong so far: then what seems missing may only be misplaced.
    pub(super) fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// Whether nothing more is kept, so that nothing more need be found out.
    pub(super) fn is_full(&self) -> bool {
        self.faults.borrow().len() > MOST
    }

    /// This value is a secret that has no business in the file: whatever is said about its line, it is not shown.
    pub(super) fn keep_secret(&self, span: Span) {
        self.secrets.borrow_mut().push(span);
    }

    /// Everything found, in the order of the file: faults, then warnings.
    pub(super) fn finish(self) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let shown = self.source.without(&self.secrets.into_inner());
        let mut faults = in_order(&shown, Severity::Error, self.faults.into_inner());
        if faults.len() > MOST {
            faults.truncate(MOST);
            let more = format!("there are more than {MOST} faults; the rest is not shown");
            faults.push(shown.fault(Span::default(), more, "", "mend these first"));
        }
        (faults, in_order(&shown, Severity::Warning, self.warnings.into_inner()))
    }

    pub(super) fn located<T>(&self, span: Span, value: T) -> Located<T> {
        Located { value, span, line: self.source.line_of(span.start) }
    }

    /// The folder of the file, which relative paths start from.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.source.path().parent().unwrap_or(Path::new("")).join(path)
    }

    /// The value is of another kind than its key takes.
    pub(super) fn wrong_kind(&self, item: &Item<'_>) {
        let kind = kind_of(item.value);
        let key = shown(item.key);
        let belongs_to_the_file = item.about.name.starts_with('<') && FILE.find(item.key).is_some();
        let help = match belongs_to_the_file {
            true => at_the_top(item.key),
            false => format!("write `{} = {}`", item.key, item.about.example),
        };
        self.fault(item.span, format!("{key} takes {}, not {kind}", item.about.takes), "", help);
    }

    /// The text of a value; a fault if it is something else.
    pub(super) fn text(&self, item: &Item<'t>) -> Option<Located<&'t str>> {
        match item.value {
            DeValue::String(text) => Some(self.located(item.span, text.as_ref())),
            _ => {
                self.wrong_kind(item);
                None
            }
        }
    }

    pub(super) fn flag(&self, item: &Item<'t>) -> Option<bool> {
        let flag = item.value.as_bool();
        if flag.is_none() {
            self.wrong_kind(item);
        }
        flag
    }

    pub(super) fn integer(&self, item: &Item<'t>) -> Option<i64> {
        let number = integer_of(item.value);
        if number.is_none() {
            self.wrong_kind(item);
        }
        number
    }

    /// The entries of a list, each with its own place. A fault if it is no list.
    pub(super) fn list(&self, item: &Item<'t>) -> Option<Vec<Item<'t>>> {
        let DeValue::Array(array) = item.value else {
            self.wrong_kind(item);
            return None;
        };
        Some(array.iter().map(|entry| Item { value: entry.get_ref(), span: span_of(entry.span()), ..*item }).collect())
    }

    /// The texts of a list; entries that are none are faults.
    pub(super) fn texts(&self, item: &Item<'t>) -> Option<Vec<Located<&'t str>>> {
        let entries = self.list(item)?;
        Some(entries.iter().filter_map(|entry| self.list_text(entry)).collect())
    }

    /// A text or a list of texts.
    pub(super) fn text_or_texts(&self, item: &Item<'t>) -> Option<Vec<Located<&'t str>>> {
        match item.value {
            DeValue::String(text) => Some(vec![self.located(item.span, text.as_ref())]),
            _ => self.texts(item),
        }
    }

    pub(super) fn list_text(&self, entry: &Item<'t>) -> Option<Located<&'t str>> {
        if let DeValue::String(text) = entry.value {
            return Some(self.located(entry.span, text.as_ref()));
        }
        let kind = kind_of(entry.value);
        let message = format!("each entry of {} is a text in quotes, not {kind}", shown(entry.key));
        self.fault(entry.span, message, "", format!("write `{} = {}`", entry.key, entry.about.example));
        None
    }

    /// The entries of a table whose keys are names, in the order of the file. A fault if it is no table.
    pub(super) fn entries(&self, item: &Item<'t>, about: &'static Key) -> Option<Vec<Item<'t>>> {
        let DeValue::Table(table) = item.value else {
            self.wrong_kind(item);
            return None;
        };
        Some(entries_of(table, about))
    }

    /// `did you mean` for a name that is not known; empty if nothing is near.
    pub(super) fn guess<'n>(&self, written: &str, known: impl IntoIterator<Item = &'n str>) -> String {
        // Guessing costs time for each known name, so a file full of faults gets no more of it.
        if self.is_full() {
            return String::new();
        }
        nearest(written, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
    }
}

impl<'t> Names<'t> {
    fn of(root: &'t DeTable<'t>) -> Names<'t> {
        let spans =
            |name| tables_meant(root, name).map(|(key, _)| (key.get_ref().as_ref(), span_of(key.span()))).collect();
        let to_of = |value: &'t DeValue<'t>| match value {
            DeValue::String(to) => Some(to.as_ref()),
            DeValue::Table(route) => route.get("to").and_then(|to| to.get_ref().as_str()),
            _ => None,
        };
        let routes = tables_meant(root, "routes").map(|(key, value)| (key.get_ref().as_ref(), to_of(value.get_ref())));
        Names {
            networks: spans("networks"),
            upstreams: spans("upstreams"),
            doors: spans("listen"),
            routes: routes.collect(),
        }
    }
}

/// The entries of a table of the file, and of one whose name was probably meant to be this: a slip in a header is one
/// fault, not one for each name below it.
fn tables_meant<'t>(
    root: &'t DeTable<'t>,
    name: &'static str,
) -> impl Iterator<Item = (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    let few = root.len() <= MOST;
    let meant = root.iter().filter(move |(key, _)| key.get_ref() == name || few && means(key.get_ref(), name, &FILE));
    meant.filter_map(|(_, table)| table.get_ref().as_table()).flat_map(DeTable::iter)
}

/// Whether a key that a table does not know was probably meant to be this one.
pub(super) fn means(written: &str, name: &str, known: &Table) -> bool {
    known.find(written).is_none() && nearest(written, known.keys.iter().map(|key| key.name)) == Some(name)
}

/// The entries of a table in the order of the file.
pub(super) fn entries_of<'t>(table: &'t DeTable<'t>, about: &'static Key) -> Vec<Item<'t>> {
    let mut entries: Vec<Item<'t>> = table
        .iter()
        .map(|(key, value)| Item {
            key: key.get_ref().as_ref(),
            key_span: span_of(key.span()),
            value: value.get_ref(),
            span: span_of(value.span()),
            about,
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

pub(super) fn span_of(range: std::ops::Range<usize>) -> Span {
    Span { start: range.start, end: range.end }
}

pub(super) fn integer_of(value: &DeValue<'_>) -> Option<i64> {
    let DeValue::Integer(number) = value else { return None };
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A name or value for a message, in backticks and of bounded length.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// `a`, `b` or `c`; at most eight.
pub(super) fn one_of<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const MOST_LISTED: usize = 8;
    let mut names: Vec<&str> = names.into_iter().take(MOST_GUESSED).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(MOST_LISTED);
    let listed: Vec<String> = names.iter().take(MOST_LISTED).map(|name| shown(name)).collect();
    match (listed.split_last(), more) {
        (None, _) => "nothing yet".to_owned(),
        (Some((last, [])), _) => last.clone(),
        (Some((last, rest)), 0) => format!("{} or {last}", rest.join(", ")),
        (Some(_), more) => format!("{} or one of {more} more", listed.join(", ")),
    }
}

/// TOML's own trap: everything behind a header belongs to that table.
pub(super) fn at_the_top(key: &str) -> String {
    format!("for the whole file, `{key}` stands at the top, before the first `[table]`")
}

fn in_order(source: &Source, severity: Severity, mut found: Vec<Found>) -> Vec<Diagnostic> {
    found.sort_by_key(|found| found.span.start);
    let diagnostic = |found: Found| match severity {
        Severity::Error => source.fault(found.span, found.message, found.label, found.help),
        Severity::Warning => source.warning(found.span, found.message, found.label, found.help),
    };
    found.into_iter().map(diagnostic).collect()
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'n>(written: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if written.len() > LONGEST_GUESSED {
        return None;
    }
    let lower = written.to_ascii_lowercase();
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    let near = known.into_iter().take(MOST_GUESSED).filter(|name| name.len() <= LONGEST_GUESSED).map(|name| {
        let name_lower = name.to_ascii_lowercase();
        // A word that only lost or gained its end (`header`, `networks`) is near, however long the end is.
        let cut =
            lower.len() >= 3 && (name_lower.starts_with(&lower) || lower.starts_with(&name_lower) && name.len() >= 3);
        (strsim::damerau_levenshtein(&lower, &name_lower), cut, name)
    });
    near.filter(|(distance, cut, _)| *distance <= allowed || *cut).min().map(|(_, _, name)| name)
}
