//! `simulate cheaters`: nodes of many kinds do jobs; the network's own code samples, compares and judges them.
//!
//! The comparators, the sampling with its budget and the reputation are those that the server runs (`resultity_server::trust`).
//! Simulated are the nodes, their models and the trusted node: a toy language model with hundreds of tokens a job. All nodes work
//! at once, one job each in a round. Some jobs are blind ones of the network (1 %); some ask for log-probabilities; four in ten are
//! at temperature 0. Some nodes are compared with others that nobody trusts, who say what suits their owner.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use resultity_core::clock::{SeededEntropy, Timestamp};
use resultity_core::score::Score;
use resultity_server::trust::compare::text::Claim;
use resultity_server::trust::compare::{logprobs, text};
use resultity_server::trust::latency::{self, Taken};
use resultity_server::trust::{Aspect, Evidence, Finding, MilliNats, Reputation, Rules, Verdict, sampling};
use serde::Serialize;

use super::behaviour::{ALLOWED, Answered, Behaviour, answered};
use super::luck::{Luck, mixed};
use super::toy_model::{Asked, ToyModel};

/// The share of jobs that are the network's own.
const BLIND: f64 = 0.01;

/// The share of jobs after which a node is compared with others, where it is at all.
const COMPARED: f64 = 0.1;

/// Networks that are simulated beside each other, each with its part of the nodes and a budget of its own. Their number is fixed, so
/// that the table does not depend on the machine.
const NETWORKS: u32 = 2;

/// Tokens that a prompt has.
const PROMPT: u64 = 40;

/// What is simulated.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where luck begins: the same seed gives the same table.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Dishonest nodes of each kind.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub nodes: u32,
    /// Honest nodes of each kind.
    #[arg(long, value_name = "N", default_value_t = 400)]
    pub honest: u32,
    /// Jobs of each node, unless it is excluded before.
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub jobs: u64,
    /// Prints JSON instead of the table.
    #[arg(long)]
    pub json: bool,
}

/// What became of the nodes of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// How they behave.
    pub kind: &'static str,
    /// Whether that is honest.
    pub honest: bool,
    /// How many there were.
    pub nodes: u32,
    /// How many were excluded.
    pub excluded: u32,
    /// Jobs from the first lie to the exclusion: half of the excluded nodes took no more.
    pub jobs_p50: Option<u64>,
    /// The same for 95 of 100.
    pub jobs_p95: Option<u64>,
    /// Checks from the first lie to the exclusion: half of the excluded nodes took no more.
    pub checks_p50: Option<u64>,
    /// The same for 95 of 100.
    pub checks_p95: Option<u64>,
    /// Dishonest answers that a node gave before it was excluded: half gave no more.
    pub lies_p50: Option<u64>,
    /// Of the answers of nodes that were not excluded, the dishonest ones, in parts per thousand.
    pub lies_left_per_mille: u64,
}

/// What came of a simulation.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Where luck began.
    pub seed: u64,
    /// Kinds of nodes.
    pub rows: Vec<Row>,
    /// Jobs of honest nodes.
    pub honest_jobs: u64,
    /// Checks of honest nodes.
    pub honest_checks: u64,
    /// Tokens that trusted nodes read to check honest ones, in parts per thousand of the tokens that those worked on.
    pub cost_per_mille: f64,
    /// The same in the last tenth of the simulation, when nodes are known.
    pub cost_per_mille_later: f64,
    /// Checks that the budget did not allow.
    pub skipped: u64,
}

