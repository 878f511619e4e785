//! acme.sh's folder as `[cert]` tables: what it renews, by which challenge, and where it puts the result.
//! Its files are shell; they are read, never run. No secret of theirs is repeated.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::text::{comment, key, list, one_line, quote, quoted, slug};
use super::{ImportError, Imported};
use crate::cert::read_file;
use crate::config::{CAS, dns_providers};
use crate::model::HostPattern;

/// acme.sh's names for providers that have another one here.
const RENAMED: [(&str, &str); 10] = [
    ("cf", "cloudflare"),
    ("ali", "alidns"),
    ("aws", "route53"),
    ("dgon", "digitalocean"),
    ("dp", "tencentcloud"),
    ("gandi_livedns", "gandi"),
    ("gcloud", "google"),
    ("gd", "godaddy"),
    ("he", "hurricane"),
    ("pdns", "powerdns"),
];

/// Makes the `[cert]` tables of a routes.toml of acme.sh's folder, usually `~/.acme.sh`.
///
/// # Errors
/// The folder cannot be read, or holds no certificate.
pub fn import_acme_sh(home: &Path) -> Result<Imported, ImportError> {
    let entries = fs::read_dir(home).map_err(|cause| ImportError::Unreadable { path: home.to_owned(), cause })?;
    let mut confs: Vec<PathBuf> = entries.flatten().filter_map(|entry| conf_in(&entry.path())).collect();
    confs.sort();
    let email = Conf::read(&home.join("account.conf")).and_then(|account| account.value("ACCOUNT_EMAIL"));
    let mut file = String::new();
    comment(
        &mut file,
        "Made by `doorward import acme-sh`: put these tables into routes.toml, between the doors and the routes.",
    );
    comment(&mut file, "Then bring the certificates in use and the account along, so that nothing is ordered anew:");
    let _ = writeln!(file, "#   doorward cert import --acme-sh {}", shell_word(home));
    let (mut taken, mut left, mut made) = (HashSet::new(), 0, 0);
    for conf in confs.iter().filter_map(|path| Conf::read(path)) {
        match certificate(&conf, email.as_deref(), &mut taken) {
            Ok(table) => {
                file.push_str(&table);
                made += 1;
            }
            Err(why) => {
                file.push('\n');
                comment(&mut file, &format!("{}: {why}.", one_line(&conf.value("Le_Domain").unwrap_or_default(), 100)));
                left += 1;
            }
        }
    }
    match made + left {
        0 => Err(ImportError::NotAcmeSh { path: home.to_owned() }),
        _ => Ok(Imported { file, routes: 0, closed: 0, left }),
    }
}

/// The settings of one certificate: `<name>/<name>.conf`, or `<name>_ecc/<name>.conf`.
fn conf_in(folder: &Path) -> Option<PathBuf> {
    let name = folder.file_name()?.to_str()?;
    let path = folder.join(format!("{}.conf", name.strip_suffix("_ecc").unwrap_or(name)));
    path.is_file().then_some(path)
}

/// A file of `NAME='value'` lines.
struct Conf(String);

impl Conf {
    fn read(path: &Path) -> Option<Conf> {
        Some(Conf(String::from_utf8_lossy(&read_file(path).ok()?).into_owned()))
    }

    fn value(&self, name: &str) -> Option<String> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['\'', '"']).trim();
        (!matches!(value, "" | "no")).then(|| value.to_owned())
    }
}

