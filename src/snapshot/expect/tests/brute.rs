//! Promises against brute force: files made at random, and of each the verdict on a promise beside what every address of a
//! small world gets, in spellings that are made another way than the promise makes them.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::model::normalise;

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.throw(of.len())]
    }

    fn block(&mut self) -> String {
        match self.throw(4) {
            0 => {
                let length = 124 + self.throw(5);
                let size = 1 << (128 - length);
                format!("fd00::{:x}/{length}", self.throw(16) / size * size)
            }
            1 => format!("10.0.0.{}", self.throw(32)),
            _ => {
                let length = 27 + self.throw(6);
                let size = 1 << (32 - length);
                format!("10.0.0.{}/{length}", self.throw(32) / size * size)
            }
        }
    }

    fn list(&mut self, most: usize) -> String {
        let entries: Vec<String> = (0..self.throw(most + 1))
            .map(|_| match self.throw(6) {
                0 => "anyone".to_owned(),
                1 | 2 => self.one(&["lan", "guest"]).to_owned(),
                _ => self.block(),
            })
            .collect();
        entries.iter().fold(String::new(), |list, entry| format!("{list}\"{entry}\", "))
    }

    /// A path that matching holds equal, if the throw is lucky; else the path itself.
    fn spelled(&mut self, path: &str) -> String {
        let mut out = String::new();
        for c in path.chars() {
            match c {
                '/' => {
                    let slash =
                        self.one(&["/", "/", "/", "//", "/./", "/q/../", "%2f", "\\", "/;x/", "/%2E/", "/q/%2e%2e/"]);
                    out.push_str(slash);
                }
                c if c.is_ascii_alphanumeric() && self.throw(4) == 0 => {
                    let _ = if self.throw(2) == 0 {
                        write!(out, "%{:02x}", c as u32)
                    } else {
                        write!(out, "%{:02X}", c as u32)
                    };
                }
                c => out.push(c),
            }
        }
        let is_equal = out.starts_with('/') && normalise(&out) == normalise(path);
        if is_equal { out } else { path.to_owned() }
    }
}

const PATHS: &[&str] = &["/", "/x", "/x/", "/x/y", "/x/y/z", "/pub", "/pub/x", "/a%2fb", "/X", "/xy"];

fn file(dice: &mut Dice) -> String {
    let lists: Vec<String> = (0..10).map(|_| dice.list(3)).collect();
    let blocks: Vec<String> = (0..4).map(|_| dice.block()).collect();
    let optional = |dice: &mut Dice, line: String| if dice.throw(2) == 0 { line } else { String::new() };
    let mut text = format!(
        "domain = \"home.test\"\nallow = [{}]\nnetworks = {{ lan = [\"{}\", \"{}\"], guest = [\"{}\", \"{}\"] }}\n",
        lists[0], blocks[0], blocks[1], blocks[2], blocks[3]
    );
    text += "[listen.main]\nhttps = \":443\"\nhttp = \":80\"\n";
    text += &optional(dice, format!("allow = [{}]\n", lists[1]));
    text += "[listen.back]\nhttp = \":81\"\n";
    text += &optional(dice, format!("allow = [{}]\n", lists[2]));
    text += &optional(dice, format!("peers = [{}]\n", lists[3]));
    text += "[listen.inner]\nhttp = \":82\"\n";
    text += &optional(dice, "trust = [\"10.0.0.1\"]\n".to_owned());
    text += "[listen.tunnel]\nhttp = \":83\"\nnames = \"public\"\ntrust = \"cloudflared\"\n";
    text += &optional(dice, format!("allow = [{}]\n", lists[4]));
    text += "[routes.app]\nto = \"http://10.9.0.1\"\npublic = \"app.example\"\n";
    text += &optional(dice, format!("allow = [{}]\n", lists[5]));
    text += "[routes.app.paths]\n";
    for (nth, pattern) in ["/x/*", "/x/y", "/pub/*", "/a/b", "/*"].into_iter().enumerate() {
        let allow = optional(dice, format!("allow = [{}]", lists[6 + nth % 4]));
        match dice.throw(5) {
            0 => {}
            1 => text += &format!("\"{pattern}\" = {{ redirect = \"/elsewhere\"{} }}\n", comma(&allow)),
            2 => text += &format!("\"{pattern}\" = {{ text = \"said\"{} }}\n", comma(&allow)),
            3 => text += &format!("\"{pattern}\" = {{ to = \"http://10.9.0.2\"{} }}\n", comma(&allow)),
            _ if allow.is_empty() => {}
            _ => text += &format!("\"{pattern}\" = {{ {allow} }}\n"),
        }
    }
    text += &format!("[routes.wiki]\nto = \"http://10.9.0.3\"\nallow = [{}]\n", lists[9]);
    text += &optional(dice, "[routes.\"*.home.test\"]\nto = \"http://10.9.0.4\"\n".to_owned());
    text
}

