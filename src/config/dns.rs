//! `dns` of a certificate: who keeps the zone, and what that provider needs.
//! Holds no secret, only the names of files that do.

use super::keys::DNS;
use super::reading::{Item, Reading, nearest, shown};
use super::section::Section;
use super::{DnsSpec, Located, forms};

/// Providers that are spoken here at first hand, with the keys that belong to each alone and the keys each must have.
const FIRST_HAND: &[(&str, &[&str], &[&str])] = &[
    ("cloudflare", &[], &["token_file"]),
    ("rfc2136", &["server", "key", "key_file", "algorithm"], &["server", "key_file"]),
    ("exec", &["command"], &["command"]),
];

/// Providers that are spoken through a library. They all need `token_file` and nothing of the above.
// One name per line would fill a page with what nobody reads in order.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "alidns", "arvancloud", "autodns", "azuredns", "baiducloud", "bluecat", "bunny", "cloudns", "constellix",
    "cpanel", "ddnss", "desec", "digitalocean", "dnsimple", "dnsmadeeasy", "domeneshop", "dreamhost", "duckdns",
    "dynu", "easydns", "edgedns", "exoscale", "freemyip", "gandi", "gcore", "glesys", "godaddy", "google", "hetzner",
    "hostingde", "hostinger", "huaweicloud", "hurricane", "ibmcloud", "infoblox", "infomaniak", "inwx", "ionos",
    "ipv64", "joker", "lightsail", "linode", "luadns", "mythicbeasts", "namecheap", "namedotcom", "namesilo",
    "netcup", "netlify", "nifcloud", "ns1", "oraclecloud", "ovh", "plesk", "porkbun", "powerdns", "route53",
    "safedns", "scaleway", "selectel", "simply", "spaceship", "tencentcloud", "transip", "ultradns", "vercel",
    "volcengine", "vultr", "websupport", "yandexcloud", "zoneeu",
];

/// Names that other programs have for some of them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("aliyun", "alidns"),
    ("aws", "route53"),
    ("azure", "azuredns"),
    ("dnspod", "tencentcloud"),
    ("gandiv5", "gandi"),
    ("gcloud", "google"),
    ("he", "hurricane"),
    ("nsupdate", "rfc2136"),
    ("pdns", "powerdns"),
];

const ALGORITHMS: &[(&str, &str)] = &[
    ("hmac-sha256", "hmac-sha256"),
    ("hmac-sha384", "hmac-sha384"),
    ("hmac-sha512", "hmac-sha512"),
    ("hmac-sha224", "hmac-sha224"),
    ("hmac-sha1", "hmac-sha1"),
];

/// Reads `dns`, the short form or the table.
pub(super) fn dns<'t>(cert: &Section<'_, 't>, item: &Item<'t>) -> Option<DnsSpec> {
    let reading = cert.reading;
    if item.value.as_str().is_some() {
        let provider = provider(reading, &reading.text(item)?)?;
        let token_file = cert.path("token_file");
        for key in needs(&provider.value).iter().filter(|&&key| !cert.mentions(key)) {
            let help = match *key {
                "token_file" => {
                    "write `token_file = \"…\"` below it, with the path of a file that holds the token".to_owned()
                }
                _ => format!("write a table: `dns = {{ provider = \"{}\", {key} = … }}`", provider.value),
            };
            reading.missing(item.span, format!("`{}` needs `{key}`", provider.value), "", help);
        }
        return Some(DnsSpec { token_file, ..bare(provider) });
    }
    let table = Section::open(reading, item, &DNS, format!("`dns` of {}", cert.title))?;
    let provider = table.required("provider").and_then(|item| provider(reading, &reading.text(&item)?));
    if let Some(provider) = &provider {
        check_keys(&table, cert, &provider.value);
    }
    if table.has("token_file") {
        cert.out_of_place("token_file", "stands in `dns` already", "delete one of the two");
    }
    let api = table.text("api").and_then(|text| api(reading, &text));
    let key = table.text("key").and_then(|text| tsig_key(reading, &text));
    let spec = DnsSpec {
        token_file: table.path("token_file").or_else(|| cert.path("token_file")),
        api,
        zone: table.text("zone").and_then(|text| forms::host_name(reading, &text)),
        server: forms::host_port(&table, "server"),
        key,
        key_file: table.path("key_file"),
        algorithm: table.choice("algorithm", ALGORITHMS).map(|word| Located {
            value: word.value.to_owned(),
            span: word.span,
            line: word.line,
        }),
        command: forms::command(&table, "command"),
        propagation: table.duration("propagation"),
        ..bare(provider?)
    };
    Some(spec)
}

fn bare(provider: Located<String>) -> DnsSpec {
    DnsSpec {
        provider,
        token_file: None,
        api: None,
        zone: None,
        server: None,
        key: None,
        key_file: None,
        algorithm: None,
        command: Vec::new(),
        propagation: None,
    }
}

/// The names of all providers: those of the first rank, then the others in alphabetical order.
pub fn dns_providers() -> impl Iterator<Item = &'static str> {
    FIRST_HAND.iter().map(|(name, _, _)| *name).chain(OTHERS.iter().copied())
}

fn provider(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<String>> {
    if let Some(name) = dns_providers().find(|name| *name == text.value) {
        return Some(reading.located(text.span, name.to_owned()));
    }
    let meant = ELSEWHERE.iter().find(|(there, _)| *there == text.value).map(|(_, here)| *here);
    let help = match meant.or_else(|| nearest(text.value, dns_providers())) {
        Some(name) => format!("write `{name}` if that is what is meant"),
        None => "write `cloudflare`, `rfc2136`, `exec` for a program of yours, or a name from docs/dns-providers.md"
            .to_owned(),
    };
    reading.fault(text.span, format!("{} is not the name of a DNS provider", shown(text.value)), "", help);
    None
}

fn needs(provider: &str) -> &'static [&'static str] {
    FIRST_HAND.iter().find(|(name, _, _)| *name == provider).map_or(&["token_file"], |(_, _, needs)| needs)
}

/// Keys of another provider are out of place; a provider's own must be there.
fn check_keys(table: &Section<'_, '_>, cert: &Section<'_, '_>, provider: &str) {
    for (owner, keys, _) in FIRST_HAND.iter().filter(|(owner, _, _)| *owner != provider) {
        for key in *keys {
            table.out_of_place(
                key,
                &format!("belongs to the provider `{owner}`"),
                &format!("leave it out; the provider here is `{provider}`"),
            );
        }
    }
    for key in needs(provider) {
        let beside = *key == "token_file" && cert.mentions("token_file");
        if !beside {
            table.required(key);
        }
    }
}

fn api(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<String>> {
    if !forms::is_url(text.value, true) {
        let help = "write a URL: `api = \"https://api.dns.example\"`";
        reading.fault(text.span, format!("{} is not a URL", shown(text.value)), "", help);
        return None;
    }
    Some(reading.located(text.span, text.value.to_owned()))
}

/// The name of a TSIG key is a DNS name; a secret pasted here nearly never is.
fn tsig_key(reading: &Reading<'_>, text: &Located<&str>) -> Option<Located<String>> {
    if crate::model::HostName::parse(text.value).is_err() {
        reading.keep_secret(text.span);
        let help = "write the key's name here, and put its secret into a file: `key_file = \"tsig.key\"`";
        reading.fault(text.span, "`key` takes the name of a TSIG key; its secret is never in the file", "", help);
        return None;
    }
    Some(reading.located(text.span, text.value.to_owned()))
}
