//! What happens to the network, one thing after another, as the seed has it.

use std::time::Duration;

use rusqlite::Connection;
use tokio::time::sleep;

use super::network::{ENGINES, Lines, NODES, Network};
use crate::error::LoadError;
use crate::proxy::{Luck, Weather};

/// What happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Happened {
    /// Servers killed.
    pub(super) servers: u64,
    /// Nodes killed.
    pub(super) nodes: u64,
    /// Engines killed.
    pub(super) engines: u64,
    /// Times that a kind of lines was cut at once.
    pub(super) cuts: u64,
    /// Times that a kind of lines was slow, or swallowed everything, for a while.
    pub(super) storms: u64,
    /// Times that somebody else had the database locked.
    pub(super) locks: u64,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Kill { server: bool, nodes: usize, engine: bool },
    Cut(Lines),
    Swallow(Lines),
    Storm(Lines),
    Lock,
}

impl Event {
    fn draw(luck: &mut Luck) -> Self {
        let lines = [Lines::Askers, Lines::Nodes, Lines::Engines][luck.up_to(2) as usize];
        let kill = |server, nodes, engine| Self::Kill { server, nodes, engine };
        match luck.up_to(19) {
            0..=3 => kill(true, 0, false),
            4..=6 => kill(false, 1, false),
            7..=8 => kill(false, 0, true),
            9 => kill(true, 1, false),
            10 => kill(true, NODES, true),
            11..=13 => Self::Cut(lines),
            14..=15 => Self::Swallow(lines),
            16..=18 => Self::Storm(lines),
            _ => Self::Lock,
        }
    }
}

/// Does one thing, and puts right afterwards what somebody has to put right.
pub(super) async fn next(network: &mut Network, luck: &mut Luck, happened: &mut Happened) -> Result<(), LoadError> {
    let event = Event::draw(luck);
    match event {
        Event::Kill { server, nodes, engine } => {
            let first = luck.up_to(NODES as u64 - 1) as usize;
            let nodes: Vec<usize> = (0..nodes).map(|number| (first + number) % NODES).collect();
            let engine = engine.then(|| luck.up_to(ENGINES as u64 - 1) as usize);
            if server {
                network.kill_server().await?;
                happened.servers += 1;
            }
            for node in &nodes {
                network.kill_node(*node).await?;
                happened.nodes += 1;
            }
            if let Some(engine) = engine {
                network.kill_engine(engine).await?;
                happened.engines += 1;
            }
            sleep(Duration::from_millis(luck.up_to(500))).await;
            if let Some(engine) = engine {
                network.start_engine(engine, luck).await?;
            }
            for node in nodes {
                network.start_node(node)?;
            }
            if server {
                network.start_server().await?;
            }
        }
        Event::Cut(lines) => {
            for line in network.lines(lines) {
                line.cut_all();
            }
            happened.cuts += 1;
        }
        Event::Swallow(lines) | Event::Storm(lines) => {
            let swallows = matches!(event, Event::Swallow(_));
            let weather = Weather {
                delay: Duration::from_millis(luck.up_to(20)),
                rate: 64 * 1024 + luck.up_to(512 * 1024),
                cuts: luck.up_to(40) as u32,
                swallows,
            };
            // All of them, or one.
            let all = network.lines(lines);
            let only = luck.up_to(2 * all.len() as u64 - 1) as usize;
            for (number, line) in all.iter().enumerate() {
                if only >= all.len() || only == number {
                    line.set(weather);
                }
            }
            let most = if swallows { 4_000 } else { 3_000 };
            sleep(Duration::from_millis(300 + luck.up_to(most))).await;
            network.calm();
            happened.storms += 1;
        }
        Event::Lock => {
            // Now and then for longer than the server waits for it.
            let time = Duration::from_millis(200 + luck.up_to(6_000));
            let connection = Connection::open(network.data_dir().join("resultity.db"))?;
            connection.busy_timeout(Duration::from_secs(5))?;
            if connection.execute_batch("BEGIN IMMEDIATE").is_ok() {
                sleep(time).await;
                connection.execute_batch("ROLLBACK")?;
                happened.locks += 1;
            }
        }
    }
    Ok(())
}
