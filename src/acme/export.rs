//! Hands a certificate on: files for others, a command that tells them, a look whether they really serve it.
//! Each step is done once per certificate and repeated alone until it worked; what is done survives a restart.

use std::path::Path;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::look::look;
use super::order::Failure;
use super::pair::PairFolder;
use super::schedule::back_off;
use super::state::{ExportState, Fault, StoredPair};
use super::wanted::name_to_ask;
use super::{PROGRAM_LIMIT, run_program};
use crate::cert::hex;
use crate::config::ExportSpec;

/// Longest pause between tries of a step. Seconds: an owner who mended a consumer waits for this.
const LONGEST_PAUSE: i64 = 3600;

/// The files are to be written.
pub const WRITE: &str = "write";
/// The command is to be run.
pub const COMMAND: &str = "command";
/// The consumer is to serve it.
pub const PROBE: &str = "probe";

/// All steps, in their order.
pub const STEPS: [&str; 3] = [WRITE, COMMAND, PROBE];

/// By which an export is known in the state: its folder and the name of the chain.
pub fn export_key(spec: &ExportSpec) -> String {
    spec.dir.value.join(&spec.cert.value).display().to_string()
}

/// The step that waits to be done for this certificate.
pub fn pending(spec: &ExportSpec, state: &ExportState, fingerprint: &str) -> Option<&'static str> {
    let is_done = |step: &Option<String>| step.as_deref() == Some(fingerprint);
    if !is_done(&state.written) {
        Some(WRITE)
    } else if !spec.command.is_empty() && !is_done(&state.told) {
        Some(COMMAND)
    } else if spec.probe.is_some() && !is_done(&state.served) {
        Some(PROBE)
    } else {
        None
    }
}

/// When a pending step may be tried again. Seconds since 1970.
pub fn next_try(state: &ExportState, now: i64, seed: u64) -> i64 {
    match (state.failures, state.last_try) {
        (failures @ 1.., Some(last)) => last.min(now) + back_off(failures, seed).min(LONGEST_PAUSE),
        _ => now,
    }
}

/// Does what is pending, step by step, until one fails. Whether anything was tried.
pub async fn advance(
    spec: &ExportSpec,
    id: &str,
    pair: &StoredPair,
    state: &mut ExportState,
    now: i64,
) -> Result<(), Failure> {
    let fingerprint = hex(pair.certificate.fingerprint());
    while let Some(step) = pending(spec, state, &fingerprint) {
        state.last_try = Some(now);
        let outcome = match step {
            WRITE => write(spec, pair).await,
            COMMAND => tell(spec, id, pair).await,
            _ => probe(spec, pair).await,
        };
        if let Err(said) = outcome {
            state.failures = state.failures.saturating_add(1);
            state.last_error = Some(Fault { at: now, step: step.to_owned(), said: said.clone() });
            return Err(Failure::new(step, said));
        }
        state.failures = 0;
        state.last_error = None;
        let done = Some(fingerprint.clone());
        match step {
            WRITE => *state = ExportState { written: done, last_try: state.last_try, ..ExportState::default() },
            COMMAND => state.told = done,
            _ => state.served = done,
        }
        tracing::info!(cert = id, export = export_key(spec), step, "export step done");
    }
    Ok(())
}

/// Whether the files are as they were written.
pub fn is_intact(spec: &ExportSpec, pair: &StoredPair) -> bool {
    let Ok(place) = place(spec) else { return false };
    match spec.in_place {
        true => place.reads(&pair.cert_pem, &pair.key_pem),
        false => place.holds(&pair.cert_pem, &pair.key_pem),
    }
}

