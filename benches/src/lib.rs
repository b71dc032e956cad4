//! The load rig: what the network costs beside its engine called directly.
//!
//! ```text
//! cargo build --release -p resultity-server -p resultity-node
//! cargo run --release -p resultity-benches --bin load -- [--seconds N] [--quick] [--json]
//! ```
//!
//! The rig starts a mock [`engine`], a server and a node, each as a process of its own, and asks the same questions in
//! turn of the engine directly and of the network, in many short slices (A B A B …), so that a machine whose speed
//! drifts does not favour one. Shown are medians over the slices. Every answer is checked; a wrong one fails the run.
//! All processes share the machine, the [`driver`] too: requests a second through the network are what is left for it.
//!
//! The scenarios ([`scenario`]):
//!
//! 1. one request at a time: what the network adds to the latency;
//! 2. 64 at a time: requests a second, and the CPU time of server and node for a job;
//! 3. 64 streams of 64 chunks, as fast as they come: with an engine that sends each stream in one write, which no real
//!    one does, and with one that takes a write for each chunk;
//! 4. 64 streams of an engine that takes 20 ms to its first token and 10 ms for each further one, begun evenly spread
//!    in time: time to first token and to the end.
//!
//! Beside them stands what one signature, one verification, one durable commit and one `fdatasync` cost on this machine
//! ([`probe`]), and at the end the server's books are audited. The rig judges no number: it exits with 0 unless an
//! answer was wrong, the audit failed or the network could not be measured at all.
//!
//! `load infernet` measures a node's Infernet API instead ([`infernet`]), `load status` what readers of the public status
//! cost the main job ([`readers`]), `load nodes` what thousands of nodes cost one server ([`nodes`]).
//!
//! `simulate cheaters` ([`simulate`]) shows how soon dishonest nodes are found, and how often honest ones are wronged.
//!
//! `soak` ([`soak`]) runs a network under all faults at once and looks whether anything was lost or billed twice.
//!
//! `cargo bench -p resultity-benches` runs the micro-benches: signatures and frames.

mod check;
pub mod cli;
pub mod driver;
pub mod engine;
pub mod error;
pub mod http;
pub mod infernet;
mod mischief;
pub mod nodes;
pub mod probe;
pub mod process;
pub mod prompt;
#[path = "../../resultity-server/tests/harness/proxy.rs"]
pub mod proxy;
pub mod readers;
pub mod report;
pub mod rig;
pub mod scenario;
pub mod simulate;
pub mod soak;
