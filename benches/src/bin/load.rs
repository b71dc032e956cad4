//! The load rig: see the library's front page.

use std::process::ExitCode;

fn main() -> ExitCode {
    resultity_benches::cli::main()
}
