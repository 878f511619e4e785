//! Where a path really leads: every link on the way is a place where its content can be exchanged.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Most links that are followed on one path: the kernel's own bound.
const LINK_LIMIT: usize = 40;

/// Every place whose exchange changes one of these files: each link on the way, the file at the end, and the folder that
/// holds each of them. Sorted, absolute; a place need not exist.
pub(super) fn places(files: &[PathBuf]) -> Vec<PathBuf> {
    let mut places = BTreeSet::new();
    for file in files {
        for hop in hops(file) {
            if let Some(folder) = hop.parent().filter(|folder| folder.parent().is_some()) {
                places.insert(folder.to_owned());
            }
            places.insert(hop);
        }
    }
    places.into_iter().collect()
}

/// The links on the way and the end of it, each with no link in the folders before it.
fn hops(file: &Path) -> Vec<PathBuf> {
    let Ok(file) = std::path::absolute(file) else { return Vec::new() };
    let mut hops = Vec::new();
    let mut ahead = parts(&file);
    let mut here = PathBuf::from("/");
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        match next.read_link() {
            Ok(target) if hops.len() < LINK_LIMIT => {
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                let mut route = parts(&target);
                route.append(&mut ahead);
                ahead = route;
                hops.push(next);
            }
            _ => here = next,
        }
    }
    hops.push(here);
    hops
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

#[cfg(test)]
mod tests;
