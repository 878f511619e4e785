//! Where messages of HTTP/1.1 end, whatever comes and however it is cut. The first byte chooses the cut.
#![cfg_attr(fuzzing, no_main)]

use doorward_fuzz::framing::Framing;
use libfuzzer_sys::fuzz_target;

/// How many bytes pass, and whether the connection is between two messages then.
fn seen<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, bool) {
    let mut framing = Framing::default();
    let mut passed = 0;
    for piece in pieces {
        let good = framing.look(piece).unwrap_or(0);
        assert!(good <= piece.len());
        passed += good;
        if good < piece.len() {
            assert!(framing.is_bad() && framing.look(b"x").is_err(), "what is bad stays so");
            break;
        }
    }
    (passed, framing.is_between())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(choice).max(1);
    assert_eq!(seen(std::iter::once(bytes)), seen(bytes.chunks(piece)));
});
