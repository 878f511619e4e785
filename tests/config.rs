//! The reader of routes.toml against files: each in `tests/config/{bad,good}` has the exact expected text beside it.
//! `UPDATE=1 cargo nextest run --test config` writes those texts anew; read the difference before you keep it.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails with the line that failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use doorward::config::{
    ActionSpec, CertSource, Checked, Diagnostic, Faults, Severity, TrustSpec, VerifySpec, load, parse,
};
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};

fn files(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// Reads as if the file lay in the working directory, so that expected texts name the file only.
fn read(file: &Path) -> Result<Checked, Faults> {
    parse(Path::new(file.file_name().unwrap()), &fs::read_to_string(file).unwrap())
}

fn shown(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().fold(String::new(), |mut out, diagnostic| {
        writeln!(out, "{diagnostic}").unwrap();
        out
    })
}

/// Compares with the text beside the file; what differs is gathered, so that one run shows everything.
fn compare(file: &Path, text: &str, differing: &mut String) {
    let beside = file.with_extension("txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&beside, text).unwrap();
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if expected != text {
        writeln!(differing, "--- {}\n{expected}--- but was\n{text}", beside.display()).unwrap();
    }
}

#[test]
fn every_bad_file_is_refused_with_exactly_the_expected_words() {
    let mut differing = String::new();
    let files = files("bad");
    assert!(files.len() >= 100, "one file for each kind of fault, and only {} are here", files.len());
    for file in &files {
        let faults = read(file).expect_err(&format!("{} should be refused", file.display()));
        compare(file, &format!("{faults}\n"), &mut differing);
    }
    assert!(differing.is_empty(), "{differing}");
}

#[test]
fn every_good_file_is_taken_with_exactly_the_expected_warnings() {
    let mut differing = String::new();
    for file in files("good") {
        match read(&file) {
            Ok(checked) => compare(&file, &shown(&checked.warnings), &mut differing),
            Err(faults) => panic!("{} should be taken:\n{faults}", file.display()),
        }
    }
    assert!(differing.is_empty(), "{differing}");
}

fn assert_points_and_helps(faults: &Faults) {
    assert!(!faults.faults.is_empty(), "refused without a fault");
    for diagnostic in faults.in_order() {
        assert!(diagnostic.line >= 1 && diagnostic.column >= 1, "{diagnostic:?}");
        assert!(!diagnostic.message.is_empty() && !diagnostic.help.is_empty(), "{diagnostic:?}");
        assert!(!diagnostic.to_string().contains(|c: char| c.is_control() && c != '\n'), "{diagnostic:?}");
    }
    assert!(faults.faults.iter().all(|fault| fault.severity == Severity::Error));
}

#[test]
fn every_bad_config_has_a_position_and_help() {
    for file in files("bad") {
        assert_points_and_helps(&read(&file).unwrap_err());
    }
}

/// Everything that people at home open in a browser or an app, by its short name.
const CATALOG: &[&str] = &[
    "nextcloud",
    "syncthing",
    "freshrss",
    "books",
    "emulators",
    "obsidian",
    "jellyfin",
    "jellyseerr",
    "sonarr",
    "radarr",
    "prowlarr",
    "bazarr",
    "qbittorrent",
    "unifi",
    "npm",
    "grafana",
    "prometheus",
    "kuma",
    "plane",
    "info",
    "lefty",
    "matrix",
    "element",
];

#[test]
fn the_file_of_this_home_is_taken_and_only_its_unfilled_pin_is_warned_about() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("routes.toml");
    let checked = load(&file).unwrap_or_else(|faults| panic!("{faults}"));
    let warnings: Vec<&str> = checked.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(warnings, ["the pin of `unifi` is all zeros, which no certificate has"]);
    let names: Vec<&str> = checked.config.routes.iter().map(|route| &*route.name.value).collect();
    for service in CATALOG {
        assert!(names.contains(service), "{service} has no route");
    }
    assert_eq!(checked.config.expects.len(), 7);
    let doors: Vec<String> = checked.config.doors[0].https.iter().map(|door| door.value.to_string()).collect();
    assert_eq!(doors, ["[::]:443"]);
}

/// Pieces of the format, wild ones among them: joined at random they get further into the reader than noise does.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "[routes]\n", "[listen.lan]\n", "[networks]\n", "[upstreams.nas]\n", "[[expect]]\n", "[cert.a]\n", "[[cert.a.export]]\n",
    "[routes.x.paths]\n", "[docker]\n", "[mail]\n", "domain = ", "allow = ", "to = ", "https = ", "names = ", "pin = ",
    "dns = ", "acme = ", "is = ", "url = ", "paths = ", "headers = ", "photos = ", "\"/x/*\" = ", "\"*\" = ", "mode = ",
    "renew = ", "{ ", " }", "[", "]", ", ", "\n", "\"nas\"", "\"anyone\"", "\":443\"", "\"http://1.2.3.4\"", "7", "-1",
    "\"https://x/%2e\"", "\"sha256:0\"", "\"45s\"", "1e999", "true", "2026-01-01", "'''", "\"\"\"", "\\u0000", "=", ".",
    "\"\\u001b[31m\"", "#", "\u{feff}", "ü", "\t", "\r", "key = \"-----BEGIN\"", "token = \"x\"", "99999999999999999999",
    "0x7fffffffffffffff",
];

