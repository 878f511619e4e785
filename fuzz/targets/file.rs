//! routes.toml. Whatever is written there: no panic, and every fault has a place inside the text and a help line.
#![cfg_attr(fuzzing, no_main)]

use std::path::Path;

use doorward_fuzz::config::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Err(refused) = parse(Path::new("/nowhere/routes.toml"), text) else { return };
    let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX).max(1);
    for fault in &refused.faults {
        assert!(fault.line <= lines + 1, "line {} of {lines}: {}", fault.line, fault.message);
        assert!(!fault.message.is_empty() && !fault.help.is_empty(), "{}", fault.message);
    }
    assert!(!refused.faults.is_empty() && !refused.to_string().is_empty());
});
