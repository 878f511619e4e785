//! HTTP/2 frames, whatever they are and however they are cut. The first byte chooses the cut.
#![cfg_attr(fuzzing, no_main)]

use doorward_fuzz::trailers::Trailers;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let mut whole = Trailers::default();
    let mut cut = Trailers::default();
    let piece = usize::from(choice).max(1);
    assert_eq!(whole.look(bytes), bytes.chunks(piece).try_for_each(|piece| cut.look(piece)));
});