fn pieces() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(PIECES), 0..40).prop_map(|pieces| pieces.concat())
}

/// Whatever the text: taken, or refused with faults that point and help.
fn assert_read(text: &str) {
    match parse(Path::new("routes.toml"), text) {
        Ok(checked) => assert!(checked.warnings.iter().all(|warning| warning.severity == Severity::Warning)),
        Err(faults) => assert_points_and_helps(&faults),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        assert_read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_of_the_format_in_any_order_never_panic(text in pieces()) {
        assert_read(&text);
    }

    #[test]
    fn a_damaged_file_is_taken_or_refused_and_never_panics(
        which in any::<proptest::sample::Index>(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..30, pieces()), 1..4),
    ) {
        let all: Vec<PathBuf> = files("good").into_iter().chain(files("bad")).collect();
        let mut text = fs::read(&all[which.index(all.len())]).unwrap();
        for (place, removed, inserted) in edits {
            let start = place.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, inserted.into_bytes());
        }
        assert_read(&String::from_utf8_lossy(&text));
    }
}

/// Each of these could make a reader work for hours, or fill the memory with messages.
#[test]
fn a_huge_file_is_read_to_its_end() {
    const MANY: usize = 30_000;
    let many = |line: &dyn Fn(usize) -> String| (0..MANY).map(line).collect::<String>();
    let head = "allow = []\n[listen.lan]\nhttps = ':443'\n[routes]\n";
    let upstreams = many(&|i| format!("u{i} = 'http://a'\n"));
    let huge = [
        format!("{head}{}", many(&|i| format!("'r{i}.home' = 'u{i}'\n"))),
        format!("{head}{}[upstreams]\n{upstreams}", many(&|i| format!("'r{i}.home' = 'v{i}'\n"))),
        format!("{head}{}", "'same.home' = 'http://a'\n".repeat(MANY)),
        many(&|i| format!("[listen.d{i}]\nhttp = ':{}'\n[route{i}]\n", i + 1)),
        format!("allow = [{}]", "'lan', ".repeat(MANY)),
        format!("domain = '{}'", "x".repeat(1 << 20)),
        "[".repeat(MANY),
        "a.".repeat(MANY),
        format!("{head}x = {}", "{ a = ".repeat(MANY)),
        format!("[mail]\n{}", many(&|i| format!("token{i} = 'x'\n"))),
    ];
    for text in huge {
        let faults = parse(Path::new("routes.toml"), &text).unwrap_err();
        assert!(faults.faults.len() <= 101, "{} faults", faults.faults.len());
        assert!(faults.to_string().len() < 200_000);
        assert_points_and_helps(&faults);
    }
    let sound = format!("{head}{}", many(&|i| format!("'r{i}.home' = 'http://a'\n")));
    assert_eq!(parse(Path::new("routes.toml"), &sound).unwrap().config.routes.len(), MANY);
}

#[test]
fn a_file_that_is_missing_or_not_text_is_a_fault_like_any_other() {
    let faults = load(Path::new("/nowhere/routes.toml")).unwrap_err();
    assert!(faults.to_string().starts_with("/nowhere/routes.toml:1:1: error: cannot be read: "), "{faults}");
    assert_points_and_helps(&faults);

    let file = std::env::temp_dir().join(format!("doorward-not-utf8-{}.toml", std::process::id()));
    fs::write(&file, b"allow = []\n# caf\xe9\n").unwrap();
    let faults = load(&file).unwrap_err();
    fs::remove_file(&file).unwrap();
    assert_eq!((faults.faults[0].line, faults.faults[0].column), (2, 6));
    assert_eq!(faults.faults[0].message, "the file is not UTF-8 text");
}