fn comma(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(", {text}") }
}

fn promise(dice: &mut Dice) -> String {
    let mut text = "[[expect]]\n".to_owned();
    match dice.throw(6) {
        0 => {}
        1 => text += "from = \"anyone\"\n",
        2 => text += &format!("from = \"10.0.0.{}\"\n", dice.throw(32)),
        _ => text += &format!("from = \"{}\"\n", dice.one(&["lan", "guest"])),
    }
    if dice.throw(3) == 0 {
        text += &format!("via = \"{}\"\n", dice.one(&["main", "back", "inner", "tunnel"]));
    }
    let host = dice.one(&[
        "app.home.test",
        "app.home.test",
        "app.example",
        "wiki.home.test",
        "none.home.test",
        "*.home.test",
        "*.home.test",
        "*.example",
        "*.none.home.test",
        "*",
    ]);
    let is = dice.one(&["denied", "denied", "denied", "app", "app", "wiki", "unknown host", "redirect", "answer"]);
    let scheme = dice.one(&["https", "http"]);
    let path =
        if dice.throw(3) == 0 { dice.one(&["/*", "/*", "/x/*", "/x/y/*", "/pub/*", "/a/*"]) } else { dice.one(PATHS) };
    text + &format!("url = \"{scheme}://{host}{path}\"\nis = \"{is}\"\n")
}

/// Everybody there is: two blocks of addresses, some far away, and who has none.
fn everybody() -> Vec<Client> {
    let near = (0..40).map(|low| IpAddr::V4(Ipv4Addr::new(10, 0, 0, low)));
    let six = (0..20).map(|low| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, low)));
    let far = ["0.0.0.0", "9.255.255.255", "203.0.113.77", "255.255.255.255", "::", "2001:db8::77", "ffff::ffff"];
    let far = far.into_iter().map(|text| text.parse::<IpAddr>().unwrap());
    near.chain(six).chain(far).map(Client::at).chain([Client::Unknown]).collect()
}

/// Whether somebody is spoken of by a promise on a door.
fn is_meant(snapshot: &Snapshot, expect: &ExpectSpec, listener: &Listener, host: &str, client: Client) -> bool {
    if client == Client::Unknown && listener.door.trust == Trust::Nobody {
        return false;
    }
    match expect.from.as_ref().map(|from| &from.value) {
        Some(FromSpec::Address(address)) => client == Client::at(*address),
        Some(FromSpec::Network(name)) if &**name == "anyone" => true,
        Some(FromSpec::Network(name)) => snapshot.networks.names_of(client).any(|of| of == &**name),
        None => {
            let route = snapshot.routes.find(host, listener.door.public_names).map(|found| found.route);
            let in_a_list = |at: IpAddr| {
                let blocks = blocks_that_count(snapshot, listener, route);
                blocks.iter().any(|block| block.prefix_len() > 0 && block.contains(&at))
            };
            !snapshot.networks.knows(client) && !client.address().is_some_and(in_a_list)
        }
    }
}

