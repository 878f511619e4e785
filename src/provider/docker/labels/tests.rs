//! Doorward's labels: the file's words, the file's faults.

use super::super::fixture::running;
use super::*;

fn read_with(settings: &[(&str, &str)]) -> Result<Wishes, String> {
    let domain = HostName::parse("home.test").unwrap();
    read(&running("x", &[], settings), Some(&domain))
}

fn with(label: &str, value: &str) -> Result<Wishes, String> {
    read_with(&[("doorward.route", "photos"), (label, value)])
}

#[test]
fn a_short_name_stands_below_the_domain() {
    let hosts = |route: &str| {
        let wishes = read_with(&[("doorward.route", route)]).unwrap();
        wishes.sites.iter().map(|site| site.host.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(hosts("photos"), ["photos.home.test"]);
    assert_eq!(
        hosts("photos, pics.example.com *.dev.home.test"),
        ["photos.home.test", "pics.example.com", "*.dev.home.test"]
    );
    let container = running("x", &[], &[("doorward.route", "photos")]);
    assert!(read(&container, None).unwrap_err().contains("no `domain`"));
}

#[test]
fn every_label_of_the_table_is_read() {
    let sample = |label: &str| match label {
        "route" => "photos",
        "to" => "https://:8443",
        "path" => "/app/*",
        "strip" | "log_query" | "verify" => "true",
        "public" => "photos.example.com",
        "allow" => "lan, 10.0.0.0/8, 10.1.2.3",
        "hold" | "idle" => "30s",
        "balance" => "sticky",
        "max_body" => "50M",
        "hsts" => "180d",
        "tls_name" => "photos.home.test",
        "pin" => "sha256:0000000000000000000000000000000000000000000000000000000000000001",
        other => panic!("no sample for {other}"),
    };
    let all: Vec<(String, &str)> = LABELS.iter().map(|label| (format!("doorward.{label}"), sample(label))).collect();
    let settings: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let wishes = read_with(&settings).unwrap();
    let place = &wishes.sites[0].places[0];
    assert_eq!((place.port, place.proto, place.replace.as_deref()), (Some(8443), Proto::Https, Some("")));
    assert_eq!(place.path.as_ref().unwrap().to_string(), "/app/*");
    let Terms {
        allow,
        public,
        hold,
        max_body,
        idle,
        hsts,
        log_query,
        tls_name,
        verify,
        pin,
        balance,
        schemes: _,
        cert: _,
    } = wishes.terms;
    assert_eq!(
        (allow.unwrap().len(), public.len(), hold, idle),
        (3, 1, Some(std::time::Duration::from_secs(30)), hold)
    );
    assert_eq!((max_body, hsts.unwrap().as_secs()), (Some(50 << 20), 180 * 86_400));
    assert!(log_query && verify && tls_name.is_some() && pin.is_some());
    assert_eq!(balance, Balance::Sticky);
}

#[test]
fn a_faulty_label_says_which_and_what_to_write() {
    for (label, value, why) in [
        ("doorward.to", "http", "write the container's port"),
        ("doorward.to", "ftp://:21", "write the container's port"),
        ("doorward.to", "+80", "write the container's port"),
        ("doorward.path", "/a*", "write `/app/*`"),
        ("doorward.strip", "true", "means nothing without a doorward.path"),
        ("doorward.strip", "yes", "write true or false"),
        ("doorward.allow", "10.0.0.0/40", "neither a network nor an address"),
        ("doorward.public", "photos", "a full one"),
        ("doorward.hold", "soon", "doorward.hold"),
        ("doorward.max_body", "big", "doorward.max_body"),
        ("doorward.balance", "random", "round-robin"),
        ("doorward.pin", "sha256:1", "64 hex digits"),
        ("doorward.alow", "lan", "did you mean doorward.allow?"),
        ("doorward.port", "80", "did you mean doorward.to?"),
        ("doorward.zebra", "1", "there is no label doorward.zebra"),
    ] {
        let refused = with(label, value).unwrap_err();
        assert!(refused.contains(why), "{label}={value}: {refused}");
    }
    assert!(read_with(&[("doorward.to", "80")]).unwrap_err().contains("no doorward.route"));
    assert!(read_with(&[("doorward.route", "a_b!")]).unwrap_err().contains("is no name"));
}

#[test]
fn an_address_elsewhere_may_be_named() {
    let wishes = with("doorward.to", "http://192.168.8.206:8080").unwrap();
    assert_eq!(wishes.sites[0].places[0].elsewhere.as_ref().unwrap().to_string(), "http://192.168.8.206:8080");
}

#[test]
fn labels_count_before_variables_and_it_is_said() {
    let wishes = read_with(&[("doorward.route", "a"), ("VIRTUAL_HOST", "b.test")]).unwrap();
    assert_eq!((wishes.sites.len(), wishes.notes.len()), (1, 1));
}