fn certificate(conf: &Conf, email: Option<&str>, taken: &mut HashSet<String>) -> Result<String, String> {
    let first = conf.value("Le_Domain").ok_or("it has no Le_Domain")?;
    let others = conf.value("Le_Alt").unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for name in std::iter::once(first.as_str()).chain(others.split(',')).map(str::trim).filter(|name| !name.is_empty())
    {
        let pattern =
            HostPattern::parse(name).map_err(|wrong| format!("\"{}\" is no name: {wrong}", one_line(name, 80)))?;
        if pattern == HostPattern::Any {
            return Err("`*` is no name for a certificate".to_owned());
        }
        if !names.contains(&pattern.to_string()) {
            names.push(pattern.to_string());
        }
    }
    let challenge = challenge(&conf.value("Le_Webroot").unwrap_or_default())?;
    let mut out = String::from("\n");
    if challenge == "http-01" && names.iter().any(|name| name.starts_with('*')) {
        return Err("a wildcard needs a DNS challenge, and none is set".to_owned());
    }
    let base = first.trim_start_matches("*.");
    let mut id = slug(base.split('.').next().unwrap_or_default(), "cert");
    while !taken.insert(id.clone()) {
        id.push_str("-2");
    }
    let _ = writeln!(out, "[cert.{}]\nnames = {}", key(&id), list(&names));
    if challenge == "http-01" {
        out.push_str("challenge = \"http-01\"\n");
    } else {
        comment(
            &mut out,
            "The credentials are in acme.sh's account.conf (SAVED_…): put the token alone into this file.",
        );
        let file = format!("/run/credentials/doorward.service/{challenge}-token");
        let _ = writeln!(out, "dns = {}\ntoken_file = {}", quoted(&challenge), quoted(&file));
    }
    if let Some(directory) = conf.value("Le_API").filter(|url| url != CAS[0].1) {
        let word = CAS.iter().find(|(_, url)| *url == directory).map_or(directory.as_str(), |(name, _)| name);
        if directory.starts_with("https://") && directory.bytes().all(|b| b.is_ascii_graphic()) {
            let _ = writeln!(out, "acme = {}", quoted(word));
        }
    }
    if let Some(email) = email.filter(|email| super::is_mailbox(email)) {
        let _ = writeln!(out, "email = {}", quoted(email));
    }
    export(&mut out, conf, &id);
    Ok(out)
}

/// `dns_cf` and its like, or a folder to put proofs into.
fn challenge(webroot: &str) -> Result<String, String> {
    let Some(theirs) = webroot.strip_prefix("dns_") else { return Ok("http-01".to_owned()) };
    let renamed = RENAMED.iter().find(|(name, _)| *name == theirs).map_or(theirs, |(_, ours)| *ours);
    let known = dns_providers().find(|known| *known == renamed && !matches!(*known, "rfc2136" | "exec"));
    known.map(str::to_owned).ok_or_else(|| {
        format!(
            "its DNS provider `dns_{}` is not known by that name here; see docs/dns-providers.md",
            one_line(theirs, 40)
        )
    })
}

/// What `--install-cert` was told.
fn export(out: &mut String, conf: &Conf, id: &str) {
    let chain = conf.value("Le_RealFullChainPath").map(PathBuf::from);
    let own = conf.value("Le_RealKeyPath").map(PathBuf::from);
    let (Some(chain), Some(own)) = (chain, own) else { return };
    let folder = chain.parent().filter(|folder| own.parent() == Some(folder) && folder.is_absolute());
    let names = (chain.file_name().and_then(|name| name.to_str()), own.file_name().and_then(|name| name.to_str()));
    let (Some(folder), (Some(chain_name), Some(key_name))) = (folder.and_then(Path::to_str), names) else {
        comment(out, "acme.sh installs it into two folders, which an export does not: see docs/certificates.md.");
        quote(out, &format!("{}\n{}", chain.display(), own.display()));
        return;
    };
    let _ = writeln!(out, "[[cert.{}.export]]\ndir = {}", key(id), quoted(folder));
    let _ = writeln!(out, "cert = {}\nkey = {}", quoted(chain_name), quoted(key_name));
    if let Some(command) = conf.value("Le_ReloadCmd") {
        comment(
            out,
            "acme.sh ran a command after each renewal; here it is a list without a shell, `command = [\"/…\", \"…\"]`:",
        );
        quote(out, &decoded(&command));
    }
}

/// acme.sh keeps commands with quotes in base64 between two marks.
fn decoded(command: &str) -> String {
    use base64::Engine as _;
    let inside =
        command.strip_prefix("__ACME_BASE64__START_").and_then(|rest| rest.strip_suffix("__ACME_BASE64__END_"));
    let bytes = inside.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    bytes.map_or_else(|| command.to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A path as a shell takes it.
fn shell_word(path: &Path) -> String {
    let text = one_line(&path.display().to_string(), 200);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
