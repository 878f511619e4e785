//! Hands the arguments to the command line, and its exit code to the system. Everything else is the library's.

use std::process::ExitCode;

/// A proxy allocates small and often, on several cores at once: what mimalloc is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // First of all: whoever makes TLS settings later finds the one provider there is. It fails only where one is
    // installed already, and then that one is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    doorward::cli::obey(std::env::args_os())
}