#[test]
fn a_diagnostic_as_json_has_exactly_its_seven_fields() {
    let faults =
        parse(Path::new("routes.toml"), "[listen.lan]\nhttps = ':443'\n[routes]\n'a.b' = 'http://a'\nmax = 1\n");
    let json = serde_json::to_value(&faults.unwrap_err().faults).unwrap();
    let expected = serde_json::json!([{
        "severity": "error", "file": "routes.toml", "line": 5, "column": 7, "label": "",
        "message": "`max` takes an upstream's name, an address, a list of addresses, or a table, not a whole number",
        "help": "write `max = \"http://192.168.1.5:3000\"`",
    }]);
    assert_eq!(json, expected);
}

#[test]
fn no_secret_of_a_file_is_ever_shown() {
    for name in ["secrets-are-never-shown.toml", "secrets-are-never-shown-when-torn.toml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad").join(name);
        let faults = read(&file).unwrap_err();
        assert!(fs::read_to_string(&file).unwrap().contains("hunter2"));
        assert!(!faults.to_string().contains("hunter2"), "{faults}");
        assert!(!serde_json::to_string(&faults.faults).unwrap().contains("hunter2"));
    }
}

#[test]
fn a_full_file_is_read_as_it_is_written() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good/every-key.toml");
    let config = parse(Path::new("/etc/doorward/routes.toml"), &fs::read_to_string(text).unwrap()).unwrap().config;

    assert_eq!(config.domain.unwrap().value.as_str(), "home.example");
    let mapped: Vec<String> = config.networks[1].nets.iter().map(ToString::to_string).collect();
    assert_eq!(mapped, ["10.0.0.1/32", "10.1.0.0/16"], "IPv4 in IPv6 is IPv4");

    let tunnel = &config.doors[1];
    assert!(tunnel.public_names && tunnel.trust == TrustSpec::Cloudflared);

    let CertSource::Files { cert, key } = &config.certs[0].source else { panic!("files") };
    assert_eq!(cert.value, Path::new("/etc/doorward/certs/home.crt"), "relative to the folder of the file");
    assert_eq!(key.value, Path::new("/etc/ssl/home.key"));
    let CertSource::Acme(staging) = &config.certs[3].source else { panic!("ordered") };
    assert_eq!(staging.ca.directory.value, "https://acme-staging-v02.api.letsencrypt.org/directory");
    let modes: Vec<u32> = config.certs[0].exports.iter().map(|export| export.mode).collect();
    assert_eq!(modes, [0o600, 0o644]);

    let strict = &config.upstreams[1].target;
    assert_eq!(strict.verify, VerifySpec::Ca("/etc/doorward/nas-ca.crt".into()));
    assert_eq!((strict.hold.as_ref().unwrap().value.as_secs(), strict.via), (45, false));
    let counted: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    assert_eq!(config.upstreams[2].target.verify, VerifySpec::Pin(counted));
    assert_eq!(config.upstreams[3].target.verify, VerifySpec::Off);

    let hosts: Vec<String> = config.routes.iter().map(|route| route.host.to_string()).collect();
    let short = ["photos.home.example", "films.example.com", "*.dev.home.example", "*"];
    assert_eq!(hosts[..4], short);
    assert_eq!(hosts[4..], ["wiki.home.example", "music.home.example", "own.home.example", "answers.home.example"]);
    assert_eq!(&*config.routes[0].name.value, "Photos", "the label stays as written");

    let music = &config.routes[5];
    assert_eq!(music.max_body, Some(50 << 20));
    assert_eq!(music.headers.request.set.len(), 2);
    let paths: Vec<String> = music.paths.iter().map(|path| path.pattern.value.to_string()).collect();
    assert_eq!(paths, ["/metrics", "/api/*", "/old", "/gone", "/v1/*", "/moved", "/hello", "/.well-known/x", "/*"]);
    assert_eq!(music.paths[1].allow.as_ref().unwrap().entries, []);
    let ActionSpec::Redirect { status, .. } = music.paths[5].action else { panic!("redirect") };
    assert_eq!(status, 302);

    assert_eq!(config.expects[0].url.value.path, "/api/x?y=z");
    assert_eq!(config.expects[3].url.value.to_string(), "https://*.home.example/api/*");
    assert_eq!(config.drain.upgrade.as_secs(), 7200);
    let docker = config.docker.unwrap();
    assert!(!docker.health_wait);
    assert_eq!(docker.key.unwrap().value, Path::new("/etc/doorward/docker-key.pem"));
    assert_eq!(docker.hold.unwrap().value.as_secs(), 30);
}
