//! A small soak, for every change: see `resultity_benches::soak`. The seed is always the same, so that a change that is refused
//! has itself to blame; the long soak draws one.

use std::process::{Command, Stdio};

#[test]
fn nothing_is_lost_wrong_or_billed_twice() {
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(["--jobs", "1500", "--seconds", "40", "--pause-ms", "800", "--seed", "1"])
        .stdin(Stdio::null())
        .output()
        .expect("the soak starts");
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{said}");
    assert!(output.status.success(), "{said}\n{complained}");
    // With a budget of time a slow machine does less, but something.
    let jobs = said
        .lines()
        .find_map(|line| line.strip_prefix("jobs "))
        .and_then(|count| count.trim().parse().ok());
    assert!(jobs.is_some_and(|jobs: u64| jobs > 0), "{said}");
}
