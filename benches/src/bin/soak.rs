//! The soak: see [`resultity_benches::soak`].

use std::process::ExitCode;

fn main() -> ExitCode {
    resultity_benches::soak::main()
}
