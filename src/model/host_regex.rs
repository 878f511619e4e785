//! A regular expression over host names, as `VIRTUAL_HOST=~…` has them. It runs in time that grows with the name alone, and
//! takes bounded memory. The file has none: what a container wrote for nginx is the only reason that this exists.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::HostError;

/// Bytes that a compiled expression may take; names are short, and so is what describes them.
const LARGEST: usize = 256 * 1024;

/// Characters of an expression.
const LONGEST: usize = 1_000;

/// How deep groups may stand in groups.
const DEEPEST: u32 = 50;

/// An expression that compiled. Two are equal if they are written alike.
#[derive(Clone)]
pub struct HostRegex {
    text: Arc<str>,
    compiled: Regex,
}

impl HostRegex {
    /// Compiles an expression (without nginx's `~`). Upper and lower case are one, and it may match anywhere in the name
    /// unless it says `^` and `$`, both as in nginx.
    pub fn parse(text: &str) -> Result<HostRegex, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.len() > LONGEST || text.chars().any(char::is_control) {
            return Err(HostError::Regex);
        }
        let compiled = RegexBuilder::new(text)
            .case_insensitive(true)
            .size_limit(LARGEST)
            .dfa_size_limit(LARGEST)
            .nest_limit(DEEPEST)
            .build()
            .map_err(|_| HostError::Regex)?;
        Ok(HostRegex { text: text.into(), compiled })
    }

    /// Whether it finds itself in a name.
    pub fn matches(&self, host: &str) -> bool {
        self.compiled.is_match(host)
    }
}

impl PartialEq for HostRegex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for HostRegex {}

impl Hash for HostRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for HostRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for HostRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{HostError, HostPattern};

    #[test]
    fn what_nginx_takes_as_a_server_name_is_read_and_matched_alike() {
        let matches = |pattern: &str, host: &str| HostPattern::parse_as_nginx(pattern).unwrap().matches(host);
        assert!(matches("~^shop-(?<n>[0-9]+)\\.home\\.test$", "shop-12.home.test"));
        assert!(!matches("~^shop-[0-9]+\\.home\\.test$", "shop-x.home.test"));
        assert!(matches("~^SHOP\\.", "shop.home.test"), "case does not count");
        assert!(matches("~op", "shop.home.test"), "unanchored, as in nginx");
        assert!(matches("www.shop.*", "www.shop.test") && matches("www.shop.*", "www.shop.co.uk"));
        assert!(!matches("www.shop.*", "www.shop") && !matches("www.shop.*", "www.shopper.test"));
        assert!(matches("*.home.test", "a.b.home.test") && matches("shop.home.test", "shop.home.test"));
    }

    #[test]
    fn an_expression_that_could_take_long_or_much_is_refused() {
        for text in ["~^(?=a)b", "~(a)\\1", "~[a-z]{1000}{1000}", &format!("~{}", "a".repeat(2000)), "~("] {
            assert_eq!(HostPattern::parse_as_nginx(text), Err(HostError::Regex), "{text}");
        }
        assert_eq!(HostPattern::parse_as_nginx("~"), Err(HostError::Empty));
    }

    #[test]
    fn the_file_knows_neither() {
        for text in ["~^a$", "www.shop.*"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
        assert!(HostPattern::parse_as_nginx("*").is_err());
    }
}
