//! The NixOS module, evaluated by Nix itself against a stand-in for nixpkgs' library (nix/tests/evaluate.nix): what it makes
//! of its options, and whether the service is the one that Debian gets.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::Value;

use crate::harness::Folder;

/// What the module comes to, or why it does not.
fn evaluated(settings: &str) -> Result<Value, String> {
    let expression = concat!(env!("CARGO_MANIFEST_DIR"), "/nix/tests/evaluate.nix");
    let mut command = Command::new("nix-instantiate");
    command.args(["--eval", "--strict", "--json", expression, "--arg", "settings", settings]);
    // Nothing is built, so no store is needed.
    let said = command.env("NIX_REMOTE", "dummy://").output().expect("nix-instantiate runs");
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&said.stdout).expect("JSON"))
}

/// `key = value`s of `[Service]`, lists as they are written one after the other.
fn service_of(unit: &str) -> BTreeMap<String, String> {
    let mut service = BTreeMap::<String, String>::new();
    let (_, rest) = unit.split_once("[Service]").unwrap();
    for line in rest.split("\n[").next().unwrap().lines().filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let known = service.entry(key.to_owned()).or_default();
        *known = format!("{known} {value}").trim().to_owned();
    }
    service
}

fn as_in_a_unit(value: &Value) -> String {
    match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) => values.iter().map(as_in_a_unit).collect::<Vec<_>>().join(" "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn the_service_on_nixos_is_the_one_of_the_unit_file() {
    let module = evaluated("{ enable = true; package.outPath = \"/pkg\"; configFile = \"/routes.toml\"; }").unwrap();
    let given: BTreeMap<String, String> = module["unit"]["serviceConfig"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), as_in_a_unit(value)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let unit = include_str!("../../contrib/systemd/doorward.service");
    let mut wanted = service_of(unit);
    // NixOS writes /etc itself; and there the program has a path that stays through its versions.
    wanted.remove("ConfigurationDirectory");
    for key in ["ExecStart", "ExecReload"] {
        let path = wanted.get_mut(key).unwrap();
        *path = path.replace("/usr/bin/", "/run/current-system/sw/bin/");
    }
    assert_eq!(given, wanted);
    assert!(unit.contains("\nStartLimitIntervalSec=0\n"));
    assert_eq!(module["unit"]["startLimitIntervalSec"], 0);
}

#[test]
fn what_a_machine_needs_becomes_lines_of_its_unit() {
    let module = evaluated(
        "{ enable = true; package.outPath = \"/pkg\"; configFile = \"/routes.toml\"; openFirewall = true; ports = [ 443 ];
           credentials.token = \"/run/secrets/token\"; exportFolders = [ \"/mnt/certs\" ]; groups = [ \"certs\" ]; }",
    )
    .unwrap();
    let service = &module["unit"]["serviceConfig"];
    assert_eq!(service["LoadCredential"][0], "token:/run/secrets/token");
    assert_eq!(service["ReadWritePaths"][0], "/mnt/certs");
    assert_eq!(service["SupplementaryGroups"][0], "certs");
    assert_eq!(service["DynamicUser"], false, "who hands files on is the same on every boot");
    assert_eq!(module["users"]["users"]["doorward"]["isSystemUser"], true);
    assert_eq!(module["ports"], serde_json::json!([443]));
    // A new file and a new program are put in force by a reload.
    assert_eq!(module["unit"]["reloadTriggers"], serde_json::json!(["/built/routes.toml", "/pkg"]));
    assert_eq!(evaluated("{ }").unwrap(), serde_json::json!({}), "nothing where it is not enabled");
}

#[test]
fn an_update_of_the_system_is_a_reload() {
    let unit = |version: &str| {
        let settings = format!("{{ enable = true; package.outPath = \"/nix/store/{version}\"; configFile = \"/a\"; }}");
        let mut unit = evaluated(&settings).unwrap()["unit"].take();
        (unit["reloadTriggers"].take(), unit)
    };
    let ((triggers, before), (others, after)) = (unit("one"), unit("two"));
    assert_ne!(triggers, others);
    // Whatever else differs in a unit is a restart to NixOS.
    assert_eq!(before, after);
    assert_eq!(before["enableDefaultPath"], false, "nixpkgs would write paths into it that change every week");
    assert_eq!(before["environment"]["PATH"], "/run/wrappers/bin:/run/current-system/sw/bin");
}

#[test]
fn options_that_make_no_sense_do_not_evaluate() {
    let cases = [
        ("", "give either `configFile` or `settings`"),
        ("configFile = \"/a\"; settings.domain = \"home.test\";", "give either `configFile` or `settings`"),
        ("configFile = \"/a\"; ports = [ 70000 ];", "services.doorward.ports: not a list of a port"),
        ("configFile = \"/a\"; exportFolder = [ ];", "no option exportFolder"),
    ];
    for (settings, why) in cases {
        let said = evaluated(&format!("{{ enable = true; package.outPath = \"/pkg\"; {settings} }}")).unwrap_err();
        assert!(said.contains(why), "{settings}: {said}");
    }
}

#[test]
fn a_faulty_file_fails_the_build_of_the_system() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.at("pkg/bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_doorward"), folder.at("pkg/bin/doorward")).unwrap();
    let build = |settings: &str| {
        let package = folder.at("pkg").display().to_string();
        let module =
            evaluated(&format!("{{ enable = true; package.outPath = \"{package}\"; settings = {settings}; }}"))
                .unwrap();
        // What nixpkgs' generator does: the values as TOML.
        let text = toml::to_string(&module["settings"]).unwrap();
        folder.replace("generated.toml", text);
        let generated = folder.at("generated.toml").display().to_string();
        let script = module["script"].as_str().unwrap().replace("/generated/routes.toml", &generated);
        let mut command = Command::new("sh");
        command.args(["-euc", &script]).env("out", folder.at("routes.toml")).output().unwrap()
    };
    let good = "{ domain = \"home.test\"; allow = [ \"lan\" ]; networks.lan = [ \"192.168.1.0/24\" ];
                  listen.main = { https = \":443\"; http = \":80\"; };
                  routes.films = \"http://192.168.1.20:8096\"; }";
    let said = build(good);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    assert!(std::fs::read_to_string(folder.at("routes.toml")).unwrap().contains("192.168.1.20"));
    let said = build(&good.replace("films = \"http", "films = \"ftp"));
    assert!(!said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}
