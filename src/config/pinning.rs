//! Writes a `pin` into the text of a file: comments, layout and everything else stay as they are.
//! Text in, text out; whoever asks reads the file before and checks it after.

use toml_edit::{Decor, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// Whose certificate is pinned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PinPlace {
    /// `[upstreams.<name>]`.
    Upstream(String),
    /// `[routes.<name>]`, whose `to` is an address.
    Route(String),
    /// A path of a route whose `to` is an address: it becomes an upstream of this name, since a path has no `pin`.
    Path {
        /// The route.
        route: String,
        /// The key in `paths`.
        path: String,
        /// The name of the upstream to make.
        upstream: String,
    },
}

/// The text with `pin` in place of `verify`, `ca` or an older pin; `None` if the place is not in it as expected.
pub fn write_pin(text: &str, place: &PinPlace, pin: &str) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let root: &mut dyn TableLike = document.as_table_mut();
    match place {
        PinPlace::Upstream(name) => pin_entry(below(root, "upstreams")?.get_mut(name)?, pin)?,
        PinPlace::Route(name) => pin_entry(below(root, "routes")?.get_mut(name)?, pin)?,
        PinPlace::Path { route, path, upstream } => {
            let entry = below(below(below(root, "routes")?, route)?, "paths")?.get_mut(path)?;
            let to = lead_to(entry, upstream)?;
            let upstreams = root.entry("upstreams").or_insert_with(|| {
                let mut table = Table::new();
                table.set_implicit(true);
                Item::Table(table)
            });
            insert_upstream(upstreams, upstream, &to, pin)?;
        }
    }
    Some(document.to_string())
}

fn below<'a>(table: &'a mut dyn TableLike, name: &str) -> Option<&'a mut dyn TableLike> {
    table.get_mut(name)?.as_table_like_mut()
}

/// An entry that is an address alone becomes a table of two keys on the same line.
fn pin_entry(entry: &mut Item, pin: &str) -> Option<()> {
    if let Some(to) = entry.as_str().map(str::to_owned) {
        let value = entry.as_value_mut()?;
        let decor = value.decor().clone();
        let mut table = InlineTable::new();
        table.insert("to", to.into());
        table.insert("pin", pin.into());
        *value = Value::InlineTable(table);
        *value.decor_mut() = decor;
        return Some(());
    }
    let table = entry.as_table_like_mut()?;
    if let Some(old) = table.get_mut("pin") {
        let value = old.as_value_mut()?;
        let decor = value.decor().clone();
        *value = pin.into();
        *value.decor_mut() = decor;
        return Some(());
    }
    // What is said above and beside the line that goes is somebody's, and not ours to throw away.
    let (mut above, mut beside) = (None, None);
    for judge in ["verify", "ca"] {
        if let Some(prefix) = table.key(judge).and_then(|key| key.leaf_decor().prefix()?.as_str().map(str::to_owned)) {
            above = Some(prefix).filter(|prefix| prefix.contains('#')).or(above);
        }
        let removed = table.remove(judge).and_then(|item| item.into_value().ok());
        let suffix = removed.and_then(|value| value.decor().suffix()?.as_str().map(str::to_owned));
        beside = suffix.filter(|suffix| suffix.contains('#')).or(beside);
    }
    let mut value = Value::from(pin);
    if let Some(beside) = beside {
        *value.decor_mut() = Decor::new(" ", beside);
    }
    table.insert("pin", Item::Value(value));
    if let (Some(above), Some(mut key)) = (above, table.key_mut("pin")) {
        key.leaf_decor_mut().set_prefix(above);
    }
    Some(())
}

/// Makes a path lead to an upstream by name; the address that it had.
fn lead_to(entry: &mut Item, upstream: &str) -> Option<String> {
    let value = match entry.as_str().is_some() {
        true => entry,
        false => entry.as_table_like_mut()?.get_mut("to")?,
    };
    let to = value.as_str()?.to_owned();
    let value = value.as_value_mut()?;
    let decor = value.decor().clone();
    *value = upstream.into();
    *value.decor_mut() = decor;
    Some(to)
}

