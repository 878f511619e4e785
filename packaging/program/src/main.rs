//! Prints the counts of raw profiles (`-Cprofile-generate`) in LLVM's text form, which `llvm-profdata` of any version reads.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let begun = writeln!(out, ":ir").map_err(|why| why.to_string());
    let printed = begun
        .and_then(|()| files.iter().try_for_each(|file| print(file, &mut out).map_err(|why| format!("{file}: {why}"))));
    match printed.and_then(|()| out.flush().map_err(|why| why.to_string())) {
        Ok(()) if !files.is_empty() => ExitCode::SUCCESS,
        Ok(()) => fail("no file is named"),
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// One function after the other: name, hash of its shape, number of counts, counts.
fn print(file: &str, out: &mut impl Write) -> std::io::Result<()> {
    let profile = llvm_profparser::parse(file)?;
    if profile.is_entry_first() {
        return Err(std::io::Error::other("counts function entries first, which this does not print"));
    }
    for function in profile.records() {
        let (Some(name), Some(hash)) = (&function.name, function.hash) else { continue };
        let counts = &function.record.counts;
        writeln!(out, "{name}\n{hash}\n{}", counts.len())?;
        for count in counts {
            writeln!(out, "{count}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}
