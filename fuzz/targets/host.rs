//! Host headers, `:authority`, and the names of the file.
#![cfg_attr(fuzzing, no_main)]

use doorward_fuzz::model::{Authority, HostName, HostPattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(authority) = Authority::parse(text) {
        let host = authority.host.as_ref();
        assert!(!host.is_empty() && host.is_ascii() && !host.ends_with('.'));
        assert!(
            host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.:[]".contains(&b)),
            "{host:?}"
        );
        let again = Authority::parse(host).expect("what was read can be read again");
        assert_eq!(again.host, authority.host);
        assert_ne!(authority.port, Some(0));
        // Every spelling of one name is one name.
        let shouted = text.to_ascii_uppercase();
        assert_eq!(Authority::parse(&shouted).map(|a| a.host), Ok(authority.host.clone()));
        if !host.starts_with('[') {
            assert_eq!(HostName::parse(host).expect("a host is a name").as_str(), host);
        }
    }
    if let Ok(pattern) = HostPattern::parse(text) {
        assert_eq!(HostPattern::parse(&pattern.to_string()), Ok(pattern.clone()));
        if let HostPattern::Exact(name) = &pattern {
            assert!(pattern.matches(name.as_str()));
        }
    }
});