fn insert_upstream(upstreams: &mut Item, name: &str, to: &str, pin: &str) -> Option<()> {
    if let Some(table) = upstreams.as_table_mut() {
        let mut entry = Table::new();
        entry.insert("to", Item::Value(to.into()));
        entry.insert("pin", Item::Value(pin.into()));
        table.insert(name, Item::Table(entry));
        return Some(());
    }
    let mut entry = InlineTable::new();
    entry.insert("to", to.into());
    entry.insert("pin", pin.into());
    upstreams.as_table_like_mut()?.insert(name, Item::Value(Value::InlineTable(entry)));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIN: &str = "sha256:aa";

    fn route(text: &str) -> String {
        write_pin(text, &PinPlace::Route("unifi".to_owned()), PIN).unwrap()
    }

    #[test]
    fn only_the_line_of_the_pin_changes() {
        let text = "# top\n\n[routes]   # all\na = \"http://b\" # one\n\n[routes.unifi]  # self-signed\nto  = \"https://c\"\npin = \"sha256:00\"   # was\n\n# end\n";
        assert_eq!(route(text), text.replace("sha256:00", PIN));
    }

    #[test]
    fn a_pin_takes_the_place_of_what_judged_before() {
        let text = "[routes.unifi]\nto = \"https://c\" # there\n# not yet\nverify = false # careful\nhold = \"5s\"\n";
        assert_eq!(
            route(text),
            "[routes.unifi]\nto = \"https://c\" # there\nhold = \"5s\"\n# not yet\npin = \"sha256:aa\" # careful\n"
        );
        let text = "routes.unifi = { to = \"https://c\", ca = \"x\" } # one line\n";
        assert_eq!(route(text), "routes.unifi = { to = \"https://c\", pin = \"sha256:aa\" } # one line\n");
    }

    #[test]
    fn an_address_alone_becomes_a_table_on_its_line() {
        let text = "[routes]\nunifi = \"https://c\"   # there\nb = \"x\"\n";
        let made = "[routes]\nunifi = { to = \"https://c\", pin = \"sha256:aa\" }   # there\nb = \"x\"\n";
        assert_eq!(route(text), made);
    }

    #[test]
    fn a_path_gets_an_upstream_of_its_own() {
        let place = PinPlace::Path { route: "a".into(), path: "/x/*".into(), upstream: "a-x".into() };
        for (before, after) in [
            (
                "[routes.a]\nto = \"http://b\"\n[routes.a.paths]\n\"/x/*\" = \"https://c\" # x\n",
                "[routes.a]\nto = \"http://b\"\n[routes.a.paths]\n\"/x/*\" = \"a-x\" # x\n\n[upstreams.a-x]\nto = \"https://c\"\npin = \"sha256:aa\"\n",
            ),
            (
                "upstreams = { b = \"http://b\" }\nroutes.a.paths.\"/x/*\" = { to = \"https://c\", strip = true }\n",
                "upstreams = { b = \"http://b\" , a-x = { to = \"https://c\", pin = \"sha256:aa\" } }\nroutes.a.paths.\"/x/*\" = { to = \"a-x\", strip = true }\n",
            ),
        ] {
            let made = write_pin(before, &place, PIN).unwrap();
            assert_eq!(made.parse::<DocumentMut>().unwrap().to_string(), made);
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(squeezed(&made), squeezed(after));
        }
    }

    #[test]
    fn what_is_not_there_is_not_made() {
        for text in ["", "[routes]\n", "[routes]\nunifi = 7\n", "routes = 1\n", "[routes\n"] {
            assert_eq!(write_pin(text, &PinPlace::Route("unifi".to_owned()), PIN), None, "{text}");
        }
    }
}
