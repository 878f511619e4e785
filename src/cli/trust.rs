//! `doorward trust`: shows the certificate of an upstream, asks, and writes its pin into the file.

use std::io::{self, BufRead, IsTerminal, Write};
use std::process::ExitCode;

use time::OffsetDateTime;

use super::screen::Screen;
use super::{NOTHING_THERE, TrustWords, complain, places, show_faults};
use crate::app::{self, Looked, Pinned, TrustError, Trustee};
use crate::cert::{Validity, hex};
use crate::config::VerifySpec;

pub(super) fn trust(words: TrustWords, screen: &mut Screen) -> ExitCode {
    let TrustWords { name, config, yes } = words;
    let file = places::routes_file(config);
    if let Some(why) = places::missing_file(&file) {
        complain(why);
        return ExitCode::from(NOTHING_THERE);
    }
    let trustee = match app::trustee(&file, &name) {
        Ok(trustee) => trustee,
        Err(TrustError::Faults(faults)) => {
            show_faults(&faults);
            return ExitCode::FAILURE;
        }
        Err(TrustError::Impossible(why)) => {
            complain(why);
            return ExitCode::FAILURE;
        }
    };
    let looked = match app::look_at(&trustee) {
        Ok(looked) => looked,
        Err(why) => {
            complain(why);
            return ExitCode::FAILURE;
        }
    };
    show(&trustee, &looked, screen);
    if trustee.verify == VerifySpec::Pin(looked.certificate.fingerprint) {
        screen.line("\nThis certificate is pinned already; nothing to do.");
        return ExitCode::SUCCESS;
    }
    if !yes && !io::stdin().is_terminal() {
        complain("nobody is here to be asked; look at the fingerprint, then say `--yes`");
        return ExitCode::from(NOTHING_THERE);
    }
    if !yes && !is_agreed(screen) {
        complain("nothing was changed");
        return ExitCode::FAILURE;
    }
    write(&trustee, &looked, screen)
}

fn write(trustee: &Trustee, looked: &Looked, screen: &mut Screen) -> ExitCode {
    match app::pin(trustee, &looked.certificate) {
        Ok(Pinned::Already) => ExitCode::SUCCESS,
        Ok(Pinned::Written(path)) => {
            screen.line(format_args!("\nWritten into {}; a running Doorward reads it by itself.", path.display()));
            ExitCode::SUCCESS
        }
        Ok(Pinned::ByHand { why, table, line }) => {
            complain(format_args!("{why}. Write this into {table}, in place of `verify` or `ca`:"));
            screen.line(line);
            ExitCode::FAILURE
        }
        Err(why) => {
            complain(why);
            ExitCode::FAILURE
        }
    }
}

fn show(trustee: &Trustee, looked: &Looked, screen: &mut Screen) {
    let Looked { certificate, verified } = looked;
    let more = match trustee.asked_as.len() {
        0 | 1 => String::new(),
        many => format!(" and {} other names", many - 1),
    };
    let first = trustee.asked_as.first().map(String::as_str).unwrap_or_default();
    screen.heading(format_args!("{}: {}", trustee.name, trustee.address));
    let mut row = |what: &str, says: &str| {
        let mut rest = says;
        let mut what = what;
        // Long texts are cut into lines of a terminal, between words where there are any.
        while let Some((end, _)) = rest.char_indices().nth(67) {
            let at = rest[..end].rfind(' ').map_or(end, |blank| blank + 1);
            screen.line(format_args!("  {what:<9} {}", rest[..at].trim_end()));
            (rest, what) = (&rest[at..], "");
        }
        screen.line(format_args!("  {what:<9} {rest}"));
    };
    row("asked as", &format!("{first}{more}"));
    row("subject", or_none(&certificate.subject));
    let own = if certificate.is_self_signed { " (itself)" } else { "" };
    row("issuer", &format!("{}{own}", or_none(&certificate.issuer)));
    row("names", or_none(&certificate.names.join(", ")));
    let life = match certificate.validity(OffsetDateTime::now_utc()) {
        Validity::Valid => "",
        Validity::NotYet => " (not yet valid)",
        Validity::Expired => " (expired)",
    };
    row("valid", &format!("{} to {}{life}", certificate.not_before.date(), certificate.not_after.date()));
    match verified {
        Ok(()) => row("verifies", "yes; a pin would have to be renewed whenever the certificate is"),
        Err(why) => row("verifies", &format!("no: {why}")),
    }
    match &trustee.verify {
        VerifySpec::System => row("until now", "verified by the roots of this machine"),
        VerifySpec::Ca(path) => row("until now", &format!("verified by {}", path.display())),
        VerifySpec::Off => row("until now", "not verified at all"),
        VerifySpec::Pin(pin) if pin == &[0; 32] => row("until now", "nothing was accepted (the pin was all zeros)"),
        VerifySpec::Pin(pin) if *pin == certificate.fingerprint => {}
        VerifySpec::Pin(pin) => row("until now", &format!("another one: sha256:{}", hex(pin))),
    }
    screen.line(format_args!("  {}", certificate.pin()));
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "(none)" } else { text }
}

fn is_agreed(screen: &mut Screen) -> bool {
    screen.line("\nWhoever is on the way could show a certificate too: compare the fingerprint with");
    screen.line("what the machine itself says of it.");
    let mut out = io::stdout().lock();
    // Where nothing can be printed, nobody can agree.
    if write!(out, "Trust this certificate from now on, and no other? [y/N] ").and_then(|()| out.flush()).is_err() {
        return false;
    }
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