async fn write(spec: &ExportSpec, pair: &StoredPair) -> Result<(), String> {
    let (place, in_place) = (place(spec)?, spec.in_place);
    let (cert, key, serial) = (pair.cert_pem.clone(), pair.key_pem.clone(), pair.certificate.serial().to_owned());
    let shown = place.dir.display().to_string();
    let written = tokio::task::spawn_blocking(move || match in_place {
        true => place.write_in_place(&cert, &key),
        false => place.write(&serial, &cert, &key),
    });
    let written = written.await.map_err(|error| error.to_string())?;
    written.map_err(|error| format!("{shown}: cannot be written: {error}"))
}

async fn tell(spec: &ExportSpec, id: &str, pair: &StoredPair) -> Result<(), String> {
    let words: Vec<&str> = spec.command.iter().map(|word| word.value.as_str()).collect();
    // The program runs in another folder than we do.
    let dir = &std::path::absolute(&spec.dir.value).map_err(|error| error.to_string())?;
    let (cert, key) = (dir.join(&spec.cert.value), dir.join(&spec.key.value));
    let names: Vec<&str> = pair.certificate.names().iter().map(|name| &**name).collect();
    let variables = [
        ("DOORWARD_CERT", id.to_owned()),
        ("DOORWARD_NAMES", names.join(" ")),
        ("DOORWARD_SERIAL", pair.certificate.serial().to_owned()),
        ("DOORWARD_NOT_AFTER", date(pair.certificate.not_after())),
        ("DOORWARD_DIR", dir.display().to_string()),
        ("DOORWARD_CERT_FILE", cert.display().to_string()),
        ("DOORWARD_KEY_FILE", key.display().to_string()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let program = words.first().copied().unwrap_or_default().to_owned();
    let ran = run_program(&words, &variables, dir, PROGRAM_LIMIT).await;
    let ran = ran.map_err(|error| format!("{program} cannot be started: {error}"))?;
    let output = ran.output.replace('\n', " | ");
    if ran.ended.is_success() {
        tracing::info!(cert = id, program, output, "export command ended well");
        return Ok(());
    }
    let said = if output.is_empty() { String::new() } else { format!("; it said: {output}") };
    Err(format!("{program}: {}{said}", ran.ended))
}

async fn probe(spec: &ExportSpec, pair: &StoredPair) -> Result<(), String> {
    let Some(place) = spec.probe.as_ref().map(|probe| probe.value.as_str()) else { return Ok(()) };
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let certificate = &pair.certificate;
    let name = if certificate.covers(host) { host.to_owned() } else { name_to_ask(certificate) };
    let mut last = String::new();
    // Who was told just now may need a moment to read it.
    for pause in [0, 2, 5] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        match look(place, &name).await {
            Ok(seen) if seen.fingerprint == *certificate.fingerprint() => return Ok(()),
            Ok(seen) => {
                last = format!("{place} serves serial {}, not {}", seen.serial, certificate.serial());
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn place(spec: &ExportSpec) -> Result<PairFolder, String> {
    let number = |who: &Option<crate::config::Located<String>>, list: &str, what: &str| {
        let Some(who) = who else { return Ok(None) };
        number_of(&who.value, Path::new(list))
            .map(Some)
            .ok_or_else(|| format!("no {what} `{}` in {list}; write its number instead", who.value))
    };
    Ok(PairFolder {
        dir: spec.dir.value.clone(),
        cert: spec.cert.value.clone(),
        key: spec.key.value.clone(),
        mode: spec.mode,
        owner: number(&spec.owner, "/etc/passwd", "user")?,
        group: number(&spec.group, "/etc/group", "group")?,
    })
}

/// A number as it stands, or that of a name in `/etc/passwd` or `/etc/group`: there it is the third field of both.
fn number_of(who: &str, list: &Path) -> Option<u32> {
    if let Ok(number) = who.parse() {
        return Some(number);
    }
    let text = std::fs::read_to_string(list).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(who))?;
    line.split(':').nth(2)?.parse().ok()
}

/// As RFC 3339 writes it.
pub fn date(moment: OffsetDateTime) -> String {
    let whole = moment.replace_nanosecond(0).unwrap_or(moment);
    whole.format(&Rfc3339).unwrap_or_default()
}
