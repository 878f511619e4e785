//! The words of the commands that ask: `explain`, `plan`, `tail`, `top`. What they do is in the files of these names.

use std::path::PathBuf;

use clap::Args;

use super::{LiveWords, top};

/// `doorward tail`
#[derive(Args, Debug)]
pub(super) struct TailWords {
    /// Requests of this route only
    #[arg(value_name = "ROUTE")]
    pub(super) route: Option<String>,
    /// Refusals, faults of upstreams, and what broke off only
    #[arg(long)]
    pub(super) errors: bool,
    /// End after this many
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    #[command(flatten)]
    pub(super) live: LiveWords,
}

/// `doorward top`
#[derive(Args, Debug)]
#[command(after_help = "Keys: r e b w f p n sort by requests, errors, bytes, WebSockets, in flight,\n\
                  p99, name; / filters, Esc shows all, q ends. Bytes and times are those of\n\
                  requests that ended; p50 and p99 are upper bounds, from a histogram.")]
pub(super) struct TopWords {
    /// Print one look and end
    #[arg(long)]
    pub(super) once: bool,
    /// Seconds between looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=60))]
    pub(super) interval: u16,
    /// What comes first
    #[arg(long, value_enum, default_value_t)]
    pub(super) sort: top::Sort,
    /// Routes whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,
    #[command(flatten)]
    pub(super) live: LiveWords,
}

/// `doorward plan`
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 the file would be accepted, 1 it would be refused,\n\
                  2 misunderstood, or nobody there to ask; with --exit-code,\n\
                  3 it would be accepted and change something.")]
pub(super) struct PlanWords {
    /// The new file
    #[arg(value_name = "NEW")]
    pub(super) file: Option<PathBuf>,
    /// A file to compare with instead of what is in force
    #[arg(long, value_name = "CURRENT")]
    pub(super) config: Option<PathBuf>,
    /// Exit with 3 if something would change
    #[arg(long)]
    pub(super) exit_code: bool,
    #[command(flatten)]
    pub(super) live: LiveWords,
}

/// `doorward explain`
#[derive(Args, Debug)]
#[command(after_help = "The running one is asked, with a look whether the upstream is there; with --config\n\
                  the file alone, without network. An ID is known for the last 1,000 requests of\n\
                  each core that were refused or failed.")]
pub(super) struct ExplainWords {
    /// URL, or the ID on an error page or in the log
    #[arg(value_name = "URL|ID")]
    pub(super) what: String,
    /// Who asks: an address, or one of a network [default: a stranger]
    #[arg(long, value_name = "ADDRESS|NETWORK")]
    pub(super) from: Option<String>,
    /// The door that it comes in by [default: one that knows the name]
    #[arg(long, value_name = "DOOR")]
    pub(super) via: Option<String>,
    /// The method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub(super) method: String,
    /// A header field that the client sends; may be given more than once
    #[arg(long, value_name = "NAME: VALUE")]
    pub(super) header: Vec<String>,
    /// A file to look at instead of asking the running one
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) live: LiveWords,
}
