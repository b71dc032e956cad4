//! The simulators: see [`resultity_benches::simulate`].

use std::process::ExitCode;

fn main() -> ExitCode {
    resultity_benches::simulate::main()
}
