//! What the figures say: medians, the ratio to the better of nginx and HAProxy, and the files that keep them. A row in
//! which a proxy made one error is void for that proxy.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::measure::Sample;
use crate::peers::{OURS, PEERS, Peer};
use crate::rows::Row;
use crate::{Failure, network, plot};

/// Everything that was measured, by row and proxy, one entry a round.
pub type Samples = HashMap<(&'static str, Peer), Vec<Result<Sample, String>>>;

/// The figures of one run.
pub struct Report {
    versions: Vec<(Peer, String)>,
    rows: Vec<Row>,
    samples: Samples,
    method: String,
}

impl Report {
    /// From all samples.
    pub fn new(versions: Vec<(Peer, String)>, rows: Vec<Row>, samples: Samples, rounds: usize, seconds: u64) -> Report {
        let today = OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day]")).unwrap_or_default();
        let method = format!(
            "{today}, {}, Linux {}, {}: {rounds} rounds turn by turn, {seconds} s each, medians.",
            first_line("/proc/cpuinfo", "model name"),
            fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
            network::congestion_control()
        );
        Report { versions, rows, samples, method }
    }

    /// Median of a row's figures for a proxy; none if it is void or was not measured.
    pub fn median(&self, row: &Row, peer: Peer) -> Option<f64> {
        let rounds = self.samples.get(&(row.id, peer))?;
        let values: Option<Vec<f64>> = rounds.iter().map(|round| Some(round.as_ref().ok()?.value)).collect();
        middle(values?)
    }

    /// The better of nginx and HAProxy.
    pub fn mark(&self, row: &Row) -> Option<f64> {
        let both = [Peer::Nginx, Peer::Haproxy].map(|peer| self.median(row, peer));
        both.into_iter().flatten().min_by(f64::total_cmp)
    }

    /// Rows of the table.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Proxies that took part, in the order of the columns.
    pub fn peers(&self) -> Vec<Peer> {
        PEERS.into_iter().filter(|peer| self.versions.iter().any(|(present, _)| present == peer)).collect()
    }

    /// The table in Markdown.
    pub fn table(&self) -> String {
        let peers = self.peers();
        let ours: Vec<Peer> = OURS.into_iter().filter(|peer| peers.contains(peer)).collect();
        let mut text = String::from("| work (lower is better) | unit |");
        for peer in &peers {
            let _ = write!(text, " {} |", peer.name());
        }
        for peer in &ours {
            let _ = write!(text, " {} / better of nginx, haproxy |", peer.name());
        }
        text.push_str("\n|---|---|");
        text.push_str(&"---:|".repeat(peers.len() + ours.len()));
        for row in &self.rows {
            let _ = write!(text, "\n| {} | {} |", row.title, row.unit);
            for peer in &peers {
                let _ = write!(text, " {} |", self.median(row, *peer).map_or_else(|| self.why(row, *peer), figure));
            }
            for peer in &ours {
                let ratio = self.median(row, *peer).zip(self.mark(row)).map(|(ours, mark)| ours / mark);
                let _ = write!(text, " {} |", ratio.map_or_else(|| "-".to_owned(), |ratio| format!("**{ratio:.2}**")));
            }
        }
        text
    }

    /// Writes `compare.md`, `compare.json` and `compare.svg`.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("compare.md"), self.page())?;
        fs::write(folder.join("compare.json"), serde_json::to_string_pretty(&self.json())? + "\n")?;
        fs::write(folder.join("compare.svg"), plot::bars(self))?;
        println!("written: compare.md, compare.json and compare.svg in {}", folder.display());
        Ok(())
    }

    fn page(&self) -> String {
        let mut page = format!(
            "# Doorward beside others at the same work\n\n{}\n\n![bars](compare.svg)\n\n{}\n\n",
            self.method,
            self.table()
        );
        page.push_str(
            "CPU figures are user and system time of all processes of the proxy for one unit of work, under full load,\n\
             with the proxy pinned to one core and load generator and origin to another; access log and metrics on.\n\
             Made by `cargo bench --bench compare`; configurations in `benches/compare/peers/`.\n\nVersions:\n\n",
        );
        for (peer, version) in &self.versions {
            let _ = writeln!(page, "- {}: {version}", peer.name());
        }
        page.push_str("\n## Each round\n\n| row | proxy | figures |\n|---|---|---|\n");
        for row in &self.rows {
            for peer in self.peers() {
                let rounds = self.samples.get(&(row.id, peer)).into_iter().flatten();
                let lines: Vec<String> = rounds
                    .map(|round| {
                        round.as_ref().map_or_else(|error| format!("void: {error}"), |sample| line(sample, row))
                    })
                    .collect();
                let _ = writeln!(page, "| {} | {} | {} |", row.id, peer.name(), lines.join("<br>"));
            }
        }
        page
    }

    fn json(&self) -> serde_json::Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let peers: serde_json::Map<_, _> = self
                    .peers()
                    .into_iter()
                    .map(|peer| {
                        let rounds: Vec<_> = self
                            .samples
                            .get(&(row.id, peer))
                            .into_iter()
                            .flatten()
                            .map(|round| match round {
                                Ok(sample) => json!(sample),
                                Err(error) => json!({ "void": error }),
                            })
                            .collect();
                        let median = self.median(row, peer);
                        let ratio = median.zip(self.mark(row)).map(|(value, mark)| value / mark);
                        (peer.name().to_owned(), json!({ "median": median, "ratio": ratio, "rounds": rounds }))
                    })
                    .collect();
                json!({ "id": row.id, "title": row.title, "unit": row.unit, "peers": peers })
            })
            .collect();
        let versions: serde_json::Map<_, _> =
            self.versions.iter().map(|(peer, version)| (peer.name().to_owned(), json!(version))).collect();
        json!({ "method": self.method, "versions": versions, "rows": rows })
    }

    fn why(&self, row: &Row, peer: Peer) -> String {
        let rounds = self.samples.get(&(row.id, peer)).into_iter().flatten();
        let void = rounds.filter(|round| round.is_err()).count();
        if void == 0 { "-".to_owned() } else { format!("void ({void})") }
    }
}

/// One sample in words.
pub fn line(sample: &Sample, row: &Row) -> String {
    let mut text = format!("{} {}", figure(sample.value), row.unit);
    if let (Some(user), Some(system)) = (sample.user, sample.system) {
        let _ = write!(text, " ({} user, {} system)", figure(user), figure(system));
    }
    if let Some(rate) = sample.rate {
        let _ = write!(text, ", {}/s", figure(rate));
    }
    if let Some(busy) = sample.busy {
        let _ = write!(text, ", core {:.0} % busy", busy * 100.0);
    }
    if let Some(note) = &sample.note {
        let _ = write!(text, "; {note}");
    }
    text
}

/// Three digits that mean something.
fn figure(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((upper + values.get(half - 1)?) / 2.0) }
}

fn first_line(file: &str, key: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
    line.map(|(_, value)| value.trim().to_owned()).unwrap_or_else(|| "unknown".to_owned())
}
