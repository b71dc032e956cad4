//! What came of it, for people and for programs.

use std::fmt;

use serde::Serialize;

use crate::scenario::Side;

/// The main job in one scenario, with one node and with all of them.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub name: &'static str,
    pub one: Side,
    pub all: Side,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub nodes: u32,
    /// Until the last had answered its readiness job.
    pub came_in_seconds: f64,
    /// For connecting, saying hello and the readiness job.
    pub server_cpu_us_per_join: f64,
    /// Bytes that the server had more right after they came in.
    pub memory_per_node: u64,
    /// The same after they had been heard for a while.
    pub memory_per_node_at_rest: u64,
    /// How often each is to be heard.
    pub interval_seconds: f64,
    pub heartbeats: u64,
    pub heartbeats_per_second: f64,
    /// All that the server did meanwhile, shared between them.
    pub server_cpu_us_per_heartbeat: f64,
    /// The part of one core that the server took meanwhile.
    pub cores_for_heartbeats: f64,
    pub main: Vec<Compared>,
    pub audit: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{} nodes were in after {:.1} s: {:.0} µs of the server's CPU each",
            self.nodes, self.came_in_seconds, self.server_cpu_us_per_join
        )?;
        writeln!(
            f,
            "memory of the server a node: {:.1} KB; after they were heard for a while: {:.1} KB",
            self.memory_per_node as f64 / 1000.0,
            self.memory_per_node_at_rest as f64 / 1000.0
        )?;
        writeln!(
            f,
            "heartbeats, one each {} s: {} at {:.0} a second, {:.0} µs of the server's CPU each, {:.1} % of a core",
            self.interval_seconds,
            self.heartbeats,
            self.heartbeats_per_second,
            self.server_cpu_us_per_heartbeat,
            self.cores_for_heartbeats * 100.0
        )?;
        for Compared { name, one, all } in &self.main {
            writeln!(f, "\nthe main job, {name:?}: with one node and with {}", self.nodes)?;
            let rows = [
                ("answers a second", one.per_second, all.per_second),
                ("p50, ms", one.p50_us / 1000.0, all.p50_us / 1000.0),
                ("p99, ms", one.p99_us / 1000.0, all.p99_us / 1000.0),
                ("server CPU a job, µs", one.server_cpu_us, all.server_cpu_us),
            ];
            for (what, one, all) in rows {
                writeln!(f, "  {what:22} {one:10.2} {all:10.2}   {:.3} ×", all / one)?;
            }
        }
        writeln!(f, "\nbooks: {}", self.audit)
    }
}
