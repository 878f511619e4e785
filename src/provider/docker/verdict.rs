//! What became of each container, for people and programs: the log, `doorward docker`, and metrics say the same.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::vocabulary::in_one_line;
use crate::model::show_duration;

/// What became of a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It gets requests.
    Routed,
    /// It runs, but does not get requests yet: its HEALTHCHECK says so.
    Waiting,
    /// It does not run; its names answer 503.
    Away,
    /// Another container with the same name counts.
    Conflict,
    /// It asks for a route and gets none.
    NotRouted,
    /// It asks for nothing.
    Unlabelled,
}

impl Kind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Kind; 6] =
        [Kind::Routed, Kind::Waiting, Kind::Away, Kind::Conflict, Kind::NotRouted, Kind::Unlabelled];

    /// In words; as JSON has it, and the label of the metric.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Routed => "routed",
            Kind::Waiting => "waiting",
            Kind::Away => "away",
            Kind::Conflict => "conflict",
            Kind::NotRouted => "not-routed",
            Kind::Unlabelled => "unlabelled",
        }
    }
}

/// One name of a container, and where it leads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lead {
    /// The name, with the path if it is not everything.
    pub name: String,
    /// The address; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
}

/// One container, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Its name.
    pub container: String,
    /// The first 12 digits of its id.
    pub id: String,
    /// What became of it.
    pub verdict: Kind,
    /// What it answers for.
    pub leads: Vec<Lead>,
    /// Why this address, or why not; empty where there is nothing to say.
    pub why: String,
    /// Since when it is in the state that `why` names: seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<i64>,
    /// What somebody should know: settings without effect, other containers that disagree.
    pub notes: Vec<String>,
}

/// How many notes one container may have; what goes beyond is a number.
const MOST_NOTES: usize = 20;

/// The longest sentence about a container, in characters.
const LONGEST: usize = 400;

/// How many names that lead to one place are shown.
const MOST_NAMES: usize = 20;

impl Verdict {
    /// Fit to be shown, logged and sent: containers wrote half of it, and may have meant harm.
    pub(super) fn tidy(&mut self) {
        let surplus = self.notes.len().saturating_sub(MOST_NOTES);
        self.notes.truncate(MOST_NOTES);
        if surplus > 0 {
            self.notes.push(format!("and {surplus} more of the kind"));
        }
        for text in self.notes.iter_mut().chain([&mut self.why]) {
            *text = in_one_line(text, LONGEST);
        }
    }

    /// Whether there is nothing to tell about a container: it asks for nothing.
    pub fn is_silent(&self) -> bool {
        self.verdict == Kind::Unlabelled
    }

    /// Whether somebody who knew the other one would want to hear of this one. Why a container is away changes several
    /// times while it goes; once is enough.
    pub fn is_news_after(&self, known: &Verdict) -> bool {
        let says_the_same = self.verdict == Kind::Away || self.why == known.why;
        (known.verdict, &known.leads) != (self.verdict, &self.leads) || !says_the_same
    }

    /// One line, for the log.
    pub fn in_one_line(&self) -> String {
        let leads: Vec<String> = self
            .leads_by_address()
            .into_iter()
            .map(|(names, to)| {
                let to = to.map_or(String::new(), |to| format!(" -> {to}"));
                let more = names.len().saturating_sub(MOST_NAMES);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let names = &names[..names.len().min(MOST_NAMES)];
                format!("{}{more}{to}", names.join(", "))
            })
            .collect();
        let parts = [leads.join("; "), self.why.clone()];
        let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}: {}", self.verdict.as_str(), said.join("; "))
    }

    /// Names that follow one another and lead to the same place, together.
    fn leads_by_address(&self) -> Vec<(Vec<&str>, Option<&str>)> {
        let mut grouped: Vec<(Vec<&str>, Option<&str>)> = Vec::new();
        for lead in &self.leads {
            match grouped.last_mut() {
                Some((names, to)) if *to == lead.to.as_deref() => names.push(&lead.name),
                _ => grouped.push((vec![&lead.name], lead.to.as_deref())),
            }
        }
        grouped
    }
}

/// Every container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdicts {
    /// Which engine; empty for what was read from a file.
    pub engine: String,
    /// Why the engine cannot be asked at present; then the rest is as it was last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<String>,
    /// By kind, then by name.
    pub containers: Vec<Verdict>,
    /// The moment at which it was told, in seconds since 1970: durations are shown from there.
    pub at: i64,
}

impl Verdicts {
    /// In the order in which they are shown.
    pub fn new(engine: String, trouble: Option<String>, mut containers: Vec<Verdict>, at: i64) -> Verdicts {
        containers.sort_by(|a, b| (a.verdict, &a.container, &a.id).cmp(&(b.verdict, &b.container, &b.id)));
        Verdicts { engine, trouble, containers, at }
    }

    /// How many of each kind, all kinds.
    pub fn counts(verdicts: &[Verdict]) -> BTreeMap<&'static str, u64> {
        let mut counts: BTreeMap<&'static str, u64> = Kind::ALL.iter().map(|kind| (kind.as_str(), 0)).collect();
        for verdict in verdicts {
            *counts.entry(verdict.verdict.as_str()).or_default() += 1;
        }
        counts
    }
}

/// Names are shown below 26 characters, words below 10, so that a usual line stays within 80.
impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(trouble) = &self.trouble {
            writeln!(f, "The engine does not answer, this is as it was last: {trouble}")?;
        }
        if self.containers.is_empty() {
            return writeln!(f, "no containers");
        }
        let names = self.containers.iter().map(|one| one.container.chars().count()).max().unwrap_or(0).clamp(9, 26);
        writeln!(f, "{:names$}  VERDICT", "CONTAINER")?;
        for one in &self.containers {
            let mut lines: Vec<String> = Vec::new();
            for (names, to) in one.leads_by_address() {
                lines.extend(names.iter().take(MOST_NAMES).map(|name| (*name).to_owned()));
                let more = names.len().saturating_sub(MOST_NAMES);
                lines.extend((more > 0).then(|| format!("and {more} more (--json has them)")));
                lines.extend(to.map(|to| format!("-> {to}")));
            }
            let mut why = one.why.clone();
            if let Some(since) = one.since.filter(|_| matches!(one.verdict, Kind::Waiting | Kind::Away)) {
                why.push_str(&format!(", {}", roughly(self.at - since)));
            }
            if !why.is_empty() {
                lines.push(why);
            }
            lines.extend(one.notes.iter().map(|note| format!("! {note}")));
            write!(f, "{:names$}  {:10}", one.container, one.verdict.as_str())?;
            let indent = names + 14;
            let mut is_first = true;
            for line in lines.iter().flat_map(|line| wrapped(line, 80_usize.saturating_sub(indent).max(20))) {
                match is_first {
                    true => writeln!(f, "  {line}")?,
                    false => writeln!(f, "{:indent$}{line}", "")?,
                }
                is_first = false;
            }
            if is_first {
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Breaks at spaces; a word that is longer than a line stays whole.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How long, as one says it: `12s`, `3m`, `5h`, `2d`.
fn roughly(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= 2 * unit).unwrap_or(1);
    show_duration(Duration::from_secs(seconds / unit * unit))
}
