//! Which hosts a set of names covers.

use proptest::prelude::*;

use super::*;

fn names(texts: &[&str]) -> Names {
    let mut names = Names::default();
    for text in texts {
        let _ = names.add_dns(text);
    }
    names
}

#[test]
fn a_wildcard_stands_for_exactly_one_left_most_label() {
    let names = names(&["*.Home.Test", "home.test"]);
    assert!(names.covers("a.home.test"));
    assert!(names.covers("home.test"));
    assert!(!names.covers("a.b.home.test"));
    assert!(!names.covers(".home.test"));
    assert!(!names.covers("ahome.test"));
    assert!(!names.covers("test"));
    assert!(!names.covers(""));
}

#[test]
fn a_wildcard_alone_does_not_cover_its_parent() {
    assert!(!names(&["*.home.test"]).covers("home.test"));
}

#[test]
fn stars_anywhere_else_cover_nothing() {
    let names = names(&["a*.home.test", "a.*.test", "*", "*.*.test", "**.home.test"]);
    assert!(names.listed().is_empty());
    assert!(!names.covers("ab.home.test"));
}

#[test]
fn an_address_is_covered_by_itself_and_by_no_wildcard() {
    let mut names = names(&["*.168.8.1", "192.168.8.1"]);
    assert!(!names.covers("192.168.8.1"));
    names.add_address("192.168.8.1".parse().unwrap());
    names.add_address("fd00::1".parse().unwrap());
    assert!(names.covers("192.168.8.1"));
    assert!(names.covers("[fd00::1]"));
    assert!(!names.covers("192.168.8.2"));
}

#[test]
fn names_are_listed_once_in_the_order_of_the_certificate() {
    let names = names(&["z.test", "*.a.test", "Z.test", "a.test"]);
    let listed: Vec<&str> = names.listed().iter().map(|name| &**name).collect();
    assert_eq!(listed, ["z.test", "*.a.test", "a.test"]);
}

/// The rule again, label by label.
fn covers_by_labels(names: &[String], host: &str) -> bool {
    let host: Vec<&str> = host.split('.').collect();
    names.iter().any(|name| {
        let name: Vec<&str> = name.split('.').collect();
        name.len() == host.len()
            && name.iter().zip(&host).enumerate().all(|(at, (n, h))| n == h || (at == 0 && *n == "*"))
    })
}

proptest! {
    #[test]
    fn coverage_is_the_rule_applied_label_by_label(
        given in prop::collection::vec("(\\*\\.)?[ab]{1,2}(\\.[ab]{1,2}){0,2}", 0..8),
        host in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
    ) {
        let texts: Vec<&str> = given.iter().map(String::as_str).collect();
        prop_assert_eq!(names(&texts).covers(&host), covers_by_labels(&given, &host));
    }

    #[test]
    fn any_text_at_all_is_taken_or_refused_in_peace(text in ".{0,300}", host in ".{0,300}") {
        let mut names = Names::default();
        let _ = names.add_dns(&text);
        names.covers(&host);
    }
}
