//! `VIRTUAL_HOST_MULTIPORTS`: several names, paths and ports of one container, written as YAML (or JSON, which is YAML).
//! Only keys that begin with `/` are paths, as in nginx-proxy. The text is bounded before it is parsed, and the parser bounds what aliases may make of it.

use serde_yaml_ng::{Mapping, Value};

use super::vocabulary::{cut, left_out, place, read_hosts, read_port, read_proto};
use super::wishes::{Place, Proto, Site};

const WORD: &str = "VIRTUAL_HOST_MULTIPORTS";

/// More than this is no description of one container's sites. Bytes.
const LARGEST: usize = 32 * 1024;

/// Keys of a host that are not paths.
const PORTS_OF_HOST: [&str; 2] = ["external_http_port", "external_https_port"];

/// Reads the sites.
///
/// # Errors
/// What is wrong, in words: the container is not routed.
pub fn read(text: &str, notes: &mut Vec<String>) -> Result<Vec<Site>, String> {
    if text.len() > LARGEST {
        return Err(format!("{WORD} is longer than {} KiB", LARGEST / 1024));
    }
    let parsed: Value = serde_yaml_ng::from_str(text).map_err(|wrong| format!("{WORD} is no YAML: {wrong}"))?;
    let Value::Mapping(hosts) = parsed else {
        return Err(format!("{WORD} is no mapping of names to paths"));
    };
    let (mut sites, mut wrong): (Vec<Site>, Vec<String>) = (Vec::new(), Vec::new());
    for (name, paths) in &hosts {
        let Some(name) = name.as_str() else { return Err(format!("{WORD} has a name that is no text")) };
        let places = places(name, paths, notes)?;
        let hosts = match read_hosts(WORD, name.trim()) {
            Ok(hosts) => hosts,
            Err(why) => {
                wrong.push(why);
                continue;
            }
        };
        for host in hosts {
            match sites.iter_mut().find(|site| site.host == host) {
                Some(site) => site.places.extend(places.iter().cloned()),
                None => sites.push(Site { host, places: places.clone() }),
            }
        }
    }
    left_out(wrong, sites.is_empty(), notes)?;
    Ok(sites)
}

fn places(name: &str, paths: &Value, notes: &mut Vec<String>) -> Result<Vec<Place>, String> {
    let everything = || place(None, None, None, Proto::Http, &mut Vec::new());
    let paths = match paths {
        Value::Null => return Ok(vec![everything()?]),
        Value::Mapping(paths) => paths,
        _ => return Err(format!("{WORD}: `{}` leads to no mapping of paths", cut(name))),
    };
    let mut places = Vec::new();
    for (key, value) in paths {
        let key = key.as_str().unwrap_or_default();
        if PORTS_OF_HOST.contains(&key) {
            notes.push(format!("{key} has no effect: the ports are the doors': write `[listen.<name>]`"));
        } else if key.starts_with('/') {
            places.push(one_place(name, key, value, notes)?);
        } else {
            notes.push(format!(
                "{WORD}: `{}` of `{}` is neither a path nor a port, and has no effect",
                cut(key),
                cut(name)
            ));
        }
    }
    if places.is_empty() {
        places.push(everything()?);
    }
    Ok(places)
}

fn one_place(name: &str, path: &str, value: &Value, notes: &mut Vec<String>) -> Result<Place, String> {
    let nothing = Mapping::new();
    let about = match value {
        Value::Null => &nothing,
        Value::Mapping(about) => about,
        _ => return Err(format!("{WORD}: `{}{}` is no mapping of port, proto and dest", cut(name), cut(path))),
    };
    let (mut port, mut proto, mut dest) = (None, Proto::Http, None);
    for (key, value) in about {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match key.as_str().unwrap_or_default() {
            "port" if text.is_empty() => {}
            "port" => port = Some(read_port(&format!("{WORD}: port of `{}{}`", cut(name), cut(path)), &text)?),
            "proto" if text.is_empty() => {}
            "proto" => proto = read_proto(&format!("{WORD}: proto of `{}{}`", cut(name), cut(path)), &text)?,
            "dest" => dest = Some(text).filter(|dest| !dest.is_empty()),
            other => notes.push(format!("{WORD}: `{}` of `{}{}` has no effect", cut(other), cut(name), cut(path))),
        }
    }
    place(Some(path), dest.as_deref(), port, proto, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_ports_and_paths_of_one_container() {
        let text = "
www.example.org:
service.example.org:
  \"/\":
    port: 8000
  /api:
    port: '9000'
    dest: /v2/
    proto: https
  external_https_port: 8448
";
        let mut notes = Vec::new();
        let sites = read(text, &mut notes).unwrap();
        let shown: Vec<String> = sites
            .iter()
            .flat_map(|site| site.places.iter().map(move |place| (site, place)))
            .map(|(site, place)| {
                let path = place.path.as_ref().map_or("everything".to_owned(), ToString::to_string);
                format!("{} {path} {:?} {} {:?}", site.host, place.port, place.proto.as_str(), place.replace)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "www.example.org everything None http None",
                "service.example.org everything Some(8000) http None",
                "service.example.org /api* Some(9000) https Some(\"/v2/\")",
            ]
        );
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("external_https_port has no effect"), "{notes:?}");
    }

    #[test]
    fn json_is_read_as_well() {
        let sites = read(r#"{"a.test": {"/": {"port": 81}}, "b.test": {}}"#, &mut Vec::new()).unwrap();
        assert_eq!(sites.len(), 2);
        assert_eq!(sites[0].places[0].port, Some(81));
        assert_eq!(sites[1].places[0].port, None);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (text, why) in [
            ("a.test: [", "is no YAML"),
            ("- a.test", "no mapping of names"),
            ("a.test: 80", "leads to no mapping"),
            ("a.test: {/: 80}", "no mapping of port"),
            ("a.test: {/: {port: 0}}", "no port"),
            ("a.test: {/: {proto: fastcgi}}", "not spoken"),
            ("'a b': {}", "is no name"),
        ] {
            let refused = read(text, &mut Vec::new()).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
