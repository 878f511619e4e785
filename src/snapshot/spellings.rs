//! Other ways to write a path that matching holds equal: what an attacker tries, and what a promise has to hold for too.
//! Generated, not complete: one of each kind at each place. Every one of them is equal by `normalise`, else it is left out.

use crate::model::normalise;

/// Segments of a path in which spellings are tried; longer paths are tried in their first ones.
const SEGMENTS: usize = 16;

/// The path as written first, then other spellings of it, none twice. `detours` are paths that are walked into and out of
/// again.
pub fn spellings(path: &str, detours: &[&str]) -> Vec<String> {
    let plain = normalise(path).into_owned();
    let mut found = vec![path.to_owned()];
    let mut add = |candidate: String| {
        let is_sendable = candidate.starts_with('/') && candidate.bytes().all(|byte| byte.is_ascii_graphic());
        if is_sendable && normalise(&candidate) == plain && !found.contains(&candidate) {
            found.push(candidate);
        }
    };
    add(plain.clone());
    let slashes: Vec<usize> = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at).collect();
    for &at in slashes.iter().take(SEGMENTS) {
        let (before, after) = path.split_at(at);
        let after = after.strip_prefix('/').unwrap_or_default();
        for slash in ["//", "/./", "/-/../", "/-/%2e%2E/", "/%2e/", "/;-/", "\\", "%2f", "%2F", "%5C", "/-/..;-/"] {
            add(format!("{before}{slash}{after}"));
        }
        add(format!("{before};-/{after}"));
        if let Some(letter) = after.chars().next().filter(char::is_ascii_alphanumeric) {
            let rest = &after[1..];
            let code = letter as u32;
            add(format!("{before}/%{code:02x}{rest}"));
            add(format!("{before}/%{code:02X}{rest}"));
        }
    }
    add(format!("{path};-"));
    add(swapped_case(path));
    add(wholly_encoded(&plain));
    for detour in detours {
        let depth = detour.bytes().filter(|&byte| byte == b'/').count();
        add(format!("{detour}{}{path}", "/..".repeat(depth)));
    }
    found
}

/// `%2F` for `%2f` and the other way round.
fn swapped_case(path: &str) -> String {
    let mut left = 0_u8;
    let swap = |c: char| {
        let is_digit = left > 0;
        left = if c == '%' { 2 } else { left.saturating_sub(1) };
        match c {
            c if !is_digit => c,
            c if c.is_ascii_lowercase() => c.to_ascii_uppercase(),
            c => c.to_ascii_lowercase(),
        }
    };
    path.chars().map(swap).collect()
}

/// Every byte but the slashes as `%xx`.
fn wholly_encoded(path: &str) -> String {
    path.bytes().map(|byte| if byte == b'/' { "/".to_owned() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_written_form_comes_first_and_the_usual_tricks_follow() {
        let all = spellings("/admin/users", &["/public"]);
        assert_eq!(all[0], "/admin/users");
        for trick in [
            "//admin/users",
            "/admin//users",
            "/admin/./users",
            "/-/../admin/users",
            "/admin;-/users",
            "/admin%2fusers",
            "/admin\\users",
            "/%61dmin/users",
            "/%61%64%6D%69%6E/%75%73%65%72%73",
            "/public/../admin/users",
        ] {
            assert!(all.iter().any(|spelling| spelling == trick), "{trick} in {all:?}");
        }
    }

    #[test]
    fn a_path_that_is_written_oddly_is_tried_as_it_is_and_in_its_normal_form() {
        let all = spellings("/a%2Fb", &[]);
        assert_eq!(all[..2], ["/a%2Fb", "/a/b"]);
        assert!(all.contains(&"/a%2fb".to_owned()), "{all:?}");
    }

    proptest! {
        #[test]
        fn every_spelling_is_one_of_the_same_path(path in "(/[a-zA-Z0-9%.;~-]{0,6}){1,4}") {
            for spelling in spellings(&path, &["/x/y"]) {
                prop_assert_eq!(normalise(&spelling), normalise(&path), "{}", spelling);
            }
        }
    }
}
