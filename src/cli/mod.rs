//! The command line: words in, one order carried out, an exit code out.
//! It prints and asks; what the answers are is decided below. Exit codes: 0 done, 1 refused or not possible,
//! 2 misunderstood (a wrong word, nobody there to ask, a file that cannot be read), 3 this machine does not let `run` serve.

mod cert;
mod check;
mod compare;
mod demo;
mod docker;
mod doctor;
mod explain;
mod fold;
mod import;
mod live;
mod origin;
mod overlay;
mod paint;
mod paper;
mod places;
mod plan;
mod run;
mod screen;
mod tail;
mod top;
mod trust;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Faults;
use screen::Screen;
use words::{ExplainWords, PlanWords, TailWords, TopWords};

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "doorward",
    version,
    about = "A reverse proxy and TLS edge gateway for a self-hosted home",
    after_help = "Try it on this machine, with nothing to set up:  doorward demo\n\
                  \n\
                  Where nothing else is said, the file is ./routes.toml, else\n\
                  /etc/doorward/routes.toml, and the state folder is $STATE_DIRECTORY, else\n\
                  `certs` beside the file.",
    max_term_width = 80,
    disable_help_subcommand = true
)]
struct Words {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand, Debug)]
enum Order {
    /// Serve, until told to stop
    Run(RunWords),
    /// Look through a file for every fault, without serving
    Check(CheckWords),
    /// Tell the running one to read its file again, and wait for its verdict; if this is another
    /// program than the running one, hand over to it
    Reload(LiveWords),
    /// Replace the running one by this program (or another), without dropping a connection
    Upgrade(UpgradeWords),
    /// Look over this machine: ports, rights, DNS, tokens, upstreams; each fault with its mend
    Doctor(DoctorWords),
    /// Show the table in force, or the table that a file would make
    Routes(RoutesWords),
    /// Show what a file would change: routes, people, doors, connections
    Plan(PlanWords),
    /// Show requests as they end: one line each, and the reason of every failure
    Tail(TailWords),
    /// Show what each route does now: rates, times, WebSockets, upstreams
    Top(TopWords),
    /// Say what would become of a request and why, or what became of one
    Explain(ExplainWords),
    /// Show every certificate: names, issuer, end, next renewal, last error
    Cert(CertWords),
    /// Show every container: where it is routed, or why it is not
    Docker(DockerWords),
    /// Write what another proxy serves as a routes.toml, to standard output
    Import(ImportWords),
    /// Ask two proxies for the same, and show what is different
    Compare(CompareWords),
    /// Show the certificate of an upstream, and pin it in the file
    Trust(TrustWords),
    /// Serve the file on loopback, with stand-ins for all upstreams
    Demo(DemoWords),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: paper::Shell,
    },
    /// Write the manual pages, one for each command
    Man {
        /// Folder for them [default: the main page to standard output]
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
    /// Write the JSON Schema of the file, for editors
    Schema,
    /// Say which version this is
    Version,
}

/// `doorward run`
#[derive(Args, Debug)]
struct RunWords {
    /// The file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for what must survive a restart
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Cores that serve [default: all it may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Give up root, become this user, and keep the right to ports below 1024
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A predecessor waits on standard input; 1: start the one that follows it, 2: be it
    #[arg(long, value_name = "STEP", hide = true, value_parser = clap::value_parser!(u8).range(1..=2))]
    follow: Option<u8>,
}

/// `doorward upgrade`
#[derive(Args, Debug)]
struct UpgradeWords {
    /// The program that takes over [default: this one]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    #[command(flatten)]
    live: LiveWords,
}

/// `doorward check`
#[derive(Args, Debug)]
struct CheckWords {
    /// The file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, named as elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "file", hide = true)]
    config: Option<PathBuf>,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
}

/// `doorward doctor`
#[derive(Args, Debug)]
struct DoctorWords {
    /// The file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, named as elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "file", hide = true)]
    config: Option<PathBuf>,
    /// Print the lines that the systemd unit needs for this file, for `systemctl edit doorward`
    #[arg(long, conflicts_with = "json")]
    unit: bool,
    #[command(flatten)]
    live: LiveWords,
}

/// Where the running one is asked.
#[derive(Args, Debug)]
struct LiveWords {
    /// Its state folder
    #[arg(long, value_name = "FOLDER", global = true)]
    state: Option<PathBuf>,
    /// Its admin socket
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// For programs: one JSON object
    #[arg(long, global = true)]
    json: bool,
}

/// `doorward routes`
#[derive(Args, Debug)]
struct RoutesWords {
    /// A file to look at instead of asking the running one
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, named as elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    #[command(flatten)]
    live: LiveWords,
}

/// `doorward cert`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = false)]
struct CertWords {
    #[command(subcommand)]
    order: Option<CertOrder>,
    /// A file to look at instead of asking the running one
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    live: LiveWords,
}

#[derive(Subcommand, Debug)]
enum CertOrder {
    /// Have the running one renew a certificate now, if it is due, and wait for the outcome
    Renew {
        /// NAME of [cert.NAME]
        name: String,
        /// Even if it is not due
        #[arg(long)]
        force: bool,
    },
    /// Take certificates and the account over from another program
    Import {
        /// The folder of acme.sh, usually ~/.acme.sh
        #[arg(long, value_name = "FOLDER")]
        acme_sh: PathBuf,
    },
}

/// `doorward docker`
#[derive(Args, Debug)]
#[command(after_help = "Without --config and --inspect the running one is asked. With --config the engine\n\
                  that the file names is asked once. With --inspect nobody is asked: the file has\n\
                  what `docker inspect $(docker ps -aq)` printed (- is standard input).")]
struct DockerWords {
    /// A file to read containers by, instead of asking the running one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What `docker inspect` printed, to be judged without an engine
    #[arg(long, value_name = "FILE")]
    inspect: Option<PathBuf>,
    #[command(flatten)]
    live: LiveWords,
}

/// `doorward import`
#[derive(Args, Debug)]
#[command(after_help = "Whatever protected a host there and cannot be carried over closes the route here\n\
                  (`allow = []`), and the file says why: it is never more open than before.")]
struct ImportWords {
    #[command(subcommand)]
    from: ImportOrder,
}

#[derive(Subcommand, Debug)]
enum ImportOrder {
    /// From Nginx Proxy Manager's database, which is only read
    Npm {
        /// database.sqlite, or the folder it is in
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
    /// From nginx-proxy: the containers that it serves, as `docker inspect` prints them
    #[command(after_help = "On the engine's host, as root, so that the proxy's own folders can be read:\n  \
                  docker inspect $(docker ps -aq) | doorward import docker - > routes.toml")]
    Docker {
        /// What `docker inspect` printed, in one file or several; - is standard input
        #[arg(value_name = "FILE", required = true)]
        paths: Vec<PathBuf>,
    },
    /// From acme.sh: the [cert] tables for what it renews
    AcmeSh {
        /// Its folder, usually ~/.acme.sh
        #[arg(value_name = "FOLDER")]
        path: PathBuf,
    },
}

/// `doorward compare`
#[derive(Args, Debug)]
#[command(after_help = "Addresses are HOST:PORT (https), or begin with https:// or http://. Exit code 0:\n\
                  every answer is the same, 1: some are not. No redirect is followed.")]
struct CompareWords {
    /// Where the old proxy is
    #[arg(long, value_name = "ADDRESS")]
    old: String,
    /// Where the new one is
    #[arg(long, value_name = "ADDRESS")]
    new: String,
    /// Whom to ask for [default: every name of the file]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The file
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    config: Option<PathBuf>,
    /// What to ask each for; may be given again
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path_word)]
    path: Vec<String>,
    /// HEAD in place of GET
    #[arg(long)]
    head: bool,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
}

