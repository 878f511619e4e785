//! routes.toml as written: text in, a checked `Config` or every fault at once out.
//! Knows nothing of what is served; opens no socket and needs no secret.

mod access;
mod certs;
mod check;
mod diagnostic;
mod dns;
mod doors;
mod expects;
mod exports;
mod forms;
mod headers;
// A table of keys reads best as a table.
#[rustfmt::skip]
mod keys;
mod limits;
mod paths;
mod pinning;
mod quotas;
mod reading;
mod routes;
mod section;
mod services;
mod source;
mod spec;
mod syntax;
mod targets;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use reading::Reading;
use routes::Domain;
use section::Section;

pub use certs::CAS;
pub use diagnostic::{Diagnostic, Faults, Severity};
pub use dns::dns_providers;
pub use keys::{Key, TABLES, Table};
pub use pinning::{PinPlace, write_pin};
pub use source::Source;
pub use spec::{
    AccessFormat, AcmeSpec, ActionSpec, AllowEntry, AllowSpec, Balance, CaSpec, CertSource, CertSpec, ChallengeSpec,
    Config, DnsSpec, DockerSpec, DoorSpec, DrainSpec, ExpectSpec, ExpectedSpec, ExportSpec, FromSpec, HeaderEdits,
    HeadersSpec, KeyType, LimitsSpec, Located, LogSpec, MailSpec, MetricsSpec, NetworkSpec, Origin, PathSpec,
    QuotaSpec, RouteSpec, Schemes, Span, TargetSpec, ToSpec, TrustSpec, UpstreamSpec, UrlSpec, VerifySpec,
};

pub use targets::parse_pin;

/// A file without a fault.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What it says.
    pub config: Config,
    /// What somebody should look at, in the order of the file.
    pub warnings: Vec<Diagnostic>,
    /// Its text, for checks that come later and point into it.
    pub source: Source,
}

/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// Reads and checks a file. One that cannot be read, is larger than 16 MiB or is not UTF-8 is a fault like any other.
///
/// # Errors
/// Every fault of the file, with its warnings.
pub fn load(path: &Path) -> Result<Checked, Faults> {
    let refused = |message: String, help: &str| {
        let fault = Source::new(path, "").fault(Span::default(), message, "", help);
        Faults { faults: vec![fault], warnings: Vec::new() }
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if let Err(cause) = read {
        return Err(refused(
            format!("cannot be read: {cause}"),
            "name the file with `--config`, and see that it may be read",
        ));
    }
    if bytes.len() as u64 > LARGEST {
        return Err(refused("is larger than 16 MiB".to_owned(), "this is hardly a routes.toml; name the right file"));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(path, text),
        Err(wrong) => {
            let start = wrong.valid_up_to();
            let source = Source::new(path, &String::from_utf8_lossy(&bytes));
            // The replacement character stands where the first bad byte stood.
            let span = Span { start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() };
            let fault = source.fault(span, "the file is not UTF-8 text", "", "save it as UTF-8");
            Err(Faults { faults: vec![fault], warnings: Vec::new() })
        }
    }
}

/// Checks a text as the file at `path`, which is not opened: it is what messages show, and where relative paths start.
///
/// # Errors
/// Every fault of the text, with its warnings.
pub fn parse(path: &Path, text: &str) -> Result<Checked, Faults> {
    let source = Source::new(path, text);
    let (root, syntax) = DeTable::parse_recoverable(source.text());
    let mut reading = Reading::new(&source, root.get_ref());
    syntax::report(&mut reading, root.get_ref(), &syntax);
    let config = read(&reading, root.get_ref());
    let (faults, warnings) = reading.finish();
    match faults.is_empty() {
        true => Ok(Checked { config, warnings, source: source.clone() }),
        false => Err(Faults { faults, warnings }),
    }
}

/// Reads the tree, section by section; what is faulty is left out of the result and reported.
fn read<'t>(reading: &Reading<'t>, root: &'t DeTable<'t>) -> Config {
    let file = Section::of(reading, root, Span::default(), &keys::FILE, "the file".to_owned());
    let domain = doors::domain(&file);
    let joined = match &domain {
        Some(domain) => Domain::Given(&domain.value),
        None if file.mentions("domain") => Domain::Faulty,
        None => Domain::Absent,
    };
    let config = Config {
        path: reading.source.path().to_owned(),
        allow: access::allow(&file, "allow"),
        quota: quotas::quota(&file),
        networks: file.item("networks").map(|item| access::networks(reading, &item)).unwrap_or_default(),
        doors: file.item("listen").map(|item| doors::doors(reading, &item)).unwrap_or_default(),
        certs: file.item("cert").map(|item| certs::certs(reading, &item)).unwrap_or_default(),
        upstreams: file.item("upstreams").map(|item| targets::upstreams(reading, &item)).unwrap_or_default(),
        routes: file.item("routes").map(|item| routes::routes(reading, &item, &joined)).unwrap_or_default(),
        expects: file.item("expect").map(|item| expects::expects(reading, &item)).unwrap_or_default(),
        metrics: file.item("metrics").and_then(|item| services::metrics(reading, &item)),
        log: services::log(reading, file.item("log").as_ref()),
        drain: services::drain(reading, file.item("drain").as_ref()),
        limits: limits::limits(reading, file.item("limits").as_ref()),
        docker: file.item("docker").and_then(|item| services::docker(reading, &item)),
        mail: file.item("mail").and_then(|item| services::mail(reading, &item)),
        domain: domain.clone(),
    };
    check::check(reading, &file, &config);
    config
}
