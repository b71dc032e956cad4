//! Lines of a node's log: taken in bounds, kept for its owner.

use std::num::NonZeroU32;
use std::sync::Arc;

use resultity_core::clock::Timestamp;
use resultity_core::limits::{Meter, Rate};
use resultity_core::signing::ReplayWindow;
use resultity_core::wire::{LogBatch, LogField, LogLine, MAX_LOG_LINES};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::link::actor::Actor;
use crate::store::node_logs::NewNodeLogs;

/// The most lines that are kept of one node.
const MOST_KEPT: u32 = 2000;

/// How many lines a node may send a minute.
const LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("it is not 0");

/// The time in which as many come as may come at once: seconds.
const BURST: NonZeroU32 = NonZeroU32::new(60).expect("it is not 0");

/// The longest sentence, in characters.
const LONGEST_MESSAGE: usize = 500;

/// The longest text of a field, in characters.
const LONGEST_FIELD: usize = 200;

/// The longest name of a field, in bytes; a longer one is left out.
const LONGEST_NAME: usize = 64;

/// The most fields of a line.
const MOST_FIELDS: usize = 16;

/// How much a node may still say of itself.
#[derive(Debug)]
pub(super) struct LogIntake {
    replay: ReplayWindow,
    begun: Instant,
    meter: Meter,
    /// One write at a time: lines of a node for which the store is too slow are dropped.
    room: Arc<Semaphore>,
}

impl LogIntake {
    pub(super) fn new() -> Self {
        Self {
            replay: ReplayWindow::default(),
            begun: Instant::now(),
            meter: Meter::default(),
            room: Arc::new(Semaphore::new(1)),
        }
    }

    /// Whether so many lines may come now.
    fn takes(&mut self, lines: usize) -> bool {
        let (now, rate) = (self.begun.elapsed(), Rate::per_minute(LINES_PER_MINUTE, BURST));
        let takes = self.meter.check(now, rate, lines as u64).is_ok();
        if takes {
            self.meter.take(now, rate, lines as u64);
        }
        takes
    }
}

impl Actor {
    /// Keeps what the node says of itself, if somebody has it. What is too much is dropped; what is not signed by the node,
    /// or came before, is an error.
    pub(super) fn log(&mut self, batch: LogBatch, text: &str) -> Result<(), &'static str> {
        let now = self.flow.clock.now();
        self.says_so(&batch, text)?;
        self.logs
            .replay
            .check(batch.seq, batch.issued_at, now)
            .map_err(|_| "the log is old or repeated")?;
        if batch.lines.len() > MAX_LOG_LINES {
            return Err("the log has too many lines");
        }
        let Some(account) = self.standing.account else {
            return Ok(());
        };
        let count = batch.lines.len();
        let room = Arc::clone(&self.logs.room).try_acquire_owned();
        let (Ok(permit), true) = (room, self.logs.takes(count)) else {
            metrics::counter!("resultity_node_log_lines_dropped_total").increment(count as u64);
            return Ok(());
        };
        metrics::counter!("resultity_node_log_lines_total").increment(count as u64);
        let (flow, node) = (Arc::clone(&self.flow), self.node);
        let logs = NewNodeLogs {
            node,
            environment: flow.environment,
            account,
            lines: batch.lines.into_iter().map(|line| clipped(line, now)).collect(),
            most: MOST_KEPT,
            now,
        };
        self.flow.background.spawn(async move {
            if let Err(error) = flow.store.keep_node_logs(logs).await {
                tracing::warn!(node.id = %node, %error, "lines of a node's log could not be kept");
            }
            drop(permit);
        });
        Ok(())
    }
}

/// A line, no longer than it has reason to be, without anything that a terminal would obey.
fn clipped(line: LogLine, now: Timestamp) -> LogLine {
    let plain = |text: &str, most: usize| -> String {
        let shown = |character: char| if character.is_control() { ' ' } else { character };
        text.chars().take(most).map(shown).collect()
    };
    let fields = line.fields.into_iter().filter(|(name, _)| name.len() <= LONGEST_NAME);
    let fields = fields.take(MOST_FIELDS).map(|(name, field)| {
        let field = match field {
            LogField::Text(text) => LogField::Text(plain(&text, LONGEST_FIELD)),
            other => other,
        };
        (plain(&name, LONGEST_NAME), field)
    });
    LogLine {
        time: line.time.min(now),
        message: plain(&line.message, LONGEST_MESSAGE),
        fields: fields.collect(),
        ..line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::wire::LogLevel;

    #[test]
    fn a_line_is_cut_and_made_harmless() {
        let now = Timestamp::from_millis(1_000);
        let long = "x".repeat(10_000);
        let mut fields: Vec<(String, LogField)> = (0..100)
            .map(|number| (format!("f{number:03}"), LogField::from(long.as_str())))
            .collect();
        fields.push((long.clone(), LogField::Flag(true)));
        let line = LogLine {
            time: Timestamp::from_millis(5_000),
            level: LogLevel::Info,
            job_id: None,
            message: format!("a\u{1b}[2Jb{long}"),
            fields: fields.into_iter().collect(),
        };
        let line = clipped(line, now);
        assert_eq!((line.time, line.message.chars().count()), (now, LONGEST_MESSAGE));
        assert!(line.message.starts_with("a [2Jb"));
        assert_eq!(line.fields.len(), MOST_FIELDS);
        let is_short =
            |(name, field): (&String, &LogField)| name.len() <= 4 && field.to_string().len() <= LONGEST_FIELD;
        assert!(line.fields.iter().all(is_short));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_says_too_much_is_heard_again_later() {
        let mut intake = LogIntake::new();
        let mut taken = 0;
        while intake.takes(MAX_LOG_LINES) {
            taken += 1;
        }
        assert_eq!(taken, 3);
        tokio::time::advance(std::time::Duration::from_mins(1)).await;
        assert!(intake.takes(MAX_LOG_LINES));
    }
}