/// A path as a request line has it.
fn path_word(text: &str) -> Result<String, String> {
    match text.starts_with('/') && text.parse::<http::Uri>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("a path begins with `/` and is percent-encoded".to_owned()),
    }
}

/// `doorward trust`
#[derive(Args, Debug)]
struct TrustWords {
    /// An upstream, a route, or ROUTE/PATH as it stands in `paths`
    #[arg(value_name = "NAME")]
    name: String,
    /// The file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// `doorward demo`
#[derive(Args, Debug)]
#[command(after_help = "Ports on 127.0.0.1: https 8443, http 8080, the tunnel door 8081, metrics 9180;\n\
                  with --port-base B: B, B+1, B+2, B+3. Other doors get the next free ones.\n\
                  The built-in file is put into the state folder, to be edited there.\n\
                  Nothing in the file that reaches out of this machine is acted on.")]
struct DemoWords {
    /// The file [default: ./routes.toml, else a built-in one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the local CA and the admin socket
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// First of the ports
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port_base: Option<u16>,
    /// Cores that serve [default: all it may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

/// Carries out what the words ask for. The words begin with the program's own name, as `std::env::args_os` gives them.
pub fn obey(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    let called_as = words.first().map_or_else(|| "doorward".into(), |name| name.to_string_lossy().into_owned());
    let parsed = match Words::try_parse_from(words) {
        Ok(parsed) => parsed,
        Err(answer) => {
            // Help and version are answers as well; a closed pipe is no reason to complain.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    let mut screen = Screen::stdout();
    match parsed.order {
        Order::Run(words) => run::run(words),
        Order::Check(words) => check::check(words, &mut screen),
        Order::Reload(words) => live::reload(words, &mut screen),
        Order::Upgrade(words) => live::upgrade(words, &mut screen),
        Order::Doctor(words) => doctor::doctor(words, &mut screen),
        Order::Routes(words) => live::routes(words, &mut screen),
        Order::Plan(words) => plan::plan(words, &mut screen),
        Order::Completions { shell } => paper::completions(shell, &mut Words::command()),
        Order::Man { folder } => paper::man(folder.as_deref(), Words::command()),
        Order::Tail(words) => tail::tail(words, &mut screen),
        Order::Top(words) => top::top(words, &mut screen),
        Order::Explain(words) => explain::explain(words, &mut screen),
        Order::Cert(words) => cert::cert(words, &mut screen),
        Order::Docker(words) => docker::docker(words, &mut screen),
        Order::Import(words) => import::import(words, &mut screen),
        Order::Compare(words) => compare::compare(words, &mut screen),
        Order::Trust(words) => trust::trust(words, &mut screen),
        Order::Demo(words) => demo::demo(words, &called_as, screen),
        Order::Schema => {
            screen.line(crate::config::schema().trim_end());
            ExitCode::SUCCESS
        }
        Order::Version => {
            screen.line(format_args!("doorward {}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

/// The words were understood, but there is nothing to work on.
const NOTHING_THERE: u8 = 2;

/// Says on standard error why nothing happens; the exit code is the caller's.
fn complain(why: impl std::fmt::Display) {
    use std::io::Write;
    // Where standard error is closed, the exit code still tells.
    let _ = writeln!(std::io::stderr(), "doorward: {why}");
}

/// Faults stand by themselves, so that editors and terminals find the place at the beginning of the line.
fn show_faults(faults: &Faults) {
    use std::io::{IsTerminal, Write};
    let mut text = faults.to_string();
    if std::io::stderr().is_terminal() {
        text = fold::folded(&text);
        if screen::is_colour_wanted() {
            text = text.lines().map(paint::painted).collect::<Vec<_>>().join("\n");
        }
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}