/// Runs the program.
pub(super) fn main(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let outcome = run(options);
    if options.json {
        match serde_json::to_string_pretty(&outcome) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("simulate: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        print(&outcome, begun.elapsed());
    }
    ExitCode::SUCCESS
}

/// A simulated node.
struct Node {
    behaviour: Behaviour,
    machine: u64,
    luck: Luck,
    reputation: Reputation,
    jobs: u64,
    checks: u64,
    lies: u64,
    /// Jobs and checks before its first lie.
    before: Option<(u64, u64)>,
    is_excluded: bool,
}

#[derive(Debug, Default)]
struct Costs {
    honest_jobs: u64,
    honest_checks: u64,
    worked: u64,
    read: u64,
    worked_later: u64,
    read_later: u64,
    skipped: u64,
}

impl Costs {
    const fn add(&mut self, other: &Self) {
        self.honest_jobs += other.honest_jobs;
        self.honest_checks += other.honest_checks;
        self.worked += other.worked;
        self.read += other.read;
        self.worked_later += other.worked_later;
        self.read_later += other.read_later;
        self.skipped += other.skipped;
    }
}

/// Simulates. Takes time in proportion to the number of checks.
pub fn run(options: &Options) -> Outcome {
    let simulated: Vec<(Vec<Node>, Costs)> = std::thread::scope(|scope| {
        let networks: Vec<_> = (0..NETWORKS)
            .map(|number| scope.spawn(move || network(options, number)))
            .collect();
        networks
            .into_iter()
            .map(|network| network.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut costs = Costs::default();
    let mut nodes = Vec::new();
    for (of_one, its) in simulated {
        nodes.extend(of_one);
        costs.add(&its);
    }
    let rows = Behaviour::ALL
        .into_iter()
        .map(|behaviour| row(behaviour, &nodes))
        .collect();
    let share = |read: u64, worked: u64| read as f64 * 1000.0 / worked.max(1) as f64;
    Outcome {
        seed: options.seed,
        rows,
        honest_jobs: costs.honest_jobs,
        honest_checks: costs.honest_checks,
        cost_per_mille: share(costs.read, costs.worked),
        cost_per_mille_later: share(costs.read_later, costs.worked_later),
        skipped: costs.skipped,
    }
}

/// One of the networks: its part of the nodes do all of their jobs.
fn network(options: &Options, number: u32) -> (Vec<Node>, Costs) {
    let seed = options.seed ^ mixed(u64::from(number) << 32);
    let mut nodes: Vec<Node> = Vec::new();
    for behaviour in Behaviour::ALL {
        let count = if behaviour.is_honest() {
            options.honest
        } else {
            options.nodes
        };
        for _ in 0..(count + number) / NETWORKS {
            let machine = mixed(seed ^ mixed(nodes.len() as u64 + 1));
            nodes.push(Node {
                behaviour,
                machine,
                luck: Luck::new(machine),
                reputation: Reputation::default(),
                jobs: 0,
                checks: 0,
                lies: 0,
                before: None,
                is_excluded: false,
            });
        }
    }
    let mut network = Network {
        entropy: SeededEntropy::new(seed),
        rules: Rules::default(),
        budget: sampling::Budget::default(),
        costs: Costs::default(),
        is_late: false,
    };
    for round in 0..options.jobs {
        network.is_late = round >= options.jobs / 10 * 9;
        for node in nodes.iter_mut().filter(|node| !node.is_excluded) {
            network.job(node);
        }
    }
    (nodes, network.costs)
}

/// The network's side.
struct Network {
    entropy: SeededEntropy,
    rules: Rules,
    budget: sampling::Budget,
    costs: Costs,
    is_late: bool,
}

impl Network {
    /// A node does a job, which may be checked.
    fn job(&mut self, node: &mut Node) {
        let is_blind = node.luck.happens(BLIND);
        let is_clean = node.reputation.evidence() == MilliNats::ZERO;
        let lies = node.behaviour.lies(node.jobs, is_blind, is_clean, &mut node.luck);
        if lies {
            node.lies += 1;
            node.before.get_or_insert((node.jobs, node.checks));
        }
        node.jobs += 1;
        let now = Timestamp::from_millis(node.jobs as i64 * 1000);
        if lies && node.behaviour == Behaviour::SignsForAnother {
            // Found by `flow::verify` whenever it happens.
            node.checks += 1;
            let verdict = node.reputation.observe(&self.rules, &Evidence::violation(), now, now);
            node.is_excluded = matches!(verdict, Verdict::Excluded(_));
            return;
        }
        if let Some(said) = node.behaviour.said_of_it()
            && node.luck.happens(COMPARED)
        {
            let weight = MilliNats::new(said);
            let aspect = Aspect::Agreement;
            let said = Evidence::new(vec![Finding { aspect, weight }]);
            node.reputation.compared(&self.rules, &said, now);
        }
        // A job that nobody looks at need not be made: this many tokens, about.
        let tokens = PROMPT + 45;
        self.budget.earn(tokens);
        let is_honest = node.behaviour.is_honest();
        if is_honest {
            self.costs.honest_jobs += 1;
            self.costs.worked += tokens;
            self.costs.worked_later += if self.is_late { tokens } else { 0 };
        }
        let rate = sampling::rate(&node.reputation, &self.rules);
        if !is_blind && !sampling::draw(&self.entropy, rate) {
            return;
        }
        let asked = asked(&mut node.luck);
        let answered = answered(node.behaviour, lies, asked, node.machine, &mut node.luck);
        let is_doubtful = node.reputation.is_doubtful(&self.rules);
        let cost = PROMPT + answered.text.tokens.len() as u64 + if is_blind { tokens } else { 0 };
        if !self.budget.spend(cost, is_doubtful) {
            self.costs.skipped += 1;
            return;
        }
        if is_honest {
            self.costs.honest_checks += 1;
            self.costs.read += cost;
            self.costs.read_later += if self.is_late { cost } else { 0 };
        }
        node.checks += 1;
        let evidence = evidence(asked, &answered, &mut node.luck);
        let verdict = node.reputation.observe(&self.rules, &evidence, now, now);
        node.is_excluded = matches!(verdict, Verdict::Excluded(_));
    }
}

/// A request of somebody.
fn asked(luck: &mut Luck) -> Asked {
    let temperatures = [0.0, 0.0, 0.7, 0.7, 1.0];
    Asked {
        prompt: luck.next(),
        temperature: temperatures[luck.between(0, 4) as usize],
        limit: [16, 64, 256][luck.between(0, 2) as usize],
    }
}

/// What a trusted node finds.
fn evidence(asked: Asked, answered: &Answered, luck: &mut Luck) -> Evidence {
    let trusted = ToyModel {
        smaller_by: 0.0,
        noise: 0.03,
        machine: 0,
    };
    let answer = trusted.score(asked, &answered.text, answered.text.ended && !answered.has_stops);
    let tokens = answer.tokens() as u64;
    // As the server: at other temperatures engines do not all tell the same.
    let tells_plainly = (asked.temperature <= 0.0 || asked.temperature >= 1.0) && !answered.is_biased;
    let with_logprobs = luck.happens(0.2) && tells_plainly;
    let claim = Claim {
        prompt_tokens: PROMPT,
        completion_tokens: answered.claimed,
        limit: asked.limit as u64,
        at_limit: u32::from(!answered.text.ended),
        has_stops: answered.has_stops,
        has_hidden: answered.is_biased,
        is_outlier: false,
        drift: text::drift_at(asked.temperature),
        is_calibrated: !answered.is_biased,
        is_odd: answered.is_odd,
    };
    let told = with_logprobs.then(|| answered.model.told(asked, &answered.text));
    let about_logprobs = told.and_then(|told| logprobs::against_score(&told, &answer.plain));
    let score = Score {
        prompt_tokens: PROMPT,
        greedy: asked.temperature <= 0.0,
        answers: vec![answer],
    };
    let mut findings = text::findings(&score, &claim);
    findings.extend(about_logprobs);
    let taken = Taken {
        took: answered.took,
        allowed: ALLOWED,
        tokens,
    };
    findings.extend(latency::findings(&taken, Duration::from_millis(1)));
    Evidence::new(findings)
}

fn row(behaviour: Behaviour, nodes: &[Node]) -> Row {
    let all: Vec<&Node> = nodes.iter().filter(|node| node.behaviour == behaviour).collect();
    let excluded: Vec<&&Node> = all.iter().filter(|node| node.is_excluded).collect();
    let of = |value: &dyn Fn(&Node) -> u64| {
        let mut values: Vec<u64> = excluded.iter().map(|node| value(node)).collect();
        values.sort_unstable();
        values
    };
    let before = |node: &Node| node.before.unwrap_or_default();
    let jobs = of(&|node| node.jobs - before(node).0);
    let checks = of(&|node| node.checks - before(node).1);
    Row {
        kind: behaviour.shown(),
        honest: behaviour.is_honest(),
        nodes: all.len() as u32,
        excluded: excluded.len() as u32,
        jobs_p50: quantile(&jobs, 50),
        jobs_p95: quantile(&jobs, 95),
        checks_p50: quantile(&checks, 50),
        checks_p95: quantile(&checks, 95),
        lies_p50: quantile(&of(&|node| node.lies), 50),
        lies_left_per_mille: {
            let left = || all.iter().filter(|node| !node.is_excluded);
            let jobs: u64 = left().map(|node| node.jobs).sum();
            left().map(|node| node.lies).sum::<u64>() * 1000 / jobs.max(1)
        },
    }
}

fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    sorted
        .get((sorted.len() * percent).div_ceil(100).saturating_sub(1))
        .copied()
}

fn print(outcome: &Outcome, took: Duration) {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    println!(
        "{:<26}{:>6}{:>10}{:>14}{:>16}{:>10}{:>11}",
        "node", "nodes", "excluded", "jobs p50/p95", "checks p50/p95", "lies p50", "lies left"
    );
    for row in &outcome.rows {
        println!(
            "{:<26}{:>6}{:>9.1}%{:>14}{:>16}{:>10}{:>10.1}%",
            row.kind,
            row.nodes,
            f64::from(row.excluded) * 100.0 / f64::from(row.nodes.max(1)),
            format!("{}/{}", number(row.jobs_p50), number(row.jobs_p95)),
            format!("{}/{}", number(row.checks_p50), number(row.checks_p95)),
            number(row.lies_p50),
            row.lies_left_per_mille as f64 / 10.0,
        );
    }
    let wronged: u32 = outcome
        .rows
        .iter()
        .filter(|row| row.honest)
        .map(|row| row.excluded)
        .sum();
    println!(
        "\nhonest nodes: {} jobs, {} checks, {wronged} wrong exclusions; checks read {:.1} % of the tokens worked on, {:.1} % once nodes are known",
        outcome.honest_jobs,
        outcome.honest_checks,
        outcome.cost_per_mille / 10.0,
        outcome.cost_per_mille_later / 10.0,
    );
    println!(
        "jobs and checks are counted from the first lie; {} checks were more than the budget allowed; seed {}, {:.1} s",
        outcome.skipped,
        outcome.seed,
        took.as_secs_f64()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheaters_are_found_and_honest_nodes_stay() {
        let outcome = run(&Options {
            seed: 3,
            nodes: 4,
            honest: 5,
            jobs: 600,
            json: false,
        });
        for row in &outcome.rows {
            if row.honest {
                assert_eq!(row.excluded, 0, "{row:?}");
            } else if row.kind == Behaviour::InGoodRepute.shown() {
                // Who knew all that the network thinks of it could lie now and then; no node is told.
                assert!(row.excluded > 0 || row.lies_left_per_mille < 300, "{row:?}");
            } else {
                assert!(row.excluded + 1 >= row.nodes, "{row:?}");
            }
        }
        assert!(outcome.honest_checks > 0 && outcome.cost_per_mille > 0.0);
        let again = run(&Options {
            seed: 3,
            nodes: 1,
            honest: 1,
            jobs: 50,
            json: false,
        });
        assert_eq!(again.rows.len(), Behaviour::ALL.len());
    }
}
