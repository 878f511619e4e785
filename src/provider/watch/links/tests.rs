//! Which places decide what a path leads to.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::tests::Folder;
use super::*;

#[test]
fn every_link_on_the_way_is_a_place() {
    let folder = Folder::new();
    let root = fs::canonicalize(&folder.0).unwrap();
    fs::create_dir(root.join("v1")).unwrap();
    fs::write(root.join("v1/cert"), "x").unwrap();
    symlink("v1", root.join("..data")).unwrap();
    symlink("..data/cert", root.join("cert")).unwrap();
    let places = places(&[root.join("cert")]);
    for place in ["cert", "..data", "v1", "v1/cert"] {
        assert!(places.contains(&root.join(place)), "{place}: {places:?}");
    }
}

#[test]
fn absolute_and_upward_links_are_followed() {
    let folder = Folder::new();
    let root = fs::canonicalize(&folder.0).unwrap();
    fs::create_dir_all(root.join("store/x")).unwrap();
    fs::create_dir_all(root.join("etc/doorward")).unwrap();
    symlink(root.join("store"), root.join("etc/absolute")).unwrap();
    symlink("../absolute/x/../routes", root.join("etc/doorward/routes.toml")).unwrap();
    let places = places(&[root.join("etc/doorward/routes.toml")]);
    for place in ["etc/doorward/routes.toml", "etc/absolute", "store/routes"] {
        assert!(places.contains(&root.join(place)), "{place}: {places:?}");
    }
}

#[test]
fn a_circle_of_links_and_a_path_that_is_not_there_come_to_an_end() {
    let folder = Folder::new();
    symlink("b", folder.0.join("a")).unwrap();
    symlink("a", folder.0.join("b")).unwrap();
    assert!(places(&[folder.0.join("a")]).len() < 100);
    assert!(places(&[folder.0.join("no/such/file")]).iter().any(|place| place.ends_with("no/such/file")));
}
