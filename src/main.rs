//! Hands the arguments to the command line, and its exit code to the system; says where memory comes from. Everything else is
//! the library's.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;
use std::process::ExitCode;

use libmimalloc_sys as mi;

/// A proxy allocates small and often, on several cores at once: what mimalloc is made for.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// mimalloc, asked for an alignment only where it is more than every block has. Asked for always, as its own wrapper does, a
/// request of 1 KiB took a twenty-fifth more instructions: for most sizes it then looks for a larger block to align in.
struct Allocator;

/// Alignment of every block of at least as many bytes; a smaller block is aligned to its size.
const USUAL: usize = 16;

/// Whether every block of that size is aligned so.
fn is_usual(size: usize, align: usize) -> bool {
    align <= USUAL && align <= size
}

#[expect(unsafe_code, reason = "an allocator cannot be named in any other way")]
// SAFETY: each call is mimalloc's counterpart of what is asked for, with the size and, where that is more than usual, the
// alignment that was asked for; `mi_free` and `mi_realloc*` take blocks of either kind.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size, and an alignment that is a power of two.
        unsafe { if is_usual(size, align) { mi::mi_malloc(size) } else { mi::mi_malloc_aligned(size, align) } }.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe { if is_usual(size, align) { mi::mi_zalloc(size) } else { mi::mi_zalloc_aligned(size, align) } }.cast()
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: it came from here.
        unsafe { mi::mi_free(block.cast::<c_void>()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (block, align) = (block.cast::<c_void>(), layout.align());
        // SAFETY: it came from here.
        unsafe {
            if is_usual(size, align) { mi::mi_realloc(block, size) } else { mi::mi_realloc_aligned(block, size, align) }
        }
        .cast()
    }
}

fn main() -> ExitCode {
    // First of all: whoever makes TLS settings later finds the one provider there is. It fails only where one is
    // installed already, and then that one is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    doorward::cli::obey(std::env::args_os())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "the allocator is asked directly")]
    fn blocks_are_aligned_as_asked_for_and_keep_what_is_in_them() {
        for align in (0..=12).map(|power| 1 << power) {
            for size in (1..300).chain([511, 512, 1000, 1025, 2047, 4000, 8191, 20_000, 70_001, 1 << 20]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: no size is 0, and each block is given back with the layout it has.
                unsafe {
                    let block = ALLOCATOR.alloc(layout);
                    let zeroed = ALLOCATOR.alloc_zeroed(layout);
                    assert!(block.addr().is_multiple_of(align) && zeroed.addr().is_multiple_of(align), "{layout:?}");
                    assert!(std::slice::from_raw_parts(zeroed, size).iter().all(|&byte| byte == 0));
                    block.write_bytes(7, size);
                    let larger = ALLOCATOR.realloc(block, layout, size * 3 + 1);
                    assert!(larger.addr().is_multiple_of(align), "{layout:?}");
                    assert!(std::slice::from_raw_parts(larger, size).iter().all(|&byte| byte == 7));
                    ALLOCATOR.dealloc(larger, Layout::from_size_align(size * 3 + 1, align).unwrap());
                    ALLOCATOR.dealloc(zeroed, layout);
                }
            }
        }
    }
}
