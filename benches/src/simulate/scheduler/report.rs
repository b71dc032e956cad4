//! What came of a simulation of the scheduler, and how it is printed.

use std::time::Duration;

use serde::Serialize;

/// How long jobs of a group waited for their (first) node.
#[derive(Debug, Clone, Serialize)]
pub struct Waits {
    /// Who asked.
    pub group: &'static str,
    /// Jobs that got a node.
    pub jobs: u64,
    /// Jobs whose asker gave up before.
    pub gave_up: u64,
    /// Seconds: half waited no longer.
    pub p50: f64,
    /// 95 of 100 waited no longer.
    pub p95: f64,
    /// 99 of 100 waited no longer.
    pub p99: f64,
    /// None waited longer.
    pub longest: f64,
}

/// What nodes of one kind did.
#[derive(Debug, Clone, Serialize)]
pub struct Kinds {
    /// How they behave.
    pub kind: &'static str,
    /// How many there were.
    pub nodes: u32,
    /// Jobs that they were given.
    pub given: u64,
    /// Jobs that they lost.
    pub lost: u64,
    /// Their part of the work that was done, in percent.
    pub work_percent: f64,
    /// Their part of all slots, over the time that they were online, in percent.
    pub slots_percent: f64,
    /// How much of their slots' time was used, in percent.
    pub used_percent: f64,
}

/// What a heavy asker got while it had jobs waiting.
#[derive(Debug, Clone, Serialize)]
pub struct Share {
    /// Who.
    pub asker: &'static str,
    /// Its weight.
    pub weight: u32,
    /// Its part of the work that these askers got while all of them waited, in percent.
    pub got_percent: f64,
    /// What it was to get by its weight, in percent.
    pub due_percent: f64,
}

/// What came of a simulation.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Where luck began.
    pub seed: u64,
    /// Days.
    pub days: u64,
    /// Nodes.
    pub nodes: u32,
    /// Jobs that were asked for.
    pub jobs: u64,
    /// Jobs that were answered.
    pub answered: u64,
    /// Jobs that as many nodes failed at as may try.
    pub failed: u64,
    /// Jobs whose asker gave up waiting.
    pub gave_up: u64,
    /// Attempts that nodes failed at.
    pub attempts_lost: u64,
    /// Jain's index of what askers got for their weight, over ten minutes in which they always waited: the mean.
    pub jain_mean: f64,
    /// The worst of these.
    pub jain_worst: f64,
    /// In how many such times it was measured.
    pub jain_windows: u64,
    /// How much of all slots' time was used, in percent.
    pub used_percent: f64,
    /// The same while jobs waited.
    pub used_when_short_percent: f64,
    /// How long jobs waited.
    pub waits: Vec<Waits>,
    /// What heavy askers got.
    pub shares: Vec<Share>,
    /// What nodes did.
    pub kinds: Vec<Kinds>,
    /// How much of its slots' time a new node used in its first hour, against steady ones in the same hours, in percent.
    pub new_nodes_first_hour_percent: f64,
    /// Slot time that was spent on attempts that were lost, in percent of all that was used.
    pub slot_time_lost_percent: f64,
}

/// Prints it for people.
pub(super) fn print(outcome: &Outcome, took: Duration) {
    println!(
        "{} days, {} nodes, {} jobs: {} answered, {} given up waiting, {} failed at by as many nodes as may try\n",
        outcome.days, outcome.nodes, outcome.jobs, outcome.answered, outcome.gave_up, outcome.failed
    );
    println!(
        "{:<24}{:>10}{:>10}{:>10}{:>10}{:>10}{:>11}",
        "wait for a node", "jobs", "gave up", "p50 s", "p95 s", "p99 s", "longest s"
    );
    for waits in &outcome.waits {
        println!(
            "{:<24}{:>10}{:>10}{:>10.1}{:>10.1}{:>10.1}{:>11.1}",
            waits.group, waits.jobs, waits.gave_up, waits.p50, waits.p95, waits.p99, waits.longest
        );
    }
    println!(
        "\n{:<42}{:>8}{:>10}{:>10}",
        "heavy askers, while all of them wait", "weight", "due", "got"
    );
    for share in &outcome.shares {
        println!(
            "{:<42}{:>8}{:>8.1} %{:>8.1} %",
            share.asker, share.weight, share.due_percent, share.got_percent
        );
    }
    println!(
        "\n{:<16}{:>7}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "nodes", "nodes", "jobs", "lost", "work", "slots", "in use"
    );
    for kind in &outcome.kinds {
        println!(
            "{:<16}{:>7}{:>10}{:>10}{:>8.1} %{:>8.1} %{:>8.1} %",
            kind.kind, kind.nodes, kind.given, kind.lost, kind.work_percent, kind.slots_percent, kind.used_percent
        );
    }
    println!(
        "\nfairness (Jain, by weight, in ten minutes of waiting): mean {:.4}, worst {:.4} of {} times",
        outcome.jain_mean, outcome.jain_worst, outcome.jain_windows
    );
    println!(
        "slots in use: {:.1} %, while jobs wait {:.1} %; {} attempts lost, with {:.2} % of the slot time used",
        outcome.used_percent, outcome.used_when_short_percent, outcome.attempts_lost, outcome.slot_time_lost_percent
    );
    println!(
        "a new node is used in its first hour {:.0} % as much as steady ones",
        outcome.new_nodes_first_hour_percent
    );
    println!("seed {}, {:.1} s", outcome.seed, took.as_secs_f64());
}
