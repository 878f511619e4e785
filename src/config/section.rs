//! One table with known keys: hands out each key in the kind it takes and reports what does not fit.
//! Unknown keys are reported as soon as the table is opened, so no section can forget them.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::model::{parse_duration, parse_size};

use super::keys::Table;
use super::reading::{Item, Reading, at_the_top, integer_of, means, nearest, one_of, shown, span_of};
use super::{Located, Span};

/// A table that is being read.
pub(super) struct Section<'r, 't> {
    pub(super) reading: &'r Reading<'t>,
    /// How messages call it: `[listen.lan]`.
    pub(super) title: String,
    /// Where it is headed.
    pub(super) span: Span,
    known: &'static Table,
    table: &'t DeTable<'t>,
}

impl<'r, 't> Section<'r, 't> {
    /// Opens a table; a fault (and `None`) if the value is none.
    pub(super) fn open(
        reading: &'r Reading<'t>,
        item: &Item<'t>,
        known: &'static Table,
        title: String,
    ) -> Option<Section<'r, 't>> {
        let DeValue::Table(table) = item.value else {
            reading.wrong_kind(item);
            return None;
        };
        Some(Section::of(reading, table, item.key_span, known, title))
    }

    /// A section for a table that is surely one.
    pub(super) fn of(
        reading: &'r Reading<'t>,
        table: &'t DeTable<'t>,
        span: Span,
        known: &'static Table,
        title: String,
    ) -> Section<'r, 't> {
        let section = Section { reading, title, span, known, table };
        for (key, value) in table.iter() {
            if reading.is_full() {
                break;
            }
            if known.find(key.get_ref()).is_none() {
                if is_secret(key.get_ref()) {
                    reading.keep_secret(span_of(value.span()));
                }
                section.unknown_key(key.get_ref(), span_of(key.span()));
            }
        }
        section
    }

