//! Paths as rules see them. What is equal for some server must be equal here.
#![cfg_attr(fuzzing, no_main)]

use doorward_fuzz::model::{PathPattern, is_ambiguous, normalise};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let normal = normalise(text);
    assert!(normal.starts_with('/'), "{normal:?}");
    let inside = |segment: &str| segment == "." || segment == ".." || segment.contains(';');
    assert!(!normal.split('/').any(inside), "{normal:?}");
    assert!(!normal.contains("//") && !normal.contains('\\'), "{normal:?}");
    // One more slash, a dot segment or a detour changes nothing.
    if text.starts_with('/') {
        assert_eq!(normalise(&format!("/{text}")), normal);
        assert_eq!(normalise(&format!("/.{text}")), normal);
        assert_eq!(normalise(&format!("/detour/..{text}")), normal);
        assert_eq!(normalise(&format!("/%2e{text}")), normal);
    }
    let _ = is_ambiguous(text);
    if let Some(pattern) = PathPattern::parse(text) {
        assert_eq!(PathPattern::parse(&pattern.to_string()).as_ref(), Some(&pattern));
        assert!(pattern.matches(pattern.base()).is_some(), "{pattern}");
    }
});
