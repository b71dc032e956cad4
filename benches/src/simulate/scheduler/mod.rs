//! `simulate scheduler`: days of traffic over hundreds of nodes, scheduled by the server's own code under a manual clock.
//!
//! Simulated are askers (`world`: day and night, light and heavy ones with weights, bulk) and nodes (slow, fast, failing, new, some
//! that come and go). A normal asker gives up after five minutes, one of bulk after a day. Who fails at a job is tried no
//! more for it; three nodes may fail at it.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;

mod measure;
mod report;
mod run;
mod world;

pub use report::{Kinds, Outcome, Share, Waits};
pub use run::run;
pub use world::Kind;

/// What is simulated.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Days of traffic.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub days: u64,
    /// Nodes of all kinds: at least 50.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(50..=100_000))]
    pub nodes: u32,
    /// Where luck begins: the same seed gives the same table.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Prints JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// Runs the program.
pub(super) fn main(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let outcome = run(options);
    if !options.json {
        report::print(&outcome, begun.elapsed());
        return ExitCode::SUCCESS;
    }
    match serde_json::to_string_pretty(&outcome) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulated(seed: u64) -> Outcome {
        run(&Options {
            days: 1,
            nodes: 50,
            seed,
            json: false,
        })
    }

    fn kind(outcome: &Outcome, kind: Kind) -> &Kinds {
        let found = outcome.kinds.iter().find(|found| found.kind == kind.name());
        found.expect("every kind is there")
    }

    #[test]
    fn a_day_is_fair_and_loses_little_and_the_same_seed_gives_the_same() {
        let outcome = simulated(1);
        let again = simulated(1);
        assert_eq!(
            serde_json::to_string(&outcome).expect("JSON"),
            serde_json::to_string(&again).expect("JSON")
        );
        assert!(outcome.jain_windows >= 10 && outcome.jain_mean > 0.97, "{outcome:?}");
        for share in &outcome.shares {
            assert!((share.got_percent - share.due_percent).abs() < 3.0, "{share:?}");
        }
        assert!(outcome.used_when_short_percent > 90.0, "{outcome:?}");
        assert!(outcome.slot_time_lost_percent < 5.0, "{outcome:?}");
        // Light askers hardly wait, whatever the heavy ones do, and nobody's bulk starves.
        let [light, _, bulk] = &outcome.waits[..] else {
            panic!("{:?}", outcome.waits)
        };
        assert!(light.p99 < 60.0 && light.gave_up == 0, "{light:?}");
        assert!(bulk.longest < 12.0 * 3600.0 && bulk.gave_up == 0, "{bulk:?}");
        // One that always fails gets next to nothing, a new one its part.
        let broken = kind(&outcome, Kind::Broken);
        assert!((broken.given as f64) < outcome.jobs as f64 * 0.02, "{broken:?}");
        assert!(outcome.new_nodes_first_hour_percent > 30.0, "{outcome:?}");
        assert!((outcome.failed as f64) < outcome.jobs as f64 * 0.005, "{outcome:?}");
    }
}
