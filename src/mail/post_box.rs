//! What to write and when: troubles in, letters out. Knows no network and no clock; both are handed in.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use crate::config::{Located, MailSpec};
use crate::model::{QuietHours, parse_duration, show_roughly};

/// The most troubles known at a time; more are counted, not kept.
const MOST: usize = 200;

/// The most that is said of one trouble, in characters.
const SAID: usize = 2000;

/// What people want to be told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `certificate`.
    pub certificate: bool,
    /// `reload refused`.
    pub reload: bool,
    /// `upstream down <duration>`: after how long.
    pub upstream: Option<Duration>,
}

impl Wanted {
    /// What a table asks for; without `on`, everything, servers after 5 minutes.
    pub fn of(on: &[Located<String>]) -> Wanted {
        let down = |text: &str| text.strip_prefix("upstream down ").and_then(|after| parse_duration(after).ok());
        match on.is_empty() {
            true => Wanted { certificate: true, reload: true, upstream: Some(Duration::from_secs(300)) },
            false => Wanted {
                certificate: on.iter().any(|event| event.value == "certificate"),
                reload: on.iter().any(|event| event.value == "reload refused"),
                upstream: on.iter().find_map(|event| down(&event.value)),
            },
        }
    }
}

/// Something that a person should know of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// A certificate, by its `[cert.<id>]`.
    Certificate(String),
    /// The file.
    Reload,
    /// A server, by its name.
    Upstream(String),
}

/// What the control plane tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A trouble is there. Told again, it is the same one.
    Began(Trouble, String),
    /// A trouble is over, if it was one.
    Ended(Trouble),
    /// Of this kind, whatever is not named here is over: servers and certificates that a new file no longer has.
    Known {
        /// Every certificate of the file.
        certificates: Vec<String>,
        /// Every server of the file.
        upstreams: Vec<String>,
    },
}

/// Troubles, what was written of each, and what is to be written.
pub struct PostBox {
    wanted: Wanted,
    quiet: Vec<QuietHours>,
    /// How long a first trouble waits for company, so that one cause makes one letter.
    grouped: Duration,
    open: BTreeMap<String, Open>,
    /// Over, and not yet written of: what, and for how long it was.
    over: Vec<(String, Duration)>,
    /// Did not fit.
    uncounted: usize,
}

struct Open {
    said: String,
    since: OffsetDateTime,
    is_written: bool,
}

/// A letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

impl PostBox {
    /// An empty one. `grouped`: how long a first trouble waits for company.
    pub fn new(spec: &MailSpec, grouped: Duration) -> PostBox {
        let quiet = spec.quiet.iter().map(|quiet| quiet.value).collect();
        PostBox { wanted: Wanted::of(&spec.on), quiet, grouped, open: BTreeMap::new(), over: Vec::new(), uncounted: 0 }
    }

    /// Takes note of something.
    pub fn take(&mut self, event: Event, now: OffsetDateTime) {
        match event {
            Event::Began(trouble, said) if self.is_wanted(&trouble) => {
                let said: String = said.chars().take(SAID).filter(|&c| c == '\n' || !c.is_control()).collect();
                let is_full = self.open.len() >= MOST;
                match self.open.get_mut(&title(&trouble)) {
                    Some(open) if open.is_written => {}
                    Some(open) => open.said = said,
                    None if is_full => self.uncounted += 1,
                    None => {
                        self.open.insert(title(&trouble), Open { said, since: now, is_written: false });
                    }
                }
            }
            Event::Began(..) => {}
            Event::Ended(trouble) => self.close(&title(&trouble), now),
            Event::Known { certificates, upstreams } => {
                let known: Vec<String> = certificates
                    .into_iter()
                    .map(Trouble::Certificate)
                    .chain(upstreams.into_iter().map(Trouble::Upstream))
                    .chain([Trouble::Reload])
                    .map(|trouble| title(&trouble))
                    .collect();
                let gone: Vec<String> = self.open.keys().filter(|title| !known.contains(title)).cloned().collect();
                gone.iter().for_each(|title| self.close(title, now));
            }
        }
    }