/// Every path that a promise speaks of, in a small world.
fn paths_meant(expect: &ExpectSpec) -> Vec<String> {
    const MORE: [&str; 14] = [
        "/x/q", "/x/q/", "/x/y/", "/x/y/q", "/pub/", "/pub/q/r", "/a", "/a/", "/a/b", "/a/b/", "/a/bc", "/q", "/q/x",
        "/xy/",
    ];
    let url = &expect.url.value;
    if !url.below {
        return vec![url.path.clone()];
    }
    let is_below =
        |path: &&&str| path.strip_prefix(&*url.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // What is written oddly may be refused; it is among the spellings of the others.
    let plain = PATHS.iter().chain(&MORE).filter(|path| !path.contains('%'));
    plain.filter(is_below).map(|path| (*path).to_owned()).collect()
}

/// The first way in which a promise is seen not to hold. `paths`: of each path its spellings, the plain one first.
fn seen_broken(snapshot: &Snapshot, expect: &ExpectSpec, paths: &[Vec<String>]) -> Option<String> {
    const NAMES: [&str; 8] = [
        "app.home.test",
        "wiki.home.test",
        "none.home.test",
        "a.none.home.test",
        "a.b.app.home.test",
        "app.example",
        "no.example",
        "elsewhere",
    ];
    let pattern = &expect.url.value.host;
    let mut is_known = false;
    for host in NAMES.into_iter().filter(|name| pattern.matches(name)) {
        let listeners = listeners_meant(snapshot, expect, host);
        is_known |= !listeners.is_empty();
        let seen = listeners.into_iter().find_map(|listener| {
            paths.iter().find_map(|spelled| seen_broken_at(snapshot, expect, listener, host, spelled))
        });
        if seen.is_some() {
            return seen;
        }
    }
    (!is_known && expect.is.value != ExpectedSpec::UnknownHost).then(|| "no door".to_owned())
}

fn listeners_meant<'s>(snapshot: &'s Snapshot, expect: &ExpectSpec, host: &str) -> Vec<&'s Listener> {
    let knows = |listener: &&Listener| match &expect.via {
        Some(via) => via.value == listener.door.name,
        None => snapshot.routes.find(host, listener.door.public_names).is_some(),
    };
    // `main` speaks both schemes and is asked in the one of the URL; the others have one.
    let speaks =
        |listener: &&Listener| &*listener.door.name != "main" || (listener.mode == Mode::Tls) == expect.url.value.https;
    snapshot.listeners.iter().filter(knows).filter(speaks).collect()
}

fn seen_broken_at(
    snapshot: &Snapshot,
    expect: &ExpectSpec,
    listener: &Listener,
    host: &str,
    spelled: &[String],
) -> Option<String> {
    for client in everybody().into_iter().filter(|&client| is_meant(snapshot, expect, listener, host, client)) {
        for (nth, path) in spelled.iter().enumerate() {
            let facts = Facts {
                listener,
                peer: client.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                client,
                host,
                path,
                is_covered: true,
            };
            let decision = decide(snapshot, &facts);
            let outcome = match decision.verdict {
                _ if is_turned_away(listener, client) => "denied",
                Verdict::Refuse(Refusal::AccessDenied | Refusal::BadPath) => "denied",
                Verdict::Refuse(_) => "unknown",
                Verdict::Redirect(_) | Verdict::ToHttps(_) => "redirect",
                Verdict::Answer(_) => "answer",
                Verdict::Forward(target, _) => target.upstream.name(),
            };
            let holds = match &expect.is.value {
                ExpectedSpec::Denied => outcome == "denied",
                ExpectedSpec::UnknownHost => {
                    outcome == "unknown"
                        || (outcome == "denied" && decision.route.is_none() && !is_turned_away(listener, client))
                }
                ExpectedSpec::Redirect => outcome == "redirect" || (outcome == "denied" && nth > 0),
                ExpectedSpec::Answer => outcome == "answer" || (outcome == "denied" && nth > 0),
                ExpectedSpec::Upstream(name) => outcome == &**name || (outcome == "denied" && nth > 0),
            };
            if !holds {
                return Some(format!("{client:?} at `{}` asks for {path}: {outcome}", listener.door.name));
            }
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn what_is_promised_is_what_everybody_gets_in_every_spelling(seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let text = file(&mut dice) + &promise(&mut dice);
        with(&text, |snapshot, config| {
            let expect = &config.expects[0];
            let mut spelled = |path: String| {
                let others: Vec<String> = (0..6).map(|_| dice.spelled(&path)).collect();
                // What is written oddly has a plain spelling, which no throw finds.
                let plain = normalise(&path).into_owned();
                [path, plain].into_iter().chain(others).collect()
            };
            let paths: Vec<Vec<String>> = paths_meant(expect).into_iter().map(&mut spelled).collect();
            let told = broken_promises(snapshot, &config.expects).into_iter().next().map(|broken| broken.found);
            let seen = seen_broken(snapshot, expect, &paths);
            prop_assert_eq!(told.is_some(), seen.is_some(), "told {:?}, seen {:?}\n{}", told, seen, text);
            Ok(())
        })?;
    }
}