    fn unknown_key(&self, key: &str, span: Span) {
        let names = self.known.keys.iter().map(|key| key.name);
        let hint = self.known.hints.iter().find(|(wrong, _)| *wrong == key).map(|(_, hint)| *hint);
        let before = &self.reading.source.text()[..span.start];
        if before.trim_end_matches([' ', '\t', '"', '\'']).ends_with('.') && self.known.title == "[routes.<name>]" {
            let message = format!("unknown key {} in {}", shown(key), self.title);
            self.reading.fault(span, message, "", "a name with dots stands in quotes: `\"photos.example.com\" = …`");
            return;
        }
        let guess = match hint {
            Some(_) => String::new(),
            None => self.reading.guess(key, names.clone()),
        };
        let help = if let Some(hint) = hint {
            hint.to_owned()
        } else if let Some(near) = nearest(key, names.clone()) {
            format!("{} knows `{near}`", self.title)
        } else if self.known.title != "the file" && super::keys::FILE.find(key).is_some() {
            at_the_top(key)
        } else {
            format!("{} knows {}", self.title, names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        };
        let message = format!("unknown key {} in {}{guess}", shown(key), self.title);
        match self.known.title {
            // A header that TOML could not read leaves its keys at the top of the file.
            "the file" => self.reading.missing(span, message, "", help),
            _ => self.reading.fault(span, message, "", help),
        }
    }

    /// A key with its value, if written.
    pub(super) fn item(&self, name: &'static str) -> Option<Item<'t>> {
        let about = self.known.find(name)?;
        let (key, value) = self.table.get_key_value(name)?;
        Some(Item {
            key: key.get_ref().as_ref(),
            key_span: span_of(key.span()),
            value: value.get_ref(),
            span: span_of(value.span()),
            about,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Whether a key is there, or one that was probably meant to be it (and is reported as unknown).
    pub(super) fn mentions(&self, name: &str) -> bool {
        const MANY: usize = 100;
        self.has(name)
            || self.table.len() < MANY && self.table.iter().any(|(key, _)| means(key.get_ref(), name, self.known))
    }

    /// Whether there are keys that this table does not know.
    pub(super) fn has_unknown(&self) -> bool {
        self.table.iter().any(|(key, _)| self.known.find(key.get_ref()).is_none())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// A key that must be there.
    pub(super) fn required(&self, name: &'static str) -> Option<Item<'t>> {
        let item = self.item(name);
        if let (false, Some(about)) = (self.mentions(name), self.known.find(name)) {
            let help = format!("write `{name} = {}`", about.example);
            self.reading.missing(self.span, format!("{} has no `{name}`", self.title), "", help);
        }
        item
    }

    /// A fault at a key that has no business beside the others.
    pub(super) fn out_of_place(&self, name: &'static str, message: &str, help: &str) {
        if let Some(item) = self.item(name) {
            self.reading.fault(item.key_span, format!("`{name}` {message}"), "", help);
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Option<Located<&'t str>> {
        self.reading.text(&self.item(name)?)
    }

    /// A text that says something.
    pub(super) fn words(&self, name: &'static str) -> Option<Located<String>> {
        let item = self.item(name)?;
        let text = self.reading.text(&item)?;
        if text.value.trim().is_empty() {
            let help = format!("write `{name} = {}`, or leave it out", item.about.example);
            self.reading.fault(item.span, format!("`{name}` is empty"), "", help);
            return None;
        }
        Some(Located { value: text.value.to_owned(), span: text.span, line: text.line })
    }

    pub(super) fn flag(&self, name: &'static str) -> Option<Located<bool>> {
        let item = self.item(name)?;
        Some(self.reading.located(item.span, self.reading.flag(&item)?))
    }

    /// A path, resolved against the folder of the file.
    pub(super) fn path(&self, name: &'static str) -> Option<Located<PathBuf>> {
        let text = self.words(name)?;
        if text.value.starts_with("-----BEGIN") || text.value.contains(['\n', '\0']) {
            self.reading.keep_secret(text.span);
            let help = format!("put it into a file of its own and write `{name} = \"<path>\"`");
            self.reading.fault(
                text.span,
                format!("`{name}` takes a path; keys and certificates are never in the file"),
                "",
                help,
            );
            return None;
        }
        Some(Located { value: self.reading.resolve(&text.value), span: text.span, line: text.line })
    }

    /// A duration longer than nothing.
    pub(super) fn duration(&self, name: &'static str) -> Option<Located<Duration>> {
        let item = self.item(name)?;
        if let Some(number) = integer_of(item.value) {
            let help = format!("a duration has a unit: write `{name} = \"{number}s\"`");
            self.reading.fault(item.span, format!("`{name}` takes a duration, not a whole number"), "", help);
            return None;
        }
        let text = self.reading.text(&item)?;
        match parse_duration(text.value) {
            Ok(duration) if duration.is_zero() => {
                let help = format!("write a duration such as `{name} = {}`, or leave it out", item.about.example);
                self.reading.fault(item.span, format!("`{name}` must be longer than nothing"), "", help);
                None
            }
            Ok(duration) => Some(self.reading.located(item.span, duration)),
            Err(_) => {
                let help = "write a whole number and a unit: `500ms`, `45s`, `10m`, `1h` or `180d`";
                self.reading.fault(item.span, format!("{} is not a duration", shown(text.value)), "", help);
                None
            }
        }
    }

    /// A size in bytes.
    pub(super) fn size(&self, name: &'static str) -> Option<Located<u64>> {
        let item = self.item(name)?;
        if let Some(number) = integer_of(item.value) {
            let help =
                format!("a size stands in quotes: write `{name} = \"{number}\"` for bytes, or a unit as in `\"50M\"`");
            self.reading.fault(item.span, format!("`{name}` takes a size, not a whole number"), "", help);
            return None;
        }
        let text = self.reading.text(&item)?;
        let size = parse_size(text.value).ok();
        if size.is_none() {
            let help = "write a whole number and a unit: `512K`, `50M` or `2G`";
            self.reading.fault(item.span, format!("{} is not a size", shown(text.value)), "", help);
        }
        Some(self.reading.located(item.span, size?))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, name: &'static str, words: &[(&'static str, T)]) -> Option<Located<T>> {
        let text = self.text(name)?;
        let chosen = words.iter().find(|(word, _)| *word == text.value).map(|(_, chosen)| *chosen);
        if chosen.is_none() {
            let known = words.iter().map(|(word, _)| *word);
            let guess = self.reading.guess(text.value, known.clone());
            let help = format!("`{name}` takes {}", one_of(known));
            self.reading.fault(text.span, format!("`{name}` does not know {}{guess}", shown(text.value)), "", help);
        }
        Some(self.reading.located(text.span, chosen?))
    }
}

/// Whether a key that no table knows would hold a secret.
pub(super) fn is_secret(key: &str) -> bool {
    const WORDS: [&str; 6] = ["token", "secret", "passw", "api_key", "eab_key", "hmac"];
    let key = key.to_ascii_lowercase();
    !key.ends_with("_file") && WORDS.iter().any(|word| key.contains(word))
}
