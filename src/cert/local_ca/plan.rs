//! Which names go into which certificate of the local CA, and which domains the CA must be able to sign for. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::names::{is_numeric, parent};
use crate::model::HostPattern;

/// Most names in one certificate: some clients stop reading long before the format does.
pub(super) const NAMES_PER_LEAF: usize = 100;

/// One certificate to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Leaf {
    /// What it is known by on disk; the same for the same part of the file, so that it is found again.
    pub(super) key: String,
    /// Its names, sorted, at least one, at most [`NAMES_PER_LEAF`].
    pub(super) names: Vec<String>,
}

/// Groups names by their parent: `*.d` and `d` where a wildcard was asked for or several names share `d`, else the names
/// themselves. Names that no certificate can carry (`*`, addresses) are left out.
pub(super) fn leaves(names: &[HostPattern]) -> Vec<Leaf> {
    let mut exact = BTreeSet::new();
    let mut domains = BTreeSet::new();
    for pattern in names {
        match pattern {
            HostPattern::Exact(name) if !is_numeric(name.as_str()) => drop(exact.insert(name.as_str())),
            HostPattern::Wildcard(name) if !is_numeric(name.as_str()) => drop(domains.insert(name.as_str())),
            HostPattern::Exact(_)
            | HostPattern::Wildcard(_)
            | HostPattern::Trailing(_)
            | HostPattern::Regex(_)
            | HostPattern::Any => {}
        }
    }
    let mut children: BTreeMap<&str, usize> = BTreeMap::new();
    for name in &exact {
        *children.entry(parent(name).unwrap_or_default()).or_default() += 1;
    }
    domains.extend(
        children.iter().filter(|&(domain, &count)| count > 1 && may_be_widened(domain)).map(|(domain, _)| *domain),
    );

    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for domain in &domains {
        // Clients refuse `*.home`, and some the whole certificate with it, so it stands alone.
        let group = groups.entry(format!("*.{domain}")).or_default();
        group.insert(format!("*.{domain}"));
        if domain.contains('.') {
            group.insert((*domain).to_owned());
        } else {
            exact.insert(domain);
        }
    }
    for name in exact {
        let shared = parent(name).is_some_and(|parent| parent.contains('.') && domains.contains(parent));
        let is_domain = name.contains('.') && domains.contains(name);
        if !shared && !is_domain {
            groups.entry(parent(name).unwrap_or_default().to_owned()).or_default().insert(name.to_owned());
        }
    }
    groups.into_iter().flat_map(|(group, names)| cut(&group, names)).collect()
}

fn cut(group: &str, names: BTreeSet<String>) -> Vec<Leaf> {
    let names: Vec<String> = names.into_iter().collect();
    let parts = names.chunks(NAMES_PER_LEAF).enumerate();
    parts.map(|(part, names)| Leaf { key: format!("{group}#{part}"), names: names.to_vec() }).collect()
}

/// The domains a CA must be allowed for these certificates: the shortest list, sorted.
pub(super) fn bases(leaves: &[Leaf]) -> Vec<String> {
    let names = leaves.iter().flat_map(|leaf| &leaf.names);
    let all: BTreeSet<&str> = names.map(|name| name.strip_prefix("*.").unwrap_or(name)).collect();
    let below_another = |name: &str| {
        let mut above = parent(name);
        while let Some(domain) = above {
            if all.contains(domain) {
                return true;
            }
            above = parent(domain);
        }
        false
    };
    all.iter().filter(|name| !below_another(name)).map(|name| (*name).to_owned()).collect()
}

/// Whether a CA that may sign for `bases` may sign for `name`.
pub(super) fn is_permitted(name: &str, bases: &[String]) -> bool {
    bases.iter().any(|base| name.strip_suffix(base.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.')))
}

/// Whether two names below a domain are reason enough to ask for all of it. Not for a bare top level, and not for two
/// labels of the public DNS: that may be `co.uk` or `duckdns.org`, and a CA of ours has no business there.
fn may_be_widened(domain: &str) -> bool {
    const PRIVATE: [&str; 14] = [
        "arpa",
        "corp",
        "example",
        "home",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localdomain",
        "localhost",
        "private",
        "test",
        "alt",
    ];
    match domain.matches('.').count() {
        0 => false,
        1 => domain.rsplit('.').next().is_some_and(|top| PRIVATE.contains(&top)),
        _ => true,
    }
}