    /// What nobody was told of needs no end either.
    fn close(&mut self, title: &str, now: OffsetDateTime) {
        if let Some(open) = self.open.remove(title)
            && open.is_written
            && self.over.len() < MOST
        {
            self.over.push((title.to_owned(), Duration::try_from(now - open.since).unwrap_or_default()));
        }
    }

    fn is_wanted(&self, trouble: &Trouble) -> bool {
        match trouble {
            Trouble::Certificate(_) => self.wanted.certificate,
            Trouble::Reload => self.wanted.reload,
            Trouble::Upstream(_) => self.wanted.upstream.is_some(),
        }
    }

    /// A letter, if one is due: the oldest trouble has waited for company, and nobody is to be left alone now. Servers have
    /// waited their own time. What is in the letter counts as written once [`PostBox::written`] is called.
    pub fn letter(&self, now: OffsetDateTime, host: &str) -> Option<Letter> {
        if self.quiet.iter().any(|quiet| quiet.contains(now)) {
            return None;
        }
        let news = self.news(now);
        let is_due = news.iter().any(|(title, open)| now - open.since >= self.patience(title) + self.grouped);
        if !is_due && self.over.is_empty() {
            return None;
        }
        let mut body = String::new();
        for (title, open) in &news {
            let _ = writeln!(body, "{title}\n    since {}\n{}", moment(open.since), indented(&open.said));
        }
        for (title, lasted) in &self.over {
            let lasted = Duration::from_secs(lasted.as_secs());
            let _ = writeln!(body, "over: {title}\n    after {}\n", show_roughly(lasted));
        }
        if self.uncounted > 0 {
            let _ = writeln!(body, "and {} more troubles that are not listed here\n", self.uncounted);
        }
        let _ = writeln!(body, "-- \nDoorward on {host}; `doorward cert` and the log say more.");
        let first = news.first().map(|(title, _)| (*title).clone());
        let first = first.or_else(|| self.over.first().map(|(title, _)| format!("over: {title}"))).unwrap_or_default();
        let others = news.len() + self.over.len() - 1;
        let more = if others == 0 { String::new() } else { format!(", and {others} more") };
        Some(Letter { subject: format!("[doorward {host}] {first}{more}"), body })
    }

    /// The letter made at `now` is on its way.
    pub fn written(&mut self, now: OffsetDateTime) {
        let titles: Vec<String> = self.news(now).into_iter().map(|(title, _)| title.clone()).collect();
        for title in titles {
            if let Some(open) = self.open.get_mut(&title) {
                open.is_written = true;
            }
        }
        self.over.clear();
        self.uncounted = 0;
    }

    fn news(&self, now: OffsetDateTime) -> Vec<(&String, &Open)> {
        let is_ripe = |title: &String, open: &Open| now - open.since >= self.patience(title);
        self.open.iter().filter(|(title, open)| !open.is_written && is_ripe(title, open)).collect()
    }

    fn patience(&self, title: &str) -> Duration {
        if title.starts_with(UPSTREAM) { self.wanted.upstream.unwrap_or_default() } else { Duration::ZERO }
    }
}

const UPSTREAM: &str = "upstream ";

fn title(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Certificate(id) => format!("certificate {id} is in trouble"),
        Trouble::Reload => "a reload was refused".to_owned(),
        Trouble::Upstream(name) => format!("{UPSTREAM}{name} does not answer"),
    }
}

