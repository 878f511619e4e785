//! Who may enter a container's routes: what it asks for, within what `[docker] allow` admits. Never more than that.
//! Where there is no `[docker] allow`, the door's (else the file's) is the limit, which is applied when a request comes.

use ipnet::IpNet;

use super::super::wishes::{Admitted, Wishes};
use crate::config::{AllowEntry, AllowSpec, Config, Located, Span};

/// Whether every network that a container names is in the file; `anyone` is always.
pub(super) fn check(wishes: Wishes, config: &Config) -> Result<Wishes, String> {
    for admitted in wishes.terms.allow.iter().flatten() {
        let Admitted::Named(name) = admitted else { continue };
        if name != "anyone" && !config.networks.iter().any(|network| *network.name.value == **name) {
            let known: Vec<&str> = config.networks.iter().map(|network| &*network.name.value).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let name = super::vocabulary::cut(name);
            return Err(format!("doorward.allow names `{name}`, and [networks] of the file has {known}"));
        }
    }
    Ok(wishes)
}

/// Who may enter, and whether a door's `allow` is a limit on top of it.
pub(super) struct Limits {
    /// The route's `allow`; `None`: nothing is said, the door's counts.
    pub(super) allow: Option<AllowSpec>,
    /// Whether the door (else the file) must admit a client as well.
    pub(super) is_within_door: bool,
}

/// The limits of a route that these containers share: each of them narrows.
pub(super) fn limits(asked: &[&[Admitted]], config: &Config) -> Limits {
    let ceiling = config.docker.as_ref().and_then(|docker| docker.allow.as_ref());
    let mut narrowed: Option<Vec<AllowEntry>> = None;
    for list in asked {
        let entries: Vec<AllowEntry> = list.iter().map(entry).collect();
        narrowed = Some(match narrowed {
            None => entries,
            // The same said twice keeps its names.
            Some(before) if before == entries => before,
            Some(before) => both(&before, &entries, config),
        });
    }
    let allow = match (narrowed, ceiling) {
        (None, None) => return Limits { allow: None, is_within_door: false },
        (None, Some(ceiling)) => ceiling.clone(),
        (Some(entries), None) => spec(entries),
        (Some(entries), Some(ceiling)) => {
            let ceiling: Vec<AllowEntry> = ceiling.entries.iter().map(|entry| entry.value.clone()).collect();
            spec(if ceiling == [AllowEntry::Anyone] { entries } else { both(&ceiling, &entries, config) })
        }
    };
    Limits { allow: Some(allow), is_within_door: ceiling.is_none() }
}

/// The `allow` of a path beside its route's; `None` where it is the same. Where nothing is said of a path, and something
/// of the rest, the path has the door's (else the file's) alone.
pub(super) fn of_path(route: &Limits, path: Limits, is_within_door: &mut bool) -> Option<AllowSpec> {
    if path.allow == route.allow {
        return None;
    }
    *is_within_door |= path.is_within_door || path.allow.is_none();
    Some(path.allow.unwrap_or_else(|| spec(vec![AllowEntry::Anyone])))
}

fn entry(admitted: &Admitted) -> AllowEntry {
    match admitted {
        Admitted::Named(name) if name == "anyone" => AllowEntry::Anyone,
        Admitted::Named(name) => AllowEntry::Network(name.as_str().into()),
        Admitted::Net(net) => AllowEntry::Net(*net),
    }
}

fn spec(entries: Vec<AllowEntry>) -> AllowSpec {
    let entries = entries.into_iter().map(|value| Located { value, span: Span::default(), line: 0 }).collect();
    AllowSpec { entries, line: 0, span: Span::default() }
}

/// What both lists admit. An entry that the other admits whole keeps its name.
fn both(a: &[AllowEntry], b: &[AllowEntry], config: &Config) -> Vec<AllowEntry> {
    let mut out: Vec<AllowEntry> = Vec::new();
    let mut add = |entry: AllowEntry| {
        if !out.contains(&entry) {
            out.push(entry);
        }
    };
    for x in a {
        for y in b {
            match (x, y) {
                (AllowEntry::Anyone, other) | (other, AllowEntry::Anyone) => add(other.clone()),
                (x, y) if x == y => add(x.clone()),
                (x, y) => {
                    let (xs, ys) = (nets(x, config), nets(y, config));
                    if xs.iter().all(|net| ys.iter().any(|other| other.contains(net))) {
                        add(x.clone());
                    } else if ys.iter().all(|net| xs.iter().any(|other| other.contains(net))) {
                        add(y.clone());
                    } else {
                        common(&xs, &ys).into_iter().for_each(|net| add(AllowEntry::Net(net)));
                    }
                }
            }
        }
    }
    out
}

/// Blocks either hold one another or have nothing in common.
fn common(xs: &[IpNet], ys: &[IpNet]) -> Vec<IpNet> {
    let pairs = xs.iter().flat_map(|x| ys.iter().map(move |y| (x, y)));
    pairs
        .filter_map(|(x, y)| match () {
            () if x.contains(y) => Some(*y),
            () if y.contains(x) => Some(*x),
            () => None,
        })
        .collect()
}

fn nets(entry: &AllowEntry, config: &Config) -> Vec<IpNet> {
    match entry {
        AllowEntry::Anyone => Vec::new(),
        AllowEntry::Net(net) => vec![*net],
        AllowEntry::Network(name) => {
            let named = config.networks.iter().find(|network| network.name.value == *name);
            named.map(|network| network.nets.clone()).unwrap_or_default()
        }
    }
}
