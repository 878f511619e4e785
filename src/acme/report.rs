//! What is known of every certificate of the file, for people and for scripts. Read from the state folder alone, so that the
//! answer is the same whether Doorward runs or not.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::format_description;

use super::export::{export_key, pending};
use super::schedule;
use super::state::{CertFolder, Fault};
use super::wanted::{Wanted, facts, names_of};
use crate::cert::{TlsFactory, hex};
use crate::config::Config;

/// All certificates of a file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CertReports {
    /// In the order of the file.
    pub certificates: Vec<CertReport>,
    /// The moment of the report. Seconds since 1970, as all moments here.
    pub now: i64,
}

/// One certificate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CertReport {
    /// The `[cert.<id>]`.
    pub id: String,
    /// The names it has; those that are ordered, while there is none.
    pub names: Vec<String>,
    /// Address of the CA's directory; `None`: files that somebody else keeps.
    pub ca: Option<String>,
    /// What is stored.
    pub stored: Option<StoredReport>,
    /// Why there is nothing stored that could be served.
    pub fault: Option<String>,
    /// When it is renewed; `None`: not by us.
    pub next_renewal: Option<i64>,
    /// Why then.
    pub why: Option<String>,
    /// When it was last ordered.
    pub last_attempt: Option<i64>,
    /// When one was last issued.
    pub last_success: Option<i64>,
    /// What went wrong last, if that is not mended.
    pub last_error: Option<Fault>,
    /// To whom it is handed on.
    pub exports: Vec<ExportReport>,
    /// TXT records that are still to be taken away.
    pub records_left: usize,
}

/// A pair on disk.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StoredReport {
    /// Who signed it.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the leaf, hexadecimal.
    pub fingerprint: String,
    /// First moment.
    pub not_before: i64,
    /// Last moment.
    pub not_after: i64,
}

/// One export.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExportReport {
    /// Folder and name of the chain.
    pub to: String,
    /// The step that waits; `None`: all done.
    pub pending: Option<String>,
    /// What went wrong last, if that is not mended.
    pub last_error: Option<Fault>,
}

/// Looks at everything that is stored for a file.
pub fn report(config: &Config, state: &Path, factory: &TlsFactory) -> CertReports {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let wanted = config.certs.iter().map(Wanted::of);
    CertReports { certificates: wanted.map(|wanted| one(&wanted, state, factory, now)).collect(), now }
}

fn one(wanted: &Wanted, state_dir: &Path, factory: &TlsFactory, now: i64) -> CertReport {
    let folder = CertFolder::new(state_dir, &wanted.id);
    let state = folder.state();
    let loaded = (wanted.order().is_none() || folder.is_filled()).then(|| wanted.load(&folder, factory));
    let certificate = loaded.as_ref().and_then(|loaded| loaded.as_ref().ok()).map(|pair| &pair.certificate);
    let fault = loaded.as_ref().and_then(|loaded| loaded.as_ref().err()).map(|error| super::in_words(error));
    let due = wanted.order().map(|order| {
        let stored = loaded.as_ref().map(|loaded| loaded.as_ref().map(|pair| &pair.certificate).map_err(|_| ()));
        schedule::due(&facts(order, &state, stored, now))
    });
    let fingerprint = certificate.map(|certificate| hex(certificate.fingerprint())).unwrap_or_default();
    let exports = wanted.exports.iter().map(|spec| {
        let known = state.exports.get(&export_key(spec)).cloned().unwrap_or_default();
        let waits = if certificate.is_some() { pending(spec, &known, &fingerprint) } else { Some("certificate") };
        ExportReport { to: export_key(spec), pending: waits.map(str::to_owned), last_error: known.last_error }
    });
    CertReport {
        id: wanted.id.to_string(),
        names: match (certificate, wanted.order()) {
            (Some(certificate), _) => certificate.names().iter().map(ToString::to_string).collect(),
            (None, Some(order)) => names_of(order),
            (None, None) => Vec::new(),
        },
        ca: wanted.order().map(|order| order.ca.directory.value.clone()),
        stored: certificate.map(|certificate| StoredReport {
            issuer: certificate.issuer().to_owned(),
            serial: certificate.serial().to_owned(),
            fingerprint: fingerprint.clone(),
            not_before: certificate.not_before().unix_timestamp(),
            not_after: certificate.not_after().unix_timestamp(),
        }),
        fault,
        next_renewal: due.map(|due| due.at),
        why: due.map(|due| match due.waits {
            None => due.why.to_string(),
            Some(waits) => format!("{}; {waits}", due.why),
        }),
        last_attempt: state.last_attempt,
        last_success: state.last_success,
        last_error: state.last_error.clone(),
        exports: exports.collect(),
        records_left: state.records.len(),
    }
}

impl fmt::Display for CertReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.certificates.is_empty() {
            return writeln!(f, "the file has no [cert.*]; the local CA serves every name");
        }
        for report in &self.certificates {
            report.write(f, self.now)?;
        }
        Ok(())
    }
}

impl CertReport {
    fn write(&self, f: &mut fmt::Formatter<'_>, now: i64) -> fmt::Result {
        writeln!(f, "{}  {}", self.id, self.names.join(", "))?;
        match (&self.stored, &self.fault) {
            (Some(stored), _) => {
                writeln!(f, "    issuer    {} (serial {})", stored.issuer, stored.serial)?;
                writeln!(f, "    ends      {}", when(stored.not_after, now))?;
            }
            (None, Some(fault)) => writeln!(f, "    stored    cannot be used: {fault}")?,
            (None, None) => writeln!(f, "    stored    none yet; the local CA serves its names meanwhile")?,
        }
        match (self.next_renewal, &self.why) {
            (Some(at), Some(why)) if at <= now => writeln!(f, "    renewal   now: {why}")?,
            (Some(at), Some(why)) => writeln!(f, "    renewal   {}: {why}", when(at, now))?,
            _ => writeln!(f, "    renewal   not by doorward: the files are read again when they change")?,
        }
        if let Some(fault) = &self.last_error {
            writeln!(f, "    failed    {}, at step {}: {}", when(fault.at, now), fault.step, fault.said)?;
        }
        for export in &self.exports {
            match (&export.pending, &export.last_error) {
                (None, _) => writeln!(f, "    export    {}: done", export.to)?,
                (Some(step), None) => writeln!(f, "    export    {}: waits for {step}", export.to)?,
                (Some(step), Some(fault)) => {
                    writeln!(f, "    export    {}: waits for {step}: {}", export.to, fault.said)?;
                }
            }
        }
        if self.records_left > 0 {
            writeln!(f, "    DNS       {} TXT records are still to be taken away", self.records_left)?;
        }
        Ok(())
    }
}

/// A moment for people, UTC.
pub fn moment(unix: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    let date = OffsetDateTime::from_unix_timestamp(unix).ok();
    date.and_then(|date| date.format(&format).ok()).unwrap_or_else(|| "never".to_owned())
}

/// A moment and how far away it is.
fn when(unix: i64, now: i64) -> String {
    let seconds = unix.abs_diff(now);
    let far = match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    let far = if unix >= now { format!("in {far}") } else { format!("{far} ago") };
    format!("{} ({far})", moment(unix))
}
