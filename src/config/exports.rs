//! `[[cert.<id>.export]]`: copies of a certificate for other machines.
//! Writes nothing and does not look whether the folder exists.

use super::keys::EXPORT;
use super::reading::{Item, Reading, shown};
use super::section::Section;
use super::{ExportSpec, Located, forms};

/// Reads the list of exports of one certificate.
pub(super) fn exports<'t>(reading: &Reading<'t>, item: &Item<'t>, id: &str) -> Vec<ExportSpec> {
    if item.value.as_table().is_some() {
        let help = format!("there may be several, so it is headed with two brackets: `[[cert.{id}.export]]`");
        reading.fault(item.key_span, "`export` takes a list of tables, not a table", "", help);
        return Vec::new();
    }
    let entries = reading.list(item).unwrap_or_default();
    entries.iter().filter_map(|entry| export(reading, entry, id)).collect()
}

fn export<'t>(reading: &Reading<'t>, entry: &Item<'t>, id: &str) -> Option<ExportSpec> {
    let entry = Item { key_span: entry.span, ..*entry };
    let section = Section::open(reading, &entry, &EXPORT, format!("[[cert.{id}.export]]"))?;
    let dir = section.required("dir").and_then(|_| section.path("dir"));
    let (cert, key) = (file_name(&section, "cert"), file_name(&section, "key"));
    if let (Some(cert), Some(key)) = (&cert, &key)
        && cert.value == key.value
    {
        reading.fault(key.span, "`cert` and `key` are the same file", "", "give the key a name of its own");
    }
    let mode = mode(&section);
    let (owner, group) = (who(&section, "owner"), who(&section, "group"));
    let in_place = section.flag("in_place").is_some_and(|flag| flag.value);
    let command = forms::command(&section, "command");
    let probe = forms::host_port(&section, "probe");
    Some(ExportSpec { dir: dir?, cert: cert?, key: key?, mode: mode?, owner, group, in_place, command, probe })
}

fn file_name(section: &Section<'_, '_>, name: &'static str) -> Option<Located<String>> {
    let item = section.required(name)?;
    let text = section.words(name)?;
    // Dots at the front are where the versions behind the links live.
    if text.value.contains(['/', '\\', '\0', '\n']) || text.value.starts_with('.') {
        let help = format!("write a name only, `{name} = {}`; the folder stands in `dir`", item.about.example);
        section.reading.fault(text.span, format!("{} is not a file name", shown(&text.value)), "", help);
        return None;
    }
    Some(text)
}

fn mode(section: &Section<'_, '_>) -> Option<u32> {
    const DEFAULT: u32 = 0o600;
    let Some(item) = section.item("mode") else { return Some(DEFAULT) };
    let reading = section.reading;
    if let Some(number) = super::reading::integer_of(item.value) {
        let help = format!("write the octal digits in quotes: `mode = \"0{number}\"`");
        reading.fault(item.span, "`mode` takes an octal mode in quotes, not a whole number", "", help);
        return None;
    }
    let text = reading.text(&item)?;
    let mode = (3..=4).contains(&text.value.len()).then(|| u32::from_str_radix(text.value, 8).ok()).flatten();
    let mode = mode.filter(|mode| *mode <= 0o777 && !text.value.starts_with('+'));
    if mode.is_none() {
        let help = "write three octal digits behind a zero: `mode = \"0640\"`";
        reading.fault(text.span, format!("{} is not a mode for these files", shown(text.value)), "", help);
    }
    if mode.is_some_and(|mode| mode & 0o007 != 0) {
        let help = "write `mode = \"0640\"` and the `group` that may read it";
        reading.warn(text.span, "everybody on the machine could read the private key", "", help);
    }
    mode
}

/// A user or group: a name, or a number with or without quotes.
fn who(section: &Section<'_, '_>, name: &'static str) -> Option<Located<String>> {
    let item = section.item(name)?;
    if let Some(number) = super::reading::integer_of(item.value) {
        return Some(section.reading.located(item.span, number.to_string()));
    }
    section.words(name)
}