fn moment(moment: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    moment.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

    fn post_box(mail: &str) -> PostBox {
        let text = format!(
            "allow = [\"anyone\"]\nlisten.a = {{ http = \":80\" }}\nroutes.\"a.test\" = \"http://10.0.0.1\"\n[mail]\n\
             relay = \"10.0.0.1:25\"\nfrom = \"a@a.test\"\nto = [\"b@a.test\"]\n{mail}"
        );
        let checked = crate::config::parse(std::path::Path::new("routes.toml"), &text).unwrap();
        PostBox::new(&checked.config.mail.unwrap(), Duration::from_secs(120))
    }

    fn minutes(number: i64) -> OffsetDateTime {
        NOON + time::Duration::minutes(number)
    }

    fn upstream(name: &str) -> Event {
        Event::Began(Trouble::Upstream(name.to_owned()), "connection refused".to_owned())
    }

    #[test]
    fn what_happens_together_comes_in_one_letter() {
        let mut post = post_box("");
        post.take(Event::Began(Trouble::Reload, "routes.toml:1:1: error".to_owned()), NOON);
        post.take(Event::Began(Trouble::Certificate("home".to_owned()), "the CA is away".to_owned()), minutes(1));
        assert_eq!(post.letter(minutes(1), "edge"), None);
        let letter = post.letter(minutes(2), "edge").unwrap();
        assert_eq!(letter.subject, "[doorward edge] a reload was refused, and 1 more");
        assert!(letter.body.contains("the CA is away") && letter.body.contains("since 2026-11-20 12:00 UTC"));
        post.written(minutes(2));
        assert_eq!(post.letter(minutes(60), "edge"), None, "nothing is written of twice");
    }

    #[test]
    fn a_server_is_given_its_time_and_its_return_is_told() {
        let mut post = post_box("on = [\"upstream down 5m\"]");
        post.take(upstream("nas"), NOON);
        post.take(Event::Began(Trouble::Reload, "x".to_owned()), NOON);
        assert_eq!(post.letter(minutes(6), "edge"), None, "and of the reload nobody wanted to hear");
        assert_eq!(post.letter(minutes(7), "edge").unwrap().subject, "[doorward edge] upstream nas does not answer");
        post.written(minutes(7));
        post.take(Event::Ended(Trouble::Upstream("nas".to_owned())), minutes(30));
        let letter = post.letter(minutes(30), "edge").unwrap();
        assert_eq!(letter.subject, "[doorward edge] over: upstream nas does not answer");
        assert!(letter.body.contains("after 30 min"), "{}", letter.body);
    }

    #[test]
    fn what_was_over_before_anybody_was_told_is_not_told_at_all() {
        let mut post = post_box("");
        post.take(upstream("nas"), NOON);
        post.take(Event::Ended(Trouble::Upstream("nas".to_owned())), minutes(4));
        assert_eq!(post.letter(minutes(60), "edge"), None);
    }

    #[test]
    fn quiet_hours_delay_and_swallow_what_they_outlast() {
        let mut post = post_box("quiet = \"Fri 12:00-13:00\"");
        post.take(upstream("nas"), NOON);
        post.take(upstream("edge"), NOON);
        assert_eq!(post.letter(minutes(59), "edge"), None);
        post.take(Event::Ended(Trouble::Upstream("nas".to_owned())), minutes(20));
        let letter = post.letter(minutes(60), "edge").unwrap();
        assert!(letter.body.contains("upstream edge") && !letter.body.contains("nas"), "{}", letter.body);
    }

    #[test]
    fn what_a_new_file_no_longer_has_is_no_trouble() {
        let mut post = post_box("");
        post.take(upstream("nas"), NOON);
        post.take(Event::Known { certificates: Vec::new(), upstreams: vec!["other".to_owned()] }, minutes(1));
        assert_eq!(post.letter(minutes(60), "edge"), None);
    }

    #[test]
    fn a_relay_that_is_away_for_long_costs_a_bounded_amount() {
        let mut post = post_box("");
        for number in 0..10_000 {
            post.take(Event::Began(Trouble::Certificate(format!("c{number}")), "x".repeat(100_000)), NOON);
        }
        let letter = post.letter(minutes(5), "edge").unwrap();
        assert!(letter.body.len() < MOST * (SAID + 200), "{}", letter.body.len());
        assert!(letter.body.contains("and 9800 more troubles"));
    }
}
