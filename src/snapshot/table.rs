//! Host to route: exact, then the longest wildcard, then what only containers write (the longest trailing wildcard, the first
//! regular expression), then the catch-all. One hash of the name in the common case.

use std::collections::HashMap;
use std::sync::Arc;

use super::route::Route;
use crate::model::HostPattern;

type ByName = HashMap<Arc<str>, Arc<Route>, ahash::RandomState>;

/// The routes of a snapshot by name.
#[derive(Debug, Default)]
pub struct RouteTable {
    local: ByName,
    public: ByName,
    wildcard: ByName,
    trailing: ByName,
    regexes: Vec<Arc<Route>>,
    any: Option<Arc<Route>>,
    all: Vec<Arc<Route>>,
}

/// A route, and whether it is the catch-all: that one was not asked for by name.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// Whether only `"*"` matched.
    pub is_any: bool,
}

impl RouteTable {
    /// A table of routes whose names are unique (the file was checked).
    pub fn new(routes: Vec<Arc<Route>>) -> RouteTable {
        let mut table = RouteTable::default();
        for route in &routes {
            match &route.host {
                HostPattern::Exact(name) => {
                    table.local.insert(name.shared(), Arc::clone(route));
                }
                HostPattern::Wildcard(suffix) => {
                    table.wildcard.insert(suffix.shared(), Arc::clone(route));
                }
                HostPattern::Trailing(head) => {
                    table.trailing.insert(head.shared(), Arc::clone(route));
                }
                HostPattern::Regex(_) => table.regexes.push(Arc::clone(route)),
                HostPattern::Any => table.any = Some(Arc::clone(route)),
            }
            for name in &route.public {
                table.public.insert(name.shared(), Arc::clone(route));
            }
        }
        table.all = routes;
        table
    }

    /// The route of a name (lower case, no trailing dot, no port). On a door with `names = "public"` only public names
    /// exist, neither wildcards nor the catch-all.
    pub fn find(&self, host: &str, public_names: bool) -> Option<Found<'_>> {
        if public_names {
            return self.public.get(host).map(|route| Found { route, is_any: false });
        }
        if let Some(route) = self.local.get(host) {
            return Some(Found { route, is_any: false });
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(route) = self.wildcard.get(parent) {
                    return Some(Found { route, is_any: false });
                }
                rest = parent;
            }
        }
        let odd = self.find_odd(host).map(|route| Found { route, is_any: false });
        odd.or_else(|| self.any.as_ref().map(|route| Found { route, is_any: true }))
    }

    /// What no file has: most tables end here at once.
    fn find_odd(&self, host: &str) -> Option<&Arc<Route>> {
        if !self.trailing.is_empty() {
            let mut head = host;
            while let Some((shorter, _)) = head.rsplit_once('.') {
                if let Some(route) = self.trailing.get(shorter) {
                    return Some(route);
                }
                head = shorter;
            }
        }
        self.regexes.iter().find(|route| route.host.matches(host))
    }

    /// Every route, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
