//! NPM's access lists: who they admit, as far as addresses alone say it.
//! A list that asks for anything else admits nobody here, and says why.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::database::{Database, Row};
use crate::import::ImportError;
use crate::import::home::Admission;
use crate::import::text::one_line;

/// The lists by their ids.
pub(super) struct AccessLists(BTreeMap<i64, Result<Admission, String>>);

impl AccessLists {
    pub(super) fn read(database: &Database) -> Result<AccessLists, ImportError> {
        if database.has("access_list")? && !database.has("access_list_auth")? {
            return Err(
                database.torn("it has `access_list` and no `access_list_auth`: who needs a password is not in it")
            );
        }
        let clients = by_list(database.rows("access_list_client")?);
        let users = by_list(database.rows("access_list_auth")?);
        // A fork asks for client certificates.
        let certificates = by_list(database.rows("access_list_clientcas")?);
        let none = Vec::new();
        let mut lists = BTreeMap::new();
        for list in database.rows("access_list")?.iter().filter(|list| !list.is("is_deleted")) {
            let Some(id) = list.number("id") else { continue };
            let of = |rows: &'_ BTreeMap<i64, Vec<Row>>| rows.get(&id).map_or(0, Vec::len);
            let rules = clients.get(&id).unwrap_or(&none);
            let read = read(list, rules, of(&users), of(&certificates));
            lists.insert(id, read);
        }
        Ok(AccessLists(lists))
    }

    /// Who a host with this list admits, or why nobody.
    pub(super) fn admission(&self, id: i64) -> Result<Admission, String> {
        match (id, self.0.get(&id)) {
            (0, _) => Ok(Admission::Anyone),
            (_, Some(list)) => list.clone(),
            // NPM writes `deny all` for a list that is gone.
            (_, None) => Err(format!("its access list (number {id}) is deleted, which admits nobody in NPM either")),
        }
    }
}

fn by_list(rows: Vec<Row>) -> BTreeMap<i64, Vec<Row>> {
    let mut lists: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for row in rows {
        lists.entry(row.number("access_list_id").unwrap_or_default()).or_default().push(row);
    }
    lists
}

fn read(list: &Row, rules: &[Row], users: usize, certificates: usize) -> Result<Admission, String> {
    let title = one_line(&list.text("name"), 60);
    let addresses = admitted(rules);
    if users > 0 || certificates > 0 {
        let asks = match (users, certificates) {
            (1, 0) => "a password (1 user)".to_owned(),
            (_, 0) => format!("a password ({users} users)"),
            (0, _) => "a client certificate".to_owned(),
            _ => "a password and a client certificate".to_owned(),
        };
        let or = if list.is("satify_any") { "either that or an address" } else { "that and an address" };
        let from = match (&addresses, rules.is_empty()) {
            (_, true) => String::new(),
            (Ok(nets), false) => format!(", {or} out of {}", shown(nets)),
            (Err(_), false) => format!(", {or} out of a list"),
        };
        return Err(format!("the access list \"{title}\" asks for {asks}{from}; Doorward has no passwords"));
    }
    match addresses {
        Ok(nets) if nets.iter().filter(|net| net.prefix_len() == 0).count() == 2 => Ok(Admission::Anyone),
        Ok(nets) if nets.is_empty() => Err(format!("the access list \"{title}\" admits nobody")),
        Ok(nets) => Ok(Admission::Nets { title, nets }),
        Err(why) => Err(format!("the access list \"{title}\" {why}")),
    }
}

/// The blocks that the rules admit. nginx asks them in order and the first that fits decides; NPM adds `deny all`.
fn admitted(rules: &[Row]) -> Result<BTreeSet<IpNet>, String> {
    let mut admitted = BTreeSet::new();
    let mut denied: Vec<IpNet> = Vec::new();
    for rule in rules {
        let address = rule.text("address");
        let nets = blocks(&address)
            .ok_or_else(|| format!("has a rule for \"{}\", which is no address", one_line(&address, 60)))?;
        match rule.text("directive").as_str() {
            "deny" => denied.extend(nets),
            "allow" => {
                for net in nets {
                    if denied.iter().any(|denied| denied.contains(&net)) {
                        continue;
                    }
                    if let Some(hole) = denied.iter().find(|denied| net.contains(*denied)) {
                        return Err(format!(
                            "admits {} but turns {} away, and `allow` has no exceptions",
                            word(&net),
                            word(hole)
                        ));
                    }
                    admitted.insert(net);
                }
            }
            other => return Err(format!("has a rule \"{}\", which is not known", one_line(other, 30))),
        }
    }
    Ok(admitted)
}

/// An address, a block, or everything of both kinds.
fn blocks(text: &str) -> Option<Vec<IpNet>> {
    if text == "all" {
        return Some(vec!["0.0.0.0/0".parse().ok()?, "::/0".parse().ok()?]);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(vec![IpNet::from(address.to_canonical())]);
    }
    // nginx ignores the bits behind the prefix.
    text.parse::<IpNet>().ok().map(|net| vec![net.trunc()])
}

fn word(net: &IpNet) -> String {
    match (net.prefix_len(), net.prefix_len() == net.max_prefix_len()) {
        (0, _) => "everybody".to_owned(),
        (_, true) => net.addr().to_string(),
        (_, false) => net.to_string(),
    }
}

fn shown(nets: &BTreeSet<IpNet>) -> String {
    let words: Vec<String> = nets.iter().take(8).map(word).collect();
    match (words.is_empty(), nets.len() > words.len()) {
        (true, _) => "an empty list".to_owned(),
        (false, true) => format!("{}, …", words.join(", ")),
        (false, false) => words.join(", "),
    }
}
